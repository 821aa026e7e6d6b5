//! Session strings and session lines: what other programs write is read, what is wrong is
//! refused with the remedy, and no secret shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod formats;
mod lines;
mod never;
mod vectors;

use std::io::{self, BufRead, Read};
use std::net::SocketAddr;

use proptest::prelude::*;
use telepool::AccountId;
use telepool::session::lines::{LINE_LEN_MAX, LineError, LineProblem, read, read_all, write_line};
use telepool::session::{
    AuthKey, DataCentres, SessionFormat, SessionRecord, SessionString, SessionStringError,
    telethon_string,
};
use vectors::{
    MTCUTE_3, MTCUTE_3_TEST, MTKRUTO, MTKRUTO_TEST, PYROGRAM_1, PYROGRAM_1_NARROW, PYROGRAM_2,
    PYROGRAM_2_TEST_BOT, TELETHON_V4, TELETHON_V6,
};

fn key() -> AuthKey {
    AuthKey::new(std::array::from_fn(|i| u8::try_from((7 * i + 3) % 256).unwrap()))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn line(account: &str, session: &str, more: &str) -> String {
    format!("{{{account}, \"session\": \"{session}\"{more}}}\n")
}

fn problem(text: &str) -> String {
    let error = read_all(text.as_bytes(), &DataCentres::production()).unwrap_err().to_string();
    for secret in [TELETHON_V4, PYROGRAM_2] {
        let leaked = (0..secret.len() - 16).any(|at| error.contains(&secret[at..at + 16]));
        assert!(!leaked, "a part of the session shows: {error}");
    }
    error
}

#[test]
fn every_format_is_recognised_and_read() {
    for (text, format, dc, at, user, bot, test, api) in [
        (
            TELETHON_V4,
            SessionFormat::Telethon,
            2,
            Some("149.154.167.51:443"),
            None,
            None,
            None,
            None,
        ),
        (
            TELETHON_V6,
            SessionFormat::Telethon,
            4,
            Some("[2001:67c:4e8:f004::a]:443"),
            None,
            None,
            None,
            None,
        ),
        (
            PYROGRAM_2,
            SessionFormat::Pyrogram2,
            2,
            None,
            Some(5_000_000_001),
            Some(false),
            Some(false),
            Some(12345),
        ),
        (
            PYROGRAM_2_TEST_BOT,
            SessionFormat::Pyrogram2,
            3,
            None,
            Some(123_456_789),
            Some(true),
            Some(true),
            Some(12345),
        ),
        (
            PYROGRAM_1,
            SessionFormat::Pyrogram1,
            5,
            None,
            Some(5_000_000_002),
            Some(true),
            Some(false),
            None,
        ),
        (
            PYROGRAM_1_NARROW,
            SessionFormat::Pyrogram1Narrow,
            1,
            None,
            Some(777_000),
            Some(false),
            Some(false),
            None,
        ),
    ] {
        let session: SessionString = text.parse().unwrap();
        assert_eq!((session.format, session.dc), (format, dc));
        assert_eq!(session.address, at.map(address), "{format:?}");
        assert_eq!(session.user_id, user, "{format:?}");
        assert_eq!((session.is_bot, session.test_mode), (bot, test), "{format:?}");
        assert_eq!(session.api_id, api, "{format:?}");
        assert_eq!(session.key, key(), "{format:?}");
    }
}

#[test]
fn what_mtcute_and_mtkruto_tell_of_a_session_is_read() {
    let (v4, v6) = (Some("149.154.167.51:443"), Some("[2001:67c:4e8:f003::e]:443"));
    for (text, format, dc, at, user, test) in [
        (MTCUTE_3, SessionFormat::Mtcute, 2, v4, Some(5_000_000_001), false),
        (MTCUTE_3_TEST, SessionFormat::Mtcute, 3, v6, None, true),
        (MTKRUTO, SessionFormat::MtKruto, 2, None, None, false),
        (MTKRUTO_TEST, SessionFormat::MtKruto, 3, None, None, true),
    ] {
        let session: SessionString = text.parse().unwrap();
        assert_eq!((session.format, session.dc, session.key), (format, dc, key()));
        assert_eq!(session.address, at.map(address), "{format:?}");
        let told = (session.user_id, session.is_bot, session.test_mode);
        assert_eq!(told, (user, user.map(|_| false), Some(test)), "{format:?}");
    }
}

#[test]
fn what_telethon_wrote_is_written_the_same() {
    for text in [TELETHON_V4, TELETHON_V6] {
        let session: SessionString = text.parse().unwrap();
        let at = session.address.unwrap();
        assert_eq!(telethon_string(session.dc, at, &session.key).unwrap().as_str(), text);
    }
}

#[test]
fn padding_blanks_and_the_ordinary_alphabet_do_no_harm() {
    for text in [TELETHON_V4, TELETHON_V6, PYROGRAM_2, PYROGRAM_1, PYROGRAM_1_NARROW] {
        let plain: SessionString = text.parse().unwrap();
        let bare = text.trim_end_matches('=');
        for other in [
            bare.to_owned(),
            format!("{bare}="),
            format!("{bare}===="),
            format!("  {text}\r\n"),
            text.replace('-', "+").replace('_', "/"),
        ] {
            assert_eq!(other.parse::<SessionString>().unwrap(), plain);
        }
    }
}

#[test]
fn a_damaged_string_is_refused_with_the_reason() {
    let version_2 = format!("2{}", &TELETHON_V4[1..]);
    let alphabet = TELETHON_V4.replacen('R', "!", 1);
    // Pyrogram 2 keeps a flag in byte 5: base64 characters 6 and 7.
    let flag = format!("{}Aj{}", &PYROGRAM_2[..6], &PYROGRAM_2[8..]);
    let blank = telethon_string(2, address("127.0.0.1:1"), &AuthKey::new([0; 256])).unwrap();
    for (text, error) in [
        ("", SessionStringError::Empty),
        (" \n", SessionStringError::Empty),
        ("1", SessionStringError::Length { len: 1 }),
        (&TELETHON_V4[..300], SessionStringError::Length { len: 300 }),
        (&version_2, SessionStringError::Version),
        (&alphabet, SessionStringError::Alphabet),
        (&flag, SessionStringError::Damaged),
        (&format!("A{}", &PYROGRAM_1[1..]).replacen("AQ", "AA", 1), SessionStringError::DataCentre),
        (&blank, SessionStringError::NoKey),
    ] {
        assert_eq!(text.parse::<SessionString>().unwrap_err(), error);
    }
}
