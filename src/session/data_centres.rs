//! Addresses of data centres.
//!
//! Owns the table and the public addresses. Never resolves or dials anything.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of every public data centre.
const PORT: u16 = 443;

/// Addresses of data centres by number, for sessions that name only the number: of those that everybody
/// uses, and of the test servers, whose accounts and keys are others under the same numbers.
///
/// ```
/// use telepool::session::DataCentres;
///
/// let mut centres = DataCentres::production();
/// assert_ne!(centres.address(2), centres.test_address(2));
/// // An address of one's own is meant for whatever session comes.
/// let own = "127.0.0.1:4430".parse()?;
/// centres.insert(2, own);
/// assert_eq!((centres.address(2), centres.test_address(2)), (Some(own), Some(own)));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataCentres {
    rows: BTreeMap<i32, SocketAddr>,
    test_rows: BTreeMap<i32, SocketAddr>,
}

/// The public data centres: the five as `help.getConfig` lists them, and the one that hands out files
/// (as Pyrogram's descendants list it).
const PRODUCTION: [(i32, [u8; 4]); 6] = [
    (1, [149, 154, 175, 53]),
    (2, [149, 154, 167, 41]),
    (3, [149, 154, 175, 100]),
    (4, [149, 154, 167, 92]),
    (5, [91, 108, 56, 104]),
    (203, [91, 105, 192, 100]),
];

/// The test servers, as Telegram Desktop has them built in.
const TEST: [(i32, [u8; 4]); 3] =
    [(1, [149, 154, 175, 10]), (2, [149, 154, 167, 40]), (3, [149, 154, 175, 117])];

impl DataCentres {
    /// An empty table: every session must then bring its address.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: BTreeMap::new(), test_rows: BTreeMap::new() }
    }

    /// The public data centres and the test servers.
    #[must_use]
    pub fn production() -> Self {
        Self { rows: public(&PRODUCTION), test_rows: public(&TEST) }
    }

    /// Sets the address of a data centre, for sessions of the test servers as well, and returns the one
    /// it had. The public address of a data centre is never one of a test server, and leaves those as
    /// they are.
    pub fn insert(&mut self, dc: i32, address: SocketAddr) -> Option<SocketAddr> {
        if public(&PRODUCTION).get(&dc) != Some(&address) {
            self.test_rows.insert(dc, address);
        }
        self.rows.insert(dc, address)
    }

    /// Where the data centre listens, if known.
    #[must_use]
    pub fn address(&self, dc: i32) -> Option<SocketAddr> {
        self.rows.get(&dc).copied()
    }

    /// Where the test data centre of this number listens, if known.
    #[must_use]
    pub fn test_address(&self, dc: i32) -> Option<SocketAddr> {
        self.test_rows.get(&dc).copied()
    }

    /// Whether there is such a data centre: a public one, one of the test servers, or one of this table.
    pub(super) fn is_known(&self, dc: i32) -> bool {
        let is_public = PRODUCTION.iter().chain(&TEST).any(|(number, _)| *number == dc);
        is_public || self.rows.contains_key(&dc) || self.test_rows.contains_key(&dc)
    }

    /// Every data centre of the table, in order; the test servers are not among them.
    pub fn iter(&self) -> impl Iterator<Item = (i32, SocketAddr)> + '_ {
        self.rows.iter().map(|(dc, address)| (*dc, *address))
    }
}

fn public(rows: &[(i32, [u8; 4])]) -> BTreeMap<i32, SocketAddr> {
    let address = |ip: [u8; 4]| SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), PORT);
    rows.iter().map(|(dc, ip)| (*dc, address(*ip))).collect()
}

impl FromIterator<(i32, SocketAddr)> for DataCentres {
    fn from_iter<T: IntoIterator<Item = (i32, SocketAddr)>>(rows: T) -> Self {
        let mut centres = Self::new();
        for (dc, address) in rows {
            centres.insert(dc, address);
        }
        centres
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_table_survives_being_written_and_read() {
        let mut centres = DataCentres::production();
        for (dc, address) in DataCentres::production().iter() {
            assert_eq!(centres.insert(dc, address), Some(address));
        }
        assert_eq!(centres, DataCentres::production());
    }
}
