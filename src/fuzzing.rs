//! What the fuzzers call: each takes any bytes and must neither panic nor run away.
//!
//! Owns the reading of bytes as operations, and plain models to hold the parts to. Compiled for
//! fuzzing only.

#![expect(missing_docs, reason = "only fuzz targets call these, by their names")]

use std::io::BufReader;

use crate::account_id::AccountId;
use crate::config::Config;
use crate::engine::state::{Leased, Opened, Released, Retired, StateWord};
use crate::expiry::Wheel;
use crate::session::{DataCentres, SessionFormat, SessionString, lines, telethon_string};

/// How many operations are read from one input: a longer one tells nothing new.
const OPERATIONS_MAX: usize = 2000;

pub fn pool_actions(data: &[u8]) {
    crate::engine::run_bytes(data);
}

pub fn frames(data: &[u8]) {
    crate::sandbox::fuzzing::frames(data);
}

pub fn packets(data: &[u8]) {
    crate::sandbox::fuzzing::packets(data);
}

pub fn wire(data: &[u8]) {
    crate::telegram::wire::fuzzing::wire(data);
}

pub fn key_exchange(data: &[u8]) {
    crate::mtproto::key_exchange::fuzzing::exchange(data);
}

pub fn http(data: &[u8]) {
    crate::http::request_of_bytes(data);
}

pub fn api(data: &[u8]) {
    crate::http::fuzzing::api_of_bytes(data);
}

pub fn account_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(account) = text.parse::<AccountId>() {
        let shown = account.reveal().to_string();
        assert_eq!(shown.parse(), Ok(account), "what is shown is read again");
        let masked = format!("{account:?} {account}");
        let digits = account.number().to_string();
        assert!(!account.is_phone() || !masked.contains(&digits), "a phone number is masked");
    }
}

pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut config = Config::default();
    for line in text.lines().take(OPERATIONS_MAX) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let before = config.clone();
        match config.set(key, value) {
            Ok(()) => {
                let text = config.text(key).expect("it was just set");
                let mut again = config.clone();
                again.set(key, &text).expect("what is printed is read again");
                assert_eq!(again, config);
            }
            Err(_) => assert_eq!(config, before, "a refused value changes nothing"),
        }
        config.validate().expect("only what is valid is taken");
    }
}

pub fn session_strings(data: &[u8]) {
    if let Ok(session) = SessionString::parse(data) {
        // What begins with the character of a version tells nothing of the account, and of no test servers.
        let versioned = matches!(session.format, SessionFormat::Telethon | SessionFormat::GramJs);
        assert!(versioned == session.test_mode.is_none());
        assert!(!versioned || session.is_bot.is_none() && session.user_id.is_none());
        assert!(session.format != SessionFormat::Telethon || session.address.is_some());
    }
    if let Ok(session) = SessionString::parse(data)
        && let (dc, Some(address)) = (session.dc, session.address)
        && let Ok(text) = telethon_string(dc, address, &session.key)
    {
        let again = SessionString::parse(text.as_bytes()).expect("what is written is read");
        assert_eq!((again.dc, again.address), (dc, Some(address)));
        assert!(again.key == session.key && again.format == SessionFormat::Telethon);
        let pasted = format!("export SESSION=\"{}\n{}\"", &text[..76], &text[76..]);
        assert!(
            SessionString::parse(pasted.as_bytes()) == Ok(again),
            "what is pasted is read as well"
        );
    }
}

pub fn session_lines(data: &[u8]) {
    for record in lines::read(BufReader::new(data), &DataCentres::production()).flatten() {
        let mut line = Vec::new();
        if lines::write_line(&mut line, &record).is_ok() {
            let centres = DataCentres::new();
            let again = lines::read_all(&line[..], &centres).expect("what is written is read");
            assert_eq!((again[0].account, again[0].address), (record.account, record.address));
        }
    }
}

pub fn import_stream(data: &[u8]) {
    crate::import::fuzzing::stream(data);
}

pub fn import_database(data: &[u8]) {
    crate::import::fuzzing::database(data);
}

pub fn import_folder(data: &[u8]) {
    crate::import::fuzzing::folder(data);
}

/// The word of one connection against the number of leases that it must show.
pub fn state_word(data: &[u8]) {
    let (max, operations) = data.split_first().map_or((1, data), |(max, rest)| (max % 4 + 1, rest));
    let max = u16::from(max);
    let word = StateWord::connecting();
    let (mut held, mut is_opening) = (0_u32, true);
    for operation in operations.iter().take(OPERATIONS_MAX) {
        let faulty = operation & 0x80 != 0;
        let was_final = word.snapshot().is_final();
        match (operation & 0x7f) % 8 {
            0 if is_opening => {
                is_opening = false;
                if let Opened::Open { .. } = word.transition_to_opened(faulty, max) {
                    held += u32::from(faulty);
                }
            }
            1 if is_opening && faulty => {
                is_opening = false;
                word.transition_to_not_opened(true);
            }
            2 => match word.transition_to_leased(max) {
                Leased::Taken { shared, .. } => {
                    assert_eq!(shared, held > 0);
                    held += 1;
                }
                Leased::No => {}
            },
            3 => held += u32::from(word.transition_to_leased_in_place(max).is_some()),
            4 if held > 0 => {
                held -= 1;
                let released = word.transition_to_released();
                assert_eq!(released == Released::Orphan, was_final);
                assert!(released != Released::Close || held == 0);
            }
            5 if held > 0 => {
                held -= 1;
                let retired = word.transition_to_discarded(faulty);
                assert_eq!(retired == Retired::Already, was_final);
            }
            6 => {
                let retired = word.transition_to_retired(faulty);
                assert!(retired != Retired::Close || held == 0);
            }
            // What is forced has been leased.
            7 if faulty && is_opening => {}
            7 if faulty => drop(word.transition_to_forced(|_| (), |_| ())),
            7 => assert!(!word.transition_to_reaped() || held == 0),
            _ => {}
        }
        let now = word.snapshot();
        assert!(!was_final || now.is_final(), "final is for ever");
        assert!(held <= u32::from(max) && now.leases() == held, "{now:?}");
    }
}

/// The wheel against a list.
pub fn wheel(data: &[u8]) {
    let start = crate::base::clock::EPOCH;
    let (mut wheel, mut list, mut now) = (Wheel::new(10, start), Vec::new(), start);
    let (mut slack, mut serial) = (10, 0_u64);
    for operation in data.chunks_exact(3).take(OPERATIONS_MAX) {
        let amount = u64::from(u16::from_le_bytes([operation[1], operation[2]]));
        match operation[0] % 4 {
            0 | 1 => {
                let due = (now + amount).saturating_sub(500);
                wheel.insert(due, serial);
                // What is overdue when it comes is as good as due now.
                list.push((due.max(now), serial));
                serial += 1;
            }
            2 => {
                now += amount;
                let mut out = wheel.advance(now).concat();
                out.sort_unstable();
                assert!(
                    out.iter().all(|it| list.iter().any(|(due, id)| id == it && *due <= now)),
                    "nothing comes early"
                );
                list.retain(|(due, id)| {
                    let is_out = out.binary_search(id).is_ok();
                    assert!(is_out || *due + 2 * slack > now, "nothing comes late");
                    !is_out
                });
            }
            _ => {
                let interval = amount.max(1);
                // An entry keeps its time to within the old interval and the new one.
                slack = slack.max(interval) + slack.min(interval);
                slack = slack.min(1 << 20);
                wheel.set_interval(interval);
            }
        }
        assert_eq!(wheel.len(), list.len());
    }
}
