//! Calls of the workload.
//!
//! Owns the mix and the request of each call. Who makes it, over which client, comes from outside.

use std::time::Duration;

use telepool::Lease;
use telepool::telegram::client::tl::{RemoteCall, enums, functions};
use telepool::telegram::client::{Client, InvocationError};
use telepool::telegram::{InvokeError, TelegramConnection, TelegramError, text_message};

use crate::accounts::PoolManager;

/// The longest that a call of the workload may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Which calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Half of the calls read the own user, a quarter sends a message to oneself, the rest pings.
    Everything,
    /// Nothing but pings: the accounts are somebody's.
    Pings,
}

/// One call; messages and pings bear a number that tells them from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkloadCall {
    ReadSelf,
    Note(i64),
    Ping(i64),
}

/// A client that a call can be made over.
pub(crate) trait Invoke: Sync {
    type Error;

    fn invoke<R>(&self, request: &R) -> impl Future<Output = Result<(), Self::Error>> + Send
    where
        R: RemoteCall + Sync,
        R::Return: Send;
}

impl WorkloadCall {
    pub(crate) fn draw(mix: Mix, random: &mut fastrand::Rng) -> Self {
        match (mix, random.u8(..4)) {
            (Mix::Everything, 0 | 1) => Self::ReadSelf,
            (Mix::Everything, 2) => Self::Note(random.i64(..)),
            _ => Self::Ping(random.i64(..)),
        }
    }

    pub(crate) async fn make<L: Invoke>(self, client: &L) -> Result<(), L::Error> {
        match self {
            Self::ReadSelf => {
                let myself = vec![enums::InputUser::UserSelf];
                client.invoke(&functions::users::GetUsers { id: myself }).await
            }
            Self::Note(random_id) => client.invoke(&note_to_self(random_id)).await,
            Self::Ping(ping_id) => client.invoke(&functions::Ping { ping_id }).await,
        }
    }
}

impl Invoke for Lease<PoolManager> {
    type Error = InvokeError;

    async fn invoke<R>(&self, request: &R) -> Result<(), InvokeError>
    where
        R: RemoteCall + Sync,
        R::Return: Send,
    {
        self.invoke(request).await.map(drop)
    }
}

/// The client alone, with nothing of the library around it.
impl Invoke for Client {
    type Error = InvocationError;

    async fn invoke<R>(&self, request: &R) -> Result<(), InvocationError>
    where
        R: RemoteCall + Sync,
        R::Return: Send,
    {
        self.invoke(request).await.map(drop)
    }
}

impl Invoke for TelegramConnection {
    type Error = TelegramError;

    async fn invoke<R>(&self, request: &R) -> Result<(), TelegramError>
    where
        R: RemoteCall + Sync,
        R::Return: Send,
    {
        self.invoke(request).await.map(drop)
    }
}

fn note_to_self(random_id: i64) -> functions::messages::SendMessage {
    let mut note = text_message(enums::InputPeer::PeerSelf, "telepool was here", random_id);
    (note.no_webpage, note.silent) = (true, true);
    note
}
