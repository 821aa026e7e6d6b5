//! Detection of a duplicate key: an authorization key on two main connections at a time.
//!
//! Owns the verdict. The tasks of connections run in any order, so that of two connections the one
//! that the client closed first may be handled last; the verdict goes by the sockets, in the order in
//! which they were accepted, and never by which task was quicker. It asks nothing of the clients: a
//! connection whose client was stopped or cut off, or that a fault has turned into a black hole,
//! counts as long as its socket is open here.

use std::sync::Arc;

use super::accounts::{ConnectionHandle, Key};
use super::server_state::ServerState;
use super::socket::{AcceptedSocket, POLL_INTERVAL, POLLS_MAX};

/// Adds an authenticated connection to those of its key. Returns whether another connection of the
/// key is still open. Of two that overlap, the one that is added last finds the other, whichever of
/// them was accepted first: their later packets change nothing.
pub(super) async fn register(
    server: &ServerState,
    connection: ConnectionHandle,
    key: &Key,
    key_id: &[u8; 8],
) -> bool {
    let socket = Arc::clone(&connection.socket);
    wait_for_older(server, &socket, key_id).await;
    let others = {
        let mut connections = key.connections.lock();
        let others = connections.clone();
        connections.push(connection);
        others
    };
    server.unauthenticated.lock().remove(&socket.id);
    let mut is_any_open = false;
    for other in others {
        match other.socket.is_open().await {
            true => is_any_open = true,
            // Its own task may get to see the end later than this one.
            false => key.history.note_client_end(other.socket.id, server.next_moment()),
        }
    }
    is_any_open
}

/// Waits until connections that were accepted before have handled what their sockets hold, if it is
/// of this key.
async fn wait_for_older(server: &ServerState, socket: &AcceptedSocket, key: &[u8; 8]) {
    let older: Vec<u64> =
        server.unauthenticated.lock().range(..socket.id).map(|(id, _)| *id).collect();
    for id in older {
        for _ in 0..POLLS_MAX {
            let older = server.unauthenticated.lock().get(&id).cloned();
            let Some(older) = older else { break };
            if !older.has_unhandled_packet_of(key) {
                break;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
