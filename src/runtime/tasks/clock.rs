//! The task that keeps the coarse clock going.

use std::sync::Weak;

use crate::base::clock::RefreshPace;
use crate::manager::Manager;
use crate::runtime::Runtime;

/// Keeps the coarse clock going while there are connections and it is much asked for.
pub(crate) async fn tick<M: Manager>(runtime: Weak<Runtime<M>>) {
    let mut pace = RefreshPace::default();
    while let Some(runtime) = runtime.upgrade() {
        let context = &runtime.context;
        if context.occupancy.slots() == 0 {
            context.clock.stop_refreshing(&mut pace);
            context.occupancy.until_taken().await;
        }
        let pause = context.clock.refresh(&mut pace);
        let sleep = tokio::time::sleep(pause);
        tokio::select! {
            () = sleep => {}
            () = context.clock.busy.notified() => {}
        }
    }
}
