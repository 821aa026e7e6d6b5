//! Who reads updates, and what a connection knows of its end with and without them.

use telepool::{CloseReason, Event, Pool};

use super::*;

#[tokio::test]
async fn updates_reach_the_subscriber_and_the_missed_ones_are_counted() {
    let bench = bench(1);
    let mut updates = bench.manager.subscribe(3);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Update);
    for _ in 0..5 {
        connection.invoke(&GetNearestDc {}).await.unwrap();
    }
    // The updates and the answers take different ways.
    until(|| bench.manager.updates_missed() >= 2).await;
    let update = updates.recv().await.unwrap();
    assert_eq!((update.account, update.slot), (account(), 0));
    drop(updates);
    connection.invoke(&GetNearestDc {}).await.unwrap();
    assert!(!bench.manager.is_broken(&connection));
}

#[tokio::test]
async fn after_a_panic_of_whoever_reads_updates_they_count_as_missed_until_another_comes() {
    let bench = bench(1);
    let mut updates = bench.manager.subscribe(3);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Update);
    let reads = tokio::spawn(async move {
        panic!("over {:?}", updates.recv().await.unwrap().account);
    });
    connection.invoke(&GetNearestDc {}).await.unwrap();
    let ended: Result<(), _> = reads.await;
    assert!(ended.unwrap_err().is_panic());
    connection.invoke(&GetNearestDc {}).await.unwrap();
    until(|| bench.manager.updates_missed() > 0).await;
    // The connection goes on bringing them, so that the next reader misses no more.
    let mut updates = bench.manager.subscribe(3);
    connection.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(updates.recv().await.unwrap().account, account());
    assert!(!bench.manager.is_broken(&connection));
}

#[tokio::test]
async fn updates_that_nobody_reads_harm_nothing() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Update);
    for _ in 0..200 {
        connection.invoke(&GetNearestDc {}).await.unwrap();
    }
    assert!(!bench.manager.is_broken(&connection));
    assert_eq!(bench.manager.updates_missed(), 0);
}

#[tokio::test]
async fn a_connection_learns_that_the_server_has_hung_up_whoever_reads_updates() {
    for is_read in [false, true] {
        let bench = bench(1);
        let updates = is_read.then(|| bench.manager.subscribe(10));
        let connection = bench.connect().await.unwrap();
        assert!(!bench.manager.is_broken(&connection));
        bench.server.hang_up();
        until(|| bench.manager.is_broken(&connection)).await;
        let after = connection.invoke(&GetNearestDc {}).await.unwrap_err();
        assert!(matches!(after, TelegramError::NotSent), "{after}");
        drop(updates);
        drop(bench.connect().await.unwrap());
        bench.quiet().await;
        assert_eq!((bench.accepted(), bench.server.violations()), (2, 0));
    }
}

#[tokio::test]
async fn a_connection_from_before_the_subscription_works_and_is_to_be_replaced() {
    let bench = bench(1);
    let before = bench.connect().await.unwrap();
    let mut updates = bench.manager.subscribe(10);
    until(|| bench.manager.is_broken(&before)).await;
    bench.server.decide::<GetNearestDc>(Reply::Update);
    before.invoke(&GetNearestDc {}).await.unwrap();
    bench.manager.close(&before).await;
    assert!(updates.try_recv().is_err(), "it brings none");
    let after = bench.connect().await.unwrap();
    after.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(updates.recv().await.unwrap().account, account());
    assert!(!bench.manager.is_broken(&after));
}

#[tokio::test]
async fn a_subscription_while_a_connection_opens_is_in_time() {
    let bench = bench(1);
    let mut connecting = pin!(bench.connect());
    // Begun, and nobody else has had a turn on this thread.
    let begun = std::future::poll_fn(|context| Poll::Ready(connecting.as_mut().poll(context)));
    assert!(begun.await.is_pending());
    let mut updates = bench.manager.subscribe(10);
    let connection = connecting.await.unwrap();
    assert!(!bench.manager.is_broken(&connection));
    bench.server.decide::<GetNearestDc>(Reply::Update);
    connection.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!(updates.recv().await.unwrap().account, account());
}

#[tokio::test]
async fn a_connection_learns_of_its_end_also_if_the_queue_of_its_updates_is_full() {
    let mut settings = settings();
    settings.updates_capacity = std::num::NonZeroUsize::MIN;
    let bench = bench_with(1, settings);
    let _updates = bench.manager.subscribe(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::LastWords);
    connection.client().invoke(&GetNearestDc {}).await.unwrap_err();
    until(|| bench.manager.is_broken(&connection)).await;
}

#[tokio::test]
async fn a_bot_whose_connection_is_closed_loses_updates_and_the_loss_is_told() {
    for is_read in [false, true] {
        let Bench { manager, server, .. } = bench(1);
        let updates = is_read.then(|| manager.subscribe(10));
        let pool = Pool::builder(manager).build().unwrap();
        let mut events = pool.events();
        drop(pool.acquire(account()).await.unwrap());
        pool.close_account(account()).await;
        quiet(&server).await;
        drop(pool);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::UpdatesInterrupted { account, reason } = event {
                told.push((account, reason));
            }
        }
        let expected = [(account(), CloseReason::Requested)];
        assert_eq!(told, &expected[..usize::from(is_read)]);
        drop(updates);
    }
}
