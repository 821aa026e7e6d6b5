//! Measurement of an acquire's instructions (callgrind), by the number of accounts.
//!
//! Owns the run of valgrind that counts the loop of `acquire_loop`. Counts are the same on every run of a build,
//! whatever else the machine does: what an acquire does by time, which valgrind stretches, is taken off them.

use std::io;
use std::process::Stdio;

use tokio::process::Command;

use super::part::Part;
use crate::bench::processes::{ProcessRunner, temporary_folder};
use crate::failure::Failure;

/// Instructions are counted in the function whose name has this in it, and in all that it calls.
const COUNTED: &str = "*counted_acquires*";
/// What an acquire does by time: it looks whether its task owes others a turn.
const BY_TIME: &str = "coop::must_yield";
const TURNS: u64 = 5_000;

/// The instructions of an acquire with lookup and its release, or `None` without valgrind.
pub(super) async fn per_acquire(
    runner: &ProcessRunner,
    accounts: u64,
) -> Result<Option<f64>, Failure> {
    if !is_there().await? {
        return Ok(None);
    }
    let folder = temporary_folder()?;
    let out = folder.path().join("callgrind");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(runner.program())
        .args(Part::Acquires { accounts, turns: TURNS }.arguments());
    let (status, _) = runner.run(command, "", "valgrind").await?;
    if !status.success() {
        return Err(Failure::broken(format!("valgrind failed: {status}")));
    }
    let text = std::fs::read_to_string(&out)
        .map_err(|error| Failure::broken(format!("valgrind has written nothing: {error}")))?;
    match total(&text).and_then(|count| count.checked_sub(within(&text, BY_TIME))) {
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

/// What a file of callgrind's says of a function and of all that it calls.
fn within(text: &str, function: &str) -> u64 {
    // A name stands where it comes first, and its number after that; the cost of a call stands in
    // the line below that of the call.
    let (mut number, mut is_called, mut is_cost, mut total) = (None, false, false, 0);
    for line in text.lines() {
        if std::mem::take(&mut is_cost) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            total += cost.unwrap_or(0);
        } else if let Some((kind, name)) = line.split_once("fn=") {
            if name.ends_with(function) {
                number = name.split(' ').next();
            }
            is_called = kind == "c" && number.is_some() && name.split(' ').next() == number;
        } else {
            is_cost = is_called && line.starts_with("calls=");
        }
    }
    total
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

    #[test]
    fn what_a_function_and_its_callees_took_is_read() {
        let text = "fn=(1) acquire\n1 5\ncfn=(2) pool::turn\ncalls=3 50\n1 700\n1 2\n\
                    cfn=(3) lease\ncalls=1 9\n1 40\n\nfn=(2)\n5 100\ncfn=(4) pool::turn::{{closure}}\ncalls=1 1\n5 600\n\n\
                    fn=(5) other\ncfn=(2)\ncalls=1 50\n2 30\n";
        assert_eq!(within(text, "pool::turn"), 730);
        assert_eq!(within(text, "nothing"), 0);
    }
}
