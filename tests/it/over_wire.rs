//! What holds of the manager over the engine `wire`: the contract, which is the same over both, and what only this
//! one is held to.

use telepool::telegram::Engine;

const ENGINE: Engine = Engine::Wire;

/// What only the engine `wire` is held to.
macro_rules! only_over_wire {
    ($($items:item)*) => { $($items)* };
}

/// What only the other engine is held to.
macro_rules! only_over_grammers {
    ($($items:item)*) => {};
}

#[path = "contract/mod.rs"]
mod contract;
#[cfg(target_os = "linux")]
#[path = "proxies/mod.rs"]
mod proxies;
#[path = "telegram/mod.rs"]
mod telegram;
