use super::*;
use crate::telegram::MemorySource;

fn record(account: u64, slot: u16, key: u8) -> SessionRecord {
    SessionRecord {
        account: AccountId::bot(account).unwrap(),
        slot,
        dc: 2,
        address: "127.0.0.1:1".parse().unwrap(),
        user_id: 1,
        is_bot: true,
        key: AuthKey::new([key; 256]),
        group: None,
        proxy: None,
    }
}

fn source(keys: [u8; 2]) -> MemorySource {
    MemorySource::new([record(1, 0, keys[0]), record(1, 1, keys[1])]).unwrap()
}

fn account() -> AccountId {
    AccountId::bot(1).unwrap()
}

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn quarantines_outlast_the_process_and_end_with_a_new_login() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.jsonl");
    let first = LatchFile::open(&path, source([1, 2])).unwrap();
    first.latch(account(), 0, Some(QuarantineReason::KeyDuplicated));
    first.latch(account(), 1, Some(QuarantineReason::NeedsLogin));
    first.latch(account(), 1, None);
    assert!(first.flush(LIMIT));
    drop(first);

    let second = LatchFile::open(&path, source([1, 2])).unwrap();
    assert_eq!(second.load(account(), 0), Some(QuarantineReason::KeyDuplicated));
    assert_eq!(second.load(account(), 1), None);
    drop(second);

    let logged_in_again = LatchFile::open(&path, source([9, 2])).unwrap();
    assert_eq!(logged_in_again.load(account(), 0), None);
    logged_in_again.latch(account(), 0, Some(QuarantineReason::Deactivated));
    assert_eq!(logged_in_again.load(account(), 0), Some(QuarantineReason::Deactivated));
}

#[test]
fn the_file_is_always_one_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.jsonl");
    let kept = LatchFile::open(&path, source([1, 2])).unwrap();
    for turn in 0..200 {
        let reason = (turn % 3 > 0).then_some(QuarantineReason::ALL[turn % 7]);
        kept.latch(account(), u16::from(turn % 2 == 0), reason);
        // As if the machine had stopped here.
        assert!(read(&path).unwrap().len() <= 2);
    }
    assert!(kept.flush(LIMIT));
    assert_eq!(read(&path).unwrap().len(), kept.quarantined());
    let others = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(others, 1, "a file was left beside it");
}

#[test]
fn a_file_that_makes_no_sense_or_cannot_be_written_is_refused_before_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.jsonl");
    let good = r#"{"account":"bot:1","slot":0,"key_id":"00","reason":"dead","since":1}"#;
    for (line, word) in [
        ("nonsense", "expected"),
        (&*good.replace("dead", "tired"), "no reason \"tired\""),
        (&*good.replace("bot:1", "bot:x"), "bot"),
        (&*good.replace("slot", "slat"), "slat"),
    ] {
        std::fs::write(&path, format!("{good}\n\n{line}\n")).unwrap();
        let error = LatchFile::open(&path, source([1, 2])).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains(word), "{error}");
        assert!(error.contains("state.jsonl"), "{error}");
    }
    let nowhere = folder.path().join("no/such/folder/state.jsonl");
    let error = LatchFile::open(&nowhere, source([1, 2])).unwrap_err().to_string();
    assert!(error.contains("no/such/folder") && error.contains("another place"), "{error}");
}

#[test]
fn a_key_is_named_by_its_public_id_and_not_by_itself() {
    let key = AuthKey::new([7; 256]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.jsonl");
    let kept = LatchFile::open(&path, source([7, 8])).unwrap();
    kept.latch(account(), 0, Some(QuarantineReason::Dead));
    assert!(kept.flush(LIMIT));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&key_id(&key)) && !text.contains("07070707"), "{text}");
}
