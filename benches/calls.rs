//! What the pool adds to a call: a ping on a warm connection, on the bare client and by way of
//! the pool, in the same run and over the same data centre.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::SessionRecord;
use telepool::telegram::client::tl::functions::Ping;
use telepool::telegram::{Engine, MemorySource, TelegramManager, TelegramSettings};
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
            sender.send([1, 2, 3].map(create_sessions).concat()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

fn manager(record: &SessionRecord, engine: Engine) -> TelegramManager<MemorySource> {
    let source = MemorySource::new([record.clone()]).unwrap();
    let mut settings = TelegramSettings::new(1);
    settings.engine = engine;
    TelegramManager::new(source, settings)
}

fn calls(criterion: &mut Criterion) {
    let sessions = sessions();
    let runtime = runtime();
    let ping = Ping { ping_id: 1 };
    let mut group = criterion.benchmark_group("warm call");

    let bare = manager(&sessions[0], Engine::Grammers);
    let connection = runtime.block_on(bare.connect(sessions[0].account, 0)).unwrap();
    let client = connection.client();
    group.bench_function("bare grammers client", |bencher| {
        bencher.to_async(&runtime).iter(async || client.invoke(&ping).await.unwrap());
    });
    for (record, engine) in sessions[1..].iter().zip([Engine::Grammers, Engine::Wire]) {
        let pool = async { Pool::builder(manager(record, engine)).build() };
        let pool = runtime.block_on(pool).unwrap();
        let account = pool.account(record.account).unwrap();
        group.bench_function(format!("acquire, call, release over {engine}"), |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let lease = account.acquire().await.unwrap();
                lease.invoke(&ping).await.unwrap()
            });
        });
        runtime.block_on(pool.close());
    }
    group.finish();
    runtime.block_on(bare.close(&connection));
}

criterion_group!(benches, calls);
criterion_main!(benches);
