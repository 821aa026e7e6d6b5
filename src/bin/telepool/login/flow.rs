//! The way of a sign-in through its questions, into the store.
//!
//! Owns what is asked when, what becomes of an error, and the order at the end: closed, stored, told. What is kept of
//! a sign-in goes only when its session is in the store, or when nothing can come of it any more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use telepool::ownership::HostLocks;
use telepool::session::AuthKey;
use telepool::sign_in::{LoginLink, PasswordQuestion, SentCode, SignInError, SignInWay, SignedIn};
use telepool::store::{Added, Addition, SessionStore as _, SqliteStore};
use telepool::telegram::{SignInPrompt, SignInRun, SignInRunError, SignInSettings, accept_login};
use zeroize::Zeroizing;

use super::FIRST_DC;
use super::code_image::CodePicture;
use super::conversation::{Conversation, Entered};
use super::pending::{Keeper, Left, find};
use crate::failure::Failure;
use crate::session::unusable;
use crate::signals::Stop;

/// The longest that is waited for by itself, as long as somebody is there to end it.
const WAIT_MAX: Duration = Duration::from_secs(300);
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
        let (settings, locks) = (self.settings.clone(), Arc::clone(&self.locks));
        let (keep, name) = (keeper.clone(), left.name);
        let (api_id, test) = (left.state.kept.api_id(), left.state.kept.test_servers());
        let run = SignInRun::resume(settings, left.state.kept, locks, move |it| keep.keep(it));
        run.ok_or_else(|| {
            Failure::refused(format!(
                "the sign-in of {name} was begun as application {api_id}{}, and goes on as that only",
                if test { " with --test" } else { "" }
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

    /// Goes on until the server has taken it.
    async fn complete(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<SignedIn, Failure> {
        // It goes with what it shows.
        let picture = self.picture.as_deref().map(CodePicture::at);
        let mut is_shown = false;
        let mut own_password = self.password.clone();
        let mut stop = self.stop.clone();
        loop {
            let prompt = tokio::select! {
                biased;
                () = stop.requested() => return Err(left(&keeper.name)),
                () = self.conversation.cancelled(), if is_shown => {
                    return self.give_up(run, keeper).await;
                }
                prompt = run.next() => prompt,
            };
            match prompt {
                Ok(SignInPrompt::Done(done)) => return Ok(done),
                Ok(SignInPrompt::Code(sent)) => self.code(run, keeper, &sent).await?,
                Ok(SignInPrompt::Password(question)) => {
                    is_shown = false;
                    self.password(run, keeper, &question, own_password.take()).await?;
                }
                Ok(SignInPrompt::Scan(link)) => {
                    self.conversation.show(&link, picture.as_ref())?;
                    is_shown = true;
                }
                Ok(_) => return Err(Failure::broken("this sign-in wants what is not known here")),
                Err(error) => self.wait_or_end(error, keeper).await?,
            }
        }
    }

    async fn code(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
        sent: &SentCode,
    ) -> Result<(), Failure> {
        let mut problem: Option<String> = None;
        let mut stop = self.stop.clone();
        loop {
            let entered = tokio::select! {
                biased;
                () = stop.requested() => return Err(left(&keeper.name)),
                entered = self.conversation.code(&keeper.name, sent, problem.as_deref()) => entered?,
            };
            let done = match entered {
                Entered::Text(code) => run.enter_code(&code),
                Entered::Resend => run.resend(),
                Entered::Cancel => return self.give_up(run, keeper).await,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) => problem = Some(error.to_string()),
            }
        }
    }

    async fn password(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
        question: &PasswordQuestion,
        mut given: Option<Zeroizing<String>>,
    ) -> Result<(), Failure> {
        let mut problem: Option<String> = None;
        let mut stop = self.stop.clone();
        loop {
            let password = match given.take() {
                Some(password) => password,
                None => {
                    let asked =
                        self.conversation.password(&keeper.name, question, problem.as_deref());
                    let entered = tokio::select! {
                        biased;
                        () = stop.requested() => return Err(left(&keeper.name)),
                        entered = asked => entered?,
                    };
                    match entered {
                        Entered::Text(password) => password,
                        _ => return self.give_up(run, keeper).await,
                    }
                }
            };
            match run.enter_password(password.clone()).await {
                Ok(()) => {
                    // For the further sessions of this run; a wrong one is asked for again.
                    self.password = Some(password);
                    return Ok(());
                }
                Err(error) => problem = Some(error.to_string()),
            }
        }
    }

    /// Gives a sign-in up: nothing is left of it, here or at the server.
    pub(super) async fn give_up<T>(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<T, Failure> {
        let mut stop = self.stop.clone();
        let ended = tokio::select! {
            biased;
            () = stop.requested() => return Err(left(&keeper.name)),
            ended = run.cancel() => ended,
        };
        let name = &keeper.name;
        match ended {
            Ok(()) => {
                keeper.forget()?;
                Err(Failure::stopped(format!(
                    "the sign-in of {name} was given up, and nothing is left of it"
                )))
            }
            Err(error) => Err(Failure::later(format!(
                "the sign-in of {name} could not be ended ({error}): telepool login --give-up {name} tries again"
            ))),
        }
    }

    /// Waits until a sign-in may go on, if that is soon and somebody is there who can end it.
    async fn wait_or_end(&mut self, error: SignInRunError, keeper: &Keeper) -> Result<(), Failure> {
        let name = &keeper.name;
        let wait = match &error {
            SignInRunError::Resting { remaining } => Some(*remaining + Duration::from_millis(100)),
            _ => None,
        };
        let is_somebody_there = !matches!(self.conversation, Conversation::Nobody);
        if let Some(wait) = wait.filter(|wait| is_somebody_there && *wait <= WAIT_MAX) {
            let event =
                json!({ "event": "waiting", "account": &**name, "seconds": wait.as_secs() + 1 });
            self.conversation.tell(&event, &error.to_string())?;
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.requested() => return Err(left(name)),
                () = tokio::time::sleep(wait) => return Ok(()),
            }
        }
        match (&error, error.retry_after()) {
            (SignInRunError::Claim(_), _) => Err(Failure::held(error.to_string())),
            (SignInRunError::NoAddress { .. }, _) => Err(Failure::refused(error.to_string())),
            (_, Some(after)) => Err(Failure::later(format!(
                "{error}; telepool login --resume {name} goes on with it"
            ))
            .after(after)),
            // Nothing can come of it any more.
            (_, None) => {
                keeper.forget()?;
                Err(Failure::broken(error.to_string()))
            }
        }
    }

    /// Closes a sign-in that is done, stores its session, and tells.
    pub(super) async fn store(&mut self, run: SignInRun, keeper: &Keeper) -> Result<(), Failure> {
        let session = run.finish().await.map_err(|error| Failure::broken(error.to_string()))?;
        let mut new = session.to_store();
        new.found.group = keeper.group().map(Into::into);
        let addition = self.store.finish_login(&keeper.name, &new).map_err(unusable)?;
        self.tell(&session.signed_in, &addition)
    }

    fn tell(&self, who: &SignedIn, addition: &Addition) -> Result<(), Failure> {
        let name = addition
            .name
            .map_or_else(|| format!("user:{}", who.user_id), |name| name.reveal().to_string());
        let slot = addition.slot;
        if let Added::Refused(conflict) = addition.outcome {
            return Err(Failure::broken(format!(
                "{name} is signed in, and the store does not take it: {conflict}"
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
        let name = format!("{} ({} more)", keeper.name, keeper.further());
        let (run, own) = match find(&self.store, &name)? {
            Some(left) => {
                let own = Keeper::of(&self.store, &left);
                (self.resume(left, &own)?, own)
            }
            None => {
                let own = Keeper::new(&self.store, &name, keeper.group().map(str::to_owned), 0);
                let way = SignInWay::Scan { except: Vec::new() };
                (self.begin(way, FIRST_DC, &own)?, own)
            }
        };
        let mut run = run;
        match self.have_accepted(&mut Acceptor::Run(first), &mut run, (keeper, &own)).await {
            Ok(()) => {
                self.store(run, &own).await?;
                keeper.one_less()
            }
            Err(failure) => {
                run.leave().await;
                Err(failure)
            }
        }
    }

    /// Has one session accept what another one shows, until that is signed in.
    pub(super) async fn have_accepted(
        &mut self,
        first: &mut Acceptor<'_>,
        run: &mut SignInRun,
        (keeper, own): (&Keeper, &Keeper),
    ) -> Result<(), Failure> {
        let mut tries = 0;
        let mut own_password = self.password.clone();
        let mut stop = self.stop.clone();
        loop {
            let prompt = tokio::select! {
                biased;
                () = stop.requested() => return Err(left(&keeper.name)),
                prompt = run.next() => prompt,
            };
            match prompt {
                Ok(SignInPrompt::Scan(link)) => match first.accept(&link).await {
                    Ok(()) => {}
                    // Late: there is another one soon.
                    Err(SignInRunError::SignIn(SignInError::Refused { name, .. }))
                        if name.starts_with("AUTH_TOKEN_") && tries < ACCEPT_TRIES_MAX =>
                    {
                        tries += 1;
                    }
                    Err(error) if error.retry_after().is_some() => {
                        self.wait_or_end(error, keeper).await?;
                    }
                    Err(error) => {
                        return Err(Failure::broken(format!("no further session: {error}")));
                    }
                },
                Ok(SignInPrompt::Password(question)) => {
                    self.password(run, own, &question, own_password.take()).await?;
                }
                Ok(SignInPrompt::Done(_)) => return Ok(()),
                Ok(_) => return Err(Failure::broken("this sign-in wants what is not known here")),
                Err(error) => self.wait_or_end(error, own).await?,
            }
        }
    }
}

/// The user has ended it, and it goes on when he likes.
fn left(name: &str) -> Failure {
    Failure::stopped(format!("left: telepool login --resume {name} goes on with it"))
}
