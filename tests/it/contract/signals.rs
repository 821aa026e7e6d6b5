//! Every signal of the server and what the pool does about it, provoked on real connections.

use telepool::telegram::InvokeError;
use telepool::{
    AccountHealth, AcquireError, DialError, Event, EventStream, Pool, PoolStats, QuarantineReason,
};

use super::*;

type World = Pool<TelegramManager<MemorySource>>;

struct Struck {
    data_centre: DataCentre,
    pool: World,
    events: EventStream,
}

async fn strike(rules: impl IntoIterator<Item = FaultRule>) -> Struck {
    let Bench { data_centre, manager } = bench(rules).await;
    let pool = Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 2000;
            config.dial.handshakes = 64;
            config.flood.wait_max = Duration::from_secs(3);
            config.health.probe_after = Duration::from_secs(1);
            config.pool.max_leases_per_connection = 1;
            config.pool.check_timeout = Duration::from_millis(500);
        })
        .build()
        .unwrap();
    let events = pool.events();
    Struck { data_centre, pool, events }
}

fn error(code: i32, message: &str) -> Fault {
    Fault::Error { code, message: message.into() }
}

fn on_call(fault: Fault) -> FaultRule {
    FaultRule::new("users.getUsers", fault)
}

impl Struck {
    async fn call(&self) -> Result<(), InvokeError> {
        self.pool.account(OWN).unwrap().invoke(&myself()).await.map(drop)
    }

    fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// How many connections the data centre has seen.
    fn dials(&self) -> u64 {
        self.data_centre.stats().connections_total
    }

    async fn event(&mut self, is_it: impl Fn(&Event) -> bool) {
        let limit = Duration::from_secs(20);
        let found = async { while !is_it(&self.events.next().await.unwrap()) {} };
        tokio::time::timeout(limit, found).await.expect("the event is told");
    }

    async fn end(self) {
        assert_eq!(self.pool.close().await.still_open, 0);
        assert_eq!(self.data_centre.stats().key_violations, 0);
    }
}

#[tokio::test]
async fn a_session_that_the_server_has_ended_is_never_dialled_again_and_the_others_serve() {
    for (fault, reason) in [
        (error(406, "AUTH_KEY_DUPLICATED"), QuarantineReason::KeyDuplicated),
        (error(401, "SESSION_REVOKED"), QuarantineReason::NeedsLogin),
        (error(401, "SESSION_EXPIRED"), QuarantineReason::NeedsLogin),
        (Fault::Transport { code: 444 }, QuarantineReason::Misconfigured),
        (error(303, "USER_MIGRATE_4"), QuarantineReason::Misconfigured),
    ] {
        let mut struck = strike([on_call(fault).limit(1)]).await;
        struck.call().await.unwrap_err();
        struck
            .event(|event| {
                matches!(event, Event::Quarantined { slot: Some(0), reason: why, .. }
                    if *why == reason)
            })
            .await;
        // The other session serves; this one is left alone.
        for _ in 0..3 {
            struck.call().await.unwrap();
            let lease = struck.pool.acquire(OWN).await.unwrap();
            assert_eq!(lease.slot(), 1, "{reason}");
            lease.discard();
        }
        assert_eq!(struck.pool.account_health(OWN), Some(AccountHealth::Ready));
        assert!(struck.pool.reinstate(OWN));
        let both = [struck.pool.acquire(OWN).await, struck.pool.acquire(OWN).await];
        assert!(both.iter().all(Result::is_ok), "reinstated");
        drop(both);
        struck.end().await;
    }
}

#[tokio::test]
async fn an_account_that_the_server_has_ended_costs_no_dial_and_fails_at_once() {
    for name in ["USER_DEACTIVATED", "USER_DEACTIVATED_BAN"] {
        let mut struck = strike([on_call(error(401, name))]).await;
        struck.call().await.unwrap_err();
        let reason = QuarantineReason::Deactivated;
        let all = |event: &Event| matches!(event, Event::Quarantined { slot: None, .. });
        struck.event(all).await;
        let dials = struck.dials();
        for _ in 0..20 {
            let refused = struck.call().await.unwrap_err();
            assert!(
                matches!(&refused, InvokeError::Acquire(AcquireError::Quarantined { reason: why, .. })
                    if *why == reason),
                "{refused}"
            );
        }
        assert_eq!(struck.dials(), dials);
        let health = struck.pool.account_health(OWN);
        assert_eq!(health, Some(AccountHealth::Quarantined(reason)));
        struck.end().await;
    }
}

#[tokio::test]
async fn a_key_that_is_unknown_once_is_in_doubt_and_serves_after_its_probe() {
    for name in ["AUTH_KEY_UNREGISTERED", "AUTH_KEY_INVALID"] {
        let mut struck = strike([on_call(error(401, name)).account(OTHER).limit(1)]).await;
        let account = struck.pool.account(OTHER).unwrap();
        account.invoke(&myself()).await.unwrap_err();
        assert_eq!(struck.pool.account_health(OTHER), Some(AccountHealth::Suspect));
        struck.event(|event| matches!(event, Event::Cleared { slot: 0, .. })).await;
        account.invoke(&myself()).await.unwrap();
        struck.end().await;
    }
}

#[tokio::test]
async fn a_key_that_stays_unknown_is_dead_after_one_probe() {
    let unknown = error(401, "AUTH_KEY_UNREGISTERED");
    let mut struck = strike([on_call(unknown.clone()).account(OTHER)]).await;
    let account = struck.pool.account(OTHER).unwrap();
    account.invoke(&myself()).await.unwrap_err();
    let at_login = FaultRule::new("updates.getState", unknown).account(OTHER);
    struck.data_centre.set_faults(&FaultPlan::new([at_login]).unwrap());
    let dead =
        |event: &Event| matches!(event, Event::Quarantined { reason: QuarantineReason::Dead, .. });
    struck.event(dead).await;
    let dials = struck.dials();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(struck.dials(), dials, "it is not dialled any more");
    struck.end().await;
}

#[tokio::test]
async fn a_key_that_the_transport_does_not_know_is_tried_once_more_and_then_in_doubt() {
    let unknown = Fault::Transport { code: 404 };
    let mut struck = strike([FaultRule::new("connect", unknown).account(OTHER).limit(2)]).await;
    let account = struck.pool.account(OTHER).unwrap();
    let refused = account.invoke(&myself()).await.unwrap_err();
    let dial = matches!(
        &refused,
        InvokeError::Acquire(AcquireError::Dial(DialError::Connect(TelegramError::KeyUnknown {
            strikes: 1
        })))
    );
    assert!(dial, "{refused}");
    let refused = account.invoke(&myself()).await.unwrap_err();
    assert!(
        matches!(&refused, InvokeError::Acquire(AcquireError::Quarantined { reason, .. })
            if *reason == QuarantineReason::Suspect),
        "{refused}"
    );
    assert_eq!(struck.pool.account_health(OTHER), Some(AccountHealth::Suspect));
    struck.event(|event| matches!(event, Event::Cleared { slot: 0, .. })).await;
    account.invoke(&myself()).await.unwrap();
    struck.end().await;
}

#[tokio::test]
async fn a_limit_of_one_method_or_one_chat_rests_nothing_else() {
    let rules = [
        on_call(error(420, "FLOOD_PREMIUM_WAIT_60")).limit(1),
        FaultRule::new("messages.sendMessage", error(420, "SLOWMODE_WAIT_60")).limit(1),
    ];
    let struck = strike(rules).await;
    let account = struck.pool.account(OWN).unwrap();
    let error = struck.call().await.unwrap_err();
    assert!(matches!(error, InvokeError::RetryAfter { .. }), "{error}");
    let message = message_to(enums::InputPeer::PeerSelf);
    let error = account.invoke(&message).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Call(TelegramError::Rpc { code: 420, .. })), "{error}");
    // The slow mode is that of a chat: the method works on.
    account.invoke(&message).await.unwrap();
    account.invoke(&functions::updates::GetState {}).await.unwrap();
    let Some(AccountHealth::Cooling(rests)) = struck.pool.account_health(OWN) else {
        panic!("the flooded method rests")
    };
    assert_eq!(rests.len(), 1);
    struck.end().await;
}

#[tokio::test]
async fn a_restriction_is_told_and_changes_nothing() {
    for fault in [error(420, "FROZEN_METHOD_INVALID"), error(400, "PEER_FLOOD")] {
        let mut struck = strike([on_call(fault).limit(1)]).await;
        let refused = struck.call().await.unwrap_err();
        assert!(matches!(refused, InvokeError::Call(TelegramError::Rpc { .. })), "{refused}");
        struck.event(|event| matches!(event, Event::Restricted { .. })).await;
        struck.call().await.unwrap();
        assert_eq!(struck.dials(), 1);
        struck.end().await;
    }
}

#[tokio::test]
async fn a_flood_on_the_login_delays_the_next_dial_of_the_account() {
    let flood = Fault::FloodWait { seconds: 2 };
    let struck = strike([FaultRule::new("initConnection", flood).account(OWN).limit(1)]).await;
    let began = std::time::Instant::now();
    let refused = struck.call().await.unwrap_err();
    assert!(matches!(refused, InvokeError::Acquire(AcquireError::Dial(_))), "{refused}");
    struck.pool.account(OTHER).unwrap().invoke(&myself()).await.unwrap();
    struck.call().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    struck.end().await;
}

#[tokio::test]
async fn a_server_that_has_enough_of_an_egress_opens_its_breaker_and_a_success_closes_it() {
    let enough = Fault::Transport { code: 429 };
    let struck = strike([FaultRule::new("connect", enough).limit(1)]).await;
    struck.call().await.unwrap_err();
    assert_eq!(struck.stats().breakers_open, 1);
    struck.call().await.unwrap();
    assert_eq!(struck.stats().breakers_open, 0);
    struck.end().await;
}

#[tokio::test]
async fn an_internal_error_is_sent_again_after_a_pause_if_there_is_time() {
    for fault in [error(500, "RPC_CALL_FAIL"), error(-503, "Timeout")] {
        let struck = strike([on_call(fault).limit(1)]).await;
        let account = struck.pool.account(OWN).unwrap();
        let request = myself();
        let hasty = account.invoke_within(&request, Duration::from_millis(800)).await;
        assert!(matches!(hasty, Err(InvokeError::Call(TelegramError::Rpc { .. }))), "{hasty:?}");
        struck
            .data_centre
            .set_faults(&FaultPlan::new([on_call(error(500, "AGAIN")).limit(1)]).unwrap());
        account.invoke(&request).await.unwrap();
        assert_eq!(struck.dials(), 1, "the connection is sound");
        struck.end().await;
    }
}

#[tokio::test]
async fn a_lost_call_is_sent_again_only_if_that_does_no_harm() {
    for fault in [Fault::Close, Fault::Reset, Fault::BadCrc] {
        let struck = strike([on_call(fault).limit(2)]).await;
        let account = struck.pool.account(OWN).unwrap();
        let request = myself();
        account.invoke(&request).await.unwrap_err();
        assert_eq!(struck.data_centre.stats().faults_injected, 1, "it was sent once");
        account.invoke_idempotent(&request, Duration::from_secs(20)).await.unwrap();
        assert_eq!(struck.data_centre.stats().faults_injected, 2);
        struck.end().await;
    }
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_found_out_before_the_next_caller_gets_it() {
    let struck = strike([on_call(Fault::BlackHole).account(OTHER).limit(1)]).await;
    let account = struck.pool.account(OTHER).unwrap();
    let limit = Duration::from_millis(300);
    let first = {
        let lease = account.acquire().await.unwrap();
        let lost = lease.invoke_within(&myself(), limit).await.unwrap_err();
        assert!(matches!(lost, InvokeError::Call(TelegramError::Timeout { .. })), "{lost}");
        lease.connection_id()
    };
    let lease = account.acquire().await.unwrap();
    assert_ne!(lease.connection_id(), first, "the dead connection was lent again");
    lease.invoke(&myself()).await.unwrap();
    drop(lease);
    struck.end().await;
}

#[tokio::test]
async fn calls_that_were_given_up_recycle_their_connection() {
    let struck = strike([on_call(Fault::Silence).account(OTHER)]).await;
    let account = struck.pool.account(OTHER).unwrap();
    let lease = account.acquire().await.unwrap();
    let first = lease.connection_id();
    for _ in 0..16 {
        lease.invoke_within(&myself(), Duration::from_millis(20)).await.unwrap_err();
    }
    drop(lease);
    assert_ne!(account.acquire().await.unwrap().connection_id(), first);
    struck.end().await;
}
