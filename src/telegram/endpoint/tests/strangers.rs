//! Whoever else comes to the port of an endpoint: without the key, too early, with anything in its hands.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// A door at which no client is expected yet.
fn door() -> EndpointDoor {
    EndpointDoor::open(&Handle::current(), DC, false).unwrap()
}

/// A client that dials a door as soon as it is asked something.
fn client_of(door: &EndpointDoor) -> (Client, JoinHandle<()>) {
    let record = record_of(&record(), Some(door));
    let settings = TelegramSettings::new(1);
    let session = Arc::new(OneShotSession::new(&record, settings.data_centres.clone(), None));
    let params = settings.connection_params(&record);
    let SenderPool { runner, handle, .. } = SenderPool::with_configuration(session, 1, params);
    (Client::new(handle), spawn(runner.run()))
}

/// Lets the client in and answers all that it asks.
fn serve_at(door: EndpointDoor) -> JoinHandle<()> {
    let forward = |_| std::future::ready(Ok(taken()));
    spawn(serve_one(door, forward, std::future::pending()))
}

/// Whether the other side has closed or reset a connection, without a word on it.
async fn is_put_out(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn strangers_are_put_out_and_the_door_closes_behind_the_client() {
    let door = door();
    let address = door.address();
    let (client, runner) = client_of(&door);
    let (second, second_runner) = client_of(&door);
    let served = serve_at(door);
    let mut silent = Vec::new();
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200).collect();
        let bytes = match round % 5 {
            // A frame that never becomes whole, and one that is longer than any.
            0 => [&[0, 255, 0, 0][..], &noise].concat(),
            1 => vec![255; 64],
            2 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            3 => framed(&noise),
            _ => vec![],
        };
        stream.write_all(&bytes).await.unwrap();
        match round % 5 {
            0 | 4 => silent.push(stream),
            _ => assert!(is_put_out(&mut stream).await, "{round}"),
        }
    }
    // More than may wait at a time were silent: those that came first had to go.
    for stream in &mut silent[..8] {
        assert!(is_put_out(stream).await);
    }
    assert!(client.invoke(&Ask::<bool>::new(1)).await.unwrap());
    for stream in &mut silent {
        assert!(is_put_out(stream).await);
    }
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(second.invoke(&Ask::<bool>::new(1)).await.is_err(), "there is one client");
    assert!(client.invoke(&Ask::<bool>::new(1)).await.unwrap());
    drop((client, second));
    served.await.unwrap();
    runner.await.unwrap();
    second_runner.await.unwrap();
}

/// A sound frame of bytes that nobody has encrypted.
fn framed(bytes: &[u8]) -> Vec<u8> {
    use grammers_mtproto::transport::{Full, Transport as _};
    let mut frame = grammers_crypto::DequeBuffer::with_capacity(bytes.len(), 16);
    frame.extend(bytes);
    Full::new().pack(&mut frame);
    frame[..].to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_says_nothing_is_put_out_in_time() {
    let door = door();
    let mut stranger = TcpStream::connect(door.address()).await.unwrap();
    let served = serve_at(door);
    assert!(is_put_out(&mut stranger).await);
    served.abort();
}
