//! Writes sessions of grammers: `make-grammers FOLDER`.

use std::path::Path;

use grammers_session::types::{
    ChannelKind, ChannelState, DcOption, PeerAuth, PeerInfo, UpdateState, UpdatesState,
};
use grammers_session::{Session, storages::SqliteSession};
use sha2::{Digest, Sha512};

const OWN: i64 = 1_234_567_890;
const BOT: i64 = 5_000_000_001;

fn key(label: &str) -> [u8; 256] {
    let parts = (0..4).map(|i| Sha512::digest(format!("{label} {i}")));
    parts.flatten().collect::<Vec<u8>>().try_into().unwrap()
}

fn option(id: i32, ipv4: &str, ipv6: &str, auth_key: Option<[u8; 256]>) -> DcOption {
    DcOption { id, ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap(), auth_key }
}

async fn user(folder: &Path) {
    let session = SqliteSession::open(folder.join("grammers.session")).await.unwrap();
    session.set_home_dc_id(4).await.unwrap();
    for option in [
        option(2, "149.154.167.41:443", "[2001:67c:4e8:f002::a]:443", Some(key("grammers 2"))),
        option(4, "149.154.167.92:443", "[2001:67c:4e8:f004::a]:443", Some(key("grammers 4"))),
        option(5, "91.108.56.104:443", "[2001:b28:f23f:f005::a]:443", None),
    ] {
        session.set_dc_option(&option).await.unwrap();
    }
    let user = |id, hash, bot, is_self| PeerInfo::User {
        id,
        auth: Some(PeerAuth::from_hash(hash)),
        bot: Some(bot),
        is_self: Some(is_self),
    };
    let channel = |id, hash, kind| {
        PeerInfo::Channel { id, auth: Some(PeerAuth::from_hash(hash)), kind: Some(kind) }
    };
    for peer in [
        user(OWN, 11, false, true),
        user(777_000, i64::MIN, false, false),
        user(BOT, 33, true, false),
        PeerInfo::Chat { id: 4_512_345_678 },
        channel(1_987_654_321, 55, ChannelKind::Broadcast),
        channel(123_456, -66, ChannelKind::Megagroup),
        channel(234_567, 77, ChannelKind::Gigagroup),
    ] {
        session.cache_peer(peer).await.unwrap();
    }
    let channels = vec![ChannelState { id: 1_987_654_321, pts: 201 }];
    let state = UpdatesState { pts: 101, qts: 102, date: 1_700_000_001, seq: 103, channels };
    session.set_update_state(UpdateState::All(state)).await.unwrap();
}

async fn bot(folder: &Path) {
    let session = SqliteSession::open(folder.join("grammers-bot.session")).await.unwrap();
    let key = Some(key("grammers bot"));
    let option = option(2, "149.154.167.41:443", "[2001:67c:4e8:f002::a]:443", key);
    session.set_dc_option(&option).await.unwrap();
    let peer = PeerInfo::User { id: BOT, auth: None, bot: Some(true), is_self: Some(true) };
    session.cache_peer(peer).await.unwrap();
}

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        user(Path::new(&folder)).await;
        bot(Path::new(&folder)).await;
    });
}
