//! Record of an examination: its steps, what the server said in each, and the numbers of the wire.
//!
//! Owns the table and the capture. Never decides what comes next.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use telepool::telegram::wire::{WireCounts, WireMessage};
use tokio::time::Instant;

use super::describe::{describe, name_of};
use crate::clock::{now, wall_time};
use crate::table::Table;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOutcome {
    Expected,
    Differs,
    Failed,
}

impl StepOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Expected => "ok",
            Self::Differs => "DIFFERS",
            Self::Failed => "failed",
        }
    }
}

/// What came, and whether it was expected.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) outcome: StepOutcome,
    pub(super) text: String,
}

impl Came {
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self { outcome: StepOutcome::Expected, text: text.into() }
    }

    pub(super) fn differs(text: impl Into<String>) -> Self {
        Self { outcome: StepOutcome::Differs, text: text.into() }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { outcome: StepOutcome::Failed, text: text.into() }
    }

    /// What was expected, or not.
    pub(super) fn judged(is_expected: bool, text: impl Into<String>) -> Self {
        if is_expected { Self::ok(text) } else { Self::differs(text) }
    }
}

/// A step that is over.
struct DoneStep {
    engine: &'static str,
    name: String,
    expected: String,
    came: Came,
    took: Duration,
}

#[derive(Default)]
struct Inner {
    /// The step that is under way.
    engine: &'static str,
    name: String,
    /// The codes with which the server has refused messages in it.
    refusals: Vec<i64>,
    steps: Vec<DoneStep>,
    counts: Vec<(String, WireCounts)>,
    capture: Option<BufWriter<File>>,
    /// Why the capture is not complete.
    problem: Option<io::Error>,
}

/// All that happens, in order.
pub(super) struct Record {
    started: Instant,
    inner: Mutex<Inner>,
}

impl Record {
    /// An empty one. With a file each line of it is a JSON object; the first tells what follows.
    pub(super) fn new(capture: Option<File>, head: Value) -> Self {
        let capture = capture.map(BufWriter::new);
        let record =
            Self { started: now(), inner: Mutex::new(Inner { capture, ..Inner::default() }) };
        record.capture(&mut record.lock(), head);
        record
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step begins: what is said from here on is said in it.
    pub(super) fn begin(&self, engine: &'static str, name: &str) {
        let mut inner = self.lock();
        (inner.engine, inner.name) = (engine, name.to_owned());
        inner.refusals.clear();
    }

    /// It is over, since so long.
    pub(super) fn end(&self, expected: String, came: Came, took: Duration) {
        let mut inner = self.lock();
        let step =
            DoneStep { engine: inner.engine, name: inner.name.clone(), expected, came, took };
        let line = json!({
            "expected": step.expected,
            "came": step.came.text,
            "result": step.came.outcome.name(),
            "took_ms": millis(took),
        });
        self.capture(&mut inner, line);
        inner.steps.push(step);
    }

    /// A message came.
    pub(super) fn hear(&self, message: &WireMessage<'_>) {
        let unix = wall_time().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut told = describe(message.body, i64::try_from(unix).unwrap_or(i64::MAX));
        told.insert("depth".to_owned(), message.depth.into());
        told.insert("wants_ack".to_owned(), (message.sequence & 1 == 1).into());
        let mut inner = self.lock();
        if matches!(&*name_of(message.body), "bad_msg_notification" | "bad_server_salt")
            && let Some(code) = told.get("code").and_then(Value::as_i64)
        {
            inner.refusals.push(code);
        }
        self.capture(&mut inner, Value::Object(told));
    }

    /// A connection has ended.
    pub(super) fn note_end(&self, end: &str, is_confirmed: bool, counts: WireCounts) {
        let mut inner = self.lock();
        let name = inner.name.clone();
        let line =
            json!({ "ended": end, "server_closed": is_confirmed, "counts": numbers(&counts) });
        self.capture(&mut inner, line);
        inner.counts.push((name, counts));
    }

    /// With which codes messages were refused in this step.
    pub(super) fn refusals(&self) -> Vec<i64> {
        self.lock().refusals.clone()
    }

    fn capture(&self, inner: &mut Inner, value: Value) {
        let Some(file) = &mut inner.capture else { return };
        let mut line = Map::new();
        line.insert("at_ms".to_owned(), millis(now() - self.started).into());
        if !inner.name.is_empty() {
            line.insert("engine".to_owned(), inner.engine.into());
            line.insert("step".to_owned(), inner.name.as_str().into());
        }
        line.extend(value.as_object().cloned().unwrap_or_default());
        if let Err(error) = writeln!(file, "{}", Value::Object(line)) {
            (inner.capture, inner.problem) = (None, Some(error));
        }
    }

    /// Writes what is left of the capture.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let flushed = inner.capture.as_mut().map_or(Ok(()), BufWriter::flush);
        inner.problem.take().map_or(flushed, Err)
    }

    /// How many steps came to what.
    pub(super) fn count(&self, outcome: StepOutcome) -> usize {
        self.lock().steps.iter().filter(|step| step.came.outcome == outcome).count()
    }

    /// What is printed in the end.
    pub(super) fn report(&self) -> String {
        let inner = self.lock();
        let mut steps = Table::new(&["engine", "step", "expected", "what came", "result", "#time"]);
        for DoneStep { engine, name, expected, came, took } in &inner.steps {
            let took = format!("{:.3} s", took.as_secs_f64());
            let row = [*engine, name, expected, &came.text, came.outcome.name(), &took];
            steps.push(row.map(str::to_owned));
        }
        let mut report = steps.to_string();
        let mut counts = Table::new(&[
            "connection of the wire",
            "#received",
            "#sent",
            "#packets in",
            "#out",
            "#calls",
            "#resent",
            "#refused",
            "#acks",
            "#ignored",
            "#unclaimed",
            "#round trips",
        ]);
        for (name, it) in &inner.counts {
            let numbers = [
                it.bytes_received,
                it.bytes_sent,
                it.packets_received,
                it.packets_sent,
                it.calls_sent,
                it.resends,
                it.refused_packets,
                it.acks_sent,
                it.ignored_messages,
                it.unclaimed_answers,
                it.opening_round_trips,
            ];
            let numbers = numbers.iter().map(u64::to_string);
            counts.push(std::iter::once(name.clone()).chain(numbers));
        }
        if !counts.is_empty() {
            report.push_str(&format!("\n{counts}"));
        }
        report
    }

    /// Whether there is nothing to print.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().steps.is_empty()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn numbers(counts: &WireCounts) -> Value {
    json!({
        "bytes_received": counts.bytes_received,
        "bytes_sent": counts.bytes_sent,
        "packets_received": counts.packets_received,
        "packets_sent": counts.packets_sent,
        "calls_sent": counts.calls_sent,
        "resends": counts.resends,
        "refused_packets": counts.refused_packets,
        "acks_sent": counts.acks_sent,
        "ignored_messages": counts.ignored_messages,
        "unclaimed_answers": counts.unclaimed_answers,
        "opening_round_trips": counts.opening_round_trips,
    })
}
