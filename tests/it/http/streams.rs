//! Streams at their limits: one too many, and one that nobody reads.

use telepool::AccountId;
use telepool::http::Scope;
use tokio::net::TcpSocket;

use crate::http::client::Client;
use crate::http::events::Stream;
use crate::http::lists::grouped;
use crate::http::{access, serve};

const STREAM: &str = "/api/v1/events/stream?samples=0";

#[tokio::test]
async fn whoever_comes_after_the_last_stream_is_told_to_poll_until_one_has_ended() {
    let pool = grouped(1);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(Stream::open(client, STREAM, "").await);
    }
    let refused = client.get(STREAM).await;
    let problem = refused.problem(503, "too_many_streams");
    assert!(problem["remedy"].as_str().unwrap().contains("poll"), "{problem}");
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    assert_eq!(client.get("/api/v1/snapshot").await.status, 200, "all else is answered");
    drop(streams.pop());
    // That the client is gone shows with what is sent to it next.
    let account = AccountId::bot(1000).unwrap();
    loop {
        pool.pause(account);
        pool.resume(account);
        if let Some(stream) = Stream::try_open(client, STREAM, "").await {
            streams.push(stream);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A connection whose client takes in next to nothing until it reads.
async fn narrow(client: Client) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(client.0).await.unwrap()
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_nobody_up_and_is_told_that_it_missed_some() {
    let pool = grouped(1);
    let client = serve(&pool, access(&[Scope::Read], None, false)).await;
    let mut lagging = Stream::over(narrow(client).await, STREAM, "").await.unwrap();
    let mut reading = Stream::open(client, STREAM, "").await;
    let account = AccountId::bot(1000).unwrap();
    // Far more than all buffers between hold, and than is kept.
    let mut last = String::new();
    for _ in 0..240 {
        for _ in 0..50 {
            pool.pause(account);
            pool.resume(account);
        }
        for _ in 0..100 {
            let (id, kind, event) = reading.next().await.unwrap();
            assert_eq!(kind, "event", "whoever reads misses nothing: {event}");
            last = id.unwrap();
        }
    }
    let (mut missed, mut before) = (0, 0);
    loop {
        let (id, kind, _) = lagging.next().await.unwrap();
        missed += usize::from(kind == "missed");
        let Some(id) = id else { continue };
        let number: u64 = id.parse().unwrap();
        assert!(number > before, "in their order, and each once");
        before = number;
        if id == last {
            break;
        }
    }
    assert_eq!(missed, 1);
}
