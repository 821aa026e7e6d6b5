//! What the two ends of a carried connection see of each other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::*;

/// Longer than any of these takes.
const LONG: Duration = Duration::from_secs(60);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// A client and a server with a carried connection between them.
struct Line {
    client: TcpStream,
    server: TcpStream,
    carried: JoinHandle<FarEnd>,
}

async fn line(linger: Duration) -> Line {
    let ((client, near), (far, server)) = (pair().await, pair().await);
    Line { client, server, carried: Handle::current().spawn(carry(near, far, linger)) }
}

async fn rest_of(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.map(|_| bytes)
}

#[tokio::test]
async fn much_passes_both_ways_at_once_and_comes_whole() {
    let Line { client, server, carried } = line(LONG).await;
    let sent: Vec<u8> = (0..5_000_000_u32).map(|it| it.to_le_bytes()[0] ^ 7).collect();
    let ends = [client, server].map(|stream| {
        let sent = sent.clone();
        async move {
            let (mut reader, mut writer) = stream.into_split();
            let writing = Handle::current().spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer
            });
            let mut read = vec![0; 5_000_000];
            reader.read_exact(&mut read).await.unwrap();
            (read, reader, writing.await.unwrap())
        }
    });
    let [one, other] = ends;
    let ((read, ..), (other_read, ..)) = tokio::join!(one, other);
    assert!(read == sent && other_read == sent);
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
}

#[tokio::test]
async fn a_client_that_closes_has_the_server_close_its_side() {
    let Line { mut client, mut server, carried } = line(LONG).await;
    client.write_all(b"last words").await.unwrap();
    drop(client);
    assert_eq!(rest_of(&mut server).await.unwrap(), b"last words");
    drop(server);
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
}

#[tokio::test]
async fn a_client_that_breaks_off_has_the_server_close_its_side() {
    let Line { client, mut server, carried } = line(LONG).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rest_of(&mut server).await.unwrap(), b"");
    // What it still says reaches nobody, and is in nobody's way.
    server.write_all(&[7; 1_000_000]).await.unwrap();
    drop(server);
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
}

#[tokio::test]
async fn a_server_that_keeps_its_side_open_is_not_waited_for_and_told_apart() {
    let Line { client, mut server, carried } = line(Duration::from_millis(30)).await;
    drop(client);
    assert_eq!(rest_of(&mut server).await.unwrap(), b"");
    assert_eq!(carried.await.unwrap(), FarEnd::Unknown);
}

#[tokio::test]
async fn a_server_that_closes_ends_the_clients_side_and_still_hears_it() {
    let Line { mut client, mut server, carried } = line(LONG).await;
    server.write_all(b"last words").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(rest_of(&mut client).await.unwrap(), b"last words");
    client.write_all(b"and mine").await.unwrap();
    drop(client);
    assert_eq!(rest_of(&mut server).await.unwrap(), b"and mine");
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
}

#[tokio::test]
async fn a_client_that_stays_when_the_server_has_closed_keeps_nothing_open() {
    let Line { client, server, carried } = line(Duration::from_millis(30)).await;
    drop(server);
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
    drop(client);
}

#[tokio::test]
async fn a_server_that_breaks_off_is_told_as_such_to_the_client() {
    let Line { mut client, server, carried } = line(LONG).await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(carried.await.unwrap(), FarEnd::Unknown);
    let told = rest_of(&mut client).await.unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_side_that_takes_nothing_is_waited_for_without_a_growing_buffer() {
    let Line { mut client, mut server, carried } = line(LONG).await;
    let flood = Handle::current().spawn(async move {
        client.write_all(&vec![1; 20_000_000]).await.unwrap();
        client
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!flood.is_finished(), "the sockets' buffers are full, and there is no other");
    let mut read = vec![0; 20_000_000];
    server.read_exact(&mut read).await.unwrap();
    drop((flood.await.unwrap(), server));
    assert_eq!(carried.await.unwrap(), FarEnd::Closed);
}
