use std::sync::Mutex as StdMutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::*;
use crate::account_id::AccountId;
use crate::manager::QuarantineReason;
use crate::session::AuthKey;

/// Notes the level and the error of each event.
#[derive(Default)]
struct Notes(StdMutex<Vec<(Level, String)>>);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for &'static Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.lock().unwrap().push((*event.metadata().level(), words.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_failure_is_told_once_with_what_to_do_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.jsonl");
    let file = StateFile::at(&path).unwrap();
    let lock = file.lock().unwrap();
    std::fs::write(&path, "nonsense").unwrap();
    let mut writer = Writer::new(file, lock, Arc::default());
    let notes: &'static Notes = Box::leak(Box::default());
    tracing::subscriber::with_default(notes, || {
        assert!(!writer.attempt() && !writer.attempt() && !writer.attempt());
        std::fs::write(&path, "").unwrap();
        assert!(writer.attempt() && writer.attempt());
    });
    let told = notes.0.lock().unwrap();
    let [(Level::ERROR, failed), (Level::INFO, again)] = &told[..] else { panic!("{told:?}") };
    assert!(
        failed.contains("state.jsonl, line 1") && failed.contains("correct the line"),
        "{failed}"
    );
    assert!(again.contains("state.jsonl"), "{again}");
}

#[test]
fn attempts_become_rarer_and_what_comes_meanwhile_puts_none_off() {
    let mut retry = Retry::default();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let before = now();
        // As if it were due.
        retry.at = None;
        retry.put_off();
        pauses.push((retry.at.unwrap() - before).as_secs());
        let due = retry.at;
        retry.put_off();
        assert_eq!(retry.at, due, "an attempt in between counts for nothing");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn what_comes_while_it_is_written_is_written_next() {
    let quarantine = |key: u8| Quarantine {
        account: AccountId::bot(1).unwrap(),
        slot: u16::from(key),
        key_id: KeyId::of(&AuthKey::new([key; 256])),
        reason: QuarantineReason::Dead,
        since: 1,
    };
    let [first, second, third] = [1, 2, 3].map(quarantine);
    let mut memory = KnownQuarantines::default();
    memory.impose(first);
    memory.impose(second);
    let changes = memory.changes.clone();
    // Meanwhile the first is lifted, and a line of somebody else's is met.
    memory.lift(first.key_id);
    let written = [first, second, third].map(|quarantine| (quarantine.key_id, quarantine)).into();
    memory.settle(&changes, written);
    assert_eq!(memory.changes, [(first.key_id, None)].into());
    let known = memory.known().keys().copied().collect::<Vec<_>>();
    assert!(known.len() == 2 && !known.contains(&first.key_id), "{known:?}");
}
