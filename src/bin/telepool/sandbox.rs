//! Sandbox of `serve --sandbox` and `datacenter`: a data centre with accounts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions, FaultPlan, SendLimits};
use telepool::session::SessionRecord;
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::incoming;
use crate::input;
use crate::listen::bind_failure;
use crate::progress::Progress;
use crate::secrets::toml_problem;
use crate::settings::{count, seed, time};
use crate::signals::Stop;

/// The first phone number. Numbers that begin so are Telegram's own test numbers, so that none
/// of them belongs to anybody.
const FIRST_PHONE: u64 = 9_996_000_000;
/// How many numbers there are that begin so.
const TEST_PHONES: u64 = 1_000_000;
const FIRST_BOT: u64 = 5_000_000_000;
/// Every so many accounts, one is a bot.
const BOTS_APART: u64 = 4;
pub(crate) const ACCOUNTS: u32 = 200;
pub(crate) const LATENCY: Duration = Duration::from_millis(50);
/// More sessions than an account can have anywhere.
pub(crate) const SESSIONS_MAX: i64 = 64;

#[derive(Debug, Args)]
pub(crate) struct SandboxArguments {
    /// How many accounts the sandbox has [default: 200].
    #[arg(long, value_name = "N", value_parser = count::<u32>(1..=1_000_000))]
    accounts: Option<u32>,
    /// How many sessions each account has; without it, 1 to 3.
    #[arg(long, value_name = "N", value_parser = count::<u16>(1..=SESSIONS_MAX))]
    sessions_per_account: Option<u16>,
    /// How long the data centre takes to answer [default: 50ms].
    #[arg(long, value_name = "TIME", value_parser = time)]
    latency: Option<Duration>,
    /// What goes wrong: `none`, `mixed`, or a TOML file of rules [default: none].
    #[arg(long, value_name = "none|mixed|FILE")]
    faults: Option<String>,
    /// How many messages made-up users write to the accounts in a second [default: 0]. They come as updates.
    #[arg(long, value_name = "N", value_parser = count::<u32>(0..=1_000_000))]
    incoming: Option<u32>,
    /// The longest delay of a `ping_delay_disconnect` that is honoured; without it, any.
    #[arg(long, value_name = "TIME", value_parser = time)]
    disconnect_delay_max: Option<Duration>,
    /// Refuses with FLOOD_WAIT_X what bots send beyond Telegram's limits: 30 messages per second, one per
    /// second in a chat, 20 per minute in a group.
    #[arg(long)]
    send_limits: bool,
    /// What faults, sessions and the pool's own chances are drawn from; random without it.
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

/// A running sandbox and everything that may connect to it.
pub(crate) struct Sandbox {
    pub(crate) data_centre: DataCentre,
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) seed: u64,
}

impl SandboxArguments {
    /// A flag that was given and says something of a sandbox only.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--accounts", self.accounts.is_some()),
            ("--sessions-per-account", self.sessions_per_account.is_some()),
            ("--latency", self.latency.is_some()),
            ("--faults", self.faults.is_some()),
            ("--incoming", self.incoming.is_some()),
            ("--disconnect-delay-max", self.disconnect_delay_max.is_some()),
            ("--send-limits", self.send_limits),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    pub(crate) fn accounts(&self) -> u32 {
        self.accounts.unwrap_or(ACCOUNTS)
    }

    pub(crate) fn latency(&self) -> Duration {
        self.latency.unwrap_or(LATENCY)
    }

    /// The faults to inject, or why the words say nothing.
    pub(crate) fn fault_plan(&self) -> Result<FaultPlan, Failure> {
        match self.faults.as_deref().unwrap_or("none") {
            "none" => Ok(FaultPlan::default()),
            "mixed" => Ok(FaultPlan::mixed()),
            path => {
                let text = input::text(Path::new(path)).map_err(|problem| {
                    Failure::refused(format!(
                        "--faults {path}: cannot be read ({problem}): give none, mixed or a TOML file"
                    ))
                })?;
                let plan: FaultPlan = toml::from_str(&text).map_err(|error| {
                    let problem = toml_problem(&text, &error);
                    Failure::refused(format!("--faults {path}: {problem}"))
                })?;
                let unknown = plan.accounts().find(|(_, account)| !self.has(*account));
                match unknown {
                    None => Ok(plan),
                    Some((rule, account)) => Err(Failure::refused(format!(
                        "--faults {path}: rule {rule}: the sandbox has no account {}: {}",
                        named(account),
                        self.describe_accounts()
                    ))),
                }
            }
        }
    }

    /// Whether an account is one of the sandbox's.
    fn has(&self, account: AccountId) -> bool {
        let number = match account.is_bot() {
            true => account.number().checked_sub(FIRST_BOT),
            false => account.number().checked_sub(FIRST_PHONE),
        };
        number.is_some_and(|number| {
            number < u64::from(self.accounts()) && account == account_of(number)
        })
    }

    /// Which accounts there are.
    fn describe_accounts(&self) -> String {
        let last = u64::from(self.accounts()) - 1;
        let name = |number| account_of(number).reveal().to_string();
        let last_bot = last - last % BOTS_APART;
        let bots = match last_bot {
            0 => name(0),
            last => format!("{}, {} and so on to {}", name(0), name(BOTS_APART), name(last)),
        };
        let last_phone = if last % BOTS_APART == 0 { last.saturating_sub(1) } else { last };
        let count = self.accounts();
        match last_phone {
            0 => format!("with --accounts {count} it has the bot {bots}"),
            last => format!(
                "with --accounts {count} it has the phones from {} to {}, but for each fourth, which \
                 is a bot: {bots}",
                name(1),
                name(last)
            ),
        }
    }

    /// Starts the data centre and creates the sessions of the accounts, unless the end is asked for. From
    /// then until the end messages come in, if there are to be any.
    pub(crate) async fn start(
        &self,
        listen: SocketAddr,
        plan: FaultPlan,
        stop: &Stop,
    ) -> Result<Sandbox, Failure> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let mut options = DataCentreOptions::default();
        options.listen = listen;
        options.latency = self.latency();
        options.seed = seed;
        options.faults = plan;
        options.disconnect_delay_max = self.disconnect_delay_max;
        options.send_limits = self.send_limits.then(SendLimits::bot);
        let started = DataCentre::start(options).await;
        let data_centre = started.map_err(|error| bind_failure(listen, &error))?;
        let mut random = fastrand::Rng::with_seed(seed);
        let (users, bots): (Arc<str>, Arc<str>) = ("users".into(), "bots".into());
        let mut sessions = Vec::new();
        let all = u64::from(self.accounts());
        let mut progress = Progress::new("making the keys of accounts", all, stop);
        for number in 0..all {
            progress.reach(number)?;
            let count = random.u16(1..=3);
            let count = self.sessions_per_account.unwrap_or(count);
            let account = account_of(number);
            let group = if account.is_bot() { &bots } else { &users };
            sessions.extend(data_centre.create_sessions(account, count, Some(Arc::clone(group))));
        }
        if let Some(rate @ 1..) = self.incoming {
            let accounts = (0..all).map(account_of).collect();
            let writing = incoming::write(data_centre.clone(), accounts, rate, seed, stop.clone());
            drop(Handle::current().spawn(writing));
        }
        Ok(Sandbox { data_centre, sessions, seed })
    }
}

/// The account of a number, from 0.
fn account_of(number: u64) -> AccountId {
    let account = match number % BOTS_APART {
        0 => AccountId::bot(FIRST_BOT + number),
        _ => AccountId::phone(FIRST_PHONE + number),
    };
    account.expect("BUG: the numbers are fixed and valid")
}

/// An account of a rule: in full only if it can be nobody's.
fn named(account: AccountId) -> String {
    match account.number() / TEST_PHONES {
        test if test == FIRST_PHONE / TEST_PHONES => account.reveal().to_string(),
        _ => account.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(accounts: u32) -> SandboxArguments {
        SandboxArguments {
            accounts: Some(accounts),
            sessions_per_account: None,
            latency: None,
            faults: None,
            incoming: None,
            disconnect_delay_max: None,
            send_limits: false,
            seed: None,
        }
    }

    #[test]
    fn the_accounts_that_are_told_are_those_that_there_are() {
        for (accounts, told) in [
            (1, "with --accounts 1 it has the bot bot:5000000000"),
            (
                4,
                "with --accounts 4 it has the phones from +9996000001 to +9996000003, but for each \
                 fourth, which is a bot: bot:5000000000",
            ),
            (
                9,
                "with --accounts 9 it has the phones from +9996000001 to +9996000007, but for each \
                 fourth, which is a bot: bot:5000000000, bot:5000000004 and so on to bot:5000000008",
            ),
        ] {
            let sandbox = sandbox(accounts);
            assert_eq!(sandbox.describe_accounts(), told);
            let there: Vec<AccountId> = (0..u64::from(accounts)).map(account_of).collect();
            for number in 0..12 {
                for account in
                    [AccountId::bot(FIRST_BOT + number), AccountId::phone(FIRST_PHONE + number)]
                {
                    let account = account.unwrap();
                    assert_eq!(sandbox.has(account), there.contains(&account), "{account:?}");
                }
            }
        }
        assert!(!sandbox(1_000_000).has("+442079460958".parse().unwrap()));
    }

    #[test]
    fn a_number_that_may_be_somebodys_is_masked() {
        assert_eq!(named("+9996000004".parse().unwrap()), "+9996000004");
        assert_eq!(named("+442079460958".parse().unwrap()), "+4420******58");
        assert_eq!(named("bot:77".parse().unwrap()), "bot:77");
    }
}
