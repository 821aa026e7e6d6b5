//! A sign-in with its connections: the calls of [`SignIn`](crate::sign_in::SignIn), over connections of telepool's own.
//!
//! Owns the way of one sign-in from its first call to a closed session, and that everything is kept before it is
//! asked or done. Never asks a person anything, and never stores a session.
//!
//! A key is made for each data centre that the sign-in comes to, and kept before anything is done with it. The session
//! is closed before it is handed out, so that whoever dials it next is alone with it.

mod connections;
mod error;
mod kept;
mod one_call;
mod session;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types::{Serializable as _, functions};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use zeroize::Zeroizing;

pub use self::error::SignInRunError;
pub use self::kept::KeptSignIn;
pub use self::one_call::{SignedOut, accept_login, sign_out};
pub use self::session::SignedInSession;
pub use self::settings::SignInSettings;

use self::connections::SignInConnections;
use super::BoxError;
use super::wire::WireError;
use crate::base::sync::Mutex;
use crate::ownership::Ownership;
use crate::sign_in::{
    LoginLink, PasswordQuestion, SentCode, SignIn, SignInError, SignInInputError, SignInStep,
    SignInWay, SignedIn,
};

/// How often in a row a connection may be lost before that is told, and how long is waited in between.
const LOSSES_MAX: u32 = 3;
const LOSS_PAUSE: Duration = Duration::from_millis(500);

/// What a sign-in waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SignInPrompt {
    /// The code: [`SignInRun::enter_code`], or another one: [`SignInRun::resend`].
    Code(SentCode),
    /// The password: [`SignInRun::enter_password`].
    Password(PasswordQuestion),
    /// That somebody scans or opens this: [`SignInRun::next`] waits for that, and returns when there is another one.
    Scan(LoginLink),
    /// Nothing: the server has taken it. [`SignInRun::finish`] hands the session out.
    Done(SignedIn),
}

/// Where what is to be kept goes.
type KeepSignIn = Box<dyn FnMut(&KeptSignIn) -> Result<(), BoxError> + Send>;

/// A sign-in under way.
///
/// Dropping a future of it loses nothing: the next call of [`next`](Self::next) goes on.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use telepool::ownership::HostLocks;
/// use telepool::sign_in::{Application, SignInWay};
/// use telepool::telegram::{SignInPrompt, SignInRun, SignInSettings};
/// use zeroize::Zeroizing;
///
/// # fn ask(question: &str) -> String { question.to_owned() }
/// # async fn sign_in() -> Result<(), Box<dyn std::error::Error>> {
/// let application = Application::new(12345, "0123456789abcdef0123456789abcdef");
/// let locks = Arc::new(HostLocks::default());
/// let way = SignInWay::phone("+9996620001".parse()?);
/// let keep = |kept: &telepool::telegram::KeptSignIn| {
///     std::fs::write("sign-in.pending", &*kept.to_bytes()).map_err(Into::into)
/// };
/// let mut run = SignInRun::begin(SignInSettings::new(application), way, 2, locks, keep)?;
/// loop {
///     match run.next().await? {
///         SignInPrompt::Code(sent) => {
///             let code = ask(&format!("the code that was sent {}", sent.delivery));
///             if let Err(error) = run.enter_code(&code) {
///                 eprintln!("{error}");
///             }
///         }
///         SignInPrompt::Password(question) => {
///             let password = ask(&format!("the password ({:?})", question.hint));
///             run.enter_password(Zeroizing::new(password)).await?;
///         }
///         SignInPrompt::Done(_) => break,
///         _ => unreachable!("nothing is shown to be scanned"),
///     }
/// }
/// let session = run.finish().await?;
/// # drop(session);
/// # Ok(())
/// # }
/// ```
pub struct SignInRun {
    machine: Arc<Mutex<SignIn>>,
    /// What is to be done next; `None` while it is being done.
    step: Option<SignInStep>,
    connections: SignInConnections,
    keep: KeepSignIn,
    /// What was kept last.
    kept: Zeroizing<Vec<u8>>,
    /// What was shown last.
    shown: Option<LoginLink>,
    /// How often in a row a connection was lost.
    losses: u32,
}

impl SignInRun {
    /// Begins a sign-in, at the data centre that is nearest or that the account was last seen at. Nothing is sent
    /// before [`next`](Self::next). `keep` is given all that another process needs to go on, before anything is done
    /// or asked; it may block for as long as a write to disk takes.
    ///
    /// # Errors
    /// What is given has no phone number in it, or no token.
    pub fn begin(
        settings: SignInSettings,
        way: SignInWay,
        dc: i32,
        ownership: Arc<dyn Ownership>,
        keep: impl FnMut(&KeptSignIn) -> Result<(), BoxError> + Send + 'static,
    ) -> Result<Self, SignInInputError> {
        let (machine, step) = SignIn::begin(settings.application.clone(), way, dc)?;
        let connections = SignInConnections::new(settings, ownership, Vec::new());
        Ok(Self::new(machine, step, connections, Box::new(keep)))
    }

    /// Goes on with what was kept, with the identity and by the proxy that it was begun with. `None` if it is of another
    /// application or of other servers than these settings.
    #[must_use]
    pub fn resume(
        settings: SignInSettings,
        kept: KeptSignIn,
        ownership: Arc<dyn Ownership>,
        keep: impl FnMut(&KeptSignIn) -> Result<(), BoxError> + Send + 'static,
    ) -> Option<Self> {
        let settings = kept.settings(settings)?;
        let (machine, step) = kept.saved.resume(settings.application.clone())?;
        let connections = SignInConnections::new(settings, ownership, kept.keys);
        Some(Self::new(machine, step, connections, Box::new(keep)))
    }

    fn new(
        machine: SignIn,
        step: SignInStep,
        connections: SignInConnections,
        keep: KeepSignIn,
    ) -> Self {
        Self {
            machine: Arc::new(Mutex::new(machine)),
            step: Some(step),
            connections,
            keep,
            kept: Zeroizing::default(),
            shown: None,
            losses: 0,
        }
    }

    /// Goes on until something is wanted that only a person has.
    ///
    /// # Errors
    /// It does not go on. Unless it is over ([`SignInRunError::retry_after`]) it does with the next call of this.
    pub async fn next(&mut self) -> Result<SignInPrompt, SignInRunError> {
        match self.advance().await? {
            Some(prompt) => Ok(prompt),
            None => Err(SignInRunError::OutOfTurn("the sign-in was given up")),
        }
    }

    /// `None`: it was given up.
    async fn advance(&mut self) -> Result<Option<SignInPrompt>, SignInRunError> {
        self.connections.claim().await?;
        loop {
            // Whoever waited for the last call has given it up.
            let step = self.step.take().unwrap_or_else(|| self.machine.lock().lost());
            let prompt = match step {
                SignInStep::Call { dc, request } => {
                    self.step = Some(SignInStep::Call { dc, request: request.clone() });
                    self.call(dc, request).await?;
                    continue;
                }
                SignInStep::Cancelled => {
                    self.step = Some(step);
                    self.connections.close_all().await;
                    return Ok(None);
                }
                SignInStep::Show(link) if self.shown.as_ref() == Some(&link) => {
                    let after = link.poll_after;
                    self.step = Some(SignInStep::Show(link));
                    sleep(after).await;
                    self.step = self.machine.lock().poll();
                    continue;
                }
                SignInStep::Show(link) => {
                    self.shown = Some(link.clone());
                    self.step = Some(SignInStep::Show(link.clone()));
                    SignInPrompt::Scan(link)
                }
                SignInStep::AskCode(sent) => {
                    self.step = Some(SignInStep::AskCode(sent.clone()));
                    SignInPrompt::Code(sent)
                }
                SignInStep::AskPassword(question) => {
                    self.step = Some(SignInStep::AskPassword(question.clone()));
                    SignInPrompt::Password(question)
                }
                SignInStep::Done(done) => {
                    self.step = Some(SignInStep::Done(done.clone()));
                    SignInPrompt::Done(*done)
                }
            };
            self.keep()?;
            return Ok(Some(prompt));
        }
    }

    /// Keeps where it is, if that has changed.
    fn keep(&mut self) -> Result<(), SignInRunError> {
        let saved = self.machine.lock().save();
        let (keys, settings) = (self.connections.keys(), self.connections.settings());
        let kept = KeptSignIn::new(saved, keys, settings);
        let bytes = kept.to_bytes();
        if bytes != self.kept {
            (self.keep)(&kept).map_err(SignInRunError::Keep)?;
            self.kept = bytes;
        }
        Ok(())
    }

    /// Makes a call, whatever comes of it. After an error the same call is what is to be done next.
    async fn call(&mut self, dc: i32, request: Vec<u8>) -> Result<(), SignInRunError> {
        self.connections.prepare(dc).await?;
        self.keep()?;
        // From here on it may be on its way.
        let again = self.step.take();
        let answered = match self.connections.call(dc, request).await {
            Ok(answered) => answered,
            Err(error) => {
                self.step = again;
                return Err(error);
            }
        };
        let machine = Arc::clone(&self.machine);
        let next = match answered {
            Ok(answer) => {
                self.losses = 0;
                let next = spawn_blocking(move || machine.lock().answered(&answer)).await;
                next.map_err(|_| SignInRunError::OutOfTurn("the runtime ends"))?
            }
            Err(WireError::Rpc { code, message }) => {
                self.losses = 0;
                machine.lock().refused(code, &message)
            }
            Err(error) => {
                self.step = match error.may_be_carried_out() {
                    true => Some(machine.lock().lost()),
                    false => again,
                };
                self.losses += 1;
                if self.losses >= LOSSES_MAX {
                    self.losses = 0;
                    return Err(SignInRunError::Lost { dc, error });
                }
                sleep(LOSS_PAUSE * self.losses).await;
                return Ok(());
            }
        };
        self.step = Some(next?);
        Ok(())
    }

    /// Somebody has entered the code.
    ///
    /// # Errors
    /// It can not be one, or none is waited for. The sign-in is where it was.
    pub fn enter_code(&mut self, code: &str) -> Result<(), SignInInputError> {
        let step = self.machine.lock().enter_code(code)?;
        self.step = Some(step);
        Ok(())
    }

    /// Somebody wants another code.
    ///
    /// # Errors
    /// None is to be had, or none is waited for. The sign-in is where it was.
    pub fn resend(&mut self) -> Result<(), SignInInputError> {
        let step = self.machine.lock().resend()?;
        self.step = Some(step);
        Ok(())
    }

    /// Somebody has entered the password.
    ///
    /// # Errors
    /// It is empty, or none is waited for. The sign-in is where it was.
    pub async fn enter_password(
        &mut self,
        password: Zeroizing<String>,
    ) -> Result<(), SignInInputError> {
        let machine = Arc::clone(&self.machine);
        let entered = spawn_blocking(move || machine.lock().enter_password(password)).await;
        // A runtime that ends has it asked for again.
        if let Ok(step) = entered {
            self.step = Some(step?);
        }
        Ok(())
    }

    /// Accepts what another sign-in shows, as an app of this account does with what it scans: so an account gets
    /// further sessions by one code. This one has to be done, and not finished.
    ///
    /// # Errors
    /// It is not done, what is shown is out of date, or the server can not be reached.
    pub async fn accept(&mut self, link: &LoginLink) -> Result<(), SignInRunError> {
        let Some(SignInStep::Done(done)) = &self.step else {
            return Err(SignInRunError::OutOfTurn("nobody is signed in yet"));
        };
        let dc = done.dc;
        let request = functions::auth::AcceptLoginToken { token: link.token().to_vec() }.to_bytes();
        match self.connections.call(dc, request).await? {
            Ok(_) => Ok(()),
            Err(WireError::Rpc { code, message }) => Err(SignInError::of(code, &message).into()),
            Err(error) => Err(SignInRunError::Lost { dc, error }),
        }
    }

    /// Whether the server has taken it: [`finish`](Self::finish) hands the session out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.step, Some(SignInStep::Done(_)))
    }

    /// Closes the connections, and hands the session out. Until that is stored what was kept is to stay.
    ///
    /// # Errors
    /// It is not done.
    pub async fn finish(mut self) -> Result<SignedInSession, SignInRunError> {
        let Some(SignInStep::Done(done)) = self.step.take() else {
            return Err(SignInRunError::OutOfTurn("nobody is signed in yet"));
        };
        self.connections.close_all().await;
        let keys = self.connections.keys();
        let Some(key) = keys.iter().find(|key| key.dc == done.dc) else {
            return Err(SignInRunError::KeyUnknown);
        };
        Ok(SignedInSession {
            address: key.address,
            key: key.key.clone(),
            signed_in: *done,
            settings: self.connections.settings().clone(),
        })
    }

    /// Leaves it as it is, with its connections closed in good order: another process need not wait to go on with it.
    pub async fn leave(mut self) {
        self.connections.close_all().await;
    }

    /// Gives it up: nothing stays pending, and whoever is signed in by now is logged out. What was kept may go once this
    /// has returned.
    ///
    /// # Errors
    /// It could not be ended; what was kept is to stay, so that it can be tried again.
    pub async fn cancel(&mut self) -> Result<(), SignInRunError> {
        let is_under_way =
            self.step.as_ref().is_none_or(|it| matches!(it, SignInStep::Call { .. }));
        let step = self.machine.lock().cancel();
        self.step = match step {
            Some(step) => Some(step),
            // Nobody waits for the last call any more.
            None if is_under_way => Some(self.machine.lock().lost()),
            None => self.step.take(),
        };
        while self.advance().await?.is_some() {}
        Ok(())
    }
}

impl fmt::Debug for SignInRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRun").field("sign_in", &*self.machine.lock()).finish_non_exhaustive()
    }
}
