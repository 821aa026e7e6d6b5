//! Lines: what they may leave out, what is refused and what is remembered between them.

use super::*;

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
