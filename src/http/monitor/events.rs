//! The last events, each with an id that grows.
//!
//! Owns the ring of them. Ids begin at the time of day in
//! microseconds, so that after a restart they go on above all that a client can have seen. An event takes some
//! 300 bytes, and the ring holds 2,000.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::account_id::AccountId;
use crate::base::clock::unix_time;
use crate::base::sync::Mutex;
use crate::connection::ConnectionId;
use crate::events::{Event, EventLevel};
use crate::http::monitor::unix_ms;

/// How many events are kept.
pub(super) const KEPT: usize = 2_000;

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptEvent {
    pub(crate) id: u64,
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) what: Happening,
    /// That of the account, if there is one.
    pub(crate) group: Option<Arc<str>>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) kind: &'static str,
    pub(crate) level: EventLevel,
    pub(crate) account: Option<AccountId>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) slot: Option<u16>,
    pub(crate) text: String,
    pub(crate) remedy: Option<&'static str>,
    /// Who did it, if somebody did.
    pub(crate) by: Option<Arc<str>>,
}

impl Happening {
    /// So many events were lost, since they came too fast.
    pub(super) fn missed(count: u64) -> Self {
        Self {
            kind: "missed",
            level: EventLevel::Warn,
            account: None,
            connection: None,
            slot: None,
            text: format!("{count} events came too fast to be kept"),
            remedy: None,
            by: None,
        }
    }
}

impl From<&Event> for Happening {
    fn from(event: &Event) -> Self {
        Self {
            kind: event.kind(),
            level: event.level(),
            account: event.account(),
            connection: event.connection(),
            slot: event.slot(),
            text: event.text(),
            remedy: event.remedy(),
            by: event.by().map(Arc::from),
        }
    }
}

/// The last events.
#[derive(Debug)]
pub(crate) struct EventRing {
    events: Mutex<VecDeque<Arc<KeptEvent>>>,
    /// The id of the last one.
    last: watch::Sender<u64>,
}

/// What has come behind an event.
#[derive(Debug)]
pub(crate) struct EventsAfter {
    pub(crate) events: Vec<Arc<KeptEvent>>,
    /// Whether some came between that are kept no more, or the event was one of another process.
    pub(crate) missed: bool,
    /// The id of the last event that there is.
    pub(crate) last: u64,
}

impl Default for EventRing {
    fn default() -> Self {
        let first = u64::try_from(unix_time().as_micros()).unwrap_or_default();
        Self { events: Mutex::default(), last: watch::Sender::new(first) }
    }
}

impl EventRing {
    /// Adds an event, and tells whoever waits for one.
    pub(crate) fn push(&self, what: Happening, group: Option<Arc<str>>) {
        let at = unix_ms();
        let mut events = self.events.lock();
        let id = *self.last.borrow() + 1;
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(Arc::new(KeptEvent { id, at, what, group }));
        // Under the lock, so that whoever sees the id finds the event.
        self.last.send_replace(id);
    }

    /// Told of the id of each event as it comes.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    pub(crate) fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Returns what has come behind an event, or all that is kept.
    pub(crate) fn after(&self, id: Option<u64>) -> EventsAfter {
        let events = self.events.lock();
        let last = self.last();
        let first = last + 1 - events.len() as u64;
        let missed = id.is_some_and(|id| id + 1 < first || id > last);
        let after = id.filter(|id| *id <= last).unwrap_or_default();
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(KEPT);
        EventsAfter { events: events.iter().skip(skip).cloned().collect(), missed, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &EventRing, count: usize) {
        for _ in 0..count {
            ring.push(Happening::from(&Event::Reconfigured), None);
        }
    }

    #[test]
    fn what_came_behind_an_event_is_found_or_said_to_be_lost() {
        let ring = EventRing::default();
        let start = ring.last();
        assert!(start > 1_600_000_000_000_000, "the time of day in microseconds");
        assert!(ring.after(Some(start)).events.is_empty());
        push(&ring, 5);
        let ids = |after: EventsAfter| -> Vec<u64> {
            after.events.iter().map(|event| event.id - start).collect()
        };
        assert_eq!(ids(ring.after(None)), [1, 2, 3, 4, 5]);
        assert_eq!(ids(ring.after(Some(start + 3))), [4, 5]);
        assert!(!ring.after(Some(start)).missed);
        assert!(ring.after(Some(start - 1)).missed, "one of an earlier process");
        assert!(ring.after(Some(start + 6)).missed, "one of a later process");
        push(&ring, KEPT);
        let after = ring.after(Some(start + 4));
        assert_eq!(
            (after.missed, after.events.len(), after.last),
            (true, KEPT, start + 5 + KEPT as u64)
        );
        assert!(!ring.after(Some(start + 5)).missed);
    }
}
