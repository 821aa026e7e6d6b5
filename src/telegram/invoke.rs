//! Calls by way of the pool: on a lease, and on an account.
//!
//! Owns the waiting for floods: an account's call sits a short one out before it takes a lease,
//! a lease's call never does. Never repeats a call that the server may have carried out.

use std::time::Duration;

use grammers_client::tl::RemoteCall;

use super::{GrammersManager, SessionSource, TelegramError};
use crate::account::AccountId;
use crate::clock::{Instant, now};
use crate::error::AcquireError;
use crate::lease::{Home, Lease};
use crate::manager::{Manager, Reaction};
use crate::pool::Account;

/// What stands for "no limit": the longest that any timer is set to.
const FAR_AWAY: Duration = Duration::from_secs(365 * 86_400);

/// Why a call by way of the pool has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The server makes the method of this account wait, longer than the call may. Nothing else
    /// of the account is concerned, and no call was carried out.
    #[error("account {account} must not call this method for another {wait:?}: try again then")]
    RetryAfter {
        /// Whose call it was.
        account: AccountId,
        /// How long to wait.
        wait: Duration,
    },
    /// There was no lease to call with.
    #[error(transparent)]
    Acquire(#[from] AcquireError<TelegramError>),
    /// The call failed; the pool has learnt from it.
    #[error(transparent)]
    Call(#[from] TelegramError),
}

impl<S: SessionSource, H: Home<GrammersManager<S>>> Lease<GrammersManager<S>, H> {
    /// Calls a method and lets the pool learn from its error. Never sleeps: a flood, a new one or
    /// one that the pool knows of already, comes back as [`InvokeError::RetryAfter`].
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
        if let Some(wait) = self.home_account().cooling(method(request)) {
            return Err(InvokeError::RetryAfter { account, wait });
        }
        let connection = &**self;
        match connection.invoke_within(request, limit).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.report(&error);
                match self.pool_manager().react(&error) {
                    Reaction::CoolDown { wait, .. } => {
                        Err(InvokeError::RetryAfter { account, wait })
                    }
                    _ => Err(error.into()),
                }
            }
        }
    }
}

impl<S: SessionSource> Account<GrammersManager<S>> {
    /// Acquires, calls a method and releases, within the manager's `call_timeout` in all.
    ///
    /// A flood wait of the method is sat out, without a lease, if it is no longer than the
    /// `flood.wait_max` of the configuration and ends in time.
    ///
    /// ```no_run
    /// # use telepool::{Pool, telegram::{GrammersManager, MemorySource, client::tl}};
    /// # async fn example(pool: Pool<GrammersManager<MemorySource>>)
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
    /// that failed is not repeated.
    pub async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, InvokeError> {
        self.invoke_within(request, self.entry().shared.manager.call_timeout()).await
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
        // A limit beyond all telling is none.
        let deadline = now().checked_add(limit).unwrap_or_else(|| now() + FAR_AWAY);
        // Ends at the deadline at the latest: every turn but the last sleeps out a flood.
        loop {
            if let Some(wait) = self.cooling(method(request)) {
                self.sit_out(wait, deadline).await?;
            }
            let config = self.entry().shared.config();
            let patience = config.pool.acquire_timeout.min(left(deadline));
            let lease = self.acquire_timeout(patience).await?;
            match lease.invoke_within(request, left(deadline)).await {
                // The lease goes back before the wait.
                Err(InvokeError::RetryAfter { wait, .. }) => {
                    drop(lease);
                    self.sit_out(wait, deadline).await?;
                }
                done => return done,
            }
        }
    }

    /// Waits for the end of a flood, if the configuration and the deadline allow.
    async fn sit_out(&self, wait: Duration, deadline: Instant) -> Result<(), InvokeError> {
        if wait > self.entry().shared.config().flood.wait_max || wait >= left(deadline) {
            return Err(InvokeError::RetryAfter { account: self.id(), wait });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}

/// The constructor id of the method, which the server names it by when it makes it wait.
fn method<R: RemoteCall>(request: &R) -> u32 {
    let mut head = Head(Vec::with_capacity(4));
    request.serialize(&mut head);
    head.0.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Keeps the first four bytes of what is written.
struct Head(Vec<u8>);

impl Extend<u8> for Head {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        let room = 4 - self.0.len();
        self.0.extend(bytes.into_iter().take(room));
    }
}
