//! The sandbox data centre, with clients that keep no rule or all of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod disconnect;
mod hostile;
mod observer;
mod protocol;
pub(crate) mod raw;
mod stock;
mod updates;
mod wire;

use std::time::Duration;

use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use telepool::session::SessionRecord;
use telepool::telegram::client::tl::{enums, functions, types};
use telepool::telegram::text_message;

pub(crate) const OWN: AccountId = match AccountId::phone(9_996_621_001) {
    Ok(account) => account,
    Err(_) => panic!("it is a phone number"),
};
pub(crate) const OTHER: AccountId = match AccountId::bot(77) {
    Ok(account) => account,
    Err(_) => panic!("it is a bot"),
};

/// A data centre with two accounts.
pub(crate) struct Bench {
    pub(crate) data_centre: DataCentre,
    pub(crate) records: Vec<SessionRecord>,
}

pub(crate) async fn bench(rules: impl IntoIterator<Item = FaultRule>) -> Bench {
    let mut options = DataCentreOptions::default();
    options.faults = FaultPlan::new(rules).unwrap();
    let data_centre = DataCentre::start(options).await.unwrap();
    let mut records = data_centre.create_sessions(OWN, 2, None);
    records.extend(data_centre.create_sessions(OTHER, 1, None));
    Bench { data_centre, records }
}

impl Bench {
    fn record(&self, account: AccountId, slot: u16) -> &SessionRecord {
        let is_it = |it: &&SessionRecord| it.account == account && it.slot == slot;
        self.records.iter().find(is_it).unwrap()
    }

    /// Waits until the data centre has seen every connection end.
    pub(crate) async fn quiet(&self) {
        wait_until("every connection has ended", || self.data_centre.stats().connections == 0)
            .await;
    }
}

pub(crate) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came to pass that {what}");
}

pub(crate) fn myself() -> functions::users::GetUsers {
    functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }
}

pub(crate) fn message_to(peer: enums::InputPeer) -> functions::messages::SendMessage {
    text_message(peer, "a word", fastrand::i64(1..))
}

#[tokio::test]
async fn what_no_sandbox_may_be_is_refused() {
    let mut options = DataCentreOptions::default();
    options.listen = "0.0.0.0:0".parse().unwrap();
    let error = DataCentre::start(options).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    let mut options = DataCentreOptions::default();
    options.dc = 6;
    assert!(DataCentre::start(options).await.unwrap_err().to_string().contains("1 to 5"));
    let first = DataCentre::start(DataCentreOptions::default()).await.unwrap();
    let mut options = DataCentreOptions::default();
    options.listen = first.address();
    let error = DataCentre::start(options).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

pub(crate) fn record(records: &[SessionRecord]) -> &SessionRecord {
    &records[0]
}
