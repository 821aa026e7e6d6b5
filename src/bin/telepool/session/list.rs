//! `telepool session list`: one line for each session.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use telepool::store::{SessionStore as _, SqliteStore, StoreId, StoredAccount, StoredSession};

use super::{StoreArguments, served, shown_name, unusable};
use crate::failure::Failure;
use crate::stdout;
use crate::table::Table;

/// The head of the table.
const HEAD: [&str; 9] =
    ["account", "#slot", "key id", "#dc", "from", "group", "proxy", "last login", "state"];

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Only accounts of this group.
    #[arg(long)]
    group: Option<String>,
    /// Only sessions that are quarantined.
    #[arg(long)]
    quarantined: bool,
    /// Only sessions of which nobody knows whose they are.
    #[arg(long)]
    unidentified: bool,
    /// Prints one JSON object for each session, on a line of its own.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    let accounts = accounts(&store)?;
    let mut rows = Vec::new();
    store
        .sessions(None, &mut |session| {
            let Some(account) = accounts.get(&session.account) else { return };
            let row = SessionRow::of(account, &session);
            if arguments.shows(&row) {
                rows.push(row);
            }
        })
        .map_err(unusable)?;
    if arguments.json {
        for row in &rows {
            let line = serde_json::to_string(row).expect("BUG: texts always make JSON");
            stdout::print(&(line + "\n"))?;
            if stdout::is_abandoned() {
                break;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(by) = served::by_whom(&store)? {
        say!("telepool: the store is served by {by}");
    }
    if rows.is_empty() {
        stdout::print("no session\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&HEAD);
    rows.iter().for_each(|row| table.push(row.cells()));
    stdout::print(&table.to_string())?;
    Ok(ExitCode::SUCCESS)
}

impl ListArguments {
    fn shows(&self, row: &SessionRow) -> bool {
        self.group.as_ref().is_none_or(|group| row.group.as_ref() == Some(group))
            && (!self.quarantined || row.quarantine.is_some())
            && (!self.unidentified || row.account.is_none())
    }
}

/// The accounts of the store by their numbers in it.
pub(super) fn accounts(store: &SqliteStore) -> Result<HashMap<StoreId, StoredAccount>, Failure> {
    let mut accounts = HashMap::new();
    store
        .accounts_since(0, &mut |account| drop(accounts.insert(account.id, account)))
        .map_err(unusable)?;
    Ok(accounts)
}

/// One session as it is shown.
#[derive(Serialize)]
pub(super) struct SessionRow {
    account: Option<String>,
    slot: u16,
    key_id: String,
    user_id: Option<i64>,
    is_bot: Option<bool>,
    dc: i32,
    address: String,
    test_mode: bool,
    origin: Option<&'static str>,
    group: Option<String>,
    proxy: Option<String>,
    api_id: Option<i32>,
    device: Option<String>,
    created: u64,
    login_at: Option<u64>,
    quarantine: Option<&'static str>,
    quarantined_at: Option<u64>,
    remedy: Option<&'static str>,
}

impl SessionRow {
    pub(super) fn of(account: &StoredAccount, session: &StoredSession) -> Self {
        let quarantine = session.quarantine.map(|(reason, _)| reason);
        Self {
            account: account.name().map(|_| shown_name(account)),
            slot: session.slot,
            key_id: session.key_id.to_string(),
            user_id: account.user_id,
            is_bot: account.is_bot,
            dc: session.dc,
            address: session.address.to_string(),
            test_mode: session.test_mode,
            origin: session.origin.map(telepool::import::Origin::label),
            group: account.group.as_deref().map(str::to_owned),
            proxy: session.proxy.clone(),
            api_id: session.api_id,
            device: session.identity.as_ref().map(|it| it.device_model.clone()),
            created: session.created,
            login_at: session.login_at,
            quarantine: quarantine.map(telepool::QuarantineReason::label),
            quarantined_at: session.quarantine.map(|(_, at)| at),
            remedy: quarantine.map(telepool::QuarantineReason::remedy),
        }
    }

    fn cells(&self) -> [String; 9] {
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        [
            self.account.clone().unwrap_or_else(|| "unidentified".to_owned()),
            self.slot.to_string(),
            self.key_id.clone(),
            format!("{}{}", self.dc, if self.test_mode { " test" } else { "" }),
            or_dash(self.origin),
            or_dash(self.group.as_deref()),
            or_dash(self.proxy.as_deref()),
            self.login_at.map_or_else(|| "never here".to_owned(), day),
            self.state(),
        ]
    }

    /// What it is good for.
    fn state(&self) -> String {
        match (self.quarantine, &self.account) {
            (Some(reason), _) => reason.to_owned(),
            (None, None) => "to be checked".to_owned(),
            (None, Some(_)) if self.login_at.is_none() => "new".to_owned(),
            (None, Some(_)) => "good".to_owned(),
        }
    }
}

/// The day of a time in seconds since 1970.
pub(super) fn day(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

impl SessionRow {
    /// Names and values, for whoever looks at one session.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("session", format!("slot {}, key {}", self.slot, self.key_id)),
            ("from", format!("{}, added {}", self.origin.unwrap_or("-"), day(self.created))),
            ("centre", {
                let test = if self.test_mode { ", of the test servers" } else { "" };
                format!("{} at {}{test}", self.dc, self.address)
            }),
        ];
        if let Some(proxy) = &self.proxy {
            lines.push(("proxy", proxy.clone()));
        }
        let api_id = self.api_id.map_or_else(|| "of the process".to_owned(), |id| id.to_string());
        lines.push(("api id", api_id));
        lines.push(("device", self.device.clone().unwrap_or_else(|| "of the process".to_owned())));
        lines.push(("last login", self.login_at.map_or_else(|| "never here".to_owned(), day)));
        let state = match (self.quarantined_at, self.remedy) {
            (Some(at), Some(remedy)) => format!("{} since {}: {remedy}", self.state(), day(at)),
            _ => self.state(),
        };
        lines.push(("state", state));
        lines
    }
}
