//! What every store has to do, whatever it keeps its sessions in.
//!
//! Each rule takes a way to make an empty store. An engine is a store when all of them hold.

use std::sync::Arc;

use telepool::import::{BotToken, FoundSession, KnownPeer, Origin, PeerKind};
use telepool::session::{
    AuthKey, ChannelState, ClientIdentity, KeyId, SessionUser, UpdateState, UpdateStates,
};
use telepool::store::{
    Added, Conflict, NewSession, PendingLogin, Removal, ServeMark, SessionChange, SessionStore,
    StoreId, StoredAccount, StoredSession,
};
use telepool::{AccountId, QuarantineReason};

/// What has to hold of a store.
type Rule = fn(&dyn SessionStore);

/// Every rule, by its name.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("what is added is found by every name", what_is_added_is_found_by_every_name),
    ("a key is one session however often it is added", a_key_is_one_session),
    ("a person is one account", a_person_is_one_account),
    ("two that turn out to be one are merged when it is settled", two_that_are_one_are_merged),
    ("what contradicts what is known is refused", contradictions_are_refused),
    ("a bot and a user of one id are one account", a_bot_and_a_user_of_one_id_are_one),
    ("nobody knows whose it is until the server has told", the_server_tells_whose_it_is),
    ("a number that moved is the new owner's", a_number_that_moved_is_the_new_owners),
    ("what is kept of a session comes back at a dial", what_is_kept_comes_back_at_a_dial),
    ("another import of a session tells who it is, and changes nothing else", an_import_fills_in),
    ("quarantines last until they are lifted", quarantines_last),
    ("what is removed does not come back by mistake", what_is_removed_stays_removed),
    ("slots have no gaps once it is settled", slots_have_no_gaps),
    ("no account has more than 64 sessions", no_account_has_more_than_64_sessions),
    ("a slot is one session's as long as somebody may serve it", a_slot_is_one_sessions),
    ("merging finds room, or leaves two that have too many", merging_finds_room),
    ("a proxy is the account's, also of the session that comes next", a_proxy_is_the_accounts),
    ("what an earlier home had quarantined comes quarantined", what_was_quarantined_comes_so),
    ("the server knows better than a file whether it is a bot", the_server_knows_better),
    ("changes are numbered and shown once", changes_are_numbered),
    ("an operator's changes hold", an_operators_changes_hold),
    ("peers and states are kept, the newer ones", peers_and_states_are_kept),
    ("tokens of bots are kept apart", tokens_are_kept),
    ("a sign-in under way is kept until it comes to a session", sign_ins_are_kept),
    ("what is left of ended sessions is kept for each user", logout_tokens_are_kept),
    ("who serves is noted", who_serves_is_noted),
];

fn key(number: u16) -> AuthKey {
    let mut bytes = [0x5a; 256];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    AuthKey::new(bytes)
}

fn phone(number: u64) -> AccountId {
    AccountId::phone(442_079_460_000 + number).unwrap()
}

fn found(number: u16) -> FoundSession {
    FoundSession::new(Origin::Telethon, 2, key(number))
}

fn new(found: FoundSession) -> NewSession {
    NewSession::new(found, "127.0.0.1:4430".parse().unwrap())
}

fn of_user(number: u16, user: i64) -> NewSession {
    let mut found = found(number);
    found.user_id = Some(user);
    new(found)
}

fn of_phone(number: u16, phone: AccountId) -> NewSession {
    let mut found = found(number);
    found.phone = Some(phone);
    new(found)
}

fn of_both(number: u16, user: i64, phone: AccountId) -> NewSession {
    let mut found = found(number);
    (found.user_id, found.phone) = (Some(user), Some(phone));
    new(found)
}

fn add(store: &dyn SessionStore, session: NewSession) -> (Added, Option<StoreId>) {
    let added = store.add(&[session]).unwrap().pop().unwrap();
    (added.outcome, added.account)
}

fn sessions(store: &dyn SessionStore, of: Option<StoreId>) -> Vec<StoredSession> {
    let mut all = Vec::new();
    store.sessions(of, &mut |session| all.push(session)).unwrap();
    all
}

fn accounts_since(store: &dyn SessionStore, revision: u64) -> Vec<StoredAccount> {
    let mut all = Vec::new();
    store.accounts_since(revision, &mut |account| all.push(account)).unwrap();
    all
}

fn account(store: &dyn SessionStore, name: AccountId) -> StoredAccount {
    store.account(name).unwrap().unwrap()
}

fn user(id: u64) -> AccountId {
    AccountId::user(id).unwrap()
}

fn what_is_added_is_found_by_every_name(store: &dyn SessionStore) {
    let (outcome, id) = add(store, of_both(1, 700, phone(1)));
    assert_eq!(outcome, Added::NewAccount);
    let names = [phone(1), user(700), AccountId::bot(700).unwrap()];
    for name in names {
        assert_eq!(Some(account(store, name).id), id, "{name}");
    }
    let found = account(store, phone(1));
    assert_eq!((found.name(), found.slots), (Some(phone(1)), 1));
    assert!(names.iter().all(|name| found.names().any(|it| it == *name)));
    assert_eq!(store.account(phone(2)).unwrap(), None);
    assert_eq!(store.account(user(701)).unwrap(), None);
    let session = &sessions(store, id)[0];
    assert_eq!((session.key_id, session.dc, session.slot), (KeyId::of(&key(1)), 2, 0));
    assert_eq!((session.origin, session.login_at), (Some(Origin::Telethon), None));
}

fn a_key_is_one_session(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    assert_eq!(add(store, of_user(1, 700)), (Added::AlreadyThere, id));
    // Within one step as well.
    let both = store.add(&[of_user(2, 701), of_user(2, 701)]).unwrap();
    let outcomes: Vec<_> = both.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Added::NewAccount, Added::AlreadyThere]);
    assert_eq!(sessions(store, None).len(), 2);
}

fn a_person_is_one_account(store: &dyn SessionStore) {
    let (_, id) = add(store, of_both(1, 700, phone(1)));
    assert_eq!(add(store, of_user(2, 700)), (Added::AnotherSession, id));
    assert_eq!(add(store, of_phone(3, phone(1))), (Added::AnotherSession, id));
    let slots: Vec<_> = sessions(store, id).iter().map(|it| it.slot).collect();
    assert_eq!(slots, [0, 1, 2]);
    // Nobody knows whose these are, so that they are nobody's in common.
    let (_, one) = add(store, new(found(4)));
    let (_, other) = add(store, new(found(5)));
    assert!(one != other && one != id);
    let unknown = accounts_since(store, 0).into_iter().filter(|it| it.name().is_none()).count();
    assert_eq!(unknown, 2);
}

fn two_that_are_one_are_merged(store: &dyn SessionStore) {
    let (_, by_user) = add(store, of_user(1, 700));
    let (_, by_phone) = add(store, of_phone(2, phone(1)));
    assert_ne!(by_user, by_phone);
    let (outcome, id) = add(store, of_both(3, 700, phone(1)));
    assert_eq!((outcome, id), (Added::Merged, by_user));
    // Whoever serves them sees two, as before.
    assert_eq!(account(store, phone(1)).id, by_phone.unwrap());
    assert_eq!(account(store, phone(1)).slots, 1);
    // What comes meanwhile is the one's.
    assert_eq!(add(store, of_phone(4, phone(1))), (Added::AnotherSession, by_user));
    assert_eq!(store.settle().unwrap(), 1);
    let one = account(store, phone(1));
    assert_eq!((Some(one.id), one.slots, one.user_id), (by_user, 4, Some(700)));
    let keys: Vec<_> = sessions(store, by_user).iter().map(|it| (it.slot, it.key_id)).collect();
    let of = |slot, number| (slot, KeyId::of(&key(number)));
    assert_eq!(
        keys,
        [of(0, 1), of(1, 3), of(2, 4), of(3, 2)],
        "no slot has become another session"
    );
    assert_eq!(accounts_since(store, 0).len(), 1);
    assert_eq!(store.settle().unwrap(), 0);
}

fn contradictions_are_refused(store: &dyn SessionStore) {
    let (_, first) = add(store, of_both(1, 700, phone(1)));
    let (_, second) = add(store, of_user(2, 701));
    let refused = Added::Refused(Conflict::PhoneOfAnother { phone: phone(1) });
    assert_eq!(add(store, of_both(3, 701, phone(1))), (refused, None));
    let refused = Added::Refused(Conflict::KeyOfAnother { account: phone(1) });
    assert_eq!(add(store, of_user(1, 701)), (refused, None));
    assert_eq!(sessions(store, first).len() + sessions(store, second).len(), 2);
    assert_eq!(sessions(store, None).len(), 2);
    // The test servers have users of their own under the same numbers.
    let mut other = of_both(4, 701, phone(2));
    other.found.test_mode = Some(true);
    let (outcome, account) = add(store, other);
    let is_refused = matches!(outcome, Added::Refused(Conflict::OtherServers { .. }));
    assert!(is_refused && account.is_none(), "{outcome:?}");
    assert_eq!(store.account(phone(2)).unwrap(), None, "nothing of what is refused is taken");
}

fn a_bot_and_a_user_of_one_id_are_one(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    assert_eq!(account(store, user(700)).name(), Some(user(700)));
    let mut bot = of_user(2, 700);
    bot.found.is_bot = Some(true);
    assert_eq!(add(store, bot), (Added::AnotherSession, id));
    assert_eq!(account(store, user(700)).name(), Some(AccountId::bot(700).unwrap()));
}

fn the_server_tells_whose_it_is(store: &dyn SessionStore) {
    let (_, known) = add(store, of_user(1, 700));
    let (_, unknown) = add(store, new(found(2)));
    let told = SessionUser::new(700, false, Some(phone(1)));
    assert_eq!(store.note_logins(&[(KeyId::of(&key(2)), Some(told))]).unwrap(), [None]);
    assert!(sessions(store, unknown)[0].login_at.is_some());
    assert_eq!(store.settle().unwrap(), 1);
    let one = account(store, phone(1));
    assert_eq!((Some(one.id), one.slots, one.is_bot), (known, 2, Some(false)));
    // A session cannot become another's.
    let told = SessionUser::new(701, false, None);
    let conflict = store.note_logins(&[(KeyId::of(&key(1)), Some(told))]).unwrap();
    assert_eq!(conflict, [Some(Conflict::KeyOfAnother { account: phone(1) })]);
    // And one that is gone is nobody's.
    assert_eq!(store.note_logins(&[(KeyId::of(&key(9)), None)]).unwrap(), [None]);
}

fn a_number_that_moved_is_the_new_owners(store: &dyn SessionStore) {
    add(store, of_both(1, 700, phone(1)));
    let (_, id) = add(store, of_user(2, 701));
    let told = SessionUser::new(701, false, Some(phone(1)));
    assert_eq!(store.note_logins(&[(KeyId::of(&key(2)), Some(told))]).unwrap(), [None]);
    assert_eq!(Some(account(store, phone(1)).id), id);
    assert_eq!(account(store, user(700)).name(), Some(user(700)));
}

fn what_is_kept_comes_back_at_a_dial(store: &dyn SessionStore) {
    let mut session = of_both(1, 700, phone(1));
    session.found.is_bot = Some(false);
    session.found.api_id = Some(17);
    session.found.group = Some("north".into());
    session.found.proxy = Some(Arc::new("socks5://me:secret@127.0.0.1:1080".parse().unwrap()));
    session.identity = Some(Arc::new(ClientIdentity::new("Pixel", "16", "1.4")));
    let (_, id) = add(store, session);
    let record = store.record(id.unwrap(), 0, phone(1)).unwrap().unwrap();
    assert_eq!((record.account, record.slot, record.dc), (phone(1), 0, 2));
    assert_eq!((record.user_id, record.is_bot, record.api_id), (700, false, Some(17)));
    assert_eq!(record.key, key(1));
    let url = record.proxy.as_ref().map(|proxy| proxy.expose_url());
    assert_eq!(url, Some("socks5://me:secret@127.0.0.1:1080"));
    assert_eq!(record.group.as_deref(), Some("north"));
    assert_eq!(record.identity.as_deref().map(|it| &*it.device_model), Some("Pixel"));
    assert_eq!(record.address, "127.0.0.1:4430".parse().unwrap());
    // Without its secrets elsewhere.
    assert_eq!(sessions(store, id)[0].proxy.as_deref(), Some("127.0.0.1:1080"));
    let shown = account(store, phone(1));
    assert_eq!(shown.proxy.as_deref(), Some("127.0.0.1:1080"));
    assert_eq!(shown.group.as_deref(), Some("north"));
    assert!(store.record(id.unwrap(), 1, phone(1)).unwrap().is_none());
}

fn an_import_fills_in(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    let before = store.revision().unwrap();
    assert_eq!(add(store, of_user(1, 700)).0, Added::AlreadyThere);
    assert_eq!(store.revision().unwrap(), before, "nothing is new");
    // Who it is may become known; how it is served stays, whatever another import says.
    let mut other = of_both(1, 700, phone(1));
    other.found.api_id = Some(18);
    other.found.group = Some("south".into());
    other.found.proxy = Some(Arc::new("socks5://127.0.0.1:1080".parse().unwrap()));
    other.identity = Some(Arc::new(ClientIdentity::new("Pixel", "16", "1.4")));
    other.address = "127.0.0.1:9".parse().unwrap();
    assert_eq!(add(store, other).0, Added::AlreadyThere);
    let session = &sessions(store, id)[0];
    assert_eq!((session.api_id, session.address.port(), &session.identity), (None, 4430, &None));
    let known = account(store, phone(1));
    assert_eq!((Some(known.id), known.group, known.proxy), (id, None, None));
}

fn quarantines_last(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    add(store, of_user(2, 700));
    let id = id.unwrap();
    for reason in QuarantineReason::ALL {
        assert!(store.set_quarantine(KeyId::of(&key(2)), Some(reason)).unwrap());
        assert_eq!(account(store, user(700)).quarantines, [(1, reason)]);
        assert_eq!(sessions(store, Some(id))[1].quarantine.unwrap().0, reason);
    }
    let since = sessions(store, Some(id))[1].quarantine.unwrap().1;
    assert!(since > 1_700_000_000);
    assert!(store.set_quarantine(KeyId::of(&key(2)), None).unwrap());
    assert_eq!(account(store, user(700)).quarantines, []);
    assert!(!store.set_quarantine(KeyId::of(&key(9)), Some(QuarantineReason::Dead)).unwrap());
}

fn what_is_removed_stays_removed(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    let id = id.unwrap();
    let removed = store.remove(&[KeyId::of(&key(1))], Removal::KeepKeyId).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(store.record(id, 0, user(700)).unwrap().is_none());
    assert_eq!(account(store, user(700)).slots, 0, "whoever serves it sees it go");
    let Added::Refused(Conflict::Removed { at }) = add(store, of_user(1, 700)).0 else {
        panic!("it came back")
    };
    assert!(at > 1_700_000_000);
    let mut again = of_user(1, 700);
    again.even_if_removed = true;
    assert_eq!(add(store, again), (Added::NewAccount, Some(id)));
    store.remove(&[KeyId::of(&key(1))], Removal::KeepKeyId).unwrap();
    assert_eq!(store.forget_removed(&[KeyId::of(&key(1)), KeyId::of(&key(2))]).unwrap(), 1);
    assert_eq!(add(store, of_user(1, 700)).0, Added::NewAccount);
    store.remove(&[KeyId::of(&key(1))], Removal::Everything).unwrap();
    assert_eq!(add(store, of_user(1, 700)).0, Added::NewAccount);
    assert!(store.remove(&[KeyId::of(&key(9))], Removal::KeepKeyId).unwrap().is_empty());
}

fn slots_have_no_gaps(store: &dyn SessionStore) {
    let mut id = None;
    for number in 0..4 {
        id = add(store, of_user(number, 700)).1;
    }
    let id = id.unwrap();
    store.remove(&[KeyId::of(&key(1))], Removal::KeepKeyId).unwrap();
    // As long as somebody may serve them, no slot becomes another session.
    assert_eq!(add(store, of_user(9, 700)).0, Added::AnotherSession);
    let slots =
        |store| -> Vec<u16> { sessions(store, Some(id)).iter().map(|it| it.slot).collect() };
    assert_eq!(slots(store), [0, 2, 3, 4]);
    assert_eq!(account(store, user(700)).slots, 5);
    store.settle().unwrap();
    assert_eq!(slots(store), [0, 1, 2, 3]);
    let keys: Vec<_> = sessions(store, Some(id)).iter().map(|it| it.key_id).collect();
    assert_eq!(keys, [0, 2, 3, 9].map(|number| KeyId::of(&key(number))));
}

fn no_account_has_more_than_64_sessions(store: &dyn SessionStore) {
    for number in 0..64 {
        let (outcome, _) = add(store, of_user(number, 700));
        assert!(!matches!(outcome, Added::Refused(_)), "{number}: {outcome:?}");
    }
    assert_eq!(add(store, of_user(64, 700)), (Added::Refused(Conflict::NoSlotFree), None));
    assert_eq!(add(store, of_user(64, 701)).0, Added::NewAccount);
}

fn a_slot_is_one_sessions(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    let id = id.unwrap();
    add(store, of_user(2, 700));
    store.remove(&[KeyId::of(&key(2)), KeyId::of(&key(1))], Removal::KeepKeyId).unwrap();
    assert_eq!(store.key_at(id, 1).unwrap(), None);
    // Whoever serves it may still mean the ones that are gone.
    add(store, of_user(3, 700));
    assert_eq!(store.key_at(id, 2).unwrap(), Some(KeyId::of(&key(3))));
    assert_eq!(account(store, user(700)).gaps, [0, 1]);
    store.settle().unwrap();
    assert_eq!(store.key_at(id, 0).unwrap(), Some(KeyId::of(&key(3))));
    assert_eq!(account(store, user(700)).gaps, [0; 0]);
}

fn merging_finds_room(store: &dyn SessionStore) {
    // A slot that was asked for leaves a gap in front, which is closed first.
    let mut far = of_user(0, 700);
    far.found.slot = Some(40);
    add(store, far);
    for number in 1..40 {
        add(store, of_phone(number, phone(1)));
    }
    let (outcome, _) = add(store, of_both(41, 700, phone(1)));
    assert_eq!(outcome, Added::Merged);
    assert_eq!(store.settle().unwrap(), 1);
    assert_eq!(account(store, user(700)).slots, 41);
    // Of two with more than an account can have neither is lost.
    for number in 100..140 {
        add(store, of_phone(number, phone(2)));
    }
    let told = SessionUser::new(700, false, Some(phone(2)));
    assert_eq!(store.note_logins(&[(KeyId::of(&key(0)), Some(told))]).unwrap(), [None]);
    assert_eq!(store.settle().unwrap(), 0);
    assert_eq!(sessions(store, None).len(), 81);
    assert_eq!(account(store, phone(2)).slots, 40);
}

fn a_proxy_is_the_accounts(store: &dyn SessionStore) {
    let proxied = |mut session: NewSession| {
        session.found.proxy = Some(Arc::new("socks5://127.0.0.1:1080".parse().unwrap()));
        session
    };
    let (_, id) = add(store, proxied(of_phone(1, phone(1))));
    store.remove(&[KeyId::of(&key(1))], Removal::KeepKeyId).unwrap();
    add(store, of_phone(2, phone(1)));
    let way = |id: Option<StoreId>, slot| {
        let record = store.record(id.unwrap(), slot, phone(1)).unwrap().unwrap();
        record.proxy.map(|proxy| proxy.label().to_owned())
    };
    let by_proxy = Some("127.0.0.1:1080".to_owned());
    assert_eq!(way(id, 1), by_proxy, "the session in its place is not dialled directly");
    // Nor is one of the person that it turns out to be, before they are merged.
    add(store, of_user(3, 700));
    let (outcome, one) = add(store, of_both(4, 700, phone(1)));
    assert_eq!(outcome, Added::Merged);
    assert_eq!((way(one, 0), way(one, 1)), (by_proxy.clone(), by_proxy.clone()));
    store.settle().unwrap();
    assert_eq!(account(store, user(700)).proxy.as_deref(), by_proxy.as_deref());
    // Until nothing of it is to be kept.
    let keys = [2, 3, 4].map(|number| KeyId::of(&key(number)));
    store.remove(&keys, Removal::Everything).unwrap();
    let (_, one) = add(store, of_user(5, 700));
    let slot = account(store, user(700)).slots - 1;
    assert_eq!(way(one, slot), None);
}

fn what_was_quarantined_comes_so(store: &dyn SessionStore) {
    let mut session = of_user(1, 700);
    session.quarantine = Some(QuarantineReason::NeedsLogin);
    add(store, session.clone());
    let reasons = || account(store, user(700)).quarantines;
    assert_eq!(reasons(), [(0, QuarantineReason::NeedsLogin)]);
    // One that is there already goes out of service as well, and keeps its own reason.
    session.quarantine = Some(QuarantineReason::Dead);
    let before = store.revision().unwrap();
    add(store, session.clone());
    assert_eq!(
        (reasons(), store.revision().unwrap()),
        (vec![(0, QuarantineReason::NeedsLogin)], before)
    );
    store.set_quarantine(KeyId::of(&key(1)), None).unwrap();
    add(store, session);
    assert_eq!(reasons(), [(0, QuarantineReason::Dead)]);
}

fn the_server_knows_better(store: &dyn SessionStore) {
    let mut session = of_user(1, 700);
    session.found.is_bot = Some(false);
    add(store, session);
    let told = SessionUser::new(700, true, None);
    store.note_logins(&[(KeyId::of(&key(1)), Some(told))]).unwrap();
    assert_eq!(account(store, user(700)).name(), Some(AccountId::bot(700).unwrap()));
}

fn changes_are_numbered(store: &dyn SessionStore) {
    let start = store.revision().unwrap();
    let (_, first) = add(store, of_user(1, 700));
    let after_first = store.revision().unwrap();
    let (_, second) = add(store, of_user(2, 701));
    let after_second = store.revision().unwrap();
    assert!(start < after_first && after_first < after_second);
    let ids = |since| accounts_since(store, since).iter().map(|it| Some(it.id)).collect::<Vec<_>>();
    assert_eq!(ids(start), [first, second]);
    assert_eq!(ids(after_first), [second]);
    assert_eq!(ids(after_second), []);
    store.set_quarantine(KeyId::of(&key(1)), Some(QuarantineReason::Dead)).unwrap();
    assert_eq!(ids(after_second), [first]);
    // A login says nothing new of whom the store knows.
    let now = store.revision().unwrap();
    store.note_logins(&[(KeyId::of(&key(1)), None)]).unwrap();
    assert_eq!(store.revision().unwrap(), now);
}

fn an_operators_changes_hold(store: &dyn SessionStore) {
    let (_, id) = add(store, of_user(1, 700));
    add(store, of_user(2, 700));
    let id = id.unwrap();
    let mut change = SessionChange::default();
    change.group = Some(Some("north".into()));
    change.proxy = Some(Some(Arc::new("socks5://127.0.0.1:1080".parse().unwrap())));
    change.api_id = Some(Some(17));
    change.identity = Some(Some(ClientIdentity::new("Pixel", "16", "1.4")));
    change.address = Some("127.0.0.1:9".parse().unwrap());
    assert_eq!(store.change(&[KeyId::of(&key(2))], &change).unwrap(), 1);
    let both = sessions(store, Some(id));
    assert_eq!((both[0].api_id, both[0].address.port()), (None, 4430));
    // All sessions of an account take one way.
    assert!(both.iter().all(|it| it.proxy.as_deref() == Some("127.0.0.1:1080")));
    assert_eq!((both[1].api_id, both[1].address.port()), (Some(17), 9));
    assert_eq!(both[1].identity.as_ref().map(|it| &*it.app_version), Some("1.4"));
    assert_eq!(account(store, user(700)).group.as_deref(), Some("north"));
    let mut back = SessionChange::default();
    (back.group, back.proxy, back.api_id) = (Some(None), Some(None), Some(None));
    assert_eq!(store.change(&[KeyId::of(&key(1)), KeyId::of(&key(2))], &back).unwrap(), 2);
    let both = sessions(store, Some(id));
    assert!(both.iter().all(|it| it.proxy.is_none() && it.api_id.is_none()));
    assert_eq!(both[1].address.port(), 9, "what is not named stays");
    assert_eq!(account(store, user(700)).group, None);
    assert_eq!(store.change(&[KeyId::of(&key(9))], &back).unwrap(), 0);
}

fn peers_and_states_are_kept(store: &dyn SessionStore) {
    let peer = |kind, id, hash| KnownPeer { kind, id, access_hash: hash, username: None };
    let state = |pts, date| UpdateState { pts, qts: 1, date, seq: 2 };
    let mut session = of_user(1, 700);
    session.found.peers = vec![
        peer(PeerKind::Megagroup, 5, -8),
        peer(PeerKind::User, 5, 9),
        KnownPeer { username: Some("botfather".into()), ..peer(PeerKind::Bot, 93_372_553, 7) },
    ];
    session.found.update_state = Some(state(10, 100));
    session.found.channel_states = vec![ChannelState { channel: 5, pts: 3 }];
    let (_, id) = add(store, session.clone());
    let id = id.unwrap();
    let peers = || {
        let mut all = Vec::new();
        store.peers(id, &mut |peer| all.push(peer)).unwrap();
        all
    };
    assert_eq!(peers().len(), 3);
    assert!(peers().iter().any(|it| it.username.as_deref() == Some("botfather")));
    // One that is older says nothing new.
    session.found.update_state = Some(state(4, 99));
    session.found.channel_states = vec![ChannelState { channel: 5, pts: 1 }];
    add(store, session);
    let kept = store.update_states(id).unwrap();
    assert_eq!(kept.account, Some(state(10, 100)));
    assert_eq!(kept.channels, [ChannelState { channel: 5, pts: 3 }]);
    let later = UpdateStates::new(Some(state(11, 101)), vec![ChannelState { channel: 6, pts: 1 }]);
    store.set_update_states(&[(id, later)]).unwrap();
    let kept = store.update_states(id).unwrap();
    assert_eq!((kept.account, kept.channels.len()), (Some(state(11, 101)), 2));
    assert_eq!(peers().len(), 3);
    // How a channel is addressed is kept with it, and what was known of it besides stays.
    assert_eq!(kept.access_hashes, [(5, -8)]);
    let mut met = UpdateStates::default();
    met.access_hashes = vec![(5, 80), (6, 60)];
    store.set_update_states(&[(id, met)]).unwrap();
    let kept = store.update_states(id).unwrap();
    assert_eq!((kept.account, kept.channels.len()), (Some(state(11, 101)), 2));
    assert_eq!(kept.access_hashes, [(5, 80), (6, 60)]);
    assert!(peers().contains(&peer(PeerKind::Megagroup, 5, 80)));
    // A channel that is gone is not kept, and comes back with whatever is heard of it again.
    let mut gone = UpdateStates::default();
    gone.gone_channels = vec![5, 99];
    store.set_update_states(&[(id, gone)]).unwrap();
    let kept = store.update_states(id).unwrap();
    assert_eq!(kept.channels, [ChannelState { channel: 6, pts: 1 }]);
    assert!(kept.gone_channels.is_empty());
}

fn who_serves_is_noted(store: &dyn SessionStore) {
    assert_eq!(store.serve_mark().unwrap(), None);
    let mut mark = ServeMark::new("machine".into(), 7, 1_700_000_000);
    mark.socket = Some("/run/telepool.sock".into());
    store.set_serve_mark(&mark).unwrap();
    assert_eq!(store.serve_mark().unwrap(), Some(mark.clone()));
    mark.released = true;
    store.set_serve_mark(&mark).unwrap();
    assert_eq!(store.serve_mark().unwrap(), Some(mark));
}

fn sign_ins_are_kept(store: &dyn SessionStore) {
    let login = |name: &str, id: u64, state: &[u8]| PendingLogin {
        name: name.to_owned(),
        id,
        started: 1_700_000_000 + id,
        state: state.to_vec().into(),
    };
    let kept = || -> Vec<(String, u64, Vec<u8>)> {
        let all = store.pending_logins().unwrap();
        all.into_iter().map(|it| (it.name, it.started - 1_700_000_000, it.state.to_vec())).collect()
    };
    let row = |name: &str, id: u64, state: &[u8]| (name.to_owned(), id, state.to_vec());
    assert!(store.begin_login(&login("b", 1, b"begun")).unwrap());
    assert!(store.begin_login(&login("a", u64::MAX >> 1, b"begun")).unwrap());
    assert!(!store.begin_login(&login("b", 2, b"another")).unwrap(), "there is one");
    assert!(store.keep_login(&login("b", 1, b"further on")).unwrap());
    assert!(!store.keep_login(&login("b", 2, b"another")).unwrap(), "it is not that one");
    assert_eq!(kept()[0], row("b", 1, b"further on"));
    assert!(!store.forget_login("a", 1).unwrap());
    assert!(store.forget_login("a", u64::MAX >> 1).unwrap());
    assert!(!store.keep_login(&login("a", u64::MAX >> 1, b"late")).unwrap(), "it has ended");
    let old = KeyId::of(&key(9));
    assert!(!store.was_removed(old).unwrap());
    let addition = store.finish_login(("b", 1), &of_user(1, 777), Some(old)).unwrap();
    assert_eq!((addition.outcome, addition.slot), (Added::NewAccount, 0));
    assert_eq!((kept().len(), sessions(store, None).len()), (0, 1));
    assert!(store.was_removed(old).unwrap(), "another takes its place");
    // One that the store does not take stays: it is signed in, and nothing else has its key.
    store.begin_login(&login("c", 3, b"done")).unwrap();
    let addition = store.finish_login(("c", 3), &of_user(9, 778), None).unwrap();
    assert!(matches!(addition.outcome, Added::Refused(Conflict::Removed { .. })));
    assert_eq!(kept(), [row("c", 3, b"done")]);
    // Whoever has signed in is certain, whatever the store has thought.
    let number = phone(7);
    add(store, of_both(4, 779, number));
    let mut moved = found(5);
    (moved.origin, moved.user_id, moved.phone) = (Origin::SignIn, Some(780), Some(number));
    let addition = store.finish_login(("c", 3), &new(moved), None).unwrap();
    assert_eq!(addition.outcome, Added::NewAccount);
    assert_eq!(account(store, number).user_id, Some(780), "the number is the new owner's");
}

fn logout_tokens_are_kept(store: &dyn SessionStore) {
    let tokens = |user| -> Vec<u8> {
        store.logout_tokens(user).unwrap().into_iter().map(|token| token[0]).collect()
    };
    for number in 0..25 {
        store.add_logout_token(7, &[number; 4]).unwrap();
    }
    store.add_logout_token(8, &[99]).unwrap();
    assert_eq!(tokens(7), (5..25).collect::<Vec<u8>>(), "the last ones");
    assert_eq!((tokens(8), tokens(9)), (vec![99], vec![]));
}

fn tokens_are_kept(store: &dyn SessionStore) {
    let bot = AccountId::bot(700).unwrap();
    let token = |secret: &str| BotToken { bot, token: format!("700:{secret}").into() };
    assert!(store.add_bot_token(&token("one")).unwrap());
    assert!(!store.add_bot_token(&token("one")).unwrap(), "it is there");
    assert!(store.add_bot_token(&token("two")).unwrap(), "a new one takes its place");
    let kept = store.bot_tokens().unwrap();
    assert_eq!((kept.len(), kept[0].bot, &**kept[0].token), (1, bot, "700:two"));
    assert!(store.remove_bot_token(bot).unwrap() && !store.remove_bot_token(bot).unwrap());
    assert!(store.bot_tokens().unwrap().is_empty());
}
