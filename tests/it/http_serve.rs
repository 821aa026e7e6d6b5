//! Clients of the HTTP server that are slow, silent, hostile or many: none keeps the others out for long.
//!
//! The clock is paused: it goes on only when nobody has anything to do, so that each time is exact.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::routing::{get, post};
use axum::serve::Listener;
use hyper::body::Frame;
use telepool::http::{self, Peer, ServeLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, interval, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// What `ServeLimits` documents.
const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(5);

/// An endless stream of events of a size, one each second.
struct Events {
    ticks: Interval,
    size: usize,
    watch: Arc<StreamWatch>,
}

/// What became of the streams of a server.
#[derive(Default)]
struct StreamWatch {
    bytes: AtomicUsize,
    dropped: Notify,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let size = self.size;
        self.ticks.poll_tick(cx).map(|_| {
            self.watch.bytes.fetch_add(size, Ordering::SeqCst);
            Some(Ok(Frame::data(Bytes::from(vec![b':'; size]))))
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.watch.dropped.notify_one();
    }
}

struct Server {
    address: SocketAddr,
    streams: Arc<StreamWatch>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::within(ServeLimits::default()).await
    }

    async fn within(limits: ServeLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(limits, listener.local_addr().unwrap(), listener)
    }

    fn on(
        limits: ServeLimits,
        address: SocketAddr,
        listener: impl Listener<Addr = SocketAddr>,
    ) -> Self {
        let streams = Arc::<StreamWatch>::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(&streams);
        let shutdown = async { drop(stopped.await) };
        let served = tokio::spawn(http::serve_within(limits, listener, router, shutdown));
        Self { address, streams, stop, served }
    }

    /// Connects, and sends a beginning.
    async fn visit(&self, beginning: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, path: &str) -> (String, Instant) {
        rest_of(self.visit(&request(path)).await).await
    }

    /// Ends it, and returns how long that took.
    async fn end(self) -> Duration {
        let began = Instant::now();
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        began.elapsed()
    }
}

fn router(streams: &Arc<StreamWatch>) -> Router {
    let stream = |size: usize| {
        let watch = Arc::clone(streams);
        get(move || async move {
            let events = Events { ticks: interval(SECOND), size, watch };
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(events))
        })
    };
    let slow = |seconds: u32| get(move || sleep_and_answer(seconds));
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/metrics", get(|| async { "numbers" }))
        .route("/peer", get(|request: Request| async move { format!("{:?}", request.extensions().get::<Peer>()) }))
        .route("/long", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/never", get(|| async { pending::<()>().await }))
        .route("/three", slow(3))
        .route("/eight", slow(8))
        .route("/panics", get(panics))
        .route("/body", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/events", stream(100))
        .route("/flood", stream(256 << 10))
}

async fn panics() -> &'static str {
    panic!("as it was told")
}

async fn sleep_and_answer(seconds: u32) -> &'static str {
    sleep(seconds * SECOND).await;
    "in the end"
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
}

fn kept(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")
}

/// All that still comes until the server closes the connection, and when that was.
async fn rest_of(mut stream: TcpStream) -> (String, Instant) {
    let mut text = Vec::new();
    // A connection that is reset has ended as well.
    stream.read_to_end(&mut text).await.ok();
    (String::from_utf8(text).unwrap(), Instant::now())
}

/// Reads on until there are these words.
async fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(words) {
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "{text}");
        text.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    text
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_too_little_is_shown_out_after_the_time_for_a_head() {
    let server = Server::start().await;
    for beginning in ["", "GET ", "GET / HTTP/1.1\r\nHost: here\r\n"] {
        let stream = server.visit(beginning).await;
        let began = Instant::now();
        let (text, ended) = rest_of(stream).await;
        assert!(!text.contains("here"), "{beginning:?}: {text}");
        assert_eq!(ended - began, HEAD, "{beginning:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_gains_no_time_nor_does_a_body() {
    let server = Server::start().await;
    let body = "POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n";
    let next = format!("{}GET / HTTP/1.1\r\nX: ", kept("/"));
    for (beginning, limit) in [
        ("GET / HTTP/1.1\r\nX: ", HEAD),
        (body, REQUEST),
        // After an answer it has as long as any other.
        (&next, IDLE.min(HEAD)),
    ] {
        let mut stream = server.visit(beginning).await;
        let began = Instant::now();
        let (mut reads, mut writes) = stream.split();
        let drip = async {
            loop {
                sleep(SECOND).await;
                if writes.write_all(b"x").await.is_err() {
                    pending::<()>().await;
                }
            }
        };
        let mut text = Vec::new();
        tokio::select! {
            _ = reads.read_to_end(&mut text) => {}
            () = drip => {}
        }
        // What was sent with the request before it begins to count with the first byte after that.
        let late = if beginning == next { SECOND } else { Duration::ZERO };
        assert_eq!(began.elapsed(), limit + late, "{beginning:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_one_request_after_the_other_and_is_closed_when_it_is_idle() {
    let server = Server::start().await;
    let mut stream = server.visit("").await;
    for _ in 0..3 {
        stream.write_all(kept("/").as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "here").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        sleep(IDLE - SECOND).await;
    }
    stream.write_all(kept("/").as_bytes()).await.unwrap();
    read_until(&mut stream, "here").await;
    let began = Instant::now();
    assert_eq!(rest_of(stream).await.1 - began, IDLE);
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_at_once_are_answered_in_their_order() {
    let server = Server::start().await;
    let all = [kept("/three"), kept("/"), kept("/metrics"), request("/none")].concat();
    let (text, _) = rest_of(server.visit(&all).await).await;
    let places = ["in the end", "here", "numbers", "404"].map(|it| text.find(it).unwrap());
    assert!(places.is_sorted(), "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 4, "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_or_never_comes_ends_with_its_time() {
    let server = Server::start().await;
    let began = Instant::now();
    let unread = server.visit(&kept("/long")).await;
    // Nor do many answers that nobody takes pile up.
    let mut many = server.visit("").await;
    let asks = kept("/").repeat(2000);
    let flood = async {
        while many.write_all(asks.as_bytes()).await.is_ok() {}
        Instant::now()
    };
    let (flooded, (text, ended)) = tokio::join!(flood, server.ask("/never"));
    assert_eq!((text.as_str(), ended - began), ("", REQUEST));
    assert!(flooded - began <= REQUEST, "{:?}", flooded - began);
    let (text, _) = rest_of(unread).await;
    assert!(text.len() < 64 << 20, "it was cut");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_by_name_and_a_panic_costs_one_answer() {
    let server = Server::start().await;
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: here\r\n{more}\r\n");
    let post = |more: &str| format!("POST /body HTTP/1.1\r\nHost: here\r\n{more}");
    let large = "x".repeat(65 << 10);
    for (request, status) in [
        (head(&format!("X: {}\r\nConnection: close\r\n", "x".repeat(15 << 10))), "200"),
        (head(&format!("X: {}\r\n", "x".repeat(17 << 10))), "431"),
        (head(&"X: x\r\n".repeat(200)), "431"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70 << 10)), "4"),
        (
            post(&format!("Connection: close\r\nContent-Length: 65536\r\n\r\n{}", &large[1024..])),
            "200",
        ),
        (post("Content-Length: 65537\r\n\r\n"), "413"),
        (post("Content-Length: 99999999999999999999\r\n\r\n"), "400"),
        (post(&format!("Transfer-Encoding: chunked\r\n\r\n10400\r\n{large}\r\n0\r\n\r\n")), "413"),
        (request("/panics"), "500"),
        ("\0\x01\x16\x03\r\n\r\n".to_owned(), "400"),
        (request("/"), "200"),
    ] {
        let mut stream = server.visit("").await;
        stream.write_all(request.as_bytes()).await.ok();
        let (text, _) = rest_of(stream).await;
        let start: String = request.chars().take(60).collect();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{start}: {text}");
        if status == "413" {
            assert!(text.contains("application/problem+json") && text.contains("remedy"), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_hang_up_leave_their_places_at_once() {
    let mut limits = ServeLimits::default();
    limits.connections_max = 4;
    limits.reserved_for_metrics = 0;
    let server = Server::within(limits).await;
    let began = Instant::now();
    for (number, beginning) in
        ["", "GET ", &kept("/never"), &kept("/flood"), &kept("/long")].repeat(8).iter().enumerate()
    {
        let mut stream = server.visit(beginning).await;
        match number % 3 {
            // A reset.
            0 => stream.set_zero_linger().unwrap(),
            // Only half of it: nothing more will be asked.
            1 => stream.shutdown().await.unwrap(),
            _ => {}
        }
        drop(stream);
        let (text, ended) = server.ask("/").await;
        assert!(text.ends_with("here") && ended == began, "{number}: {text}");
    }
    // One that stays, but will say no more, has ended as well.
    let mut stream = server.visit("GET / HT").await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest_of(stream).await.1, began);
}

#[tokio::test(start_paused = true)]
async fn pages_that_hold_every_place_keep_nobody_from_the_numbers() {
    let mut limits = ServeLimits::default();
    limits.connections_max = 10;
    limits.reserved_for_metrics = 2;
    let server = Server::within(limits).await;
    let mut pages = Vec::new();
    for _ in 0..8 {
        let mut page = server.visit(&kept("/events")).await;
        read_until(&mut page, "::::").await;
        pages.push(page);
    }
    let began = Instant::now();
    let (text, _) = server.ask("/").await;
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 2"), "{text}");
    assert!(text.contains("application/problem+json") && text.contains("remedy"), "{text}");
    for _ in 0..20 {
        // Such a connection is for one request, however it is asked.
        let (text, _) = rest_of(server.visit(&kept("/metrics")).await).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("numbers"), "{text}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    // Those who are silent there are shown out; whoever comes meanwhile waits.
    let silent = [server.visit("GET ").await, server.visit("GET ").await];
    let (text, ended) = server.ask("/metrics").await;
    assert!(text.ends_with("numbers"), "{text}");
    assert_eq!(ended - began, HEAD);
    drop(silent);
    // With a page less there is a place for everybody.
    drop(pages.pop());
    assert!(server.ask("/").await.0.ends_with("here"));
}

/// A listener whose clients come from elsewhere.
struct FromElsewhere(TcpListener);

impl Listener for FromElsewhere {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        (self.0.accept().await.unwrap().0, "[::ffff:192.0.2.1]:5".parse().unwrap())
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_has_so_many_connections_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut limits = ServeLimits::default();
    limits.connections_per_peer_max = Some(3);
    let address = listener.local_addr().unwrap();
    let server = Server::on(limits, address, FromElsewhere(listener));
    let began = Instant::now();
    let silent = [server.visit("G").await, server.visit("G").await, server.visit("G").await];
    let (text, ended) = server.ask("/").await;
    assert_eq!((text.as_str(), ended), ("", began), "closed as it came");
    drop(silent);
    sleep(SECOND).await;
    // Routes are told where a request comes from, whatever its headers say.
    let asks = request("/peer").replace("\r\n\r\n", "\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
    let (text, _) = rest_of(server.visit(&asks).await).await;
    assert!(text.ends_with("Some(Tcp([::ffff:192.0.2.1]:5))"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_lasts_for_hours_and_ends_soon_when_nobody_reads_it() {
    let server = Server::start().await;
    let mut read = server.visit(&kept("/events")).await;
    let began = Instant::now();
    while began.elapsed() < 3 * 3600 * SECOND {
        read_until(&mut read, "::::").await;
    }
    drop(read);
    server.streams.dropped.notified().await;
    server.streams.bytes.store(0, Ordering::SeqCst);
    let unread = server.visit(&kept("/flood")).await;
    timeout(3600 * SECOND, server.streams.dropped.notified()).await.expect("it has ended");
    let made = server.streams.bytes.load(Ordering::SeqCst);
    assert!(made < 64 << 20, "{made} bytes were made for nobody");
    let (text, _) = rest_of(unread).await;
    assert!(text.len() <= made + 4096 && !text.ends_with("0\r\n\r\n"), "it was cut");
    assert!(server.ask("/").await.0.ends_with("here"));
}

#[tokio::test(start_paused = true)]
async fn streams_and_idle_connections_hold_up_no_shutdown() {
    let server = Server::start().await;
    let mut read = server.visit(&kept("/events")).await;
    read_until(&mut read, "::::").await;
    let mut idle = server.visit(&kept("/")).await;
    read_until(&mut idle, "here").await;
    let silent = [server.visit("").await, server.visit("GET / HTTP/1.1\r\n").await];
    let unread = server.visit(&kept("/flood")).await;
    sleep(60 * SECOND).await;
    let fresh = server.visit(&kept("/flood")).await;
    sleep(SECOND / 2).await;
    assert_eq!(server.end().await, Duration::ZERO);
    let (text, _) = rest_of(read).await;
    assert!(text.ends_with("0\r\n\r\n"), "it ends in good order: {text}");
    drop((idle, silent, unread, fresh));
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_have_five_seconds_when_the_server_ends() {
    let server = Server::start().await;
    let [short, long] = ["/three", "/eight"].map(kept);
    let (short, long) = (server.visit(&short).await, server.visit(&long).await);
    sleep(SECOND / 10).await;
    let address = server.address;
    let [short, long] = [short, long].map(|it| tokio::spawn(rest_of(it)));
    assert_eq!(server.end().await, GRACE);
    let (text, _) = short.await.unwrap();
    assert!(text.contains("connection: close") && text.ends_with("in the end"), "{text}");
    assert_eq!(long.await.unwrap().0, "");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}
