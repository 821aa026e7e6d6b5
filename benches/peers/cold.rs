//! Bursts on an account that has no connection: is the cap kept?

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::pools::{self, Nothing};
use crate::report::Report;

const CAP: u16 = 3;
const TASKS: usize = 8;

/// Eight tasks at once on a new pool, so often; answers how often there were too many connections.
macro_rules! bursts {
    ($effort:expr, $make:expr, |$pool:ident| $census:expr, |$it:ident| $op:expr) => {{
        let mut over = 0;
        for _ in 0..$effort.bursts {
            let pool = $make;
            let begin = Arc::new(Barrier::new(TASKS));
            let mut running = JoinSet::new();
            for _ in 0..TASKS {
                let (pool, begin) = (pool.clone(), Arc::clone(&begin));
                running.spawn(async move {
                    let $it = &pool;
                    begin.wait().await;
                    let held = $op.await.unwrap();
                    tokio::task::yield_now().await;
                    drop(held);
                });
            }
            running.join_all().await;
            let $pool = &pool;
            over += usize::from($census > u64::from(CAP));
        }
        over
    }};
}

pub(crate) async fn bursts(effort: Effort, report: &mut Report) {
    let title = format!("bursts above the cap, of {}", effort.bursts);
    if !report.wants(&title) {
        return;
    }
    let nothing = || Nothing { slots: CAP, leases: 1, ..Nothing::default() };
    let telepool =
        bursts!(effort, pools::telepool(CAP, 1), |pool| pool.manager().census.most(), |it| async {
            pools::account(it).acquire_owned().await
        });
    let deadpool =
        bursts!(effort, pools::deadpool(CAP.into()), |pool| pool.manager().census.most(), |it| it
            .get());
    let mut others = Vec::new();
    for which in ["bb8", "fast_pool"] {
        let mut over = 0;
        for _ in 0..effort.bursts {
            let manager = nothing();
            let census = manager.census.clone();
            let one = Effort { bursts: 1, ..effort };
            if which == "bb8" {
                let pool = bb8::Pool::builder().max_size(CAP.into()).build(manager).await.unwrap();
                over += bursts!(one, pool.clone(), |_pool| census.most(), |it| it.get());
            } else {
                let pool = fast_pool::Pool::new(manager);
                pool.set_max_open(CAP.into());
                over += bursts!(one, pool.clone(), |_pool| census.most(), |it| it.get());
            }
        }
        others.push((which, over));
    }
    let mut counts = vec![("telepool", telepool), ("deadpool", deadpool)];
    counts.extend(others);
    report.count(title, counts);
}
