//! Which events are shown: a level for all, and levels for parts of the program.
//!
//! Owns the syntax of `TELEPOOL_LOG`, which is that of `RUST_LOG` without spans.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Where the client library logs. It warns of every lost connection, which the pool counts, and tells
/// at `info` what it writes and reads, without an account: whoever wants that asks for it by name.
const CLIENT: &str = "grammers";

/// What is told of a value that makes no sense.
const REMEDY: &str = "must be off, error, warn, info, debug or trace, or such levels by target, as in \
                      info,telepool::runtime=debug,grammers=warn";

/// A level for everything, and some for targets that begin with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    general: Option<LevelFilter>,
    targets: Vec<(String, LevelFilter)>,
}

impl Directives {
    pub(super) fn filter(&self) -> Targets {
        let general = self.general.unwrap_or(LevelFilter::WARN);
        Targets::new()
            .with_default(general)
            .with_target(CLIENT, general.min(LevelFilter::ERROR))
            .with_targets(self.targets.iter().cloned())
    }
}

impl FromStr for Directives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut directives = Self::default();
        for directive in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            match directive.split_once('=') {
                None => directives.general = Some(level(directive)?),
                Some((target, its_level)) => {
                    let is_named = |it: char| it.is_ascii_alphanumeric() || "_:-".contains(it);
                    let target = target.trim();
                    if target.is_empty() || !target.chars().all(is_named) {
                        return Err(REMEDY.to_owned());
                    }
                    directives.targets.push((target.to_owned(), level(its_level.trim())?));
                }
            }
        }
        Ok(directives)
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let text = text.to_ascii_lowercase();
    // As Python has it, and many who come from there.
    let text = if text == "warning" { "warn" } else { &text };
    // The library also reads numbers, in an order that nobody would guess.
    let level = text.parse().ok().filter(|_| text.starts_with(char::is_alphabetic));
    level.ok_or_else(|| REMEDY.to_owned())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Whether a target is shown at each of two levels.
    fn shown(text: &str, target: &str, levels: [Level; 2]) -> [bool; 2] {
        let filter = text.parse::<Directives>().unwrap().filter();
        levels.map(|level| filter.would_enable(target, &level))
    }

    #[test]
    fn without_a_word_warnings_are_shown_and_the_clients_are_not() {
        assert_eq!(shown("", "telepool::pool", [Level::WARN, Level::INFO]), [true, false]);
        assert_eq!(shown(" , ", "grammers_mtsender", [Level::ERROR, Level::WARN]), [true, false]);
    }

    #[test]
    fn a_level_is_the_pools_and_the_client_is_heard_by_name_only() {
        for text in ["debug", " DEBUG ", "Debug,"] {
            assert_eq!(
                shown(text, "telepool::runtime", [Level::DEBUG, Level::TRACE]),
                [true, false]
            );
            assert_eq!(shown(text, "grammers_client", [Level::ERROR, Level::WARN]), [true, false]);
        }
        let both = "telepool=debug,grammers=warn";
        assert_eq!(shown(both, "telepool::pool", [Level::DEBUG, Level::TRACE]), [true, false]);
        assert_eq!(shown(both, "grammers_mtsender", [Level::WARN, Level::INFO]), [true, false]);
        assert_eq!(shown(both, "other", [Level::WARN, Level::INFO]), [true, false]);
        let one = "info , telepool::runtime = trace,grammers_mtproto=info";
        assert_eq!(shown(one, "telepool::runtime::tasks", [Level::TRACE; 2]), [true; 2]);
        assert_eq!(shown(one, "telepool::pool", [Level::INFO, Level::DEBUG]), [true, false]);
        assert_eq!(shown(one, "grammers_mtproto::mtp", [Level::INFO, Level::DEBUG]), [true, false]);
        assert_eq!(shown(one, "grammers_client", [Level::ERROR, Level::WARN]), [true, false]);
        assert_eq!(shown("off", "grammers_client", [Level::ERROR; 2]), [false; 2]);
    }

    #[test]
    fn pythons_word_for_a_warning_is_one_and_other_words_are_refused() {
        let of = |text: &str| text.parse::<Directives>();
        assert_eq!(of("warning"), of("warn"));
        assert_eq!(of("telepool=Warning"), of("telepool=warn"));
        for text in ["loud", "3", "telepool=", "=info", "info;debug", "a b=info", "telepool=2"] {
            assert!(of(text).unwrap_err().contains("telepool::runtime=debug"), "{text}");
        }
    }
}
