//! One-shot session: what the client sees of a session, good for one connection.
//!
//! Owns the authorization key of one connection and what the client may learn. Never lets the
//! key be replaced, never lets the client dial its home a second time, and never takes an
//! address from the server. One object per connection, never context.
//!
//! # How the client asks
//! For each connection that the client's runner makes (grammers 0.11, `create_connection`):
//!
//! 1. `dc_option(home)`: where to dial, with which key;
//! 2. it dials, introduces itself, receives the server's list of data centres, and for each
//!    address of it calls `dc_option(id)` and then `set_dc_option` with the address replaced and
//!    the key as step 2 found it;
//! 3. `set_dc_option(home)` with the key that the connection ended up with: ours, or, if the
//!    server did not know ours (transport error 404), a new one that is not logged in.
//!
//! Only the first `dc_option(home)` is answered. In step 2 the home is then unknown and comes
//! without a key, which tells it from step 3; if the dial failed and the runner would dial
//! again, it does not know where. After step 3 any question about the home is an error. So one
//! runner is one connection to the home, and its key is the one it was given.
//!
//! # Who is logged in
//! The client asks for `PeerId::self_user()` after it has sent a message to oneself, and panics without
//! an answer. So the user of the session is filed before the first call, and is never forgotten. Who it
//! is the record says, or else the server (`login_check`).
//!
//! Our copy of the key is wiped when the session is dropped. The client makes copies of its own,
//! which nobody wipes.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use grammers_client::session::types::{
    DcOption, PeerAuth, PeerId, PeerInfo, PeerRef, UpdateState, UpdatesState,
};
use grammers_client::session::{BoxFuture, Session};

use super::PeerCache;
use super::bridge::Bridge;
use crate::account_id::AccountId;
use crate::base::sync::{Mutex, MutexGuard};
use crate::session::{AuthKey, DataCentres, SessionRecord};

/// How many users and chats are remembered before the memory starts afresh.
const PEERS_MAX: usize = 10_000;

/// Where the one connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialStage {
    /// The client has not asked yet.
    Fresh,
    /// It knows the address and is dialling.
    Dialling,
    /// It has its connection.
    Connected,
    /// No connection may come any more.
    Sealed,
}

pub(super) struct OneShotSession {
    home: i32,
    address: SocketAddr,
    key: AuthKey,
    /// Where foreign data centres listen.
    data_centres: DataCentres,
    account: AccountId,
    /// What the application remembers of users and chats.
    remembered: Option<Arc<dyn PeerCache>>,
    /// The way by a proxy: then the client is given its doors, and no address of a data centre.
    bridge: Option<Arc<Bridge>>,
    state: Mutex<SessionState>,
}

struct SessionState {
    stage: DialStage,
    /// The client dials another data centre, or has last dialled one in vain.
    abroad: bool,
    /// The keys that the client made with foreign data centres. They are of this connection
    /// alone, so that no other can use them at the same time.
    foreign_keys: HashMap<i32, AuthKey>,
    /// The user who is logged in, once known.
    own: Option<PeerInfo>,
    /// Everybody else.
    peers: HashMap<PeerId, PeerInfo>,
}

impl SessionState {
    fn peer(&self, peer: PeerId) -> Option<&PeerInfo> {
        let is_meant = |own: &&PeerInfo| peer == PeerId::self_user() || peer == own.id();
        self.own.as_ref().filter(is_meant).or_else(|| self.peers.get(&peer))
    }

    fn cache(&mut self, peer: PeerInfo) {
        let id = peer.id();
        match &mut self.own {
            Some(own) if own.id() == id => {
                own.extend_info(&peer);
            }
            own if matches!(peer, PeerInfo::User { is_self: Some(true), .. }) => *own = Some(peer),
            _ => self.cache_other(id, peer),
        }
    }

    fn cache_other(&mut self, id: PeerId, peer: PeerInfo) {
        if let Some(known) = self.peers.get_mut(&id) {
            known.extend_info(&peer);
            return;
        }
        if self.peers.len() >= PEERS_MAX {
            self.peers.clear();
        }
        self.peers.insert(id, peer);
    }
}

/// Oneself, as the client knows a peer. `None` for a number that no user can have: that is how a
/// record without a known user is written, and the client panics over any other.
pub(super) fn own_peer(user_id: i64, is_bot: bool, auth: PeerAuth) -> Option<PeerInfo> {
    PeerId::user(user_id)?;
    let (auth, bot) = (Some(auth), Some(is_bot));
    Some(PeerInfo::User { id: user_id, auth, bot, is_self: Some(true) })
}

/// The same from a session's record.
pub(super) fn own_record(record: &SessionRecord) -> Option<PeerInfo> {
    own_peer(record.user_id, record.is_bot, PeerAuth::default())
}

impl OneShotSession {
    pub(super) fn new(
        record: &SessionRecord,
        data_centres: DataCentres,
        bridge: Option<Arc<Bridge>>,
    ) -> Self {
        let state = SessionState {
            stage: DialStage::Fresh,
            abroad: false,
            foreign_keys: HashMap::new(),
            own: own_record(record),
            peers: HashMap::new(),
        };
        Self {
            home: record.dc,
            address: record.address,
            key: record.key.clone(),
            account: record.account,
            remembered: None,
            data_centres,
            bridge,
            state: Mutex::new(state),
        }
    }

    /// The same with what the application remembers of users and chats.
    pub(super) fn with_peer_cache(self, remembered: Option<Arc<dyn PeerCache>>) -> Self {
        Self { remembered, ..self }
    }

    /// What is known of a user or a chat, here or by the application.
    fn known(&self, peer: PeerId) -> Option<PeerInfo> {
        if let Some(known) = self.state().peer(peer) {
            return Some(known.clone());
        }
        // Who oneself is it is not asked: that is the server's to say.
        let remembered = self.remembered.as_ref().filter(|_| peer != PeerId::self_user())?;
        let known = remembered.peer(self.account, peer).filter(|known| known.id() == peer)?;
        self.state().cache(known.clone());
        Some(known)
    }

    /// Forbids any connection that is not there yet, and says whether the one to the home is.
    /// After `false` the client's runner holds no task of its own.
    pub(super) fn seal(&self) -> bool {
        let mut state = self.state();
        let connected = state.stage == DialStage::Connected;
        state.stage = DialStage::Sealed;
        if let Some(bridge) = &self.bridge {
            bridge.seal();
        }
        connected
    }

    /// Whether the client has its connection to the home, and the server its introduction.
    pub(super) fn is_connected(&self) -> bool {
        self.state().stage == DialStage::Connected
    }

    /// Whether the client dials another data centre: it does nothing else meanwhile.
    pub(super) fn is_dialling_abroad(&self) -> bool {
        self.state().abroad
    }

    /// It does something else again.
    pub(super) fn note_no_dial_abroad(&self) {
        self.state().abroad = false;
    }

    /// Whether it is known who is logged in.
    pub(super) fn knows_own(&self) -> bool {
        self.state().own.is_some()
    }

    /// The server says who is logged in.
    pub(super) fn note_own(&self, own: PeerInfo) {
        self.state().cache(own);
    }

    fn state(&self) -> MutexGuard<'_, SessionState> {
        // Every change under the lock is a single assignment: a panic leaves nothing half done.
        self.state.lock()
    }

    fn home_option(&self) -> Result<Option<DcOption>, OneShotError> {
        let mut state = self.state();
        match state.stage {
            DialStage::Fresh => {
                state.stage = DialStage::Dialling;
                let address = self.dialled_address(self.home, self.address)?;
                Ok(option(self.home, address, true, Some(*self.key.expose())))
            }
            DialStage::Dialling => Ok(None),
            DialStage::Connected | DialStage::Sealed => Err(OneShotError::Redial),
        }
    }

    fn set_home_option(&self, key: Option<&[u8; 256]>) -> Result<(), OneShotError> {
        let mut state = self.state();
        match (state.stage, key) {
            // An entry of the server's list: nothing in it is for us.
            (DialStage::Dialling, None) => Ok(()),
            (DialStage::Dialling, Some(key)) if key == self.key.expose() => {
                state.stage = DialStage::Connected;
                self.note_dialled(self.home);
                Ok(())
            }
            (_, Some(key)) if key != self.key.expose() => Err(OneShotError::KeyChanged),
            _ => Err(OneShotError::Redial),
        }
    }

    fn foreign_option(&self, dc: i32) -> Result<Option<DcOption>, OneShotError> {
        let mut state = self.state();
        if state.stage != DialStage::Connected {
            return Ok(None);
        }
        state.abroad = true;
        let key = state.foreign_keys.get(&dc).map(|key| *key.expose());
        let Some(address) = self.data_centres.address(dc) else { return Ok(None) };
        let address = self.dialled_address(dc, address)?;
        Ok(option(dc, address, self.address.is_ipv6(), key))
    }

    /// Where the client dials a data centre: there, or at the door of the way by a proxy.
    fn dialled_address(&self, dc: i32, address: SocketAddr) -> Result<SocketAddr, OneShotError> {
        let Some(bridge) = &self.bridge else { return Ok(address) };
        bridge.address(dc, address).map_err(|_| OneShotError::NoDoor)
    }

    /// The client has its connection to a data centre.
    fn note_dialled(&self, dc: i32) {
        if let Some(bridge) = &self.bridge {
            bridge.shut(dc);
        }
    }
}

impl fmt::Debug for OneShotSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneShotSession").field("home", &self.home).finish_non_exhaustive()
    }
}

/// The client's form of an address. It has one for each family and dials the family of the home;
/// `None` if the address cannot be dialled that way.
fn option(dc: i32, address: SocketAddr, ipv6: bool, key: Option<[u8; 256]>) -> Option<DcOption> {
    let (ipv4, ipv6) = match address {
        SocketAddr::V4(v4) => (v4, SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0)),
        // Never dialled, and leads nowhere.
        SocketAddr::V6(v6) if ipv6 => (SocketAddrV4::new([0, 0, 0, 0].into(), 0), v6),
        SocketAddr::V6(_) => return None,
    };
    Some(DcOption { id: dc, ipv4, ipv6, auth_key: key })
}

impl Session for OneShotSession {
    type Error = OneShotError;

    fn home_dc_id(&self) -> Result<i32, Self::Error> {
        Ok(self.home)
    }

    fn set_home_dc_id(&self, _dc: i32) -> BoxFuture<'_, Result<(), Self::Error>> {
        // The home of a logged-in session is where its key is.
        Box::pin(std::future::ready(Ok(())))
    }

    fn dc_option(&self, dc: i32) -> Result<Option<DcOption>, Self::Error> {
        if dc == self.home { self.home_option() } else { self.foreign_option(dc) }
    }

    fn set_dc_option(&self, option: &DcOption) -> BoxFuture<'_, Result<(), Self::Error>> {
        let result = if option.id == self.home {
            self.set_home_option(option.auth_key.as_ref())
        } else {
            self.note_no_dial_abroad();
            self.note_dialled(option.id);
            if let Some(key) = option.auth_key.as_ref().and_then(|key| AuthKey::from_slice(key)) {
                self.state().foreign_keys.insert(option.id, key);
            }
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }

    fn peer(&self, peer: PeerId) -> BoxFuture<'_, Result<Option<PeerInfo>, Self::Error>> {
        Box::pin(std::future::ready(Ok(self.known(peer))))
    }

    /// Oneself under the number that one has: the client makes of the answer whom a message went to.
    fn peer_ref(&self, peer: PeerId) -> BoxFuture<'_, Result<Option<PeerRef>, Self::Error>> {
        let is_own = peer == PeerId::self_user();
        let known = match self.known(peer) {
            Some(own) if is_own => {
                Ok(Some(PeerRef { id: own.id(), auth: own.auth().unwrap_or_default() }))
            }
            // The client takes it for granted that there is one, and panics otherwise.
            None if is_own => Err(OneShotError::OwnUnknown),
            other => {
                let auth = other.as_ref().and_then(PeerInfo::auth);
                Ok(auth.map(|auth| PeerRef { id: peer, auth }))
            }
        };
        Box::pin(std::future::ready(known))
    }

    fn cache_peer(&self, peer: PeerInfo) -> BoxFuture<'_, Result<(), Self::Error>> {
        match &self.remembered {
            None => self.state().cache(peer),
            // What is new is added to what was known, and the application told all of it.
            Some(remembered) => {
                let mut known = self.known(peer.id()).unwrap_or_else(|| peer.clone());
                known.extend_info(&peer);
                self.state().cache(peer);
                remembered.cache_peer(self.account, &known);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn updates_state(&self) -> BoxFuture<'_, Result<UpdatesState, Self::Error>> {
        Box::pin(std::future::ready(Ok(UpdatesState::default())))
    }

    fn set_update_state(&self, _update: UpdateState) -> BoxFuture<'_, Result<(), Self::Error>> {
        // The pool hands updates on as they come; whoever orders them keeps the state.
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the client is told when it asks for more than one connection with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OneShotError {
    #[error("the connection has ended: a new one is the pool's to make")]
    Redial,
    #[error("the server does not know the authorization key, which must not be replaced")]
    KeyChanged,
    #[error(
        "neither the session's record nor the server has told whose it is: add its user_id, and see \
         whether a message to oneself has gone out before it is sent again"
    )]
    OwnUnknown,
    #[error(
        "there is no port or file descriptor left for another data centre by the session's proxy: raise the \
         limit of open files (ulimit -n)"
    )]
    NoDoor,
}

#[cfg(test)]
mod tests;
