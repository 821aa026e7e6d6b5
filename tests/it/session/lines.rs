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
    assert_eq!(
        record.proxy.as_ref().map(|it| it.expose_url()),
        Some("socks5://user:pass@proxy.example:1080")
    );
    assert!(!format!("{record:?}").contains("pass"));
}

#[test]
fn a_phone_number_in_the_wrong_place_is_not_repeated() {
    let phone = r#""phone": "+442079460958""#;
    for wrong in [
        r#""slot": 9996000001"#,
        r#""slot": "9996000001""#,
        r#""slot": "+99 960 000-01""#,
        r#""slot": -9996000001"#,
        r#""dc": 9996000001"#,
        r#""user_id": 9996000001234"#,
        r#""user_id": "+9996000001""#,
        r#""is_bot": 9996000001"#,
        r#""group": 9996000001"#,
        r#""proxy": 9996000001"#,
        r#""address": 9996000001"#,
        r#""address": "+99 960 000-01""#,
        r#""session": 9996000001"#,
    ] {
        let text = match wrong.starts_with(r#""session""#) {
            true => format!("{{{phone}, {wrong}}}\n"),
            false => line(phone, TELETHON_V4, &format!(", {wrong}")),
        };
        let error = read_all(text.as_bytes(), &DataCentres::new()).unwrap_err().to_string();
        assert!(error.contains("it must be"), "{wrong}: {error}");
        assert!(!error.contains("9996") && !error.contains("960"), "{wrong}: {error}");
    }
    // What is no number of a phone is told.
    for (value, told) in [(r#""slot": 64"#, "64"), (r#""slot": "one""#, "\"one\"")] {
        let text = line(phone, TELETHON_V4, &format!(", {value}"));
        let error = read_all(text.as_bytes(), &DataCentres::new()).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let text = line(phone, TELETHON_V4, r#", "address": "149.154.167.41""#);
    let error = read_all(text.as_bytes(), &DataCentres::new()).unwrap_err().to_string();
    assert!(error.contains("149.154.167.41"), "{error}");
}

#[test]
fn a_bad_line_is_refused_with_its_number_its_key_and_the_remedy() {
    let phone = r#""phone": "+442079460958""#;
    for (text, parts) in [
        ("\n\nhello\n".to_owned(), vec!["line 3", "no JSON object", "write {\"phone\""]),
        ("[1]\n".to_owned(), vec!["a JSON array"]),
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
        (
            line(phone, TELETHON_V4, r#", "address": "om:secret@192.0.2.1:443""#),
            vec!["a text of 23 characters", "an IP address and a port"],
        ),
        (line(phone, TELETHON_V4, r#", "address": "127.0.0.1:0""#), vec!["`address`"]),
        (line(phone, TELETHON_V4, r#", "slot": 64"#), vec!["`slot` is 64", "0 to 63"]),
        (line(phone, TELETHON_V4, r#", "user_id": -1"#), vec!["`user_id` is -1"]),
        (
            line(phone, TELETHON_V4, r#", "user_id": 1099511627776"#),
            vec!["`user_id` is a number of 13 digits", "at most 1099511627775"],
        ),
        (
            line(r#""bot_id": 1099511627776"#, TELETHON_V4, ""),
            vec!["`bot_id`", "from 1 to 1099511627775"],
        ),
        (line(phone, TELETHON_V4, r#", "is_bot": "no""#), vec!["`is_bot`", "true or false"]),
        (line(phone, TELETHON_V4, r#", "is_bot": true"#), vec!["a bot's", "`bot_id`"]),
        (line(phone, TELETHON_V4, r#", "bot_id": 5"#), vec!["both `phone` and `bot_id`"]),
        (line(phone, TELETHON_V4, r#", "group": "a\tb""#), vec!["`group`", "1 to 64"]),
        (
            line(phone, TELETHON_V4, r#", "proxy": "https://user:hidden@proxy:1""#),
            vec!["`proxy`", "socks5://", "http://", "bind://"],
        ),
        (line(phone, &TELETHON_V4[..200], ""), vec!["`session`", "200 characters"]),
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

/// Programs that export write every key, as those do that read a variable which is empty.
#[test]
fn an_optional_key_whose_text_is_empty_is_not_there() {
    for empty in ["", " ", "\u{a0}\u{200b}"] {
        for key in ["proxy", "group", "address", "slot", "dc", "user_id", "is_bot"] {
            let more = format!(r#", "{key}": "{empty}""#);
            let text = line(r#""phone": "+442079460958""#, TELETHON_V4, &more);
            let [record] =
                read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
            assert!(record.proxy.is_none() && record.group.is_none(), "{key}");
            assert_eq!((record.slot, record.dc, record.user_id), (0, 2, 0), "{key}");
            assert_eq!(record.address, address("149.154.167.51:443"), "{key}");
        }
    }
    let told = problem(&line(r#""phone": """#, TELETHON_V4, ""));
    assert!(told.contains("`phone`: not a phone number"), "{told}");
    let told = problem(&line(r#""phone": "+442079460958""#, "", ""));
    assert!(told.contains("the session string is empty"), "{told}");
}

#[test]
fn a_string_of_a_data_centre_that_there_is_not_has_lost_its_beginning() {
    // Without its first six characters, one of Pyrogram 2 is one of the oldest, of data centre 16, 32, ..
    let rest = &PYROGRAM_2[6..];
    let session: SessionString = rest.parse().unwrap();
    assert_eq!((session.format, session.dc), (SessionFormat::Pyrogram1, 144));
    let phone = r#""phone": "+442079460958""#;
    for more in ["", r#", "address": "127.0.0.1:4430""#, r#", "dc": 144"#, r#", "dc": 2"#] {
        let told = problem(&line(phone, rest, more));
        assert!(told.contains("data centre 144, which there is not"), "{more}: {told}");
        assert!(told.contains("at its beginning: copy it whole"), "{more}: {told}");
    }
    // Somebody who has such a data centre says so.
    let mut centres = DataCentres::new();
    centres.insert(144, address("127.0.0.1:4430"));
    let records = read_all(line(phone, rest, "").as_bytes(), &centres).unwrap();
    assert_eq!(records[0].address, address("127.0.0.1:4430"));
    // What everybody knows need not stand in the table.
    let at = r#", "address": "127.0.0.1:4430""#;
    assert!(read_all(line(phone, PYROGRAM_2, at).as_bytes(), &DataCentres::new()).is_ok());
    // The others begin with a version and hold their address.
    let own = telethon_string(144, address("127.0.0.1:443"), &key()).unwrap();
    assert!(read_all(line(phone, &own, "").as_bytes(), &DataCentres::new()).is_ok());
}

#[test]
fn an_address_that_nobody_knows_is_asked_for() {
    let text = line(r#""phone": "+442079460958""#, PYROGRAM_2, "");
    let error = read_all(text.as_bytes(), &DataCentres::new()).unwrap_err().to_string();
    assert!(error.contains("no address of data centre 2"), "{error}");
}

/// A session of its own for each number.
pub(super) fn session(number: u8) -> String {
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

/// All errors of a source, as they are told.
pub(super) fn problems(bytes: &[u8]) -> Vec<String> {
    let table = DataCentres::production();
    read(bytes, &table).filter_map(|line| line.err().map(|error| error.to_string())).collect()
}

#[test]
fn a_line_that_ends_within_its_object_is_told_so() {
    let (head, tail) = TELETHON_V4.split_at(76);
    let text = format!("{{\"phone\": \"+442079460958\", \"session\": \"{head}\n{tail}\"}}\n");
    let told = problems(text.as_bytes());
    assert!(told[0].contains("the line ends within its object"), "{told:?}");
}

#[test]
fn a_token_in_the_place_of_the_id_is_told_where_to_end() {
    let text = line(r#""bot_id": "5000000000:AAE-secret_of_the_bot""#, TELETHON_V4, "");
    let told = problem(&text);
    assert!(told.contains("only the digits before the colon"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn an_id_of_a_bot_has_one_spelling_only() {
    for id in ["+5", "00005", "05", "5 5", "5.0", "", "-5"] {
        let told = problem(&line(&format!(r#""bot_id": "{id}""#), TELETHON_V4, ""));
        assert!(told.contains("`bot_id`") && told.contains("digits before the colon"), "{told}");
    }
    let text = line(r#""bot_id": " 5 ""#, TELETHON_V4, "");
    assert_eq!(read_all(text.as_bytes(), &DataCentres::new()).unwrap()[0].account.number(), 5);
}

#[test]
fn a_number_that_could_be_another_account_is_refused_as_text_and_as_number() {
    for (phone, words) in [
        (r#""+33 06 10 10 10 10""#, "a 0 stands behind the country code"),
        ("330610101010", "a 0 stands behind the country code"),
        (r#""8 (912) 345-67-89""#, "no country has the code"),
        ("89123456789", "no country has the code"),
        (r#""442079460958.0""#, "a decimal point"),
        ("442079460958.0", "in digits alone"),
        ("-442079460958", "in digits alone"),
        (r#""John""#, "`bot_id`"),
    ] {
        let told = problem(&line(&format!(r#""phone": {phone}"#), TELETHON_V4, ""));
        assert!(told.contains("`phone`") && told.contains(words), "{phone}: {told}");
    }
    let text = line(r#""phone": "+49 (0) 151 23456789""#, TELETHON_V4, "");
    let [record] = read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
    assert_eq!(record.account, AccountId::phone(4_915_123_456_789).unwrap());
}

#[test]
fn a_number_that_no_reader_would_take_is_not_written() {
    let text = line(r#""phone": "+442079460958""#, TELETHON_V4, "");
    let [mut record] = read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
    record.account = AccountId::phone(330_610_101_010).unwrap();
    let mut out = Vec::new();
    let error = write_line(&mut out, &record).unwrap_err();
    assert_eq!((error.kind(), out.len()), (io::ErrorKind::InvalidInput, 0));
}

#[test]
fn a_proxy_the_wrong_way_round_is_refused_without_being_repeated() {
    for proxy in ["socks5://203.0.113.7:11758@om:123", "socks5://203.0.113.7:11758:om:123"] {
        let told = problem(&line(
            r#""phone": "+442079460958""#,
            TELETHON_V4,
            &format!(r#", "proxy": "{proxy}""#),
        ));
        assert!(told.contains("`proxy`") && told.contains("in this order"), "{told}");
        assert!(!told.contains("om:123") && !told.contains("203.0"), "{told}");
    }
}

#[test]
fn a_session_of_the_test_servers_goes_to_them() {
    let text = line(r#""bot_id": 123456789"#, PYROGRAM_2_TEST_BOT, "");
    let at = |centres: &DataCentres| {
        read_all(text.as_bytes(), centres).map(|records| records[0].address)
    };
    assert_eq!(at(&DataCentres::production()).unwrap(), address("149.154.175.117:443"));
    let mut centres = DataCentres::new();
    let error = at(&centres).unwrap_err().to_string();
    assert!(error.contains("test servers") && error.contains("[data_centres]"), "{error}");
    centres.insert(3, address("127.0.0.1:4430"));
    assert_eq!(at(&centres).unwrap(), address("127.0.0.1:4430"));
    // What is public is no test server's, and is not made one by being said once more.
    let mut centres = DataCentres::production();
    centres.insert(3, centres.address(3).unwrap());
    assert_eq!(at(&centres).unwrap(), address("149.154.175.117:443"));
    assert_eq!(DataCentres::production().address(203), Some(address("91.105.192.100:443")));
}

#[test]
fn every_form_of_a_proxy_comes_back_as_it_was_written() {
    for (proxy, label) in [
        ("http://user:se%40cret@proxy.example:3128", "proxy.example:3128"),
        ("bind://192.0.2.7", "192.0.2.7"),
        ("socks5://[2001:db8::7]:1080", "[2001:db8::7]:1080"),
    ] {
        let more = format!(r#", "proxy": "{proxy}""#);
        let text = line(r#""phone": "+442079460958""#, TELETHON_V4, &more);
        let [record] = read_all(text.as_bytes(), &DataCentres::new()).unwrap().try_into().unwrap();
        assert_eq!(record.proxy.as_ref().map(|it| it.label()), Some(label));
        let mut written = Vec::new();
        write_line(&mut written, &record).unwrap();
        let [back] = read_all(&written[..], &DataCentres::new()).unwrap().try_into().unwrap();
        assert_eq!(back.proxy, record.proxy);
    }
}
