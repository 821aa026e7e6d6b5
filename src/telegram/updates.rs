//! Updates: from the server to the application, in order, each at least once.
//!
//! Owns the lanes of listening accounts. One connection of each carries its updates; the others ask for none.
//!
//! # The way of an update
//! The client of the connection that carries the lane puts it into that connection's [`feed`]. The account's
//! [`lane`] takes it from there, has its [`sequence`] decide whether it is the next, an old one, or shows that some
//! are missing, asks the server for those, and puts what is next into the account's [`mailbox`]. The application
//! reads the mailboxes of its [`stream`] in turn. When it drops an update, the account's [`progress`] goes on, and
//! once a second that is saved.
//!
//! # What may be full
//! A mailbox: then its lane waits. The feed: then what does not fit is left out, the lane is told, and asks the
//! server once it goes on. So a slow application costs memory for as much as fits into both, for each account that
//! it is slow with, and no other account anything.
//!
//! # What may end
//! The connection, by whatever: the feed ends with it, the lane acquires another one, which the pool dials if need
//! be, and asks the server for what came in between. The order and what was handed on are the lane's, so that
//! nothing comes twice. The process: the next one goes on from what was saved.

mod carrier;
mod channel_queue;
mod contents;
mod feed;
mod known_users;
mod lane;
mod lanes;
mod mailbox;
mod options;
mod progress;
mod received;
mod sequence;
mod step;
mod stream;
mod withheld;

pub(super) use feed::{Feed, FeedSource};
pub(super) use lanes::Lanes;
pub use options::{ListenError, Overflow, TryRecvError, UpdatesOptions};
pub use received::{AccountUpdate, MissedUpdates, UpdateContent, UpdatePeers};
pub use stream::UpdateStream;
