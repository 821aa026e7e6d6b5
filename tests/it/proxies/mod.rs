//! Sessions behind proxies and at addresses of this machine, against a data centre that sees where they come
//! from: what a session is dialled by, and what becomes of the others when that fails.

mod programs;
mod socks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::{AuthKey, DataCentres, Proxy, SessionRecord};
use telepool::telegram::client::tl::{enums, functions};
use telepool::telegram::{
    MemorySource, ProxyProblem, TelegramError, TelegramManager, TelegramSettings,
};
use telepool::{AccountId, AcquireError, Config, DialError, Egress, Event, Lease, Manager, Pool};

use self::socks::Socks;
use super::ENGINE;

type World = Pool<TelegramManager<MemorySource>>;

/// Long after a session that rests would serve again.
const REST: Duration = Duration::from_millis(300);

fn bot(number: u64) -> AccountId {
    AccountId::bot(number).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn by(url: &str) -> Option<Arc<Proxy>> {
    Some(Arc::new(url.parse().unwrap()))
}

async fn data_centre() -> DataCentre {
    DataCentre::start(DataCentreOptions::default()).await.unwrap()
}

/// A session of each bot from 1 on, by these ways; empty is directly.
fn sessions(data_centre: &DataCentre, ways: &[&str]) -> Vec<SessionRecord> {
    let session = |(number, way): (u64, &&str)| {
        let mut record = data_centre.create_sessions(bot(number), 1, None).remove(0);
        record.proxy = if way.is_empty() { None } else { by(way) };
        record
    };
    (1..).zip(ways).map(session).collect()
}

fn settings() -> TelegramSettings {
    let mut settings = TelegramSettings::new(1);
    settings.engine = ENGINE;
    settings.redial_after_loss = REST;
    settings
}

fn pool_of(records: Vec<SessionRecord>, settings: TelegramSettings) -> World {
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings);
    let configure = |config: &mut Config| {
        config.dial.per_second = 1000;
        config.pool.cleanup_interval = Duration::from_millis(20);
    };
    Pool::builder(manager).configure(configure).build().unwrap()
}

fn myself() -> functions::users::GetUsers {
    functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }
}

async fn call(lease: &Lease<TelegramManager<MemorySource>>) {
    lease.invoke(&myself()).await.unwrap();
}

/// What was wrong with the proxy of a dial.
fn problem(error: &AcquireError<TelegramError>) -> &ProxyProblem {
    match error {
        AcquireError::Dial(DialError::Connect(TelegramError::Proxy(error))) => error.problem(),
        _ => panic!("{error}"),
    }
}

/// Closes the pool, and holds that the data centre has seen no key twice and keeps no connection.
async fn ends_well(pool: &World, data_centre: &DataCentre) {
    assert_eq!(pool.close().await.still_open, 0);
    for _ in 0..10_000 {
        if data_centre.stats().connections == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stats = data_centre.stats();
    assert_eq!((stats.connections, stats.key_violations), (0, 0), "{stats:?}");
}

#[tokio::test]
async fn every_session_comes_from_where_it_was_told() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", Some(("om", "p@ss:word"))).await;
    let by_socks = format!("socks5://om:p%40ss%3Aword@{}", socks.address);
    let pool = pool_of(sessions(&data_centre, &["", &by_socks, "bind://127.0.0.3"]), settings());
    for (number, from) in [(1, "127.0.0.1"), (2, "127.0.0.2"), (3, "127.0.0.3")] {
        let lease = pool.acquire(bot(number)).await.unwrap();
        call(&lease).await;
        assert_eq!(data_centre.client_addresses(bot(number)), [ip(from)]);
    }
    assert_eq!(socks.carried(), 1);
    ends_well(&pool, &data_centre).await;
    assert_eq!(socks.open(), 0);
}

#[tokio::test]
async fn the_accounts_of_a_proxy_are_one_egress_and_an_address_of_this_machine_is_another() {
    let data_centre = data_centre().await;
    let ways = ["", "socks5://om:a@127.0.0.1:9", "socks5://omi:b@127.0.0.1:09", "bind://127.0.0.3"];
    let records = sessions(&data_centre, &ways);
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings());
    let egress = |number| manager.profile(bot(number)).unwrap().egress;
    assert_eq!(egress(1), Egress::Direct);
    assert_eq!(egress(2), Egress::Proxy("127.0.0.1:9".into()));
    assert_eq!(egress(3), egress(2));
    assert_eq!(egress(4), Egress::Proxy("127.0.0.3".into()));
}

#[tokio::test]
async fn a_proxy_that_fails_costs_its_own_accounts_alone() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", None).await;
    let (good, gone) = (format!("socks5://{}", socks.address), "socks5://127.0.0.1:9");
    let pool = pool_of(sessions(&data_centre, &["", &good, gone, gone, gone, gone]), settings());
    let mut events = pool.events();
    for number in 3..=6 {
        let error = pool.acquire(bot(number)).await.unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    }
    // Three of them have said it of the way to this address, and of no other.
    let error = pool.acquire(bot(6)).await.unwrap_err();
    assert!(error.to_string().contains("by 127.0.0.1:9"), "{error}");
    for number in [1, 2] {
        call(&pool.acquire(bot(number)).await.unwrap()).await;
    }
    let (mut failed, mut down) = (0, 0);
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), events.next()).await
    {
        match event {
            Event::DialFailed { error, .. } => {
                assert!(error.contains("the proxy 127.0.0.1:9 cannot be reached"), "{error}");
                failed += 1;
            }
            Event::AddressDown { address, .. } => {
                assert!(address.ends_with("by 127.0.0.1:9"), "{address}");
                down += 1;
            }
            Event::Quarantined { .. } => panic!("a session is not to blame"),
            _ => {}
        }
    }
    assert!(failed >= 3 && down == 1, "{failed} {down}");
    ends_well(&pool, &data_centre).await;
    for number in 3..=6 {
        assert!(data_centre.client_addresses(bot(number)).is_empty(), "never without it");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_spares_those_who_have_the_right_one() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", Some(("om", "right"))).await;
    let url = |login: &str| format!("socks5://{login}{}", socks.address);
    let (wrong, none, right) = (url("om:s3cret@"), url(""), url("om:right@"));
    let pool =
        pool_of(sessions(&data_centre, &[&wrong, &wrong, &wrong, &none, &right]), settings());
    for number in 1..=3 {
        let error = pool.acquire(bot(number)).await.unwrap_err();
        assert!(matches!(problem(&error), ProxyProblem::Credentials), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let error = pool.acquire(bot(4)).await.unwrap_err();
    assert!(matches!(problem(&error), ProxyProblem::CredentialsWanted), "{error}");
    call(&pool.acquire(bot(5)).await.unwrap()).await;
    ends_well(&pool, &data_centre).await;
}

/// What the class of proxies does that is meant by "our close proves nothing".
#[tokio::test]
async fn behind_a_proxy_that_passes_no_end_on_the_key_rests() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", None).await;
    let way = format!("socks5://{}", socks.address);
    let mut settings = settings();
    settings.redial_after_loss = Duration::from_secs(600);
    settings.close_grace = Duration::from_millis(50);
    let pool = pool_of(sessions(&data_centre, &[&way, &way]), settings);
    let [kept, passed] = [bot(1), bot(2)];
    for account in [kept, passed] {
        call(&pool.acquire(account).await.unwrap()).await;
    }
    // The end of this one is passed on as it should be: nothing rests.
    pool.acquire(passed).await.unwrap().close().await;
    call(&pool.acquire(passed).await.unwrap()).await;
    socks.keep_servers_ends_open();
    pool.acquire(kept).await.unwrap().close().await;
    let error = pool.acquire(kept).await.unwrap_err();
    let AcquireError::Dial(DialError::Connect(TelegramError::KeyResting { remaining })) = error
    else {
        panic!("{error}")
    };
    assert!(remaining > Duration::from_secs(500), "{remaining:?}");
    assert_eq!(data_centre.live_connections(kept), 1, "the server has not noticed");
    socks.stop();
    ends_well(&pool, &data_centre).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_is_heard_through_the_proxy() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", None).await;
    let way = format!("socks5://{}", socks.address);
    let mut settings = settings();
    settings.redial_after_loss = Duration::from_secs(600);
    let pool = pool_of(sessions(&data_centre, &[&way]), settings);
    for _ in 0..3 {
        let lease = pool.acquire(bot(1)).await.unwrap();
        call(&lease).await;
        assert_eq!(data_centre.disconnect(bot(1), &telepool::sandbox::Fault::Close), 1);
        // A call on the way would have the proxy reset it.
        while !pool.manager().is_broken(&lease) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        lease.invoke(&myself()).await.unwrap_err();
    }
    call(&pool.acquire(bot(1)).await.unwrap()).await;
    ends_well(&pool, &data_centre).await;
}

/// The client dials twice then, and both dials go by the proxy.
#[tokio::test]
async fn a_key_that_the_server_does_not_know_is_told_as_without_a_proxy() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", None).await;
    let key = AuthKey::new([77; 256]);
    let mut record = SessionRecord::new(bot(9), 2, data_centre.address(), key);
    record.proxy = by(&format!("socks5://{}", socks.address));
    let manager = TelegramManager::new(MemorySource::new([record]).unwrap(), settings());
    for strikes in 1..=2 {
        let error = manager.connect(bot(9), 0).await.unwrap_err();
        let told = matches!(error, TelegramError::KeyUnknown { strikes: it } if it == strikes);
        assert!(told, "{error}");
    }
    assert_eq!(u64::from(socks.carried()), data_centre.stats().connections_total);
}

#[tokio::test]
async fn other_data_centres_are_visited_by_the_same_proxy() {
    let home = data_centre().await;
    let mut options = DataCentreOptions::default();
    options.dc = 4;
    let abroad = DataCentre::start(options).await.unwrap();
    let socks = Socks::start("127.0.0.2", None).await;
    let mut settings = settings();
    settings.data_centres = [(4, abroad.address())].into_iter().collect::<DataCentres>();
    let way = format!("socks5://{}", socks.address);
    let pool = pool_of(sessions(&home, &[&way]), settings);
    let lease = pool.acquire(bot(1)).await.unwrap();
    // There is no key exchange with it, so that this fails there.
    let ping = functions::Ping { ping_id: 1 };
    lease.client().invoke_in_dc(4, &ping).await.unwrap_err();
    let seen = abroad.stats().connections_total;
    assert!(seen > 0 && socks.carried_to(abroad.address()) as u64 == seen, "{seen}");
    call(&lease).await;
    // And where the proxy lets nobody through, nobody comes.
    socks.forbid(abroad.address());
    lease.client().invoke_in_dc(4, &ping).await.unwrap_err();
    assert_eq!(abroad.stats().connections_total, seen);
    call(&lease).await;
    drop(lease);
    ends_well(&pool, &home).await;
}

#[tokio::test]
async fn dials_that_are_given_up_leave_nothing_behind() {
    let data_centre = data_centre().await;
    let socks = Socks::start("127.0.0.2", None).await;
    let way = format!("socks5://{}", socks.address);
    let records = sessions(&data_centre, &[&way]);
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings());
    for step in 0..40 {
        let dial = manager.connect(bot(1), 0);
        let limit = Duration::from_micros(150 * step);
        if let Ok(Ok(connection)) = tokio::time::timeout(limit, dial).await {
            manager.close(&connection).await;
        }
    }
    let connection = loop {
        match manager.connect(bot(1), 0).await {
            Ok(connection) => break connection,
            Err(TelegramError::KeyResting { .. }) => tokio::time::sleep(REST / 10).await,
            Err(error) => panic!("{error}"),
        }
    };
    connection.invoke(&myself()).await.unwrap();
    manager.close(&connection).await;
    for _ in 0..10_000 {
        if data_centre.stats().connections == 0 && socks.open() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((data_centre.stats().connections, socks.open()), (0, 0));
    assert_eq!(data_centre.stats().key_violations, 0);
}

/// Nothing asks for a last answer then, and nobody hears whether the far side has closed.
#[test]
fn a_runtime_that_ends_lets_a_proxied_key_rest_and_leaves_no_socket() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (home, other) = (runtime(), runtime());
    let (data_centre, socks) =
        home.block_on(async { (data_centre().await, Socks::start("127.0.0.2", None).await) });
    let records = sessions(&data_centre, &[&format!("socks5://{}", socks.address)]);
    let mut settings = settings();
    settings.redial_after_loss = Duration::from_secs(600);
    let manager = TelegramManager::new(MemorySource::new(records).unwrap(), settings);
    let connection = other.block_on(async {
        let connection = manager.connect(bot(1), 0).await.unwrap();
        connection.invoke(&myself()).await.unwrap();
        connection
    });
    drop(other);
    home.block_on(async {
        let error = manager.connect(bot(1), 0).await.unwrap_err();
        assert!(matches!(error, TelegramError::KeyResting { .. }), "{error}");
        for _ in 0..10_000 {
            if data_centre.stats().connections == 0 && socks.open() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("a socket is left");
    });
    assert_eq!(data_centre.stats().key_violations, 0);
    drop(connection);
}
