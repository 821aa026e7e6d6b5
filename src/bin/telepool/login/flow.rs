//! The way of a sign-in through its questions, into the store.
//!
//! Owns the order at the end: closed, stored, told; and the further sessions of an account. What is kept of a sign-in
//! goes only when its session is in the store, or when nothing is left of it at the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use telepool::ownership::HostLocks;
use telepool::session::{AuthKey, KeyId, SessionUser};
use telepool::sign_in::{LoginLink, SignInWay, SignedIn};
use telepool::store::{Added, Addition, SessionStore as _, SqliteStore};
use telepool::telegram::{SignInRun, SignInRunError, SignInSettings, accept_login};
use zeroize::Zeroizing;

use super::FIRST_DC;
use super::conversation::Conversation;
use super::pending::{FURTHER, Keeper, Left, find};
use crate::failure::Failure;
use crate::session::unusable;
use crate::signals::Stop;

/// What accepts further sessions.
pub(super) enum Acceptor<'a> {
    /// A sign-in that is done, and not finished.
    Run(&'a mut SignInRun),
    /// A session of another program, dialled for that.
    Session {
        settings: Box<SignInSettings>,
        place: (i32, SocketAddr),
        key: AuthKey,
        locks: Arc<HostLocks>,
    },
}

impl Acceptor<'_> {
    pub(super) async fn accept(&mut self, link: &LoginLink) -> Result<(), SignInRunError> {
        match self {
            Self::Run(run) => run.accept(link).await,
            Self::Session { settings, place, key, locks } => {
                let locks = Arc::clone(locks) as _;
                accept_login((**settings).clone(), *place, key.clone(), locks, link).await
            }
        }
    }
}

/// What sign-ins are made with, one after another.
pub(super) struct LoginFlow {
    pub(super) store: Arc<SqliteStore>,
    pub(super) settings: SignInSettings,
    pub(super) locks: Arc<HostLocks>,
    pub(super) conversation: Conversation,
    pub(super) stop: Stop,
    /// The account's password, once somebody has given it.
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) picture: Option<PathBuf>,
}

impl LoginFlow {
    /// Begins a sign-in, which is kept by this.
    pub(super) fn begin(
        &self,
        way: SignInWay,
        keeper: Keeper,
    ) -> Result<(SignInRun, Keeper), Failure> {
        let (settings, locks) = (self.settings.clone(), Arc::clone(&self.locks));
        let keep = keeper.clone();
        let run = SignInRun::begin(settings, way, FIRST_DC, locks, move |kept| keep.keep(kept));
        let run = run.map_err(|error| Failure::refused(error.to_string()))?;
        Ok((run, keeper))
    }

    /// Goes on with one that was left.
    pub(super) fn resume(&self, left: Left) -> Result<(SignInRun, Keeper), Failure> {
        let (mut settings, locks) = (self.settings.clone(), Arc::clone(&self.locks));
        let keeper = Keeper::of(&self.store, &left);
        let (keep, name) = (keeper.clone(), left.name);
        let api_id = left.state.kept.api_id();
        settings.test_servers = left.state.kept.test_servers();
        let run = SignInRun::resume(settings, left.state.kept, locks, move |it| keep.keep(it));
        let run = run.ok_or_else(|| {
            Failure::refused(format!(
                "the sign-in of {name} was begun as application {api_id}, and goes on as that only"
            ))
        })?;
        Ok((run, keeper))
    }

    /// Goes on with the one of this name, if it was left, and begins it otherwise.
    pub(super) fn take_up(
        &self,
        name: &str,
        way: SignInWay,
        group: Option<&str>,
    ) -> Result<(SignInRun, Keeper), Failure> {
        match find(&self.store, name)? {
            Some(left) => self.resume(left),
            None => self.begin(way, Keeper::new(&self.store, name, group.map(str::to_owned), 0)),
        }
    }

    /// All of a sign-in, with the further sessions that are wanted. However it ends, its connections are closed.
    pub(super) async fn run(&mut self, mut run: SignInRun, keeper: &Keeper) -> Result<(), Failure> {
        let mut done = self.complete(&mut run, keeper, None).await;
        while done.is_ok() && keeper.further() > 0 {
            done = self.make_further(&mut run, keeper).await;
        }
        match done {
            Ok(()) => self.store(run, keeper).await,
            // The further sessions are not to be had, which costs nobody the first.
            Err(failure) if run.is_done() && failure.status() == 1 => {
                self.store(run, keeper).await?;
                Err(failure)
            }
            Err(failure) => {
                run.leave().await;
                Err(failure)
            }
        }
    }

    /// Closes a sign-in that is done, stores its session, and tells.
    pub(super) async fn store(&mut self, run: SignInRun, keeper: &Keeper) -> Result<(), Failure> {
        let session = run.finish().await.map_err(|error| Failure::broken(error.to_string()))?;
        let mut new = session.to_store();
        new.found.group = keeper.group().map(Into::into);
        let done = self.store.finish_login(keeper.login(), &new, keeper.replaces);
        let addition = done.map_err(unusable)?;
        let who = &session.signed_in;
        let user = SessionUser::new(who.user_id, who.is_bot, who.phone);
        self.store.note_logins(&[(KeyId::of(&session.key), Some(user))]).map_err(unusable)?;
        self.tell(&session.signed_in, &addition, &keeper.shown)
    }

    fn tell(&self, who: &SignedIn, addition: &Addition, login: &str) -> Result<(), Failure> {
        let name = addition
            .name
            .map_or_else(|| format!("user:{}", who.user_id), |name| name.reveal().to_string());
        let slot = addition.slot;
        if let Added::Refused(conflict) = addition.outcome {
            return Err(Failure::broken(format!(
                "{name} is signed in, and the store does not take it: {conflict}. Once that is mended, telepool login \
                 --resume {login} stores it; --give-up {login} logs it out"
            )));
        }
        let event = json!({
            "event": "signed-in",
            "account": name,
            "user_id": who.user_id,
            "is_bot": who.is_bot,
            "slot": slot,
            "dc": who.dc,
            "relogin_after_days": who.otherwise_relogin_days,
        });
        self.conversation
            .tell(&event, &format!("{name} is signed in, in slot {slot} of the store"))?;
        if let Some(days) = who.otherwise_relogin_days {
            let warning = json!({ "event": "ends", "account": name, "days": days });
            let words = format!(
                "Telegram ends this session in {days} days unless {name} sets a password in an official app"
            );
            self.conversation.tell(&warning, &words)?;
        }
        Ok(())
    }

    /// One more session of an account, which another one accepts.
    async fn make_further(
        &mut self,
        first: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<(), Failure> {
        let (first_name, _) = keeper.login();
        let name = format!("{first_name}{FURTHER}{}", keeper.further());
        let way = SignInWay::Scan { except: Vec::new() };
        let (run, own) = self.take_up(&name, way, keeper.group())?;
        let made = self.have_accepted(Acceptor::Run(first), run, own.shown_as(keeper)).await;
        match made {
            Ok(()) => keeper.one_less(),
            Err(failure) if failure.is_stop() && find(&self.store, &name)?.is_none() => {
                Err(Failure::broken("the further sessions were given up"))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Has a session accept another one, and stores that.
    pub(super) async fn have_accepted(
        &mut self,
        mut acceptor: Acceptor<'_>,
        mut run: SignInRun,
        own: Keeper,
    ) -> Result<(), Failure> {
        match self.complete(&mut run, &own, Some(&mut acceptor)).await {
            Ok(()) => self.store(run, &own).await,
            Err(failure) => {
                self.end_if_over(&failure, &mut run, &own).await?;
                run.leave().await;
                Err(failure)
            }
        }
    }
}

/// The user has ended it, and it goes on when he likes.
pub(super) fn left(name: &str) -> Failure {
    Failure::stopped(format!("left: telepool login --resume {name} goes on with it"))
}
