//! `telepool session import`: sessions of other programs, into the store.
//!
//! Owns the way of one input through its reader into the store, and what is told of it. What was told to be in is
//! in the store; a bad input keeps the others from nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::ProgressBar;
use telepool::QuarantineReason;
use telepool::import::{self, Found, FoundSession, ImportError, ImportOptions, ImportedFile};
use telepool::session::{ClientIdentity, DataCentres, KeyId, Proxy};
use telepool::store::{Addition, NewSession, Rehearsal, SessionStore as _, SqliteStore};
use telepool::telegram::{StoreSettled, read_quarantines, settle_store};
use zeroize::Zeroizing;

use super::change::{group, proxy};
use super::identity::IdentityArguments;
use super::outcome::{ImportTotals, InputOutcome};
use super::{StoreArguments, unusable};
use crate::failure::Failure;
use crate::login::{self, ServerArguments, Setup};
use crate::secrets::redact;
use crate::settings::{Settings, SettingsArguments, count};
use crate::signals::Stop;
use crate::{input, logs, signals, state, status, stdout};

/// How many sessions go into the store in one step, and how many rows with all that belongs to them: another process
/// waits so long for its own writes.
const BATCH: usize = 256;
const BATCH_ROWS: usize = 20_000;
/// Holds the passcode of Telegram Desktop.
const PASSCODE: &str = "TELEPOOL_PASSCODE";

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// Files and folders: of Telethon, Pyrogram and its descendants, grammers, gotd, Telegram Desktop (tdata), JSON
    /// lines, session strings and bot tokens, one a line. `-` reads standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object for each input, on a line of its own.
    #[arg(long)]
    json: bool,
    /// Reads databases that their program has not closed. Only once it is stopped for good: two programs with one
    /// session cost its login.
    #[arg(long)]
    i_have_stopped_it: bool,
    /// Takes in none of these sessions: each accepts a new one under your own application, and is then left alone. Best
    /// for those of official apps. It needs TELEPOOL_API_ID and TELEPOOL_API_HASH, and the account's password if there
    /// is one (TELEPOOL_PASSWORD, or the prompt).
    #[arg(long, conflicts_with_all = ["dry_run", "state", "even_if_removed"])]
    as_new_session: bool,
    /// Takes in sessions that were removed from the store before.
    #[arg(long)]
    even_if_removed: bool,
    /// The file whose first line is the passcode of Telegram Desktop; TELEPOOL_PASSCODE may hold it as well.
    #[arg(long, value_name = "FILE")]
    passcode_file: Option<PathBuf>,
    /// Takes the quarantines that `serve --state` has kept in this file along.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Puts accounts that have no group into this one.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Dials accounts that have no proxy by this one; `@FILE` reads it from a file, since others may see arguments.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// The application that has logged in, for sessions that do not say it.
    #[arg(long, value_name = "ID", value_parser = count::<i32>(1..=2_147_483_647))]
    api_id: Option<i32>,
    #[command(flatten)]
    identity: IdentityArguments,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// What every session is given that does not bring it.
struct Defaults {
    data_centres: DataCentres,
    group: Option<Arc<str>>,
    proxy: Option<Arc<Proxy>>,
    api_id: Option<i32>,
    identity: Option<Arc<ClientIdentity>>,
    even_if_removed: bool,
    /// Why sessions are out of service where they come from.
    quarantines: HashMap<KeyId, QuarantineReason>,
}

impl Defaults {
    /// A session as it goes into the store, or why it cannot.
    fn complete(&self, mut found: FoundSession) -> Result<NewSession, String> {
        let address = self.address(&found)?;
        found.group = found.group.or_else(|| self.group.clone());
        found.proxy = found.proxy.or_else(|| self.proxy.clone());
        found.api_id = found.api_id.or(self.api_id);
        let mut new = NewSession::new(found, address);
        new.identity = self.identity.clone();
        new.even_if_removed = self.even_if_removed;
        if !self.quarantines.is_empty() {
            new.quarantine = self.quarantines.get(&KeyId::of(&new.found.key)).copied();
        }
        Ok(new)
    }

    /// Where its data centre listens: as the settings say, if they say another address than the public one, else as
    /// it says itself.
    fn address(&self, found: &FoundSession) -> Result<SocketAddr, String> {
        let dc = found.dc;
        let of_table = match found.test_mode {
            Some(true) => self.data_centres.test_address(dc),
            _ => self.data_centres.address(dc),
        };
        let public = DataCentres::production();
        let is_own = of_table.is_some()
            && of_table != public.address(dc)
            && of_table != public.test_address(dc);
        let own = of_table.filter(|_| is_own);
        own.or(found.address).or(of_table).ok_or_else(|| {
            format!(
                "no address is known of its data centre {dc}: add it to the settings (--set \
                 data_centres.{dc}=IP:PORT)"
            )
        })
    }
}

/// Where sessions go: into the store, or nowhere.
enum Destination {
    Store(Box<SqliteStore>),
    Rehearsal(Rehearsal),
    /// In front of the store, with what each is to accept in its place.
    Accepting(Box<SqliteStore>, RefCell<Vec<NewSession>>),
}

impl Destination {
    fn add(&self, sessions: &[NewSession]) -> Result<Vec<Addition>, Failure> {
        match self {
            Self::Store(store) => store.add(sessions),
            Self::Rehearsal(rehearsal) => rehearsal.add(sessions),
            Self::Accepting(_, all) => {
                all.borrow_mut().extend(sessions.iter().cloned());
                Ok(Vec::new())
            }
        }
        .map_err(unusable)
    }

    fn add_token(&self, token: &import::BotToken) -> Result<bool, Failure> {
        match self {
            Self::Store(store) | Self::Accepting(store, _) => store.add_bot_token(token),
            Self::Rehearsal(rehearsal) => rehearsal.add_bot_token(token),
        }
        .map_err(unusable)
    }
}

/// One run of the command.
struct Importer<'a> {
    to: &'a Destination,
    defaults: Defaults,
    is_json: bool,
    line: ProgressBar,
    stop: Stop,
    totals: ImportTotals,
}

pub(crate) fn run(arguments: ImportArguments) -> Result<ExitCode, Failure> {
    let line = status::line();
    logs::start(&line)?;
    let (_stopper, stop) = signals::listen()?;
    let settings = arguments.settings.load(Settings::for_serve())?;
    let to = destination(&arguments)?;
    let mut options = ImportOptions::default();
    options.data_centres = settings.data_centres().clone();
    options.passcode = passcode(arguments.passcode_file.as_deref())?;
    options.in_use_is_fine = arguments.i_have_stopped_it;
    let defaults = Defaults {
        data_centres: settings.data_centres().clone(),
        group: arguments.group.as_deref().map(group).transpose()?.flatten(),
        proxy: arguments.proxy.as_deref().map(proxy).transpose()?.flatten(),
        api_id: arguments.api_id,
        identity: arguments.identity.read()?.map(Arc::new),
        even_if_removed: arguments.even_if_removed,
        quarantines: quarantines(arguments.state.as_deref())?,
    };
    let totals = ImportTotals::default();
    let mut importer = Importer { to: &to, defaults, is_json: arguments.json, line, stop, totals };
    let done = arguments.paths.iter().try_for_each(|path| importer.import(path, &options));
    importer.line.finish_and_clear();
    let totals = importer.totals;
    if let Destination::Accepting(store, all) = to {
        done?;
        let setup = Setup {
            settings: &settings,
            server: &arguments.server,
            identity: &arguments.identity,
            is_json: arguments.json,
        };
        let accepted = login::anew(&setup, *store, &all.into_inner())?;
        return Ok(if totals.refused == 0 { accepted } else { ExitCode::FAILURE });
    }
    conclude(&to, &totals)?;
    done?;
    Ok(if totals.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn destination(arguments: &ImportArguments) -> Result<Destination, Failure> {
    let path = arguments.store.path()?;
    if !arguments.dry_run {
        let store = Box::new(SqliteStore::create(&path).map_err(unusable)?);
        return Ok(match arguments.as_new_session {
            true => Destination::Accepting(store, RefCell::default()),
            false => Destination::Store(store),
        });
    }
    if path.exists() {
        let store = SqliteStore::open(&path).map_err(unusable)?;
        return store.rehearsal().map(Destination::Rehearsal).map_err(unusable);
    }
    Rehearsal::empty().map(Destination::Rehearsal).map_err(unusable)
}

/// The passcode of Telegram Desktop, from a file or the environment: an argument would show to all.
fn passcode(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let of_environment = std::env::var(PASSCODE).ok().filter(|text| !text.is_empty());
    match (file, of_environment) {
        (Some(_), Some(_)) => Err(Failure::refused(format!(
            "--passcode-file and {PASSCODE} are both there: leave one of them away"
        ))),
        (Some(path), None) => {
            let line = input::first_line(path).map_err(|error| {
                Failure::refused(format!("--passcode-file {}: {error}", path.display()))
            })?;
            Ok(Some(line))
        }
        (None, text) => Ok(text.map(Zeroizing::new)),
    }
}

impl Importer<'_> {
    /// One path of the command line, with all that is below it.
    fn import(&mut self, path: &Path, options: &ImportOptions) -> Result<(), Failure> {
        if path == Path::new("-") {
            let opened = import::read(std::io::stdin().lock(), options);
            return self.take(InputOutcome::of("-".to_owned()), opened, false);
        }
        for input in import::inputs(path) {
            // A session string may stand where a path should.
            let outcome = |path: &Path| InputOutcome::of(redact(path.display().to_string()));
            let input = match input {
                Ok(input) => input,
                Err(error) => {
                    let mut refused = outcome(&error.path);
                    refused.refuse(error.source.to_string());
                    self.tell(&refused)?;
                    continue;
                }
            };
            if self.is_the_store(&input) {
                // Not even opened: closing it would take this process's own locks of it away.
                let mut refused = outcome(&input);
                refused.refuse("it is the store that this import goes into".to_owned());
                self.tell(&refused)?;
                continue;
            }
            self.totals.exposed += u64::from(is_exposed(&input));
            let opened = import::open(&input, options);
            self.take(outcome(&input), opened, input != path)?;
        }
        Ok(())
    }

    fn is_the_store(&self, path: &Path) -> bool {
        let (Destination::Store(store) | Destination::Accepting(store, _)) = self.to else {
            return false;
        };
        std::fs::canonicalize(path).is_ok_and(|path| path == store.path())
    }

    /// One input.
    fn take(
        &mut self,
        mut outcome: InputOutcome,
        opened: Result<ImportedFile<'_>, ImportError>,
        of_folder: bool,
    ) -> Result<(), Failure> {
        let file = match opened {
            Ok(file) => file,
            Err(error) if of_folder && error.is_no_session() => {
                outcome.passed_over = true;
                outcome.problems.push(error.to_string());
                return self.tell(&outcome);
            }
            Err(error) => {
                outcome.refuse(error.to_string());
                return self.tell(&outcome);
            }
        };
        let done = self.take_all(file, &mut outcome);
        if done.as_ref().is_err_and(|failure| !failure.is_stop()) {
            outcome.refuse("the rest is not in: the store could not be written to".to_owned());
        }
        self.tell(&outcome)?;
        done
    }

    /// All items of an input.
    fn take_all(
        &mut self,
        mut file: ImportedFile<'_>,
        outcome: &mut InputOutcome,
    ) -> Result<(), Failure> {
        let (mut batch, mut rows) = (Vec::new(), 0);
        while let Some(item) = file.next() {
            match item {
                Ok(Found::Session(found)) => match self.defaults.complete(*found) {
                    Ok(new) => {
                        rows += 1 + new.found.peers.len() + new.found.channel_states.len();
                        batch.push(new);
                    }
                    Err(problem) => outcome.refuse(problem),
                },
                Ok(Found::Token(token)) => {
                    self.to.add_token(&token)?;
                    outcome.tokens += 1;
                }
                Ok(_) => outcome.refuse("this version cannot keep what it is".to_owned()),
                Err(error) => outcome.refuse(error.to_string()),
            }
            if batch.len() >= BATCH || rows >= BATCH_ROWS || self.stop.is_requested() {
                self.add(&mut batch, outcome)?;
                rows = 0;
            }
            if self.stop.is_requested() {
                outcome.kind = Some(file.summary());
                return Err(Failure::stopped(
                    "ended before all was imported: what is told above is in",
                ));
            }
        }
        outcome.kind = Some(file.summary());
        self.add(&mut batch, outcome)
    }

    fn add(
        &mut self,
        batch: &mut Vec<NewSession>,
        outcome: &mut InputOutcome,
    ) -> Result<(), Failure> {
        for addition in self.to.add(batch)? {
            outcome.add(&addition);
        }
        if let Destination::Accepting(..) = self.to {
            outcome.accepting += batch.len() as u64;
        }
        batch.clear();
        let sessions = self.totals.sessions + self.totals.already_there + outcome.sessions();
        self.line.set_message(format!("{} inputs, {sessions} sessions", self.totals.inputs));
        self.line.tick();
        Ok(())
    }

    /// Tells of an input whose sessions are in the store by now.
    fn tell(&mut self, outcome: &InputOutcome) -> Result<(), Failure> {
        self.totals.add(outcome);
        let text = match self.is_json {
            true => serde_json::to_string(outcome).expect("BUG: texts always make JSON") + "\n",
            false => outcome.text(),
        };
        self.line.suspend(|| stdout::print(&text))
    }
}

/// Whether others on the machine may read a file.
#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_path: &Path) -> bool {
    false
}

/// What `serve --state` has kept of sessions, by their keys.
fn quarantines(path: Option<&Path>) -> Result<HashMap<KeyId, QuarantineReason>, Failure> {
    let Some(path) = path else { return Ok(HashMap::new()) };
    let kept = read_quarantines(path).map_err(|error| state::failure(&error))?;
    say!("telepool: {} quarantines of {} are taken along", kept.len(), path.display());
    Ok(kept.iter().map(|it| (it.key_id, it.reason)).collect())
}

/// Says what it came to, and what the operator should know of it.
fn conclude(to: &Destination, totals: &ImportTotals) -> Result<(), Failure> {
    let Destination::Store(store) = to else {
        say!("telepool: {}; nothing was changed (--dry-run)", totals.text(true));
        return Ok(());
    };
    say!("telepool: {}; the store is {}", totals.text(false), store.path().display());
    match settle_store(store).map_err(|error| Failure::broken(error.to_string()))? {
        StoreSettled::Now(_) => {}
        StoreSettled::Served if totals.merged > 0 => say!(
            "telepool: accounts that are one person are merged when the process that serves the store next starts"
        ),
        StoreSettled::Served => say!("telepool: the process that serves the store takes them up"),
    }
    if totals.sessions > 0 {
        say!(
            WARN "telepool: from now on these sessions belong to this store: whatever used them before must stay \
             stopped, since Telegram voids a session that two programs use at once. Carrying sessions over is at \
             your own risk: at another address, or as another application, Telegram may end them"
        );
    }
    if totals.unidentified > 0 {
        say!(
            "telepool: {} sessions do not tell whose they are, and are not served before telepool session check has \
             asked",
            totals.unidentified
        );
    }
    if totals.exposed > 0 {
        say!(
            WARN "telepool: {} of the files can be read by others on this machine: close them (chmod 600), or delete \
             them once you need them no more",
            totals.exposed
        );
    }
    Ok(())
}
