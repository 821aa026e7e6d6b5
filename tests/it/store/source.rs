//! The sessions of a store as a manager dials them: names that hold, changes that are taken up, and what is written.

use std::path::Path;
use std::time::Duration;

use telepool::import::{FoundSession, Origin};
use telepool::session::{AuthKey, ChannelState, KeyId, SessionUser, UpdateState, UpdateStates};
use telepool::store::{NewSession, Removal, SessionStore as _, SqliteStore};
use telepool::telegram::{
    AccountChange, ServeError, ServeOptions, SessionSource as _, StoreSettled, StoreSource,
    settle_store, store_holder,
};
use telepool::{AccountId, Egress, QuarantineReason};

const PATIENCE: Duration = Duration::from_secs(30);

fn session(number: u8, user: Option<i64>, phone: Option<AccountId>) -> NewSession {
    let mut found = FoundSession::new(Origin::Telethon, 2, AuthKey::new([number; 256]));
    (found.user_id, found.phone) = (user, phone);
    NewSession::new(found, "127.0.0.1:4430".parse().unwrap())
}

fn phone() -> AccountId {
    AccountId::phone(442_079_460_958).unwrap()
}

fn user(id: u64) -> AccountId {
    AccountId::user(id).unwrap()
}

fn serve(path: &Path) -> StoreSource {
    StoreSource::serve(SqliteStore::open(path).unwrap(), &ServeOptions::default()).unwrap()
}

/// A folder, a store in it with these sessions, and another way into it.
fn store(sessions: &[NewSession]) -> (tempfile::TempDir, std::path::PathBuf, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.db");
    let store = SqliteStore::create(&path).unwrap();
    store.add(sessions).unwrap();
    (folder, path, store)
}

#[test]
fn an_account_keeps_its_name_as_long_as_it_is_served() {
    let (_folder, path, _) = store(&[session(1, Some(700), None)]);
    let source = serve(&path);
    assert_eq!(source.all_accounts().unwrap(), [user(700)]);
    // Its number becomes known, by which it is called from the next start on.
    source.note_login(user(700), 0, Some(SessionUser::new(700, false, Some(phone()))));
    assert!(source.flush(PATIENCE));
    assert_eq!(source.refresh().unwrap(), [], "nothing is to be dialled anew");
    assert_eq!(source.all_accounts().unwrap(), [user(700)]);
    assert_eq!(source.canonical(phone()), user(700), "by its number it is found");
    assert_eq!(source.profile(phone()), source.profile(user(700)));
    assert!(source.session(phone(), 0).is_some());
    assert!(source.close(PATIENCE));
    let source = serve(&path);
    assert_eq!(source.all_accounts().unwrap(), [phone()]);
    assert_eq!(source.canonical(user(700)), phone());
    assert_eq!(source.canonical(AccountId::bot(700).unwrap()), phone());
    assert_eq!(source.canonical(user(701)), user(701), "of nobody known");
}

#[test]
fn accounts_that_turn_out_to_be_one_are_two_until_nobody_serves_them() {
    let (_folder, path, other) =
        store(&[session(1, Some(700), None), session(2, None, Some(phone()))]);
    let source = serve(&path);
    other.add(&[session(3, Some(700), Some(phone()))]).unwrap();
    assert_eq!(settle_store(&other).unwrap(), StoreSettled::Served);
    let changes = source.refresh().unwrap();
    assert_eq!(changes, [AccountChange::Grown(user(700))]);
    assert_eq!(source.canonical(phone()), phone());
    assert_eq!(source.profile(phone()).unwrap().sessions, 1);
    assert_eq!(source.profile(user(700)).unwrap().sessions, 2);
    assert!(source.close(PATIENCE));
    let source = serve(&path);
    assert_eq!(source.all_accounts().unwrap(), [phone()]);
    assert_eq!(source.profile(user(700)).unwrap().sessions, 3);
}

#[test]
fn changes_are_told_once_and_for_what_they_are() {
    let (_folder, path, other) = store(&[session(1, Some(700), None), session(2, Some(701), None)]);
    let source = serve(&path);
    assert_eq!(source.refresh().unwrap(), []);
    // What it has written itself is no news.
    source.set_quarantine(user(700), 0, Some(QuarantineReason::NeedsLogin));
    source.note_login(user(701), 0, None);
    assert!(source.flush(PATIENCE));
    assert_eq!(source.refresh().unwrap(), []);
    other.add(&[session(3, Some(702), None), session(4, Some(701), None)]).unwrap();
    let changes = source.refresh().unwrap();
    let expected = [AccountChange::Grown(user(701)), AccountChange::Added(user(702))];
    assert_eq!(changes, expected);
    assert_eq!(source.refresh().unwrap(), []);
    let mut change = telepool::store::SessionChange::default();
    change.proxy = Some(Some(std::sync::Arc::new("socks5://127.0.0.1:1080".parse().unwrap())));
    change.group = Some(Some("north".into()));
    let [first, second] = [2, 4].map(|number| KeyId::of(&AuthKey::new([number; 256])));
    other.change(&[first], &change).unwrap();
    assert_eq!(source.refresh().unwrap(), [AccountChange::Changed(user(701))]);
    let profile = source.profile(user(701)).unwrap();
    assert_eq!(profile.egress, Egress::Proxy("127.0.0.1:1080".into()));
    assert_eq!(source.members("north").unwrap().to_vec(), [user(701)]);
    let proxied = source.session(user(701), 1).unwrap().proxy;
    assert_eq!(proxied.unwrap().label(), "127.0.0.1:1080");
    // One of two sessions goes: its slot is out of service, and the other one stays what it is.
    other.remove(&[first], Removal::KeepKeyId).unwrap();
    assert_eq!(source.refresh().unwrap(), [AccountChange::Changed(user(701))]);
    assert_eq!(source.profile(user(701)).unwrap().sessions, 2);
    assert_eq!(source.quarantines(user(701)), [(0, QuarantineReason::Operator)]);
    assert!(source.session(user(701), 0).is_none());
    other.remove(&[second], Removal::KeepKeyId).unwrap();
    assert_eq!(source.refresh().unwrap(), [AccountChange::Removed(user(701))]);
    assert_eq!(source.profile(user(701)), None);
    assert_eq!(source.members("north").unwrap().len(), 0);
}

#[test]
fn what_became_known_is_there_for_whoever_serves_next() {
    let (_folder, path, other) = store(&[session(1, Some(700), None)]);
    let source = serve(&path);
    source.set_quarantine(user(700), 0, Some(QuarantineReason::KeyDuplicated));
    assert_eq!(source.quarantines(user(700)), [(0, QuarantineReason::KeyDuplicated)]);
    // That this build cannot dial is found out again by each.
    source.set_quarantine(user(700), 0, Some(QuarantineReason::Unsupported));
    assert!(source.close(PATIENCE));
    assert!(other.serve_mark().unwrap().unwrap().released);
    let source = serve(&path);
    assert_eq!(source.quarantines(user(700)), [(0, QuarantineReason::KeyDuplicated)]);
    source.set_quarantine(user(700), 0, None);
    assert!(source.close(PATIENCE));
    assert_eq!(serve(&path).quarantines(user(700)), []);
}

#[test]
fn how_far_updates_were_taken_is_there_for_whoever_serves_next() {
    let (_folder, path, _) = store(&[session(1, Some(700), None)]);
    let source = serve(&path);
    let at = |pts| UpdateStates::new(Some(UpdateState { pts, ..UpdateState::default() }), vec![]);
    let channel = UpdateStates::new(None, vec![ChannelState { channel: 5, pts: 7 }]);
    for changed in [at(10), channel.clone(), at(12)] {
        source.set_update_states(user(700), &changed);
    }
    source.set_update_states(user(701), &at(1));
    let mut expected = at(12);
    expected.merge(&channel);
    // Also for whoever asks before it is written.
    assert_eq!(source.update_states(user(700)).unwrap().as_ref(), Some(&expected));
    assert!(source.close(PATIENCE));
    let source = serve(&path);
    assert_eq!(source.update_states(user(700)).unwrap(), Some(expected));
    assert_eq!(source.update_states(user(701)).unwrap(), None, "nobody knows it");
}

#[test]
fn one_process_serves_a_store_at_a_time_and_all_may_read_it() {
    let (_folder, path, other) = store(&[session(1, Some(700), None), session(2, None, None)]);
    assert!(store_holder(other.path()).unwrap().is_none());
    let source = serve(&path);
    assert_eq!(source.unidentified(), 1);
    let again = StoreSource::serve(SqliteStore::open(&path).unwrap(), &ServeOptions::default());
    let Err(ServeError::Held { holder: Some(holder), .. }) = again else {
        panic!("two serve it: {again:?}")
    };
    assert_eq!(holder.pid, std::process::id());
    assert!(store_holder(other.path()).unwrap().is_some());
    assert!(other.account(user(700)).unwrap().is_some());
    assert!(source.close(PATIENCE));
    assert!(store_holder(other.path()).unwrap().is_none());
    drop(serve(&path));
}

#[test]
fn a_key_is_read_when_it_is_dialled_and_is_nowhere_else() {
    let (_folder, path, _) = store(&[session(0xd3, Some(700), None)]);
    let source = serve(&path);
    assert!(!format!("{source:?}").contains("211"), "nor is it shown");
    let record = source.session(user(700), 0).unwrap();
    assert_eq!((record.account, record.key), (user(700), AuthKey::new([0xd3; 256])));
    assert!(source.session(user(700), 1).is_none());
    assert!(source.session(user(9), 0).is_none());
}

#[test]
fn a_session_that_is_logged_in_as_somebody_else_goes_out_of_service() {
    let (_folder, path, other) = store(&[session(1, Some(700), None)]);
    let source = serve(&path);
    source.note_login(user(700), 0, Some(SessionUser::new(701, false, None)));
    assert!(source.flush(PATIENCE));
    let kept = other.account(user(700)).unwrap().unwrap();
    assert_eq!(kept.quarantines, [(0, QuarantineReason::Misconfigured)]);
    assert_eq!(source.refresh().unwrap(), [AccountChange::Changed(user(700))]);
    assert_eq!(source.quarantines(user(700)), [(0, QuarantineReason::Misconfigured)]);
}

#[test]
fn what_another_process_quarantines_or_lifts_is_taken_up() {
    let (_folder, path, other) = store(&[session(1, Some(700), None)]);
    let source = serve(&path);
    let key = KeyId::of(&AuthKey::new([1; 256]));
    for reason in [Some(QuarantineReason::Dead), None] {
        other.set_quarantine(key, reason).unwrap();
        assert_eq!(source.refresh().unwrap(), [AccountChange::Changed(user(700))]);
        assert_eq!(source.quarantines(user(700)).len(), usize::from(reason.is_some()));
    }
}
