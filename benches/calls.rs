//! What the pool adds to a call: a ping on a warm connection, on the bare client and by way of
//! the pool, in the same run and over the same data centre.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::SessionRecord;
use telepool::telegram::client::tl::functions::Ping;
use telepool::telegram::{GrammersManager, MemorySource, TelegramSettings};
use telepool::{AccountId, Manager, Pool};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A data centre on a thread of its own, and a session for each of two accounts.
fn sessions() -> Vec<SessionRecord> {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
            let create_sessions =
                |id| data_centre.create_sessions(AccountId::bot(id).unwrap(), 1, None);
            sender.send([create_sessions(1), create_sessions(2)].concat()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

fn manager(record: &SessionRecord) -> GrammersManager<MemorySource> {
    let source = MemorySource::new([record.clone()]).unwrap();
    GrammersManager::new(source, TelegramSettings::new(1))
}

fn calls(criterion: &mut Criterion) {
    let sessions = sessions();
    let runtime = runtime();
    let ping = Ping { ping_id: 1 };
    let mut group = criterion.benchmark_group("warm call");

    let bare = manager(&sessions[0]);
    let connection = runtime.block_on(bare.connect(sessions[0].account, 0)).unwrap();
    group.bench_function("bare grammers client", |bencher| {
        let client = connection.client();
        bencher.to_async(&runtime).iter(async || client.invoke(&ping).await.unwrap());
    });

    let pool = runtime.block_on(async { Pool::builder(manager(&sessions[1])).build() }).unwrap();
    let account = pool.account(sessions[1].account).unwrap();
    group.bench_function("acquire, call, release", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let lease = account.acquire().await.unwrap();
            lease.invoke(&ping).await.unwrap()
        });
    });
    group.finish();
    runtime.block_on(pool.close());
    runtime.block_on(bare.close(&connection));
}

criterion_group!(benches, calls);
criterion_main!(benches);
