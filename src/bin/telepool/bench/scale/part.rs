//! Parts of the measurement, each of which a child process measures.
//!
//! Owns their names on the command line, which nobody but this program writes.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{accounts, acquire_loop, connections, many};
use crate::bench::processes::ProcessRunner;
use crate::failure::Failure;
use crate::stdout;

/// The command that has the flag `--part`.
const COMMAND: [&str; 2] = ["bench", "--scale"];

/// What a process measures.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Real connections, of the sessions in this file.
    Connections(PathBuf),
    /// A pool with so many accounts.
    Accounts(u64),
    /// So many accounts and connections at once.
    Many(u64),
    /// So many acquires among so many accounts, for a tool that counts instructions.
    Acquires { accounts: u64, turns: u64 },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(sessions) => write!(f, "connections:{}", sessions.display()),
            Self::Accounts(accounts) => write!(f, "accounts:{accounts}"),
            Self::Many(count) => write!(f, "many:{count}"),
            Self::Acquires { accounts, turns } => write!(f, "acquires:{accounts}:{turns}"),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
        match text.split_once(':') {
            Some(("connections", path)) => Ok(Self::Connections(path.into())),
            Some(("accounts", count)) => Ok(Self::Accounts(number(count)?)),
            Some(("many", count)) => Ok(Self::Many(number(count)?)),
            Some(("acquires", numbers)) => match numbers.split_once(':') {
                Some((accounts, turns)) => {
                    Ok(Self::Acquires { accounts: number(accounts)?, turns: number(turns)? })
                }
                None => Err("two numbers are needed".into()),
            },
            _ => Err("this flag is for the program's own use".into()),
        }
    }
}

impl Part {
    /// The command line that measures it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let words = COMMAND.map(str::to_owned).into_iter();
        words.chain(["--part".to_owned(), self.to_string()]).collect()
    }

    /// Has it measured by a process of its own.
    pub(super) async fn measure_apart<T: DeserializeOwned>(
        &self,
        runner: &ProcessRunner,
    ) -> Result<T, Failure> {
        runner.run_json(self.arguments(), "", &format!("a measurement ({self})")).await
    }

    /// Measures, and prints the result as JSON.
    pub(super) fn measure(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Connections(sessions) => print(&connections::measure(sessions)?),
            Self::Accounts(count) => print(&accounts::measure(*count)?),
            Self::Many(count) => print(&many::measure(*count)?),
            Self::Acquires { accounts, turns } => {
                acquire_loop::acquire_often(*accounts, *turns)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print(result: &impl Serialize) -> Result<ExitCode, Failure> {
    stdout::print(&serde_json::to_string(result).expect("BUG: numbers always make JSON"))?;
    Ok(ExitCode::SUCCESS)
}
