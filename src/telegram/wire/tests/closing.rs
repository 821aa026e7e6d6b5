//! Ends: on every way out the socket is closed before the guard is given back. A listener of this machine looks on.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::driving::{Peer, options};
use super::server::result;
use super::spawn;
use crate::telegram::wire::{
    WireDriver, WireEnd, WireError, WireGuard, WireHandle, WireNote, WireUpdate, open,
};

const LIMIT: Duration = Duration::from_secs(20);

/// How the other end of a connection has seen it end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// It is open.
    Open,
    /// The client has closed it in good order.
    Closed,
    /// The client has thrown it away.
    Reset,
}

/// Looks, when it is dropped, at how the other end sees the socket that it guards.
pub(super) struct Witness {
    far: Option<std::net::TcpStream>,
    report: Report,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Report(Arc<Mutex<ReportState>>);

#[derive(Debug, Default)]
struct ReportState {
    noted: Option<WireEnd>,
    is_confirmed: bool,
    was_idle: bool,
    seen: Option<Seen>,
}

impl Report {
    pub(super) fn seen(&self) -> Option<Seen> {
        self.0.lock().unwrap().seen
    }

    fn was_idle(&self) -> bool {
        self.0.lock().unwrap().was_idle
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.0.lock().unwrap().is_confirmed
    }

    fn noted(&self) -> Option<WireEnd> {
        self.0.lock().unwrap().noted.clone()
    }
}

impl WireGuard for Witness {
    fn note_end(&mut self, note: &WireNote<'_>) {
        assert!(self.report.seen().is_none());
        let mut state = self.report.0.lock().unwrap();
        (state.noted, state.is_confirmed) = (Some(note.end.clone()), note.is_confirmed);
        state.was_idle = note.was_idle;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let seen = self.far.as_ref().map(look);
        self.report.0.lock().unwrap().seen = seen;
    }
}

/// Reads whatever has come. On one machine an end is there as soon as the call that made it returns.
fn look(far: &std::net::TcpStream) -> Seen {
    let mut bytes = [0; 4096];
    loop {
        match std::io::Read::read(&mut &*far, &mut bytes) {
            Ok(0) => return Seen::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Seen::Open,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Seen::Reset,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) type Driver = WireDriver<TcpStream, Witness, fn(WireUpdate)>;

/// A connection to a listener, with both ends of it and what its guard will have seen.
pub(super) async fn connect() -> (WireHandle, Driver, std::net::TcpStream, Report) {
    connect_for(Duration::from_millis(100)).await
}

/// The same, whose close may take so long.
pub(super) async fn connect_for(
    close_within: Duration,
) -> (WireHandle, Driver, std::net::TcpStream, Report) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0.into_std().unwrap();
    let report = Report::default();
    let witness = Witness { far: Some(far.try_clone().unwrap()), report: report.clone() };
    let mut options = options();
    options.times.close_within = close_within;
    let (handle, driver) = open(near, witness, options, (|_| {}) as fn(WireUpdate));
    assert_eq!(look(&far), Seen::Open);
    (handle, driver, far, report)
}

/// A call that the server gets and does not answer, so that the connection is in the middle of something.
pub(super) async fn pending_call(
    handle: &WireHandle,
    far: &std::net::TcpStream,
) -> tokio::task::JoinHandle<Result<Vec<u8>, WireError>> {
    let caller = handle.clone();
    let call = spawn(async move { caller.call(vec![1; 8], LIMIT).await });
    let far = TcpStream::from_std(far.try_clone().unwrap()).unwrap();
    far.readable().await.unwrap();
    // The first packet may have left without it.
    while handle.counts().calls_sent == 0 {
        tokio::task::yield_now().await;
    }
    call
}

#[tokio::test]
async fn a_close_waits_for_the_server_to_close_its_end() {
    let (handle, driver, far, report) = connect().await;
    let driver = spawn(driver);
    let call = pending_call(&handle, &far).await;
    handle.close();
    let refused = handle.call(vec![1; 8], LIMIT).await.unwrap_err();
    assert!(!refused.may_be_carried_out(), "{refused}");
    let mut far = TcpStream::from_std(far).unwrap();
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert!(report.seen().is_none(), "the server has not closed its end yet");
    drop(far);
    // The guard has a copy of the descriptor.
    assert!(matches!(handle.gone().await, WireEnd::Closed { is_confirmed: false }));
    drop(driver);
    assert_eq!(report.seen(), Some(Seen::Closed));
    let lost = call.await.unwrap().unwrap_err();
    assert!(lost.may_be_carried_out(), "{lost}");
}

#[tokio::test]
async fn a_close_fails_at_once_what_is_not_begun_and_sends_the_rest() {
    let (near, far) = duplex(1_000);
    let mut narrow = options();
    narrow.times.close_within = Duration::from_secs(600);
    let (handle, driver) = open(near, (), narrow, |_| {});
    spawn(driver);
    let mut peer = Peer::new(far);
    peer.hear().await;
    let caller = handle.clone();
    let begun = spawn(async move { caller.call(vec![1; 50_000], LIMIT).await });
    while handle.counts().packets_sent < 2 {
        tokio::task::yield_now().await;
    }
    let caller = handle.clone();
    let waiting = spawn(async move { caller.call(vec![2; 8], LIMIT).await });
    tokio::task::yield_now().await;
    handle.close();
    let lost = waiting.await.unwrap().unwrap_err();
    assert!(matches!(lost, WireError::Lost { was_sent: false, .. }), "{lost}");
    let packet = peer.hear().await;
    let sent = packet.messages.iter().find(|it| it.body.len() == 50_000).unwrap().id;
    peer.say(&[result(sent, &[4; 4])]).await;
    assert_eq!(begun.await.unwrap().unwrap(), [4; 4]);
    drop(peer);
    assert!(handle.gone().await.is_confirmed());
}

#[tokio::test]
async fn a_close_that_the_server_confirms_says_so_and_answers_come_until_then() {
    let (near, far) = duplex(4096);
    let (handle, driver) = open(near, (), options(), |_| {});
    spawn(driver);
    let caller = handle.clone();
    let call = spawn(async move { caller.call(vec![1; 8], LIMIT).await });
    let mut peer = Peer::new(far);
    let packet = peer.hear().await;
    handle.close();
    let sent = packet.messages.iter().find(|it| it.body == [1; 8]).unwrap().id;
    peer.say(&[result(sent, &[4; 4])]).await;
    assert_eq!(call.await.unwrap().unwrap(), [4; 4]);
    assert!(handle.end().is_none());
    assert_eq!(peer.stream.read(&mut [0; 9]).await.unwrap(), 0, "it is half closed");
    peer.stream.shutdown().await.unwrap();
    assert!(matches!(handle.gone().await, WireEnd::Closed { is_confirmed: true }));
}

#[tokio::test]
async fn a_server_that_closes_or_resets_has_ended_it() {
    let (handle, driver, far, report) = connect().await;
    let driver = spawn(driver);
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let end = driver.await.unwrap();
    assert!(matches!(end, WireEnd::HungUp) && end.is_confirmed());
    assert_eq!(
        (report.seen(), report.noted().unwrap().to_string()),
        (Some(Seen::Reset), end.to_string()),
        "it may still read: nothing that is on the way may reach it"
    );
    assert!(handle.end().is_some());

    let (near, far) = duplex(64);
    let (handle, driver) = open(near, (), options(), |_| {});
    drop(far);
    driver.await;
    assert!(handle.end().unwrap().is_confirmed());
}

#[tokio::test]
async fn an_abort_throws_away_what_was_not_sent() {
    let (handle, driver, far, report) = connect().await;
    let driver = spawn(driver);
    let call = pending_call(&handle, &far).await;
    handle.abort();
    let end = driver.await.unwrap();
    assert!(matches!(end, WireEnd::Aborted) && !end.is_confirmed());
    assert_eq!((report.seen(), report.noted().is_some()), (Some(Seen::Reset), true));
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_driver_that_is_dropped_closes_the_socket_first() {
    for polled in [false, true] {
        let (handle, mut driver, far, report) = connect().await;
        let mut call = None;
        if polled {
            let caller = handle.clone();
            call = Some(spawn(async move { caller.call(vec![1; 8], LIMIT).await }));
            let timed = tokio::time::timeout(Duration::from_millis(20), &mut driver).await;
            assert!(timed.is_err());
            assert_eq!(look(&far), Seen::Open);
        }
        assert!(report.seen().is_none());
        drop(driver);
        // What was not sent, or is on the way, reaches the server no more; of an idle one the kernel sees to it.
        let seen = if polled { Seen::Reset } else { Seen::Closed };
        assert_eq!((report.seen(), report.was_idle()), (Some(seen), !polled));
        assert!(matches!(handle.end(), Some(WireEnd::Aborted)));
        if let Some(call) = call {
            let lost = call.await.unwrap().unwrap_err();
            assert!(matches!(lost, WireError::Lost { was_sent: true, .. }), "{lost}");
        }
    }
}

#[tokio::test]
async fn a_driver_that_is_dropped_tells_which_calls_it_has_sent() {
    let (near, far) = duplex(4096);
    let mut narrow = options();
    narrow.limits.calls_max = 1;
    let (handle, driver) = open(near, (), narrow, |_| {});
    let driver = spawn(driver);
    let calls: Vec<_> = (1..=2)
        .map(|number| {
            let caller = handle.clone();
            spawn(async move { caller.call(vec![number; 8], LIMIT).await })
        })
        .collect();
    Peer::new(far).hear().await;
    driver.abort();
    let mut sent = Vec::new();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, WireError::Lost { end: WireEnd::Aborted, .. }), "{error}");
        sent.push(error.may_be_carried_out());
    }
    assert_eq!(sent, [true, false]);
}

#[tokio::test]
async fn a_task_that_is_aborted_closes_the_socket_first() {
    let (handle, driver, far, report) = connect().await;
    let driver = spawn(driver);
    let call = pending_call(&handle, &far).await;
    driver.abort();
    assert!(driver.await.unwrap_err().is_cancelled());
    assert_eq!(report.seen(), Some(Seen::Reset));
    assert!(call.await.unwrap().is_err());
    handle.gone().await;
}

#[test]
fn a_runtime_that_ends_closes_the_socket_first() {
    for workers in [0, 1, 4] {
        let runtime = match workers {
            0 => Builder::new_current_thread().enable_all().build(),
            _ => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
        };
        let runtime = runtime.unwrap();
        let (handle, report, call) = runtime.block_on(async {
            let (handle, driver, far, report) = connect().await;
            spawn(driver);
            let call = pending_call(&handle, &far).await;
            (handle, report, call)
        });
        drop(call);
        drop(runtime);
        assert_eq!(report.seen(), Some(Seen::Reset), "{workers} workers");
        assert!(handle.end().is_some());
        let none = Builder::new_current_thread().build().unwrap();
        let refused = none.block_on(handle.call(vec![1; 8], LIMIT)).unwrap_err();
        assert!(!refused.may_be_carried_out());
    }
}

#[tokio::test]
async fn a_panic_closes_the_socket_first() {
    let (near, far) = duplex(4096);
    let report = Report::default();
    let witness = Witness { far: None, report: report.clone() };
    let mut listening = options();
    listening.wants_updates = true;
    let panics = |_| panic!("as it must");
    let (handle, driver) = open(near, witness, listening, panics);
    let driver = spawn(driver);
    let mut peer = Peer::new(far);
    peer.hear().await;
    peer.say(&[vec![7; 8]]).await;
    assert!(driver.await.unwrap_err().is_panic());
    assert!(!report.is_confirmed() && !report.was_idle(), "nothing is known of the server's end");
    handle.gone().await;
    assert_eq!(peer.stream.read(&mut [0; 9]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_over_a_socket_resets_it_before_the_guard_goes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    let copy = std::os::fd::AsFd::as_fd(&far).try_clone_to_owned().unwrap();
    let report = Report::default();
    let witness = Witness { far: Some(copy.into()), report: report.clone() };
    let mut listening = options();
    listening.wants_updates = true;
    let (_handle, mut driver) = open(near, witness, listening, |_| panic!("as it must"));
    let mut peer = Peer::new(duplex(64).0);
    let mut bytes = vec![0; 4096];
    let len = tokio::select! {
        len = far.read(&mut bytes) => len.unwrap(),
        end = &mut driver => panic!("{end}"),
    };
    peer.server.open(&bytes[8..len]);
    far.write_all(&peer.frame(&[vec![7; 8]])).await.unwrap();
    assert!(spawn(driver).await.unwrap_err().is_panic());
    assert_eq!(report.seen(), Some(Seen::Reset));
}

#[tokio::test]
async fn a_code_in_place_of_a_packet_is_told_to_all() {
    let (near, mut far) = duplex(4096);
    let (handle, driver) = open(near, (), options(), |_| {});
    spawn(driver);
    let caller = handle.clone();
    let call = spawn(async move { caller.call(vec![1; 8], LIMIT).await });
    far.read_exact(&mut [0; 50]).await.unwrap();
    far.write_all(&[&4_u32.to_le_bytes()[..], &(-404_i32).to_le_bytes()].concat()).await.unwrap();
    let lost = call.await.unwrap().unwrap_err();
    let WireError::Lost { was_sent: true, end: WireEnd::Transport { code: 404 } } = lost else {
        panic!("{lost}")
    };
}
