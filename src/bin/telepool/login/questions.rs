//! What is asked during a sign-in, and what becomes of it when it does not go on.
//!
//! Owns which question comes when, and what an error means to the user: to wait, to come back, or the end.

use std::time::Duration;

use serde_json::json;
use telepool::sign_in::{PasswordQuestion, SentCode, SignInError};
use telepool::telegram::{SignInPrompt, SignInRun, SignInRunError};
use zeroize::Zeroizing;

use super::code_image::CodePicture;
use super::conversation::{Conversation, Entered, Interruption};
use super::flow::{Acceptor, LoginFlow, left};
use super::pending::Keeper;
use super::setup::unless_stopped;
use crate::failure::Failure;
use crate::stdout;

/// The longest that is waited for by itself, as long as somebody is there to end it.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How often what is shown may be out of date by the time another session accepts it.
const LATE_MAX: u32 = 4;

impl LoginFlow {
    /// Goes on until the server has taken it. What is to be scanned is shown, unless another session accepts it.
    pub(super) async fn complete(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
        mut acceptor: Option<&mut Acceptor<'_>>,
    ) -> Result<(), Failure> {
        // It goes with what it shows.
        let picture = self.picture.as_deref().map(CodePicture::at);
        let (mut is_shown, mut drawn, mut late) = (false, 0, 0);
        let mut own_password = self.password.clone();
        let stop = self.stop.clone();
        let left = || left(&keeper.shown);
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    how = self.conversation.interrupted(), if is_shown => Err(how),
                    prompt = run.next() => Ok(prompt),
                }
            };
            let prompt = match unless_stopped(&stop, left, next).await? {
                Err(Interruption::Cancel) => return self.give_up(run, keeper).await,
                Err(Interruption::Gone) => return Err(gone(&keeper.shown)),
                Ok(prompt) => prompt,
            };
            match prompt {
                Ok(SignInPrompt::Done(_)) => return Ok(()),
                Ok(SignInPrompt::Code(sent)) => self.code(run, keeper, &sent).await?,
                Ok(SignInPrompt::Password(question)) => {
                    is_shown = false;
                    self.password(run, keeper, &question, own_password.take()).await?;
                }
                Ok(SignInPrompt::Scan(link)) => match &mut acceptor {
                    Some(acceptor) => {
                        let accepted = unless_stopped(&stop, left, acceptor.accept(&link)).await?;
                        self.accepted(accepted, &mut late, keeper).await?;
                    }
                    None => {
                        self.conversation.show(&link, picture.as_ref(), &mut drawn)?;
                        is_shown = true;
                        if stdout::is_abandoned() {
                            return Err(gone(&keeper.shown));
                        }
                    }
                },
                Ok(_) => return Err(Failure::broken("this sign-in wants what is not known here")),
                Err(error) => self.wait_or_end(error, run, keeper).await?,
            }
        }
    }

    /// What came of a link that another session was to accept.
    async fn accepted(
        &mut self,
        accepted: Result<(), SignInRunError>,
        late: &mut u32,
        keeper: &Keeper,
    ) -> Result<(), Failure> {
        match accepted {
            Ok(()) => Ok(()),
            // There is another one soon.
            Err(SignInRunError::SignIn(SignInError::Refused { name, .. }))
                if name.starts_with("AUTH_TOKEN_") && *late < LATE_MAX =>
            {
                *late += 1;
                Ok(())
            }
            Err(error) => self.wait(&error, keeper).await,
        }
    }

    async fn code(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
        sent: &SentCode,
    ) -> Result<(), Failure> {
        let mut problem: Option<String> = None;
        loop {
            let asked = self.conversation.code(&keeper.shown, sent, problem.as_deref());
            let entered = unless_stopped(&self.stop, || left(&keeper.shown), asked).await??;
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
        loop {
            let password = match given.take() {
                Some(password) => password,
                None => {
                    let name = &keeper.shown;
                    let asked = self.conversation.password(name, question, problem.as_deref());
                    let entered = unless_stopped(&self.stop, || left(name), asked).await??;
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
    pub(super) async fn give_up(
        &mut self,
        run: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<(), Failure> {
        let name = &keeper.shown;
        let stopped = || {
            Failure::stopped(format!(
                "it is not known whether the sign-in of {name} has ended: telepool login --give-up {name} sees to it"
            ))
        };
        loop {
            match unless_stopped(&self.stop, stopped, run.cancel()).await? {
                // Of a key that the server does not know nothing is left either.
                Ok(()) | Err(SignInRunError::KeyUnknown | SignInRunError::GivenUp) => {
                    keeper.forget()?;
                    return Err(given_up(name));
                }
                Err(error) => {
                    self.wait(&error, keeper).await.map_err(|failure| match failure.status() {
                        75 => Failure::later(format!(
                            "{error}; telepool login --give-up {name} tries again"
                        )),
                        _ => failure,
                    })?
                }
            }
        }
    }

    /// What does not go on either waits, or ends: then nothing of it is left at the server, or it is kept.
    async fn wait_or_end(
        &mut self,
        error: SignInRunError,
        run: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<(), Failure> {
        if let SignInRunError::GivenUp = error {
            keeper.forget()?;
            let name = &keeper.shown;
            return Err(Failure::broken(format!(
                "the sign-in of {name} had been given up, and is ended now: begin anew"
            )));
        }
        let waited = self.wait(&error, keeper).await;
        if let Err(failure) = &waited {
            self.end_if_over(failure, run, keeper).await?;
        }
        waited
    }

    /// Forgets a sign-in of which nothing can come any more, unless the server may have something of it.
    pub(super) async fn end_if_over(
        &mut self,
        failure: &Failure,
        run: &mut SignInRun,
        keeper: &Keeper,
    ) -> Result<(), Failure> {
        match failure.status() == 1 && run.cancel().await.is_ok() {
            true => keeper.forget(),
            false => Ok(()),
        }
    }

    /// Waits until a sign-in may go on, if that is soon and somebody is there who can end it. Otherwise it says what the
    /// command ends with: with status 1 nothing can come of the sign-in any more.
    async fn wait(&mut self, error: &SignInRunError, keeper: &Keeper) -> Result<(), Failure> {
        let name = &keeper.shown;
        let wait = match error {
            SignInRunError::Resting { remaining } => Some(*remaining + Duration::from_millis(100)),
            _ => None,
        };
        let is_somebody_there = !matches!(self.conversation, Conversation::Nobody);
        if let Some(wait) = wait.filter(|wait| is_somebody_there && *wait <= WAIT_MAX) {
            let event =
                json!({ "event": "waiting", "account": &**name, "seconds": wait.as_secs() + 1 });
            self.conversation.tell(&event, &error.to_string())?;
            let waited = tokio::time::sleep(wait);
            return unless_stopped(&self.stop, || left(name), waited).await;
        }
        match (error, error.retry_after()) {
            (SignInRunError::Claim(_) | SignInRunError::Keep(_), _) => {
                Err(Failure::held(error.to_string()))
            }
            (SignInRunError::NoAddress { .. }, _) => Err(Failure::refused(error.to_string())),
            (SignInRunError::NoKey { .. }, None) => Err(Failure::refused(format!(
                "{error}: is this the server that is meant, and --server-key its own?"
            ))),
            (_, Some(after)) => {
                let way = match error {
                    SignInRunError::Proxy(_) => " by this proxy, and --anew begins by another way",
                    _ => "",
                };
                let words = format!("{error}; telepool login --resume {name} goes on with it{way}");
                Err(Failure::later(words).after(after))
            }
            (_, None) => Err(Failure::broken(error.to_string())),
        }
    }
}

fn given_up(name: &str) -> Failure {
    Failure::stopped(format!("the sign-in of {name} was given up, and nothing is left of it"))
}

/// Nobody is there any more to scan what is shown.
fn gone(name: &str) -> Failure {
    Failure::missing(format!(
        "whoever is to see the code: telepool login --resume {name} shows it again"
    ))
}
