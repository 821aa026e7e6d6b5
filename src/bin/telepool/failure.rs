//! Failure of a command, with its exit status.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::secrets;

/// What is printed, and the status that the process ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
    /// After what time it may be tried again.
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), code, retry_after: None }
    }

    /// The user's input will not do; nothing was started.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(2, text)
    }

    /// Another process holds what is needed; nothing was started.
    pub(crate) fn held(text: impl Into<String>) -> Self {
        Self::new(3, text)
    }

    /// The work was begun and could not be ended.
    pub(crate) fn broken(text: impl Into<String>) -> Self {
        Self::new(1, text)
    }

    /// Nobody answers where a running pool was looked for.
    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self::new(3, text)
    }

    /// The user has ended it before there was anything to tell.
    pub(crate) fn interrupted() -> Self {
        Self::new(130, "ended before its time: there are no results")
    }

    /// The user has ended it, and some of it is done.
    pub(crate) fn stopped(text: impl Into<String>) -> Self {
        Self::new(130, text)
    }

    /// Somebody has to be asked, and nobody is there.
    pub(crate) fn missing(text: impl Into<String>) -> Self {
        Self::new(4, format!("missing: {}", text.into()))
    }

    /// It goes on later, and not now.
    pub(crate) fn later(text: impl Into<String>) -> Self {
        Self::new(75, text)
    }

    /// The same, after this time.
    pub(crate) fn after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The same for a program that reads JSON.
    pub(crate) fn event(&self) -> Value {
        json!({
            "event": "failed",
            "status": self.code,
            "problem": secrets::redact(self.text.clone()),
            "retry_after_s": self.retry_after.map(|after| after.as_secs()),
        })
    }

    /// The status that the process ends with.
    pub(crate) fn status(&self) -> u8 {
        self.code
    }

    /// Whether the user has ended it.
    pub(crate) fn is_stop(&self) -> bool {
        self.code == 130
    }

    /// Whether another process holds what is needed.
    pub(crate) fn is_held(&self) -> bool {
        self.code == 3
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// Says what is wrong with the arguments, or the help that was asked for.
pub(crate) fn misused(error: &clap::Error) -> ExitCode {
    let code = error.exit_code();
    if code == 0 {
        error.print().ok();
        return ExitCode::SUCCESS;
    }
    let text = secrets::redact(error.render().to_string());
    say!(ERROR "{}", text.trim_end());
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
