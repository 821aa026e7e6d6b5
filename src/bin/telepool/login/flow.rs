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
use telepool::sign_in::{LoginLink, SignInError, SignInWay, SignedIn};
use telepool::store::{Added, Addition, SessionStore as _, SqliteStore};
use telepool::telegram::{SignInPrompt, SignInRun, SignInRunError, SignInSettings, accept_login};
use zeroize::Zeroizing;

use super::FIRST_DC;
use super::conversation::Conversation;
use super::pending::{FURTHER, Keeper, Left, find};
use crate::failure::Failure;
use crate::session::unusable;
use crate::signals::Stop;

/// How often in a row what a further session shows may be out of date when the first accepts it.
const ACCEPT_TRIES_MAX: u32 = 4;

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
    async fn accept(&mut self, link: &LoginLink) -> Result<(), SignInRunError> {
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
    /// Whose place the session takes that is signed in.
    pub(super) replaces: Option<KeyId>,
}

impl LoginFlow {
    /// Begins a sign-in that is kept under this name.
    pub(super) fn begin(
        &self,
        way: SignInWay,
        dc: i32,
        keeper: &Keeper,
    ) -> Result<SignInRun, Failure> {
        let (settings, locks) = (self.settings.clone(), Arc::clone(&self.locks));
        let keep = keeper.clone();
        SignInRun::begin(settings, way, dc, locks, move |kept| keep.keep(kept))
            .map_err(|error| Failure::refused(error.to_string()))
    }

    /// Goes on with one that was left.
    pub(super) fn resume(&self, left: Left, keeper: &Keeper) -> Result<SignInRun, Failure> {
        let (mut settings, locks) = (self.settings.clone(), Arc::clone(&self.locks));
        let (keep, name) = (keeper.clone(), left.name);
        let api_id = left.state.kept.api_id();
        settings.test_servers = left.state.kept.test_servers();
        let run = SignInRun::resume(settings, left.state.kept, locks, move |it| keep.keep(it));
        run.ok_or_else(|| {
            Failure::refused(format!(
                "the sign-in of {name} was begun as application {api_id}, and goes on as that only"
            ))
        })
    }

    /// All of a sign-in, with the further sessions that are wanted. However it ends, its connections are closed.
    pub(super) async fn run(&mut self, mut run: SignInRun, keeper: &Keeper) -> Result<(), Failure> {
        let mut done = self.complete(&mut run, keeper).await.map(drop);
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
        let done = self.store.finish_login(keeper.login(), &new, self.replaces);
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
        let (mut run, own) = match find(&self.store, &name)? {
            Some(left) => {
                let own = Keeper::of(&self.store, &left).shown_as(keeper);
                (self.resume(left, &own)?, own)
            }
            None => {
                let own = Keeper::new(&self.store, &name, keeper.group().map(str::to_owned), 0);
                let own = own.shown_as(keeper);
                let way = SignInWay::Scan { except: Vec::new() };
                (self.begin(way, FIRST_DC, &own)?, own)
            }
        };
        match self.have_accepted(&mut Acceptor::Run(first), &mut run, &own).await {
            Ok(()) => {
                self.store(run, &own).await?;
                keeper.one_less()
            }
            Err(failure) => {
                let is_given_up = failure.is_stop() && find(&self.store, &name)?.is_none();
                if failure.status() == 1 && run.cancel().await.is_ok() {
                    own.forget()?;
                }
                run.leave().await;
                match is_given_up {
                    true => Err(Failure::broken("the further sessions were given up")),
                    false => Err(failure),
                }
            }
        }
    }

    /// Has one session accept what another one shows, until that is signed in.
    pub(super) async fn have_accepted(
        &mut self,
        first: &mut Acceptor<'_>,
        run: &mut SignInRun,
        own: &Keeper,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        let mut own_password = self.password.clone();
        let mut stop = self.stop.clone();
        loop {
            let prompt = tokio::select! {
                biased;
                () = stop.requested() => return Err(left(&own.shown)),
                prompt = run.next() => prompt,
            };
            match prompt {
                Ok(SignInPrompt::Scan(link)) => {
                    let accepted = tokio::select! {
                        biased;
                        () = stop.requested() => return Err(left(&own.shown)),
                        accepted = first.accept(&link) => accepted,
                    };
                    match accepted {
                        Ok(()) => {}
                        // Late: there is another one soon.
                        Err(SignInRunError::SignIn(SignInError::Refused { name, .. }))
                            if name.starts_with("AUTH_TOKEN_") && tries < ACCEPT_TRIES_MAX =>
                        {
                            tries += 1;
                        }
                        Err(error) => self.wait(&error, own).await?,
                    }
                }
                Ok(SignInPrompt::Password(question)) => {
                    self.password(run, own, &question, own_password.take()).await?;
                }
                Ok(SignInPrompt::Done(_)) => return Ok(()),
                Ok(_) => return Err(Failure::broken("this sign-in wants what is not known here")),
                Err(error) => self.wait_or_end(error, run, own).await?,
            }
        }
    }
}

/// The user has ended it, and it goes on when he likes.
pub(super) fn left(name: &str) -> Failure {
    Failure::stopped(format!("left: telepool login --resume {name} goes on with it"))
}
