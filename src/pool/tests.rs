//! What a pool asks of its registry.

use std::time::Duration;

use crate::account_id::AccountId;
use crate::noop::NoopManager;
use crate::pool::Pool;

#[tokio::test(start_paused = true)]
async fn a_scrape_visits_an_account_only_while_it_is_active() {
    let pool = Pool::builder(NoopManager::new(1)).build().expect("a pool");
    let visits = || {
        let mut visits = 0;
        let now = pool.context().clock.tick();
        pool.inner.registry.for_each_active(now, |_| visits += 1);
        visits
    };
    let id = AccountId::bot(1).expect("an account");
    let account = pool.account(id).expect("known");
    assert_eq!(visits(), 0, "it is merely known");
    drop(account.acquire().await.expect("a lease"));
    assert_eq!((visits(), visits()), (1, 1), "it has a connection");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!((visits(), visits()), (1, 0), "the last visit finds it at rest");
    drop(account.acquire().await.expect("a lease"));
    assert_eq!(visits(), 1, "it has a connection again");
}
