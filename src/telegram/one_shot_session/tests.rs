//! The order of the client's questions, and what each is told.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::account_id::AccountId;

const HOME: i32 = 2;
const FOREIGN: i32 = 4;

fn record() -> SessionRecord {
    SessionRecord {
        account: AccountId::bot(1).unwrap(),
        slot: 0,
        dc: HOME,
        address: "127.0.0.1:4430".parse().unwrap(),
        user_id: 1,
        is_bot: true,
        key: AuthKey::new([7; 256]),
        group: None,
        proxy: None,
        api_id: None,
        identity: None,
    }
}

fn one_shot() -> OneShotSession {
    OneShotSession::new(&record(), DataCentres::new(), None)
}

fn now<T>(mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the runner would be suspended between two of its steps"),
    }
}

fn set(session: &OneShotSession, dc: i32, key: Option<[u8; 256]>) -> Result<(), OneShotError> {
    let ipv4 = SocketAddrV4::new(Ipv4Addr::new(149, 154, 167, 41), 443);
    let ipv6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0, 0);
    now(session.set_dc_option(&DcOption { id: dc, ipv4, ipv6, auth_key: key }))
}

/// What `update_config` does for one entry of the server's list.
fn list_entry(session: &OneShotSession, dc: i32) -> Result<(), OneShotError> {
    let known = session.dc_option(dc)?;
    set(session, dc, known.and_then(|option| option.auth_key))
}

fn connect(session: &OneShotSession) -> Result<(), OneShotError> {
    let option = session.dc_option(HOME)?.ok_or(OneShotError::Redial)?;
    // The list may hold several addresses of the home, and of others.
    for dc in [HOME, FOREIGN, HOME] {
        list_entry(session, dc)?;
    }
    set(session, HOME, option.auth_key)
}

#[test]
fn the_first_question_is_answered_with_our_address_and_key() {
    let option = one_shot().dc_option(HOME).unwrap().unwrap();
    assert_eq!(SocketAddr::from(option.ipv4), record().address);
    assert_eq!(option.auth_key, Some([7; 256]));
}

#[test]
fn one_runner_is_one_connection() {
    let session = one_shot();
    connect(&session).unwrap();
    assert_eq!(session.dc_option(HOME), Err(OneShotError::Redial));
    assert_eq!(set(&session, HOME, Some([7; 256])), Err(OneShotError::Redial));
}

#[test]
fn a_failed_dial_cannot_be_repeated() {
    let session = one_shot();
    session.dc_option(HOME).unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(session.dc_option(HOME), Ok(None));
    }
}

#[test]
fn another_key_is_refused_at_every_stage() {
    let session = one_shot();
    assert_eq!(set(&session, HOME, Some([8; 256])), Err(OneShotError::KeyChanged));
    let option = session.dc_option(HOME).unwrap().unwrap();
    list_entry(&session, HOME).unwrap();
    assert_eq!(set(&session, HOME, Some([8; 256])), Err(OneShotError::KeyChanged));
    set(&session, HOME, option.auth_key).unwrap();
    assert_eq!(set(&session, HOME, Some([8; 256])), Err(OneShotError::KeyChanged));
    assert_eq!(session.key, record().key);
}

#[test]
fn an_address_of_the_server_is_never_taken() {
    let session = one_shot();
    connect(&session).unwrap();
    assert_eq!(session.address, record().address);
    set(&session, FOREIGN, None).unwrap();
    assert_eq!(session.dc_option(FOREIGN), Ok(None));
}

#[test]
fn a_foreign_data_centre_is_known_from_the_table_and_keeps_its_own_key() {
    let at: SocketAddr = "127.0.0.1:4".parse().unwrap();
    let session = OneShotSession::new(&record(), [(FOREIGN, at)].into_iter().collect(), None);
    assert_eq!(session.dc_option(FOREIGN), Ok(None), "not before the home is connected");
    connect(&session).unwrap();
    let option = session.dc_option(FOREIGN).unwrap().unwrap();
    assert_eq!((SocketAddr::from(option.ipv4), option.auth_key), (at, None));
    set(&session, FOREIGN, Some([9; 256])).unwrap();
    let option = session.dc_option(FOREIGN).unwrap().unwrap();
    assert_eq!((SocketAddr::from(option.ipv4), option.auth_key), (at, Some([9; 256])));
}

#[test]
fn a_sealed_session_connects_no_more() {
    let session = one_shot();
    assert!(!session.seal());
    assert_eq!(session.dc_option(HOME), Err(OneShotError::Redial));

    let session = one_shot();
    let option = session.dc_option(HOME).unwrap().unwrap();
    assert!(!session.seal(), "the dial is under way");
    assert_eq!(set(&session, HOME, option.auth_key), Err(OneShotError::Redial));

    let session = one_shot();
    connect(&session).unwrap();
    assert!(session.seal());
    assert_eq!(session.dc_option(FOREIGN), Ok(None));
}

#[test]
fn the_home_cannot_be_moved() {
    let session = one_shot();
    now(session.set_home_dc_id(FOREIGN)).unwrap();
    assert_eq!(session.home_dc_id(), Ok(HOME));
}

#[test]
fn a_home_of_either_family_is_dialled_by_its_own() {
    let mut record = record();
    record.address = "[::1]:4430".parse().unwrap();
    let at: SocketAddr = "127.0.0.1:4".parse().unwrap();
    let session = OneShotSession::new(&record, [(FOREIGN, at)].into_iter().collect(), None);
    connect(&session).unwrap();
    let foreign = session.dc_option(FOREIGN).unwrap().unwrap();
    assert_eq!(foreign.ipv6.ip().to_ipv4_mapped(), Some(Ipv4Addr::LOCALHOST));

    let session = OneShotSession::new(&record, DataCentres::new(), None);
    assert_eq!(SocketAddr::from(session.dc_option(HOME).unwrap().unwrap().ipv6), record.address);

    // A home by IPv4 cannot have a neighbour that listens on IPv6 only.
    record.address = at;
    let table = [(FOREIGN, "[::1]:4".parse().unwrap())].into_iter().collect();
    let session = OneShotSession::new(&record, table, None);
    connect(&session).unwrap();
    assert_eq!(session.dc_option(FOREIGN), Ok(None));
}

fn stranger(id: i64) -> PeerInfo {
    let auth = Some(PeerAuth::from_hash(id));
    PeerInfo::User { id, auth, bot: Some(false), is_self: Some(false) }
}

fn own_ref(session: &OneShotSession) -> Result<Option<PeerRef>, OneShotError> {
    now(session.peer_ref(PeerId::self_user()))
}

#[test]
fn however_many_peers_come_few_are_remembered_and_oneself_always() {
    let session = one_shot();
    let count = i64::try_from(2 * PEERS_MAX).unwrap();
    for id in 2..count {
        now(session.cache_peer(stranger(id))).unwrap();
        assert!(session.state().peers.len() <= PEERS_MAX, "after {id}");
    }
    let last = PeerId::user(count - 1).unwrap();
    assert_eq!(now(session.peer(last)), Ok(Some(stranger(count - 1))), "the newest is known");
    assert!(now(session.peer(PeerId::self_user())).unwrap().is_some());
    // One that is known takes no room of its own.
    let known = session.state().peers.len();
    now(session.cache_peer(stranger(count - 1))).unwrap();
    assert_eq!(session.state().peers.len(), known);
}

#[test]
fn oneself_is_known_from_the_record_and_answered_by_number() {
    let session = one_shot();
    let own = PeerId::user(1).unwrap();
    let expected = own_peer(1, true, PeerAuth::default());
    assert_eq!(now(session.peer(PeerId::self_user())), Ok(expected.clone()));
    assert_eq!(now(session.peer(own)), Ok(expected));
    let auth = PeerAuth::default();
    assert_eq!(own_ref(&session), Ok(Some(PeerRef { id: own, auth })));
    // What the server says of it is kept apart from the others.
    let auth = PeerAuth::from_hash(7);
    now(session.cache_peer(own_peer(1, true, auth).unwrap())).unwrap();
    assert_eq!(own_ref(&session), Ok(Some(PeerRef { id: own, auth })));
    assert!(session.state().peers.is_empty());
}

#[test]
fn without_a_number_oneself_is_learnt_and_until_then_an_error_and_no_panic() {
    // 0 stands for an unknown one; nobody has the others.
    for user_id in [0, -5, 1 << 40, i64::MAX] {
        let mut record = record();
        record.user_id = user_id;
        let session = OneShotSession::new(&record, DataCentres::new(), None);
        assert!(!session.knows_own(), "{user_id}");
        assert_eq!(now(session.peer(PeerId::self_user())), Ok(None));
        assert_eq!(own_ref(&session), Err(OneShotError::OwnUnknown));
        now(session.cache_peer(stranger(9))).unwrap();
        assert!(!session.knows_own());
        now(session.cache_peer(own_peer(8, false, PeerAuth::from_hash(3)).unwrap())).unwrap();
        let (id, auth) = (PeerId::user(8).unwrap(), PeerAuth::from_hash(3));
        assert_eq!(own_ref(&session), Ok(Some(PeerRef { id, auth })));
    }
}

#[test]
fn a_number_of_the_record_that_is_another_users_gives_way_to_the_servers() {
    let session = one_shot();
    now(session.cache_peer(own_peer(8, true, PeerAuth::from_hash(3)).unwrap())).unwrap();
    assert_eq!(own_ref(&session).unwrap().unwrap().id, PeerId::user(8).unwrap());
    assert_eq!(now(session.peer(PeerId::user(1).unwrap())), Ok(None));
}

/// An application's memory, which at times is mistaken.
#[derive(Debug, Default)]
struct Remembered(Mutex<HashMap<(AccountId, PeerId), PeerInfo>>);

impl PeerCache for Remembered {
    fn peer(&self, account: AccountId, peer: PeerId) -> Option<PeerInfo> {
        self.0.lock().get(&(account, peer)).cloned()
    }

    fn cache_peer(&self, account: AccountId, peer: &PeerInfo) {
        self.0.lock().insert((account, peer.id()), peer.clone());
    }
}

#[test]
fn what_the_application_remembers_of_peers_outlasts_a_session() {
    let remembered = Arc::<Remembered>::default();
    let session = |record: &SessionRecord| {
        let memory: Arc<dyn PeerCache> = Arc::clone(&remembered) as _;
        OneShotSession::new(record, DataCentres::new(), None).with_peer_cache(Some(memory))
    };
    now(session(&record()).cache_peer(stranger(9))).unwrap();
    let (id, auth) = (PeerId::user(9).unwrap(), PeerAuth::from_hash(9));
    let next = session(&record());
    assert_eq!(now(next.peer_ref(id)), Ok(Some(PeerRef { id, auth })));
    assert_eq!(now(next.peer(id)), Ok(Some(stranger(9))));
    assert!(next.state().peers.contains_key(&id), "it is asked once");
    // Of another account the hash is worth nothing.
    let mut other = record();
    other.account = AccountId::bot(2).unwrap();
    assert_eq!(now(session(&other).peer(id)), Ok(None));
    // Who oneself is the server says, and somebody else is nobody's answer.
    let account = record().account;
    let mistaken = PeerId::user(10).unwrap();
    let wrong = [PeerId::self_user(), mistaken].map(|id| ((account, id), stranger(9)));
    remembered.0.lock().extend(wrong);
    let mut unknown = record();
    unknown.user_id = 0;
    assert_eq!(own_ref(&session(&unknown)), Err(OneShotError::OwnUnknown));
    assert_eq!(now(session(&unknown).peer(mistaken)), Ok(None));
    // More of one that is known is added to it.
    let less = PeerInfo::User { id: 9, auth: None, bot: Some(true), is_self: None };
    now(session(&record()).cache_peer(less)).unwrap();
    let told = remembered.peer(account, id).unwrap();
    assert_eq!((told.auth(), told.id()), (Some(auth), id), "{told:?}");
    assert!(matches!(told, PeerInfo::User { bot: Some(true), .. }), "{told:?}");
}
