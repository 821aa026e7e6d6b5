//! What all connections of the wire have counted, by the group of their accounts.
//!
//! Owns the sums of those that have ended. Never counts anything itself: each connection does, and is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::wire::{WireCounts, WireHandle};
use crate::base::sync::Mutex;
use crate::manager::NetworkCounts;

/// The counts, by group.
#[derive(Debug, Default)]
pub(super) struct WireTotals(Mutex<BTreeMap<Arc<str>, GroupWires>>);

#[derive(Debug, Default)]
struct GroupWires {
    /// Of those that have ended.
    ended: NetworkCounts,
    open: HashMap<u64, WireHandle>,
    next: u64,
}

/// A connection that is counted. Dropped once it has ended, it leaves its counts behind.
pub(super) struct CountedWire {
    totals: Arc<WireTotals>,
    group: Arc<str>,
    number: u64,
}

impl WireTotals {
    /// Counts a connection from here on.
    pub(super) fn begin(self: &Arc<Self>, group: Arc<str>, wire: WireHandle) -> CountedWire {
        let mut groups = self.0.lock();
        let wires = groups.entry(Arc::clone(&group)).or_default();
        let number = wires.next;
        wires.next += 1;
        wires.open.insert(number, wire);
        drop(groups);
        CountedWire { totals: Arc::clone(self), group, number }
    }

    /// What each group has counted.
    pub(super) fn by_group(&self) -> Vec<(Arc<str>, NetworkCounts)> {
        let groups = self.0.lock();
        let sum = |wires: &GroupWires| {
            let mut counts = wires.ended;
            wires.open.values().for_each(|wire| counts.add(&counted(&wire.counts())));
            counts
        };
        groups.iter().map(|(group, wires)| (Arc::clone(group), sum(wires))).collect()
    }
}

impl Drop for CountedWire {
    fn drop(&mut self) {
        let mut groups = self.totals.0.lock();
        let Some(wires) = groups.get_mut(&self.group) else { return };
        let Some(wire) = wires.open.remove(&self.number) else { return };
        let mut counts = counted(&wire.counts());
        counts.oldest_answer = Duration::ZERO;
        wires.ended.add(&counts);
    }
}

fn counted(counts: &WireCounts) -> NetworkCounts {
    NetworkCounts {
        bytes_received: counts.bytes_received,
        bytes_sent: counts.bytes_sent,
        opening_round_trips: counts.opening_round_trips,
        calls_resent: counts.resends,
        packets_refused: counts.refused_packets,
        acknowledgements_sent: counts.acks_sent,
        oldest_answer: counts.answer_age.unwrap_or_default(),
    }
}
