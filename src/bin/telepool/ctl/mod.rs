//! `telepool ctl`: looks into a running pool, and operates it.
//!
//! Owns the operations of the command line. What they do is decided by the HTTP API that they ask.

mod account_name;
mod lists;
mod operations;
pub(crate) mod shown;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::client::{Client, ClientArguments};
use crate::failure::Failure;
use crate::runtime;

use account_name::AccountName;

/// What the process ends with.
const STATUSES: &str = "\
Exit status:
  0  done
  1  the pool refused, or did only some of it
  2  what was asked for will not do; nothing was asked
  3  nobody answers there";

#[derive(Debug, Args)]
#[command(after_help = STATUSES)]
pub(crate) struct CtlArguments {
    #[command(flatten)]
    to: ClientArguments,
    /// Prints the JSON of the API on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Lists accounts: their state, connections and leases.
    Accounts(AccountsArguments),
    /// Shows one account with its connections, quarantines and last events.
    Account {
        /// As `accounts` shows it, such as +442079460958 or bot:123456.
        account: AccountName,
    },
    /// Lists connections: their state, age and uses.
    Connections(ConnectionsArguments),
    /// Shows the last events, and with --follow those that come.
    Events(EventsArguments),
    /// Shows the settings in force, with their origins.
    Config,
    /// Changes settings, all or none of them: `set pool.max_idle_time 2m dial.per_second 10`.
    Set {
        /// Keys and values in turn.
        #[arg(value_name = "KEY VALUE", required = true, num_args = 2.., allow_hyphen_values = true)]
        settings: Vec<String>,
    },
    /// Closes the connections of accounts, once they are unused.
    Close(AccountNames),
    /// Drains accounts: no new leases, and their connections are closed once they are unused.
    Drain(AccountNames),
    /// Pauses accounts: acquires wait until they are resumed.
    Pause(AccountNames),
    /// Resumes accounts that were paused.
    Resume(AccountNames),
    /// Reinstates accounts that were quarantined or drained.
    Reinstate(AccountNames),
    /// Quarantines accounts: nothing connects until they are reinstated.
    Quarantine {
        #[command(flatten)]
        names: AccountNames,
        /// Why, for the list of events.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Closes one connection of an account.
    CloseConnection {
        /// The account.
        account: AccountName,
        /// The connection, as `connections` shows it.
        id: String,
    },
}

#[derive(Debug, Args)]
struct AccountNames {
    /// As `accounts` shows them, such as +442079460958 or bot:123456.
    #[arg(value_name = "ACCOUNT", required = true)]
    accounts: Vec<AccountName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum AccountOrder {
    Name,
    State,
    Group,
    Active,
    Waiting,
    OldestWait,
    Created,
    Closed,
    Errors,
    LastUsed,
}

/// The states that accounts may be in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccountStateFilter {
    Ready,
    Cooling,
    Resting,
    Paused,
    Suspect,
    Quarantined,
    Draining,
}

/// The states that connections may be in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ConnectionStateFilter {
    Idle,
    Active,
    Connecting,
    Disconnected,
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LeastLevel {
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ConnectionOrder {
    Age,
    LastUsed,
    Uses,
    Errors,
    Leases,
}

#[derive(Debug, Args)]
struct AccountsArguments {
    /// Those whose name contains this.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Those in this state.
    #[arg(long, value_name = "STATE")]
    in_state: Option<AccountStateFilter>,
    /// Those that are in their state for this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Those of this group.
    #[arg(long)]
    group: Option<String>,
    /// What they are sorted by.
    #[arg(long)]
    sort: Option<AccountOrder>,
    /// Sorts from the largest to the smallest.
    #[arg(long)]
    desc: bool,
    /// How many are listed at most; 0 lists all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
struct ConnectionsArguments {
    /// Those in this state.
    #[arg(long, value_name = "STATE")]
    in_state: Option<ConnectionStateFilter>,
    /// Those of accounts of this group.
    #[arg(long)]
    group: Option<String>,
    /// What they are sorted by.
    #[arg(long)]
    sort: Option<ConnectionOrder>,
    /// Sorts from the largest to the smallest.
    #[arg(long)]
    desc: bool,
    /// How many are listed at most; 0 lists all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
struct EventsArguments {
    /// Those that came after the one with this id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Those of this kind, such as operation, quarantined or connection_closed.
    #[arg(long)]
    kind: Option<String>,
    /// Those of this account.
    #[arg(long)]
    account: Option<AccountName>,
    /// Those of accounts of this group.
    #[arg(long)]
    group: Option<String>,
    /// Those that are at least so grave.
    #[arg(long)]
    level: Option<LeastLevel>,
    /// How many are shown at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Goes on with those that come, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
}

/// Who asks, and how the answer is shown.
struct Ctl {
    client: Client,
    is_json: bool,
}

pub(crate) fn run(arguments: CtlArguments) -> Result<ExitCode, Failure> {
    let ctl = Ctl { client: arguments.to.client()?, is_json: arguments.json };
    let runtime = runtime::current_thread()?;
    runtime.block_on(ctl.run(arguments.operation))?;
    Ok(ExitCode::SUCCESS)
}

impl Ctl {
    async fn run(&self, operation: Operation) -> Result<(), Failure> {
        match operation {
            Operation::Accounts(arguments) => self.accounts(&arguments).await,
            Operation::Account { account } => self.account(&account).await,
            Operation::Connections(arguments) => self.connections(&arguments).await,
            Operation::Events(arguments) => self.events(&arguments).await,
            Operation::Config => self.config().await,
            Operation::Set { settings } => self.set(&settings).await,
            Operation::Close(names) => self.operate("close", &names.accounts, None).await,
            Operation::Drain(names) => self.operate("drain", &names.accounts, None).await,
            Operation::Pause(names) => self.operate("pause", &names.accounts, None).await,
            Operation::Resume(names) => self.operate("resume", &names.accounts, None).await,
            Operation::Reinstate(names) => self.operate("reinstate", &names.accounts, None).await,
            Operation::Quarantine { names, reason } => {
                self.operate("quarantine", &names.accounts, reason.as_deref()).await
            }
            Operation::CloseConnection { account, id } => {
                self.close_connection(&account, &id).await
            }
        }
    }
}

/// The name of a value as the API has it.
fn name_of(value: Option<impl ValueEnum>) -> Option<String> {
    value.and_then(|value| Some(value.to_possible_value()?.get_name().to_owned()))
}
