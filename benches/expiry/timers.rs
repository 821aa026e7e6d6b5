//! The wheel, `DelayQueue` and a scan at the same work, in turns.
//!
//! Owns the work: entries like those of the pool, due at random within `SPAN`. A scan is what the
//! replaced class did: each cleanup walks every connection of every account.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use telepool::AccountId;
use tokio::time::Instant as Virtual;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::allocator::ALLOCATOR;
use crate::table::{Contender, Row, Table};
use crate::wheel::Wheel;

const ROUNDS: usize = 5;
/// `cleanup_interval` and `max_idle_time` as they are by default, in milliseconds.
const INTERVAL: u64 = 60_000;
const SPAN: u64 = 300_000;
/// The ticks until everything due within `SPAN` is out.
const TICKS: u64 = SPAN / INTERVAL + 1;
/// So far ahead, in milliseconds, that the wheel goes round before anything is due.
const FAR: u64 = 570 * INTERVAL;
/// Ticks without anything due: past a round of the wheel, and up to the last hour before `FAR`.
const EMPTY_TICKS: u64 = 565;
const PER_ACCOUNT: u32 = 3;

/// As much as an entry of the pool's reaper.
#[derive(Clone, Copy)]
struct Entry {
    account: AccountId,
    id: u64,
    look: u64,
}

impl Entry {
    fn new(number: u32, look: u64) -> Self {
        let account = account(number / PER_ACCOUNT);
        Self { account, id: number.into(), look }
    }

    fn look_at(self) -> u64 {
        black_box(self.account);
        black_box(self.id ^ self.look)
    }
}

/// What the replaced class keeps of a connection.
struct Record {
    id: u64,
    created: u64,
    last_used: u64,
}

fn account(number: u32) -> AccountId {
    AccountId::phone(79_160_000_000 + u64::from(number)).unwrap()
}

pub(crate) async fn compare(count: u32, table: &mut Table) {
    let dues: Vec<u64> = (0..count).map(|_| fastrand::u64(1..=SPAN)).collect();
    let mut work = Work {
        insert: Row::new("insert", "ns each", Some(200.0)),
        rearm: Row::new("re-arm: take out what is due, insert it again", "ns each", Some(200.0)),
        reset: Row::new("re-arm in place, before it is due", "ns each", None),
        expire: Row::new("expire", "ns each", Some(200.0)),
        empty: Row::new("a tick of 60 s with nothing due", "ms", Some(1.0)),
        worst: Row::new("the longest of 565 ticks with nothing due", "ms", Some(1.0)),
        bytes: Row::new("memory", "bytes each", None),
    };
    for _ in 0..ROUNDS {
        of_the_wheel(&dues, &mut work);
        tokio::task::unconstrained(of_the_queue(&dues, &mut work)).await;
        of_a_scan(&dues, &mut work);
    }
    let Work { insert, rearm, reset, expire, empty, worst, bytes } = work;
    table.extend([insert, rearm, reset, expire, empty, worst, bytes]);
}

struct Work {
    insert: Row,
    rearm: Row,
    reset: Row,
    expire: Row,
    empty: Row,
    worst: Row,
    bytes: Row,
}

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Nanoseconds per item.
fn each(took: Duration, items: usize) -> f64 {
    took.as_secs_f64() * 1e9 / items as f64
}

/// Puts the median and the longest of ticks with nothing due, in milliseconds.
fn put_empty(work: &mut Work, contender: Contender, mut ticks: Vec<Duration>) {
    ticks.sort_unstable();
    let ms = |tick: Duration| tick.as_secs_f64() * 1000.0;
    work.empty.add(contender, ms(ticks[ticks.len() / 2]));
    work.worst.add(contender, ms(ticks[ticks.len() - 1]));
}

fn numbered(dues: &[u64]) -> impl Iterator<Item = (u32, u64)> {
    (0..).zip(dues.iter().copied())
}

fn of_the_wheel(dues: &[u64], work: &mut Work) {
    let before = in_use();
    let mut wheel = Wheel::new(INTERVAL, 0);
    let began = Instant::now();
    for (number, due) in numbered(dues) {
        wheel.insert(due, Entry::new(number, due));
    }
    work.insert.add(Contender::Wheel, each(began.elapsed(), dues.len()));
    work.bytes.add(Contender::Wheel, (in_use() - before) as f64 / dues.len() as f64);

    let began = Instant::now();
    for tick in 1..=TICKS {
        for entry in wheel.advance(tick * INTERVAL).into_iter().flatten() {
            let look = entry.look + SPAN + INTERVAL;
            wheel.insert(look, Entry { look, ..entry });
        }
    }
    work.rearm.add(Contender::Wheel, each(began.elapsed(), dues.len()));

    let (began, mut out) = (Instant::now(), 0);
    for tick in TICKS + 1..=3 * TICKS {
        for entry in wheel.advance(tick * INTERVAL).into_iter().flatten() {
            black_box(entry.look_at());
            out += 1;
        }
    }
    work.expire.add(Contender::Wheel, each(began.elapsed(), dues.len()));
    assert_eq!((out, wheel.len()), (dues.len(), 0), "everything came out");

    let mut wheel = Wheel::new(INTERVAL, 0);
    for (number, due) in numbered(dues) {
        wheel.insert(FAR + due, Entry::new(number, due));
    }
    let ticks = (1..=EMPTY_TICKS).map(|tick| {
        let began = Instant::now();
        assert!(wheel.advance(tick * INTERVAL).is_empty());
        began.elapsed()
    });
    put_empty(work, Contender::Wheel, ticks.collect());
}

/// Takes out what is due now.
async fn next_due(queue: &mut DelayQueue<Entry>) -> Option<Entry> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match queue.poll_expired(context) {
            std::task::Poll::Ready(expired) => expired.map(|expired| expired.into_inner()),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

async fn of_the_queue(dues: &[u64], work: &mut Work) {
    let ms = Duration::from_millis;
    let before = in_use();
    let mut queue = DelayQueue::new();
    let start = Virtual::now();
    let mut keys: Vec<Key> = Vec::with_capacity(dues.len());
    let of_keys = keys.capacity() * size_of::<Key>();
    let began = Instant::now();
    for (number, due) in numbered(dues) {
        keys.push(queue.insert_at(Entry::new(number, due), start + ms(due)));
    }
    work.insert.add(Contender::DelayQueue, each(began.elapsed(), dues.len()));
    let bytes = (in_use() - before - of_keys) as f64 / dues.len() as f64;
    work.bytes.add(Contender::DelayQueue, bytes);

    let began = Instant::now();
    for (key, due) in keys.iter().zip(dues) {
        queue.reset_at(key, start + ms(INTERVAL + due));
    }
    work.reset.add(Contender::DelayQueue, each(began.elapsed(), dues.len()));

    let mut took = Duration::ZERO;
    for _ in 0..=TICKS {
        tokio::time::advance(ms(INTERVAL)).await;
        let began = Instant::now();
        while let Some(entry) = next_due(&mut queue).await {
            let look = entry.look + 2 * SPAN;
            queue.insert_at(Entry { look, ..entry }, start + ms(look));
        }
        took += began.elapsed();
    }
    work.rearm.add(Contender::DelayQueue, each(took, dues.len()));

    let (mut took, mut out) = (Duration::ZERO, 0);
    for _ in 0..2 * TICKS {
        tokio::time::advance(ms(INTERVAL)).await;
        let began = Instant::now();
        while let Some(entry) = next_due(&mut queue).await {
            black_box(entry.look_at());
            out += 1;
        }
        took += began.elapsed();
    }
    work.expire.add(Contender::DelayQueue, each(took, dues.len()));
    assert_eq!((out, queue.len()), (dues.len(), 0), "everything came out");

    let (mut queue, start) = (DelayQueue::new(), Virtual::now());
    for (number, due) in numbered(dues) {
        queue.insert_at(Entry::new(number, due), start + ms(FAR + due));
    }
    let mut ticks = Vec::new();
    for _ in 0..EMPTY_TICKS {
        tokio::time::advance(ms(INTERVAL)).await;
        let began = Instant::now();
        assert!(next_due(&mut queue).await.is_none());
        ticks.push(began.elapsed());
    }
    put_empty(work, Contender::DelayQueue, ticks);
}

fn of_a_scan(dues: &[u64], work: &mut Work) {
    let before = in_use();
    let pools: DashMap<AccountId, Vec<Record>, foldhash::fast::RandomState> = DashMap::default();
    let began = Instant::now();
    for (number, due) in numbered(dues) {
        let record = Record { id: number.into(), created: due, last_used: due };
        pools.entry(account(number / PER_ACCOUNT)).or_default().push(record);
    }
    work.insert.add(Contender::Scan, each(began.elapsed(), dues.len()));
    work.bytes.add(Contender::Scan, (in_use() - before) as f64 / dues.len() as f64);

    let is_due = |record: &Record, now: u64| now - record.last_used >= 2 * SPAN;
    let ticks = (0..3).map(|tick| {
        let began = Instant::now();
        let now = SPAN + tick;
        let due = pools.iter().map(|pool| pool.iter().filter(|it| is_due(it, now)).count());
        assert_eq!(due.sum::<usize>(), 0);
        began.elapsed()
    });
    put_empty(work, Contender::Scan, ticks.collect());

    let (began, mut out) = (Instant::now(), 0);
    pools.retain(|_, pool| {
        pool.retain(|record| {
            let due = is_due(record, 4 * SPAN);
            out += usize::from(due);
            black_box(record.id ^ record.created);
            !due
        });
        !pool.is_empty()
    });
    work.expire.add(Contender::Scan, each(began.elapsed(), dues.len()));
    assert_eq!((out, pools.len()), (dues.len(), 0), "everything came out");
}
