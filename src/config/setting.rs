//! The table of settings: of each its key, its limits, and how it is read and written as text.
//!
//! Owns what a setting accepts.

use std::fmt;
use std::time::Duration;

use super::{Config, ConfigError, KEY_LEN_MAX, VALUE_LEN_MAX, shown};

/// One row of the table of settings.
#[derive(Debug)]
pub struct Setting {
    /// The key, such as `pool.max_idle_time`.
    pub key: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    pub(super) range: SettingRange,
    pub(super) read: fn(&Config) -> SettingValue,
    pub(super) write: fn(&mut Config, SettingValue),
}

impl Setting {
    /// Every setting, in the order of the documentation.
    #[must_use]
    pub fn all() -> &'static [Self] {
        SETTINGS
    }

    /// What the setting accepts, in words.
    #[must_use]
    pub fn accepts(&self) -> String {
        self.range.to_string()
    }

    pub(super) fn find(key: &str) -> Result<&'static Self, ConfigError> {
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| {
            let nearest = SETTINGS.iter().min_by_key(|setting| distance(key, setting.key));
            // A key that is mostly different was not meant for any of them.
            let suggestion = nearest.map(|setting| setting.key);
            let suggestion = suggestion.filter(|name| distance(key, name) <= name.len() / 3);
            ConfigError::UnknownKey { key: shown(key, KEY_LEN_MAX), suggestion }
        })
    }

    pub(super) fn refuse(&self, text: &str) -> ConfigError {
        ConfigError::Value {
            key: self.key,
            value: shown(text, VALUE_LEN_MAX),
            accepts: self.accepts(),
        }
    }
}

macro_rules! setting {
    ($group:ident . $field:ident, $kind:ident as $take:ident, $range:expr, $about:literal) => {
        Setting {
            key: concat!(stringify!($group), ".", stringify!($field)),
            about: $about,
            range: $range,
            read: |config| SettingValue::$kind(config.$group.$field.into()),
            write: |config, value| config.$group.$field = value.$take(),
        }
    };
}

const fn count(max: u64) -> SettingRange {
    SettingRange::Count { min: 1, max }
}

const fn time(min_ms: u64, max_days: u64) -> SettingRange {
    SettingRange::Time { min_ms, max_days }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        pool.max_connections_per_account,
        Count as small,
        count(64),
        "upper bound of connections per account; never more than its sessions"
    ),
    setting!(
        pool.max_connections,
        Count as small,
        count(1_000_000),
        "upper bound of connections of the whole pool"
    ),
    setting!(
        pool.max_idle_time,
        Time as time,
        time(1, 30),
        "a connection unused for this long is closed"
    ),
    setting!(
        pool.max_connection_age,
        Time as time,
        time(1, 365),
        "a connection older than this is replaced"
    ),
    setting!(
        pool.age_jitter,
        Fraction as fraction,
        SettingRange::Fraction { max: 0.9 },
        "fraction by which each connection's age limit is drawn lower"
    ),
    setting!(pool.cleanup_interval, Time as time, time(1, 1), "tick of the expiry wheel"),
    setting!(
        pool.max_leases_per_connection,
        Count as small,
        count(1024),
        "upper bound of leases that share a connection"
    ),
    setting!(pool.acquire_timeout, Time as time, time(0, 1), "how long an acquire waits"),
    setting!(pool.dial_timeout, Time as time, time(1, 1), "how long one connect may take"),
    setting!(
        pool.check_after_idle,
        Time as time,
        time(0, 30),
        "a connection idle for longer is checked before reuse"
    ),
    setting!(pool.check_timeout, Time as time, time(1, 1), "how long one check may take"),
    setting!(pool.close_timeout, Time as time, time(1, 1), "how long one close may take"),
    setting!(
        pool.drain_timeout,
        Time as time,
        time(0, 1),
        "how long a retired connection may stay leased"
    ),
    setting!(
        dial.per_second,
        Count as small,
        count(100_000),
        "dials that may start in a second, per egress"
    ),
    setting!(
        dial.handshakes,
        Count as small,
        count(10_000),
        "dials that may be under way at once to one address, per egress"
    ),
    setting!(
        flood.wait_max,
        Time as time,
        time(0, 1),
        "longest flood wait that a call sits out by itself"
    ),
    setting!(
        health.probe_after,
        Time as time,
        time(1, 1),
        "when a session that the server did not know is dialled once more"
    ),
    setting!(
        health.login_check_every,
        Time as time,
        time(1, 30),
        "a connection that showed no login for this long is asked for it"
    ),
    setting!(
        watch.slow_acquire,
        Time as time,
        time(1, 1),
        "an acquire that waited for longer is told"
    ),
    setting!(
        watch.held_lease,
        Time as time,
        time(1, 30),
        "a lease that was held for longer is told"
    ),
];

#[derive(Clone, Copy, Debug)]
pub(super) enum SettingValue {
    Count(u64),
    Time(Duration),
    Fraction(f64),
}

impl SettingValue {
    fn count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Time(_) | Self::Fraction(_) => unreachable!("BUG: the table mixes kinds"),
        }
    }

    fn small<T: TryFrom<u64>>(self) -> T {
        T::try_from(self.count()).ok().expect("BUG: the limits of the table exceed the field")
    }

    fn time(self) -> Duration {
        match self {
            Self::Time(time) => time,
            Self::Count(_) | Self::Fraction(_) => unreachable!("BUG: the table mixes kinds"),
        }
    }

    fn fraction(self) -> f64 {
        match self {
            Self::Fraction(fraction) => fraction,
            Self::Count(_) | Self::Time(_) => unreachable!("BUG: the table mixes kinds"),
        }
    }
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Time(time) => time.as_secs_f64().fmt(f),
            Self::Fraction(fraction) => fraction.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SettingRange {
    Count { min: u64, max: u64 },
    Time { min_ms: u64, max_days: u64 },
    Fraction { max: f64 },
}

impl SettingRange {
    pub(super) fn parse(self, text: &str) -> Option<SettingValue> {
        let value = match self {
            Self::Count { .. } => SettingValue::Count(text.replace('_', "").parse().ok()?),
            Self::Time { .. } => SettingValue::Time(parse_time(text)?),
            Self::Fraction { .. } => SettingValue::Fraction(text.parse().ok()?),
        };
        self.allow(value).then_some(value)
    }

    pub(super) fn allow(self, value: SettingValue) -> bool {
        match (self, value) {
            (Self::Count { min, max }, SettingValue::Count(count)) => (min..=max).contains(&count),
            (Self::Time { min_ms, max_days }, SettingValue::Time(time)) => {
                let max = Duration::from_secs(max_days * 86_400);
                (Duration::from_millis(min_ms)..=max).contains(&time)
            }
            (Self::Fraction { max }, SettingValue::Fraction(fraction)) => {
                (0.0..=max).contains(&fraction)
            }
            _ => false,
        }
    }
}

impl fmt::Display for SettingRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Time { min_ms, max_days } => write!(
                f,
                "a time from {} s to {max_days} d: seconds, or with a unit as in 250ms, 30s, 5m, 1h",
                Duration::from_millis(*min_ms).as_secs_f64()
            ),
            Self::Fraction { max } => write!(f, "a fraction from 0 to {max}"),
        }
    }
}

/// Reads seconds (`300`, `0.5`) or a number with a unit (`250ms`, `30s`, `5m`, `1h`, `2d`).
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    // `f64::from_str` also reads "inf", "nan" and exponents, none of which is a time.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * unit).ok()
}

/// The number of single-character edits between two keys (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // A key is short; a hostile text is cut so that the work stays bounded.
    let a: Vec<char> = a.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(*from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
