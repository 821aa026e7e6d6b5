//! `telepool session show`: everything that the store knows of an account, but for its keys.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use telepool::store::SessionStore as _;

use super::list::{SessionRow, day};
use super::{StoreArguments, WhichSessions, shown_name, unusable};
use crate::failure::Failure;
use crate::logs::escaped;
use crate::stdout;

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    which: WhichSessions,
    /// Prints one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// An account as it is shown.
#[derive(Serialize)]
struct AccountShown {
    account: String,
    names: Vec<String>,
    user_id: Option<i64>,
    is_bot: Option<bool>,
    group: Option<String>,
    peers: u64,
    updates_pts: Option<i32>,
    updates_date: Option<i32>,
    channels: usize,
    sessions: Vec<SessionRow>,
}

pub(crate) fn run(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    let (account, sessions) = arguments.which.find(&store)?;
    let sessions = sessions.iter().map(|session| SessionRow::of(&account, session)).collect();
    let mut peers = 0;
    store.peers(account.id, &mut |_| peers += 1).map_err(unusable)?;
    let states = store.update_states(account.id).map_err(unusable)?;
    let shown = AccountShown {
        account: shown_name(&account),
        names: account.names().map(|name| name.reveal().to_string()).collect(),
        user_id: account.user_id,
        is_bot: account.is_bot,
        group: account.group.as_deref().map(str::to_owned),
        peers,
        updates_pts: states.account.map(|state| state.pts),
        updates_date: states.account.map(|state| state.date),
        channels: states.channels.len(),
        sessions,
    };
    let text = match arguments.json {
        true => serde_json::to_string(&shown).expect("BUG: texts always make JSON") + "\n",
        false => shown.to_string(),
    };
    stdout::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl std::fmt::Display for AccountShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.is_bot {
            Some(true) => "bot",
            Some(false) => "user",
            None => "not known whether it is a bot",
        };
        writeln!(f, "account     {} ({kind})", self.account)?;
        if self.names.len() > 1 {
            writeln!(f, "names       {}", self.names.join(", "))?;
        }
        if let Some(group) = &self.group {
            writeln!(f, "group       {}", escaped(group))?;
        }
        writeln!(f, "known       {} users and chats", self.peers)?;
        if let (Some(pts), Some(date)) = (self.updates_pts, self.updates_date) {
            let day = day(u64::try_from(date).unwrap_or(0));
            writeln!(f, "updates     read until {day} (pts {pts}), {} channels", self.channels)?;
        }
        self.sessions.iter().try_for_each(|session| write!(f, "\n{session}"))
    }
}

impl std::fmt::Display for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines()
            .into_iter()
            .try_for_each(|(name, value)| writeln!(f, "{name:10}  {}", escaped(&value)))
    }
}
