//! Files that are cut off or changed: each gives an error or what is still there, and none says anything secret.

use std::fs;
use std::path::Path;

use telepool::import::{ImportError, ImportOptions, open, read};

use super::{file, key};

/// Reads what may be anything. What is told of it holds nothing of it, is one line, and no novel.
fn told(bytes: &[u8], secrets: &[String]) -> Result<Vec<Result<(), String>>, ImportError> {
    let check = |text: String| {
        assert!(text.len() < 400 && !text.contains(char::is_control), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{text}");
        text
    };
    let options = ImportOptions::default();
    let items = read(bytes, &options).inspect_err(|error| drop(check(error.to_string())))?;
    let item = |item: Result<_, telepool::import::ItemError>| {
        item.map(drop).map_err(|error| check(error.to_string()))
    };
    Ok(items.map(item).collect())
}

/// Every piece of a text that would give it away.
fn pieces(text: &str) -> Vec<String> {
    text.as_bytes().chunks_exact(12).map(|it| String::from_utf8_lossy(it).into_owned()).collect()
}

#[test]
fn a_database_that_is_cut_off_anywhere_is_an_error() {
    let smallest = fs::read(file("telethon-1.session")).unwrap();
    for len in (0..smallest.len()).step_by(5) {
        assert!(told(&smallest[..len], &[]).is_err(), "{len}");
    }
    for name in ["telethon-8", "pyrogram-2", "pyrofork", "pyrotgfork", "kurigram", "grammers"] {
        let whole = fs::read(file(&format!("{name}.session"))).unwrap();
        for len in (0..whole.len()).step_by(499) {
            assert!(told(&whole[..len], &[]).is_err(), "{name} {len}");
        }
    }
}

#[test]
fn a_database_with_any_bit_changed_neither_panics_nor_hangs() {
    for (name, step) in [("telethon-1", 11), ("grammers", 97), ("kurigram", 97), ("pyrofork", 199)]
    {
        let mut bytes = fs::read(file(&format!("{name}.session"))).unwrap();
        // Of a header every bit.
        let header = (0..100).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        // Of the rest so many that every part is met.
        let rest = (100..bytes.len()).step_by(step).map(|at| (at, at / step % 8));
        for (at, bit) in header.chain(rest) {
            bytes[at] ^= 1 << bit;
            drop(told(&bytes, &[]));
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn a_text_that_is_cut_off_anywhere_loses_what_is_cut_off() {
    let text = fs::read_to_string(file("strings.txt")).unwrap();
    let secrets = pieces(&text.lines().filter(|it| !it.starts_with('#')).collect::<String>());
    for len in (0..text.len()).step_by(5) {
        // The whole sessions before the cut, and at most one more item.
        let before = text[..len].matches('\n').count() / 2;
        let items = told(&text.as_bytes()[..len], &secrets).unwrap_or_default();
        let whole = items.iter().filter(|item| item.is_ok()).count();
        assert!(
            items.len() <= before + 1 && (whole == before || whole == before + 1 || before == 0)
        );
    }
}

#[test]
fn a_text_with_any_bit_changed_costs_at_most_its_line() {
    let text = fs::read_to_string(file("strings.txt")).unwrap();
    let secrets = pieces(&text.lines().filter(|it| !it.starts_with('#')).collect::<String>());
    let mut bytes = text.into_bytes();
    for at in (0..bytes.len()).step_by(7) {
        let bit = 1 << (at % 7);
        bytes[at] ^= bit;
        let items = told(&bytes, &secrets).unwrap_or_default();
        assert!(items.iter().filter(|item| item.is_ok()).count() >= 6 || bytes[at] < 32, "{at}");
        bytes[at] ^= bit;
    }
}

#[test]
fn gotd_cut_off_or_changed_anywhere_is_an_error_or_the_same_key() {
    let text = super::texts::gotd(&key("gotd"), 2, "null");
    let secrets = pieces(text.split("\"AuthKey\":\"").nth(1).unwrap());
    for len in 0..text.len() {
        assert!(told(&text.as_bytes()[..len], &secrets).is_err(), "{len}");
    }
    let mut bytes = text.into_bytes();
    let options = ImportOptions::default();
    for at in 0..bytes.len() * 7 {
        let (at, bit) = (at / 7, 1 << (at % 7));
        bytes[at] ^= bit;
        drop(told(&bytes, &secrets));
        if let Ok(items) = read(&bytes[..], &options) {
            for item in items.flatten() {
                let telepool::import::Found::Session(found) = item else { continue };
                // It is held to its id, which cannot be right for another.
                assert!(found.key == key("gotd"));
            }
        }
        bytes[at] ^= bit;
    }
}

#[test]
fn a_line_of_anything_is_no_secret_told() {
    let token = "5000000001:AAE-x_0123456789abcdefghijABCDEFGHI";
    let text = format!("{token}\n99999999999999999999:{}\n", &token[11..]);
    let items = told(text.as_bytes(), &pieces(&token[11..])).unwrap();
    assert!(items[0].is_ok());
    assert!(items[1].as_ref().unwrap_err().contains("no bot of this id"), "{items:?}");
}

/// Changes a file in a copy of a folder, and reads the folder.
fn folder_with(name: &str, bytes: &[u8], copy: &Path) -> Result<usize, ImportError> {
    fs::write(copy.join(name), bytes).unwrap();
    let options = ImportOptions::default();
    let items = open(copy, &options)?;
    Ok(items.filter(Result::is_ok).count())
}

#[test]
fn a_folder_with_a_file_cut_off_or_changed_anywhere_is_an_error() {
    let copy = super::folders::copied(&file("tdata"));
    for name in ["key_datas", "D877F783D5D3EF8Cs"] {
        let mut bytes = fs::read(copy.path().join(name)).unwrap();
        let whole = bytes.clone();
        for len in (0..whole.len()).step_by(3) {
            let sessions = folder_with(name, &whole[..len], copy.path()).unwrap_or_default();
            assert_eq!(sessions, 0, "{name} {len}");
        }
        for at in (0..whole.len()).step_by(3) {
            bytes[at] ^= 1 << (at % 8);
            let sessions = folder_with(name, &bytes, copy.path()).unwrap_or_default();
            assert_eq!(sessions, 0, "{name} {at}");
            bytes[at] = whole[at];
        }
        fs::write(copy.path().join(name), whole).unwrap();
    }
    assert_eq!(open(copy.path(), &ImportOptions::default()).unwrap().count(), 1);
}
