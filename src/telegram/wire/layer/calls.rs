//! Calls of a connection: those that wait to be sent, and those that wait for their answer.
//!
//! Owns their order, their deadlines and which packet each went in. Never numbers a message, and sends a call again
//! only when told that the server has not taken it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::base::clock::Instant;

/// A call, with whoever waits for its answer.
#[derive(Debug)]
pub(super) struct WaitingCall<T> {
    pub(super) token: u64,
    pub(super) waiter: T,
    pub(super) body: Vec<u8>,
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
    pub(super) resends: u8,
}

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Flight<T> {
    pub(super) call: WaitingCall<T>,
    /// The message or the container that it went in, by which the server refuses it.
    pub(super) packet: i64,
    pub(super) sequence: u32,
    /// The number of the session.
    pub(super) session: u32,
    /// The introduction stands in front of it.
    pub(super) introduces: bool,
    /// It went more than once, as it was.
    pub(super) is_repeated: bool,
}

/// All calls without an answer.
#[derive(Debug)]
pub(super) struct Calls<T> {
    ready: VecDeque<WaitingCall<T>>,
    /// Those to be sent may be in another order than they were made in.
    is_mixed: bool,
    flights: HashMap<i64, Flight<T>, RandomState>,
    /// No call ends before. It may be the deadline of one that has its answer.
    first_deadline: Option<Instant>,
}

impl<T> Calls<T> {
    pub(super) fn new() -> Self {
        let (ready, flights) = (VecDeque::new(), HashMap::default());
        Self { ready, is_mixed: false, flights, first_deadline: None }
    }

    /// Puts a call behind those that wait to be sent.
    pub(super) fn push(&mut self, call: WaitingCall<T>) {
        let first = self.first_deadline.map_or(call.deadline, |first| first.min(call.deadline));
        self.first_deadline = Some(first);
        self.is_mixed &= !self.ready.is_empty();
        self.ready.push_back(call);
    }

    /// Takes the next call to be sent, if it fits into so many bytes and no more than so many are without an
    /// answer.
    pub(super) fn pop_ready(
        &mut self,
        len_max: usize,
        flights_max: usize,
    ) -> Option<WaitingCall<T>> {
        if self.flights.len() >= flights_max || self.ready.front()?.body.len() > len_max {
            return None;
        }
        self.ready.pop_front()
    }

    /// Whether a call is to be sent.
    pub(super) fn has_ready(&self, flights_max: usize) -> bool {
        !self.ready.is_empty() && self.flights.len() < flights_max
    }

    /// How many bytes the calls come to that go next, as far as a packet holds and no more than so many are
    /// without an answer.
    pub(super) fn ready_len(&self, each: usize, len_max: usize, flights_max: usize) -> usize {
        let mut len = 0;
        let free = flights_max.saturating_sub(self.flights.len());
        for call in self.ready.iter().take(free) {
            len += call.body.len() + each;
            if len > len_max {
                // One that is longer goes alone.
                return len_max.max(call.body.len() + each);
            }
        }
        len
    }

    /// How many wait for their answers.
    pub(super) fn flight_count(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn insert(&mut self, id: i64, flight: Flight<T>) {
        self.flights.insert(id, flight);
    }

    pub(super) fn flight(&self, id: i64) -> Option<&Flight<T>> {
        self.flights.get(&id)
    }

    /// Takes a call that has its answer.
    pub(super) fn take(&mut self, id: i64) -> Option<Flight<T>> {
        self.flights.remove(&id)
    }

    /// A message went once more, in another packet.
    pub(super) fn moved(&mut self, id: i64, packet: i64) {
        if let Some(flight) = self.flights.get_mut(&id) {
            (flight.packet, flight.is_repeated) = (packet, true);
        }
    }

    /// A message is to go once more, as it was. Returns whether it may.
    pub(super) fn count_resend(&mut self, id: i64, resends_max: u8) -> bool {
        let Some(flight) = self.flights.get_mut(&id) else { return false };
        let may_go = flight.call.resends < resends_max;
        flight.call.resends += u8::from(may_go);
        may_go
    }

    /// Takes a call that nobody waits for any more, with the id of its message, if it was sent. `None`: it is over
    /// already.
    pub(super) fn cancel(&mut self, token: u64) -> Option<(Option<i64>, WaitingCall<T>)> {
        // Tokens ascend as calls are made: whoever gives up thousands at a time is not to look through thousands
        // for each.
        let place = match self.ready.binary_search_by_key(&token, |call| call.token) {
            Ok(place) => Some(place),
            Err(_) if self.is_mixed => self.ready.iter().position(|call| call.token == token),
            Err(_) => None,
        };
        if let Some(place) = place {
            return self.ready.remove(place).map(|call| (None, call));
        }
        let id = self.flights.iter().find(|(_, it)| it.call.token == token).map(|(id, _)| *id)?;
        self.take(id).map(|flight| (Some(id), flight.call))
    }

    /// The messages that went in a packet, in their order.
    pub(super) fn of_packet(&self, packet: i64) -> Vec<i64> {
        self.ids(|id, flight| *id == packet || flight.packet == packet)
    }

    /// The messages of which this is true, in their order.
    pub(super) fn ids(&self, is_meant: impl Fn(&i64, &Flight<T>) -> bool) -> Vec<i64> {
        let meant = self.flights.iter().filter(|(id, flight)| is_meant(id, flight));
        let mut ids: Vec<i64> = meant.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Has calls sent again, before all others, that the server has not taken. Returns those that were sent as
    /// often as allowed.
    pub(super) fn send_again(&mut self, ids: &[i64], resends_max: u8) -> Vec<WaitingCall<T>> {
        let mut spent = Vec::new();
        for id in ids.iter().rev() {
            let Some(Flight { mut call, .. }) = self.take(*id) else { continue };
            if call.resends >= resends_max {
                spent.push(call);
            } else {
                call.resends += 1;
                self.is_mixed |= self.ready.front().is_some_and(|next| next.token < call.token);
                self.ready.push_front(call);
            }
        }
        spent
    }

    /// When the next call may be over.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.first_deadline
    }

    /// Takes the calls whose time is over, with the ids of those that were sent.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Option<i64>, WaitingCall<T>)> {
        let mut expired = Vec::new();
        if self.first_deadline.is_none_or(|first| now < first) {
            return expired;
        }
        for _ in 0..self.ready.len() {
            if let Some(call) = self.ready.pop_front() {
                match call.deadline <= now {
                    true => expired.push((None, call)),
                    false => self.ready.push_back(call),
                }
            }
        }
        for id in self.ids(|_, flight| flight.call.deadline <= now) {
            expired.extend(self.take(id).map(|flight| (Some(id), flight.call)));
        }
        let flights = self.flights.values().map(|flight| &flight.call);
        self.first_deadline = self.ready.iter().chain(flights).map(|call| call.deadline).min();
        expired
    }

    /// Takes the calls that were not sent.
    pub(super) fn drain_ready(&mut self) -> Vec<WaitingCall<T>> {
        std::mem::take(&mut self.ready).into()
    }

    /// Takes all calls, and whether each was sent.
    pub(super) fn drain(&mut self) -> Vec<(bool, WaitingCall<T>)> {
        let flights = std::mem::take(&mut self.flights).into_values();
        let sent = flights.map(|flight| (true, flight.call));
        sent.chain(self.ready.drain(..).map(|call| (false, call))).collect()
    }

    /// Gives back what many calls have taken.
    pub(super) fn release_memory(&mut self) {
        if self.ready.is_empty() && self.ready.capacity() > 0 {
            self.ready = VecDeque::new();
        }
        if self.flights.is_empty() && self.flights.capacity() > 0 {
            self.flights = HashMap::default();
        }
    }

    /// Whether no call is without an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.flights.is_empty()
    }

    /// Whether a call waits for its answer.
    pub(super) fn are_in_flight(&self) -> bool {
        !self.flights.is_empty()
    }
}
