//! What a subscriber of `tracing` sees of an acquire, a dial, a check and a call.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use telepool::Pool;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::*;
use crate::listening::listen;

/// Writes down each span with its fields.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl<S: tracing::Subscriber> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut line = attributes.metadata().name().to_owned();
        attributes.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn spans_name_the_work_and_mask_the_account() {
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _guard = listen(subscriber);
    let Bench { data_centre: _data_centre, manager } = bench([]).await;
    let pool = Pool::builder(manager)
        .configure(|config| config.pool.check_after_idle = Duration::from_millis(10))
        .build()
        .unwrap();
    let account = pool.account(OWN).unwrap();
    account.invoke(&myself()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    account.invoke(&myself()).await.unwrap();
    assert_eq!(pool.close().await.still_open, 0);
    let seen = seen.0.lock().unwrap().clone();
    for span in [
        "acquire account=+9996****01",
        "dial account=+9996****01 slot=0",
        "check account=+9996****01 slot=0",
        "call account=+9996****01 slot=0 method=\"updates.getState\"",
    ] {
        assert!(seen.iter().any(|line| line == span), "{span}: {seen:?}");
    }
    let call = "call account=+9996****01 slot=0 method=\"users.getUsers\"";
    // Two of ours, and between them that of the check.
    assert_eq!(seen.iter().filter(|line| *line == call).count(), 3, "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains(&OWN.number().to_string())));
}
