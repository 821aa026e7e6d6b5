//! Files of sessions as editors and other programs save them, and files that are others.

use super::lines::{problems, session};
use super::*;

#[test]
fn marks_carriage_returns_and_blank_lines_do_no_harm() {
    let text =
        format!("\u{feff}{}\r\n \r\n", line(r#""phone": 442079460958"#, &session(1), "").trim());
    assert_eq!(read_all(text.as_bytes(), &DataCentres::new()).unwrap().len(), 1);
}

#[test]
fn another_kind_of_file_is_told_once_what_it_is() {
    let good = line(r#""phone": "+442079460958""#, TELETHON_V4, "");
    let wide = |bytes: fn(u16) -> [u8; 2]| good.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let (little, big) = (wide(u16::to_le_bytes), wide(u16::to_be_bytes));
    let sqlite = [b"SQLite format 3\0\x10\0\x01\x01\0\x40", &[7; 3000][..], b"\n\n{\nx\n"].concat();
    // The first line feed comes behind all that a line may have.
    let sqlite_long = [&sqlite[..16], &[7; 2 * LINE_LEN_MAX], b"\n{}\n"].concat();
    let strings = format!("{TELETHON_V4}\n{PYROGRAM_2}\n{PYROGRAM_1}\n");
    for (bytes, words) in [
        (sqlite, "an SQLite database, as the `.session` files of Telethon"),
        (sqlite_long, "client.export_session_string()"),
        ([b"\xff\xfe", &little[..]].concat(), "UTF-16: save the file as UTF-8"),
        ([b"\xfe\xff", &big[..]].concat(), "UTF-16"),
        (little.clone(), "UTF-16"),
        (big.clone(), "UTF-16"),
        (format!("[\n{good},\n{good}]\n").into_bytes(), "a JSON array: leave out its brackets"),
        (format!("\u{feff}\n  [{good}]").into_bytes(), "a JSON array"),
        (strings.clone().into_bytes(), "a session string alone"),
        (format!("\n\"{TELETHON_V4}\"\nx\ny\n").into_bytes(), "a session string alone"),
        (TELETHON_V4.as_bytes()[..300].to_vec(), "a session string alone"),
        (b"{\n  \"phone\": 1,\n  \"session\": 2\n}\n".to_vec(), "a JSON object over several lines"),
        (format!("phone,session\n+44,{TELETHON_V4}\n+45,x\n").into_bytes(), "a table (CSV)"),
        (format!("+442079460958:{TELETHON_V4}\n+45:x\n").into_bytes(), "a table (CSV)"),
        (b"TDF$\x01\n\n\n".to_vec(), "Telegram Desktop"),
        (b"PK\x03\x04\n\n\n".to_vec(), "an archive"),
        (b"\x7fELF\x02\0\0\n\n".to_vec(), "no text"),
    ] {
        let told = problems(&bytes);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(words) && told[0].contains("{\"phone\": "), "{told:?}");
        assert!(!told[0].contains(&TELETHON_V4[1..40]), "{told:?}");
    }
    // Behind a first line that is one of sessions, a bad line is only a bad line.
    let told = problems(format!("{good}[1]\n{strings}").as_bytes());
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|told| told.contains("no JSON object (at column ")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("column 0")), "{told:?}");
}

/// Two lines that are sound.
fn two() -> String {
    [
        line(r#""phone": "+442079460958""#, &session(1), ""),
        line(r#""phone": "+442079460959""#, &session(2), ""),
    ]
    .concat()
}

#[test]
fn marks_and_blanks_of_any_kind_around_a_line_do_no_harm() {
    for mark in ["\u{feff}\u{feff}", "\u{a0}", "\u{feff}\u{a0} \u{200b}", "\u{3000}\t", "\u{2028}"]
    {
        let text: String =
            two().lines().map(|line| format!("{mark}{line}{mark}\n{mark}\n")).collect();
        assert_eq!(read_all(text.as_bytes(), &DataCentres::new()).unwrap().len(), 2, "{mark:?}");
        // Nor do they hide what a file is.
        let told = problems(format!("{mark}[{text}]").as_bytes());
        assert!(told.len() == 1 && told[0].contains("a JSON array"), "{told:?}");
    }
}

#[test]
fn typography_within_a_line_is_named() {
    for (good, bad) in
        [("{", "{\u{a0}"), (": \"+", ":\u{200b}\"+"), ("\"phone", "“phone"), ("{", "“{")]
    {
        let told = problems(two().replacen(good, bad, 1).as_bytes());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("line 1: no JSON object: at column "), "{told:?}");
        assert!(told[0].contains("write plain quotes and blanks"), "{told:?}");
    }
    assert!(problems(two().replacen('{', "({", 1).as_bytes())[0].contains("(at column 1)"));
}

/// Each character of a text in so many bytes.
fn wide<const N: usize>(text: &str, bytes: fn(u32) -> [u8; N]) -> Vec<u8> {
    text.chars().flat_map(|c| bytes(u32::from(c))).collect()
}

#[test]
fn text_in_another_encoding_is_named_as_what_it_is() {
    let (good, label) =
        (two(), line(r#""phone": "+442079460957""#, &session(3), r#", "group": "é""#));
    let latin = |text: &str| -> Vec<u8> {
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    };
    let two_bytes = |c| u16::try_from(c).unwrap().to_le_bytes();
    for (bytes, words) in [
        (wide(&good, u32::to_le_bytes), "line 1: this is text in UTF-32: save the file as UTF-8"),
        (wide(&good, u32::to_be_bytes), "text in UTF-32"),
        (wide(&format!("\u{feff}{good}"), u32::to_le_bytes), "text in UTF-32"),
        (wide(&format!("\u{feff}{good}"), u32::to_be_bytes), "text in UTF-32"),
        (wide(&format!(" {good}"), u32::to_le_bytes), "text in UTF-32"),
        (wide(&format!(" {good}"), two_bytes), "in UTF-16"),
        (wide(&format!("\n{good}"), two_bytes), "in UTF-16"),
        (latin(&format!("{label}{label}")), "line 1: this is text in another encoding than UTF-8"),
        // All of them are mended in one step, so that one of them is told.
        (latin(&format!("{good}{label}{label}")), "line 3: this is text in another encoding"),
        (latin(&format!("\n{label}")), "Latin-1: save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "another encoding than UTF-8"),
        (b"\x01\x02\xff\n".to_vec(), "this is no text"),
        (b"\xfd7zXZ\0\0\n".to_vec(), "an archive"),
    ] {
        let told = problems(&bytes);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(words) && told[0].contains("{\"phone\": "), "{told:?}");
    }
    // A line that is too long may be cut within a character.
    let long = format!("{}{}", "é".repeat(LINE_LEN_MAX), two());
    assert!(problems(format!("x{long}").as_bytes())[0].contains("bytes long"));
}

#[test]
fn lines_end_as_on_any_system() {
    for end in ["\r", "\n", "\r\n"] {
        let text = format!("{}{{}}\n", two()).replace('\n', end);
        // Whatever the reads are cut into.
        for capacity in [1, 2, 3, 1000] {
            let table = DataCentres::new();
            let source = io::BufReader::with_capacity(capacity, text.as_bytes());
            let told: Vec<_> = read(source, &table).filter_map(Result::err).collect();
            assert_eq!(told.len(), 1, "{end:?}: {told:?}");
            assert_eq!(told[0].line, 3, "{end:?}: {told:?}");
        }
        let text = "\n\n{}\n".replace('\n', end);
        assert!(problems(text.as_bytes())[0].starts_with("line 3: "), "{end:?}");
    }
}

#[test]
fn a_file_of_the_command_is_not_taken_for_one_of_sessions() {
    for text in [
        "[pool]\nmax_idle_time = 300\n",
        "# my settings\n\n[pool] # and more\nmax_idle_time = 300\n",
        "\u{feff}[[rule]]\non = \"ping\"\n",
        "[ data_centres ]\n2 = \"127.0.0.1:1\"\n",
        "[tool.telepool]\nx = 1\n",
    ] {
        let told = problems(text.as_bytes());
        let (last, before) = told.split_last().unwrap();
        assert!(last.contains("this is TOML, as a configuration is"), "{told:?}");
        assert!(before.len() <= 1, "{told:?}");
    }
    for text in ["[1]", "[true]", "[\"pool\"]", "[[1, 2]]", "[pool, dial]", "[]", "["] {
        let told = problems(text.as_bytes());
        assert!(told[0].contains("a JSON array") && told.len() == 1, "{text}: {told:?}");
    }
}

#[test]
fn other_files_of_the_same_words_are_no_tables() {
    let good = two();
    for text in [format!("sessions = [{good}]"), format!("'{good}'"), format!("data: {good}")] {
        let told = problems(text.as_bytes());
        assert!(told[0].contains("no JSON object (at column 1)"), "{told:?}");
    }
    let tokens = "5000000000:AAE-x_0123456789abcdefghijABCDEFGHI\nx\ny\n";
    let told = problems(tokens.as_bytes());
    assert!(told.len() == 1 && told[0].contains("a bot's token alone: log the bot in"), "{told:?}");
}
