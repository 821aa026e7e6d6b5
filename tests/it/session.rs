//! Session strings and session lines: what other programs write is read, what is wrong is
//! refused with the remedy, and no secret shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, BufRead, Read};
use std::net::SocketAddr;

use proptest::prelude::*;
use telepool::AccountId;
use telepool::session::lines::{LINE_LEN_MAX, LineError, LineProblem, read, read_all, write_line};
use telepool::session::{
    AuthKey, DataCentres, SessionFormat, SessionRecord, SessionString, SessionStringError,
    telethon_string,
};

// The vectors were packed by Python's `struct` and `base64`, with a key whose byte `i` is
// `(7 * i + 3) % 256`.

/// dc 2 at 149.154.167.51:443.
const TELETHON_V4: &str = "\
    1ApWapzMBuwMKERgfJi00O0JJUFdeZWxzeoGIj5adpKuyucDHztXc4-rx-P8GDRQbIikwNz5FTFNaYWhvdn2Ei5KZo\
    KeutbzDytHY3-bt9PsCCRAXHiUsMzpBSE9WXWRrcnmAh46VnKOqsbi_xs3U2-Lp8Pf-BQwTGiEoLzY9REtSWWBnbnV\
    8g4qRmJ-mrbS7wsnQ197l7PP6AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09rh6O_2_QQLEhkgJy41PENKU\
    VhfZm10e4KJkJeepayzusHIz9bd5Ovy-QAHDhUcIyoxOD9GTVRbYmlwd36FjJOaoaivtr3Ey9LZ4Ofu9fw=";
/// dc 4 at [2001:67c:4e8:f004::a]:443.
const TELETHON_V6: &str = "\
    1BCABBnwE6PAEAAAAAAAAAAoBuwMKERgfJi00O0JJUFdeZWxzeoGIj5adpKuyucDHztXc4-rx-P8GDRQbIikwNz5FT\
    FNaYWhvdn2Ei5KZoKeutbzDytHY3-bt9PsCCRAXHiUsMzpBSE9WXWRrcnmAh46VnKOqsbi_xs3U2-Lp8Pf-BQwTGiE\
    oLzY9REtSWWBnbnV8g4qRmJ-mrbS7wsnQ197l7PP6AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09rh6O_2_\
    QQLEhkgJy41PENKUVhfZm10e4KJkJeepayzusHIz9bd5Ovy-QAHDhUcIyoxOD9GTVRbYmlwd36FjJOaoaivtr3Ey9L\
    Z4Ofu9fw=";
/// dc 2, api id 12345, production, user 5000000001, no bot.
const PYROGRAM_2: &str = "\
    AgAAMDkAAwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dzj6vH4_wYNFBsiKTA3PkVMU1phaG92fYSLkpmgp6\
    61vMPK0djf5u30-wIJEBceJSwzOkFIT1ZdZGtyeYCHjpWco6qxuL_GzdTb4unw9_4FDBMaISgvNj1ES1JZYGdudXyD\
    ipGYn6attLvCydDX3uXs8_oBCA8WHSQrMjlAR05VXGNqcXh_ho2Um6KpsLe-xczT2uHo7_b9BAsSGSAnLjU8Q0pRWF\
    9mbXR7gomQl56lrLO6wcjP1t3k6_L5AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK-2vcTL0tng5-71_AAAAAEqBfIB\
    AA";
/// dc 3, api id 12345, test servers, user 123456789, a bot.
const PYROGRAM_2_TEST_BOT: &str = "\
    AwAAMDkBAwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dzj6vH4_wYNFBsiKTA3PkVMU1phaG92fYSLkpmgp6\
    61vMPK0djf5u30-wIJEBceJSwzOkFIT1ZdZGtyeYCHjpWco6qxuL_GzdTb4unw9_4FDBMaISgvNj1ES1JZYGdudXyD\
    ipGYn6attLvCydDX3uXs8_oBCA8WHSQrMjlAR05VXGNqcXh_ho2Um6KpsLe-xczT2uHo7_b9BAsSGSAnLjU8Q0pRWF\
    9mbXR7gomQl56lrLO6wcjP1t3k6_L5AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK-2vcTL0tng5-71_AAAAAAHW80V\
    AQ";
/// dc 5, production, user 5000000002, a bot.
const PYROGRAM_1: &str = "\
    BQADChEYHyYtNDtCSVBXXmVsc3qBiI-WnaSrsrnAx87V3OPq8fj_Bg0UGyIpMDc-RUxTWmFob3Z9hIuSmaCnrrW8w8\
    rR2N_m7fT7AgkQFx4lLDM6QUhPVl1ka3J5gIeOlZyjqrG4v8bN1Nvi6fD3_gUMExohKC82PURLUllgZ251fIOKkZif\
    pq20u8LJ0Nfe5ezz-gEIDxYdJCsyOUBHTlVcY2pxeH-GjZSboqmwt77FzNPa4ejv9v0ECxIZICcuNTxDSlFYX2ZtdH\
    uCiZCXnqWss7rByM_W3eTr8vkABw4VHCMqMTg_Rk1UW2JpcHd-hYyTmqGor7a9xMvS2eDn7vX8AAAAASoF8gIB";
/// dc 1, production, user 777000, no bot.
const PYROGRAM_1_NARROW: &str = "\
    AQADChEYHyYtNDtCSVBXXmVsc3qBiI-WnaSrsrnAx87V3OPq8fj_Bg0UGyIpMDc-RUxTWmFob3Z9hIuSmaCnrrW8w8\
    rR2N_m7fT7AgkQFx4lLDM6QUhPVl1ka3J5gIeOlZyjqrG4v8bN1Nvi6fD3_gUMExohKC82PURLUllgZ251fIOKkZif\
    pq20u8LJ0Nfe5ezz-gEIDxYdJCsyOUBHTlVcY2pxeH-GjZSboqmwt77FzNPa4ejv9v0ECxIZICcuNTxDSlFYX2ZtdH\
    uCiZCXnqWss7rByM_W3eTr8vkABw4VHCMqMTg_Rk1UW2JpcHd-hYyTmqGor7a9xMvS2eDn7vX8AAvbKAA";

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

#[test]
fn a_line_takes_from_the_string_what_it_does_not_say() {
    let text = line(r#""phone": "+44 20 7946 0958""#, TELETHON_V4, "");
    let [record] = read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
    assert_eq!(record.account, AccountId::phone(442_079_460_958).unwrap());
    assert_eq!((record.slot, record.dc, record.user_id), (0, 2, 0));
    assert_eq!(record.address, address("149.154.167.51:443"));
    assert!(!record.is_bot && record.group.is_none() && record.proxy.is_none());
    assert_eq!(record.key, key());

    let text = line(r#""bot_id": 5000000002"#, PYROGRAM_1, "");
    let [record] =
        read_all(text.as_bytes(), &DataCentres::production()).unwrap().try_into().unwrap();
    assert_eq!(record.account, AccountId::bot(5_000_000_002).unwrap());
    assert_eq!((record.dc, record.user_id, record.is_bot), (5, 5_000_000_002, true));
    assert_eq!(Some(record.address), DataCentres::production().address(5));
}

#[test]
fn what_a_line_says_goes_before_the_string() {
    let more = r#", "address": "127.0.0.1:4430", "slot": 5, "dc": 2, "user_id": 7, "is_bot": false,
        "group": "north", "proxy": "socks5://user:pass@proxy.example:1080""#
        .replace('\n', " ");
    let text = line(r#""phone": 442079460958"#, TELETHON_V4, &more);
    let [record] = read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
    assert_eq!((record.slot, record.user_id), (5, 7));
    assert_eq!(record.address, address("127.0.0.1:4430"));
    assert_eq!(record.group.as_deref(), Some("north"));
    assert_eq!(record.proxy.as_deref(), Some("socks5://user:pass@proxy.example:1080"));
    assert!(!format!("{record:?}").contains("pass"));
}

#[test]
fn a_bad_line_is_refused_with_its_number_its_key_and_the_remedy() {
    let phone = r#""phone": "+442079460958""#;
    for (text, parts) in [
        ("\n\nhello\n".to_owned(), vec!["line 3", "no JSON object", "write {\"phone\""]),
        ("[1]\n".to_owned(), vec!["no JSON object"]),
        (format!("{{}}{TELETHON_V4}\n"), vec!["no JSON object"]),
        (line(phone, TELETHON_V4, r#", "adress": "x""#), vec!["unknown key `adress`", "address"]),
        (format!("{{\"{TELETHON_V4}\": 1}}\n"), vec!["unknown key of 353 characters"]),
        (line(phone, TELETHON_V4, r#", "dc": 2, "dc": 2"#), vec!["`dc` is there twice"]),
        (line(phone, TELETHON_V4, r#", "dc": 4"#), vec!["`dc` is 4", "says 2"]),
        (line(phone, TELETHON_V4, r#", "dc": 0"#), vec!["`dc` is 0", "1 to 255"]),
        (format!("{{{phone}, \"dc\": \"{TELETHON_V4}\"}}\n"), vec!["`session` is missing"]),
        (
            line(phone, TELETHON_V4, &format!(r#", "dc": "{PYROGRAM_2}""#)),
            vec!["`dc` is a text of 362 characters"],
        ),
        (
            line(phone, TELETHON_V4, &format!(r#", "address": "{PYROGRAM_2}""#)),
            vec!["`address` is a text of 362 characters", "IP address"],
        ),
        (line(phone, TELETHON_V4, r#", "address": "dc.example:443""#), vec!["\"dc.example:443\""]),
        (line(phone, TELETHON_V4, r#", "address": "127.0.0.1:0""#), vec!["`address`"]),
        (line(phone, TELETHON_V4, r#", "slot": 64"#), vec!["`slot` is 64", "0 to 63"]),
        (line(phone, TELETHON_V4, r#", "user_id": -1"#), vec!["`user_id` is -1"]),
        (line(phone, TELETHON_V4, r#", "is_bot": "no""#), vec!["`is_bot`", "true or false"]),
        (line(phone, TELETHON_V4, r#", "is_bot": true"#), vec!["a bot's", "`bot_id`"]),
        (line(phone, TELETHON_V4, r#", "bot_id": 5"#), vec!["both `phone` and `bot_id`"]),
        (line(phone, TELETHON_V4, r#", "group": " ""#), vec!["`group`", "1 to 64"]),
        (
            line(phone, TELETHON_V4, r#", "proxy": "http://user:hidden@proxy:1""#),
            vec!["`proxy`", "socks5://"],
        ),
        (line(phone, &TELETHON_V4[..200], ""), vec!["`session`", "200 characters"]),
        (line(phone, PYROGRAM_2_TEST_BOT, ""), vec!["test servers", "`address`"]),
        (line(r#""phone": "020 7946""#, TELETHON_V4, ""), vec!["`phone`", "country code"]),
        (line(r#""phone": "bot:123456""#, TELETHON_V4, ""), vec!["`phone`", "`bot_id`"]),
        (line(r#""bot_id": "123:AAsecret""#, TELETHON_V4, ""), vec!["`bot_id` is a text"]),
        (line(r#""slot": 0"#, TELETHON_V4, ""), vec!["`phone` is missing"]),
    ] {
        let error = problem(&text);
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        assert!(!error.contains("hidden") && !error.contains("AAsecret"), "{error}");
    }
}

#[test]
fn an_address_that_nobody_knows_is_asked_for() {
    let text = line(r#""phone": "+442079460958""#, PYROGRAM_2, "");
    let error = read_all(text.as_bytes(), &DataCentres::new()).unwrap_err().to_string();
    assert!(error.contains("no address of data centre 2"), "{error}");
}

/// A session of its own for each number.
fn session(number: u8) -> String {
    let key = AuthKey::new([number; 256]);
    telethon_string(2, address("127.0.0.1:443"), &key).unwrap().to_string()
}

#[test]
fn the_same_key_is_refused_wherever_it_turns_up_again() {
    let text = [
        line(r#""phone": "+442079460958""#, TELETHON_V4, ""),
        line(r#""phone": "+442079460959""#, PYROGRAM_2, ""),
    ]
    .concat();
    let error = problem(&text);
    assert!(error.starts_with("line 2:"), "{error}");
    assert!(error.contains("on line 1") && error.contains("AUTH_KEY_DUPLICATED"), "{error}");
}

#[test]
fn slots_fill_from_the_lowest_and_are_never_given_twice() {
    let one = r#""phone": "+442079460958""#;
    let text = [
        line(one, &session(1), r#", "slot": 1"#),
        line(one, &session(2), ""),
        line(one, &session(3), ""),
        line(r#""phone": "+442079460959""#, &session(4), ""),
        line(one, &session(5), r#", "slot": 2"#),
        line(one, &session(6), ""),
    ]
    .concat();
    let table = DataCentres::new();
    let results: Vec<_> = read(text.as_bytes(), &table).collect();
    let slots: Vec<_> = results.iter().map(|r| r.as_ref().ok().map(|r| r.slot)).collect();
    assert_eq!(slots, [Some(1), Some(0), Some(2), Some(0), None, Some(3)]);
    let problem = &results[4].as_ref().unwrap_err().problem;
    assert!(matches!(problem, LineProblem::SlotTaken { slot: 2, first: 3 }), "{problem}");
}

#[test]
fn a_refused_line_claims_neither_slot_nor_key() {
    let text = [
        line(r#""phone": "+442079460958""#, &session(1), r#", "slot": 0, "group": 1"#),
        line(r#""phone": "+442079460958""#, &session(1), r#", "slot": 0"#),
    ]
    .concat();
    let table = DataCentres::new();
    let mut lines = read(text.as_bytes(), &table);
    assert!(lines.next().unwrap().is_err());
    assert!(lines.next().unwrap().is_ok());
    assert!(lines.next().is_none());
}

#[test]
fn an_account_has_at_most_64_sessions() {
    let text: String =
        (1..=65).map(|n| line(r#""phone": "+442079460958""#, &session(n), "")).collect();
    let table = DataCentres::new();
    let mut lines = read(text.as_bytes(), &table);
    assert!(lines.by_ref().take(64).all(|line| line.is_ok()));
    let error = lines.next().unwrap().unwrap_err();
    assert!(matches!(error.problem, LineProblem::NoSlotFree { limit: 64 }), "{error}");
}

/// A source that never ends its line and counts what is taken from it.
struct Endless(usize);

impl Read for Endless {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        unreachable!("read by lines only")
    }
}

impl BufRead for Endless {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0 > 64 * LINE_LEN_MAX { Ok(b"\n") } else { Ok(&[b'x'; 1000]) }
    }

    fn consume(&mut self, count: usize) {
        self.0 += count;
        assert!(self.0 < 65 * LINE_LEN_MAX);
    }
}

#[test]
fn an_overlong_line_is_passed_over_in_bounded_memory() {
    let error = read(Endless(0), &DataCentres::new()).next().unwrap().unwrap_err();
    assert!(matches!(error, LineError { line: 1, problem: LineProblem::TooLong { .. } }));

    let text =
        [&"x".repeat(LINE_LEN_MAX + 1), "\n", &line(r#""phone": 442079460958"#, &session(1), "")]
            .concat();
    let table = DataCentres::new();
    let mut lines = read(text.as_bytes(), &table);
    assert!(lines.next().unwrap().is_err());
    assert!(lines.next().unwrap().is_ok());
}

#[test]
fn a_failed_read_ends_the_lines() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let table = DataCentres::new();
    let mut lines = read(io::BufReader::new(Broken), &table);
    assert!(matches!(lines.next(), Some(Err(LineError { problem: LineProblem::Read(_), .. }))));
    assert!(lines.next().is_none());
}

#[test]
fn marks_carriage_returns_and_blank_lines_do_no_harm() {
    let text =
        format!("\u{feff}{}\r\n \r\n", line(r#""phone": 442079460958"#, &session(1), "").trim());
    assert_eq!(read_all(text.as_bytes(), &DataCentres::new()).unwrap().len(), 1);
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        (1u32..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
        (1u128..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
    ];
    (ip, 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_key() -> impl Strategy<Value = AuthKey> {
    // Not the all-zero key, which stands for none.
    (1u8.., any::<u64>()).prop_map(|(first, seed)| {
        AuthKey::new(std::array::from_fn(|i| {
            if i == 0 {
                first
            } else {
                seed.rotate_left(u32::try_from(i).unwrap()).to_le_bytes()[i % 8]
            }
        }))
    })
}

fn any_record() -> impl Strategy<Value = SessionRecord> {
    let account = prop_oneof![
        (1_000_000u64..1_000_000_000_000_000).prop_map(|n| AccountId::phone(n).unwrap()),
        (1u64..1 << 52).prop_map(|n| AccountId::bot(n).unwrap()),
    ];
    let group = proptest::option::of("[a-z\"\\\\é]{1,20}");
    (account, 0u16..64, 1i32..256, any_address(), 0i64.., any_key(), group, any::<bool>()).prop_map(
        |(account, slot, dc, address, user_id, key, group, proxied)| SessionRecord {
            account,
            slot,
            dc,
            address,
            user_id,
            is_bot: account.is_bot(),
            key,
            group: group.map(Into::into),
            proxy: proxied.then(|| "socks5://us\"er:pass@127.0.0.1:1080".into()),
        },
    )
}

proptest! {
    #[test]
    fn a_telethon_string_reads_back(dc in 1i32..256, at in any_address(), key in any_key()) {
        let session: SessionString = telethon_string(dc, at, &key).unwrap().parse().unwrap();
        prop_assert_eq!((session.dc, session.address, &session.key), (dc, Some(at), &key));
    }

    #[test]
    fn a_written_line_reads_back(record in any_record()) {
        let mut text = Vec::new();
        write_line(&mut text, &record).unwrap();
        prop_assert!(text.len() <= LINE_LEN_MAX);
        let [back] = read_all(&text[..], &DataCentres::new()).unwrap().try_into().unwrap();
        prop_assert_eq!(
            (back.account, back.slot, back.dc, back.address, back.user_id, back.is_bot),
            (record.account, record.slot, record.dc, record.address, record.user_id, record.is_bot)
        );
        prop_assert_eq!((back.group, back.proxy, back.key), (record.group, record.proxy, record.key));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(SessionString::parse(&bytes));
        read(&bytes[..], &DataCentres::production()).for_each(drop);
    }

    #[test]
    fn a_mangled_string_never_panics(at in 0usize..351, byte in any::<u8>(), cut in 0usize..351) {
        for text in [TELETHON_V4, TELETHON_V6, PYROGRAM_2, PYROGRAM_1, PYROGRAM_1_NARROW] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = byte;
            drop(SessionString::parse(&bytes));
            bytes.truncate(cut);
            prop_assert!(SessionString::parse(&bytes).is_err());
        }
    }

    #[test]
    fn a_mangled_line_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut bytes = line(r#""phone": 442079460958"#, TELETHON_V4, r#", "slot": 1"#).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        read(&bytes[..], &DataCentres::production()).for_each(drop);
    }
}
