//! The timer that `ping_delay_disconnect` sets on a connection, with a client that may fall silent.

use telepool::telegram::client::tl::Serializable;

use super::raw::{RawClient, init_connection};
use super::*;

/// Longer than any test.
const LONG: i32 = 600;

/// A data centre and two accounts of one session.
async fn timed(
    longest: Option<Duration>,
    rules: impl IntoIterator<Item = FaultRule>,
) -> (DataCentre, [SessionRecord; 2]) {
    let mut options = DataCentreOptions::default();
    options.disconnect_delay_max = longest;
    options.faults = FaultPlan::new(rules).unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let record = |account| data_centre.create_sessions(account, 1, None).remove(0);
    let records = [record(OWN), record(OTHER)];
    (data_centre, records)
}

/// A ping after which the connection is to be closed in so many seconds.
fn closing_in(disconnect_delay: i32) -> functions::PingDelayDisconnect {
    functions::PingDelayDisconnect { ping_id: 1, disconnect_delay }
}

/// A client that has greeted the data centre.
async fn client(record: &SessionRecord) -> RawClient {
    let mut client = RawClient::connect(record).await;
    client.learn_salt().await;
    client
}

async fn until_closed(data_centre: &DataCentre, count: u64) {
    let is_so = || data_centre.stats().closed_by_timer >= count;
    wait_until(&format!("the timer has closed {count}"), is_so).await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed_in_time_and_its_key_is_free_again() {
    let (data_centre, [record, _]) = timed(None, []).await;
    let mut first = client(&record).await;
    first.send(&closing_in(1)).await.unwrap();
    until_closed(&data_centre, 1).await;
    assert_eq!(data_centre.live_connections(OWN), 0);
    // Its socket is open at the client's end still, and what was sent to it lies there unread.
    let mut second = client(&record).await;
    assert!(second.is_served().await);
    let stats = data_centre.stats();
    assert_eq!((stats.closed_by_timer, stats.key_violations), (1, 0));
    assert!(first.until_closed().await > 0, "the pong, and then the end");
}

#[tokio::test]
async fn a_second_connection_before_the_time_is_up_is_a_violation() {
    let (data_centre, [record, _]) = timed(None, []).await;
    let mut first = client(&record).await;
    first.send(&closing_in(LONG)).await.unwrap();
    let mut second = client(&record).await;
    assert!(second.is_served().await && first.is_served().await);
    let stats = data_centre.stats();
    assert_eq!((stats.closed_by_timer, stats.key_violations), (0, 1));
}

#[tokio::test]
async fn a_plain_ping_buys_no_time() {
    let (data_centre, [record, _]) = timed(None, []).await;
    let mut client = client(&record).await;
    client.send(&closing_in(1)).await.unwrap();
    let pings = async {
        loop {
            // The last ones meet a closed socket.
            client.send(&functions::Ping { ping_id: 1 }).await.ok();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = pings => {}
        () = until_closed(&data_centre, 1) => {}
    }
    assert!(data_centre.stats().calls > 1, "pings were received");
}

#[tokio::test]
async fn the_last_ping_of_the_kind_replaces_the_timer() {
    let (data_centre, [record, other]) = timed(None, []).await;
    let mut longer = client(&record).await;
    let mut shorter = client(&other).await;
    for delay in [2, LONG] {
        longer.send(&closing_in(delay)).await.unwrap();
    }
    for delay in [LONG, 2] {
        shorter.send(&closing_in(delay)).await.unwrap();
    }
    assert!(shorter.until_closed().await > 0);
    assert_eq!((data_centre.live_connections(OWN), data_centre.live_connections(OTHER)), (1, 0));
    assert!(longer.is_served().await);
    assert_eq!(data_centre.stats().closed_by_timer, 1);
}

#[tokio::test]
async fn a_connection_that_has_never_asked_is_never_closed_by_the_timer() {
    let longest = Duration::from_millis(100);
    let (data_centre, [record, other]) = timed(Some(longest), []).await;
    let mut quiet = client(&record).await;
    assert!(quiet.is_served().await);
    for count in 1..=10 {
        let mut asked = client(&other).await;
        asked.send(&closing_in(LONG)).await.unwrap();
        until_closed(&data_centre, count).await;
    }
    assert!(quiet.is_served().await);
    assert_eq!(data_centre.stats().closed_by_timer, 10);
}

#[tokio::test]
async fn the_longest_delay_caps_what_is_asked_for() {
    let (data_centre, [record, _]) = timed(Some(Duration::from_millis(100)), []).await;
    let mut client = client(&record).await;
    client.send(&closing_in(i32::MAX)).await.unwrap();
    assert!(client.until_closed().await > 0);
    assert_eq!(data_centre.stats().closed_by_timer, 1);
}

#[tokio::test]
async fn a_delay_that_has_passed_already_closes_after_the_pong() {
    for delay in [0, -1] {
        let (data_centre, [record, _]) = timed(None, []).await;
        let mut client = client(&record).await;
        client.send(&closing_in(delay)).await.unwrap();
        client.receive().await.unwrap();
        client.until_closed().await;
        assert_eq!(data_centre.stats().closed_by_timer, 1);
    }
}

#[tokio::test]
async fn output_that_nobody_reads_keeps_no_connection_open() {
    let (data_centre, [record, _]) = timed(None, []).await;
    let mut first = RawClient::connect_narrowly(&record).await;
    first.learn_salt().await;
    first.send(&init_connection(functions::help::GetConfig {})).await.unwrap();
    first.receive().await.unwrap();
    // Answers of 8 MB: more than the two sockets hold.
    let many = functions::users::GetUsers { id: vec![enums::InputUser::UserSelf; 200] };
    let mut requests = vec![many.to_bytes(); 1000];
    requests.push(closing_in(1).to_bytes());
    first.send_all(&requests).await.unwrap();
    until_closed(&data_centre, 1).await;
    let stats = data_centre.stats();
    assert!(stats.calls >= 1001 && stats.bytes_sent < 100_000, "it went out: {stats:?}");
    assert!(client(&record).await.is_served().await);
    assert_eq!(data_centre.stats().key_violations, 0);
}

#[tokio::test]
async fn in_a_black_hole_a_timer_fires_and_none_is_set() {
    let black_hole = FaultRule::new("users.getUsers", Fault::BlackHole).account(OWN);
    let (data_centre, [record, other]) = timed(None, [black_hole]).await;
    let mut armed = client(&record).await;
    armed.send(&closing_in(2)).await.unwrap();
    armed.send(&init_connection(myself())).await.unwrap();
    armed.send(&closing_in(LONG)).await.unwrap();
    until_closed(&data_centre, 1).await;
    assert_eq!(data_centre.stats().faults_injected, 2, "the ping was not carried out");
    drop(armed);
    let mut unanswered = client(&record).await;
    unanswered.send(&init_connection(myself())).await.unwrap();
    unanswered.send(&closing_in(1)).await.unwrap();
    let mut counterpart = client(&other).await;
    counterpart.send(&closing_in(2)).await.unwrap();
    assert!(counterpart.until_closed().await > 0);
    assert_eq!((data_centre.stats().faults_injected, data_centre.live_connections(OWN)), (4, 1));
}

/// `telepool datacenter` with an account of one session, until it is told to end.
#[cfg(feature = "cli")]
pub(super) struct DataCentreCommand {
    process: std::process::Child,
    pub(super) record: SessionRecord,
}

#[cfg(feature = "cli")]
impl DataCentreCommand {
    pub(super) async fn start(argument: &str) -> Self {
        use std::process::Stdio;

        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("sessions.jsonl");
        let process = std::process::Command::new(env!("CARGO_BIN_EXE_telepool"))
            .args(["datacenter", "--until-eof", "--accounts=1", "--sessions-per-account=1"])
            .args(["--latency=0ms", argument, "--duration=60s", "--out"])
            .arg(&out)
            .env_remove("TELEPOOL_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let written = || std::fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n'));
        wait_until("the sessions are written", written).await;
        let file = std::io::BufReader::new(std::fs::File::open(&out).unwrap());
        let data_centres = telepool::session::DataCentres::production();
        let record = telepool::session::lines::read(file, &data_centres).next().unwrap().unwrap();
        Self { process, record }
    }

    /// Has it end, and returns the numbers that it prints.
    pub(super) fn end(mut self) -> serde_json::Value {
        use std::io::Read;

        drop(self.process.stdin.take());
        let mut told = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        self.process.wait().unwrap();
        serde_json::from_str(&told).unwrap()
    }
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_command_caps_delays_and_tells_what_the_timer_has_closed() {
    let command = DataCentreCommand::start("--disconnect-delay-max=100ms").await;
    let mut client = client(&command.record).await;
    client.send(&closing_in(75)).await.unwrap();
    assert!(client.until_closed().await > 0);
    let stats = command.end();
    assert_eq!(stats["closed_by_timer"], 1, "{stats}");
}
