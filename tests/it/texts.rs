//! Texts of others, however long and whatever stands in them: what is kept, told and logged of them.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telepool::{AccountId, AcquireError, DialError, Event, Manager, Pool, Profile, Reaction};
use tracing::field::{Field, Visit};

use crate::listening::{OnEvent, listen};
use crate::scripted::account;

/// A manager whose errors say what the test says.
struct Wordy {
    text: Arc<str>,
    reaction: Mutex<Reaction>,
    connects: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(Arc<str>);

impl Manager for Wordy {
    type Connection = ();
    type Error = Said;

    fn profile(&self, _: AccountId) -> Option<Profile> {
        Some(Profile::new(1))
    }

    async fn connect(&self, _: AccountId, _: u16) -> Result<(), Said> {
        match self.connects.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(Said(Arc::clone(&self.text))),
        }
    }

    fn react(&self, _: &Said) -> Reaction {
        self.reaction.lock().unwrap().clone()
    }

    fn address(&self, _: AccountId, _: u16) -> Option<Arc<str>> {
        Some(Arc::from("203.0.113.7:443"))
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

/// What a pool tells of errors, by all of its ways.
#[derive(Default)]
struct Told {
    texts: Vec<String>,
    /// Of the errors, to see that each way was gone.
    ways: Vec<&'static str>,
}

impl Told {
    fn note(&mut self, way: &'static str, text: &str) {
        self.ways.push(way);
        self.texts.push(text.to_owned());
    }

    async fn hear(&mut self, pool: &Pool<Wordy>, act: impl AsyncFnOnce()) {
        let mut events = pool.events();
        act().await;
        while let Some(Some(event)) = at_once(events.next()).await {
            match event {
                Event::DialFailed { error, .. } => self.note("dial", &error),
                Event::AddressDown { error, .. } => self.note("address", &error),
                Event::ConnectionError { error, .. } => self.note("call", &error),
                Event::Restricted { error, .. } => self.note("restricted", &error),
                _ => {}
            }
        }
    }
}

/// What a future comes to without a wait.
async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

async fn refused(pool: &Pool<Wordy>, number: u64) -> AcquireError<Said> {
    pool.acquire_timeout(account(number), Duration::from_millis(200)).await.unwrap_err()
}

async fn everything_told(text: &str) -> (Told, String) {
    let logged = Logged::default();
    let log = logged.clone();
    let _listening =
        listen(OnEvent(move |event: &tracing::Event<'_>| event.record(&mut log.clone())));
    let (reaction, connects) = (Mutex::new(Reaction::Discard), AtomicBool::new(false));
    let wordy = Wordy { text: Arc::from(text), reaction, connects };
    let pool = Pool::builder(wordy).build().unwrap();
    let manager = pool.manager();
    let react = |reaction| *manager.reaction.lock().unwrap() = reaction;
    let mut told = Told::default();
    let mut refusals = Vec::new();
    told.hear(&pool, async || {
        // A pause is of random length, and may be over before the patience of the next one.
        while !matches!(refusals.last(), Some(AcquireError::Resting { .. })) {
            refusals.push(refused(&pool, 1).await);
        }
        for number in 2..=8 {
            refusals.push(refused(&pool, number).await);
        }
    })
    .await;
    for refusal in &refusals {
        match refusal {
            AcquireError::Resting { last_dial_error: Some(text), .. } => told.note("rest", text),
            AcquireError::Dial(DialError::Unreachable(down)) => told.note("down", &down.last_error),
            _ => {}
        }
    }
    manager.connects.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let lease = pool.acquire(account(1)).await.unwrap();
    told.hear(&pool, async || {
        for reaction in [Reaction::Keep, Reaction::Restricted, Reaction::TripBreaker] {
            react(reaction);
            lease.report(&Said(Arc::from(text)));
        }
    })
    .await;
    let stats = pool.account_stats(account(1)).unwrap();
    told.note("kept", stats.connections[0].last_error.as_deref().unwrap());
    drop(lease);
    pool.close().await;
    let logged = logged.0.lock().unwrap().clone();
    (told, logged)
}

#[tokio::test(start_paused = true)]
async fn of_an_error_of_any_length_the_beginning_is_kept_told_and_logged() {
    let (Told { texts, mut ways }, logged) = everything_told(&"x".repeat(10_000_000)).await;
    assert!(texts.iter().all(|it| *it == "x".repeat(500) + "…"), "{ways:?}");
    ways.sort_unstable();
    ways.dedup();
    assert_eq!(ways, ["address", "call", "dial", "down", "kept", "rest", "restricted"]);
    assert!(logged.contains("a dial failed"), "{logged}");
    assert!(!logged.contains(&"x".repeat(501)));
}

#[tokio::test(start_paused = true)]
async fn no_error_begins_a_line_or_colours_what_follows() {
    let forged = "EVIL\n2026-11-28T00:00:00Z  WARN forged \u{1b}[31mred";
    let (Told { texts, ways }, logged) = everything_told(forged).await;
    let told = "EVIL\\n2026-11-28T00:00:00Z  WARN forged \\u{1b}[31mred";
    assert!(texts.iter().all(|it| it == told), "{ways:?} {texts:?}");
    assert!(logged.contains(told), "{logged}");
    assert!(!logged.contains(char::is_control), "{logged:?}");
}
