//! Loom models of the registry's lists, without a pool.

use std::sync::Arc;

use super::*;
use crate::base::sync::Mutex;

/// An account of a model: it has a connection, or a dial under way, or neither.
struct Model {
    membership: Membership,
    has_connection: AtomicU64,
    dials: Mutex<bool>,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            membership: Membership::default(),
            has_connection: AtomicU64::new(0),
            dials: Mutex::new(false),
        })
    }
}

impl Member for Model {
    type Evicted = ();

    fn id(&self) -> AccountId {
        AccountId::bot(1).expect("an id")
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn is_closed(&self) -> bool {
        false
    }

    fn is_empty(&self, _: Tick) -> bool {
        false
    }

    fn is_at_rest(&self, _: Tick) -> bool {
        !*self.dials.lock()
    }

    fn has_connections(&self) -> bool {
        self.has_connection.load(Ordering::Relaxed) == 1
    }

    fn has_idle(&self) -> bool {
        self.has_connections()
    }

    fn evict_idle(&self) -> Option<()> {
        // An exchange, as the claim of a connection is: it reads the latest.
        (self.has_connection.swap(0, Ordering::Relaxed) == 1).then_some(())
    }

    fn count_removal(&self) {}
}

/// An account that stands in a queue from before, has lost its connection since, and opens one meanwhile.
fn opens_meanwhile() -> (Arc<Model>, Arc<EvictionQueue<Model>>, loom::thread::JoinHandle<()>) {
    let (account, queue) = (Model::new(), Arc::new(EvictionQueue::new()));
    queue.add(&account);
    let opener = {
        let (account, queue) = (Arc::clone(&account), Arc::clone(&queue));
        loom::thread::spawn(move || {
            account.has_connection.store(1, Ordering::Relaxed);
            // A change of another bit continues the release sequence.
            assert!(account.membership.active().list());
            queue.add(&account);
        })
    };
    (account, queue, opener)
}

#[test]
fn model_an_account_that_opens_a_connection_is_not_lost_from_the_eviction_queue() {
    loom::model(|| {
        let (_account, queue, opener) = opens_meanwhile();
        let evicted = queue.evict_idle().is_some();
        drop(opener.join());
        assert!(evicted || queue.evict_idle().is_some(), "nobody will find the connection");
        assert!(queue.len() <= 1, "the account stands in the queue twice");
    });
}

#[test]
fn model_a_prune_leaves_an_account_that_opens_a_connection() {
    loom::model(|| {
        let (_account, queue, opener) = opens_meanwhile();
        queue.prune();
        drop(opener.join());
        assert_eq!(queue.len(), 1, "lost, or there twice");
    });
}

#[test]
fn model_an_active_account_is_in_the_active_set_once() {
    loom::model(|| {
        let account = Model::new();
        let set = Arc::new(ActiveSet::new());
        // It stands there from before, and is at rest by now.
        set.add(&account);
        let adder = {
            let (account, set) = (Arc::clone(&account), Arc::clone(&set));
            loom::thread::spawn(move || {
                *account.dials.lock() = true;
                set.add(&account);
            })
        };
        set.for_each(0, |_| {});
        drop(adder.join());
        let mut seen = 0;
        set.for_each(0, |_| seen += 1);
        assert_eq!(seen, 1, "missed for good, or counted twice");
    });
}
