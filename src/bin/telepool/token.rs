//! `telepool token`: make, list and revoke the tokens that let clients in over HTTP.
//!
//! Owns the view of an operator on their file. Shows a token once, where it is made; nobody can show it again.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use telepool::http::{Scope, Token, TokenFile, TokenFileError, TokenGrant, TokenRecord};

use crate::clock::{FAR, seconds_of, unix_now, utc};
use crate::columns::wrapped;
use crate::failure::Failure;
use crate::logs::escaped;
use crate::stdout;
use crate::table::Table;

/// The head of the table.
const HEAD: [&str; 5] = ["id", "name", "scopes", "phones", "expires"];
/// For how long another process that writes the file is waited for, and how often it is tried.
const TRIES: u32 = 100;
const TRY_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token, prints it on standard output, and keeps its hash.
    ///
    /// The token is shown this once. A running server takes it up within two seconds.
    Create(CreateArguments),
    /// Shows which tokens there are, and what each is good for.
    List(ListArguments),
    /// Removes a token: a running server refuses it within two seconds.
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
// As one line it would be longer than a terminal's.
#[command(override_usage = "telepool token create [OPTIONS] --file <FILE> --name <NAME>\n       \
                            --scope <SCOPE>")]
pub(crate) struct CreateArguments {
    /// The file of tokens, which is made if it is not there. Only its owner may read it.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Who will use it, or what for: the log and the list of operations tell it.
    #[arg(long)]
    name: String,
    /// What it is for; give the flag again for more. None contains another.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<TokenScope>,
    /// A group whose accounts and numbers it sees; give the flag again for more. Without it: all.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Lets it see phone numbers in full.
    #[arg(long)]
    phones: bool,
    /// When it ends: after a time such as 90d, or at one such as 2027-01-31 or 2027-01-31T12:00:00Z.
    /// Without it: never.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = expiry)]
    expires: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The file of tokens.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Prints one JSON array on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// The file of tokens.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The name or the id, as `telepool token list` shows them.
    #[arg(value_name = "NAME|ID")]
    which: String,
}

/// What a token may be for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TokenScope {
    /// Reads the numbers, the accounts, the events and the configuration.
    Read,
    /// Closes, drains, pauses, reinstates and reconfigures.
    Operate,
    /// Calls methods of Telegram.
    Call,
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Read => Self::Read,
            TokenScope::Operate => Self::Operate,
            TokenScope::Call => Self::Call,
        }
    }
}

pub(crate) fn run(command: TokenCommand) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Create(arguments) => create(arguments),
        TokenCommand::List(arguments) => list(&arguments),
        TokenCommand::Revoke(arguments) => revoke(&arguments),
    }
}

fn create(arguments: CreateArguments) -> Result<ExitCode, Failure> {
    let file = TokenFile::at(arguments.file);
    let mut grant = TokenGrant::new(arguments.name, arguments.scopes.into_iter().map(Scope::from));
    grant.groups = (!arguments.groups.is_empty()).then_some(arguments.groups);
    (grant.phones, grant.expires) = (arguments.phones, arguments.expires);
    let made = patiently(|| file.create(grant.clone()));
    let (token, record) = made.map_err(|error| failure(&error))?;
    if let Err(error) = show(&token) {
        // Nobody has seen it, so that nobody can use it or know that it is there.
        let undone = patiently(|| file.revoke(&record.id.to_string()));
        let what = match undone {
            Ok(_) => "and was not kept".to_owned(),
            Err(undone) => format!("and is still there: revoke {}: {undone}", record.id),
        };
        return Err(Failure::broken(format!(
            "the token could not be printed: {error}: it was seen by nobody, {what}; make another where \
             standard output can be written"
        )));
    }
    let id = record.id;
    say!(
        "telepool: token {id} ({}) is shown this once; {}",
        escaped(&record.grant.name),
        match record.grant.expires {
            Some(expires) => format!("it ends at {}", utc(expires)),
            None => "it never ends by itself".to_owned(),
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// Prints the token. Unlike with a text that can be printed again, a reader that has gone is a failure.
fn show(token: &Token) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", token.reveal())?;
    out.flush()
}

fn list(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let records = TokenFile::at(&arguments.file).read().map_err(|error| failure(&error))?;
    let text = if arguments.json {
        let shown: Vec<ShownToken> = records.iter().map(ShownToken::of).collect();
        serde_json::to_string(&shown).expect("BUG: texts always make JSON") + "\n"
    } else if records.is_empty() {
        "there is no token\n".to_owned()
    } else {
        table(&records)
    };
    stdout::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn revoke(arguments: &RevokeArguments) -> Result<ExitCode, Failure> {
    let file = TokenFile::at(&arguments.file);
    if let Some(id) = Token::id_of(&arguments.which) {
        return Err(Failure::refused(format!(
            "this is the token itself, which the shell may keep among its commands: its id is {id}: \
             telepool token revoke --file {} {id}",
            arguments.file.display()
        )));
    }
    let revoked = patiently(|| file.revoke(&arguments.which)).map_err(|error| failure(&error))?;
    let name = escaped(&revoked.grant.name);
    stdout::print(&format!("revoked {} ({name})\n", revoked.id))?;
    Ok(ExitCode::SUCCESS)
}

/// Tries again while another process writes the file, which takes it no time.
fn patiently<T>(
    mut attempt: impl FnMut() -> Result<T, TokenFileError>,
) -> Result<T, TokenFileError> {
    for _ in 1..TRIES {
        match attempt() {
            Err(TokenFileError::InUse { .. }) => std::thread::sleep(TRY_EVERY),
            done => return done,
        }
    }
    attempt()
}

/// How a command ends that cannot do what it was asked for.
fn failure(error: &TokenFileError) -> Failure {
    match error {
        TokenFileError::Grant(_) => Failure::refused(error.to_string()),
        TokenFileError::InUse { .. } => Failure::held(format!("--file {error}")),
        TokenFileError::NoSuchToken { .. } => Failure::broken(format!("--file {error}")),
        _ => Failure::refused(format!("--file {error}")),
    }
}

/// When a token ends, in seconds since 1970: a time from now on, or a moment.
fn expiry(text: &str) -> Result<u64, String> {
    let remedy = "give a time from now on such as 90d, or a moment in UTC such as 2027-01-31 or \
                  2027-01-31T12:00:00Z";
    let now = unix_now();
    if let Ok(after) = humantime::parse_duration(text) {
        return match now.checked_add(after.as_secs()) {
            Some(at) if at > now && at < FAR => Ok(at),
            Some(at) if at <= now => Err(format!("has ended by then: {remedy}")),
            _ => Err(format!("is further away than any calendar goes: {remedy}")),
        };
    }
    let moment = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let at = humantime::parse_rfc3339(&moment).map_err(|_| format!("is no time: {remedy}"))?;
    match seconds_of(at) {
        at if at > now => Ok(at),
        _ => Err(format!("is over: {remedy}")),
    }
}

/// One token as JSON.
#[derive(Serialize)]
struct ShownToken {
    id: String,
    name: String,
    scopes: Vec<&'static str>,
    groups: Option<Vec<String>>,
    phones: bool,
    created: u64,
    created_utc: String,
    expires: Option<u64>,
    expires_utc: Option<String>,
    expired: bool,
}

impl ShownToken {
    fn of(record: &TokenRecord) -> Self {
        let grant = &record.grant;
        Self {
            id: record.id.to_string(),
            name: grant.name.clone(),
            scopes: grant.scopes.iter().map(|scope| scope.label()).collect(),
            groups: grant.groups.clone(),
            phones: grant.phones,
            created: record.created,
            created_utc: utc(record.created),
            expires: grant.expires,
            expires_utc: grant.expires.map(utc),
            expired: record.is_expired(seconds_of(crate::clock::wall_time())),
        }
    }
}

/// The tokens, and below them the groups of those that do not see all.
fn table(records: &[TokenRecord]) -> String {
    let shown: Vec<ShownToken> = records.iter().map(ShownToken::of).collect();
    let mut table = Table::new(&HEAD);
    for it in &shown {
        let ends = match &it.expires_utc {
            None => "never",
            Some(_) if it.expired => "expired",
            Some(utc) => utc.split('T').next().unwrap_or_default(),
        };
        let phones = if it.phones { "shown" } else { "masked" };
        let texts = [&it.id, &it.name, &*it.scopes.join(","), phones, ends];
        table.push(texts.map(str::to_owned));
    }
    let mut text = table.to_string();
    let limited = shown.iter().filter_map(|it| Some((it, it.groups.as_ref()?)));
    for (at, (token, groups)) in limited.enumerate() {
        let start = if at == 0 { "\n" } else { "" };
        let groups: Vec<_> = groups.iter().map(|group| escaped(group)).collect();
        let line = format!("{} sees {} alone", token.id, groups.join(", "));
        text.push_str(&format!("{start}{}\n", wrapped(&line, "  ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_after_a_time_or_at_a_moment_to_come() {
        let now = unix_now();
        let day = 24 * 60 * 60;
        let ends = expiry("90d").unwrap();
        assert!((now + 90 * day..now + 91 * day).contains(&ends));
        assert_eq!(expiry("2999-01-31").unwrap(), 32_474_736_000);
        assert_eq!(expiry("2999-01-31T00:00:01Z").unwrap(), 32_474_736_001);
        for (text, words) in [
            ("0s", "has ended by then"),
            ("2020-01-31", "is over"),
            ("1970-01-01T00:00:00Z", "is over"),
            ("-1d", "is no time"),
            ("", "is no time"),
            ("soon", "is no time"),
            ("2999-02-31", "is no time"),
            ("9000000years", "further away"),
        ] {
            let error = expiry(text).unwrap_err();
            assert!(error.contains(words) && error.contains("90d"), "{text}: {error}");
        }
    }

    #[test]
    fn every_scope_has_a_flag_of_its_name() {
        let names = TokenScope::value_variants().iter().map(|it| Scope::from(*it));
        assert!(names.eq(Scope::ALL));
        for scope in TokenScope::value_variants() {
            let value = scope.to_possible_value().unwrap();
            assert_eq!(value.get_name(), Scope::from(*scope).label());
        }
    }
}
