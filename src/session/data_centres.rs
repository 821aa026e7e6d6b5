//! Where data centres listen.
//!
//! Owns the table and the public addresses. Never resolves or dials anything.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of every public data centre.
const PORT: u16 = 443;

/// Addresses of data centres by number, for sessions that name only the number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataCentres(BTreeMap<i32, SocketAddr>);

impl DataCentres {
    /// An empty table: every session must then bring its address.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The five public data centres, as `help.getConfig` lists them.
    #[must_use]
    pub fn production() -> Self {
        Self::public([
            (1, [149, 154, 175, 53]),
            (2, [149, 154, 167, 41]),
            (3, [149, 154, 175, 100]),
            (4, [149, 154, 167, 92]),
            (5, [91, 108, 56, 104]),
        ])
    }

    fn public<const N: usize>(rows: [(i32, [u8; 4]); N]) -> Self {
        rows.into_iter()
            .map(|(dc, ip)| (dc, SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), PORT)))
            .collect()
    }

    /// Sets the address of a data centre and returns the one it had.
    pub fn insert(&mut self, dc: i32, address: SocketAddr) -> Option<SocketAddr> {
        self.0.insert(dc, address)
    }

    /// Where the data centre listens, if known.
    #[must_use]
    pub fn address(&self, dc: i32) -> Option<SocketAddr> {
        self.0.get(&dc).copied()
    }

    /// Every data centre of the table, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i32, SocketAddr)> + '_ {
        self.0.iter().map(|(dc, address)| (*dc, *address))
    }
}

impl FromIterator<(i32, SocketAddr)> for DataCentres {
    fn from_iter<T: IntoIterator<Item = (i32, SocketAddr)>>(rows: T) -> Self {
        Self(rows.into_iter().collect())
    }
}
