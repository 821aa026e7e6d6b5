//! `telepool logout`: ends sessions at Telegram, and removes them from the store.
//!
//! Owns the order: ended there first, then removed here. What ended sessions leave spares the next sign-in its code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use telepool::ownership::HostLocks;
use telepool::sign_in::Application;
use telepool::store::{Removal, SessionStore as _, SqliteStore, StoredAccount, StoredSession};
use telepool::telegram::{SignInRunError, SignInSettings, SignedOut, sign_out};

use super::setup::{SETTLE_TIMEOUT, ServerArguments, locks, rest};
use crate::failure::Failure;
use crate::given::given;
use crate::session::{StoreArguments, WhichSessions, shown_name, unusable};
use crate::settings::{Settings, SettingsArguments};
use crate::{logs, runtime, signals, status, stdout};

#[derive(Debug, Args)]
pub(crate) struct LogoutArguments {
    #[command(flatten)]
    which: WhichSessions,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    settings: SettingsArguments,
}

pub(crate) fn run(arguments: &LogoutArguments) -> Result<ExitCode, Failure> {
    logs::start(&status::hidden())?;
    let settings = arguments.settings.load(Settings::for_serve())?;
    let store = arguments.store.open()?;
    let (account, sessions) = arguments.which.find(&store)?;
    let locks = Arc::new(locks(&store, &settings));
    let runtime = runtime::multi_thread()?;
    let done = runtime.block_on(async {
        let (_stopper, stop) = signals::listen()?;
        let mut failures = Vec::new();
        for session in &sessions {
            // One that is begun is ended, which takes a few seconds at most.
            if stop.is_requested() {
                return Err(Failure::stopped("ended before its time: what was told is ended"));
            }
            if let Err(failure) = arguments.end(&store, &account, session, &settings, &locks).await
            {
                failures.push((session.slot, failure));
            }
        }
        let last = failures.pop();
        for (slot, failure) in failures {
            say!(ERROR "telepool: slot {slot}: {failure}");
        }
        last.map_or(Ok(ExitCode::SUCCESS), |(_, failure)| Err(failure))
    });
    drop(runtime);
    locks.settle(SETTLE_TIMEOUT);
    done
}

impl LogoutArguments {
    /// Ends one session, as it has always been used.
    async fn end(
        &self,
        store: &SqliteStore,
        account: &StoredAccount,
        session: &StoredSession,
        settings: &Settings,
        locks: &Arc<HostLocks>,
    ) -> Result<(), Failure> {
        let api_id = match session.api_id {
            Some(id) => Some(id),
            None => given("API_ID")?.and_then(|id| id.parse().ok()),
        };
        let api_id = api_id.ok_or_else(|| {
            Failure::missing("the application of the session: set TELEPOOL_API_ID")
        })?;
        let name = account.name().ok_or_else(|| {
            Failure::refused("nobody knows whose session this is: telepool session check asks")
        })?;
        let record = store.record(account.id, session.slot, name).map_err(unusable)?;
        let record = record.ok_or_else(|| Failure::refused("the session was removed meanwhile"))?;
        let mut sign_in = SignInSettings::new(Application::new(api_id, ""));
        sign_in.redial_after_loss = rest(settings);
        self.server.apply(&mut sign_in)?;
        sign_in.test_servers = session.test_mode;
        if let Some(identity) = &session.identity {
            sign_in.identity = identity.clone();
        }
        sign_in.proxy = record.proxy;
        let place = (record.dc, record.address);
        let out = sign_out(sign_in, place, record.key, Arc::clone(locks) as _).await;
        let SignedOut { logout_token, .. } =
        out.map_err(|error| match (&error, error.retry_after()) {
            (SignInRunError::Claim(_), _) => Failure::held(format!(
                "{error}. Whoever serves the store holds all of it: end that process for as long as this takes"
            )),
            (SignInRunError::KeyUnknown, _) => Failure::broken(
            "Telegram does not know the session's key, which may pass: if it is gone for good, telepool session remove \
             takes it out of the store",
        ),
        (_, Some(after)) => Failure::later(error.to_string()).after(after),
            (_, None) => Failure::broken(error.to_string()),
        })?;
        if let (Some(token), Some(user)) = (logout_token, account.user_id) {
            store.add_logout_token(user, &token).map_err(unusable)?;
        }
        store.remove(&[session.key_id], Removal::KeepKeyId).map_err(unusable)?;
        stdout::print(&format!("{} is logged out of slot {}\n", shown_name(account), session.slot))
    }
}
