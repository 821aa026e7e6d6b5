//! Duplicate keys: the rule of one main connection per key, as the data centre holds it.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::sandbox::raw::{RawClient, init_connection};

#[tokio::test]
async fn a_second_connection_of_a_key_that_lives_is_a_violation_and_voids_the_key() {
    let bench = bench([]).await;
    let connection = bench.connect(OWN).await;
    let records = bench.data_centre.create_sessions(AccountId::bot(9).unwrap(), 1, None);
    let mut first = RawClient::connect(record(&records)).await;
    first.ping().await;
    first.receive().await.unwrap();
    let mut second = RawClient::connect(record(&records)).await;
    assert_eq!(bench.data_centre.stats().key_violations, 0, "it has not spoken yet");
    second.ping().await;
    second.receive().await.unwrap();
    assert_eq!(bench.data_centre.stats().key_violations, 1);
    // Other keys have nothing to do with it.
    connection.invoke(&myself()).await.unwrap();
}

#[tokio::test]
async fn a_void_key_gets_406() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let mut raw = RawClient::connect(record(&records)).await;
    raw.ping().await;
    raw.receive().await.unwrap();
    let source = MemorySource::new(records).unwrap();
    let manager = TelegramManager::new(source, settings());
    let error = manager.connect(OWN, 0).await.unwrap_err();
    assert!(
        matches!(&error, TelegramError::Rpc { code: 406, name, .. }
        if &**name == "AUTH_KEY_DUPLICATED"),
        "{error}"
    );
    assert_eq!(data_centre.stats().key_violations, 1);
}

/// Whether a further connection of the key is a violation.
async fn is_violated_by_another(data_centre: &DataCentre, record: &SessionRecord) -> bool {
    let before = data_centre.stats().key_violations;
    let mut second = RawClient::connect(record).await;
    second.ping().await;
    second.receive().await.unwrap();
    data_centre.stats().key_violations == before + 1
}

#[tokio::test]
async fn a_connection_without_answers_counts_as_open() {
    let accounts = [1, 2].map(|number| AccountId::bot(number).unwrap());
    let black_hole_from = |account, place| FaultRule::new(place, Fault::BlackHole).account(account);
    let rules = [
        black_hole_from(accounts[0], "connect").limit(1),
        black_hole_from(accounts[1], "users.getUsers").limit(1),
    ];
    let bench = bench(rules).await;
    for account in accounts {
        let records = bench.data_centre.create_sessions(account, 1, None);
        let mut unanswered = RawClient::connect(record(&records)).await;
        unanswered.ping().await;
        if account == accounts[1] {
            unanswered.receive().await.unwrap();
            unanswered.send(&init_connection(myself())).await.unwrap();
        }
        let is_unanswered = || bench.data_centre.since_last_fault(account).is_some();
        wait_until("it is unanswered", is_unanswered).await;
        assert!(is_violated_by_another(&bench.data_centre, record(&records)).await);
        drop(unanswered);
    }
}

/// Carries one connection on to the data centre, and keeps that end open when the client's ends.
async fn relay(listener: TcpListener, to: std::net::SocketAddr) -> TcpStream {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut server = TcpStream::connect(to).await.unwrap();
    // One way is enough: nobody waits for an answer.
    tokio::io::copy(&mut client, &mut server).await.unwrap();
    server.flush().await.unwrap();
    server
}

#[tokio::test]
async fn a_connection_whose_client_is_cut_off_counts_as_open() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let records = data_centre.create_sessions(OWN, 1, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut behind = record(&records).clone();
    behind.address = listener.local_addr().unwrap();
    let relay = tokio::spawn(relay(listener, data_centre.address()));
    let mut first = RawClient::connect(&behind).await;
    first.ping().await;
    drop(first);
    let kept = relay.await.unwrap();
    assert!(is_violated_by_another(&data_centre, record(&records)).await);
    drop(kept);
}

#[tokio::test]
async fn two_that_overlap_are_counted_once_whichever_came_or_spoke_first() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    for (number, spoken_before) in [(1, true), (2, false)] {
        let records = data_centre.create_sessions(AccountId::bot(number).unwrap(), 1, None);
        let mut older = RawClient::connect(record(&records)).await;
        if spoken_before {
            older.learn_salt().await;
        }
        let mut newer = RawClient::connect(record(&records)).await;
        newer.learn_salt().await;
        if !spoken_before {
            older.learn_salt().await;
        }
        assert_eq!(data_centre.stats().key_violations, number, "they overlap");
        for _ in 0..3 {
            assert!(older.is_served().await && newer.is_served().await);
        }
        assert_eq!(data_centre.stats().key_violations, number, "they overlap still");
    }
}

/// Holds every descriptor that the process may have.
#[cfg(feature = "cli")]
fn exhaust_descriptors() -> Vec<std::fs::File> {
    let (_, most) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(most.min(64), most).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

/// In a process of its own: others could do nothing without descriptors.
#[cfg(feature = "cli")]
#[test]
fn an_overlap_is_counted_also_when_no_descriptor_is_left() {
    const PROCESS: &str = "RULE_PROCESS";
    let module = crate::surroundings::test_path(module_path!());
    let name = format!("{module}::an_overlap_is_counted_also_when_no_descriptor_is_left");
    if std::env::var_os(PROCESS).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = command.args(["--exact", &name]).env(PROCESS, "1").output().unwrap();
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
        let records = data_centre.create_sessions(OWN, 1, None);
        let mut first = RawClient::connect(record(&records)).await;
        first.learn_salt().await;
        let mut second = RawClient::connect(record(&records)).await;
        wait_until("both are accepted", || data_centre.stats().connections == 2).await;
        let held = exhaust_descriptors();
        second.learn_salt().await;
        assert_eq!((data_centre.stats().key_violations, held.is_empty()), (1, false));
    });
}

/// Whoever closes before dialling again keeps the rule, however late the data centre's tasks get
/// to see either: many clients at once keep it busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_before_the_next_is_never_held_against_anybody() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let clients: Vec<_> = (1..=32)
        .map(|id| {
            let records = data_centre.create_sessions(AccountId::bot(id).unwrap(), 1, None);
            tokio::spawn(async move {
                for round in 0..40 {
                    let mut client = RawClient::connect(record(&records)).await;
                    client.ping().await;
                    if round % 3 == 0 {
                        client.receive().await.unwrap();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    wait_until("all have ended", || data_centre.stats().connections == 0).await;
    let stats = data_centre.stats();
    assert_eq!((stats.connections_total, stats.key_violations), (32 * 40, 0), "{stats:?}");
}

/// The counterpart: whoever overlaps breaks it every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_is_always_counted() {
    let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let clients: Vec<_> = (1..=32)
        .map(|id| {
            let records = data_centre.create_sessions(AccountId::bot(id).unwrap(), 1, None);
            tokio::spawn(async move {
                let mut before = RawClient::connect(record(&records)).await;
                before.ping().await;
                for _ in 0..10 {
                    let mut next = RawClient::connect(record(&records)).await;
                    next.ping().await;
                    next.receive().await.unwrap();
                    before = next;
                }
                drop(before);
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(data_centre.stats().key_violations, 32 * 10);
}
