//! The clients: 20 that ask every route once a second, or 200 pages that stream or poll.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) const PAGES_STREAMING: usize = 64;
pub(crate) const PAGES_POLLING: usize = 136;
const ASKERS: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

/// What is asked in a second. The last two have an id that the first answers tell.
const ROUTES: &[&str] = &[
    "/api/v1/snapshot",
    "/api/v1/accounts?sort=waiting&order=desc&limit=50",
    "/api/v1/accounts?q=999&limit=50",
    "/api/v1/accounts?state=ready&sort=last_used&order=desc&limit=200",
    "/api/v1/accounts/bot:7",
    "/api/v1/connections?sort=uses&order=desc&limit=100",
    "/api/v1/events?limit=100",
    "/api/v1/history",
    "/api/v1/config",
    "/api/v1/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
];

pub(crate) async fn run(mode: &str, address: SocketAddr, seconds: u64) {
    let end = Instant::now() + SECOND * u32::try_from(seconds).unwrap();
    let mut clients = JoinSet::new();
    match mode {
        "routes" => {
            for number in 0..ASKERS {
                clients.spawn(ask(address, end, turn(number, ASKERS)));
            }
        }
        _ => {
            for _ in 0..PAGES_STREAMING {
                clients.spawn(stream(address, end));
            }
            for number in 0..PAGES_POLLING {
                clients.spawn(poll(address, end, turn(number, PAGES_POLLING)));
            }
        }
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// When one of so many begins, so that they are spread over a second.
fn turn(number: usize, count: usize) -> Duration {
    let [number, count] = [number, count].map(|it| u32::try_from(it).unwrap());
    SECOND * number / count
}

/// A connection that is kept for the next request.
struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), address }
    }

    /// Asks, and returns the status and the length of the body.
    async fn get(&mut self, path: &str) -> (u16, usize) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (status, length, is_last) = self.head().await;
        let mut body = vec![0; length.expect("an answer of known length")];
        self.stream.read_exact(&mut body).await.unwrap();
        if is_last {
            *self = Self::open(self.address).await;
        }
        (status, body.len())
    }

    /// The status, the length if it is told, and whether the connection ends with this answer.
    async fn head(&mut self) -> (u16, Option<usize>, bool) {
        let (mut status, mut length, mut is_last) = (None, None, false);
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).await.unwrap() > 0, "the server has closed");
            let line = line.trim_end().to_ascii_lowercase();
            let Some(status) = status else {
                status = line.split(' ').nth(1).map(|it| it.parse().unwrap());
                continue;
            };
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = Some(value.parse().unwrap());
            } else if line == "connection: close" {
                is_last = true;
            } else if line.is_empty() {
                return (status, length, is_last);
            }
        }
    }
}

/// Asks every route once a second, and prints how long each answer took, in microseconds.
async fn ask(address: SocketAddr, end: Instant, delay: Duration) {
    tokio::time::sleep(delay).await;
    let mut connection = Connection::open(address).await;
    let mut interval = tokio::time::interval(SECOND);
    while Instant::now() < end {
        interval.tick().await;
        for path in ROUTES {
            let began = Instant::now();
            let (status, length) = connection.get(path).await;
            assert_eq!(status, 200, "{path}");
            println!("{path}\t{}\t{length}", began.elapsed().as_micros());
        }
    }
}

/// A page that is told every second.
async fn stream(address: SocketAddr, end: Instant) {
    let mut connection = Connection::open(address).await;
    let request = format!("GET /api/v1/events/stream HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection.stream.get_mut().write_all(request.as_bytes()).await.unwrap();
    let (status, ..) = connection.head().await;
    assert_eq!(status, 200, "a stream");
    let read = async {
        let mut chunk = [0; 4096];
        while connection.stream.read(&mut chunk).await.unwrap() > 0 {}
        panic!("the stream ended");
    };
    tokio::time::timeout_at(end.into(), read).await.ok();
}

/// A page that asks for what it shows: the numbers every second, its rows of the table every three.
async fn poll(address: SocketAddr, end: Instant, delay: Duration) {
    tokio::time::sleep(delay).await;
    let mut connection = Connection::open(address).await;
    let mut interval = tokio::time::interval(SECOND);
    for turn in 0.. {
        interval.tick().await;
        if Instant::now() >= end {
            return;
        }
        assert_eq!(connection.get("/api/v1/snapshot").await.0, 200);
        if turn % 3 == 0 {
            assert_eq!(connection.get("/api/v1/accounts?limit=50").await.0, 200);
        }
    }
}
