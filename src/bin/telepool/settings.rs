//! Where the configuration comes from: flags before the environment before the file before the
//! defaults.
//!
//! Owns the merging and the origin of each value. What a value may be is the library's business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use telepool::{Config, Setting};

const PREFIX: &str = "TELEPOOL_";

/// Keys of the replaced application that are read too.
const FORMER: [(&str, &str); 2] = [
    ("monitoring.max_connections_per_account", "pool.max_connections_per_account"),
    ("monitoring.max_connection_idle_time", "pool.max_idle_time"),
];

/// A configuration that remembers where its values are from.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    config: Config,
    origins: BTreeMap<String, String>,
}

impl Settings {
    fn set(&mut self, key: &str, value: &str, origin: &str) -> Result<(), String> {
        self.config.set(key, value).map_err(|error| format!("{origin}: {error}"))?;
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }
}

/// Merges everything there is.
pub(crate) fn load(
    file: Option<&Path>,
    flags: &[String],
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings, String> {
    let mut settings = Settings::default();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        merge_file(&mut settings, &text, &path.display().to_string())?;
    }
    for (name, value) in environment {
        merge_variable(&mut settings, &name, &value)?;
    }
    for flag in flags {
        let Some((key, value)) = flag.split_once('=') else {
            return Err(format!(
                "--set {flag}: write it as KEY=VALUE, as in pool.max_idle_time=5m"
            ));
        };
        settings.set(key.trim(), value, "--set")?;
    }
    Ok(settings)
}

fn merge_file(settings: &mut Settings, text: &str, origin: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{origin}: {error}"))?;
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
            other => return Err(format!("{origin}: {key} = {other}: must be a number or a text")),
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
    // Variables without a section, such as TELEPOOL_API_ID, are no settings of the pool.
    let Some((section, key)) = rest.split_once("__") else { return Ok(()) };
    let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
    let origin = format!("environment {PREFIX}{rest}");
    let Some(value) = value.to_str() else {
        return Err(format!("{origin}: the value is not text"));
    };
    settings.set(&key, value, &origin)
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
            let origin = self.origins.get(setting.key).map_or("default", String::as_str);
            writeln!(f, "{:<44} # {} ({origin})", format!("{name} = {value}"), setting.about)?;
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
    fn what_is_wrong_is_named_with_its_origin() {
        for (file, words) in [
            ("[pool]\nmax_idle_tine = 5", "did you mean pool.max_idle_time"),
            ("[pool]\nmax_connections = 0", "pool.max_connections = 0: must be"),
            ("[pool]\nmax_connections = true", "must be a number"),
            ("max_connections = 5", "outside a section"),
            ("[pool", "file:"),
        ] {
            let error = merged(file, &[], &[]).unwrap_err();
            assert!(error.contains(words) && error.contains("file"), "{error}");
        }
    }
}
