//! Messages that made-up users write to the accounts of a sandbox, so that there are updates to see.
//!
//! Owns their pace. What becomes of them is the sandbox's business.

use std::time::Duration;

use telepool::AccountId;
use telepool::sandbox::DataCentre;

use crate::clock::now;
use crate::signals::Stop;

/// How often those are written that are due.
const STEP: Duration = Duration::from_millis(10);

/// Writes so many messages a second, each to an account that is drawn by the seed, until the end is asked for.
pub(crate) async fn write(
    data_centre: DataCentre,
    accounts: Vec<AccountId>,
    rate: u32,
    seed: u64,
    mut stop: Stop,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (started, mut written) = (now(), 0);
    while !accounts.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = stop.requested() => return,
        }
        let due = started.elapsed().as_millis() * u128::from(rate) / 1000;
        // After a halt no more than those of a second are made up for.
        written = written.max(due.saturating_sub(rate.into()));
        while written < due {
            written += 1;
            let account = accounts[random.usize(..accounts.len())];
            data_centre.post_message(account, &format!("message {written}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use telepool::sandbox::DataCentreOptions;

    use super::*;
    use crate::signals;

    #[tokio::test(start_paused = true)]
    async fn the_accounts_get_what_the_rate_says_and_nothing_after_the_end() {
        let data_centre = DataCentre::start(DataCentreOptions::default()).await.unwrap();
        let accounts = [1, 2].map(|number| AccountId::bot(number).unwrap());
        for account in accounts {
            data_centre.create_sessions(account, 1, None);
        }
        let (stopper, stop) = signals::pair();
        let writing = write(data_centre.clone(), accounts.to_vec(), 50, 7, stop);
        let ending = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            stopper.request();
        };
        tokio::join!(writing, ending);
        let written = accounts.map(|it| data_centre.update_counts(it).unwrap().common_kept);
        assert!(written.iter().all(|count| *count > 50), "{written:?}");
        assert!((199..=200).contains(&written.iter().sum::<usize>()), "{written:?}");
    }
}
