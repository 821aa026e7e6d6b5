//! The two engines, as far as calls go.
//!
//! Owns their errors in one form, so that what the server says by way of either can be compared. Never repeats a
//! call.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use telepool::session::{AuthKey, ClientIdentity};
use telepool::telegram::client::sender::{ConnectionParams, NoRetries, RpcError, SenderPoolHandle};
use telepool::telegram::client::session::SessionData;
use telepool::telegram::client::session::storages::MemorySession;
use telepool::telegram::client::session::types::DcOption;
use telepool::telegram::client::tl::types;
use telepool::telegram::client::{InvocationError, SenderPool};
use telepool::telegram::wire::{WireError, WireHandle};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the client may take to end.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallProblem {
    /// The server's words: the code and the name of the error, with the number that was in it.
    Refused(i32, String, Option<u32>),
    /// There was no answer.
    Lost(String),
}

impl CallProblem {
    fn refused(error: RpcError) -> Self {
        Self::Refused(error.code, error.name, error.value)
    }
}

impl std::fmt::Display for CallProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code, name, None) => write!(f, "{code} {name}"),
            Self::Refused(code, name, Some(number)) => write!(f, "{code} {name} ({number})"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

/// What became of a call.
pub(super) type Answered = Result<Vec<u8>, CallProblem>;

/// Makes calls over a connection of one engine.
#[derive(Clone)]
pub(super) enum Caller {
    /// With what starts its driver: the first call goes with the first packet.
    Wire(WireHandle, Arc<Notify>),
    Grammers(SenderPoolHandle, i32),
}

impl Caller {
    /// Makes one call, which ends in this time.
    pub(super) async fn call(&self, body: Vec<u8>, limit: Duration) -> Answered {
        match self {
            Self::Wire(handle, start) => tokio::select! {
                biased;
                answered = handle.call(body, limit) => answered,
                never = begin(start) => match never {},
            }
            .map_err(|error| match error {
                WireError::Rpc { code, message } => CallProblem::refused(
                    types::RpcError { error_code: code, error_message: message.into() }.into(),
                ),
                error => CallProblem::Lost(error.to_string()),
            }),
            Self::Grammers(handle, dc) => {
                match timeout(limit, handle.raw_invoke_in_dc(*dc, body)).await {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(InvocationError::Rpc(error))) => Err(CallProblem::refused(error)),
                    Ok(Err(error)) => Err(CallProblem::Lost(error.to_string())),
                    Err(_) => Err(CallProblem::Lost(format!("no answer within {limit:?}"))),
                }
            }
        }
    }
}

/// Starts a driver, once the call beside it waits to be sent.
async fn begin(start: &Notify) -> Infallible {
    start.notify_one();
    std::future::pending().await
}

/// How the doctor introduces itself.
pub(super) fn identity() -> ClientIdentity {
    ClientIdentity::new("telepool doctor", std::env::consts::OS, env!("CARGO_PKG_VERSION"))
}

/// A client of grammers that dials one address, with the first call.
pub(super) struct GrammersClient {
    handle: SenderPoolHandle,
    runner: JoinHandle<()>,
    dc: i32,
}

impl GrammersClient {
    pub(super) fn new(key: &AuthKey, (dc, address): (i32, SocketAddr), api_id: i32) -> Self {
        let (ipv4, ipv6) = match address {
            SocketAddr::V4(v4) => {
                (v4, SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            SocketAddr::V6(v6) => (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, v6.port()), v6),
        };
        let option = DcOption { id: dc, ipv4, ipv6, auth_key: Some(*key.expose()) };
        let dc_options = HashMap::from([(dc, option)]);
        let data = SessionData { home_dc: dc, dc_options, ..SessionData::default() };
        let session: Arc<MemorySession> = Arc::new(data.into());
        let identity = identity();
        let params = ConnectionParams {
            device_model: identity.device_model,
            system_version: identity.system_version,
            app_version: identity.app_version,
            system_lang_code: identity.system_lang_code,
            lang_code: identity.lang_code,
            use_ipv6: address.is_ipv6(),
            retry_policy: Box::new(NoRetries),
            updates_channel_capacity: const { NonZeroUsize::new(100).expect("BUG: not zero") },
            __non_exhaustive: (),
        };
        let SenderPool { runner, handle, .. } =
            SenderPool::with_configuration(session, api_id, params);
        let runner = Handle::current().spawn(runner.run());
        Self { handle: handle.thin, runner, dc }
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::Grammers(self.handle.clone(), self.dc)
    }

    /// Closes its socket, and waits for that.
    pub(super) async fn close(mut self) -> Result<(), String> {
        self.handle.quit();
        match timeout(QUIT_WITHIN, &mut self.runner).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the client has failed: {error}")),
            Err(_) => Err(format!("the client has not ended within {QUIT_WITHIN:?}")),
        }
    }
}

/// However it goes: no connection stays that nobody uses.
impl Drop for GrammersClient {
    fn drop(&mut self) {
        self.handle.quit();
    }
}
