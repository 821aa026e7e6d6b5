//! Who listens to updates, and what a connection knows of its end with and without it.

use telepool::telegram::{
    ListenError, Overflow, SessionSource as _, TryRecvError, UpdateStream, UpdatesOptions,
};
use telepool::{CloseReason, Event, Pool};

use super::*;

type Telegram = Pool<TelegramManager<MemorySource>>;

fn pool_of(manager: TelegramManager<MemorySource>) -> Telegram {
    Pool::builder(manager).build().unwrap()
}

fn dropped(pool: &Telegram) -> u64 {
    pool.manager().metrics().unwrap().update_losses().iter().map(|(_, losses)| losses.dropped).sum()
}

/// Waits until a connection of the account brings updates.
async fn listening(pool: &Telegram, server: &Server) -> UpdateStream {
    let updates = pool.updates().unwrap();
    until(|| server.calls::<functions::updates::GetState>() >= 2).await;
    // And knows from where on they are wanted, which is saved.
    until(|| pool.manager().source().update_states(account()).unwrap().is_some()).await;
    updates
}

#[tokio::test]
async fn updates_reach_the_listener_and_the_dropped_ones_are_counted() {
    for (overflow, expected) in [(Overflow::DropOldest, 2), (Overflow::Wait, 0)] {
        let Bench { manager, server, .. } = bench(1);
        let pool = pool_of(manager);
        let mut options = UpdatesOptions::default();
        (options.capacity, options.overflow) = (3, overflow);
        let mut updates = pool.updates_with(&options).unwrap();
        until(|| server.calls::<functions::updates::GetState>() >= 2).await;
        server.decide::<GetNearestDc>(Reply::Update);
        let lease = pool.acquire(account()).await.unwrap();
        for _ in 0..5 {
            lease.invoke(&GetNearestDc {}).await.unwrap();
        }
        until(|| dropped(&pool) == expected).await;
        for _ in 0..5 - expected {
            let update = updates.recv().await.unwrap();
            assert_eq!((update.account, update.slot), (account(), 0));
            assert_eq!(update.update(), Some(&enums::Update::PtsChanged));
        }
        assert_eq!(updates.try_recv().unwrap_err(), TryRecvError::Empty);
    }
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
}

#[tokio::test]
async fn a_connection_learns_that_the_server_has_hung_up_whoever_listens() {
    for is_read in [false, true] {
        let Bench { manager, server, .. } = bench(1);
        let pool = pool_of(manager);
        let updates = match is_read {
            true => Some(listening(&pool, &server).await),
            false => None,
        };
        let lease = pool.acquire(account()).await.unwrap();
        server.hang_up();
        until(|| pool.manager().is_broken(&lease)).await;
        let after = (*lease).invoke(&GetNearestDc {}).await.unwrap_err();
        assert!(matches!(after, TelegramError::NotSent), "{after}");
        drop((lease, updates));
        drop(pool.acquire(account()).await.unwrap());
        pool.close().await;
        quiet(&server).await;
        assert_eq!(server.violations(), 0);
    }
}

#[tokio::test]
async fn a_connection_from_before_the_listening_brings_updates_or_is_replaced() {
    for is_before in [true, false] {
        let Bench { manager, server, .. } = bench(1);
        let pool = pool_of(manager);
        if is_before {
            drop(pool.acquire(account()).await.unwrap());
        }
        let mut updates = listening(&pool, &server).await;
        server.decide::<GetNearestDc>(Reply::Update);
        pool.acquire(account()).await.unwrap().invoke(&GetNearestDc {}).await.unwrap();
        assert_eq!(updates.recv().await.unwrap().account, account());
        // One of the wire brings them from then on.
        let is_replaced = is_before && ENGINE == Engine::Grammers;
        let accepted = server.state.accepted.load(Ordering::SeqCst);
        assert_eq!(accepted, 1 + u64::from(is_replaced));
    }
}

#[tokio::test]
async fn a_connection_learns_of_its_end_also_if_the_queue_of_its_updates_is_full() {
    let mut settings = settings();
    settings.updates_capacity = std::num::NonZeroUsize::MIN;
    let Bench { manager, server, .. } = bench_with(1, settings);
    let pool = pool_of(manager);
    let _updates = listening(&pool, &server).await;
    let lease = pool.acquire(account()).await.unwrap();
    server.decide::<GetNearestDc>(Reply::LastWords);
    lease.client().invoke(&GetNearestDc {}).await.unwrap_err();
    until(|| pool.manager().is_broken(&lease)).await;
}

#[tokio::test]
async fn an_account_that_is_left_without_a_connection_is_told_if_somebody_listens_and_is_dialled_again()
 {
    for is_read in [false, true] {
        let Bench { manager, server, .. } = bench(1);
        let pool = pool_of(manager);
        let mut events = pool.events();
        let updates = match is_read {
            true => Some(listening(&pool, &server).await),
            false => None,
        };
        drop(pool.acquire(account()).await.unwrap());
        pool.close_account(account()).await;
        if is_read {
            until(|| server.calls::<functions::updates::GetDifference>() > 0).await;
        }
        drop(updates);
        pool.close().await;
        drop(pool);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::UpdatesInterrupted { account, reason } = event {
                told.push((account, reason));
            }
        }
        let expected = [(account(), CloseReason::Requested)];
        assert_eq!(told, &expected[..usize::from(is_read)]);
        assert_eq!(server.state.accepted.load(Ordering::SeqCst), 1 + u64::from(is_read));
    }
}

#[tokio::test]
async fn a_connection_that_carries_no_updates_asks_for_none() {
    let Bench { manager, server, .. } = bench(2);
    let pool = pool_of(manager);
    let updates = pool.updates().unwrap();
    until(|| server.subscribed() == 1).await;
    let leases =
        [pool.acquire(account()).await.unwrap(), pool.acquire_fresh(account()).await.unwrap()];
    for lease in &leases {
        lease.invoke(&GetNearestDc {}).await.unwrap();
    }
    assert_ne!(leases[0].slot(), leases[1].slot());
    assert_eq!(server.subscribed(), 1);
    drop(updates);
}

#[tokio::test]
async fn an_account_has_one_reader_at_a_time_and_the_next_comes_when_that_has_gone() {
    let Bench { manager, server, .. } = bench(1);
    let pool = pool_of(manager);
    let handle = pool.account(account()).unwrap();
    let own = handle.updates().unwrap();
    let refused = handle.updates().unwrap_err();
    assert_eq!(refused, ListenError::AlreadyListening { account: account() });
    // A stream of all accounts leaves it alone.
    let mut all = pool.updates().unwrap();
    until(|| server.calls::<functions::updates::GetState>() >= 2).await;
    assert_eq!((own.accounts(), all.accounts()), (1, 0));
    drop(own);
    let mut own = handle.updates().unwrap();
    pool.close().await;
    assert!(own.recv().await.is_none(), "the pool is closed");
    assert_eq!(own.try_recv().unwrap_err(), TryRecvError::Ended);
    drop(pool);
    assert!(all.recv().await.is_none(), "and so is the other's");
}
