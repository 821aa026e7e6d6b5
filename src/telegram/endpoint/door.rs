//! The way in to an endpoint: a listener on the loopback interface, for one client that has the key.
//!
//! Owns the listener until the client is in, and whoever else comes until then. Never keeps more than a first frame
//! for a stranger, nor that for long, and never lets a second client in.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use super::inbox::EndpointInbox;
use super::layer::EndpointLayer;
use super::requests::EndpointRequest;
use crate::session::AuthKey;

/// How long somebody may take to show the key. The client does so at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many may be about to show it. With one more, the first to have come has to go.
const STRANGERS_MAX: usize = 16;
/// How long nobody is let in after that has failed, for lack of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A listener for one client.
pub(super) struct EndpointDoor {
    listener: TcpListener,
    address: SocketAddr,
    key: AuthKey,
    data_centre: i32,
}

/// A connection with the client, from its first frame on.
pub(super) struct EndpointLink {
    pub(super) stream: TcpStream,
    pub(super) layer: EndpointLayer,
    pub(super) inbox: EndpointInbox,
    /// What its first frames ask for.
    pub(super) requests: Vec<EndpointRequest>,
}

impl EndpointDoor {
    /// Opens a way in, with a key that nobody else has, for a client that takes the endpoint for this data centre. The
    /// listener is on the IPv6 loopback if so wanted and there is one.
    pub(super) fn open(runtime: &Handle, data_centre: i32, ipv6: bool) -> io::Result<Self> {
        let mut key = [0; AuthKey::LEN];
        getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
        let key = AuthKey::new(key);
        let bind = |address: SocketAddr| std::net::TcpListener::bind(address);
        let v4 = || bind((Ipv4Addr::LOCALHOST, 0).into());
        let listener = match ipv6 {
            true => bind((Ipv6Addr::LOCALHOST, 0).into()).or_else(|_| v4())?,
            false => v4()?,
        };
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, address, key, data_centre })
    }

    /// Where the client comes in.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the client shows.
    pub(super) const fn key(&self) -> &AuthKey {
        &self.key
    }

    /// Waits until the client is in. With that the listener is closed, and everybody else put out.
    pub(super) async fn admit(self) -> EndpointLink {
        let mut strangers = JoinSet::new();
        let mut order = VecDeque::<AbortHandle>::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        order.retain(|stranger| !stranger.is_finished());
                        if order.len() >= STRANGERS_MAX && let Some(first) = order.pop_front() {
                            first.abort();
                        }
                        let layer = EndpointLayer::new(&self.key, self.data_centre);
                        order.push_back(strangers.spawn(meet(stream, layer)));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(met) = strangers.join_next() => {
                    if let Ok(Some(link)) = met {
                        return link;
                    }
                }
            }
        }
    }
}

/// Hears somebody who has come in, for a while. `None` if that is not the client.
async fn meet(stream: TcpStream, layer: EndpointLayer) -> Option<EndpointLink> {
    // Where the option is not to be had, answers are only slower.
    stream.set_nodelay(true).ok();
    let mut link =
        EndpointLink { stream, layer, inbox: EndpointInbox::default(), requests: vec![] };
    let shown = tokio::time::timeout(PATIENCE, async {
        loop {
            let EndpointLink { stream, layer, inbox, requests } = &mut link;
            stream.readable().await.ok()?;
            if inbox.read(stream, layer, requests).ok()? > 0 {
                return Some(());
            }
        }
    });
    shown.await.ok()?.map(|()| link)
}
