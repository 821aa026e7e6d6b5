//! Settings of the manager of accounts, which only the command has.
//!
//! Owns their names, limits and words. Never opens anything.

use std::time::Duration;

use telepool::config::parse_time;
use telepool::telegram::{Engine, TelegramSettings};

use crate::secrets::redact_value;

/// How long a session rests after a connection that was lost.
const REDIAL_AFTER_LOSS: &str = "telegram.redial_after_loss";
/// What carries the connections.
const ENGINE: &str = "telegram.engine";
/// All of them.
pub(super) const KEYS: [&str; 2] = [REDIAL_AFTER_LOSS, ENGINE];

/// The longest that a session may rest.
const REDIAL_AFTER_LOSS_MAX: Duration = Duration::from_secs(3_600);

/// What is set.
#[derive(Clone, Debug)]
pub(super) struct TelegramValues {
    pub(super) redial_after_loss: Duration,
    pub(super) engine: Engine,
}

/// A setting in words.
pub(super) struct OwnSetting {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) accepts: &'static str,
    pub(super) about: &'static str,
}

impl Default for TelegramValues {
    fn default() -> Self {
        let settings = TelegramSettings::new(1);
        Self { redial_after_loss: settings.redial_after_loss, engine: settings.engine }
    }
}

impl TelegramValues {
    /// Each of them, in the order of the printed form.
    pub(super) fn all(&self) -> [OwnSetting; 2] {
        [
            OwnSetting {
                key: REDIAL_AFTER_LOSS,
                value: self.redial_after_loss.as_secs_f64().to_string(),
                accepts: "a time from 0 s to 1 h: seconds, or with a unit as in 250ms, 30s, 5m, 1h",
                about: "a session is not dialled for this long after its connection was lost unnoticed",
            },
            OwnSetting {
                key: ENGINE,
                value: self.engine.to_string(),
                accepts: "wire or grammers",
                about: "what carries the connections: telepool's own wire, tried against the sandbox only, or the \
                        client library's",
            },
        ]
    }

    /// Sets one of them.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = value.trim();
        let is_set = match key {
            ENGINE => text.parse().map(|engine| self.engine = engine).is_ok(),
            _ => parse_time(text)
                .filter(|time| *time <= REDIAL_AFTER_LOSS_MAX)
                .map(|time| self.redial_after_loss = time)
                .is_some(),
        };
        if is_set {
            return Ok(());
        }
        let accepts = self.all().into_iter().find(|it| it.key == key).map_or("", |it| it.accepts);
        Err(format!("{key} = {}: must be {accepts}", redact_value(value)))
    }
}
