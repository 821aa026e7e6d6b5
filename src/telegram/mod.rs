//! Telegram behind a pool: a [`Manager`](crate::Manager) that opens the connections of authorized sessions.
//!
//! Owns everything that names grammers, and the promise that an authorization key is on one main
//! connection at a time. Never stores a session, logs in, retries or sleeps out a flood: the
//! pool decides what to do, by [`verdict`].
//!
//! # Two engines
//! [`TelegramSettings::engine`] says what carries the connections:
//!
//! - [`Engine::Grammers`], the default: `grammers-mtsender`, as every bot has that uses `grammers-client`.
//! - [`Engine::Wire`]: connections of telepool's own, on the cryptography and the types of the same family. A call
//!   adds a tenth of the time to the server's, and takes two thirds of the processor time where there are many; a
//!   connection opens in a round trip or two instead of four and holds 5 to 6 kB (`cargo bench --bench wire`).
//!
//! Both keep the same promises, and the same tests hold them to these, over the sandbox data centre. Beyond that the
//! wire is unproven: nobody has run it against Telegram's servers yet, which `telepool doctor --test-servers` is for.
//! Until its findings are in, take it where a lost session costs little.
//!
//! # One key, one connection
//! Telegram voids an authorization whose key it sees on two main connections (406
//! `AUTH_KEY_DUPLICATED`). So it is not left to the caller's care: `key_lock` locks each key once in the whole
//! process, whatever becomes of the future that dialled, and a successor waits for the lock before it dials. Other
//! processes are kept away by [`ownership`](crate::ownership). The guard of the lock goes when the socket is gone:
//!
//! - Over the wire both are fields of one future, which drops the socket first: a return, an abort, a panic and the
//!   end of the runtime are all the same to it (`wire_supervisor`).
//! - The client's socket lives in a task of its own. The task that supervises it holds the guard, and if that is
//!   dropped, the `orphan_reaper` in its place. `one_shot_session` answers the client's question for an address
//!   once: it redials by itself and, told that a key is unknown, makes a new one over it; here neither finds an
//!   answer.
//!
//! # When the server's end may still be open
//! A closed socket is closed for us. The server learns of it if the line is sound; if not, only a timer
//! ends its side, which the first message of each connection sets (`ping_delay_disconnect`). After silence, or where
//! the end is not known to have been noticed, the key *rests* for `redial_after_loss`. What a dial cannot have set yet
//! is the timer of its first round trip: a machine that loses its power within that leaves a connection which
//! nothing of ours ends.
//!
//! - The wire pings each 15 s for a timer of 30 s, closes its half first and waits for the server to close the other.
//! - The client pings once a minute for a timer of 75 s. Its connection is asked for a last answer before it is
//!   closed, and one on which nothing was heard for 15 s is pinged (`heartbeat`).
//!
//! # Proxies
//! A session with a [`proxy`](crate::session::SessionRecord::proxy) is dialled by it and in no other way, also
//! for files in other data centres. Behind a proxy our close proves nothing of the proxy's own
//! connection to the server: unless the far side closes in an orderly way as well, the key rests for
//! `redial_after_loss`. The wire dials through a proxy as it does without; the client cannot, and is given a door of
//! this process's own (`bridge`), which takes two more file descriptors for each connection, and two ports
//! of the loopback interface: some 28,000 of them fit into the default `net.ipv4.ip_local_port_range`. The
//! accounts of a proxy are one [`Egress`](crate::Egress), so that one which fails costs its own accounts only.
//!
//! # What the pool does about what the server says
//!
//! | signal | what follows |
//! |---|---|
//! | 406 `AUTH_KEY_DUPLICATED` | the session is quarantined until an operator reinstates it |
//! | 401 `SESSION_REVOKED`, `SESSION_EXPIRED`, `SESSION_PASSWORD_NEEDED` | the session is quarantined: log in again |
//! | 401 `USER_DEACTIVATED`, `USER_DEACTIVATED_BAN` | every session of the account is quarantined |
//! | 401 `AUTH_KEY_UNREGISTERED`, `AUTH_KEY_INVALID` | the session is suspect: its key is kept, it is dialled once more after `health.probe_after`, and serves again or is dead; from a foreign data centre: another connection |
//! | transport code 404 | the same, after one more try; the key is never replaced |
//! | transport code 429 | the breaker of the egress opens: 1 dial in 1 s, 2 in 4 s, 3 in 8 s, until one succeeds |
//! | nothing, for 15 s after a question | the connection is cut, and the session rests for `redial_after_loss` |
//! | transport code 444, 303 `USER_MIGRATE_X` | the session is quarantined: its data centre is wrong |
//! | none: the session's proxy refuses, is silent, or does not reach the data centre ([`ProxyError`]) | the dial fails, and the account's next waits its backoff; after three accounts' the way by that proxy is tried by one dial at a time. Never a quarantine: nothing of the session was sent |
//! | 420 `FLOOD_WAIT_X` | the method of the account rests for X seconds; [`Account::invoke`](crate::Account::invoke) sits a short one out, the others get [`InvokeError::RetryAfter`] |
//! | 420 `FLOOD_PREMIUM_WAIT_X` | the same: only methods that move files give it |
//! | 420 while logging in | the account's next dial waits for X seconds |
//! | 420 `SLOWMODE_WAIT_X` | belongs to one chat: it is the caller's |
//! | 420 `FROZEN_METHOD_INVALID`, 400 `PEER_FLOOD` | an [`Event::Restricted`](crate::Event::Restricted), and nothing else |
//! | 500 `RANDOM_ID_DUPLICATE` | it is the caller's: the message was sent before |
//! | any other 500, -503 | sent again after 1 s doubling to 60 s, if the caller's deadline allows |
//! | a broken connection, a bad checksum | the connection is closed; the call is sent again only if it was not sent yet or is said to be idempotent |
//! | none: the client gives a call up by itself ([`TelegramError::Client`], [`TelegramError::File`]) | it is the caller's: the connection is sound |
//! | no answer in time | the connection is checked before anybody else gets it |
//! | anything else | it is the caller's |
//!
//! # Floods before they come
//! What Telegram allows bots is documented, and [`TelegramSettings::pacing`] has accounts keep to it
//! ([`SendPacing::bot`]): a message waits here for its turn, without a lease, and none is refused there. Who came
//! first to a chat sends first, a chat that must wait holds up no other, and chats take turns. Of an account that
//! keeps no limits nothing is kept.
//!
//! # What a connection costs
//! One of the wire holds no buffers while it is idle: 5 to 6 kB, also after rounds of opening and closing
//! (`cargo bench --bench wire`).
//!
//! The client keeps two buffers of 1 MiB per connection and touches little of them: an idle one
//! holds 36 to 38 kB of resident memory (`cargo bench --bench memory`). glibc spoils that after
//! some rounds of closing and opening, because it begins to hand out used memory instead of
//! mapping such buffers freshly: 2,151 kB each after five rounds. Pin its threshold
//! (`mallopt(M_MMAP_THRESHOLD, 128 * 1024)` at the start, or `MALLOC_MMAP_THRESHOLD_=131072` in
//! the environment), or use another allocator. Updates come on top, where somebody reads them: up to
//! 340 kB for each connection that has received some ([`Pool::updates`](crate::Pool::updates)).
//!
//! # The client of a connection
//! [`TelegramConnection::client`] is the client library's own, for `send_message`, files and the rest. Over the wire
//! it comes by an endpoint of this process, opened when somebody asks for it: two file descriptors, a port, 46 kB and
//! 20 µs more for each call, so that it is fit for a few connections, not for all. What goes wrong on the way is
//! told as an error with the code -9999 and a name that begins with `TELEPOOL_`, which
//! [`TelegramError`] has its own variants for.
//!
//! # What a panic costs
//! The client panics on some hostile input. It runs in a task of its own, so a panic costs one
//! connection, and what would cause it from our side is refused before it is sent ([`Refusal`]).

mod bridge;
mod broadcast;
mod caller;
mod connection;
mod endpoint;
mod engine;
mod error;
mod error_names;
mod health;
mod heartbeat;
mod invoke;
mod key_lock;
mod key_memories;
mod login_cache;
mod login_check;
mod manager;
mod messages;
mod method_class;
mod one_shot_session;
mod orphan_reaper;
mod pacing;
mod parts;
mod peer_cache;
mod pending_open;
mod quarantine_file;
mod reservation;
mod rpc;
mod settings;
mod sign_in_run;
mod source;
#[cfg(feature = "store")]
mod store_source;
mod supervisor;
mod updates;
mod verdict;
#[doc(hidden)]
pub mod wire;
mod wire_counts;
mod wire_supervisor;

pub use bridge::{ProxyError, ProxyProblem};
pub use broadcast::{
    Broadcast, BroadcastError, BroadcastMessage, BroadcastOutcome, BroadcastProgress,
    BroadcastResult, BroadcastRun, BroadcastTarget, UnsentReason,
};
pub use connection::TelegramConnection;
pub use engine::{Engine, UnknownEngine};
pub use error::{Refusal, TelegramError};
pub use invoke::InvokeError;
pub use manager::TelegramManager;
pub use messages::text_message;
pub use pacing::{Pacing, SendLimit, SendPacing};
pub use peer_cache::PeerCache;
pub use quarantine_file::{
    Quarantine, QuarantineFile, QuarantineFileError, lift_quarantines, read_quarantines,
};
pub use settings::TelegramSettings;
pub use sign_in_run::{
    KeptSignIn, SignInPrompt, SignInRun, SignInRunError, SignInSettings, SignedInSession,
    SignedOut, accept_login, sign_out,
};
pub use source::{BoxError, MemorySource, SessionProfile, SessionSource, SourceError};
#[cfg(feature = "store")]
pub use store_source::{
    AccountChange, ServeError, ServeOptions, StoreSettled, StoreSource, settle_store, store_holder,
};
pub use updates::{
    AccountUpdate, ListenError, MissedUpdates, Overflow, TryRecvError, UpdateContent, UpdatePeers,
    UpdateStream, UpdatesOptions,
};
pub use verdict::{Resend, Verdict, verdict};
pub use wire::ServerPublicKey;

/// The client library, for the types of requests and answers.
pub use grammers_client as client;
