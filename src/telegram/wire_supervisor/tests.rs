//! The supervisor over a socket of this machine, whose other end is the test: what becomes of the key by each way
//! out.

use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::ownership::{Ownership, Unguarded};
use crate::session::{AuthKey, KeyId};
use crate::telegram::TelegramError;
use crate::telegram::health::PendingCall;
use crate::telegram::key_lock::{KeyState, state_of};
use crate::telegram::login_cache::LoginCache;

const LOST: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_millis(50);

/// A connection that is supervised.
struct Supervised {
    supervisor: SupervisorHandle,
    opened: oneshot::Receiver<OpenResult>,
    key: KeyId,
    far: std::net::TcpStream,
    health: Arc<ConnectionHealth>,
    fence: watch::Sender<Fence>,
}

async fn supervise(
    is_proxied: bool,
    check: impl Future<Output = OpenResult> + Send + 'static,
) -> Supervised {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [177; 256];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let auth_key = AuthKey::new(bytes);
    let key = KeyId::of(&auth_key);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().unwrap().0;
    far.set_nonblocking(true).unwrap();
    let mut guard = KeyGuard::lock(key).await.unwrap();
    let ownership: Arc<dyn Ownership> = Arc::new(Unguarded::default());
    guard.begin(&ownership).unwrap();
    let health = Arc::new(ConnectionHealth::unburdened());
    let account = AccountId::bot(5).unwrap();
    let fence = watch::Sender::new(Fence::default());
    let parts = WireParts {
        account,
        slot: 0,
        traffic: Arc::default(),
        health: Arc::clone(&health),
        feed: FeedSource::default(),
        epoch: Epoch::default(),
        fence: fence.subscribe(),
        memories: Arc::default(),
        policy: EndPolicy { redial_after_loss: LOST, is_proxied },
        close_grace: GRACE,
        wires: Arc::default(),
        group: "group".into(),
    };
    let options = WireOptions::new(auth_key);
    let (_, supervisor) = begin(parts, near, guard, options);
    let logins = Arc::new(LoginCache::new(Duration::ZERO));
    let begun = logins.begin(account, 0, 1);
    let (opening, opened) =
        PendingOpen::new(check, logins, begun, (account, 0), Arc::clone(&health));
    let supervisor = supervisor.spawn(opening);
    Supervised { supervisor, opened, key, far, health, fence }
}

impl Supervised {
    /// Waits until the other end has the first packet.
    async fn begun(self) -> Self {
        while look(&self.far) == Seen::Open(0) {
            tokio::task::yield_now().await;
        }
        self
    }

    /// Waits for the end, at which the socket is closed and the key is given back.
    async fn gone(&self) -> KeyState {
        self.supervisor.gone().await;
        assert!(!matches!(look(&self.far), Seen::Open(_)), "the socket goes before the key");
        assert!(self.health.is_dead());
        state_of(self.key)
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// With so many bytes unread.
    Open(usize),
    Closed,
}

/// Reads whatever has come.
fn look(far: &std::net::TcpStream) -> Seen {
    let mut count = 0;
    loop {
        match (&mut &*far).read(&mut [0; 4096]) {
            Ok(0) => return Seen::Closed,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Seen::Open(count),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Seen::Closed,
            Err(error) => panic!("{error}"),
        }
    }
}

fn rests(state: KeyState, about: Duration) -> bool {
    let some = Duration::from_secs(30);
    matches!(state, KeyState::Resting(left) if left <= about && left + some > about)
}

#[tokio::test]
async fn a_key_is_free_after_a_close_that_the_server_joins_and_rests_after_one_that_it_does_not() {
    for is_joined in [true, false] {
        let supervised = supervise(false, std::future::pending()).await.begun().await;
        assert_eq!(state_of(supervised.key), KeyState::InUse);
        if !is_joined {
            // So that it gets less time.
            drop(PendingCall::begin(&supervised.health));
        }
        supervised.supervisor.stop();
        if is_joined {
            while !matches!(look(&supervised.far), Seen::Closed) {
                tokio::task::yield_now().await;
            }
            supervised.far.shutdown(Shutdown::Write).unwrap();
        }
        let state = supervised.gone().await;
        assert!(if is_joined { state == KeyState::Free } else { rests(state, LOST) }, "{state:?}");
        assert!(supervised.opened.await.is_err());
    }
}

#[tokio::test]
async fn a_connection_that_was_never_begun_or_that_the_server_ends_leaves_no_rest() {
    let unused = supervise(false, std::future::pending()).await;
    unused.supervisor.stop();
    // Its task has not run yet.
    unused.far.shutdown(Shutdown::Both).unwrap();
    assert_eq!(unused.gone().await, KeyState::Free);
    let ended = supervise(false, std::future::pending()).await.begun().await;
    ended.far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ended.gone().await, KeyState::Free);
    let error = ended.opened.await;
    assert!(error.is_err(), "nobody has opened it: {error:?}");
}

#[tokio::test]
async fn what_a_proxy_resets_the_server_may_have_open() {
    for (is_proxied, is_closed) in [(false, false), (true, false), (false, true), (true, true)] {
        let supervised = supervise(is_proxied, std::future::pending()).await.begun().await;
        if is_closed {
            supervised.supervisor.stop();
            while !matches!(look(&supervised.far), Seen::Closed) {
                tokio::task::yield_now().await;
            }
        }
        let far = socket2::SockRef::from(&supervised.far);
        far.set_linger(Some(Duration::ZERO)).unwrap();
        let Supervised { supervisor, key, far, .. } = supervised;
        drop(far);
        supervisor.gone().await;
        let state = state_of(key);
        assert!(if is_proxied { rests(state, LOST) } else { state == KeyState::Free }, "{state:?}");
    }
}

#[tokio::test]
async fn after_a_fence_it_is_cut_and_the_rest_is_what_is_left_of_the_time() {
    let supervised = supervise(false, std::future::pending()).await.begun().await;
    let stopped = Duration::from_secs(40);
    let next = Epoch::new(1);
    supervised.fence.send_replace(Fence::new(next, stopped));
    let state = supervised.gone().await;
    assert!(rests(state, LOST - stopped), "{state:?}");
}

#[tokio::test]
async fn a_panic_closes_the_socket_first_and_the_key_rests_if_the_server_has_a_packet() {
    for is_begun in [false, true] {
        let (panics, begun) = oneshot::channel::<()>();
        let check = async move {
            tokio::task::yield_now().await;
            if is_begun {
                begun.await.ok();
            }
            panic!("as it must")
        };
        let mut supervised = supervise(false, check).await;
        if is_begun {
            supervised = supervised.begun().await;
        }
        drop(panics);
        let state = supervised.gone().await;
        assert!(if is_begun { rests(state, LOST) } else { state == KeyState::Free }, "{state:?}");
        assert!(supervised.opened.await.is_err());
    }
}

#[test]
fn an_end_of_the_runtime_closes_the_socket_first_and_the_key_rests_if_that_proves_nothing() {
    for (is_proxied, is_waited_for) in [(false, false), (true, false), (false, true)] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let supervised = runtime
            .block_on(async { supervise(is_proxied, std::future::pending()).await.begun().await });
        if is_waited_for {
            // A call has had no answer.
            drop(PendingCall::begin(&supervised.health));
        }
        drop(runtime);
        let none = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let state = none.block_on(supervised.gone());
        let must_rest = is_proxied || is_waited_for;
        assert!(if must_rest { rests(state, LOST) } else { state == KeyState::Free }, "{state:?}");
    }
}

#[tokio::test]
async fn whoever_waits_for_it_to_open_learns_what_the_check_says() {
    for is_good in [true, false] {
        let check = async move { if is_good { Ok(()) } else { Err(TelegramError::KeyChanged) } };
        let supervised = supervise(false, check).await;
        let Supervised { supervisor, opened, far, .. } = supervised;
        assert_eq!(opened.await.unwrap().is_ok(), is_good);
        drop(far);
        supervisor.gone().await;
    }
}
