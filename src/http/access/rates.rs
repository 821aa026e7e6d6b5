//! RateLimits: how many requests a client may make, and how many tokens that are none it may show.
//!
//! Owns who counts as one client. Nobody is kept out by what another does, but for those who share an address
//! and show no token; and whoever has a token is let in, however many others have tried theirs from there.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

use super::peer::Peer;
use super::token::TokenId;

/// How many requests in a second, and at once, are served by default: far above what pages and scrapers ask
/// for, so that only a loop that has gone wild meets it.
pub(super) const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");
/// How many wrong tokens may be shown at once, and then one in a second.
const FAILURES_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("it is not 0");
const FAILURES_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("it is not 0");
/// Of how many clients at once it is known how much they ask. All others share one count.
const CLIENTS_MAX: usize = 10_000;
/// How often clients are forgotten who have asked for nothing, if there are too many.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    Token(TokenId),
    /// An address, or with version 6 the network that one customer has.
    Network(IpAddr),
    User(u32),
    /// One of whom nothing is known.
    Unknown,
    /// All for whom there is no room.
    Others,
}

impl RateKey {
    pub(super) fn of(peer: Option<Peer>) -> Self {
        match peer {
            Some(Peer::Local { uid }) => Self::User(uid),
            peer => peer.and_then(Peer::network).map_or(Self::Unknown, Self::Network),
        }
    }
}

/// The clock of the limits, which a test may pause.
#[derive(Clone, Debug)]
struct RateClock(Instant);

impl Clock for RateClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// One count for each client.
struct ClientLimit {
    clients: RateLimiter<RateKey, HashMapStateStore<RateKey>, RateClock, NoOpMiddleware<Duration>>,
    forgot: Mutex<Instant>,
}

impl ClientLimit {
    fn new(quota: Quota) -> Self {
        let clients = RateLimiter::hashmap_with_clock(quota, RateClock(now()));
        Self { clients, forgot: Mutex::new(now()) }
    }

    /// Counts one more, or returns in how many seconds it may be tried again.
    fn count(&self, client: RateKey) -> Result<(), u64> {
        let client = if self.has_room() { client } else { RateKey::Others };
        self.clients.check_key(&client).map_err(|until| {
            let wait = until.wait_time_from(self.clients.clock().now());
            u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
        })
    }

    fn has_room(&self) -> bool {
        if self.clients.len() < CLIENTS_MAX {
            return true;
        }
        let mut forgot = self.forgot.lock();
        if *forgot + FORGET_EVERY <= now() {
            *forgot = now();
            self.clients.retain_recent();
        }
        self.clients.len() < CLIENTS_MAX
    }
}

/// The limits of a server.
pub(super) struct RateLimits {
    requests: ClientLimit,
    failures: ClientLimit,
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").field("clients", &self.requests.clients.len()).finish()
    }
}

impl RateLimits {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let failures = Quota::per_second(FAILURES_PER_SECOND).allow_burst(FAILURES_AT_ONCE);
        Self {
            requests: ClientLimit::new(Quota::per_second(per_second)),
            failures: ClientLimit::new(failures),
        }
    }

    /// Counts a request, or returns in how many seconds it may be tried again.
    pub(super) fn request(&self, client: RateKey) -> Result<(), u64> {
        self.requests.count(client)
    }

    /// Counts a token that was none, or returns in how many seconds one may be tried again.
    pub(super) fn failure(&self, peer: Option<Peer>) -> Result<(), u64> {
        self.failures.count(RateKey::of(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Option<Peer> {
        Some(Peer::Tcp(address.parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_has_its_rate_and_takes_none_of_anothers() {
        let rates = RateLimits::new(NonZeroU32::new(5).unwrap());
        let (one, other) = (RateKey::of(tcp("192.0.2.1:1")), RateKey::of(tcp("192.0.2.2:1")));
        assert!((0..5).all(|_| rates.request(one).is_ok()));
        assert_eq!(rates.request(one), Err(1));
        assert_eq!(rates.request(other), Ok(()));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!((rates.request(one), rates.request(one)), (Ok(()), Err(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_slowed_to_one_in_a_second() {
        let rates = RateLimits::new(REQUESTS_PER_SECOND);
        let peer = tcp("192.0.2.1:1");
        assert!((0..10).all(|_| rates.failure(peer).is_ok()));
        assert_eq!(rates.failure(peer), Err(1));
        assert_eq!(rates.failure(tcp("192.0.2.2:1")), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((rates.failure(peer), rates.failure(peer)), (Ok(()), Err(1)));
    }

    #[test]
    fn whoever_has_a_network_is_one_client() {
        let of = |address| RateKey::of(tcp(address));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
        assert_eq!(RateKey::of(Some(Peer::Local { uid: 7 })), RateKey::User(7));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_clients_as_there_are_addresses_take_no_more_room() {
        let rates = RateLimits::new(NonZeroU32::new(1).unwrap());
        let client = |number: u32| RateKey::Network(IpAddr::V4(number.into()));
        for number in 0..10_000 {
            assert_eq!(rates.request(client(number)), Ok(()), "{number}");
        }
        // They share what one has.
        let others = [10_001, 10_002].map(|number| rates.request(client(number)));
        assert_eq!(others, [Ok(()), Err(1)]);
        assert!(rates.requests.clients.len() <= CLIENTS_MAX + 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!([10_001, 10_002].map(|number| rates.request(client(number))), [Ok(()); 2]);
        assert!(rates.requests.clients.len() < 10, "those who are gone are forgotten");
    }
}
