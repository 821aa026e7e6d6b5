//! The SQLite files of other programs, each in all that it holds.

use telepool::import::{
    FoundSession, ImportError, ImportOptions, KnownPeer, Origin, PeerKind, open,
};
use telepool::session::{ChannelState, UpdateState};

use super::{BOT, OWN, PHONE, file, key, session};

fn peer(kind: PeerKind, id: i64, access_hash: i64, username: Option<&str>) -> KnownPeer {
    KnownPeer { kind, id, access_hash, username: username.map(Into::into) }
}

/// The peers that Telethon writes, which tells neither bots nor groups among channels, and has names in small
/// letters.
fn peers_of_telethon() -> Vec<KnownPeer> {
    vec![
        peer(PeerKind::User, 777_000, i64::MIN, None),
        peer(PeerKind::User, OWN, 11, Some("own_name")),
        peer(PeerKind::User, BOT, 33, Some("somebot")),
        peer(PeerKind::Chat, 4_512_345_678, 0, None),
        peer(PeerKind::Channel, 123_456, -66, None),
        peer(PeerKind::Channel, 1_987_654_321, 55, None),
    ]
}

fn peers_of_pyrogram() -> Vec<KnownPeer> {
    vec![
        peer(PeerKind::User, 777_000, i64::MIN, None),
        peer(PeerKind::User, OWN, 11, Some("own_name")),
        peer(PeerKind::Bot, BOT, 33, Some("SomeBot")),
        peer(PeerKind::Chat, 4_512_345_678, 0, None),
        peer(PeerKind::Channel, 1_987_654_321, 55, Some("some_channel")),
        peer(PeerKind::Megagroup, 123_456, -66, None),
    ]
}

fn sorted(mut peers: Vec<KnownPeer>) -> Vec<KnownPeer> {
    peers.sort_by_key(|peer| (peer.kind, peer.id));
    peers
}

/// What is in every file: the key, the address, the peers, and that nothing more is.
fn check(found: &FoundSession, origin: Origin, dc: i32, label: &str, peers: Vec<KnownPeer>) {
    assert_eq!((found.origin, found.dc), (origin, dc), "{label}");
    assert!(found.key == key(label), "{label}");
    assert_eq!(sorted(found.peers.clone()), sorted(peers), "{label}");
    assert_eq!(found.peers_left_out, 0);
    assert_eq!((found.slot, &found.group, &found.proxy), (None, &None, &None));
}

fn phone(found: &FoundSession) -> Option<String> {
    found.phone.map(|phone| phone.reveal().to_string())
}

fn address(found: &FoundSession) -> Option<String> {
    found.address.map(|address| address.to_string())
}

const STATE: UpdateState = UpdateState { pts: 101, qts: 102, date: 1_700_000_001, seq: 103 };
const CHANNEL: ChannelState = ChannelState { channel: 1_987_654_321, pts: 201 };

#[test]
fn every_version_of_telethon_is_read() {
    for version in 1..=8 {
        let found = session(&format!("telethon-{version}.session"));
        let label = format!("telethon {version}");
        check(&found, Origin::Telethon, 2, &label, peers_of_telethon());
        assert_eq!(address(&found).as_deref(), Some("149.154.167.51:443"));
        assert_eq!(found.update_state, (version >= 4).then_some(STATE), "{version}");
        let channels = if version >= 7 { vec![CHANNEL] } else { Vec::new() };
        assert_eq!(found.channel_states, channels);
        // Only of late its own id is written, and with it the number can be told from those of others.
        let knows_itself = version == 8;
        assert_eq!(found.user_id, knows_itself.then_some(OWN));
        assert_eq!(phone(&found).as_deref(), knows_itself.then_some(PHONE));
        assert_eq!((found.is_bot, found.test_mode, found.api_id), (None, None, None));
    }
    let found = session("telethon-7-to-8.session");
    check(&found, Origin::Telethon, 2, "telethon 7", peers_of_telethon());
    assert_eq!((found.user_id, phone(&found).as_deref()), (Some(OWN), Some(PHONE)));
}

#[test]
fn the_address_may_be_of_ipv6() {
    let found = session("telethon-ipv6.session");
    check(&found, Origin::Telethon, 4, "telethon ipv6", Vec::new());
    assert_eq!(address(&found).as_deref(), Some("[2001:67c:4e8:f004::a]:443"));
}

#[test]
fn whoever_is_signed_out_is_told_so() {
    for (name, program) in
        [("telethon-signed-out.session", "Telethon"), ("pyrogram-2-new.session", "Pyrogram")]
    {
        let error = open(&file(name), &ImportOptions::default()).unwrap_err();
        assert!(matches!(error, ImportError::SignedOut { .. }), "{error}");
        assert!(error.to_string().contains(program), "{error}");
    }
}

/// What the files of Pyrogram's family have in common.
fn check_pyrogram(name: &str, label: &str, origin: Origin, peers: Vec<KnownPeer>) -> FoundSession {
    let found = session(name);
    check(&found, origin, 2, label, peers);
    assert_eq!((found.user_id, found.is_bot), (Some(OWN), Some(false)), "{name}");
    assert_eq!(phone(&found).as_deref(), Some(PHONE));
    assert_eq!(found.test_mode, Some(false));
    found
}

#[test]
fn pyrogram_is_read() {
    let found =
        check_pyrogram("pyrogram-1.session", "pyrogram-1", Origin::Pyrogram, peers_of_pyrogram());
    assert_eq!((found.api_id, found.address, found.update_state), (None, None, None));
    let found =
        check_pyrogram("pyrogram-2.session", "pyrogram-2", Origin::Pyrogram, peers_of_pyrogram());
    assert_eq!((found.api_id, found.address, found.update_state), (Some(12345), None, None));

    let found = session("pyrogram-2-test.session");
    check(&found, Origin::Pyrogram, 3, "pyrogram-2-test", peers_of_pyrogram());
    assert_eq!((found.user_id, found.is_bot), (Some(BOT), Some(true)));
    assert_eq!((found.test_mode, phone(&found)), (Some(true), None));
}

#[test]
fn the_descendants_of_pyrogram_are_told_from_one_another() {
    let state = UpdateState { qts: 0, ..STATE };
    for (name, origin) in [
        ("pyrofork", Origin::Pyrofork),
        ("pyrotgfork", Origin::Pyrotgfork),
        ("kurigram", Origin::Kurigram),
    ] {
        let mut peers = peers_of_pyrogram();
        if origin == Origin::Pyrofork {
            // Which has two places for names.
            peers[5].username = Some("by_name_alone".into());
        }
        let found = check_pyrogram(&format!("{name}.session"), name, origin, peers);
        assert_eq!(found.api_id, Some(12345));
        assert_eq!(found.update_state, Some(state));
        assert_eq!(found.channel_states, [CHANNEL]);
        let own = (origin == Origin::Kurigram).then_some("149.154.167.51:443");
        assert_eq!(address(&found).as_deref(), own);
    }
}

#[test]
fn a_file_that_a_relative_has_changed_is_read_by_its_columns() {
    let name = "pyrogram-2-to-kurigram.session";
    let found = check_pyrogram(name, "pyrogram-2", Origin::Kurigram, peers_of_pyrogram());
    assert_eq!(found.api_id, Some(12345));
    assert_eq!(address(&found).as_deref(), Some("149.154.167.51:443"));
    assert_eq!(found.update_state, None);
}

#[test]
fn grammers_is_read_with_the_keys_of_other_data_centres() {
    let found = session("grammers.session");
    let peers = vec![
        peer(PeerKind::User, OWN, 11, None),
        peer(PeerKind::User, 777_000, i64::MIN, None),
        peer(PeerKind::Bot, BOT, 33, None),
        peer(PeerKind::Chat, 4_512_345_678, 0, None),
        peer(PeerKind::Channel, 1_987_654_321, 55, None),
        peer(PeerKind::Channel, 234_567, 77, None),
        peer(PeerKind::Megagroup, 123_456, -66, None),
    ];
    check(&found, Origin::Grammers, 4, "grammers 4", peers);
    assert_eq!(found.foreign_keys, [(2, key("grammers 2"))]);
    assert_eq!(address(&found).as_deref(), Some("149.154.167.92:443"));
    assert_eq!((found.user_id, found.is_bot), (Some(OWN), Some(false)));
    assert_eq!((found.update_state, found.channel_states), (Some(STATE), vec![CHANNEL]));

    let found = session("grammers-bot.session");
    check(&found, Origin::Grammers, 2, "grammers bot", Vec::new());
    assert_eq!((found.user_id, found.is_bot), (Some(BOT), Some(true)));
}

/// A program between two writes has nothing beside its file that would tell of it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_another_process_has_open_is_in_use() {
    use std::io::{Read as _, Write as _};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.session");
    std::fs::copy(file("telethon-8.session"), &path).unwrap();
    let mut options = ImportOptions::default();
    assert!(open(&path, &options).is_ok());
    let mut other = std::process::Command::new("sh")
        .args(["-c", "exec 3<\"$0\"; echo open; read line"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    other.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    // A look counts for half a second.
    let mut refused = None;
    for _ in 0..200 {
        refused = open(&path, &options).err();
        if refused.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let told = refused.unwrap().to_string();
    assert!(told.contains("a process has it open"), "{told}");
    options.in_use_is_fine = true;
    assert!(open(&path, &options).is_ok());
    other.stdin.take().unwrap().write_all(b"\n").unwrap();
    other.wait().unwrap();
}
