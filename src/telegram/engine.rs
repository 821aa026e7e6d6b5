//! Engines: what carries the connections of a manager.
//!
//! Owns their names. Never opens anything.

use std::fmt;
use std::str::FromStr;

/// What carries the connections of a [`TelegramManager`](super::TelegramManager).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// Connections of telepool's own, tried against the sandbox data centre only; see
    /// [the module](super#two-engines).
    Wire,
    /// Those of `grammers-mtsender`, as every bot has that uses `grammers-client`.
    #[default]
    Grammers,
}

impl Engine {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Wire, Self::Grammers];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Grammers => "grammers",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text names no engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such engine: it is wire or grammers")]
pub struct UnknownEngine;

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|engine| engine.name() == text).ok_or(UnknownEngine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_found_by_its_name() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        assert_eq!("Wire".parse::<Engine>(), Err(UnknownEngine));
    }
}
