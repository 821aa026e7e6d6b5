//! Connections whose end the server does not notice, and sessions that end without the client's being
//! told: none of it costs a login.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use telepool::ownership::{Claims, Epoch, Fence, Fenced, KeyId, Ownership, Unguarded};
use telepool::telegram::InvokeError;
use telepool::{AcquireError, Config, DialError, Event, EventStream, Pool, QuarantineReason};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::relay::Relay;
use crate::sandbox::raw::RawClient;

type World = Pool<TelegramManager<MemorySource>>;

const SECOND: Duration = Duration::from_secs(1);

/// A data centre that closes its end soon, and a line to it.
async fn far_away() -> (DataCentre, Relay) {
    let mut options = DataCentreOptions::default();
    options.disconnect_delay_max = Some(SECOND);
    let data_centre = DataCentre::start(options).await.unwrap();
    let relay = Relay::start(data_centre.address()).await;
    (data_centre, relay)
}

fn settings(redial_after_loss: Duration) -> TelegramSettings {
    let mut settings = super::settings();
    settings.redial_after_loss = redial_after_loss;
    settings.close_grace = Duration::from_millis(200);
    settings
}

fn pool_of(
    records: Vec<SessionRecord>,
    settings: TelegramSettings,
    configure: impl FnOnce(&mut Config),
) -> World {
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings);
    Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 1000;
            config.pool.check_timeout = Duration::from_millis(200);
            config.pool.cleanup_interval = Duration::from_millis(20);
        })
        .configure(configure)
        .build()
        .unwrap()
}

/// Loses a connection by a cut line, and acquires again at once. Answers how the account was treated.
async fn lose_a_line(redial_after_loss: Duration) -> DataCentre {
    let (data_centre, relay) = far_away().await;
    let mut records = data_centre.create_sessions(OWN, 1, None);
    records[0].address = relay.address;
    let pool = pool_of(records, settings(redial_after_loss), |_| ());
    let account = pool.account(OWN).unwrap();
    let lease = account.acquire().await.unwrap();
    lease.invoke(&myself()).await.unwrap();
    relay.cut();
    let lost = lease.invoke_within(&myself(), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(lost, InvokeError::Call(TelegramError::Timeout { .. })), "{lost}");
    drop(lease);
    // The line is well again for whoever dials anew. Whether that serves is not the question here.
    if let Ok(lease) = account.acquire().await {
        drop(lease.invoke(&myself()).await);
    }
    assert_eq!(pool.close().await.still_open, 0);
    data_centre
}

#[tokio::test]
async fn a_cut_line_lets_the_session_rest_until_the_server_has_closed_its_end() {
    let data_centre = lose_a_line(3 * SECOND).await;
    let stats = data_centre.stats();
    assert_eq!((stats.key_violations, stats.connections_total), (0, 2), "{stats:?}");
    assert!(stats.closed_by_timer > 0);
}

/// The counterpart: whoever does not wait meets the old connection.
#[tokio::test]
async fn without_that_rest_it_would_have_cost_the_login() {
    assert_eq!(lose_a_line(Duration::ZERO).await.stats().key_violations, 1);
}

#[tokio::test]
async fn whoever_cannot_wait_for_a_session_that_rests_is_told_at_once() {
    let (data_centre, relay) = far_away().await;
    let mut records = data_centre.create_sessions(OWN, 1, None);
    records[0].address = relay.address;
    let pool = pool_of(records, settings(600 * SECOND), |_| ());
    let account = pool.account(OWN).unwrap();
    let lease = account.acquire().await.unwrap();
    relay.cut();
    lease.invoke_within(&myself(), Duration::from_millis(50)).await.unwrap_err();
    drop(lease);
    for _ in 0..3 {
        let refused = account.acquire().await.unwrap_err();
        let AcquireError::Dial(DialError::Connect(TelegramError::KeyResting { remaining })) =
            refused
        else {
            panic!("{refused}")
        };
        assert!(remaining > 500 * SECOND, "{remaining:?}");
    }
    assert_eq!(data_centre.stats().connections_total, 1);
}

#[tokio::test]
async fn a_key_that_another_pool_uses_is_told_at_once_and_delays_nobody_else() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let bots = [1, 2, 3, 4].map(|id| AccountId::bot(id).unwrap());
    let create_sessions = |id: &AccountId| data_centre.create_sessions(*id, 1, None);
    let records: Vec<_> = bots.iter().flat_map(create_sessions).collect();
    let first = pool_of(records.clone(), settings(SECOND), |_| ());
    let mut held = Vec::new();
    for bot in &bots[..3] {
        held.push(first.acquire(*bot).await.unwrap());
    }
    // As many as may be dialled at the same time wait for keys that never come.
    let second = pool_of(records, settings(SECOND), |config| config.dial.handshakes = 3);
    let refused = bots[..3].iter().map(|bot| {
        let (pool, bot) = (second.clone(), *bot);
        tokio::spawn(async move { pool.acquire(bot).await })
    });
    let refused: Vec<_> = refused.collect();
    let lease = second.acquire(bots[3]).await.unwrap();
    lease.invoke(&myself()).await.unwrap();
    for refused in refused {
        let error = refused.await.unwrap().unwrap_err();
        let told =
            matches!(&error, AcquireError::Dial(DialError::Connect(TelegramError::KeyInUse)));
        assert!(told && error.to_string().contains("this process"), "{error}");
    }
    drop(held);
    first.close().await;
    // Free again, and nothing is held against the account.
    second.acquire(bots[0]).await.unwrap().invoke(&myself()).await.unwrap();
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_key_that_two_pools_want_at_once_goes_to_one_and_the_other_is_told_at_once() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let bots = [1, 2, 3, 4].map(|id| AccountId::bot(id).unwrap());
    let create_sessions = |id: &AccountId| data_centre.create_sessions(*id, 1, None);
    let records: Vec<_> = bots.iter().flat_map(create_sessions).collect();
    let pools = [(); 2].map(|()| pool_of(records.clone(), settings(SECOND), |_| ()));
    let acquire = |pool: &World, bot| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire(bot).await })
    };
    // None of these keys is in use when either asks for it.
    let rivals: Vec<_> =
        bots[..3].iter().map(|bot| pools.each_ref().map(|pool| acquire(pool, *bot))).collect();
    for pool in &pools {
        let lease = pool.acquire(bots[3]).await.unwrap();
        lease.close().await;
    }
    for [one, other] in rivals {
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1);
        let error = one.as_ref().err().or(other.as_ref().err()).unwrap();
        let told = matches!(error, AcquireError::Dial(DialError::Connect(TelegramError::KeyInUse)));
        assert!(told, "{error}");
    }
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn a_data_centre_that_accepts_and_never_answers_keeps_nobody_from_another() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let bot = |id| AccountId::bot(id).unwrap();
    let mut records = Vec::new();
    for id in 1..=40 {
        let mut session = data_centre.create_sessions(bot(id), 1, None);
        if id <= 20 {
            session[0].address = at;
        }
        records.append(&mut session);
    }
    let source = MemorySource::new(records).unwrap();
    let pool = Pool::builder(TelegramManager::new(source, settings(SECOND))).build().unwrap();
    let mut dead = JoinSet::new();
    for id in 1..=20 {
        dead.spawn(pool.acquire(bot(id)));
    }
    // As many of them as may be under way have no answer, and hold their places for ten seconds.
    let _held = [silent.accept().await, silent.accept().await, silent.accept().await];
    let mut live = JoinSet::new();
    for id in 21..=40 {
        live.spawn(pool.acquire(bot(id)));
    }
    while let Some(lease) = live.join_next().await {
        lease.unwrap().unwrap().invoke(&myself()).await.unwrap();
    }
    assert_eq!(data_centre.stats().connections_total, 20);
    while let Some(refused) = dead.join_next().await {
        refused.unwrap().unwrap_err();
    }
    wait_until("the address is down", || pool.stats().addresses_down == 1).await;
    // Those three have told on it: nobody is kept waiting.
    let refused = pool.acquire(bot(20)).await.unwrap_err();
    let told = matches!(&refused, AcquireError::Dial(DialError::Unreachable(it)) if *it.address == at.to_string());
    assert!(told, "{refused}");
}

async fn quarantined(events: &mut EventStream) -> QuarantineReason {
    let told = async {
        loop {
            if let Event::Quarantined { reason, .. } = events.next().await.unwrap() {
                return reason;
            }
        }
    };
    tokio::time::timeout(20 * SECOND, told).await.expect("the quarantine is told")
}

#[tokio::test]
async fn a_session_that_was_ended_under_the_pool_is_noticed_though_pings_go_on() {
    for leased in [false, true] {
        let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
        let records = data_centre.create_sessions(OWN, 1, None);
        let pool = pool_of(records.clone(), settings(SECOND), |config| {
            config.health.login_check_every = SECOND;
        });
        let mut events = pool.events();
        let lease = pool.acquire(OWN).await.unwrap();
        let held = leased.then_some(&lease);
        // Another client uses the key.
        let mut rival = RawClient::connect(record(&records)).await;
        rival.ping().await;
        rival.receive().await.unwrap();
        assert_eq!(data_centre.stats().key_violations, 1);
        lease.invoke(&functions::Ping { ping_id: 1 }).await.expect("pings need no login");
        if held.is_none() {
            drop(lease);
            assert_eq!(quarantined(&mut events).await, QuarantineReason::KeyDuplicated);
        } else {
            let found_out = quarantined(&mut events);
            let calls = async {
                loop {
                    drop(lease.invoke(&functions::Ping { ping_id: 1 }).await);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let reason = tokio::select! {
                reason = found_out => reason,
                () = calls => unreachable!("it goes on for ever"),
            };
            assert_eq!(reason, QuarantineReason::KeyDuplicated);
        }
    }
}

#[tokio::test]
async fn a_connection_whose_calls_need_the_login_is_not_asked_for_it() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let pool = pool_of(records, settings(SECOND), |config| {
        config.health.login_check_every = SECOND;
        config.pool.check_after_idle = 60 * SECOND;
    });
    let lease = pool.acquire(OWN).await.unwrap();
    let before = data_centre.stats().calls;
    for _ in 0..30 {
        lease.invoke(&myself()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(data_centre.stats().calls - before, 30);
}

/// Says what it is told to say.
#[derive(Debug)]
struct Fencing {
    is_stopped: AtomicBool,
    fence: watch::Sender<Fence>,
    inner: Unguarded,
}

impl Ownership for Fencing {
    fn claim<'a>(&'a self, keys: &'a [KeyId]) -> Claims<'a> {
        self.inner.claim(keys)
    }

    fn begin(&self, _key: KeyId) -> Result<Epoch, Fenced> {
        Ok(self.fence.borrow().epoch)
    }

    fn guard(&self, _epoch: Epoch) -> Result<(), Fenced> {
        if self.is_stopped.load(Ordering::SeqCst) { Err(Fenced::Stopped) } else { Ok(()) }
    }

    fn end(&self, _key: KeyId, _rest: Option<Duration>) {}

    fn release(&self, _keys: &[KeyId]) {}

    fn fence(&self) -> watch::Receiver<Fence> {
        self.fence.subscribe()
    }
}

#[tokio::test]
async fn nothing_is_written_after_a_pause_that_outlasted_the_timer() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let ownership = Arc::new(Fencing {
        is_stopped: AtomicBool::new(false),
        fence: watch::Sender::default(),
        inner: Unguarded::default(),
    });
    let source = MemorySource::new(records).unwrap();
    let manager = TelegramManager::new(source, settings(SECOND))
        .with_ownership(Arc::clone(&ownership) as Arc<dyn Ownership>);
    let connection = manager.connect(OWN, 0).await.unwrap();
    connection.invoke(&myself()).await.unwrap();
    let calls = data_centre.stats().calls;
    ownership.is_stopped.store(true, Ordering::SeqCst);
    let refused = connection.invoke(&myself()).await.unwrap_err();
    assert!(matches!(refused, TelegramError::Fenced(Fenced::Stopped)), "{refused}");
    assert!(manager.is_broken(&connection));
    assert_eq!(data_centre.stats().calls, calls, "it was not sent");
    assert_eq!(manager.react(&refused), telepool::Reaction::Discard);
}
