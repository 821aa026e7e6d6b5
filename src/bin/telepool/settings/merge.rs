//! Merging of settings: flags before the environment before the file before the defaults.
//!
//! Owns the reading of each source, and the origin that its values are told to have.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use telepool::config::Setting;

use super::values::Settings;
use crate::input;
use crate::secrets::{redact_value, toml_problem};

const PREFIX: &str = "TELEPOOL_";

/// Keys of the replaced application that are read too.
const FORMER: [(&str, &str); 2] = [
    ("monitoring.max_connections_per_account", "pool.max_connections_per_account"),
    ("monitoring.max_connection_idle_time", "pool.max_idle_time"),
];

/// Merges everything there is.
pub(super) fn load(
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
                redact_value(flag)
            ));
        };
        settings.set(key.trim(), value, "--set")?;
    }
    Ok(settings)
}

pub(super) fn merge_file(settings: &mut Settings, text: &str, origin: &str) -> Result<(), String> {
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

pub(super) fn merge_variable(
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
