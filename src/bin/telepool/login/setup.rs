//! What sign-ins are made with: as which application, at which servers, with whom to ask.
//!
//! Owns what they have in common, from the first question to the end, when nothing is open any more.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use telepool::ownership::{HostLocks, HostLocksOptions};
use telepool::sandbox::ServerPublicKey;
use telepool::sign_in::Application;
use telepool::store::SqliteStore;
use telepool::telegram::{SignInSettings, settle_store};

use super::conversation::Conversation;
use super::flow::LoginFlow;
use super::terminal::{self, Lines};
use crate::failure::Failure;
use crate::given::given;
use crate::session::IdentityArguments;
use crate::settings::Settings;
use crate::signals::{self, Stop};
use crate::{input, runtime, session_source};

/// How long it may take to note at the end that every connection is closed.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which servers are meant.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Signs in at Telegram's test servers, which have accounts of their own.
    #[arg(long)]
    test: bool,
    /// The public key of the servers (PEM), such as a sandbox's (telepool datacenter --public-key). Without it:
    /// Telegram's.
    #[arg(long, value_name = "FILE")]
    server_key: Option<PathBuf>,
}

/// What a command is told of all its sign-ins.
pub(crate) struct Setup<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) server: &'a ServerArguments,
    pub(crate) identity: &'a IdentityArguments,
    pub(crate) is_json: bool,
}

impl Setup<'_> {
    /// Runs sign-ins over a store. In the end every connection is closed, and that is noted.
    pub(super) fn run(
        &self,
        store: SqliteStore,
        work: impl AsyncFnOnce(&mut LoginFlow) -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        let store = Arc::new(store);
        let runtime = runtime::multi_thread()?;
        let locks = Arc::new(locks(&store, self.settings));
        let done = runtime.block_on(async {
            let (_stopper, stop) = signals::listen()?;
            let mut conversation = conversation(self.is_json);
            let application = ask(&stop, application(&mut conversation)).await?;
            let mut flow = LoginFlow {
                settings: self.sign_in_settings(application)?,
                password: None,
                picture: None,
                locks: Arc::clone(&locks),
                store: Arc::clone(&store),
                conversation,
                stop,
            };
            work(&mut flow).await
        });
        drop(runtime);
        locks.settle(SETTLE_TIMEOUT);
        // Two that turn out to be one person are merged, unless somebody serves the store, who does it when he begins.
        let settled = settle_store(&store).map_err(session_source::refused_store);
        done.and_then(|done| settled.map(|_| done))
    }

    fn sign_in_settings(&self, application: Application) -> Result<SignInSettings, Failure> {
        let mut sign_in = SignInSettings::new(application);
        sign_in.data_centres = self.settings.data_centres().clone();
        sign_in.redial_after_loss = rest(self.settings);
        self.server.apply(&mut sign_in)?;
        if let Some(identity) = self.identity.read()? {
            sign_in.identity = identity;
        }
        Ok(sign_in)
    }
}

/// With whom a sign-in is.
fn conversation(is_json: bool) -> Conversation {
    match (is_json, terminal::is_there()) {
        (true, _) => Conversation::Program(Lines::start()),
        (false, true) => Conversation::Person(Lines::start()),
        (false, false) => Conversation::Nobody,
    }
}

pub(super) fn locks(store: &SqliteStore, settings: &Settings) -> HostLocks {
    let mut options = HostLocksOptions::default();
    options.serves = Some(format!("a sign-in for {}", store.path().display()));
    options.timer = rest(settings);
    HostLocks::new(options)
}

/// For how long a key rests after a connection that was lost: all of them are of telepool's own kind here, which end
/// sooner than others.
pub(super) fn rest(settings: &Settings) -> Duration {
    settings.redial_after_loss().min(SignInSettings::REDIAL_AFTER_LOSS)
}

/// Asks for something that nothing is kept of yet.
pub(super) async fn ask<T>(
    stop: &Stop,
    asking: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    unless_stopped(stop, Failure::interrupted, asking).await?
}

/// Waits for something unless the end is asked for, which comes to this.
pub(super) async fn unless_stopped<T>(
    stop: &Stop,
    stopped: impl FnOnce() -> Failure,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        () = stop.requested() => Err(stopped()),
        done = work => Ok(done),
    }
}

/// As which application one signs in.
async fn application(conversation: &mut Conversation) -> Result<Application, Failure> {
    const WHERE: &str = "https://my.telegram.org gives it";
    let id = match given("API_ID")? {
        Some(id) => id,
        None => {
            let remedy =
                format!("the application: set TELEPOOL_API_ID and TELEPOOL_API_HASH ({WHERE})");
            conversation.once(&format!("Application id ({WHERE}): "), false, &remedy).await?
        }
    };
    let id = id.trim().parse().ok().filter(|id: &i32| *id > 0);
    let id = id.ok_or_else(|| {
        Failure::refused(format!("the application id (TELEPOOL_API_ID) is no number: {WHERE}"))
    })?;
    let hash = match given("API_HASH")? {
        Some(hash) => hash,
        None => {
            let remedy = format!("the application's hash: set TELEPOOL_API_HASH ({WHERE})");
            conversation.once("Application hash: ", true, &remedy).await?
        }
    };
    match hash.trim() {
        "" => Err(Failure::refused(format!("TELEPOOL_API_HASH is empty: {WHERE}"))),
        hash => Ok(Application::new(id, hash)),
    }
}

impl ServerArguments {
    pub(super) fn apply(&self, settings: &mut SignInSettings) -> Result<(), Failure> {
        settings.test_servers = self.test;
        if let Some(path) = &self.server_key {
            let refuse = |problem: String| {
                Failure::refused(format!("--server-key {}: {problem}", path.display()))
            };
            let text = input::text(path).map_err(refuse)?;
            let key = ServerPublicKey::from_pem(&text);
            let key = key.ok_or_else(|| {
                refuse(
                    "no RSA key of 2,048 bits that begins with -----BEGIN RSA PUBLIC KEY-----"
                        .to_owned(),
                )
            })?;
            settings.server_keys = vec![key];
        }
        Ok(())
    }
}
