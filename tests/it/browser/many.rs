//! A pool of 100,000 accounts that needs no network, and its page, until whoever started it goes.
//!
//! It is served by the test's own program, as a process in the namespace of the browser that reads it.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use telepool::http::{self, Access, Panel, Scope};
use telepool::{AccountId, Config, Manager, Pool, Profile};
use tokio::net::TcpListener;

/// Set where this is the process that serves.
const SERVES: &str = "SERVES_MANY_ACCOUNTS";
const ACCOUNTS: u64 = 100_000;
const CONNECTED: u64 = 1_000;
const HELD: u64 = 200;
const QUARANTINED: u64 = 30;
const GROUPS: u64 = 50;
const FIRST: u64 = 1_000_000;

#[derive(Debug)]
struct Crowd;

impl Manager for Crowd {
    type Connection = ();
    type Error = std::io::Error;

    fn profile(&self, account: AccountId) -> Option<Profile> {
        let mut profile = Profile::new(2);
        profile.group = Arc::from(format!("team-{:02}", account.number() % GROUPS));
        Some(profile)
    }

    async fn connect(&self, _account: AccountId, _slot: u16) -> std::io::Result<()> {
        Ok(())
    }
}

fn account(number: u64) -> AccountId {
    AccountId::bot(FIRST + number).unwrap()
}

/// Takes a connection of one after the other, for as long as it runs.
async fn traffic(pool: Pool<Crowd>) {
    for number in (HELD..CONNECTED).cycle() {
        let lease = pool.acquire(account(number)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(lease);
    }
}

async fn serve() {
    let mut config = Config::default();
    config.set("dial.per_second", "1000").unwrap();
    let pool = Pool::builder(Crowd).config(config).build().unwrap();
    for number in 0..ACCOUNTS {
        pool.account(account(number)).unwrap();
    }
    let mut held = Vec::new();
    for number in 0..CONNECTED {
        let lease = pool.acquire(account(number)).await.unwrap();
        if number < HELD {
            held.push(lease);
        }
    }
    // Of the last, so that no page begins with them.
    for number in ACCOUNTS - QUARANTINED..ACCOUNTS {
        assert!(pool.quarantine(account(number)));
    }
    let mut access = Access::default();
    (access.name, access.scopes) = (Arc::from("tester"), vec![Scope::Read]);
    let panel = Panel::new(&pool).unwrap().access(access);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gone = async {
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.ok();
    };
    let working = tokio::spawn(traffic(pool.clone()));
    eprintln!("the page is on http://{address}");
    http::serve(listener, panel.router(), gone).await.unwrap();
    working.abort();
}

/// Runs the scenes, which start this test again to serve what they look at.
pub(super) fn run(name: &str, scenes: impl Fn(&[(&str, &str)])) {
    if std::env::var_os(SERVES).is_none() {
        let program = std::env::current_exe().unwrap();
        return scenes(&[("MANY_PROGRAM", program.to_str().unwrap()), ("MANY_TEST", name)]);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(serve());
}
