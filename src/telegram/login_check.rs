//! Login check: the first calls of a connection, which show that the session is logged in, and as whom.
//!
//! Owns the order of these calls and the memory of users that no record names. Never judges a
//! connection: the check's error goes to whoever opens it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use grammers_client::session::types::{PeerAuth, PeerInfo};
use grammers_client::tl::{Identifiable as _, Serializable as _, enums, functions};
use tracing::Instrument as _;

use super::TelegramError;
use super::one_shot_session::{OneShotSession, own_peer, own_record};
use super::pending_open::OpenResult;
use super::rpc::{self, RpcHandle};
use crate::account_id::AccountId;
use crate::base::sync::Mutex;
use crate::session::{KeyId, SessionRecord, SessionUser};

/// How long the server keeps its end open after it last heard of ours, in seconds: as long as the
/// client's own pings ask for, which set the timer anew each minute.
const DISCONNECT_DELAY: i32 = 75;

/// The first calls of a connection, in one packet. They make the client dial and introduce itself; before them goes
/// one that sets the timer by which the server closes its end when ours is gone without a word, which the wire does
/// by itself.
///
/// A ping or the introduction proves nothing: a key that is not logged in may do both.
/// `updates.getState` is the cheapest method that only a logged-in session may call (no
/// arguments, five numbers in answer, for users and bots alike). It asks for no updates: whoever wants them
/// asks by a call of its own.
///
/// If nobody has told whose the session is, it is asked in the same packet: the client must know before
/// the first call of the application.
pub(super) fn check_login(
    rpc: RpcHandle,
    record: &SessionRecord,
    user: Option<UnknownUser>,
    limit: Duration,
) -> impl Future<Output = OpenResult> + Send + use<> {
    let (account, slot) = (record.account, record.slot);
    let span = tracing::debug_span!("call", %account, slot, method = "updates.getState");
    let check = async move {
        let request = rpc::without_updates(&functions::updates::GetState {});
        let set = set_timer(&rpc, limit);
        let asked = async {
            let state = rpc.begin::<functions::updates::GetState>(request, limit);
            match user {
                None => state.await,
                Some(user) => tokio::join!(state, user.ask(&rpc, limit)).0,
            }
        };
        let state = tokio::select! {
            // In this order, and before anything else is sent.
            biased;
            error = set => Err(error),
            state = asked => state,
        };
        match state {
            Ok(_state) => Ok(()),
            // Only a session that is logged in has a limit to exceed; dialling again would not help.
            Err(TelegramError::Rpc { code: 420, method: Some(method), .. })
                if method == functions::updates::GetState::CONSTRUCTOR_ID =>
            {
                is_introduced(&rpc, limit).await
            }
            Err(error) => Err(error),
        }
    };
    check.instrument(span)
}

/// Sets the timer of a client's connection. Returns with an error, or never.
async fn set_timer(rpc: &RpcHandle, limit: Duration) -> TelegramError {
    if let RpcHandle::Client { .. } = rpc {
        let timer =
            functions::PingDelayDisconnect { ping_id: 0, disconnect_delay: DISCONNECT_DELAY };
        match rpc.call::<functions::PingDelayDisconnect>(timer.to_bytes(), limit).await {
            // What the dial comes to is told to the first call.
            Err(error) if !is_of_the_ping(&error) => return error,
            // That the check has an answer shows that this one came as well.
            _ => {}
        }
    }
    std::future::pending().await
}

/// The first call was told to wait. A client introduces itself by a call of its own, so that this one was the check.
/// Over the wire the introduction goes with it, and may be what has to wait: another question tells.
async fn is_introduced(rpc: &RpcHandle, limit: Duration) -> OpenResult {
    if let RpcHandle::Client { .. } = rpc {
        return Ok(());
    }
    let query = rpc::without_updates(&rpc::oneself());
    match rpc.call::<functions::users::GetUsers>(query, limit).await {
        Ok(_) => Ok(()),
        Err(TelegramError::Rpc { code, name, value, .. }) if code == 420 => {
            let method = Some(functions::InvokeWithLayer::<()>::CONSTRUCTOR_ID);
            Err(TelegramError::Rpc { code, name, value, method })
        }
        Err(error) => Err(error),
    }
}

/// Whether the server refuses the ping itself, which says nothing of the connection.
fn is_of_the_ping(error: &TelegramError) -> bool {
    match error {
        TelegramError::Rpc { method, .. } => {
            *method == Some(functions::PingDelayDisconnect::CONSTRUCTOR_ID)
        }
        error => matches!(error, TelegramError::Answer(_)),
    }
}

/// Who is logged in with each key whose record does not say so, as far as the server was asked.
#[derive(Debug, Default)]
pub(super) struct UserCache(Mutex<HashMap<KeyId, (PeerInfo, SessionUser)>>);

impl UserCache {
    /// Files the user of a session with it. `Some`: nobody knows, and the server is to be asked.
    pub(super) fn recall(
        self: &Arc<Self>,
        key: KeyId,
        session: &Arc<OneShotSession>,
    ) -> Option<UnknownUser> {
        if session.knows_own() {
            return None;
        }
        if let Some(peer) = self.peer(key) {
            session.note_own(peer);
            return None;
        }
        Some(UnknownUser { users: Arc::clone(self), key, session: Some(Arc::clone(session)) })
    }

    /// The same for a session that no client has. `Some`: the server is to be asked.
    pub(super) fn unknown(
        self: &Arc<Self>,
        key: KeyId,
        record: &SessionRecord,
    ) -> Option<UnknownUser> {
        let is_known = own_record(record).is_some() || self.peer(key).is_some();
        (!is_known).then(|| UnknownUser { users: Arc::clone(self), key, session: None })
    }

    /// Who is logged in with a key, as a client knows a peer.
    pub(super) fn peer(&self, key: KeyId) -> Option<PeerInfo> {
        self.0.lock().get(&key).map(|(peer, _)| peer.clone())
    }

    /// Who is logged in with a key, if the server was asked.
    pub(super) fn user(&self, key: KeyId) -> Option<SessionUser> {
        self.0.lock().get(&key).map(|(_, user)| *user)
    }
}

/// A session that has not said whose it is.
pub(super) struct UnknownUser {
    users: Arc<UserCache>,
    key: KeyId,
    /// What a client sees of the session, if one has it.
    session: Option<Arc<OneShotSession>>,
}

impl UnknownUser {
    /// Asks the server. Without an answer it stays unknown, until the next connection.
    async fn ask(self, rpc: &RpcHandle, limit: Duration) {
        let query = rpc::without_updates(&rpc::oneself());
        let users = rpc.call::<functions::users::GetUsers>(query, limit).await;
        let Some(own) = users.ok().and_then(|users| users.into_iter().find_map(own)) else {
            return;
        };
        if let Some(session) = &self.session {
            session.note_own(own.0.clone());
        }
        self.users.0.lock().insert(self.key, own);
    }
}

/// Oneself, as the client knows a peer, and as everybody else does.
fn own(user: enums::User) -> Option<(PeerInfo, SessionUser)> {
    let enums::User::User(user) = user else { return None };
    let auth = user.access_hash.map_or_else(PeerAuth::default, PeerAuth::from_hash);
    let peer = own_peer(user.id, user.bot, auth).filter(|_| user.is_self)?;
    let phone = user.phone.and_then(|digits| AccountId::from_revealed(&format!("+{digits}")).ok());
    Some((peer, SessionUser::new(user.id, user.bot, phone)))
}
