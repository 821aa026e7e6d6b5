//! Peers: who is at the other end of a connection.
//!
//! Owns the [`Peer`] that the server of a listener puts into the extensions of each request. The middleware
//! takes nobody else's word for where a request comes from: no header is read for it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::Extensions;

/// The other end of a connection, as an extension of each request on it. Whoever serves the router puts it
/// there; [`serve`](crate::http::serve()) does. For a router that `axum::serve` serves,
/// `into_make_service_with_connect_info::<SocketAddr>()` tells the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// Over TCP, from this address.
    Tcp(SocketAddr),
    /// Over a Unix socket, a process of this user. Whoever is told so may do all that an operator may: only
    /// a server that has checked who may reach its socket says it.
    Local {
        /// The user's id, as the system gives it for the connection.
        uid: u32,
    },
}

impl Peer {
    /// Returns the peer of a request, if anybody has said who that is.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let told = || extensions.get::<ConnectInfo<SocketAddr>>().map(|it| Self::Tcp(it.0));
        extensions.get::<Self>().copied().or_else(told)
    }

    /// What counts as one client over TCP: its address, or of IPv6 the network that one customer has.
    pub(crate) fn network(self) -> Option<IpAddr> {
        let Self::Tcp(address) = self else { return None };
        Some(match address.ip().to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }

    /// Returns whether it is on this machine, by its address.
    #[must_use]
    pub fn is_on_loopback(self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Local { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[test]
    fn what_the_server_says_comes_before_what_axum_says() {
        let mut extensions = Extensions::new();
        assert_eq!(Peer::of(&extensions), None);
        extensions.insert(ConnectInfo::<SocketAddr>("192.0.2.1:5".parse().unwrap()));
        assert_eq!(Peer::of(&extensions), Some(tcp("192.0.2.1:5")));
        extensions.insert(Peer::Local { uid: 7 });
        assert_eq!(Peer::of(&extensions), Some(Peer::Local { uid: 7 }));
    }

    #[test]
    fn loopback_is_told_by_the_address_in_any_spelling() {
        for (address, is_loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(tcp(address).is_on_loopback(), is_loopback, "{address}");
        }
    }
}
