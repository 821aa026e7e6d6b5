//! The judge of the one rule that costs accounts: a key is on one main connection at a time.
//!
//! Owns the verdict. The tasks of connections run in any order, so that what a client closed
//! first may be heard last; the judge goes by the sockets, in the order in which the connections
//! came, and never by which task was quicker. It asks nothing of the clients: a connection
//! whose client was stopped, cut off or turned deaf to lives as long as its socket is open here.

use std::sync::Arc;

use super::newcomer::{LOOK_AGAIN, LOOKS_MAX, Newcomer};
use super::population::{Key, Live, World};

/// Hears the first packet of a connection: enters it in the register of its key, and says
/// whether another connection of the key still lives. Of two that overlap, the one that is entered
/// last finds the other, whichever of them came first: what they say afterwards adds nothing.
pub(super) async fn admit(world: &World, live: Live, key: &Key, key_id: &[u8; 8]) -> bool {
    let newcomer = Arc::clone(&live.newcomer);
    hear_the_older(world, &newcomer, key_id).await;
    let others = {
        let mut register = key.live.lock();
        let others = register.clone();
        register.push(live);
        others
    };
    world.silent.lock().remove(&newcomer.id);
    for other in others {
        if other.newcomer.is_open().await {
            return true;
        }
    }
    false
}

/// Lets connections that came before and have something unread be heard first.
async fn hear_the_older(world: &World, newcomer: &Newcomer, key: &[u8; 8]) {
    let older: Vec<u64> = world.silent.lock().range(..newcomer.id).map(|(id, _)| *id).collect();
    for id in older {
        for _ in 0..LOOKS_MAX {
            let silent = world.silent.lock().get(&id).cloned();
            let Some(older) = silent else { break };
            if !older.is_to_be_heard(key) {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
