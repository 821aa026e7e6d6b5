//! Journals on the disk: what is read back, what is cut, what is refused.

use tempfile::TempDir;

use super::*;

fn sent(number: i64) -> Settled {
    Settled::sent(number, "bot:5".to_owned(), format!("user:{number}"), Some(7))
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("news.journal");
    (folder, path)
}

async fn written(path: &Path, numbers: impl IntoIterator<Item = i64>) -> HashSet<i64> {
    let (mut journal, settled) = Journal::open(path, "news").await.unwrap();
    let writer = journal.writer().unwrap();
    numbers.into_iter().for_each(|number| writer.note(&sent(number)));
    drop(writer);
    journal.close().await.unwrap();
    settled
}

#[tokio::test]
async fn a_later_run_reads_what_an_earlier_one_wrote() {
    let (_folder, path) = folder();
    assert_eq!(written(&path, -2000..2000).await, HashSet::new());
    assert_eq!(written(&path, [5000]).await, (-2000..2000).collect());
    assert_eq!(written(&path, []).await, (-2000..2000).chain([5000]).collect());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(r#"{"telepool_broadcast":1,"id":"news"}"#));
    let line = r#"{"number":"fffffffffffff830","account":"bot:5","chat":"user:-2000","message":7}"#;
    assert_eq!(lines.next(), Some(line));
    assert_eq!(lines.count(), 4000);
}

#[tokio::test]
async fn a_line_that_a_crash_has_cut_is_dropped_wherever_it_was_cut() {
    let (_folder, path) = folder();
    written(&path, [1, 2]).await;
    let whole = std::fs::read(&path).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let last = header + (whole.len() - header) / 2;
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let settled = written(&path, [3]).await;
        assert_eq!(settled, (1..=i64::from(len >= last)).collect(), "{len}");
        let after = written(&path, []).await;
        assert_eq!(after.len(), settled.len() + 1, "{len}");
    }
}

#[tokio::test]
async fn what_is_no_journal_of_the_broadcast_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    let header = r#"{"telepool_broadcast":1,"id":"news"}"#;
    for (text, says) in [
        ("my notes".to_owned(), "holds something else"),
        ("my notes\n".to_owned(), "holds something else"),
        ("{\"telepool_broadcast\":1,\"id\":\"old\"}\n".to_owned(), "that of the broadcast \"old\""),
        ("{\"telepool_broadcast\":2,\"id\":\"news\"}\n".to_owned(), "a later version"),
        (format!("{header}\n{{}}\n"), "line 2: missing field"),
        (format!("{header}\nxyz\n{header}\n"), "line 2: "),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = Journal::open(&path, "news").await.unwrap_err();
        assert!(matches!(error, BroadcastError::OtherFile { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let nowhere = path.join("x");
    let error = Journal::open(&nowhere, "news").await.unwrap_err();
    assert!(matches!(error, BroadcastError::Journal { .. }), "{error}");
}

#[tokio::test]
async fn two_runs_never_write_one_journal_and_a_dropped_one_writes_all() {
    let (_folder, path) = folder();
    let (journal, _) = Journal::open(&path, "news").await.unwrap();
    let error = Journal::open(&path, "news").await.unwrap_err();
    assert!(matches!(error, BroadcastError::InUse { .. }), "{error}");
    (0..3000).for_each(|number| journal.writer().unwrap().note(&sent(number)));
    drop(journal);
    assert_eq!(written(&path, []).await, (0..3000).collect());
}
