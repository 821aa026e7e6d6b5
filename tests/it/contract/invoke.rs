//! Calls by way of the pool: who waits for a flood, who is told of it, and who holds no lease.

use telepool::telegram::InvokeError;
use telepool::{AcquireError, Pool};

use super::*;

/// A pool over two accounts, and a flood that strikes the first call of `users.getUsers`.
async fn flooded(seconds: u32) -> (DataCentre, Pool<TelegramManager<MemorySource>>) {
    let flood = FaultRule::new("users.getUsers", Fault::FloodWait { seconds }).limit(1);
    let Bench { data_centre, manager } = bench([flood]).await;
    let pool = Pool::builder(manager)
        .configure(|config| {
            config.dial.per_second = 2000;
            config.dial.handshakes = 64;
            config.flood.wait_max = Duration::from_secs(3);
        })
        .build()
        .unwrap();
    (data_centre, pool)
}

#[tokio::test]
async fn an_account_sits_a_short_flood_out_without_a_lease() {
    let (data_centre, pool) = flooded(1).await;
    let account = pool.account(OWN).unwrap();
    let request = myself();
    let call = account.invoke(&request);
    let watch = async {
        wait_until("the flood is known", || pool.stats().flood_waits == 1).await;
        // The wait lasts a second, and the connection is there for others meanwhile.
        wait_until("no lease is held", || pool.stats().leases == 0).await;
        account.invoke(&functions::updates::GetState {}).await.unwrap();
        assert!(account.cooldown_remaining(request_id()).is_some());
    };
    let (answer, ()) = tokio::join!(call, watch);
    answer.unwrap();
    let stats = data_centre.stats();
    assert_eq!((stats.faults_injected, stats.key_violations), (1, 0), "nobody asked too early");
    assert_eq!(pool.close().await.still_open, 0);
}

fn request_id() -> u32 {
    use telepool::telegram::client::tl::Identifiable;
    functions::users::GetUsers::CONSTRUCTOR_ID
}

#[tokio::test]
async fn a_long_flood_comes_back_and_later_calls_do_not_reach_the_server() {
    let (data_centre, pool) = flooded(60).await;
    let account = pool.account(OWN).unwrap();
    for _ in 0..3 {
        let error = account.invoke(&myself()).await.unwrap_err();
        let InvokeError::RetryAfter { account: whose, wait } = error else { panic!("{error}") };
        assert!(whose == OWN && wait <= Duration::from_secs(60) && wait.as_secs() > 30);
    }
    let lease = account.acquire().await.unwrap();
    let error = lease.invoke(&myself()).await.unwrap_err();
    assert!(matches!(error, InvokeError::RetryAfter { .. }), "{error}");
    assert_eq!(data_centre.stats().faults_injected, 1);
    // The flood is that of one method of one account.
    lease.invoke(&functions::updates::GetState {}).await.unwrap();
    pool.account(OTHER).unwrap().invoke(&myself()).await.unwrap();
}

#[tokio::test]
async fn a_lease_never_sleeps_and_a_deadline_comes_before_the_flood() {
    let (_data_centre, pool) = flooded(2).await;
    let account = pool.account(OWN).unwrap();
    let lease = account.acquire().await.unwrap();
    let error = lease.invoke(&myself()).await.unwrap_err();
    assert!(matches!(error, InvokeError::RetryAfter { .. }), "{error}");
    let limit = Duration::from_millis(500);
    let error = account.invoke_within(&myself(), limit).await.unwrap_err();
    assert!(matches!(error, InvokeError::RetryAfter { .. }), "{error}");
}

#[tokio::test]
async fn the_pool_learns_from_a_call_and_what_follows_names_the_reason() {
    let revoked = Fault::Error { code: 401, message: "USER_DEACTIVATED".into() };
    let Bench { data_centre, manager } = bench([FaultRule::new("users.getUsers", revoked)]).await;
    let pool = Pool::builder(manager).build().unwrap();
    let account = pool.account(OWN).unwrap();
    let error = account.invoke(&myself()).await.unwrap_err();
    assert!(matches!(error, InvokeError::Call(TelegramError::Rpc { code: 401, .. })), "{error}");
    let error = account.invoke(&myself()).await.unwrap_err();
    assert!(matches!(error, InvokeError::Acquire(AcquireError::Quarantined { .. })), "{error}");
    assert_eq!(pool.close().await.still_open, 0);
    wait_until("all is closed", || data_centre.stats().connections == 0).await;
}
