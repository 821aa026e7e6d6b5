//! Where the configuration comes from: flags before the environment before the file before the
//! defaults.
//!
//! Owns the merging and the origin of each value. What a value may be is the library's business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use telepool::session::DataCentres;
use telepool::telegram::TelegramSettings;
use telepool::{Config, ConfigError, Setting, parse_time};

use crate::columns::wrapped;
use crate::input;
use crate::secrets::{shown, toml_problem};

const PREFIX: &str = "TELEPOOL_";

/// Keys of the replaced application that are read too.
const FORMER: [(&str, &str); 2] = [
    ("monitoring.max_connections_per_account", "pool.max_connections_per_account"),
    ("monitoring.max_connection_idle_time", "pool.max_idle_time"),
];

/// The section of the data centres' addresses, which only the command knows.
const DATA_CENTRES: &str = "data_centres";

/// How long a session rests after a connection that was lost, which only the client behind the pool
/// needs to know.
const REDIAL_AFTER_LOSS: &str = "telegram.redial_after_loss";
/// The longest that it may be.
const REDIAL_AFTER_LOSS_MAX: Duration = Duration::from_secs(3_600);

/// A configuration that remembers where its values are from.
#[derive(Debug)]
pub(crate) struct Settings {
    config: Config,
    data_centres: DataCentres,
    redial_after_loss: Duration,
    origins: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config::default(),
            data_centres: DataCentres::production(),
            redial_after_loss: TelegramSettings::new(1).redial_after_loss,
            origins: BTreeMap::new(),
        }
    }
}

/// Reads a time of the command line.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| "must be seconds, or a time such as 250ms, 30s, 5m".to_owned())
}

/// Reads a number of the command line.
pub(crate) fn count<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}, in digits alone, such as 1000")
        })
    }
}

/// Reads what chances are drawn from.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("must be a whole number from 0 to {}, in digits alone", u64::MAX))
}

/// Reads an address of the command line.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| "must be an address with a port, such as 127.0.0.1:9464".to_owned())
}

/// Whether somebody has put quotes around a value that a shell or Compose did not take off.
pub(crate) fn is_quoted(value: &str) -> bool {
    let value = value.trim();
    value.len() > 1
        && ['"', '\''].iter().any(|quote| value.starts_with(*quote) && value.ends_with(*quote))
}

impl Settings {
    /// The defaults of a run. Containers are killed 10 s after they were asked to end, and a call of
    /// the command takes 5 s at most: a run that waits no longer than this ends by itself, with
    /// `close_timeout` on top.
    pub(crate) fn for_serve() -> Self {
        Self::default().with("serve", &[("pool.drain_timeout", "6")])
    }

    /// The same where no server far away has to be spared: dials need no pacing.
    pub(crate) fn for_sandbox() -> Self {
        let pace = [("dial.per_second", "2000"), ("dial.handshakes", "64")];
        Self::for_serve().with("sandbox", &pace)
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
        self.redial_after_loss
    }

    fn set(&mut self, key: &str, value: &str, origin: &str) -> Result<(), String> {
        if is_quoted(value) {
            return Err(format!(
                "{origin}: the value of {key} has quotes around it: leave them out"
            ));
        }
        match key.split_once('.') {
            Some((DATA_CENTRES, number)) => self.set_data_centre(number, value),
            _ if key == REDIAL_AFTER_LOSS => self.set_redial_after_loss(value),
            _ => self.config.set(key, value).map_err(|error| match error {
                // The library does not know what only the command has.
                ConfigError::UnknownKey { suggestion: None, .. } => match near(key) {
                    Some(near) => format!("there is no setting {}: {near}", shown(key)),
                    None => format!("{error}, and of the command also telegram and {DATA_CENTRES}"),
                },
                error => error.to_string(),
            }),
        }
        .map_err(|error| format!("{origin}: {error}"))?;
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    fn set_redial_after_loss(&mut self, value: &str) -> Result<(), String> {
        let time = parse_time(value.trim()).filter(|time| *time <= REDIAL_AFTER_LOSS_MAX);
        self.redial_after_loss = time.ok_or_else(|| {
            format!(
                "{REDIAL_AFTER_LOSS} = {}: must be a time from 0 s to 1 h: seconds, or with a unit as \
                 in 250ms, 30s, 5m, 1h",
                shown(value)
            )
        })?;
        Ok(())
    }

    fn set_data_centre(&mut self, number: &str, value: &str) -> Result<(), String> {
        let refuse =
            |what: &str| format!("{DATA_CENTRES}.{} = {}: {what}", shown(number), shown(value));
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

/// What may have been meant by a key that neither the library nor the command has.
fn near(key: &str) -> Option<String> {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    if Setting::all().iter().any(|it| it.key.split_once('.').is_some_and(|it| it.0 == key)) {
        return Some(format!("{key} is a section: name a setting of it, as in pool.max_idle_time"));
    }
    let plain = section.to_lowercase().replace(['_', '-'], "").replace("center", "centre");
    let is_like = |other: &str| plain.trim_end_matches('s') == other;
    if is_like("telegram") {
        return Some(format!("did you mean {REDIAL_AFTER_LOSS}?"));
    }
    let number = if name.is_empty() { "2" } else { name };
    is_like("datacentre").then(|| format!("did you mean {DATA_CENTRES}.{}?", shown(number)))
}

/// Merges everything there is.
pub(crate) fn load(
    base: Settings,
    file: Option<&Path>,
    flags: &[String],
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings, String> {
    let mut settings = base;
    if let Some(path) = file {
        let text = input::text(path).map_err(|problem| {
            let shown = path.display();
            format!(
                "cannot read {shown}: {problem}: give --config a file in TOML (`telepool config` \
                 prints one), or leave it out"
            )
        })?;
        merge_file(&mut settings, &text, &path.display().to_string())?;
    }
    for (name, value) in environment {
        merge_variable(&mut settings, &name, &value)?;
    }
    for flag in flags {
        let Some((key, value)) = flag.split_once('=') else {
            return Err(format!(
                "--set {}: write it as KEY=VALUE, as in pool.max_idle_time=5m",
                shown(flag)
            ));
        };
        settings.set(key.trim(), value, "--set")?;
    }
    Ok(settings)
}

fn merge_file(settings: &mut Settings, text: &str, origin: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error| {
        let problem = toml_problem(text, &error);
        format!("{origin}: {problem}: a configuration is TOML, as `telepool config` prints one")
    })?;
    let mut read = BTreeMap::new();
    for (section, values) in &table {
        let Some(values) = values.as_table() else {
            return Err(format!("{origin}: {section} stands outside a section such as [pool]"));
        };
        for (name, value) in values {
            let key = format!("{section}.{name}");
            let former = FORMER.iter().find(|(former, _)| *former == key);
            read.insert(key.clone(), (former.map_or(key, |(_, key)| (*key).to_owned()), value));
        }
    }
    // "monitoring" sorts before "pool", so that a present key wins over its former name.
    for (key, value) in read.values() {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            other => {
                let found = other.type_str();
                return Err(format!(
                    "{origin}: {key} is of type {found}: must be a number or a text"
                ));
            }
        };
        settings.set(key, &text, origin)?;
    }
    Ok(())
}

fn merge_variable(
    settings: &mut Settings,
    name: &OsString,
    value: &OsString,
) -> Result<(), String> {
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
        return Ok(());
    };
    // Compose writes `${X:-}` as an empty one.
    if value.to_str().is_some_and(|value| value.trim().is_empty()) {
        return Ok(());
    }
    // Variables without a section, such as TELEPOOL_API_ID, are no settings of the pool.
    let Some((section, key)) = rest.split_once("__") else {
        let spelled = |setting: &&Setting| setting.key.replace('.', "_") == rest.to_lowercase();
        return match Setting::all().iter().find(spelled) {
            None => Ok(()),
            Some(setting) => Err(format!(
                "{PREFIX}{rest}: two underscores stand after the section: {PREFIX}{}",
                setting.key.replace('.', "__").to_uppercase()
            )),
        };
    };
    let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
    let origin = format!("environment {PREFIX}{rest}");
    let Some(value) = value.to_str() else {
        return Err(format!("{origin}: the value is not text"));
    };
    settings.set(&key, value, &origin)
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
        let mut section = "";
        for setting in Setting::all() {
            let (group, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if group != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{group}]")?;
                section = group;
            }
            let value = self.config.text(setting.key).map_err(|_| fmt::Error)?;
            let text = format_args!("{name} = {value}");
            write_setting(f, setting.about, self.origin(setting.key), text)?;
        }
        let (group, name) = REDIAL_AFTER_LOSS.split_once('.').unwrap_or_default();
        writeln!(f, "\n[{group}]")?;
        let about =
            "a session is not dialled for this long after its connection was lost unnoticed";
        let text = format_args!("{name} = {}", self.redial_after_loss.as_secs_f64());
        write_setting(f, about, self.origin(REDIAL_AFTER_LOSS), text)?;
        writeln!(f, "\n# where sessions without an address connect, and downloads go")?;
        writeln!(f, "[{DATA_CENTRES}]")?;
        for (number, address) in self.data_centres.iter() {
            let origin = self.origin(&format!("{DATA_CENTRES}.{number}"));
            let text = format_args!("{number} = \"{address}\"");
            write_setting(f, &format!("data centre {number}"), origin, text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
        let mut settings = Settings::default();
        merge_file(&mut settings, file, "file")?;
        for (name, value) in variables {
            merge_variable(&mut settings, &OsString::from(name), &OsString::from(value))?;
        }
        for flag in flags {
            let (key, value) = flag.split_once('=').unwrap();
            settings.set(key, value, "--set")?;
        }
        Ok(settings)
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file = "[pool]\nmax_idle_time = \"1m\"\nmax_connections = 7\nage_jitter = 0.2";
        let variables = [("TELEPOOL_POOL__MAX_CONNECTIONS", "8"), ("TELEPOOL_API_ID", "1")];
        let settings = merged(
            file,
            &[variables[0], variables[1], ("TELEPOOL_POOL__MAX_IDLE_TIME", "2m")],
            &["pool.max_idle_time=3m"],
        )
        .unwrap();
        assert_eq!(settings.config.pool.max_idle_time.as_secs(), 180);
        assert_eq!(settings.config.pool.max_connections, 8);
        assert_eq!(settings.origins["pool.max_idle_time"], "--set");
        assert_eq!(settings.origins["pool.age_jitter"], "file");
    }

    #[test]
    fn the_former_names_are_read_and_the_present_ones_win() {
        let file = "[monitoring]\nmax_connection_idle_time = 60\nmax_connections_per_account = 2";
        let settings = merged(file, &[], &[]).unwrap();
        assert_eq!(settings.config.pool.max_idle_time.as_secs(), 60);
        assert_eq!(settings.config.pool.max_connections_per_account, 2);
        let both = format!("{file}\n[pool]\nmax_idle_time = 90");
        assert_eq!(merged(&both, &[], &[]).unwrap().config.pool.max_idle_time.as_secs(), 90);
    }

    #[test]
    fn a_variable_that_was_meant_for_a_setting_is_not_ignored() {
        let error = merged("", &[("TELEPOOL_POOL_MAX_IDLE_TIME", "7m")], &[]).unwrap_err();
        assert!(error.contains("TELEPOOL_POOL__MAX_IDLE_TIME"), "{error}");
    }

    #[test]
    fn a_number_that_is_none_is_told_what_it_may_be() {
        let read = count::<u32>(1..=100_000);
        assert_eq!((read("1000"), read(" 7 ")), (Ok(1000), Ok(7)));
        for text in ["1k", "1-3", "", "0", "100001", "-1", "1e3", "99999999999999999999"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("a whole number from 1 to 100000"), "{text}: {error}");
        }
    }

    #[test]
    fn an_empty_variable_is_none() {
        for value in ["", " "] {
            let variables = [
                ("TELEPOOL_POOL__MAX_IDLE_TIME", value),
                ("TELEPOOL_DATA_CENTRES__2", value),
                ("TELEPOOL_TELEGRAM__REDIAL_AFTER_LOSS", value),
                ("TELEPOOL_POOL_MAX_IDLE_TIME", value),
            ];
            let settings = merged("[pool]\nmax_idle_time = 60", &variables, &[]).unwrap();
            assert_eq!(settings.config.pool.max_idle_time.as_secs(), 60);
            assert_eq!(settings.origins["pool.max_idle_time"], "file");
            assert_eq!(settings.data_centres, DataCentres::production());
        }
        assert!(
            merged("[pool]\nmax_idle_time = ''", &[], &[]).is_err(),
            "in a file it says nothing"
        );
    }

    #[test]
    fn quotes_around_a_value_are_named() {
        for name in [
            "TELEPOOL_POOL__MAX_IDLE_TIME",
            "TELEPOOL_TELEGRAM__REDIAL_AFTER_LOSS",
            "TELEPOOL_DATA_CENTRES__2",
        ] {
            for value in ["\"5m\"", "'5m'", " \"5m\" ", "\"\""] {
                let error = merged("", &[(name, value)], &[]).unwrap_err();
                assert!(error.contains(name) && error.contains("has quotes around it"), "{error}");
            }
        }
    }

    #[test]
    fn what_may_be_a_secret_in_the_wrong_place_is_not_repeated() {
        let secret = "12345:0123456789abcdef0123456789abcdef";
        for key in ["pool.max_idle_time", "data_centres.2", "telegram.redial_after_loss"] {
            let (section, name) = key.split_once('.').unwrap();
            let variable = format!("TELEPOOL_{section}__{name}").to_uppercase();
            let flag = format!("{key}={secret}");
            for error in [
                merged(&format!("[{section}]\n{name} = '{secret}'"), &[], &[]).unwrap_err(),
                merged(&format!("[{section}]\n{name} = ['{secret}']"), &[], &[]).unwrap_err(),
                merged("", &[(&variable, secret)], &[]).unwrap_err(),
                merged("", &[], &[&flag]).unwrap_err(),
            ] {
                assert!(error.contains(key) && !error.contains("abcdef"), "{error}");
            }
        }
        let none = std::iter::empty();
        let error = load(Settings::default(), None, &[secret.to_owned()], none).unwrap_err();
        assert!(error.contains("KEY=VALUE") && !error.contains("abcdef"), "{error}");
    }

    #[test]
    fn data_centres_have_a_table_of_their_own() {
        let file = "[data_centres]\n2 = \"127.0.0.1:1\"\n9 = \"127.0.0.1:9\"";
        let settings = merged(file, &[], &["data_centres.2=127.0.0.1:2"]).unwrap();
        let address = |dc| settings.data_centres().address(dc).unwrap().to_string();
        assert_eq!((address(2), address(9)), ("127.0.0.1:2".into(), "127.0.0.1:9".into()));
        assert_eq!(address(1), DataCentres::production().address(1).unwrap().to_string());
        assert!(settings.to_string().contains("2 = \"127.0.0.1:2\""));
        assert_eq!(settings.data_centres().test_address(2), settings.data_centres().address(2));
        for file in ["[data_centres]\n0 = \"127.0.0.1:1\"", "[data_centres]\n1 = \"here\""] {
            assert!(merged(file, &[], &[]).unwrap_err().contains("file: data_centres."));
        }
    }

    #[test]
    fn a_data_centre_has_one_spelling_only() {
        for (number, table) in [
            ("02", "02 = '127.0.0.1:1'\n2 = '127.0.0.1:2'"),
            ("02", "02 = '127.0.0.1:1'"),
            ("+2", "'+2' = '127.0.0.1:1'"),
        ] {
            let error = merged(&format!("[data_centres]\n{table}"), &[], &[]).unwrap_err();
            assert!(error.contains(&format!("data_centres.{number} = ")), "{error}");
            assert!(error.contains("write its number as data_centres.2"), "{error}");
        }
        let error = merged("", &[("TELEPOOL_DATA_CENTRES__02", "127.0.0.1:1")], &[]).unwrap_err();
        assert!(error.contains("__02: data_centres.02 = 127.0.0.1:1: write"), "{error}");
        let secret = "5".repeat(40);
        let error = merged(&format!("[data_centres]\n{secret} = 'x'"), &[], &[]).unwrap_err();
        assert!(!error.contains("555") && error.contains("from 1 to 255"), "{error}");
    }

    #[test]
    fn a_check_that_never_comes_is_doubted_where_somebody_has_asked_for_it() {
        let doubt = |flags: &[&str]| merged("", &[], flags).unwrap().doubt();
        let told = doubt(&["pool.check_after_idle=60", "pool.max_idle_time=5"]).unwrap();
        assert!(told.contains("pool.check_after_idle = 60s is not below pool.max_idle_time = 5s"));
        assert_eq!(doubt(&["pool.max_idle_time=5"]), None, "the default follows nobody");
        assert_eq!(doubt(&["pool.check_after_idle=4", "pool.max_idle_time=5"]), None);
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let printed = Settings::for_sandbox().to_string();
        let again = merged(&printed, &[], &[]).unwrap();
        assert_eq!(again.config.dial.per_second, 2000);
        assert_eq!(again.data_centres, DataCentres::production());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_origin() {
        for (file, words) in [
            ("[pool]\nmax_idle_tine = 5", "did you mean pool.max_idle_time"),
            ("[pool]\nmax_connections = 0", "pool.max_connections = 0: must be"),
            ("[pool]\nmax_connections = true", "must be a number"),
            ("max_connections = 5", "outside a section"),
            ("[pool", "file:"),
            (
                "pool:\n  max_connections: 5\n",
                "a configuration is TOML, as `telepool config` prints one",
            ),
            ("[data_centers]\n2 = '1.2.3.4:5'", "did you mean data_centres.2?"),
            ("[telegram]\nredial = 5", "did you mean telegram.redial_after_loss?"),
            ("[database]\nurl = 5", "and of the command also telegram and data_centres"),
        ] {
            let error = merged(file, &[], &[]).unwrap_err();
            assert!(error.contains(words) && error.contains("file"), "{error}");
        }
        let error = Settings::default().set("pool", "5", "--set").unwrap_err();
        assert!(error.contains("pool is a section: name a setting of it"), "{error}");
    }
}
