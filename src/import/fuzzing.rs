//! Fuzz targets of the import: what any file may hold.

use zeroize::Zeroizing;

use super::{Found, ImportOptions, database, read, tdata, text};

/// How many items are read of one input.
const ITEMS_MAX: usize = 2000;

/// Any bytes, as from standard input.
pub(crate) fn stream(data: &[u8]) {
    let options = ImportOptions::default();
    let Ok(items) = read(data, &options) else { return };
    for item in items.take(ITEMS_MAX) {
        match item {
            Ok(found) => checked(&found),
            Err(error) => one_line(&error.to_string()),
        }
    }
    // Each line of whatever it is, as of a file of strings.
    for line in data.split(|byte| *byte == b'\n').take(ITEMS_MAX) {
        if let Ok(found) = text::found(line) {
            checked(&found);
        }
    }
}

/// Files of programs, to change in places: out of nothing a fuzzer makes none in a day.
const FILES: [&[u8]; 4] = [
    include_bytes!("../../tests/it/import/files/telethon-1.session"),
    include_bytes!("../../tests/it/import/files/telethon-8.session"),
    include_bytes!("../../tests/it/import/files/kurigram.session"),
    include_bytes!("../../tests/it/import/files/grammers.session"),
];

/// Changes of a database, each of two bytes for its place and one for its value; the first byte says of which.
pub(crate) fn database(data: &[u8]) {
    let Some((which, changes)) = data.split_first() else { return };
    let mut bytes = FILES[usize::from(*which) % FILES.len()].to_vec();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] = change[2];
    }
    match database::read_bytes(bytes) {
        Ok(session) => checked(&Found::Session(Box::new(session))),
        Err(error) => one_line(&error.to_string()),
    }
}

/// Files of Telegram Desktop, of which the first byte says which, and each part of them behind its encryption.
pub(crate) fn folder(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    if let Some(session) = tdata::any_part(*which, Zeroizing::new(bytes.to_vec())) {
        checked(&Found::Session(Box::new(session)));
    }
}

/// What everybody may rely on.
fn checked(found: &Found) {
    match found {
        Found::Session(session) => {
            assert!((1..=255).contains(&session.dc));
            assert!(!session.key.is_blank());
            assert!(session.user_id.is_none_or(|id| id > 0));
            assert!(session.peers.iter().all(|peer| peer.id > 0));
            assert!(session.channel_states.iter().all(|state| state.channel > 0));
        }
        Found::Token(token) => assert!(token.bot.is_bot() && token.token.contains(':')),
    }
}

fn one_line(text: &str) {
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{text}");
}
