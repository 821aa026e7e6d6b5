//! Who is served when some take all they can get, and when leases are held for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::pools;
use crate::report::{Report, Row};
use crate::slice::Slice;
use crate::work::{Hold, rounds};

const NAMES: [&str; 5] = ["telepool", "deadpool", "bb8", "fast_pool", "mobc"];

/// Eight tasks that ask at once again, and eight that rest for a millisecond in between; answers
/// how long the latter waited.
macro_rules! with_greedy {
    ($pool:expr, $time:expr, |$it:ident| $op:expr) => {{
        let over = Arc::new(AtomicBool::new(false));
        let mut greedy = JoinSet::new();
        let mut polite = JoinSet::new();
        let begin = Arc::new(Barrier::new(17));
        for number in 0..16 {
            let (pool, over, begin) = ($pool.clone(), Arc::clone(&over), Arc::clone(&begin));
            let tasks = if number < 8 { &mut greedy } else { &mut polite };
            tasks.spawn(async move {
                let $it = &pool;
                let mut waits = Vec::new();
                begin.wait().await;
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let held = $op.await.unwrap();
                    waits.push(asked.elapsed().as_nanos() as u64);
                    Hold::Yield.pass().await;
                    drop(held);
                    if number >= 8 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                (waits.len() as u64, waits)
            });
        }
        begin.wait().await;
        let began = Instant::now();
        crate::effort::rest($time);
        over.store(true, Ordering::Relaxed);
        let ended = polite.join_all().await;
        greedy.abort_all();
        Slice::of(&ended, began.elapsed())
    }};
}

pub(crate) async fn polite(effort: Effort, report: &mut Report) {
    let title = "8 polite tasks beside 8 greedy";
    if !report.wants(title) {
        return;
    }
    let pool = pools::telepool(3, 1);
    let account = pools::account(&pool);
    let (deadpool, bb8) = (pools::deadpool(3), pools::bb8(3).await);
    let (fast_pool, mobc) = (pools::fast_pool(3), pools::mobc(3));
    let slices = rounds(effort, &NAMES, async |which, time| match which {
        0 => with_greedy!(account, time, |it| it.acquire()),
        1 => with_greedy!(deadpool, time, |it| it.get()),
        2 => with_greedy!(bb8, time, |it| it.get()),
        3 => with_greedy!(fast_pool, time, |it| it.get()),
        _ => with_greedy!(mobc, time, |it| it.get()),
    })
    .await;
    report.add(Row::new(title, &NAMES, &slices, "deadpool", true));
}

/// How many of 64 tasks were never served while all hold their lease for a millisecond.
macro_rules! starved {
    ($pool:expr, $time:expr, |$it:ident| $op:expr) => {{
        let served: Arc<Vec<AtomicU64>> = Arc::new((0..64).map(|_| AtomicU64::new(0)).collect());
        let mut running = JoinSet::new();
        for number in 0..64 {
            let (pool, served) = ($pool.clone(), Arc::clone(&served));
            running.spawn(async move {
                let $it = &pool;
                loop {
                    let held = $op.await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    served[number].fetch_add(1, Ordering::Relaxed);
                    drop(held);
                }
            });
        }
        crate::effort::rest($time);
        running.abort_all();
        while running.join_next().await.is_some() {}
        served.iter().filter(|served| served.load(Ordering::Relaxed) == 0).count()
    }};
}

pub(crate) async fn across_a_timer(effort: Effort, report: &mut Report) {
    let title = "never served, of 64 tasks that hold across a timer";
    if !report.wants(title) {
        return;
    }
    // Enough that each of 64 could be served ten times.
    let time = effort.slice * 4;
    let pool = pools::telepool(3, 1);
    let account = pools::account(&pool);
    let (deadpool, bb8) = (pools::deadpool(3), pools::bb8(3).await);
    let (fast_pool, mobc) = (pools::fast_pool(3), pools::mobc(3));
    report.count(
        title,
        vec![
            (NAMES[0], starved!(account, time, |it| it.acquire())),
            (NAMES[1], starved!(deadpool, time, |it| it.get())),
            (NAMES[2], starved!(bb8, time, |it| it.get())),
            (NAMES[3], starved!(fast_pool, time, |it| it.get())),
            (NAMES[4], starved!(mobc, time, |it| it.get())),
        ],
    );
}
