//! The supervisor with a runner of the test's own, which does what the client's may do at the worst
//! moment: ends late, panics, outlives its end, dials once more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use grammers_client::sender::SenderPoolRunner;
use grammers_client::session::Session as _;
use grammers_client::{SenderPool, tl};
use tokio::sync::oneshot;

use super::*;
use crate::account_id::AccountId;
use crate::base::clock::now;
use crate::ownership::{Ownership, Unguarded};
use crate::session::{AuthKey, DataCentres, SessionRecord};
use crate::telegram::health::ConnectionHealth;
use crate::telegram::login_cache::LoginCache;
use crate::telegram::one_shot_session::OneShotSession;
use crate::telegram::rpc::RpcHandle;
use crate::telegram::updates::FeedSource;
use crate::telegram::{TelegramError, TelegramSettings};

const DC: i32 = 2;
const LOST: Duration = Duration::from_secs(120);

/// A connection whose client is the test.
struct Bench {
    session: Arc<OneShotSession>,
    health: Arc<ConnectionHealth>,
    parts: ConnectionParts,
    key: AuthKey,
    /// Whoever runs the client holds one, and so does each of its tasks.
    task: mpsc::Sender<UpdatesLike>,
    updates: mpsc::Receiver<UpdatesLike>,
    /// What takes the calls that are sent by way of the handle, and answers none. Without it they fail
    /// at once.
    silence: SenderPoolRunner,
}

/// What is left of it once it is supervised.
struct Supervised {
    supervisor: SupervisorHandle,
    opened: oneshot::Receiver<OpenResult>,
    key: KeyId,
    health: Arc<ConnectionHealth>,
}

fn bench() -> Bench {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [211; 256];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let key = AuthKey::new(bytes);
    let account = AccountId::bot(5).unwrap();
    let record = SessionRecord::new(account, DC, "127.0.0.1:1".parse().unwrap(), key.clone());
    let session = Arc::new(OneShotSession::new(&record, DataCentres::new(), None));
    let params = TelegramSettings::new(1).connection_params(&record);
    let SenderPool { handle, runner: silence, .. } =
        SenderPool::with_configuration(Arc::clone(&session), 1, params);
    let (task, updates) = mpsc::channel(10);
    let health = Arc::<ConnectionHealth>::default();
    let parts = ConnectionParts {
        traffic: Arc::default(),
        account,
        slot: 0,
        rpc: RpcHandle::of_client(handle.thin, DC),
        session: Arc::clone(&session),
        health: Arc::clone(&health),
        feed: FeedSource::default(),
        lanes: Arc::default(),
        close_grace: Duration::from_secs(1),
        call_timeout: Duration::from_secs(30),
        redial_after_loss: LOST,
        epoch: Epoch::default(),
        fence: watch::Sender::new(Fence::default()).subscribe(),
        bridge: None,
    };
    Bench { session, health, parts, key, task, updates, silence }
}

async fn connected() -> Bench {
    let bench = bench();
    // As the client does when its connection stands.
    let mut home = bench.session.dc_option(DC).unwrap().unwrap();
    home.auth_key = Some(*bench.key.expose());
    bench.session.set_dc_option(&home).await.unwrap();
    bench
}

impl Bench {
    /// Supervises this runner, which holds a task's sender as long as it lives.
    async fn supervise<R>(self, runner: R) -> Supervised
    where
        R: Future<Output = Option<()>> + Send + 'static,
    {
        self.supervise_with(runner, std::future::pending()).await
    }

    async fn supervise_with<R, P>(self, runner: R, check: P) -> Supervised
    where
        R: Future<Output = Option<()>> + Send + 'static,
        P: Future<Output = OpenResult> + Send + 'static,
    {
        let Self { session, parts, key, task, updates, silence, health } = self;
        let home = session.is_connected().then(|| task.clone());
        let key = KeyId::of(&key);
        let mut guard = KeyGuard::lock(key).await.unwrap();
        let ownership: Arc<dyn Ownership> = Arc::new(Unguarded::default());
        guard.begin(&ownership).unwrap();
        let logins = Arc::new(LoginCache::new(Duration::ZERO));
        let begun = logins.begin(parts.account, 0, 1);
        let session = (parts.account, 0);
        let (opening, opened) =
            PendingOpen::new(check, logins, begun, session, Arc::clone(&health));
        let runner = Box::pin(async move {
            let _held = (task, home, silence);
            runner.await
        });
        Supervised {
            supervisor: supervise_runner(parts, runner, updates, opening, guard),
            opened,
            key,
            health,
        }
    }
}

impl Supervised {
    /// Waits until the key is free or rests, and returns for how long.
    async fn rest(self) -> Duration {
        drop(self.supervisor);
        match KeyGuard::lock(self.key).await {
            Ok(_guard) => Duration::ZERO,
            Err(rest) => rest,
        }
    }
}

/// A socket of the client's, in a task that is aborted and lets go of it some time later, on another
/// thread.
#[derive(Clone)]
struct Socket(Arc<AtomicBool>);

impl Socket {
    fn open() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn close_later(&self, task: mpsc::Sender<UpdatesLike>) {
        let socket = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            socket.0.store(false, Ordering::SeqCst);
            drop(task);
        });
    }
}

/// Does something when it is dropped.
struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[tokio::test]
async fn a_panic_of_the_runner_proves_no_socket_closed() {
    let bench = connected().await;
    let (socket, task) = (Socket::open(), bench.task.clone());
    let at_end = socket.clone();
    let supervised = bench
        .supervise(async move {
            at_end.close_later(task);
            None
        })
        .await;
    supervised.supervisor.gone().await;
    assert!(!socket.is_open(), "the end was told before it");
    assert_eq!(supervised.rest().await, Duration::ZERO);
}

#[tokio::test]
async fn a_runner_that_lets_go_late_keeps_its_key_until_then() {
    let mut bench = connected().await;
    bench.parts.close_grace = Duration::from_millis(10);
    let (socket, mut task) = (Socket::open(), Some(bench.task.clone()));
    let at_end = socket.clone();
    let runner = AtDrop(move || at_end.close_later(task.take().unwrap()));
    let supervised = bench
        .supervise(async move {
            let _runner = runner;
            // It dials another data centre, and listens to nobody.
            std::future::pending().await
        })
        .await;
    assert_eq!(supervised.rest().await, Duration::ZERO);
    assert!(!socket.is_open());
}

#[tokio::test]
async fn nothing_is_dialled_by_a_runner_that_is_being_ended() {
    let bench = bench();
    let was_told = Arc::new(AtomicBool::new(true));
    let (session, told) = (Arc::clone(&bench.session), Arc::clone(&was_told));
    // It asks where to dial as it is dropped, as whoever dials in it may.
    let runner = AtDrop(move || {
        told.store(matches!(session.dc_option(DC), Ok(Some(_))), Ordering::SeqCst);
    });
    let supervised = bench
        .supervise(async move {
            let _runner = runner;
            std::future::pending().await
        })
        .await;
    supervised.rest().await;
    assert!(!was_told.load(Ordering::SeqCst), "it was told an address");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_has_not_connected_is_dropped_and_not_waited_for() {
    let supervised = bench().supervise(std::future::pending()).await;
    let began = now();
    assert_eq!(supervised.rest().await, Duration::ZERO);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_of_several_data_centres_has_the_home_asked() {
    let mut bench = connected().await;
    let account = bench.parts.account;
    let record = SessionRecord::new(account, DC, "127.0.0.1:1".parse().unwrap(), bench.key.clone());
    // Whatever it is asked fails at once.
    let params = TelegramSettings::new(1).connection_params(&record);
    let gone = SenderPool::with_configuration(Arc::clone(&bench.session), 1, params).handle;
    bench.parts.rpc = RpcHandle::of_client(gone.thin, DC);
    let abroad = bench.task.clone();
    let updates = bench.task.downgrade();
    let supervised = bench.supervise(std::future::pending()).await;
    let turn = || {
        let update = UpdatesLike::Updates(tl::enums::Updates::TooLong);
        updates.upgrade().unwrap().try_send(update).unwrap();
    };
    turn();
    tokio::task::yield_now().await;
    assert!(!supervised.health.is_dead());
    drop(abroad);
    // It looks at the number of tasks whenever it has its turn.
    turn();
    // Before the heartbeat would ask.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(supervised.health.is_dead(), "nobody has asked the home");
}

#[tokio::test]
async fn what_the_server_said_last_is_told_though_the_runner_ends_with_it() {
    let (say, said) = oneshot::channel();
    let check = async move { Err(said.await.expect("it is said")) };
    // The check is polled before the runner has its turn, which is its last.
    let runner = async move {
        let (name, value, method) = ("AUTH_KEY_DUPLICATED".into(), None, None);
        say.send(TelegramError::Rpc { code: 406, name, value, method }).unwrap();
        Some(())
    };
    let supervised = bench().supervise_with(runner, check).await;
    let told = supervised.opened.await.expect("the reason is told").unwrap_err();
    assert!(matches!(told, TelegramError::Rpc { code: 406, .. }), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_costs_the_connection_and_lets_the_key_rest() {
    let supervised = connected().await.supervise(std::future::pending()).await;
    let (began, health) = (now(), Arc::clone(&supervised.health));
    while !health.is_dead() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let silent = began.elapsed().as_secs();
    assert!((30..=31).contains(&silent), "after {silent} s");
    assert!(!supervised.rest().await.is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_close_asks_for_a_last_answer_unless_there_was_one_just_now() {
    for (quiet, rests) in [(Duration::ZERO, false), (Duration::from_secs(10), true)] {
        let supervised = connected().await.supervise(std::future::pending()).await;
        tokio::task::yield_now().await;
        tokio::time::advance(quiet).await;
        // The runner takes no notice of being asked to quit: it is cut off.
        assert_eq!(!supervised.rest().await.is_zero(), rests, "after {quiet:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_cuts_the_connection_and_counts_the_pause_as_rest() {
    for (stopped, rest) in [(75, 45), (120, 0), (86_400, 0)] {
        let mut bench = connected().await;
        let fence = watch::Sender::new(Fence::default());
        bench.parts.fence = fence.subscribe();
        let supervised = bench.supervise(std::future::pending()).await;
        tokio::task::yield_now().await;
        assert!(!supervised.health.is_dead());
        fence.send_replace(Fence::new(Epoch::new(1), Duration::from_secs(stopped)));
        while !supervised.health.is_dead() {
            tokio::task::yield_now().await;
        }
        assert_eq!(supervised.rest().await.as_secs(), rest, "after {stopped} s");
    }
}
