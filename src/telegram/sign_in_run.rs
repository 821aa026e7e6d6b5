//! A sign-in with its connections: the calls of [`SignIn`](crate::sign_in::SignIn), over connections of telepool's own.
//!
//! Owns the way of one sign-in from its first call to a closed session, and that everything is kept before it is
//! asked or done. Never asks a person anything, and never stores a session.
//!
//! A key is made for each data centre that the sign-in comes to, and kept before anything is done with it. The session
//! is closed before it is handed out, so that whoever dials it next is alone with it.

mod connections;
mod error;
mod inputs;
mod kept;
mod one_call;
mod session;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    LoginLink, PasswordQuestion, SentCode, SignIn, SignInInputError, SignInStep, SignInWay,
    SignedIn,
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
/// use telepool::ownership::{HostLocks, HostLocksOptions};
/// use telepool::sign_in::{Application, SignInWay};
/// use telepool::telegram::{SignInPrompt, SignInRun, SignInSettings};
/// use zeroize::Zeroizing;
///
/// # fn ask(question: &str) -> String { question.to_owned() }
/// # async fn sign_in() -> Result<(), Box<dyn std::error::Error>> {
/// let application = Application::new(12345, "0123456789abcdef0123456789abcdef");
/// let locks = Arc::new(HostLocks::new(HostLocksOptions::default()));
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
    machine: Arc<Mutex<SignInTurns>>,
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

/// The machine, and how often an answer was given up that may still be worked on.
struct SignInTurns {
    sign_in: SignIn,
    turn: u64,
}

impl SignInTurns {
    /// The last call is given up.
    fn lost(&mut self) -> SignInStep {
        self.turn += 1;
        self.sign_in.lost()
    }
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
            machine: Arc::new(Mutex::new(SignInTurns { sign_in: machine, turn: 0 })),
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
        self.advance().await?.ok_or(SignInRunError::GivenUp)
    }

    /// `None`: it was given up.
    async fn advance(&mut self) -> Result<Option<SignInPrompt>, SignInRunError> {
        self.connections.claim().await?;
        loop {
            let step = match self.step.take() {
                Some(step) => step,
                // Whoever waited for the last call has given it up. What comes of it is known once its connection is
                // closed, and not before: calls are not carried out in order.
                None => {
                    self.connections.close_open().await;
                    self.machine.lock().lost()
                }
            };
            // Until it is done it stays what is to be done next.
            let next = self.step.insert(step);
            let prompt = match next {
                SignInStep::Call { dc, request } => {
                    let (dc, request) = (*dc, request.clone());
                    self.call(dc, request).await?;
                    continue;
                }
                SignInStep::Cancelled => {
                    self.connections.close_all().await;
                    return Ok(None);
                }
                SignInStep::Show(link) if self.shown.as_ref() == Some(link) => {
                    sleep(link.poll_after).await;
                    self.step = self.machine.lock().sign_in.poll();
                    continue;
                }
                SignInStep::Show(link) => {
                    SignInPrompt::Scan(self.shown.insert(link.clone()).clone())
                }
                SignInStep::AskCode(sent) => SignInPrompt::Code(sent.clone()),
                SignInStep::AskPassword(question) => SignInPrompt::Password(question.clone()),
                SignInStep::Done(done) => SignInPrompt::Done((**done).clone()),
            };
            self.keep()?;
            return Ok(Some(prompt));
        }
    }

    /// Keeps where it is, if that has changed.
    fn keep(&mut self) -> Result<(), SignInRunError> {
        let saved = self.machine.lock().sign_in.save();
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
        self.keep()?;
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
                let turn = machine.lock().turn;
                let next = spawn_blocking(move || {
                    let mut it = machine.lock();
                    (it.turn == turn).then(|| it.sign_in.answered(&answer))
                });
                match next.await {
                    Ok(Some(next)) => next,
                    _ => return Err(SignInRunError::OutOfTurn("the runtime ends")),
                }
            }
            Err(WireError::Rpc { code, message }) => {
                let next = machine.lock().sign_in.refused(code, &message);
                // Trouble of the server's own passes.
                self.losses = if (0..500).contains(&code) { 0 } else { self.losses + 1 };
                self.step = Some(next?);
                sleep(LOSS_PAUSE * self.losses.min(LOSSES_MAX)).await;
                return Ok(());
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
        let step = self.machine.lock().sign_in.cancel();
        self.step = match (step, self.step.take()) {
            (Some(step), _) => Some(step),
            // It was not made yet.
            (None, Some(SignInStep::Call { .. })) => Some(self.machine.lock().lost()),
            // Nobody waits any more for the one that was.
            (None, _) => None,
        };
        match self.advance().await? {
            None => Ok(()),
            Some(_) => {
                Err(SignInRunError::OutOfTurn("the sign-in goes on, although it was given up"))
            }
        }
    }
}

impl fmt::Debug for SignInRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRun")
            .field("sign_in", &self.machine.lock().sign_in)
            .finish_non_exhaustive()
    }
}
