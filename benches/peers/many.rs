//! Ten thousand accounts, one at random for each acquire, the lookup included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use telepool::AccountId;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::pools::{self, Nothing};
use crate::report::{Report, Row};
use crate::slice::Slice;
use crate::work::{Hold, contend, rounds, time};

const ACCOUNTS: u64 = 10_000;
const TASKS: usize = 64;
const WAYS: [&str; 2] = ["telepool", "DashMap<String, Arc<deadpool>>"];

/// What the replaced code would do with a general pool: one of it for each phone number.
#[derive(Clone)]
struct ByPhone {
    phones: Arc<[String]>,
    pools: Arc<DashMap<String, Arc<deadpool::managed::Pool<Nothing>>>>,
}

impl ByPhone {
    fn new() -> Self {
        let phones: Arc<[String]> =
            (0..ACCOUNTS).map(|number| format!("+{}", 79_160_000_000 + number)).collect();
        let pools = DashMap::new();
        for phone in phones.iter() {
            pools.insert(phone.clone(), Arc::new(pools::deadpool(3)));
        }
        Self { phones, pools: Arc::new(pools) }
    }

    fn any(&self) -> Arc<deadpool::managed::Pool<Nothing>> {
        let phone = &self.phones[fastrand::usize(..self.phones.len())];
        Arc::clone(&self.pools.get(phone).unwrap())
    }
}

pub(crate) async fn ten_thousand_accounts(effort: Effort, report: &mut Report) {
    let title = "10,000 accounts at random, 64 tasks";
    if !report.wants(title) {
        return;
    }
    let pool = pools::telepool(3, 1);
    let by_phone = ByPhone::new();
    let any = || AccountId::phone(79_160_000_000 + fastrand::u64(..ACCOUNTS)).unwrap();
    for number in 0..ACCOUNTS {
        drop(pool.acquire(AccountId::phone(79_160_000_000 + number).unwrap()).await.unwrap());
    }
    let mut bare = Vec::new();
    for _ in 0..100_000 {
        bare.push(any());
    }
    let map: DashMap<AccountId, Arc<u64>, foldhash::fast::RandomState> = DashMap::default();
    (0..ACCOUNTS).for_each(|number| {
        map.insert(AccountId::phone(79_160_000_000 + number).unwrap(), Arc::new(number));
    });
    let mut turn = 0;
    report.floor(
        "lookup and clone in a bare DashMap of 10,000",
        time(effort, || {
            turn = (turn + 1) % bare.len();
            std::hint::black_box(Arc::clone(&map.get(&bare[turn]).unwrap()));
        }),
    );
    let slices = rounds(effort, &WAYS, async |which, time| {
        if which == 0 {
            contend!(pool, TASKS, Hold::Nothing, time, false, |it| it.acquire(any()))
        } else {
            contend!(by_phone, TASKS, Hold::Nothing, time, false, |it| async {
                it.any().get().await
            })
        }
    })
    .await;
    report.add(Row::new(title, &WAYS, &slices, WAYS[1], false));
}
