//! Session strings, tokens, JSON lines and gotd's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use telepool::import::{ImportKind, ImportOptions, Origin, open, read};
use telepool::session::AuthKey;

use super::{BOT, Contents, OWN, all, file, key, one, read_all};

const TOKEN: &str = "5000000001:AAE-x_0123456789abcdefghijABCDEFGHI";

#[test]
fn the_strings_of_the_libraries_are_read_line_by_line() {
    let options = ImportOptions::default();
    let mut strings = open(&file("strings.txt"), &options).unwrap();
    assert_eq!(strings.kind(), ImportKind::Strings);
    let bytes = std::fs::read(file("strings.txt")).unwrap();
    let Contents { sessions, tokens, errors } = read_all(&bytes).unwrap();
    assert_eq!((strings.by_ref().count(), tokens.len(), errors.len()), (8, 0, 0));
    assert_eq!(strings.summary(), "8 session strings");
    let known: Vec<_> = sessions.iter().map(|it| (it.origin, it.dc, it.user_id)).collect();
    let of_pyrogram = (Origin::Pyrogram, 2, Some(OWN));
    assert_eq!(
        known,
        [
            (Origin::Telethon, 2, None),
            (Origin::Telethon, 4, None),
            of_pyrogram,
            of_pyrogram,
            (Origin::Pyrogram, 3, Some(BOT)),
            of_pyrogram,
            of_pyrogram,
            of_pyrogram,
        ]
    );
    let labels = ["telethon 8", "telethon ipv6", "pyrogram-1", "pyrogram-2", "pyrogram-2-test"];
    for (session, label) in sessions.iter().zip(labels.into_iter().chain(["pyrofork"])) {
        assert!(session.key == key(label), "{label}");
    }
}

#[test]
fn strings_and_tokens_may_be_mixed_and_a_bad_line_costs_only_itself() {
    let strings = std::fs::read_to_string(file("strings.txt")).unwrap();
    let strings: Vec<_> = strings.lines().filter(|line| !line.starts_with('#')).collect();
    let text = format!(
        "\u{feff}# mine\r\n\r\nSESSION=\"{}\"\r\n{TOKEN}\r\n{}\r\n  bot{TOKEN}\r\n{}\r\n{}",
        strings[0],
        &strings[1][..300],
        gotd(&key("gotd"), 2, "null"),
        strings[3],
    );
    let Contents { sessions, tokens, errors } = read_all(text.as_bytes()).unwrap();
    assert_eq!(sessions.len(), 3, "{errors:?}");
    assert_eq!(sessions[1].origin, Origin::Gotd);
    assert_eq!(tokens.len(), 2);
    assert!(tokens.iter().all(|it| *it.token == TOKEN && it.bot.number() == 5_000_000_001));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("line 5: "), "{errors:?}");
    assert!(!errors[0].contains(&strings[1][..20]), "{errors:?}");
    let options = ImportOptions::default();
    let mut file = read(text.as_bytes(), &options).unwrap();
    assert_eq!(file.by_ref().count(), 6);
    assert_eq!(file.summary(), "3 session strings and 2 bot tokens");
}

#[test]
fn a_string_alone_may_be_broken_over_lines() {
    let strings = std::fs::read_to_string(file("strings.txt")).unwrap();
    let string = strings.lines().find(|line| !line.starts_with('#')).unwrap();
    let text = format!("{}\n{}\n{}\n", &string[..76], &string[76..152], &string[152..]);
    let options = ImportOptions::default();
    assert!(one(read(text.as_bytes(), &options).unwrap()).key == key("telethon 8"));
}

#[test]
fn strings_are_read_as_they_come_however_many_there_are() {
    let strings = std::fs::read_to_string(file("strings.txt")).unwrap();
    let line = strings.lines().find(|line| !line.starts_with('#')).unwrap().to_owned() + "\n";
    let options = ImportOptions::default();
    // Whoever would read it to its end would never return.
    let file = read(Repeated { line: line.into_bytes(), at: 0 }, &options).unwrap();
    assert_eq!(file.take(1000).filter(Result::is_ok).count(), 1000);
}

/// A line for ever.
struct Repeated {
    line: Vec<u8>,
    at: usize,
}

impl std::io::Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.line[self.at];
            self.at = (self.at + 1) % self.line.len();
        }
        Ok(buffer.len())
    }
}

/// A session of gotd, as its `session.Loader` writes it.
pub(super) fn gotd(key: &AuthKey, dc: i32, config: &str) -> String {
    let (id, key) = (STANDARD.encode(key.id()), STANDARD.encode(key.expose()));
    format!(
        r#"{{"Version":1,"Data":{{"Config":{config},"DC":{dc},"Addr":"149.154.167.50:443","AuthKey":"{key}","AuthKeyID":"{id}","Salt":-42}}}}"#
    )
}

const CONFIG: &str = r#"{"BlockedMode":false,"ForceTryIpv6":false,"Date":1700000000,"Expires":1700003600,
    "TestMode":true,"ThisDC":2,"DCOptions":[{"Flags":0,"ID":1,"IPAddress":"149.154.175.50","Port":443}],
    "DCTxtDomainName":"apv3.stel.com","TmpSessions":0,"WebfileDCID":4}"#;

#[test]
fn gotd_is_read() {
    let options = ImportOptions::default();
    for (config, test_mode) in [(CONFIG, Some(true)), ("null", None), ("{}", None)] {
        let text = format!("\u{feff}{}\r\n", gotd(&key("gotd"), 2, config));
        let file = read(text.as_bytes(), &options).unwrap();
        assert_eq!(file.kind().to_string(), "gotd session");
        let found = one(file);
        assert_eq!((found.origin, found.dc, found.test_mode), (Origin::Gotd, 2, test_mode));
        assert!(found.key == key("gotd"));
        assert_eq!(found.address, Some("149.154.167.50:443".parse().unwrap()));
    }
}

#[test]
fn gotd_is_held_to_the_id_of_its_key() {
    let text = gotd(&key("gotd"), 2, "null");
    let other = text.replace(&STANDARD.encode(key("gotd").id()), "AAAAAAAAAAA=");
    let error = read_all(other.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("not the one that its id names"), "{error}");
    for (text, words) in [
        (gotd(&AuthKey::new([0; 256]), 2, "null"), "nobody is signed in"),
        (gotd(&key("gotd"), 0, "null"), "none of 1 to 255"),
        (text.replace("\"Version\":1", "\"Version\":2"), "only version 1"),
        (text.replace("==\"", "\""), "not base64"),
        (r#"{"Version":1,"Data":{"DC":2}}"#.to_owned(), "nobody is signed in"),
        (r#"{"Version":1,"Data":{"DC":2,"AuthKey":"AAEC"}}"#.to_owned(), "3 bytes in place of 256"),
        (r#"{"Version":1}"#.to_owned(), "no whole session of gotd"),
    ] {
        let error = read_all(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn json_lines_are_read_with_all_that_they_say() {
    let strings = std::fs::read_to_string(file("strings.txt")).unwrap();
    let strings: Vec<_> = strings.lines().filter(|line| !line.starts_with('#')).collect();
    let text = format!(
        "{{\"phone\":\"+442079460958\",\"session\":\"{}\",\"group\":\"a\",\"slot\":3}}\nnonsense\n\
         {{\"bot_id\":5000000001,\"session\":\"{}\",\"proxy\":\"socks5://127.0.0.1:1080\"}}\n",
        strings[0], strings[4],
    );
    let options = ImportOptions::default();
    let file = read(text.as_bytes(), &options).unwrap();
    assert_eq!(file.kind(), ImportKind::Lines);
    assert_eq!(all(file).len(), 3);
    let Contents { sessions, errors, .. } = read_all(text.as_bytes()).unwrap();
    assert_eq!((sessions.len(), errors.len()), (2, 1));
    assert!(errors[0].starts_with("line 2: "), "{errors:?}");
    let (user, bot) = (&sessions[0], &sessions[1]);
    assert_eq!((user.origin, user.dc, user.slot), (Origin::Lines, 2, Some(3)));
    assert_eq!(user.phone.unwrap().reveal().to_string(), "+442079460958");
    assert_eq!((user.group.as_deref(), user.user_id, user.api_id), (Some("a"), None, None));
    assert_eq!((bot.user_id, bot.is_bot, bot.slot, bot.phone), (Some(BOT), Some(true), None, None));
    assert_eq!((bot.test_mode, bot.api_id), (Some(true), Some(12345)));
    // The table of test servers has it.
    assert_eq!(bot.address, Some("149.154.175.117:443".parse().unwrap()));
    assert_eq!(bot.proxy.as_ref().map(|proxy| proxy.expose_url()), Some("socks5://127.0.0.1:1080"));
}

#[test]
fn what_holds_no_session_is_told_from_what_holds_a_broken_one() {
    for text in [
        "",
        "\n\n",
        "# only a comment\n",
        "import asyncio\n\nprint('hello')\n",
        "My sessions\n===========\n\nThey are in the folder beside this file.\n",
        "{\n  \"name\": \"something\",\n  \"version\": \"1.0\"\n}\n",
        "[package]\nname = \"x\"\n",
        "[1, 2]",
        "\u{89}PNG\r\n\u{1a}\n\0\0\0\rIHDR",
        "PK\x03\x04abc",
        "from telethon.sessions import StringSession, SQLiteSession\nfrom telethon import X\n\nrun()\n",
        "session,created\nabc,2026\n",
        "API_ID=12345\nAPI_HASH=0123456789abcdef0123456789abcdef\n",
    ] {
        let error = read_all(text.as_bytes()).unwrap_err();
        assert!(error.is_no_session(), "{text:?}: {error}");
    }
    let strings = std::fs::read_to_string(file("strings.txt")).unwrap();
    let string = strings.lines().find(|line| !line.starts_with('#')).unwrap();
    let table = format!("phone,session\n+447700900123,{string}\n");
    for (text, words) in [
        (table.as_bytes(), "write each of its rows as an object"),
        (format!("+447700900123:{string}").as_bytes(), "write each of its rows as an object"),
        (&b"[{\"phone\": \"+442079460958\", \"session\": \"x\"}]"[..], "leave out its brackets"),
        (b"\xff\xfe1\0B\0", "save the file as UTF-8"),
        (b"TDF$\x03\0\0\0", "the whole folder"),
    ] {
        let error = read_all(text).unwrap_err();
        assert!(!error.is_no_session() && error.to_string().contains(words), "{error}");
    }
}
