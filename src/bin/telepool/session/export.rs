//! `telepool session export`: a session of the store, as another program has it.
//!
//! Owns what has to be so before a key is shown: that it was asked for in words, and that nobody serves the session
//! meanwhile. What it shows goes to standard output alone, or into a new file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use telepool::export::{self, ExportFormat, SessionExportError};
use telepool::import::{FoundSession, Origin};
use telepool::session::KeyId;
use telepool::store::{SessionStore as _, SqliteStore, StoredAccount, StoredSession};
use zeroize::Zeroizing;

use super::{StoreArguments, WhichSessions, served, shown_name, unusable};
use crate::failure::Failure;
use crate::session_source::CheckedSessions;
use crate::stdout;

#[derive(Debug, Args)]
#[command(override_usage = "telepool session export [OPTIONS] --format <FORMAT>\n       \
                            --reveal <ACCOUNT[/SLOT]|--key-id <HEX>>")]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    which: WhichSessions,
    /// As which program has it.
    #[arg(long)]
    format: FormatArgument,
    /// Writes it into this file, which must not be there yet and is made for this user alone. The libraries look for
    /// a name that ends in `.session`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Yes, show the key: whoever reads it is the account, without any password.
    #[arg(long)]
    reveal: bool,
    /// Exports it also while a process serves the store: only if the other program stays stopped until that process
    /// has ended.
    #[arg(long)]
    although_served: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArgument {
    /// The string of Telethon's StringSession.
    Telethon,
    /// The session string of Pyrogram 2 and of its descendants, which dial Telegram's own addresses.
    Pyrogram,
    /// Telethon's file, with the users and chats that the account has met and how far its updates are read.
    TelethonFile,
    /// Pyrogram's file, with the users and chats that the account has met.
    PyrogramFile,
}

impl FormatArgument {
    const fn is_file(self) -> bool {
        matches!(self, Self::TelethonFile | Self::PyrogramFile)
    }

    const fn format(self) -> ExportFormat {
        match self {
            Self::Telethon | Self::TelethonFile => ExportFormat::Telethon,
            Self::Pyrogram | Self::PyrogramFile => ExportFormat::Pyrogram,
        }
    }
}

pub(crate) fn run(arguments: &ExportArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    let (account, sessions) = arguments.which.find(&store)?;
    let session = only(&account, sessions)?;
    let name = format!("{} slot {}", shown_name(&account), session.slot);
    if arguments.format.is_file() && arguments.out.is_none() {
        return Err(Failure::refused(
            "this format is a file: name it with --out NAME.session, or export a string",
        ));
    }
    if !arguments.reveal {
        let whither = arguments.out.as_ref().map_or_else(
            || "standard output".to_owned(),
            |path| format!("the file {}", path.display()),
        );
        return Err(Failure::refused(format!(
            "{name}: its key {} would be written to {whither}, and whoever reads that is the account. From then on \
             the session must not be served here while another program uses it. Add --reveal to do it",
            session.key_id
        )));
    }
    if session.quarantine.is_none() && !arguments.although_served {
        refuse_served(&store)?;
    }
    let found = found(&store, &account, &session, arguments.format.is_file())?;
    write(arguments, &found)?;
    tell(&name, &session, arguments.out.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// The session that is meant. An account of several has to be asked for by slot: each is a login of its own.
fn only(
    account: &StoredAccount,
    mut sessions: Vec<StoredSession>,
) -> Result<StoredSession, Failure> {
    match (sessions.pop(), sessions.is_empty()) {
        (Some(session), true) => Ok(session),
        (last, _) => {
            sessions.extend(last);
            let slots: Vec<String> = sessions.iter().map(|it| it.slot.to_string()).collect();
            Err(Failure::refused(format!(
                "{} has several sessions: name one of the slots {} behind the account, as ACCOUNT/SLOT",
                shown_name(account),
                slots.join(", ")
            )))
        }
    }
}

fn refuse_served(store: &SqliteStore) -> Result<(), Failure> {
    let Some(by) = served::by_whom(store)? else { return Ok(()) };
    Err(Failure::held(format!(
        "the store is served by {by}, and Telegram voids a session that two programs use at once: end that process \
         first, or quarantine the account in it (telepool ctl quarantine), or add --although-served if the other \
         program is not started before it has ended"
    )))
}

/// A session with all that a format may have of it.
fn found(
    store: &SqliteStore,
    account: &StoredAccount,
    session: &StoredSession,
    with_peers: bool,
) -> Result<FoundSession, Failure> {
    // The record is only asked for its key, whatever the account is called.
    let name = account.name().unwrap_or_else(|| CheckedSessions::name(0));
    let record = store.record(account.id, session.slot, name).map_err(unusable)?;
    let record = record
        .filter(|record| KeyId::of(&record.key) == session.key_id)
        .ok_or_else(|| Failure::broken("the session has just gone"))?;
    let origin = session.origin.unwrap_or(Origin::Lines);
    let mut found = FoundSession::new(origin, session.dc, record.key);
    found.address = Some(session.address);
    found.test_mode = Some(session.test_mode);
    found.user_id = account.user_id;
    found.is_bot = account.is_bot;
    found.phone = account.phones.first().copied();
    found.api_id = session.api_id;
    if with_peers {
        store.peers(account.id, &mut |peer| found.peers.push(peer)).map_err(unusable)?;
        let states = store.update_states(account.id).map_err(unusable)?;
        found.update_state = states.account;
        found.channel_states = states.channels;
    }
    Ok(found)
}

fn write(arguments: &ExportArguments, found: &FoundSession) -> Result<(), Failure> {
    let format = arguments.format.format();
    let out = arguments.out.as_deref();
    if let Some(path) = out.filter(|_| arguments.format.is_file()) {
        return export::file(found, format, path).map_err(unwritten);
    }
    let text = export::string(found, format).map_err(unwritten)?;
    if let Some(path) = out {
        return export::text_file(&text, path).map_err(unwritten);
    }
    // A line that is whole goes out without a copy in between.
    let mut line = Zeroizing::new(String::with_capacity(text.len() + 1));
    line.push_str(&text);
    line.push('\n');
    stdout::print(&line)
}

/// How the command ends when nothing was written.
fn unwritten(error: SessionExportError) -> Failure {
    match error {
        SessionExportError::Io { .. } | SessionExportError::Database { .. } => {
            Failure::broken(error.to_string())
        }
        SessionExportError::Exists { .. } => Failure::refused(format!("--out {error}")),
        error => Failure::refused(error.to_string()),
    }
}

/// Says what has to be kept in mind from now on.
fn tell(name: &str, session: &StoredSession, out: Option<&Path>) {
    if let Some(path) = out {
        say!("telepool: {name}, key {}, is in {}", session.key_id, path.display());
    }
    say!(
        WARN "telepool: from now on two programs have this session, and one of them must stay stopped: Telegram \
         voids a login that is used at two places at once. To move it away for good, remove it here: telepool \
         session remove --key-id {}", session.key_id
    );
}
