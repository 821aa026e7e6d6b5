//! How telepool works inside. Documentation only: there is no code here.
//!
//! # The parts
//! A module uses only those below it; `tests/tidy.rs` checks that.
//!
//! ```text
//!   bin/telepool   arguments, configuration files, the workload of a sandbox run
//!   ──────────────────────────────────────────────────────────────────────────
//!   telegram       grammers behind the seam      datacenter   the sandbox
//!   session        sessions as text              metrics, panel   the numbers
//!   ──────────────────────────────────────────────────────────────────────────
//!   pool           the public face, the worker   acquire, lease   what users hold
//!   entry, shared  an account and its ground     registry         all accounts
//!   dialer         pace, breaker, one dial       expiry           wheel and reaper
//!   budget         the cap of the whole pool
//!   ──────────────────────────────────────────────────────────────────────────
//!   account_pool   the engine of one account, without I/O
//!   events, stats
//!   ──────────────────────────────────────────────────────────────────────────
//!   state, health  one connection's word, one account's standing
//!   ──────────────────────────────────────────────────────────────────────────
//!   sync, clock, account, manager (the seam), config, error
//! ```
//!
//! Nothing below the second line knows Telegram; nothing below the fourth spawns, sleeps or
//! reads a clock.
//!
//! # One account
//! ```text
//!            gate: flags + generation      (who may be served at all)
//!              │
//!   acquire ───┼──► idle queue ──► connection.word: state, leases, QUEUED  ──► lease
//!              │                         ▲
//!              └──► line of waiters ─────┘  handed over in the order of coming
//!                        │
//!                        └──► vacant slot + permit ──► dial ──► connection
//! ```
//!
//! - A **slot** is an authorized session. It holds one connection, or none; a permit of the
//!   account and one of the whole pool go with each.
//! - The **word** of a connection says what it is doing and how many leases it bears. Whoever
//!   changes it from idle owns what comes next: a borrower, the reaper, a resize. The idle queue
//!   only remembers an order; an entry whose connection was claimed otherwise is void.
//! - The **gate** of the account tells an acquire in one load whether it may take the short way,
//!   and a release whether somebody must be looked after.
//!
//! # One acquire
//! The gate is clear: an entry is popped, its word is changed from idle to leased, the manager is
//! asked whether the connection is broken, and the lease is made. No lock, no semaphore, no
//! allocation. Was it idle for longer than `check_after_idle`, it is checked first.
//!
//! Otherwise the acquire joins the line, under the account's lock. *Then* it looks for a
//! connection: a release makes its word idle and *then* looks at the gate, so that one of the two
//! sees the other. If a slot is vacant and a permit is free, the engine orders a dial, which the
//! worker carries out apart from the caller: a caller that leaves loses its place, and the
//! connection is pooled.
//!
//! # One release
//! The word is changed back; the gate is looked at. Clear: the entry is pushed, and that is all.
//! Not clear: the engine, under the lock, gives the connection to the first waiter, or closes it
//! because it is broken, outdated, over its age or over the cap.
//!
//! # One expiry
//! Each connection has one entry in the wheel, with the time of the next look at it. The reaper
//! reads when it was last used and re-arms the entry, or claims the connection by the same change
//! of the word that an acquire makes. Nothing on the way of an acquire knows the wheel.
//!
//! # One shutdown
//! Every gate is closed: waiters wake with an error, idle connections go to the closer, leased
//! ones follow as they return, or by force after `drain_timeout`. The last slot to become vacant
//! ends the wait. A connection is vacant only when the manager's `close` has returned, and the
//! grammers manager returns when the socket is gone: that is why no key is ever on two.
//!
//! # What is limited
//! Connections by two caps; dials by pace, handshakes and a breaker per egress; waits by a
//! deadline; closes by `close_timeout`; drains by `drain_timeout`; events by a backlog of 1,024;
//! group labels by 64; cooldowns by 64 per account; failed dials by jittered backoff from 1 to
//! 60 s. The worker's queue has no limit of its own: what lies in it holds a permit.
