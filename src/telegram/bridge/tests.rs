//! A bridge between a client and a data centre that are both the test.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const HOME: i32 = 2;
const LIMITS: BridgeLimits =
    BridgeLimits { dial: Duration::from_secs(30), linger: Duration::from_secs(30) };

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A proxy whose client is at the data centre as soon as it has asked: what it hears then, the data centre
/// hears.
async fn far_side_of(proxy: &TcpListener) -> TcpStream {
    let (mut stream, _) = proxy.accept().await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    stream.write_all(&[5, 0]).await.unwrap();
    stream.read_exact(&mut [0; 10]).await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    stream
}

/// A way to a data centre, and the other end of it.
async fn opened(limits: BridgeLimits) -> (Arc<Bridge>, TcpListener, TcpStream) {
    let (listener, address) = listener().await;
    let proxy = Arc::new(format!("socks5://{address}").parse().unwrap());
    let target = "192.0.2.9:443".parse().unwrap();
    let (bridge, far) =
        tokio::join!(Bridge::open(&proxy, (HOME, target), limits), far_side_of(&listener));
    (bridge.unwrap(), listener, far)
}

fn home(bridge: &Bridge) -> SocketAddr {
    bridge.address(HOME, "192.0.2.9:443".parse().unwrap()).unwrap()
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

async fn says(stream: &mut TcpStream, bytes: &[u8], to: &mut TcpStream) {
    stream.write_all(bytes).await.unwrap();
    let mut heard = vec![0; bytes.len()];
    to.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, bytes);
}

#[tokio::test]
async fn what_the_client_says_at_the_door_comes_to_the_data_centre_and_back() {
    let (bridge, _proxy, mut far) = opened(LIMITS).await;
    let door = home(&bridge);
    assert!(door.ip().is_loopback() && home(&bridge) == door);
    let mut client = TcpStream::connect(door).await.unwrap();
    says(&mut client, b"request", &mut far).await;
    says(&mut far, b"answer", &mut client).await;
    bridge.shut(HOME);
    assert!(bridge.may_be_open());
    drop(client);
    let end = bridge.end(LIMITS.linger);
    let closes = async {
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        drop(far);
    };
    let (noticed, ()) = tokio::join!(end, closes);
    assert!(noticed && bridge.is_gone());
}

#[tokio::test]
async fn a_far_side_that_does_not_close_may_be_open() {
    let (bridge, _proxy, mut far) = opened(LIMITS).await;
    let mut client = TcpStream::connect(home(&bridge)).await.unwrap();
    says(&mut client, b"request", &mut far).await;
    drop(client);
    assert!(!bridge.end(Duration::from_millis(30)).await);
    assert!(bridge.is_gone() && bridge.may_be_open());
    assert_eq!(far.read(&mut [0]).await.unwrap_or_default(), 0, "and it is closed here");
}

#[tokio::test]
async fn a_door_takes_two_and_is_closed_when_the_client_has_its_connection() {
    let (bridge, proxy, mut far) = opened(LIMITS).await;
    let door = home(&bridge);
    let mut first = TcpStream::connect(door).await.unwrap();
    says(&mut first, b"one", &mut far).await;
    let (second, mut far_too) = tokio::join!(TcpStream::connect(door), far_side_of(&proxy));
    let mut second = second.unwrap();
    says(&mut second, b"two", &mut far_too).await;
    assert!(is_refused(door).await, "no third");

    let (bridge, _proxy, mut far) = opened(LIMITS).await;
    let door = home(&bridge);
    let mut client = TcpStream::connect(door).await.unwrap();
    says(&mut client, b"one", &mut far).await;
    bridge.shut(HOME);
    while !is_refused(door).await {
        tokio::task::yield_now().await;
    }
    says(&mut client, b"more", &mut far).await;
}

#[tokio::test]
async fn other_data_centres_are_reached_by_the_same_proxy_or_not_at_all() {
    let (bridge, proxy, _far) = opened(LIMITS).await;
    let target = "192.0.2.10:443".parse().unwrap();
    let door = bridge.address(4, target).unwrap();
    assert_eq!(bridge.address(4, target).unwrap(), door);
    let (client, far) = tokio::join!(TcpStream::connect(door), far_side_of(&proxy));
    let (mut client, mut far) = (client.unwrap(), far);
    says(&mut client, b"abroad", &mut far).await;
    bridge.shut(4);
    assert_ne!(bridge.address(4, target).unwrap(), door, "a dial of its own has one of its own");
    says(&mut client, b"still", &mut far).await;
    // The proxy is gone.
    drop(proxy);
    let door = bridge.address(5, target).unwrap();
    let mut client = TcpStream::connect(door).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap_or_default(), 0);
    assert!(bridge.end(Duration::ZERO).await, "nothing was sent with the key");
    assert!(bridge.address(5, target).is_err(), "no further one");
}

#[tokio::test]
async fn a_bridge_that_is_dropped_leaves_nothing() {
    // Before the client has come, and while it is there.
    for comes in [false, true] {
        let (bridge, _proxy, mut far) = opened(LIMITS).await;
        let door = home(&bridge);
        let client = match comes {
            true => Some(TcpStream::connect(door).await.unwrap()),
            false => None,
        };
        if let Some(mut client) = client {
            says(&mut client, b"request", &mut far).await;
            bridge.cut();
            assert_eq!(client.read(&mut [0]).await.unwrap_or_default(), 0);
            assert!(bridge.may_be_open());
        }
        drop(bridge);
        assert_eq!(far.read(&mut [0]).await.unwrap_or_default(), 0);
        while !is_refused(door).await {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_dial_that_is_given_up_leaves_nothing() {
    let (listener, address) = listener().await;
    let proxy = Arc::new(format!("socks5://{address}").parse().unwrap());
    let dialling = Bridge::open(&proxy, (HOME, "192.0.2.9:443".parse().unwrap()), LIMITS);
    let far = async {
        let (mut far, _) = listener.accept().await.unwrap();
        far.read_exact(&mut [0; 3]).await.unwrap();
        far
    };
    let mut far = tokio::select! {
        opened = dialling => panic!("{}", opened.is_ok()),
        far = far => far,
    };
    assert_eq!(far.read(&mut [0]).await.unwrap_or_default(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn from_an_address_of_this_machine_the_server_learns_of_the_end_as_ever() {
    let (centre, target) = listener().await;
    let proxy = Arc::new("bind://127.0.0.6".parse().unwrap());
    let opened = tokio::join!(Bridge::open(&proxy, (HOME, target), LIMITS), centre.accept());
    let (bridge, (mut far, peer)) = (opened.0.unwrap(), opened.1.unwrap());
    assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 6]));
    let mut client = TcpStream::connect(home(&bridge)).await.unwrap();
    says(&mut client, b"request", &mut far).await;
    drop(client);
    assert!(bridge.end(Duration::ZERO).await);
}
