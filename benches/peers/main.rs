//! telepool beside the general pools, with everything on.
//!
//! The same connection type, the same runtime of two workers, the same process; the pools take turns
//! in short slices, and what is told is the ratio to deadpool within a round, so that a noisy
//! machine disturbs all alike. `cargo bench --no-default-features --features metrics --bench peers`
//! prints a table in six minutes; `-- --chart FILE` draws it as well, `-- WORDS` runs the cases that
//! have these words in their title, and `-- --test` makes every slice as short as it can be.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark reads time, divides counts, and fails by panicking"
)]

mod cold;
mod effort;
mod many;
mod pools;
mod report;
mod slice;
mod waiting;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use effort::Effort;
use report::Report;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut effort = Effort { slice: Duration::from_millis(300), rounds: 9, bursts: 3000 };
    let (mut chart, mut words) = (None, String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--test" => {
                effort = Effort { slice: Duration::from_millis(5), rounds: 1, bursts: 20 };
            }
            "--chart" => chart = Some(PathBuf::from(arguments.next().expect("--chart FILE"))),
            "--bench" => {}
            _ if argument.starts_with('-') => panic!("{argument}: --test, --chart FILE, or words"),
            _ => words = argument,
        }
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut report = Report::new(words);
    runtime.block_on(async {
        work::one_account(effort, &mut report).await;
        work::shared(effort, &mut report).await;
        many::ten_thousand_accounts(effort, &mut report).await;
        waiting::polite(effort, &mut report).await;
        waiting::across_a_timer(effort, &mut report).await;
        cold::bursts(effort, &mut report).await;
    });
    print!("{report}");
    if let Some(chart) = chart {
        report.draw(&chart);
    }
}
