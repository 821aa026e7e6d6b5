//! The pool's configuration: one table of settings that the builder, the configuration file,
//! the environment, the flags and the documentation all go by.
//!
//! Owns the values, their defaults, their limits and their text form. Reads no file and no
//! environment, and knows nothing of TOML.

mod setting;

use std::time::Duration;

use setting::SETTINGS;
pub use setting::{Setting, parse_time};

/// Everything a pool can be told. Cheap to clone; swapped whole at run time.
///
/// ```
/// let mut config = telepool::Config::default();
/// config.set("pool.max_idle_time", "5m")?;
/// assert_eq!(config.pool.max_idle_time.as_secs(), 300);
/// let error = config.set("pool.max_idle_tine", "5m").unwrap_err();
/// assert!(error.to_string().contains("did you mean pool.max_idle_time"));
/// # Ok::<(), telepool::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Caps, expiry and deadlines.
    pub pool: PoolConfig,
    /// Pacing of dials.
    pub dial: DialConfig,
    /// Flood waits.
    pub flood: FloodConfig,
    /// Suspect sessions.
    pub health: HealthConfig,
    /// What is worth a warning.
    pub watch: WatchConfig,
}

/// The `[pool]` settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Upper bound of connections per account; an account has at most one per session.
    pub max_connections_per_account: u16,
    /// Upper bound of connections of the whole pool.
    pub max_connections: u32,
    /// A connection that nobody used for this long is closed.
    pub max_idle_time: Duration,
    /// A connection older than this is closed, if leased on its return.
    pub max_connection_age: Duration,
    /// The fraction of `max_connection_age` by which each connection's own limit is drawn
    /// lower, so that connections born together do not die together.
    pub age_jitter: f64,
    /// The tick of the expiry wheel: how late an expiry may be.
    pub cleanup_interval: Duration,
    /// Upper bound of leases that share one connection; the manager may ask for fewer.
    pub max_leases_per_connection: u16,
    /// How long an acquire waits.
    pub acquire_timeout: Duration,
    /// How long one connect may take.
    pub dial_timeout: Duration,
    /// A connection that was idle for longer is checked before it is leased.
    pub check_after_idle: Duration,
    /// How long one check may take.
    pub check_timeout: Duration,
    /// How long one close may take.
    pub close_timeout: Duration,
    /// How long a retired connection may stay leased before it is closed by force.
    pub drain_timeout: Duration,
}

/// The `[dial]` settings. Both limits are per egress; that of handshakes for each address by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialConfig {
    /// Dials that may start in a second.
    pub per_second: u32,
    /// Dials that may be under way at once to one address.
    pub handshakes: u32,
}

/// The `[flood]` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FloodConfig {
    /// The longest flood wait that a call sits out by itself.
    pub wait_max: Duration,
}

/// The `[health]` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// How long after the server did not know a session it is dialled once more.
    pub probe_after: Duration,
    /// How long a connection may go without a call that needs the session's login, before the
    /// session is asked for it: pings go on working on a session that was ended.
    pub login_check_every: Duration,
}

/// The `[watch]` settings: what is told by an event, a line of the log and a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchConfig {
    /// An acquire that waited for longer.
    pub slow_acquire: Duration,
    /// A lease that was held for longer, which may have been forgotten.
    pub held_lease: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            pool: PoolConfig {
                max_connections_per_account: 3,
                max_connections: 10_000,
                max_idle_time: seconds(300),
                max_connection_age: seconds(3600),
                age_jitter: 0.1,
                cleanup_interval: seconds(60),
                max_leases_per_connection: 32,
                acquire_timeout: seconds(10),
                dial_timeout: seconds(10),
                check_after_idle: seconds(30),
                check_timeout: seconds(5),
                close_timeout: seconds(2),
                drain_timeout: seconds(30),
            },
            dial: DialConfig { per_second: 10, handshakes: 3 },
            flood: FloodConfig { wait_max: seconds(5) },
            health: HealthConfig { probe_after: seconds(300), login_check_every: seconds(600) },
            watch: WatchConfig { slow_acquire: seconds(1), held_lease: seconds(300) },
        }
    }
}

impl Config {
    /// Sets one value from text: a number, or for times a number of seconds or `250ms`, `5m`,
    /// `1h`, `2d`.
    ///
    /// # Errors
    /// An unknown key, a text of the wrong form, or a value beyond the setting's limits; the
    /// configuration is then unchanged.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let setting = Setting::find(key)?;
        let value = setting.range.parse(text.trim()).ok_or_else(|| setting.refuse(text))?;
        (setting.write)(self, value);
        Ok(())
    }

    /// The value of a key in the text form that [`Config::set`] reads.
    ///
    /// # Errors
    /// An unknown key.
    pub fn text(&self, key: &str) -> Result<String, ConfigError> {
        Ok((Setting::find(key)?.read)(self).to_string())
    }

    /// Checks values that were written to the fields directly.
    ///
    /// # Errors
    /// The first value beyond its limits.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            let value = (setting.read)(self);
            if !setting.range.allow(value) {
                return Err(setting.refuse(&value.to_string()));
            }
        }
        Ok(())
    }
}

/// No value is longer, nor the word that somebody may have written for one.
pub(crate) const VALUE_LEN_MAX: usize = 24;
/// The same of keys.
const KEY_LEN_MAX: usize = 48;

/// A text as an error may repeat it. Nothing takes a longer one, and what is long may be a secret in the
/// wrong place.
pub(crate) fn shown(text: &str, len_max: usize) -> String {
    match text.chars().count() {
        count if count <= len_max && !text.contains(|c: char| c.is_control() || c == '@') => {
            text.to_owned()
        }
        count => format!("(a text of {count} characters)"),
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such setting.
    #[error("there is no setting {key}: {}", meant(.suggestion))]
    UnknownKey {
        /// What was asked for.
        key: String,
        /// The setting whose name is nearest, if any is near.
        suggestion: Option<&'static str>,
    },
    /// A value of the wrong form or beyond the limits.
    #[error("{key} = {value}: must be {accepts}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The refused value, or its length if it might be a misplaced secret.
        value: String,
        /// What would do.
        accepts: String,
    },
}

fn meant(suggestion: &Option<&str>) -> String {
    suggestion.map_or_else(
        || "the settings are those of pool, dial, flood, health and watch".to_owned(),
        |setting| format!("did you mean {setting}?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_limits_and_survive_a_round_trip() {
        let defaults = Config::default();
        defaults.validate().unwrap();
        for setting in Setting::all() {
            let mut config = Config::default();
            let text = config.text(setting.key).unwrap();
            config.set(setting.key, &text).unwrap();
            assert_eq!(config, defaults, "{}", setting.key);
        }
    }

    #[test]
    fn times_are_seconds_or_carry_a_unit() {
        for (text, millis) in
            [("300", 300_000), ("0.5", 500), ("250ms", 250), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse_time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "m", "-5", "inf", "1e3", "5 m", "5x", "nan", "1.2.3", "99999999999999999999d"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_refused_value_changes_nothing_and_names_key_value_and_remedy() {
        let mut config = Config::default();
        for (key, value) in [
            ("pool.max_connections", "0"),
            ("pool.max_connections", "-1"),
            ("pool.max_connections_per_account", "65"),
            ("pool.max_idle_time", "0"),
            ("pool.age_jitter", "1.5"),
            ("dial.per_second", "many"),
        ] {
            let error = config.set(key, value).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
            assert!(error.contains("must be"), "{error}");
        }
        for (key, hint) in [
            ("pool.max_idle_tine", "did you mean pool.max_idle_time?"),
            ("database.url", "the settings are those of pool"),
            ("", "the settings are those of pool"),
        ] {
            let error = config.set(key, "5").unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn a_value_written_to_a_field_is_validated_too() {
        let mut config = Config::default();
        config.pool.max_connections = 0;
        let error = config.validate().unwrap_err();
        assert!(matches!(error, ConfigError::Value { key: "pool.max_connections", .. }));
    }
}
