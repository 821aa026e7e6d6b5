//! What a manager says before a dial: the profile of an account, and the clearance of a slot.
//!
//! Owns these values. Never reads or asks for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The most sessions of an account that a pool uses: which of them are vacant is one word of bits.
pub(crate) const SLOTS_MAX: u16 = 64;

/// What the pool must know of an account before it dials.
///
/// Made by [`Profile::new`], and its fields are set by name: more may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// How many connections the account may have: one per authorized session. The pool opens
    /// the smaller of this and `max_connections_per_account`. At most 64. If it changes, it is the last
    /// slots that come and go: a slot stays the same session.
    pub slots: u16,
    /// How many leases may share a connection (1 = exclusive). The pool allows the smaller of
    /// this and `max_leases_per_connection`.
    pub leases: u16,
    /// An operator's label, for metrics and `acquire_any`.
    pub group: Arc<str>,
    /// The address or proxy that dials leave by: pacing and breakers are per egress.
    pub egress: Egress,
}

impl Profile {
    /// An account with this many slots, exclusive leases, in the group `default`, dialled
    /// directly.
    #[must_use]
    pub fn new(slots: u16) -> Self {
        Self { slots, leases: 1, group: Arc::from("default"), egress: Egress::Direct }
    }
}

/// The way by which a dial leaves: the address that the machine chooses, a proxy, or an address of the
/// machine's that was named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Egress {
    /// The machine's own address.
    #[default]
    Direct,
    /// A proxy, named by something without a secret in it (host and port), or one of several addresses of
    /// the machine.
    Proxy(Arc<str>),
}

/// Whether a slot may be dialled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Clearance<E> {
    /// Now.
    Now,
    /// Now, and this holds what the dial needs until it has ended, or is given up before it began.
    Holding(Hold),
    /// Not before this time has passed; to be asked again then. The error is for whoever cannot wait
    /// for so long.
    After(Duration, E),
}

/// Something that a dial must have to itself, given back when this is dropped.
pub struct Hold {
    _held: Box<dyn Send + Sync>,
}

impl Hold {
    /// Holds a guard until the dial is over.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(guard) }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
