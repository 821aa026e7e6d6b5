//! `telepool doctor`: tries what telepool relies on against the servers themselves.
//!
//! Owns what it says before it begins, and its exit status. Dials nothing unless it is told to, and never a server on
//! which anybody has an account of value.

mod caller;
mod calls;
mod describe;
mod examination;
mod key;
mod record;
mod wire;

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use telepool::session::DataCentres;
use telepool::telegram::client::tl;
use telepool::telegram::wire::KeyMemory;

use crate::failure::Failure;
use crate::settings::{address, count, time};
use crate::{logs, runtime, sessions, signals, status, stdout};

use examination::Examination;
use key::DoctorKey;
use record::{Record, StepOutcome};

/// What the process ends with.
const STATUSES: &str = "\
Exit status:
  0    all came as expected
  1    something came otherwise, or did not come: the table says what
  2    what was asked for will not do, or nobody answers there
  130  ended before its time";

/// What is said when nothing is asked for.
const CHOICE: &str = "\
telepool doctor does nothing by itself. There is:

  telepool doctor --test-servers
      tries both engines against a test data centre of Telegram's: keys, calls,
      pings, closes, salts and clocks. It needs TELEPOOL_API_ID, no account, no
      login and no session, and takes about four minutes. With --capture FILE
      it keeps what the server has said, without keys, salts and ids: send
      that file to us.
";

#[derive(Debug, Args)]
#[command(after_help = STATUSES)]
pub(crate) struct DoctorArguments {
    /// Tries both engines against a test data centre of Telegram's, without any account.
    #[arg(long)]
    test_servers: bool,
    /// Which test data centre.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = count::<i32>(1..=3))]
    #[arg(requires = "test_servers")]
    data_centre: i32,
    /// Another address of it, such as that of a sandbox. None of those where accounts live.
    #[arg(long, value_name = "IP:PORT", value_parser = address, requires = "test_servers")]
    address: Option<SocketAddr>,
    /// For how long a connection idles before it is used again.
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = time)]
    #[arg(requires = "test_servers")]
    idle: Duration,
    /// After how long without a ping the server is asked to close a connection, in whole seconds.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = whole_seconds)]
    #[arg(requires = "test_servers")]
    disconnect_after: Duration,
    /// How long an answer is waited for.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(requires = "test_servers")]
    patience: Duration,
    /// Where to keep what the server says, one JSON object on a line. It must not exist yet.
    #[arg(long, value_name = "FILE", requires = "test_servers")]
    capture: Option<PathBuf>,
    /// Takes the keys of two sessions of a sandbox, in place of making any: the file of `telepool datacenter --out`.
    #[arg(long, value_name = "FILE", requires = "address")]
    sandbox_sessions: Option<PathBuf>,
}

/// Reads a time that the protocol has in seconds.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let delay = time(text)?;
    match (1..=3_600).contains(&delay.as_secs()) && delay.subsec_nanos() == 0 {
        true => Ok(delay),
        false => Err("must be whole seconds, from 1s to 1h".to_owned()),
    }
}

pub(crate) fn run(arguments: DoctorArguments) -> Result<ExitCode, Failure> {
    if !arguments.test_servers {
        stdout::print(CHOICE)?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = status::line();
    logs::start(&line)?;
    let address = arguments.checked_address()?;
    let api_id = sessions::api_id()?;
    let keys = arguments.sandbox_keys(address)?;
    let capture = arguments.capture.as_deref().map(create).transpose()?;
    let head = json!({
        "telepool": env!("CARGO_PKG_VERSION"),
        "layer": tl::LAYER,
        "data_centre": arguments.data_centre,
        "is_test_server": arguments.address.is_none(),
        "idle_ms": u64::try_from(arguments.idle.as_millis()).unwrap_or(u64::MAX),
        "disconnect_after_s": arguments.disconnect_after.as_secs(),
    });
    let record = Arc::new(Record::new(capture, head));
    let examination = Examination {
        address,
        dc: arguments.data_centre,
        api_id,
        idle: arguments.idle,
        disconnect_after: arguments.disconnect_after,
        patience: arguments.patience,
        line,
        record: Arc::clone(&record),
        open: Mutex::default(),
    };
    say!("{}", arguments.plan(address, keys.is_some()));
    let runtime = runtime::multi_thread()?;
    let ended = runtime.block_on(async {
        let (_stopper, mut stop) = signals::listen()?;
        let ended = tokio::select! {
            ended = examination.run(keys) => ended,
            () = stop.requested() => {
                Err(Failure::stopped("ended before its time: what has not come by now is not in the table"))
            }
        };
        examination.close_what_is_open().await;
        ended
    });
    examination.line.finish_and_clear();
    arguments.conclude(&record, ended)
}

impl DoctorArguments {
    /// Where the server is: never one of those where accounts live.
    fn checked_address(&self) -> Result<SocketAddr, Failure> {
        let centres = DataCentres::production();
        let address = self.address.or_else(|| centres.test_address(self.data_centre));
        let address = address.expect("BUG: each test data centre has an address");
        match centres.iter().any(|(_, other)| other.ip() == address.ip().to_canonical()) {
            true => Err(Failure::refused(format!(
                "--address {address}: this is no test server, but one where accounts live: leave \
                 --address away, or name a sandbox"
            ))),
            false => Ok(address),
        }
    }

    /// The keys of a file, for a server on this machine only.
    fn sandbox_keys(&self, address: SocketAddr) -> Result<Option<[DoctorKey; 2]>, Failure> {
        let Some(path) = &self.sandbox_sessions else { return Ok(None) };
        if !address.ip().is_loopback() {
            return Err(Failure::refused(format!(
                "--sandbox-sessions is for a sandbox on this machine, and {address} is none: leave \
                 it away, and keys are made for the occasion"
            )));
        }
        let records = sessions::read(path, &DataCentres::new())?;
        let mut keys =
            records.into_iter().map(|it| DoctorKey { key: it.key, memory: KeyMemory::default() });
        match (keys.next(), keys.next()) {
            (Some(first), Some(second)) => Ok(Some([first, second])),
            _ => Err(Failure::refused(format!(
                "--sandbox-sessions {}: there is one session in it, and each engine needs its own: \
                 start telepool datacenter with --accounts 2 or more",
                path.display()
            ))),
        }
    }

    /// What is about to be done.
    fn plan(&self, address: SocketAddr, has_keys: bool) -> String {
        let keys = match has_keys {
            true => "takes two keys of a sandbox",
            false => "makes two authorization keys that nobody is logged in with",
        };
        let whose = match self.address {
            Some(_) => "data centre",
            None => "Telegram's test data centre",
        };
        // What takes its time: both engines idle, and one connection is left to the server's timer.
        let time = 2 * self.idle + self.disconnect_after + Duration::from_secs(30);
        let about = match time.as_secs() / 60 {
            0 => "a minute".to_owned(),
            minutes => format!("{} minutes", minutes + 1),
        };
        format!(
            "telepool: {keys}, and opens some ten connections with them, one after the other, to \
             {whose} {} at {address}: about {about}. No account, no login and no session of \
             yours takes part. Ctrl-C ends it",
            self.data_centre,
        )
    }

    /// Prints what there is, and says what it means.
    fn conclude(&self, record: &Record, ended: Result<(), Failure>) -> Result<ExitCode, Failure> {
        if let Err(error) = record.finish() {
            say!(WARN "telepool: the capture is not complete: {error}: free some space, and run it again");
        }
        if !record.is_empty() {
            stdout::print(&record.report())?;
        }
        ended?;
        let [good, differ, failed] =
            [StepOutcome::Expected, StepOutcome::Differs, StepOutcome::Failed]
                .map(|it| record.count(it));
        if differ + failed == 0 {
            say!("telepool: all {good} steps came as expected");
            return Ok(ExitCode::SUCCESS);
        }
        let remedy = match &self.capture {
            Some(path) => format!("send the table and {} to us", path.display()),
            None => "run it once more with --capture FILE, and send the table and the file to us"
                .to_owned(),
        };
        say!(
            WARN
            "telepool: of {} steps {differ} came otherwise and {failed} failed: {remedy}",
            good + differ + failed
        );
        Ok(ExitCode::FAILURE)
    }
}

/// A new file for what the server says.
fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        let remedy = "choose another file in a folder that you may write to";
        Failure::refused(format!("--capture {}: {error}: {remedy}", path.display()))
    })
}
