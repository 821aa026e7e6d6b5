//! The log, on standard error and above the status line.
//!
//! Owns its two formats, lines for people and JSON for machines. What is logged is told in
//! `directives`, what becomes of text that others have written in `escape`, and what the command says
//! itself in `messages`.

mod directives;
mod escape;
mod format;
mod messages;

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::failure::Failure;
use crate::secrets::{may_be_secret, redact_value};
use directives::Directives;
pub(crate) use escape::escaped;
use format::{FORMAT, LogFormat};
#[cfg(feature = "bench")]
pub(crate) use messages::forward;
pub(crate) use messages::{report_panics, say};

/// What is logged.
const LOG: &str = "TELEPOOL_LOG";
/// Settings of the log, from the environment.
#[derive(Debug)]
pub(crate) struct LogSettings {
    directives: Directives,
    format: LogFormat,
}

impl LogSettings {
    /// Reads both variables, or says what is wrong with one.
    pub(crate) fn read() -> Result<Self, Failure> {
        let directives = match variable(LOG)? {
            Some(text) => text.parse().map_err(|what| refuse(LOG, &text, what))?,
            None => Directives::default(),
        };
        let format = match variable(FORMAT)? {
            None => LogFormat::Text,
            Some(text) => match LogFormat::named(&text) {
                Some(format) => format,
                None => return Err(refuse(FORMAT, &text, "must be text or json".into())),
            },
        };
        Ok(Self { directives, format })
    }
}

/// A variable that is set. An empty one is not: Compose hands one over for each that is unset.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let Ok(text) = value.into_string() else {
        return Err(Failure::refused(format!("{name}: the value is not text")));
    };
    let inside = text.trim();
    if let Some(quote @ ('"' | '\'')) = inside.chars().next()
        && inside.ends_with(quote)
    {
        let what = "the quotes are part of the value, which a shell would have removed: leave them \
                    away";
        return Err(refuse(name, &text, what.into()));
    }
    Ok((!inside.is_empty()).then_some(text))
}

/// Of a longer value the length is told: it may be a secret in the wrong place.
const VALUE_LEN_MAX: usize = 64;

fn refuse(name: &str, text: &str, what: String) -> Failure {
    let is_hidden = text.chars().count() > VALUE_LEN_MAX || may_be_secret(text);
    let text = if is_hidden { redact_value(text) } else { escaped(text).to_string() };
    Failure::refused(format!("{name} = {text}: {what}"))
}

/// Starts the log, as the environment asks for it. Unless that says otherwise, warnings are shown.
pub(crate) fn start(line: &ProgressBar) -> Result<(), Failure> {
    let LogSettings { directives, format } = LogSettings::read()?;
    let lines = match format {
        LogFormat::Text => text(line.clone()),
        LogFormat::Json => json(line.clone()),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(directives.filter()));
    // Refused only if there is a log already.
    tracing::subscriber::set_global_default(subscriber).ok();
    Ok(())
}

fn text<S>(line: ProgressBar) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let fields = debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", escaped(&text)),
            name => write!(writer, "{name}={}", escaped(&text)),
        }
    });
    let lines = layer()
        // It would panic over an error that has lost its reader.
        .log_internal_errors(false)
        .fmt_fields(fields.delimited(" "))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || AboveStatusLine { line: line.clone(), format: LogFormat::Text });
    Box::new(lines)
}

fn json<S>(line: ProgressBar) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = layer()
        // It would panic over an error that has lost its reader.
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_writer(move || AboveStatusLine { line: line.clone(), format: LogFormat::Json });
    Box::new(lines)
}

/// Standard error, with the status line out of the way.
struct AboveStatusLine {
    line: ProgressBar,
    format: LogFormat,
}

impl Write for AboveStatusLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let told = match self.format {
            // Its texts are escaped where they come in; the colours are meant.
            LogFormat::Text => None,
            LogFormat::Json => Some(escape::in_json(&String::from_utf8_lossy(bytes))),
        };
        let told = told.as_deref().map_or(bytes, str::as_bytes);
        // One event is one write, here as well: lines of several threads do not mix.
        self.line.suspend(|| io::stderr().write_all(told)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
