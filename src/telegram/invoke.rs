//! Calls by way of the pool: on a lease, and on an account.
//!
//! Owns the waiting for floods, and for a turn to send: an account's call sits a short one out before it takes
//! a lease, a lease's call never does. Repeats a call that the server may have carried out only if it is
//! said to be idempotent.

use std::sync::Arc;
use std::time::Duration;

use grammers_client::tl::RemoteCall;
use smallvec::SmallVec;

use super::pacing::{Pacer, SendTarget, Turn};
use super::{Resend, SessionSource, TelegramError, TelegramManager, verdict};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::timer::{after, sleep};
use crate::error::AcquireError;
use crate::manager::Reaction;
use crate::pool::Account;
use crate::pool::lease::{AccountRef, Lease};

/// How often a call is sent again because its connection was lost.
const RESENDS_MAX: u32 = 3;

/// The pause after an internal error of the server, and what it doubles to.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a call by way of the pool has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The method of this account must wait, longer than the call may: the server says so, or the chat or
    /// the account has sent as much as its [pacing](super::Pacing) allows. Nothing else of the account is
    /// concerned, and no call was carried out.
    #[error("account {account} must not call this method for another {wait:?}: try again then")]
    RetryAfter {
        /// Whose call it was.
        account: AccountId,
        /// How long to wait; at the least, where others wait for the same turns.
        wait: Duration,
    },
    /// There was no lease to call with.
    #[error(transparent)]
    Acquire(#[from] AcquireError<TelegramError>),
    /// The call failed; the pool has learnt from it.
    #[error(transparent)]
    Call(#[from] TelegramError),
}

impl<S: SessionSource, A: AccountRef<TelegramManager<S>>> Lease<TelegramManager<S>, A> {
    /// Calls a method and lets the pool learn from its error. Never sleeps: a flood, a new one or
    /// one that the pool knows of already, comes back as [`InvokeError::RetryAfter`], and so does a turn to send
    /// that is not free now.
    ///
    /// # Errors
    /// A flood, or what [`TelegramConnection::invoke`](super::TelegramConnection::invoke) comes
    /// back with.
    pub async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, InvokeError> {
        self.invoke_within(request, self.pool_manager().call_timeout()).await
    }

    /// The same within a limit of the caller's.
    ///
    /// # Errors
    /// Those of [`invoke`](Self::invoke).
    pub async fn invoke_within<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, InvokeError> {
        let account = self.account();
        let paced = Paced::of(self.pool_manager(), account, request);
        let turn = paced.map(|paced| paced.pacer.try_turn(paced.target)).transpose();
        let turn = turn.map_err(|wait| InvokeError::RetryAfter { account, wait })?;
        self.attempt(request, turn, limit).await.map_err(|failed| failed.into_error(account))
    }

    /// The same, with what is to become of the call.
    async fn attempt<R: RemoteCall>(
        &self,
        request: &R,
        turn: Option<Turn>,
        limit: Duration,
    ) -> Result<R::Return, Failed> {
        if let Some(wait) = self.account_handle().cooldown_remaining(method(request)) {
            return Err(Failed::Limited(wait));
        }
        if let Some(turn) = turn {
            turn.sent();
        }
        let error = match (**self).invoke_within(request, limit).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match self.report(&error) {
            Reaction::CoolDown { wait, .. } => Err(Failed::Limited(wait)),
            _ => Err(Failed::Call(error)),
        }
    }
}

/// A call that has to wait for its turn to send.
struct Paced {
    pacer: Arc<Pacer>,
    target: SendTarget,
}

impl Paced {
    fn of<S: SessionSource, R: RemoteCall>(
        manager: &TelegramManager<S>,
        account: AccountId,
        request: &R,
    ) -> Option<Self> {
        if !manager.has_pacing() {
            return None;
        }
        // What sends nothing is told by its first words.
        let target = SendTarget::of(request)?;
        Some(Self { pacer: manager.pacer(account)?, target })
    }
}

/// Why one try of a call has no answer.
enum Failed {
    /// The server makes the method of this account wait.
    Limited(Duration),
    Call(TelegramError),
}

impl Failed {
    fn into_error(self, account: AccountId) -> InvokeError {
        match self {
            Self::Limited(wait) => InvokeError::RetryAfter { account, wait },
            Self::Call(error) => error.into(),
        }
    }
}

impl<S: SessionSource> Account<TelegramManager<S>> {
    /// Acquires, calls a method and releases, within the manager's `call_timeout` in all.
    ///
    /// A flood wait of the method is sat out, without a lease, if it is no longer than the
    /// `flood.wait_max` of the configuration and ends in time. The call is sent again, also
    /// without a lease meanwhile, if the server has not carried it out: its connection had ended
    /// before, or the server answered with an internal error (500, -503).
    ///
    /// Of an account that keeps to limits when it sends ([`TelegramSettings::pacing`](super::TelegramSettings::pacing))
    /// a call that sends waits for its turn, again without a lease. If its turn cannot come in time, the call
    /// fails at once.
    ///
    /// ```no_run
    /// # use telepool::{Pool, telegram::{TelegramManager, MemorySource, client::tl}};
    /// # async fn example(pool: Pool<TelegramManager<MemorySource>>)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// let account = pool.account("+442079460958".parse()?)?;
    /// let myself = vec![tl::enums::InputUser::UserSelf];
    /// let users = account.invoke(&tl::functions::users::GetUsers { id: myself }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No lease in time, a flood that is too long to wait for, or the call's own error. A call
    /// that the server may have carried out is not repeated.
    pub async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, InvokeError> {
        self.invoke_within(request, self.inner().context().manager.call_timeout()).await
    }

    /// The same within a limit of the caller's, waits included.
    ///
    /// # Errors
    /// Those of [`invoke`](Self::invoke).
    pub async fn invoke_within<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, InvokeError> {
        self.call(request, limit, false).await
    }

    /// Calls a method that does no harm when it is carried out twice: one that reads, or one whose
    /// `random_id` makes the server drop the second. Beyond what [`invoke`](Self::invoke) does, it
    /// is sent again up to three times when its connection broke or did not answer within the
    /// manager's `call_timeout`. `limit` is for everything, waits included.
    ///
    /// # Errors
    /// Those of [`invoke`](Self::invoke).
    pub async fn invoke_idempotent<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Return, InvokeError> {
        self.call(request, limit, true).await
    }

    async fn call<R: RemoteCall>(
        &self,
        request: &R,
        limit: Duration,
        idempotent: bool,
    ) -> Result<R::Return, InvokeError> {
        let deadline = after(limit);
        let context = self.inner().context();
        let per_try = context.manager.call_timeout();
        let paced = Paced::of(&context.manager, self.id(), request);
        let (mut refusals, mut losses) = (0, 0);
        // Ends at the deadline at the latest: every turn but the last sleeps for a flood or a
        // refusal, or is one of a few.
        loop {
            if let Some(wait) = self.cooldown_remaining(method(request)) {
                self.sit_out(wait, deadline).await?;
            }
            let turn = match &paced {
                Some(paced) => self.await_turn(paced, deadline).await?,
                None => None,
            };
            let config = context.config();
            let patience = config.pool.acquire_timeout.min(left(deadline));
            let lease = self.acquire_timeout(patience).await?;
            let failed = match lease.attempt(request, turn, per_try.min(left(deadline))).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // The lease goes back before any wait.
            drop(lease);
            let error = match failed {
                Failed::Limited(wait) => {
                    self.sit_out(wait, deadline).await?;
                    continue;
                }
                Failed::Call(error) => error,
            };
            match verdict(&error).resend {
                Resend::Later => {
                    let pause = (PAUSE_FIRST * 2_u32.pow(refusals)).min(PAUSE_MAX);
                    refusals = (refusals + 1).min(6);
                    if pause >= left(deadline) {
                        return Err(error.into());
                    }
                    self.sleep(pause).await;
                }
                resend @ (Resend::AtOnce | Resend::IfIdempotent) => {
                    losses += 1;
                    let may_be_sent = idempotent || resend == Resend::AtOnce;
                    if !may_be_sent || losses > RESENDS_MAX || left(deadline).is_zero() {
                        return Err(error.into());
                    }
                }
                Resend::Never => return Err(error.into()),
            }
        }
    }

    /// Waits for the end of a flood, if the configuration and the deadline allow.
    async fn sit_out(&self, wait: Duration, deadline: Instant) -> Result<(), InvokeError> {
        if wait > self.inner().context().config().flood.wait_max || wait >= left(deadline) {
            return Err(InvokeError::RetryAfter { account: self.id(), wait });
        }
        self.sleep(wait).await;
        Ok(())
    }

    /// Waits for a turn to send, if there is one before the deadline.
    async fn await_turn(
        &self,
        paced: &Paced,
        deadline: Instant,
    ) -> Result<Option<Turn>, InvokeError> {
        let runtime = &self.inner().context().handle;
        let turn = paced.pacer.turn(paced.target, deadline, runtime).await;
        turn.map_err(|wait| InvokeError::RetryAfter { account: self.id(), wait })
    }

    async fn sleep(&self, time: Duration) {
        sleep(&self.inner().context().handle, time).await;
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}

/// The constructor id of the method, which the server names it by when it makes it wait.
fn method<R: RemoteCall>(request: &R) -> u32 {
    first_words(request).0
}

/// The first two words of a request: the method and, of one that wraps another, that one.
pub(super) fn first_words<R: RemoteCall>(request: &R) -> (u32, u32) {
    let mut head = Head(SmallVec::new());
    request.serialize(&mut head);
    let word = |at: usize| {
        let bytes = head.0.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    (word(0), word(4))
}

/// Keeps the first eight bytes of what is written.
struct Head(SmallVec<[u8; 8]>);

impl Extend<u8> for Head {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        let room = 8 - self.0.len();
        self.0.extend(bytes.into_iter().take(room));
    }
}
