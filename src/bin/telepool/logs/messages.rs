//! Messages of the command on standard error: its start, its end, and why it did not do its work.
//!
//! Owns their format, which is that of the log: whoever has asked for JSON reads every line as such. They
//! are written whatever `TELEPOOL_LOG` hides.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::panic;

use serde::Serialize;
use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::escape;
use super::format::LogFormat;

/// What a line for people begins with. One for machines has a target instead.
const NAME: &str = "telepool: ";

/// A line of the log as JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
    target: &'a str,
}

/// Writes a message. Whoever has closed standard error does not want to know, and nothing else that is to
/// be done depends on it.
pub(crate) fn say(level: Level, text: impl fmt::Display) {
    write(&line(LogFormat::wanted(), level, &text.to_string()));
}

/// Passes on a line of another process of the command, which is in the format of the log already.
#[cfg(feature = "bench")]
pub(crate) fn forward(text: &str) {
    match LogFormat::wanted() {
        // What is none yet is of the system's, such as the end of a process that ran out of memory.
        LogFormat::Json if !text.starts_with('{') => say(Level::ERROR, text),
        LogFormat::Json | LogFormat::Text => write(&format!("{text}\n")),
    }
}

/// Has panics written in the format of the log, if that is not text.
pub(crate) fn report_panics() {
    if LogFormat::wanted() == LogFormat::Text {
        return;
    }
    panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => say(Level::ERROR, format_args!("{panic}\n{trace}")),
            _ => say(Level::ERROR, panic),
        }
    }));
}

fn write(line: &str) {
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

fn line(format: LogFormat, level: Level, text: &str) -> String {
    if format == LogFormat::Text {
        return format!("{text}\n");
    }
    let mut timestamp = String::new();
    // By the log's own clock, so that the lines of both can be sorted.
    SystemTime.format_time(&mut Writer::new(&mut timestamp)).ok();
    let message = text.strip_prefix(NAME).unwrap_or(text);
    let line = JsonLine {
        timestamp: &timestamp,
        level: level.as_str(),
        message,
        target: NAME.trim_end_matches(": "),
    };
    let line = serde_json::to_string(&line).expect("BUG: texts always make JSON");
    escape::in_json(&(line + "\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_line_for_machines_is_one_whatever_is_said_and_for_people_it_stays() {
        let text = "telepool: a\n  b \"c\"\u{9b}\u{2028}";
        assert_eq!(line(LogFormat::Text, Level::WARN, text), format!("{text}\n"));
        let told = line(LogFormat::Json, Level::WARN, text);
        assert!(told.ends_with("}\n") && told.matches('\n').count() == 1, "{told}");
        assert!(!told.contains(['\u{9b}', '\u{2028}']), "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["level"], &told["target"]), (&"WARN".into(), &"telepool".into()));
        assert_eq!(told["message"], "a\n  b \"c\"\u{9b}\u{2028}");
        let timestamp = told["timestamp"].as_str().unwrap();
        assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'), "{timestamp}");
    }

    /// Set in the process that panics.
    const PANICS: &str = "TELEPOOL_TEST_PANICS";

    #[test]
    fn a_panic_is_written_in_the_format_of_the_log() {
        if std::env::var_os(PANICS).is_some() {
            report_panics();
            std::thread::spawn(|| panic!("a\nb")).join().unwrap_err();
            return;
        }
        let test = "logs::messages::tests::a_panic_is_written_in_the_format_of_the_log";
        let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", test, "--nocapture"]).env(PANICS, "1");
        itself.env("TELEPOOL_LOG_FORMAT", "json").env_remove("RUST_BACKTRACE");
        let told = String::from_utf8(itself.output().unwrap().stderr).unwrap();
        let line: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
        assert_eq!(line["level"], "ERROR");
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("panicked at") && message.ends_with("a\nb"), "{message}");
    }
}
