//! Settings of the command, each with its origin.
//!
//! Owns the defaults of each command, the settings that only the command has, and the printed form. What
//! a value may be is checked by the library.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use telepool::config::Setting;
use telepool::http::{SettingOrigin, StaticSetting};
use telepool::session::DataCentres;
use telepool::telegram::Engine;
use telepool::{Config, ConfigError};

use super::telegram::{self, TelegramValues};
use crate::columns::wrapped;
use crate::secrets::redact_value;

/// The section of the data centres' addresses, which only the command knows.
const DATA_CENTRES: &str = "data_centres";

/// A configuration that remembers where its values are from.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) config: Config,
    pub(super) data_centres: DataCentres,
    telegram: TelegramValues,
    pub(super) origins: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config::default(),
            data_centres: DataCentres::production(),
            telegram: TelegramValues::default(),
            origins: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The defaults of a run. Containers are killed 10 s after they were asked to end, and a call of
    /// the command takes 5 s at most: a run that waits no longer than this ends by itself, with
    /// `close_timeout` on top.
    pub(crate) fn for_serve() -> Self {
        Self::default().with("serve", &[("pool.drain_timeout", "6")])
    }

    /// Where the values of the pool's settings are from, but for those that only `serve` has other defaults of.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (String, SettingOrigin)> {
        let told = |key: &String| (key.clone(), self.origin_of(key));
        self.origins.keys().map(told).filter(|(_, origin)| *origin != SettingOrigin::Default)
    }

    fn origin_of(&self, key: &str) -> SettingOrigin {
        match self.origin(key) {
            "default" | "serve" | "sandbox" => SettingOrigin::Default,
            "--set" => SettingOrigin::Flag,
            variable if variable.starts_with("environment ") => SettingOrigin::Environment,
            _ => SettingOrigin::File,
        }
    }

    /// The settings that only the command has, in the order of their printed form.
    pub(crate) fn of_the_command(&self) -> impl Iterator<Item = StaticSetting> {
        let default = Self::default();
        let standards = default.telegram.all().map(|it| it.value);
        let own =
            self.telegram.all().into_iter().zip(standards).map(|(own, default)| StaticSetting {
                key: own.key.to_owned(),
                value: own.value,
                default,
                accepts: own.accepts.to_owned(),
                about: own.about.to_owned(),
                origin: self.origin_of(own.key),
            });
        let data_centre = move |(number, address): (i32, SocketAddr)| {
            let key = format!("{DATA_CENTRES}.{number}");
            let origin = self.origin_of(&key);
            let standard = default.data_centres.iter().find(|it| it.0 == number);
            StaticSetting {
                key,
                value: address.to_string(),
                default: standard.map_or_else(String::new, |it| it.1.to_string()),
                accepts: "an address such as 149.154.167.41:443".to_owned(),
                about: format!("data centre {number}"),
                origin,
            }
        };
        own.chain(self.data_centres.iter().map(data_centre))
    }

    /// The same where no server far away has to be spared: dials need no pacing.
    pub(crate) fn for_sandbox() -> Self {
        let values =
            [("dial.per_second", "2000"), ("dial.handshakes", "64"), ("telegram.engine", "wire")];
        Self::for_serve().with("sandbox", &values)
    }

    fn with(mut self, origin: &str, values: &[(&str, &str)]) -> Self {
        for (key, value) in values {
            self.set(key, value, origin).expect("BUG: these are within the limits");
        }
        self
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn data_centres(&self) -> &DataCentres {
        &self.data_centres
    }

    /// What somebody has set, and what will have no effect.
    pub(crate) fn doubt(&self) -> Option<String> {
        let pool = &self.config.pool;
        let is_set = self.origins.contains_key("pool.check_after_idle");
        (is_set && pool.check_after_idle >= pool.max_idle_time).then(|| {
            format!(
                "pool.check_after_idle = {:?} is not below pool.max_idle_time = {:?}: connections are \
                 closed before they are checked",
                pool.check_after_idle, pool.max_idle_time
            )
        })
    }

    pub(crate) fn redial_after_loss(&self) -> Duration {
        self.telegram.redial_after_loss
    }

    pub(crate) fn engine(&self) -> Engine {
        self.telegram.engine
    }

    pub(super) fn set(&mut self, key: &str, value: &str, origin: &str) -> Result<(), String> {
        if is_quoted(value) {
            return Err(format!(
                "{origin}: the value of {key} has quotes around it: leave them out"
            ));
        }
        match key.split_once('.') {
            Some((DATA_CENTRES, number)) => self.set_data_centre(number, value),
            _ if telegram::KEYS.contains(&key) => self.telegram.set(key, value),
            _ => self.config.set(key, value).map_err(|error| match error {
                // The library does not know what only the command has.
                ConfigError::UnknownKey { suggestion: None, .. } => match near(key) {
                    Some(near) => format!("there is no setting {}: {near}", redact_value(key)),
                    None => format!("{error}, and of the command also telegram and {DATA_CENTRES}"),
                },
                error => error.to_string(),
            }),
        }
        .map_err(|error| format!("{origin}: {error}"))?;
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    fn set_data_centre(&mut self, number: &str, value: &str) -> Result<(), String> {
        let refuse = |what: &str| {
            format!("{DATA_CENTRES}.{} = {}: {what}", redact_value(number), redact_value(value))
        };
        let read = number.parse().ok().filter(|number| (1..=255).contains(number));
        let read: i32 = read.ok_or_else(|| refuse("data centres are numbered from 1 to 255"))?;
        // With two spellings of one number, one of its addresses would be lost without a word.
        if number != read.to_string() {
            return Err(refuse(&format!("write its number as {DATA_CENTRES}.{read}")));
        }
        let address = value.trim().parse();
        let address =
            address.map_err(|_| refuse("must be an address such as 149.154.167.41:443"))?;
        self.data_centres.insert(read, address);
        Ok(())
    }
}

/// Whether somebody has put quotes around a value that a shell or Compose did not take off.
pub(crate) fn is_quoted(value: &str) -> bool {
    let value = value.trim();
    value.len() > 1
        && ['"', '\''].iter().any(|quote| value.starts_with(*quote) && value.ends_with(*quote))
}

/// What may have been meant by a key that neither the library nor the command has.
fn near(key: &str) -> Option<String> {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    if Setting::all().iter().any(|it| it.key.split_once('.').is_some_and(|it| it.0 == key)) {
        return Some(format!("{key} is a section: name a setting of it, as in pool.max_idle_time"));
    }
    let plain = section.to_lowercase().replace(['_', '-'], "").replace("center", "centre");
    let is_like = |other: &str| plain.trim_end_matches('s') == other;
    if is_like("telegram") {
        return Some(format!("did you mean {}?", telegram::KEYS.join(" or ")));
    }
    let number = if name.is_empty() { "2" } else { name };
    is_like("datacentre").then(|| format!("did you mean {DATA_CENTRES}.{}?", redact_value(number)))
}

impl Settings {
    fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }
}

/// One setting, below what it is about.
fn write_setting(
    f: &mut fmt::Formatter<'_>,
    about: &str,
    origin: &str,
    text: fmt::Arguments<'_>,
) -> fmt::Result {
    writeln!(f, "{}\n{text}", wrapped(&format!("# {about} ({origin})"), "# "))
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = String::new();
        for setting in Setting::all() {
            let (group, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if group != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{group}]")?;
                group.clone_into(&mut section);
            }
            let value = self.config.text(setting.key).map_err(|_| fmt::Error)?;
            let text = format_args!("{name} = {value}");
            write_setting(f, setting.about, self.origin(setting.key), text)?;
        }
        for StaticSetting { key, value, about, .. } in self.of_the_command() {
            let (group, name) = key.split_once('.').unwrap_or(("", &key));
            if group != section {
                let about = "# where sessions without an address connect, and downloads go\n";
                let about = if group == DATA_CENTRES { about } else { "" };
                writeln!(f, "\n{about}[{group}]")?;
                group.clone_into(&mut section);
            }
            let is_text = value.parse::<f64>().is_err();
            let quote = if is_text { "\"" } else { "" };
            let text = format_args!("{name} = {quote}{value}{quote}");
            write_setting(f, &about, self.origin(&key), text)?;
        }
        Ok(())
    }
}
