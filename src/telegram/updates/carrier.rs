//! Carrier of a lane: the connection that brings an account's updates.
//!
//! Owns how one is found, again and again, and what the errors of its calls mean for the lane. Never leases one for
//! longer than it takes to attach to it.

use std::sync::Weak;
use std::time::Duration;

use super::feed::{FeedReceiver, Listener};
use crate::base::clock::Instant;
use crate::error::AcquireError;
use crate::manager::Reaction;
use crate::pool::Account;
use crate::telegram::caller::ConnectionCaller;
use crate::telegram::{SessionSource, TelegramError, TelegramManager, verdict};

/// How long a lane waits in the pool's queue for a connection before it queues again.
const ACQUIRE_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether an account serves again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause after a dial that failed, and what it doubles to; the pool has its own backoff beside.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A server that wants no wait at all still gets one.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// A connection that carries a lane.
pub(super) struct Carrier {
    pub(super) caller: ConnectionCaller,
    pub(super) feed: FeedReceiver,
}

/// The connection can carry the lane no longer.
pub(super) struct Lost;

impl Carrier {
    /// Waits, as long as the connection lives.
    pub(super) async fn rest(&self, until: Instant) -> Result<(), Lost> {
        tokio::select! {
            biased;
            () = self.feed.ended() => Err(Lost),
            () = tokio::time::sleep_until(until) => Ok(()),
        }
    }

    pub(super) fn slot(&self) -> u16 {
        self.caller.slot
    }
}

/// Finds a connection to carry the lane, or has one dialled, for as long as it takes. `None`: nobody listens any
/// more, or the account will have no connection again.
pub(super) async fn carrier<S: SessionSource>(
    account: &Account<TelegramManager<S>>,
    listener: &Weak<Listener>,
) -> Option<Carrier> {
    let mut pause = PAUSE_FIRST;
    while listener.strong_count() > 0 {
        let wait = match account.acquire_timeout(ACQUIRE_MAX).await {
            Ok(lease) => {
                if lease.caller.health.can_bring_updates() {
                    let feed = lease.caller.feed.attach(listener);
                    lease.caller.rpc.want_updates();
                    return Some(Carrier { caller: lease.caller.clone(), feed });
                }
                // It was opened before anybody listened.
                lease.discard();
                continue;
            }
            Err(
                AcquireError::Closed { .. }
                | AcquireError::RuntimeEnded
                | AcquireError::UnknownAccount { .. },
            ) => return None,
            Err(
                AcquireError::Draining { .. }
                | AcquireError::Quarantined { .. }
                | AcquireError::NoSession { .. }
                | AcquireError::NoMember,
            ) => LOOK_EVERY,
            Err(AcquireError::Resting { remaining, .. }) => remaining.clamp(WAIT_MIN, PAUSE_MAX),
            Err(AcquireError::Timeout(_) | AcquireError::Dial(_)) => {
                let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
                pause = (pause * 2).min(PAUSE_MAX);
                wait
            }
        };
        if !pause_unless_closing(account, wait).await {
            return None;
        }
    }
    None
}

/// Waits, unless the pool begins to close: returns whether it does not.
pub(super) async fn pause_unless_closing<S: SessionSource>(
    account: &Account<TelegramManager<S>>,
    wait: Duration,
) -> bool {
    let mut closing = account.inner().context().closing.subscribe();
    let closes = closing.wait_for(|closing| *closing);
    tokio::time::timeout(wait, closes).await.is_err()
}

/// Why a question of a lane has no answer.
pub(super) enum Trouble {
    /// The connection is of no more use.
    Lost,
    /// The server wants so long a pause.
    Wait(Duration),
    /// The server has trouble of its own.
    Later,
    /// The server does not answer this question.
    Refused(TelegramError),
}

/// What an error of a lane's call means. A session that is of no more use is found out by the next dial.
pub(super) fn trouble(error: TelegramError, caller: &ConnectionCaller) -> Trouble {
    let meaning = verdict(&error);
    match (&error, meaning.reaction) {
        (TelegramError::Rpc { code: 420, value: Some(value), .. }, _) => {
            Trouble::Wait(Duration::from_secs((*value).into()).max(WAIT_MIN))
        }
        // It says nothing of when that ends, such as that the account is frozen.
        (TelegramError::Rpc { code: 420, .. }, _) => Trouble::Later,
        // What cannot be read will not be readable the next time.
        (
            TelegramError::Rpc { code: 400 | 403 | 406, .. } | TelegramError::Answer(_),
            Reaction::Keep,
        ) => Trouble::Refused(error),
        (TelegramError::Rpc { code: 401 | 406, .. }, _) => {
            caller.health.mark_broken();
            Trouble::Lost
        }
        _ if meaning.ends_connection || caller.health.is_dead() => Trouble::Lost,
        _ => Trouble::Later,
    }
}
