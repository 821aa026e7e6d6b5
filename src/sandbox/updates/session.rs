//! Updates of one session: what it was sent, and what happens to that on the way.
//!
//! Owns the session's `seq`, how far it was sent each channel, and the faults of what is pushed. Never keeps an
//! update: the boxes do.

use std::collections::HashMap;
use std::time::Duration;

use super::account_box::FIRST_PTS;
use super::counts::SessionUpdateCounts;
use super::wire;
use crate::account_id::AccountId;
use crate::base::sync::Ordering;
use crate::sandbox::accounts::{ConnectionCommand, ConnectionHandle};
use crate::sandbox::faults::{Fault, UPDATES};
use crate::sandbox::schema::Schema;
use crate::sandbox::server_state::ServerState;

/// Of the pushes that may have a `seq`, one in so many has one.
const SEQ_EVERY: u64 = 8;

/// An update on its way to a connection.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct PushedUpdate {
    pub(in crate::sandbox) body: Vec<u8>,
    /// So much later than it would be.
    pub(in crate::sandbox) delay: Duration,
    /// After the next one.
    pub(in crate::sandbox) after_next: bool,
}

impl PushedUpdate {
    pub(in crate::sandbox) fn new(body: Vec<u8>) -> Self {
        Self { body, delay: Duration::ZERO, after_next: false }
    }
}

/// What is to be pushed to each session that listens.
pub(super) struct Push<'a> {
    /// Writes it for a client of this layer.
    pub(super) write: &'a dyn Fn(Schema) -> Vec<u8>,
    pub(super) kind: PushKind,
}

/// How a push is told from one that was missed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum PushKind {
    /// It is in a box of the account, and goes out in a container, which may have a `seq`.
    Account,
    /// It is in a box of the account or in none, and never has a `seq`.
    WithoutSeq,
    /// It moves the number of a channel's box to `pts`, by `count`. It never has a `seq`: a client that has
    /// asked for the account's difference meanwhile would take it for one that it has.
    Channel { channel: i64, pts: i32, count: i32 },
}

/// The updates of a session.
#[derive(Default)]
pub(in crate::sandbox) struct UpdateSession {
    /// The last `seq`, which begins at one.
    seq_moves: i32,
    /// How many pushes could have had one.
    containers: u64,
    counts: SessionUpdateCounts,
    channels: HashMap<i64, SentMark>,
    /// Made when it is first needed.
    random: Option<fastrand::Rng>,
}

/// How far a session has come in a channel.
#[derive(Clone, Copy)]
struct SentMark {
    /// Everything up to here was sent.
    sent: i32,
    /// The client itself says that it has everything up to here.
    confirmed: i32,
}

impl Default for SentMark {
    fn default() -> Self {
        Self { sent: FIRST_PTS, confirmed: FIRST_PTS }
    }
}

impl UpdateSession {
    pub(super) fn seq(&self) -> i32 {
        1 + self.seq_moves
    }

    pub(in crate::sandbox) fn counts(&self) -> SessionUpdateCounts {
        SessionUpdateCounts { seq: self.seq(), ..self.counts }
    }

    /// A connection begins to listen. What was sent on an earlier one may have been lost with that.
    pub(in crate::sandbox) fn begin_connection(&mut self) {
        for mark in self.channels.values_mut() {
            mark.sent = mark.confirmed;
        }
    }

    /// Up to which number the session was sent a channel; `None` if nothing of it was ever to be sent.
    pub(super) fn sent(&self, channel: i64) -> Option<i32> {
        self.channels.get(&channel).map(|mark| mark.sent)
    }

    /// The client has asked for what is after `asked`, and got everything up to `answered`.
    pub(super) fn note_difference(&mut self, channel: i64, asked: i32, answered: i32) {
        let mark = self.channels.entry(channel).or_default();
        mark.confirmed = mark.confirmed.max(asked);
        mark.sent = mark.sent.max(answered);
    }

    /// Sends an update to the connections that listen. Returns to how many.
    pub(super) fn push(
        &mut self,
        server: &ServerState,
        (account, slot, schema): (AccountId, u16, Schema),
        connections: &[ConnectionHandle],
        push: &Push<'_>,
    ) -> usize {
        let listening = |it: &&ConnectionHandle| it.subscribed.load(Ordering::Relaxed);
        if !connections.iter().any(|it| listening(&it)) {
            return 0;
        }
        if let PushKind::Channel { channel, .. } = push.kind {
            self.channels.entry(channel).or_default();
        }
        let mut update = PushedUpdate::new((push.write)(schema));
        if push.kind == PushKind::Account {
            self.containers += 1;
            if self.containers.is_multiple_of(SEQ_EVERY) {
                self.seq_moves = self.seq_moves.saturating_add(1);
                wire::set_seq(&mut update.body, self.seq());
            }
        }
        let random = self.random.get_or_insert_with(|| random_of(server.seed, account, slot));
        let fault = server.faults.load().draw(UPDATES, Some(account), random);
        if fault.is_some() {
            server.counters.faults_injected.add(1);
        }
        let mut copies = 1;
        match fault {
            Some(Fault::Lose) => {
                self.counts.lost += 1;
                return 0;
            }
            Some(Fault::Double) => {
                self.counts.doubled += 1;
                copies = 2;
            }
            Some(Fault::Reorder) => {
                self.counts.reordered += 1;
                update.after_next = true;
            }
            Some(Fault::Delay(time)) => {
                self.counts.delayed += 1;
                update.delay = time;
            }
            // A plan has no other fault on updates.
            Some(_) | None => {}
        }
        let mut sent = 0;
        for connection in connections.iter().filter(listening) {
            let send = || connection.try_push(update.clone());
            // A copy that finds no room makes no difference.
            let arrived = send();
            sent += usize::from(arrived);
            if copies == 2 {
                connection.try_push(update.clone());
            }
        }
        match sent {
            0 => {
                self.counts.dropped += 1;
                server.counters.updates_dropped.add(1);
            }
            _ => self.note_sent(push.kind),
        }
        sent
    }

    fn note_sent(&mut self, kind: PushKind) {
        self.counts.sent += 1;
        if let PushKind::Channel { channel, pts, count } = kind {
            let mark = self.channels.entry(channel).or_default();
            if pts - count <= mark.sent {
                mark.sent = mark.sent.max(pts);
            }
        }
    }
}

impl ConnectionHandle {
    /// Hands an update over, unless too many wait to be read. Whoever missed one is told so.
    fn try_push(&self, update: PushedUpdate) -> bool {
        let handed_over = self.commands.try_send(ConnectionCommand::Push(update)).is_ok();
        if !handed_over {
            self.missed_updates.store(true, Ordering::Relaxed);
        }
        handed_over
    }
}

/// What the fates of a session's updates are drawn from: the same for the same seed, whoever else is there.
fn random_of(seed: u64, account: AccountId, slot: u16) -> fastrand::Rng {
    let kind = u64::from(account.is_bot()) << 63;
    let own = account.number().rotate_left(20) ^ u64::from(slot) ^ kind;
    let mut random = fastrand::Rng::with_seed(seed ^ own);
    // Seeds that are neighbours begin alike.
    random.u64(..);
    random
}
