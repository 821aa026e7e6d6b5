//! Acquire, hold and release on one account, by one task and by many.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use telepool::{Account, Pool};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::pools::{self, Nothing};
use crate::report::{Report, Row};
use crate::slice::Slice;

/// What a borrower does with its lease.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    Nothing,
    /// Lets another task run, so that the others really wait.
    Yield,
}

impl Hold {
    pub(crate) async fn pass(self) {
        match self {
            Self::Nothing => {}
            Self::Yield => tokio::task::yield_now().await,
        }
    }
}

/// Runs tasks that all do the same until the time is up. `$op` acquires; its value is held.
macro_rules! contend {
    ($pool:expr, $tasks:expr, $hold:expr, $time:expr, $timed:expr, |$it:ident| $op:expr) => {{
        let over = Arc::new(AtomicBool::new(false));
        let begin = Arc::new(Barrier::new($tasks + 1));
        let mut running = JoinSet::new();
        for _ in 0..$tasks {
            let (pool, over, begin) = ($pool.clone(), Arc::clone(&over), Arc::clone(&begin));
            let (hold, timed): (Hold, bool) = ($hold, $timed);
            running.spawn(async move {
                let (mut count, mut waits) = (0_u64, Vec::new());
                let $it = &pool;
                begin.wait().await;
                while !over.load(Ordering::Relaxed) {
                    // A load of the flag is cheap; a clock twice for each is not.
                    for _ in 0..16 {
                        let asked = timed.then(Instant::now);
                        let held = $op.await.unwrap();
                        if let Some(asked) = asked {
                            waits.push(asked.elapsed().as_nanos() as u64);
                        }
                        hold.pass().await;
                        drop(held);
                        count += 1;
                    }
                }
                (count, waits)
            });
        }
        begin.wait().await;
        let began = Instant::now();
        crate::effort::rest($time);
        over.store(true, Ordering::Relaxed);
        let ended = running.join_all().await;
        Slice::of(&ended, began.elapsed())
    }};
}
pub(crate) use contend;

/// Every pool, for one account with so many connections.
struct Pools {
    _telepool: Pool<Nothing>,
    account: Account<Nothing>,
    deadpool: deadpool::managed::Pool<Nothing>,
    bb8: bb8::Pool<Nothing>,
    fast_pool: fast_pool::Pool<Nothing>,
    mobc: mobc::Pool<Nothing>,
}

const NAMES: [&str; 6] =
    ["telepool, borrowed", "telepool, owned", "deadpool", "bb8", "fast_pool", "mobc"];

impl Pools {
    async fn new(size: u16) -> Self {
        let pool = pools::telepool(size, 1);
        Self {
            account: pools::account(&pool),
            _telepool: pool,
            deadpool: pools::deadpool(size.into()),
            bb8: pools::bb8(size.into()).await,
            fast_pool: pools::fast_pool(size.into()),
            mobc: pools::mobc(size.into()),
        }
    }

    async fn slice(
        &self,
        which: usize,
        tasks: usize,
        hold: Hold,
        time: Duration,
        timed: bool,
    ) -> Slice {
        match which {
            0 => contend!(self.account, tasks, hold, time, timed, |it| it.acquire()),
            1 => contend!(self.account, tasks, hold, time, timed, |it| it.acquire_owned()),
            2 => contend!(self.deadpool, tasks, hold, time, timed, |it| it.get()),
            3 => contend!(self.bb8, tasks, hold, time, timed, |it| it.get()),
            4 => contend!(self.fast_pool, tasks, hold, time, timed, |it| it.get()),
            _ => contend!(self.mobc, tasks, hold, time, timed, |it| it.get()),
        }
    }
}

/// Runs a case in rounds; the pools take turns, and each begins as often as any other.
pub(crate) async fn rounds(
    effort: Effort,
    names: &[&'static str],
    mut slice: impl AsyncFnMut(usize, Duration) -> Slice,
) -> Vec<Vec<Slice>> {
    let mut all = vec![Vec::new(); names.len()];
    for which in 0..names.len() {
        slice(which, effort.slice / 4).await;
    }
    for round in 0..effort.rounds {
        for turn in 0..names.len() {
            let which = (round + turn) % names.len();
            all[which].push(slice(which, effort.slice).await);
        }
    }
    all
}

pub(crate) async fn one_account(effort: Effort, report: &mut Report) {
    floors(effort, report);
    for (tasks, hold, title) in [
        (1, Hold::Nothing, "one task"),
        (2, Hold::Nothing, "2 tasks, little waiting"),
        (8, Hold::Nothing, "8 tasks, little waiting"),
        (64, Hold::Nothing, "64 tasks, little waiting"),
        (8, Hold::Yield, "8 tasks that wait"),
        (64, Hold::Yield, "64 tasks that wait"),
        (1024, Hold::Yield, "1,024 tasks that wait"),
    ] {
        if !report.wants(title) {
            continue;
        }
        let pools = Pools::new(3).await;
        // Who really waits is timed one by one; who does not would be slowed down by that.
        let timed = matches!(hold, Hold::Yield);
        let slices = rounds(effort, &NAMES, async |which, time| {
            pools.slice(which, tasks, hold, time, timed).await
        })
        .await;
        report.add(Row::new(title, &NAMES, &slices, "deadpool", timed));
    }
}

/// 64 tasks on 32 leases: of one connection, of 32, and of deadpool's 32.
pub(crate) async fn shared(effort: Effort, report: &mut Report) {
    const CASES: [&str; 3] = [
        "telepool, 1 connection x 32 leases",
        "telepool, 32 connections x 1 lease",
        "deadpool, 32",
    ];
    let pools = [pools::telepool(1, 32), pools::telepool(32, 1)];
    let [shared, exclusive] = [&pools[0], &pools[1]].map(pools::account);
    let deadpool = pools::deadpool(32);
    for (hold, title) in [
        (Hold::Nothing, "64 tasks on 32 leases, little waiting"),
        (Hold::Yield, "64 tasks on 32 leases that wait"),
    ] {
        if !report.wants(title) {
            continue;
        }
        let slices = rounds(effort, &CASES, async |which, time| match which {
            0 => contend!(shared, 64, hold, time, false, |it| it.acquire()),
            1 => contend!(exclusive, 64, hold, time, false, |it| it.acquire()),
            _ => contend!(deadpool, 64, hold, time, false, |it| it.get()),
        })
        .await;
        report.add(Row::new(title, &CASES, &slices, CASES[2], false));
    }
}

/// What cannot be undercut: a queue, two exchanges.
fn floors(effort: Effort, report: &mut Report) {
    if !report.wants("floors: a bare queue, bare compare-and-swaps") {
        return;
    }
    let queue = ArrayQueue::new(3);
    for value in 0..3_u64 {
        queue.push(value).unwrap();
    }
    let word = std::sync::atomic::AtomicU64::new(0);
    report.floor(
        "pop and push of a bare ArrayQueue",
        time(effort, || {
            let value = queue.pop().unwrap();
            queue.push(black_box(value)).unwrap();
        }),
    );
    report.floor(
        "two compare-and-swaps on a bare word",
        time(effort, || {
            let _ = word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            let _ = word.compare_exchange(1, 0, Ordering::SeqCst, Ordering::Relaxed);
        }),
    );
}

/// The least that some slices took, in nanoseconds for each turn.
pub(crate) fn time(effort: Effort, mut turn: impl FnMut()) -> f64 {
    let slices = (0..effort.rounds).map(|_| {
        let (began, mut turns) = (Instant::now(), 0_u64);
        while began.elapsed() < effort.slice / 4 {
            (0..1000).for_each(|_| turn());
            turns += 1000;
        }
        began.elapsed().as_nanos() as f64 / turns as f64
    });
    slices.fold(f64::MAX, f64::min)
}
