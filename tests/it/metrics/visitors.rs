//! Clients of the page that are slow, silent or many: none keeps the others out for long.
//!
//! The clock is paused: it goes on only when nobody has anything to do, so that each time is exact.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use telepool::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// What `http::serve` documents.
const HEAD: Duration = Duration::from_secs(10);
const VISIT: Duration = Duration::from_secs(30);
const MAX: usize = 16;

/// A server of a short answer, a long one and one that never comes.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/long", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/never", get(|| async { pending::<()>().await }));
    tokio::spawn(http::serve(listener, router, pending()));
    address
}

/// Connects, and sends a beginning.
async fn visit(server: SocketAddr, beginning: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    stream
}

/// All that still comes until the server closes the connection, and when that was.
async fn rest_of(mut stream: TcpStream) -> (String, Instant) {
    let mut text = Vec::new();
    // A connection that is reset has ended as well.
    stream.read_to_end(&mut text).await.ok();
    (String::from_utf8(text).unwrap(), Instant::now())
}

const ASKS: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_too_little_is_shown_out_after_the_time_for_a_head() {
    let server = serve().await;
    for beginning in ["", "GET ", "GET / HTTP/1.1\r\nHost: here\r\n"] {
        let stream = visit(server, beginning).await;
        let began = Instant::now();
        let (text, ended) = rest_of(stream).await;
        assert!(!text.contains("here"), "{beginning:?}: {text}");
        assert_eq!(ended - began, HEAD, "{beginning:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_gains_no_time() {
    let server = serve().await;
    let mut stream = visit(server, "GET / HTTP/1.1\r\nX: ").await;
    let began = Instant::now();
    let (mut reads, mut writes) = stream.split();
    let drip = async {
        loop {
            sleep(Duration::from_secs(1)).await;
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
    assert_eq!(began.elapsed(), HEAD);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_for_one_request_and_never_lies_idle() {
    let server = serve().await;
    let (text, ended) = rest_of(visit(server, &ASKS.repeat(2)).await).await;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    assert!(text.to_ascii_lowercase().contains("connection: close"), "{text}");
    assert!(text.ends_with("here"), "{text}");
    assert_eq!(ended.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_or_never_comes_ends_with_the_visit() {
    let server = serve().await;
    let began = Instant::now();
    let unread = visit(server, &ASKS.replace("GET /", "GET /long")).await;
    let (text, ended) = rest_of(visit(server, &ASKS.replace("GET /", "GET /never")).await).await;
    assert_eq!((text.as_str(), ended - began), ("", VISIT));
    let (text, _) = rest_of(unread).await;
    assert!(text.len() < 64 << 20, "it was cut");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_when_all_places_are_taken_waits_until_one_is_left() {
    let server = serve().await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..MAX - 1 {
        silent.push(visit(server, "GET ").await);
    }
    // With one place left nobody waits.
    let (text, ended) = rest_of(visit(server, ASKS).await).await;
    assert!(text.ends_with("here") && ended == began, "{text}");
    silent.push(visit(server, "GET ").await);
    let crowd: Vec<_> = (0..MAX).map(|_| tokio::spawn(rest_of_asked(server))).collect();
    for asked in crowd {
        let (text, ended) = asked.await.unwrap();
        assert!(text.ends_with("here"), "{text}");
        assert_eq!(ended - began, HEAD, "when the silent ones had to leave");
    }
}

async fn rest_of_asked(server: SocketAddr) -> (String, Instant) {
    rest_of(visit(server, ASKS).await).await
}
