//! How many instructions an acquire takes, by the number of accounts.
//!
//! Owns the loop that is counted, and the run of valgrind that counts it. Counts are the same on
//! every run of a build, whatever else the machine does.

use std::io;
use std::process::Stdio;

use telepool::{AccountId, NoopManager, Pool};
use tokio::process::Command;
use tokio::runtime::Runtime;

use super::accounts::{numbered, roomy};
use super::cost::acquire_each;
use super::gauges::broken;
use super::part::Part;
use crate::crew::{Crew, folder};
use crate::failure::Failure;
use crate::serve::runtime;

/// Instructions are counted in the function whose name has this in it, and in all that it calls.
const COUNTED: &str = "*counted_acquires*";
const TURNS: u64 = 5_000;

/// The instructions of an acquire with lookup and its release, or `None` without valgrind.
pub(super) async fn per_acquire(crew: &Crew, accounts: u64) -> Result<Option<f64>, Failure> {
    if !is_there().await? {
        return Ok(None);
    }
    let folder = folder()?;
    let out = folder.path().join("callgrind");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(crew.program())
        .args(Part::Acquires { accounts, turns: TURNS }.arguments());
    let (status, _) = crew.run(command, "", "valgrind").await?;
    if !status.success() {
        return Err(Failure::broken(format!("valgrind failed: {status}")));
    }
    let text = std::fs::read_to_string(&out)
        .map_err(|error| Failure::broken(format!("valgrind has written nothing: {error}")))?;
    match total(&text) {
        Some(count @ 1..) => Ok(Some(count as f64 / TURNS as f64)),
        _ => Err(Failure::broken("valgrind has counted nothing: was the binary stripped?")),
    }
}

async fn is_there() -> Result<bool, Failure> {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().await {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::broken(format!("valgrind cannot be started: {error}"))),
    }
}

/// What a file of callgrind's says of everything that was counted.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

/// Acquires and releases so many times, of random accounts among so many.
pub(super) fn acquire_often(accounts: u64, turns: u64) -> Result<(), Failure> {
    let accounts = numbered(accounts);
    let runtime = runtime()?;
    let pool = {
        let _runtime = runtime.enter();
        Pool::builder(NoopManager::new(3)).config(roomy()).build().map_err(broken)?
    };
    for account in &accounts {
        drop(pool.account(*account).map_err(broken)?);
    }
    let mut random = fastrand::Rng::with_seed(7);
    let turns: Vec<_> = (0..turns).map(|_| accounts[random.usize(..accounts.len())]).collect();
    // Their connections are opened here.
    runtime.block_on(acquire_each(&pool, &turns))?;
    counted_acquires(&runtime, &pool, &turns)
}

/// Its own name in the binary is what the counting goes by. On this thread, while the pool's own
/// tasks are on others.
#[inline(never)]
fn counted_acquires(
    runtime: &Runtime,
    pool: &Pool<NoopManager>,
    turns: &[AccountId],
) -> Result<(), Failure> {
    runtime.block_on(acquire_each(pool, turns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_file_is_read() {
        let text = "events: Ir\nfn=(1) a\n1 5\n\ntotals: 12345\n";
        assert_eq!(total(text), Some(12_345));
        assert_eq!(total("events: Ir\n"), None);
    }
}
