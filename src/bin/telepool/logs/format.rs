//! Format of the log: text for people, JSON for machines.

/// The variable that chooses the format.
pub(super) const FORMAT: &str = "TELEPOOL_LOG_FORMAT";

/// The format of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub(super) fn named(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// What is asked for, wherever that makes sense: also before the log has started.
    pub(super) fn wanted() -> Self {
        let text = std::env::var(FORMAT).ok();
        text.and_then(|text| Self::named(&text)).unwrap_or(Self::Text)
    }
}
