//! `telepool state`: list and lift the quarantines in the file of `--state`.
//!
//! Owns the view of an operator on it. Phone numbers are shown in full: whoever asks for them has to
//! find the account. Never changes a file that a run holds.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use telepool::ownership::Holder;
use telepool::session::KeyId;
use telepool::telegram::{Quarantine, QuarantineFileError, lift_quarantines, read_quarantines};
use telepool::{AccountId, QuarantineReason};

use crate::columns::wrapped;
use crate::failure::Failure;
use crate::stdout;
use crate::table::Table;

/// The head of the table. With the longest phone number and reason a row just fits a terminal; what can be
/// done stands below, once for each reason.
const HEAD: [&str; 5] = ["account", "slot", "key id", "reason", "since"];

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Shows each quarantine, and what can be done about it.
    List(ListArguments),
    /// Lifts quarantines, so that the next run dials these sessions again.
    Reinstate(ReinstateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The file that `serve --state` keeps.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Prints one JSON array on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
// As one line it would be longer than a terminal's.
#[command(override_usage = "telepool state reinstate --state <FILE> <ACCOUNT[/SLOT]>\n       \
                            telepool state reinstate --state <FILE> --key-id <HEX>\n       \
                            telepool state reinstate --state <FILE> --all")]
#[command(group(ArgGroup::new("which").required(true).args(["session", "key_id", "all"])))]
pub(crate) struct ReinstateArguments {
    /// The file that `serve --state` keeps.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// The account, as +442079460958 or bot:123456, and with /SLOT one session of it.
    #[arg(value_name = "ACCOUNT[/SLOT]", value_parser = session)]
    session: Option<(AccountId, Option<u16>)>,
    /// The key, as `telepool state list` shows it.
    #[arg(long, value_name = "HEX")]
    key_id: Option<KeyId>,
    /// Every session.
    #[arg(long)]
    all: bool,
}

impl ReinstateArguments {
    fn is_meant(&self, quarantine: &Quarantine) -> bool {
        let is_session = self.session.is_some_and(|(account, slot)| {
            quarantine.account == account && slot.is_none_or(|slot| quarantine.slot == slot)
        });
        self.all || is_session || self.key_id == Some(quarantine.key_id)
    }
}

/// An account, or one session of it.
pub(crate) fn session(text: &str) -> Result<(AccountId, Option<u16>), String> {
    let (account, slot) = match text.split_once('/') {
        None => (text, None),
        Some((account, slot)) => {
            let slot = slot.parse().map_err(|_| "the slot is a number from 0 to 63".to_owned())?;
            (account, Some(slot))
        }
    };
    Ok((account.parse().map_err(|error: telepool::ParseAccountError| error.to_string())?, slot))
}

/// How a command ends that cannot use the file.
pub(crate) fn failure(error: &QuarantineFileError) -> Failure {
    let text = format!("--state {error}");
    match error {
        QuarantineFileError::InUse { .. } => Failure::held(text),
        _ => Failure::refused(text),
    }
}

/// The same where there has to be a file.
fn unreadable(path: &Path, error: &QuarantineFileError) -> Failure {
    match error {
        QuarantineFileError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            let path = path.display();
            Failure::refused(format!(
                "--state {path}: there is no such file: name the one that serve --state keeps"
            ))
        }
        error => failure(error),
    }
}

pub(crate) fn run(command: &StateCommand) -> Result<ExitCode, Failure> {
    match command {
        StateCommand::List(arguments) => list(arguments),
        StateCommand::Reinstate(arguments) => reinstate(arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let path = &arguments.state;
    let quarantines = read_quarantines(path).map_err(|error| unreadable(path, &error))?;
    let text = if arguments.json {
        let shown: Vec<Shown> = quarantines.iter().map(Shown::of).collect();
        serde_json::to_string(&shown).expect("BUG: texts always make JSON") + "\n"
    } else if quarantines.is_empty() {
        "no session is quarantined\n".to_owned()
    } else {
        table(&quarantines)
    };
    stdout::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn reinstate(arguments: &ReinstateArguments) -> Result<ExitCode, Failure> {
    let path = &arguments.state;
    let lifted = lift_quarantines(path, |quarantine| arguments.is_meant(quarantine));
    let lifted = lifted.map_err(|error| match &error {
        QuarantineFileError::InUse { path, holder } => in_use(path, holder.as_ref()),
        error => unreadable(path, error),
    })?;
    if lifted.is_empty() {
        return Err(nothing_lifted(path));
    }
    stdout::print(&format!("lifted {}:\n{}", lifted.len(), table(&lifted)))?;
    Ok(ExitCode::SUCCESS)
}

/// What to do about a file that a run holds. Another file, as it would do for a run, is of no use to whoever
/// wants to lift what stands in this one.
fn in_use(path: &Path, holder: Option<&Holder>) -> Failure {
    let path = path.display();
    let holder = holder.map_or_else(|| "another process".to_owned(), Holder::to_string);
    Failure::held(format!(
        "--state {path} is held by {holder}, which would not hear of it: end that process first, lift the \
         quarantine, and start it again (telepool state list --state {path} works meanwhile)"
    ))
}

/// Why nothing was lifted: there was nothing, or something else.
fn nothing_lifted(path: &Path) -> Failure {
    let is_empty = read_quarantines(path).is_ok_and(|quarantines| quarantines.is_empty());
    let path = path.display();
    Failure::broken(match is_empty {
        true => format!("no session is quarantined in {path}: there is nothing to lift"),
        false => format!(
            "no quarantine in {path} is of that session: telepool state list --state {path} shows \
             which there are"
        ),
    })
}

/// One quarantine as JSON.
#[derive(Serialize)]
struct Shown {
    account: String,
    slot: u16,
    key_id: String,
    reason: &'static str,
    since: u64,
    since_utc: String,
    remedy: &'static str,
}

impl Shown {
    fn of(quarantine: &Quarantine) -> Self {
        Self {
            account: quarantine.account.reveal().to_string(),
            slot: quarantine.slot,
            key_id: quarantine.key_id.to_string(),
            reason: quarantine.reason.label(),
            since: quarantine.since,
            since_utc: quarantine.since_utc(),
            remedy: quarantine.reason.remedy(),
        }
    }
}

/// The quarantines, and what can be done about each kind of them.
fn table(quarantines: &[Quarantine]) -> String {
    let mut table = Table::new(&HEAD);
    for it in quarantines.iter().map(Shown::of) {
        let row = [it.account, it.slot.to_string(), it.key_id, it.reason.to_owned(), it.since_utc];
        table.push(row);
    }
    let mut text = table.to_string();
    text.push('\n');
    for reason in QuarantineReason::ALL {
        if quarantines.iter().any(|quarantine| quarantine.reason == reason) {
            text.push_str(&wrapped(&format!("{reason}: {}", reason.remedy()), "  "));
            text.push('\n');
        }
    }
    text
}
