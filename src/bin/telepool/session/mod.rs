//! `telepool session`: the sessions of a store, from the day they are brought to the day they go.
//!
//! Owns the commands, and which sessions one of them means. Keys are shown by none but `export --reveal`.

mod change;
mod check;
mod export;
mod identity;
mod import;
mod list;
mod outcome;
mod place;
mod remove;
mod served;
mod show;
mod tokens;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use telepool::AccountId;
use telepool::session::KeyId;
use telepool::store::{SessionStore as _, SqliteStore, StoreId, StoredAccount, StoredSession};

use crate::failure::Failure;
use crate::state::session;

pub(crate) use change::{group, proxy};
pub(crate) use identity::IdentityArguments;
pub(crate) use place::{StoreArguments, default_path, unusable};

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Takes sessions of other programs into the store: files, folders, or `-` for standard input.
    Import(Box<import::ImportArguments>),
    /// Lists the sessions of the store.
    List(list::ListArguments),
    /// Shows one account with its sessions.
    Show(show::ShowArguments),
    /// Dials sessions and says of each whether it is logged in, and as whom.
    Check(check::CheckArguments),
    /// Writes a session as Telethon or Pyrogram have it, key and all.
    Export(export::ExportArguments),
    /// Removes sessions with their keys.
    Remove(remove::RemoveArguments),
    /// Lifts quarantines, so that these sessions are dialled again.
    Reinstate(change::ReinstateArguments),
    /// Lists the tokens of bots that are kept for a sign-in, and removes them.
    Tokens(tokens::TokensArguments),
    /// Changes what belongs to sessions: proxy, group, application id, device, address.
    Set(Box<change::SetArguments>),
}

pub(crate) fn run(command: SessionCommand) -> Result<ExitCode, Failure> {
    match command {
        SessionCommand::Import(arguments) => import::run(*arguments),
        SessionCommand::List(arguments) => list::run(&arguments),
        SessionCommand::Show(arguments) => show::run(&arguments),
        SessionCommand::Check(arguments) => check::run(arguments),
        SessionCommand::Export(arguments) => export::run(&arguments),
        SessionCommand::Remove(arguments) => remove::run(&arguments),
        SessionCommand::Reinstate(arguments) => change::reinstate(&arguments),
        SessionCommand::Tokens(arguments) => tokens::run(&arguments),
        SessionCommand::Set(arguments) => change::set(&arguments),
    }
}

/// Which sessions are meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichSessions {
    /// The account, as +442079460958, bot:123456 or user:777000, and with /SLOT one session of it.
    #[arg(value_name = "ACCOUNT[/SLOT]", value_parser = session)]
    account: Option<(AccountId, Option<u16>)>,
    /// The session with this key, as `telepool session list` shows it.
    #[arg(long, value_name = "HEX")]
    key_id: Option<KeyId>,
}

impl WhichSessions {
    /// The account, and the sessions of it that are meant: at least one.
    pub(crate) fn find(
        &self,
        store: &SqliteStore,
    ) -> Result<(StoredAccount, Vec<StoredSession>), Failure> {
        let found = match self.account {
            Some((name, slot)) => {
                let account = store.account(name).map_err(unusable)?;
                let account = account.filter(|account| account.slots > 0).ok_or_else(|| {
                    Failure::refused(format!(
                        "{}: there is no such account in the store: telepool session list shows which there are",
                        name.reveal()
                    ))
                })?;
                let is_meant = |it: &StoredSession| slot.is_none_or(|slot| slot == it.slot);
                let sessions = sessions_of(store, Some(account.id), |_| true)?;
                let slots: Vec<String> = sessions.iter().map(|it| it.slot.to_string()).collect();
                let meant: Vec<_> = sessions.into_iter().filter(is_meant).collect();
                if meant.is_empty() {
                    return Err(Failure::refused(format!(
                        "{} has no such slot: its sessions have {}",
                        name.reveal(),
                        slots.join(", ")
                    )));
                }
                (Some(account), meant)
            }
            None => {
                let sessions = sessions_of(store, None, |it| Some(it.key_id) == self.key_id)?;
                let mut account = None;
                store
                    .accounts_since(0, &mut |it| {
                        if sessions.first().is_some_and(|session| session.account == it.id) {
                            account = Some(it);
                        }
                    })
                    .map_err(unusable)?;
                (account, sessions)
            }
        };
        match found {
            (Some(account), sessions) if !sessions.is_empty() => Ok((account, sessions)),
            _ => Err(Failure::refused(
                "there is no such session in the store: telepool session list shows which there are",
            )),
        }
    }
}

fn sessions_of(
    store: &SqliteStore,
    account: Option<StoreId>,
    is_meant: impl Fn(&StoredSession) -> bool,
) -> Result<Vec<StoredSession>, Failure> {
    let mut sessions = Vec::new();
    store
        .sessions(account, &mut |session| {
            if is_meant(&session) {
                sessions.push(session);
            }
        })
        .map_err(unusable)?;
    Ok(sessions)
}

/// Their keys, by which they are meant whatever becomes of their places.
fn keys_of(sessions: &[StoredSession]) -> Vec<KeyId> {
    sessions.iter().map(|session| session.key_id).collect()
}

/// What an account is called in full; one of which nobody knows who it is has no name.
pub(crate) fn shown_name(account: &StoredAccount) -> String {
    account.name().map_or_else(|| "unidentified".to_owned(), |name| name.reveal().to_string())
}
