//! Updates of the sandbox, by the rules of <https://core.telegram.org/api/updates>.
//!
//! Owns the boxes of accounts and channels, what each session is pushed, and the answers of
//! `updates.getState`, `updates.getDifference` and `updates.getChannelDifference`. Never reads a socket.

mod account_box;
mod channel;
mod control;
mod counts;
mod difference;
mod log;
mod posting;
mod session;
mod strangers;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use account_box::AccountBoxes;
pub(super) use channel::SandboxChannel;
pub use counts::{ChannelUpdateCounts, SessionUpdateCounts, UpdateCounts};
pub(super) use difference::{channel_difference, difference, state};
pub(super) use posting::{push_too_long, send_message};
pub(super) use session::{PushedUpdate, UpdateSession};
pub(super) use strangers::name_of as stranger_name;
pub(super) use wire::{put_settings, put_user};

use crate::base::clock::unix_time;

/// How many updates of each box are kept, unless the options say otherwise.
pub(super) const LOG_LEN_MAX: usize = 10_000;
/// How many updates an answer has at most, unless the options say otherwise.
pub(super) const DIFFERENCE_LEN_MAX: usize = 100;

/// The time of day, in seconds of the Unix time.
fn now_date() -> i32 {
    i32::try_from(unix_time().as_secs()).unwrap_or(i32::MAX)
}
