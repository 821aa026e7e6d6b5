//! What is handed on, what is counted, and what is told of.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

use super::*;

fn update() -> AccountUpdate {
    let account = AccountId::bot(1).unwrap();
    AccountUpdate { account, slot: 0, update: UpdatesLike::MalformedUpdates }
}

#[test]
fn what_a_full_subscriber_misses_is_counted() {
    let (channel, north) = (UpdateChannel::default(), Arc::from("north"));
    channel.deliver(update(), &north);
    assert_eq!(channel.dropped(), 0, "nobody asked for it");
    assert!(!channel.has_subscriber());
    let mut receiver = channel.subscribe(2);
    for _ in 0..5 {
        channel.deliver(update(), &north);
    }
    channel.deliver(update(), &Arc::from("south"));
    let by_group = [(Arc::clone(&north), 3), (Arc::from("south"), 1)];
    assert_eq!((channel.dropped(), channel.dropped_by_group()), (4, by_group.to_vec()));
    assert!(receiver.try_recv().is_ok());
    assert!(channel.has_subscriber());
    drop(receiver);
    assert!(!channel.has_subscriber());
    channel.deliver(update(), &north);
    assert_eq!(channel.dropped(), 4, "nobody listens any more");
}

/// Keeps what is told at the level of errors.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words(&mut self.0.lock()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

/// What is told while whoever reads these panics over the first.
fn told_of_a_panic(mut updates: AccountUpdates) -> String {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        // Another test may have come by here before there was anybody to listen. With a second
        // subscriber in the process, tracing asks both of them and not the thread that comes by.
        let _beside = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
        tracing::callsite::rebuild_interest_cache();
        let reads = AssertUnwindSafe(move || {
            updates.try_recv().ok();
            panic!("as it was told");
        });
        let ended: Result<(), _> = catch_unwind(reads);
        ended.unwrap_err();
    });
    log.0.lock().clone()
}

#[test]
fn a_panic_of_whoever_reads_is_told_and_what_comes_after_it_counts_as_dropped() {
    let (channel, shop) = (UpdateChannel::default(), Arc::from("shop"));
    let updates = channel.subscribe(2);
    let account = AccountId::phone(442_079_460_958).unwrap();
    channel
        .deliver(AccountUpdate { account, slot: 1, update: UpdatesLike::MalformedUpdates }, &shop);
    let told = told_of_a_panic(updates);
    assert!(told.contains("whoever reads the updates has panicked"), "{told}");
    assert!(told.contains("+4420******58 slot 1") && !told.contains("442079460958"), "{told}");
    assert!(channel.has_subscriber(), "it is missed");
    channel.deliver(update(), &shop);
    assert_eq!(channel.dropped(), 1);
    // The next one is told apart from it.
    let mut next = channel.subscribe(2);
    channel.deliver(update(), &shop);
    assert!(next.try_recv().is_ok());
    assert_eq!(channel.dropped(), 1);
}

#[test]
fn a_reader_that_was_replaced_or_given_up_is_missed_by_nobody() {
    let (channel, shop) = (UpdateChannel::default(), Arc::from("shop"));
    let before = channel.subscribe(2);
    let now = channel.subscribe(2);
    assert_eq!(told_of_a_panic(before), "");
    assert!(channel.has_subscriber());
    drop(now);
    assert!(!channel.has_subscriber());
    channel.deliver(update(), &shop);
    assert_eq!(channel.dropped(), 0);
}
