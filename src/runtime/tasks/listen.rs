//! The task that calls back with every event.

use tokio::runtime::Handle;

use crate::base::panics::catch;
use crate::events::{Callback, EventStream};

/// Calls back with every event, on a thread for what blocks: a callback that takes its time keeps
/// nobody else's task from a worker.
pub(crate) async fn listen(mut callback: Callback, mut events: EventStream, runtime: Handle) {
    while let Some(event) = events.next().await {
        let call = runtime.spawn_blocking(move || {
            if catch(|| callback(&event)).is_none() {
                tracing::warn!("an event callback has panicked");
            }
            callback
        });
        // Without a runtime there is nobody left to tell.
        let Ok(back) = call.await else { return };
        callback = back;
    }
}
