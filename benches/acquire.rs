//! Acquire and release of one task, with deadpool beside it in the same run.

#![allow(missing_docs, clippy::unwrap_used, reason = "the macros of criterion document nothing")]

use criterion::{Criterion, criterion_group, criterion_main};
use telepool::{AccountId, NoopManager, Pool};

struct Nothing;

impl deadpool::managed::Manager for Nothing {
    type Type = ();
    type Error = std::convert::Infallible;

    async fn create(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn recycle(
        &self,
        (): &mut (),
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Self::Error> {
        Ok(())
    }
}

fn one_task(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("one_task");

    let pool = {
        let _runtime = runtime.enter();
        Pool::builder(NoopManager::new(3)).build().unwrap()
    };
    let account = AccountId::bot(1).unwrap();
    let handle = pool.account(account).unwrap();
    group.bench_function("telepool_borrowed", |bencher| {
        bencher.to_async(&runtime).iter(async || drop(handle.acquire().await.unwrap()));
    });
    group.bench_function("telepool_owned", |bencher| {
        bencher.to_async(&runtime).iter(async || drop(handle.acquire_owned().await.unwrap()));
    });
    group.bench_function("telepool_by_account", |bencher| {
        bencher.to_async(&runtime).iter(async || drop(pool.acquire(account).await.unwrap()));
    });

    let peer: deadpool::managed::Pool<Nothing> = deadpool::managed::Pool::builder(Nothing)
        .max_size(3)
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .unwrap();
    group.bench_function("deadpool", |bencher| {
        bencher.to_async(&runtime).iter(async || drop(peer.get().await.unwrap()));
    });
    group.finish();
}

criterion_group!(benches, one_task);
criterion_main!(benches);
