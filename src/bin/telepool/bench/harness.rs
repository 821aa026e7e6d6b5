//! A measurement: a data centre of its own, and the process of the way that is measured.
//!
//! Owns how long each may take. Leaves neither behind, however it ends.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::{sleep, timeout};

use super::order::{Order, Outcome, Task, Way};
use super::worker::DRAIN;
use crate::bench::crew::{Crew, DataCentre, Seen, Wanted};
use crate::clock::now;
use crate::failure::Failure;
use crate::status;

/// How long a process may take to come up or to end, beyond what its task takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every measurement is made with.
pub(super) struct Lab {
    crew: Crew,
    world: World,
}

/// What the data centres are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) accounts: u32,
    pub(super) sessions_per_account: u16,
    pub(super) latency: Duration,
    pub(super) seed: u64,
}

/// What a measurement came to, by the way and by the data centre.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) outcome: Outcome,
    pub(super) data_centre: Seen,
}

impl Lab {
    pub(super) fn new(world: World, crew: Crew) -> Self {
        Self { crew, world }
    }

    /// Has one way carry out one task, and nothing else meanwhile.
    pub(super) async fn measure(&self, way: Way, task: Task) -> Result<Measured, Failure> {
        let World { accounts, sessions_per_account, latency, seed } = self.world;
        let longest = task.duration() + DRAIN + PATIENCE * 3;
        let wanted = Wanted { accounts, sessions_per_account, latency, seed, longest };
        let data_centre = DataCentre::start(&self.crew, wanted).await?;
        let sessions = data_centre.sessions().to_owned();
        let outcome = self.carry_out(&Order { way, task, sessions, latency, seed }).await;
        // Before anything else is done about a failure: the data centre must not be left behind.
        let seen = data_centre.end().await;
        Ok(Measured { outcome: outcome?, data_centre: seen? })
    }

    async fn carry_out(&self, order: &Order) -> Result<Outcome, Failure> {
        let line = serde_json::to_string(order).expect("BUG: an order always makes JSON") + "\n";
        let (name, duration) = (order.way.to_string(), order.task.duration());
        let limit = duration + DRAIN + PATIENCE;
        let outcome = timeout(limit, self.crew.ask(["bench-way".to_owned()], &line, &name));
        tokio::select! {
            outcome = outcome => outcome.unwrap_or_else(|_| {
                Err(Failure::broken(format!("{name} has not ended within {limit:?}")))
            }),
            () = show(self.crew.line(), duration) => unreachable!("BUG: the line is shown for ever"),
        }
    }
}

/// Moves the line on as time passes; never returns.
async fn show(line: &ProgressBar, duration: Duration) {
    let (before, begun) = (line.position(), now());
    loop {
        let passed = begun.elapsed().min(duration);
        line.set_position(before + u64::try_from(passed.as_millis()).unwrap_or(0));
        sleep(status::STEP).await;
    }
}
