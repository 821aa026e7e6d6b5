//! What is written is read back as it was, by the readers of the formats.

use std::fs;
use std::path::Path;

use super::*;
use crate::account_id::AccountId;
use crate::import::{self, Found, ImportOptions, KnownPeer, Origin, PeerKind};
use crate::session::{AuthKey, ChannelState, SessionString, UpdateState};

const FORMATS: [ExportFormat; 2] = [ExportFormat::Telethon, ExportFormat::Pyrogram];
const USER: i64 = 1_234_567_890;

fn peer(kind: PeerKind, id: i64, access_hash: i64, username: Option<&str>) -> KnownPeer {
    KnownPeer { kind, id, access_hash, username: username.map(Into::into) }
}

/// One of which everything is known, whose key has each byte once.
fn whole() -> FoundSession {
    let key: Vec<u8> = (0..=255).collect();
    let mut session = FoundSession::new(Origin::Lines, 4, AuthKey::from_slice(&key).unwrap());
    session.address = Some("149.154.167.91:443".parse().unwrap());
    session.test_mode = Some(true);
    session.user_id = Some(USER);
    session.is_bot = Some(true);
    session.api_id = Some(i32::MAX);
    session.phone = Some(AccountId::phone(447_700_900_123).unwrap());
    session.peers = vec![
        peer(PeerKind::Channel, 1_987_654_321, 55, Some("Some_Channel")),
        peer(PeerKind::Megagroup, 123_456, -66, None),
        peer(PeerKind::Chat, 4_512_345_678, 0, None),
        peer(PeerKind::User, 777_000, i64::MIN, None),
        peer(PeerKind::User, USER, 11, Some("own_name")),
        peer(PeerKind::Bot, 5_000_000_001, 33, Some("SomeBot")),
    ];
    session.update_state = Some(UpdateState { pts: 101, qts: 102, date: 1_700_000_001, seq: 103 });
    session.channel_states = vec![ChannelState { channel: 1_987_654_321, pts: 201 }];
    session
}

/// The only session of a file.
fn read(path: &Path) -> FoundSession {
    let options = ImportOptions::default();
    let mut file = import::open(path, &options).unwrap();
    let Some(Ok(Found::Session(session))) = file.next() else { panic!("there is a session") };
    assert!(file.next().is_none());
    *session
}

/// Peers with kinds and names as a format can have them.
fn with(peers: &[KnownPeer], kind: impl Fn(PeerKind) -> PeerKind) -> Vec<KnownPeer> {
    let in_small = |name: &str| name.to_lowercase().into_boxed_str();
    let as_it_is = |it: &KnownPeer| KnownPeer {
        kind: kind(it.kind),
        username: it.username.as_deref().map(in_small),
        ..it.clone()
    };
    peers.iter().map(as_it_is).collect()
}

fn assert_peers(mut read: Vec<KnownPeer>, mut expected: Vec<KnownPeer>) {
    read.sort_by_key(|it| (it.kind, it.id));
    expected.sort_by_key(|it| (it.kind, it.id));
    assert_eq!(read, expected);
}

#[test]
fn a_file_of_telethon_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (session, path) = (whole(), folder.path().join("a.session"));
    file(&session, ExportFormat::Telethon, &path).unwrap();
    let found = read(&path);
    assert_eq!((found.origin, found.dc), (Origin::Telethon, 4));
    assert!(found.key == session.key);
    assert_eq!((found.address, found.user_id), (session.address, session.user_id));
    assert_eq!((found.phone, found.peers_left_out), (session.phone, 0));
    // Users and bots are one there, and so are channels and supergroups.
    assert_peers(
        found.peers,
        with(&session.peers, |kind| match kind {
            PeerKind::Bot => PeerKind::User,
            PeerKind::Megagroup => PeerKind::Channel,
            kind => kind,
        }),
    );
    assert_eq!(found.update_state, session.update_state);
    assert_eq!(found.channel_states, session.channel_states);
}

#[test]
fn a_file_of_pyrogram_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (session, path) = (whole(), folder.path().join("a.session"));
    file(&session, ExportFormat::Pyrogram, &path).unwrap();
    let found = read(&path);
    assert_eq!((found.origin, found.dc), (Origin::Pyrogram, 4));
    assert!(found.key == session.key);
    assert_eq!((found.test_mode, found.api_id), (session.test_mode, session.api_id));
    assert_eq!((found.user_id, found.is_bot), (session.user_id, session.is_bot));
    assert_eq!(found.phone, session.phone);
    assert_peers(found.peers, with(&session.peers, |kind| kind));
}

#[test]
fn strings_are_read_back() {
    let mut session = whole();
    let parse = |text: &str| SessionString::parse(text.as_bytes()).unwrap();
    for address in ["149.154.167.91:443", "[2001:67c:4e8:f004::a]:5222"] {
        session.address = Some(address.parse().unwrap());
        let found = parse(&string(&session, ExportFormat::Telethon).unwrap());
        assert_eq!((found.dc, found.address), (4, session.address));
        assert!(found.key == session.key);
    }
    for is_bot in [false, true] {
        for test_mode in [None, Some(false), Some(true)] {
            (session.is_bot, session.test_mode) = (Some(is_bot), test_mode);
            let text = string(&session, ExportFormat::Pyrogram).unwrap();
            assert_eq!(text.len(), 362);
            let found = parse(&text);
            assert!(found.key == session.key);
            assert_eq!((found.dc, found.api_id), (4, Some(i32::MAX.unsigned_abs())));
            assert_eq!((found.user_id, found.is_bot), (session.user_id, Some(is_bot)));
            assert_eq!(found.test_mode, Some(test_mode == Some(true)));
        }
    }
}

#[test]
fn a_session_of_which_nothing_is_known_is_written_for_telethon_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    let mut session = FoundSession::new(Origin::Telethon, 2, AuthKey::new([7; 256]));
    session.address = Some("[::1]:443".parse().unwrap());
    for written in [
        string(&session, ExportFormat::Pyrogram).map(drop),
        file(&session, ExportFormat::Pyrogram, &path),
    ] {
        assert!(matches!(written, Err(SessionExportError::Unidentified)), "{written:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was begun");
    file(&session, ExportFormat::Telethon, &path).unwrap();
    let found = read(&path);
    assert!(found.key == session.key && found.address == session.address);
    assert_eq!((found.user_id, found.phone, found.update_state), (None, None, None));
    assert!(found.peers.is_empty() && found.channel_states.is_empty());
}

#[test]
fn what_a_format_cannot_hold_is_refused() {
    let refused = |change: fn(&mut FoundSession), format| {
        let mut session = whole();
        change(&mut session);
        string(&session, format).expect_err("it is refused")
    };
    use ExportFormat::{Pyrogram, Telethon};
    for format in FORMATS {
        assert!(matches!(refused(|it| it.dc = 0, format), SessionExportError::DataCentre));
        assert!(matches!(refused(|it| it.dc = 256, format), SessionExportError::DataCentre));
        let blank = |it: &mut FoundSession| it.key = AuthKey::new([0; 256]);
        assert!(matches!(refused(blank, format), SessionExportError::NoKey));
    }
    assert!(matches!(refused(|it| it.address = None, Telethon), SessionExportError::NoAddress));
    assert!(matches!(refused(|it| it.user_id = None, Pyrogram), SessionExportError::Unidentified));
    assert!(matches!(
        refused(|it| it.user_id = Some(-1), Pyrogram),
        SessionExportError::Unidentified
    ));
    assert!(matches!(refused(|it| it.is_bot = None, Pyrogram), SessionExportError::Unidentified));
    assert!(matches!(refused(|it| it.api_id = None, Pyrogram), SessionExportError::NoApplication));
    assert!(matches!(
        refused(|it| it.api_id = Some(0), Pyrogram),
        SessionExportError::NoApplication
    ));
}

#[test]
fn nothing_is_overwritten_and_nothing_left_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    let names = || fs::read_dir(folder.path()).unwrap().count();
    fs::write(&path, "something").unwrap();
    let all = |path: &Path| {
        [
            file(&whole(), ExportFormat::Telethon, path),
            file(&whole(), ExportFormat::Pyrogram, path),
            text_file("text", path),
        ]
    };
    for written in all(&path) {
        assert!(matches!(written, Err(SessionExportError::Exists { .. })), "{written:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "something");
    for written in all(&folder.path().join("none/a.session")) {
        assert!(matches!(written, Err(SessionExportError::Io { .. })), "{written:?}");
    }
    assert_eq!(names(), 1);
    for (number, format) in (0..).zip(FORMATS) {
        file(&whole(), format, &folder.path().join(format!("{number}.session"))).unwrap();
    }
    text_file("text", &folder.path().join("text")).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("text")).unwrap(), "text\n");
    assert_eq!(names(), 4, "no journal lies beside them");
}

/// Something that comes there while the file is written is not replaced either.
#[test]
fn what_has_come_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    let written = new_file::write(&path, |_| {
        fs::write(&path, "something").unwrap();
        Ok(())
    });
    assert!(matches!(written, Err(SessionExportError::Exists { .. })), "{written:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "something");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_file_is_its_users_alone_and_a_link_is_something_that_is_there() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.session");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
    let written = file(&whole(), ExportFormat::Telethon, &path);
    assert!(matches!(written, Err(SessionExportError::Exists { .. })), "{written:?}");
    fs::remove_file(&path).unwrap();
    new_file::write(&path, |file| {
        assert_eq!(file.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        Ok(())
    })
    .unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
