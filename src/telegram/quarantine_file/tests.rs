use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::session::AuthKey;
use crate::telegram::MemorySource;

const LIMIT: Duration = Duration::from_secs(60);
/// Too short for anything that has failed to be tried again.
const NO_TIME: Duration = Duration::from_millis(20);

fn record(account: AccountId, slot: u16, key: u8) -> SessionRecord {
    SessionRecord {
        account,
        slot,
        dc: 2,
        address: "127.0.0.1:1".parse().unwrap(),
        user_id: 1,
        is_bot: true,
        key: AuthKey::new([key; 256]),
        group: None,
        proxy: None,
        api_id: None,
        identity: None,
    }
}

fn source(keys: [u8; 2]) -> MemorySource {
    MemorySource::new([record(account(), 0, keys[0]), record(account(), 1, keys[1])]).unwrap()
}

fn account() -> AccountId {
    AccountId::bot(1).unwrap()
}

fn key_id(key: u8) -> KeyId {
    KeyId::of(&AuthKey::new([key; 256]))
}

/// Why a session is quarantined.
fn reason(kept: &impl SessionSource, account: AccountId, slot: u16) -> Option<QuarantineReason> {
    kept.quarantines(account).into_iter().find(|it| it.0 == slot).map(|it| it.1)
}

/// A line as another hand would write it.
fn line(slot: u16, key: u8, reason: &str) -> String {
    let key = key_id(key);
    format!(r#"{{"account":"bot:1","slot":{slot},"key_id":"{key}","reason":"{reason}","since":1}}"#)
}

/// A folder of its own, and the path of a state file in it.
struct StateFolder {
    folder: tempfile::TempDir,
}

impl StateFolder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state/state.jsonl")
    }

    fn open(&self, keys: [u8; 2]) -> QuarantineFile<MemorySource> {
        self.make_folder();
        QuarantineFile::open(self.path(), source(keys)).unwrap()
    }

    fn make_folder(&self) {
        std::fs::create_dir_all(self.folder.path().join("state")).unwrap();
    }

    fn append(&self, line: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.path()).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// Takes the folder of the file away, as a volume that is gone.
    fn take_away(&self) {
        let here = self.folder.path();
        std::fs::rename(here.join("state"), here.join("away")).unwrap();
    }

    fn bring_back(&self) {
        let here = self.folder.path();
        std::fs::rename(here.join("away"), here.join("state")).unwrap();
    }

    fn keys(&self) -> Vec<KeyId> {
        read_quarantines(self.path()).unwrap().iter().map(|quarantine| quarantine.key_id).collect()
    }
}

#[test]
fn quarantines_outlast_the_process_and_end_with_a_new_login() {
    let state = StateFolder::new();
    let first = state.open([1, 2]);
    first.set_quarantine(account(), 0, Some(QuarantineReason::KeyDuplicated));
    first.set_quarantine(account(), 1, Some(QuarantineReason::NeedsLogin));
    first.set_quarantine(account(), 1, None);
    assert!(first.flush(LIMIT));
    drop(first);

    let second = state.open([1, 2]);
    assert_eq!(reason(&second, account(), 0), Some(QuarantineReason::KeyDuplicated));
    assert_eq!(reason(&second, account(), 1), None);
    drop(second);

    let logged_in_again = state.open([9, 2]);
    assert_eq!(reason(&logged_in_again, account(), 0), None);
    assert!(logged_in_again.all_quarantines().is_empty());
    logged_in_again.set_quarantine(account(), 0, Some(QuarantineReason::Deactivated));
    assert_eq!(reason(&logged_in_again, account(), 0), Some(QuarantineReason::Deactivated));
    drop(logged_in_again);

    let the_old_login_again = state.open([1, 2]);
    assert_eq!(reason(&the_old_login_again, account(), 0), Some(QuarantineReason::KeyDuplicated));
}

#[test]
fn a_quarantine_follows_its_key_to_another_account_or_slot() {
    let state = StateFolder::new();
    let before = state.open([1, 2]);
    before.set_quarantine(account(), 0, Some(QuarantineReason::NeedsLogin));
    drop(before);

    let other = AccountId::phone(442_079_460_958).unwrap();
    let moved = [record(account(), 0, 2), record(other, 0, 3), record(other, 1, 1)];
    let moved = QuarantineFile::open(state.path(), MemorySource::new(moved).unwrap()).unwrap();
    assert_eq!(reason(&moved, other, 1), Some(QuarantineReason::NeedsLogin));
    assert_eq!((reason(&moved, account(), 0), reason(&moved, other, 0)), (None, None));
    let [quarantine] = moved.all_quarantines()[..] else { panic!("one session is quarantined") };
    assert_eq!((quarantine.account, quarantine.slot, quarantine.key_id), (other, 1, key_id(1)));
    moved.set_quarantine(other, 1, None);
    drop(moved);
    assert_eq!(reason(&state.open([1, 2]), account(), 0), None, "it was lifted by its key");
}

#[test]
fn of_two_lines_for_one_key_the_last_counts() {
    let state = StateFolder::new();
    state.make_folder();
    let lines = [line(0, 1, "dead"), line(1, 2, "operator"), line(7, 1, "needs_login")];
    std::fs::write(state.path(), lines.join("\n")).unwrap();
    let kept = state.open([1, 2]);
    assert_eq!(reason(&kept, account(), 0), Some(QuarantineReason::NeedsLogin));
    assert_eq!(reason(&kept, account(), 1), Some(QuarantineReason::Operator));
    assert_eq!((kept.quarantined(), state.keys().len()), (2, 2));
}

#[test]
fn the_file_is_always_one_that_can_be_read() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    for turn in 0..200 {
        let reason = (turn % 3 > 0).then_some(QuarantineReason::ALL[turn % 8]);
        kept.set_quarantine(account(), u16::from(turn % 2 == 0), reason);
        // As if the machine had stopped here.
        assert!(state.keys().len() <= 2);
    }
    assert!(kept.flush(LIMIT));
    assert_eq!(state.keys().len(), kept.quarantined());
    let folder = state.path().parent().unwrap().to_owned();
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["state.jsonl", "state.jsonl.lock"], "a file was left beside it");
}

#[test]
fn a_file_that_makes_no_sense_or_cannot_be_written_is_refused_before_it_matters() {
    let state = StateFolder::new();
    state.make_folder();
    let good = line(0, 1, "dead");
    for (line, word) in [
        ("nonsense", "expected"),
        (&*good.replace("dead", "tired"), "no reason tired"),
        (&*good.replace("dead", "unsupported"), "no reason unsupported"),
        (&*good.replace("bot:1", "bot:x"), "bot"),
        (&*good.replace("slot", "slat"), "slat"),
        (&*good.replace(&key_id(1).to_string(), "00"), "16 hexadecimal digits"),
    ] {
        std::fs::write(state.path(), format!("{good}\n\n{line}\n")).unwrap();
        let error = QuarantineFile::open(state.path(), source([1, 2])).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains(word), "{error}");
        assert!(error.contains("state.jsonl") && error.contains("correct the line"), "{error}");
    }
    let nowhere = state.folder.path().join("no/such/folder/state.jsonl");
    let error = QuarantineFile::open(&nowhere, source([1, 2])).unwrap_err().to_string();
    assert!(error.contains("no/such/folder") && error.contains("another place"), "{error}");
}

#[test]
fn a_file_that_is_mounted_by_itself_is_not_blamed_on_its_place() {
    let busy = std::io::ErrorKind::ResourceBusy.into();
    let error = QuarantineFileError::io(Path::new("state.jsonl"), busy).to_string();
    assert!(error.contains("mount its folder instead") && !error.contains("another"), "{error}");
}

#[test]
fn a_key_is_named_by_its_public_id_and_not_by_itself() {
    let state = StateFolder::new();
    let kept = state.open([7, 8]);
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(kept.flush(LIMIT));
    let text = std::fs::read_to_string(state.path()).unwrap();
    assert!(text.contains(&key_id(7).to_string()) && !text.contains("07070707"), "{text}");
}

#[test]
fn what_no_server_has_said_is_not_kept() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Unsupported));
    kept.set_quarantine(account(), 1, Some(QuarantineReason::Misconfigured));
    kept.set_quarantine(account(), 1, Some(QuarantineReason::Unsupported));
    assert!(kept.flush(LIMIT));
    assert_eq!(reason(&kept, account(), 0), None);
    assert_eq!(reason(&kept, account(), 1), Some(QuarantineReason::Misconfigured), "it stands");
    assert_eq!(state.keys(), [key_id(2)]);
}

#[test]
fn a_second_one_on_the_same_file_is_told_who_holds_it() {
    let state = StateFolder::new();
    let first = state.open([1, 2]);
    let again = state.folder.path().join("state/../state/state.jsonl");
    for path in [state.path(), again] {
        let error = QuarantineFile::open(path, source([1, 2])).unwrap_err();
        let text = error.to_string();
        let QuarantineFileError::InUse { holder: Some(holder), .. } = error else {
            panic!("{text}")
        };
        assert_eq!(holder.pid, std::process::id());
        assert!(text.contains(&format!("process {} ", holder.pid)), "{text}");
        assert!(text.contains(" since 2") && text.contains("end that process first"), "{text}");
    }
    let error = lift_quarantines(state.path(), |_| true).unwrap_err();
    assert!(matches!(error, QuarantineFileError::InUse { .. }), "{error}");
    first.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    drop(first);
    // The lock goes with the last write, which the next one waits for.
    assert_eq!(reason(&state.open([1, 2]), account(), 0), Some(QuarantineReason::Dead));
}

#[test]
fn a_line_of_somebody_elses_stays_and_counts_until_it_is_lifted() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    state.append(&line(1, 2, "operator"));
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(kept.flush(LIMIT));
    assert_eq!(state.keys(), [key_id(1), key_id(2)]);
    assert_eq!(reason(&kept, account(), 1), Some(QuarantineReason::Operator));

    // Lifted also if this process has not seen it yet.
    kept.set_quarantine(account(), 1, None);
    assert!(kept.flush(LIMIT));
    state.append(&line(1, 2, "operator"));
    kept.set_quarantine(account(), 1, None);
    assert!(kept.flush(LIMIT));
    assert_eq!((state.keys(), reason(&kept, account(), 1)), (vec![key_id(1)], None));
}

#[test]
fn a_line_that_somebody_has_removed_does_not_come_back() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(kept.flush(LIMIT));
    std::fs::write(state.path(), "").unwrap();
    kept.set_quarantine(account(), 1, Some(QuarantineReason::Operator));
    assert!(kept.flush(LIMIT));
    assert_eq!(state.keys(), [key_id(2)]);
    assert!(reason(&kept, account(), 0).is_some(), "not dialled by a process that knows better");
}

#[test]
fn what_cannot_be_read_is_not_replaced() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    std::fs::write(state.path(), "notes of an operator\n").unwrap();
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(!kept.flush(NO_TIME));
    assert_eq!(std::fs::read_to_string(state.path()).unwrap(), "notes of an operator\n");
    std::fs::write(state.path(), line(1, 2, "operator")).unwrap();
    assert!(kept.flush(LIMIT));
    assert_eq!(state.keys(), [key_id(1), key_id(2)]);
}

#[test]
fn what_could_not_be_written_is_written_by_itself_as_soon_as_it_can() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    state.take_away();
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(!kept.flush(NO_TIME), "nothing is on the disk");
    state.bring_back();
    let began = now();
    while state.keys() != [key_id(1)] {
        assert!(began.elapsed() < LIMIT, "nobody has tried again");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_flush_keeps_trying_until_its_limit() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    state.take_away();
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| kept.flush(LIMIT));
        assert!(!kept.flush(NO_TIME), "the other is not answered either");
        assert!(!flushing.is_finished());
        state.bring_back();
        assert!(flushing.join().unwrap());
    });
    assert_eq!(state.keys(), [key_id(1)]);
}

#[test]
fn what_is_pending_is_written_when_the_source_is_dropped() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    state.take_away();
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(!kept.flush(NO_TIME));
    state.bring_back();
    drop(kept);
    assert_eq!(reason(&state.open([1, 2]), account(), 0), Some(QuarantineReason::Dead));
}

#[test]
fn a_file_that_is_gone_is_written_anew_with_all_that_is_known_and_held_again() {
    let state = StateFolder::new();
    let kept = state.open([1, 2]);
    kept.set_quarantine(account(), 0, Some(QuarantineReason::Dead));
    assert!(kept.flush(LIMIT));
    state.take_away();
    state.make_folder();
    kept.set_quarantine(account(), 1, Some(QuarantineReason::Operator));
    assert!(kept.flush(LIMIT));
    assert_eq!(state.keys(), [key_id(1), key_id(2)]);
    let error = QuarantineFile::open(state.path(), source([1, 2])).unwrap_err();
    assert!(matches!(error, QuarantineFileError::InUse { .. }), "{error}");
}

#[test]
fn an_operator_lifts_what_is_meant_and_nothing_else() {
    let state = StateFolder::new();
    let error = lift_quarantines(state.path(), |_| true).unwrap_err();
    assert!(matches!(error, QuarantineFileError::Io { .. }), "{error}");
    state.make_folder();
    lift_quarantines(state.path(), |_| true).unwrap_err();
    assert!(std::fs::read_dir(state.path().parent().unwrap()).unwrap().next().is_none());
    std::fs::write(state.path(), [line(0, 1, "dead"), line(1, 2, "operator")].join("\n")).unwrap();
    let lifted = lift_quarantines(state.path(), |quarantine| quarantine.slot == 1).unwrap();
    assert_eq!(lifted.iter().map(|it| it.key_id).collect::<Vec<_>>(), [key_id(2)]);
    assert_eq!(state.keys(), [key_id(1)]);
    assert!(lift_quarantines(state.path(), |quarantine| quarantine.slot == 1).unwrap().is_empty());
}

/// A source that keeps no list of its accounts.
struct Unlisted(MemorySource);

impl SessionSource for Unlisted {
    fn profile(&self, account: AccountId) -> Option<SessionProfile> {
        self.0.profile(account)
    }

    fn session(&self, account: AccountId, slot: u16) -> Option<SessionRecord> {
        self.0.session(account, slot)
    }
}

#[test]
fn a_source_without_a_list_is_asked_for_the_places_of_the_file() {
    let state = StateFolder::new();
    state.make_folder();
    let lines = [line(0, 1, "dead"), line(5, 2, "dead")];
    std::fs::write(state.path(), lines.join("\n")).unwrap();
    let kept = QuarantineFile::open(state.path(), Unlisted(source([1, 2]))).unwrap();
    let [quarantine] = kept.all_quarantines()[..] else { panic!("one is where its line says") };
    assert_eq!((quarantine.slot, quarantine.key_id), (0, key_id(1)));
    assert_eq!(
        reason(&kept, account(), 1),
        Some(QuarantineReason::Dead),
        "by its key all the same"
    );
}
