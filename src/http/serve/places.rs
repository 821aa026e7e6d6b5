//! Places for connections: in all, per peer, and those kept for the numbers.
//!
//! Owns the counts, and the warning when there is none left. A place is given back when it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::ServeLimits;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;
use crate::http::access::Peer;

/// How often it is warned of at most that there is no place left.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How many connections each peer has.
type PeerCounts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The places of one server.
pub(super) struct Places {
    any: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    per_peer_max: Option<usize>,
    peers: PeerCounts,
    warned_at: Option<Instant>,
}

/// The place of one connection.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    /// Whether it is one of those for the numbers.
    pub(super) is_reserved: bool,
    counted: Option<PeerPlace>,
}

impl Places {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        let all = limits.connections_max.clamp(2, Semaphore::MAX_PERMITS);
        let reserved = limits.reserved_for_metrics.min(all / 2);
        Self {
            any: Arc::new(Semaphore::new(all - reserved)),
            reserved: Arc::new(Semaphore::new(reserved)),
            per_peer_max: limits.connections_per_peer_max,
            peers: Arc::default(),
            warned_at: None,
        }
    }

    /// Waits until another connection may be accepted, and holds its place.
    pub(super) async fn wait(&mut self) -> Place {
        if let Some(place) = self.free() {
            return place;
        }
        self.warn("clients over HTTP hold every place: whoever comes now waits");
        let (any, reserved) = (Arc::clone(&self.any), Arc::clone(&self.reserved));
        let (permit, is_reserved) = tokio::select! {
            biased;
            permit = any.acquire_owned() => (permit, false),
            permit = reserved.acquire_owned() => (permit, true),
        };
        let permit = permit.expect("BUG: nobody closes the semaphore");
        Place { permit, is_reserved, counted: None }
    }

    fn free(&self) -> Option<Place> {
        let try_one = |places: &Arc<Semaphore>, is_reserved| {
            let permit = Arc::clone(places).try_acquire_owned().ok()?;
            Some(Place { permit, is_reserved, counted: None })
        };
        try_one(&self.any, false).or_else(|| try_one(&self.reserved, true))
    }

    /// Gives the place to a connection; `None` if its peer has as many as one may.
    pub(super) fn take(&mut self, mut place: Place, peer: Option<Peer>) -> Option<Place> {
        // One for everything may have become free while it was waited for a client.
        if place.is_reserved
            && let Ok(permit) = Arc::clone(&self.any).try_acquire_owned()
        {
            place.permit = permit;
            place.is_reserved = false;
        }
        if place.is_reserved {
            self.warn("clients over HTTP hold every place but those kept for the numbers");
        }
        let network = peer.filter(|peer| !peer.is_on_loopback()).and_then(Peer::network);
        if let (Some(max), Some(network)) = (self.per_peer_max, network) {
            let Some(counted) = PeerPlace::take(&self.peers, network, max) else {
                self.warn("one address holds as many connections over HTTP as it may");
                return None;
            };
            place.counted = Some(counted);
        }
        Some(place)
    }

    fn warn(&mut self, what: &str) {
        if self.warned_at.is_none_or(|warned_at| warned_at + WARN_EVERY <= now()) {
            self.warned_at = Some(now());
            tracing::warn!("{what} (told once a minute)");
        }
    }
}

/// A connection in the count of its peer.
struct PeerPlace {
    peers: PeerCounts,
    peer: IpAddr,
}

impl PeerPlace {
    fn take(peers: &PeerCounts, peer: IpAddr, max: usize) -> Option<Self> {
        let mut counts = peers.lock();
        let count = counts.entry(peer).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Self { peers: Arc::clone(peers), peer })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, reserved: usize, per_peer: usize) -> Places {
        Places::new(&ServeLimits {
            connections_max: all,
            reserved_for_metrics: reserved,
            connections_per_peer_max: Some(per_peer),
            ..ServeLimits::default()
        })
    }

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer::Tcp((address.parse::<IpAddr>().unwrap(), 5).into()))
    }

    #[tokio::test]
    async fn the_last_places_are_for_the_numbers_and_a_free_one_is_for_all() {
        let mut places = places(3, 1, 9);
        let first = places.wait().await;
        let first = places.take(first, None).unwrap();
        let second = places.wait().await;
        let second = places.take(second, None).unwrap();
        assert!(!first.is_reserved && !second.is_reserved);
        let last = places.wait().await;
        assert!(last.is_reserved && places.free().is_none());
        // One becomes free before anybody has come.
        drop(first);
        assert!(!places.take(last, None).unwrap().is_reserved);
        drop(second);
    }

    #[tokio::test]
    async fn a_peer_has_so_many_and_another_is_not_concerned() {
        let mut places = places(9, 0, 2);
        let mut held = Vec::new();
        for (address, is_served) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
        ] {
            let place = places.wait().await;
            let place = places.take(place, peer(address));
            assert_eq!(place.is_some(), is_served, "{address}");
            held.extend(place);
        }
        held.clear();
        assert!(places.peers.lock().is_empty(), "nobody is remembered");
        for _ in 0..5 {
            let place = places.wait().await;
            held.push(places.take(place, peer("127.0.0.1")).expect("this machine's own"));
        }
    }
}
