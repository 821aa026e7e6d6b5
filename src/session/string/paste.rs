//! Cleaning of pasted session strings: what copying puts around one and into it.
//!
//! Owns the list of what may safely be taken away: no format has any of it, and every format
//! is checked in all of its parts afterwards.

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::SessionStringError;
use crate::account_id::is_invisible;

/// How many layers of quotes, names and prefixes are taken off.
const LAYERS_MAX: usize = 6;
/// How often an address may have been escaped.
const ESCAPES_MAX: usize = 2;
/// The longest name in front of an `=`.
const NAME_LEN_MAX: usize = 64;
/// How long the secret of a bot's token is, and a little around it: no session string is so short.
const TOKEN_SECRET_LEN: RangeInclusive<usize> = 30..=64;
/// What stands around a text in source code, settings, chats and sentences.
const QUOTES: [char; 22] = [
    '"', '\'', '`', '“', '”', '„', '‘', '’', '‚', '«', '»', ',', ';', '\\', '(', ')', '[', ']',
    '<', '>', '.', '…',
];

/// The text without blanks, line breaks and invisible marks, and without the escapes of addresses (`%3D`);
/// what is left of it is wiped when dropped.
pub(super) fn visible(text: &[u8]) -> Result<Zeroizing<String>, SessionStringError> {
    let text = std::str::from_utf8(text).map_err(|_| SessionStringError::Alphabet)?;
    let mut visible = shown(text);
    for _ in 0..ESCAPES_MAX {
        if !visible.contains('%') {
            break;
        }
        visible = shown(&unescaped(&visible));
    }
    Ok(visible)
}

fn shown(text: &str) -> Zeroizing<String> {
    // As large as it can become, so that no reallocation leaves a copy behind.
    let mut shown = Zeroizing::new(String::with_capacity(text.len()));
    shown.extend(text.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c)));
    shown
}

/// The text with the characters that its escapes stand for.
fn unescaped(text: &str) -> Zeroizing<String> {
    let mut unescaped = Zeroizing::new(String::with_capacity(text.len()));
    let mut parts = text.split('%');
    unescaped.extend(parts.next());
    for part in parts {
        let escape = part.split_at_checked(2).and_then(|(digits, rest)| {
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let byte =
                u8::from_str_radix(digits, 16).ok().filter(|byte| is_hex && byte.is_ascii())?;
            Some((char::from(byte), rest))
        });
        let (character, rest) = escape.unwrap_or(('%', part));
        unescaped.push(character);
        unescaped.push_str(rest);
    }
    unescaped
}

/// The string within quotes, behind `NAME=`, in a call or all of it: `export SESSION="1An8..."`,
/// `b'1An8...'`, `StringSession("1An8...")`. Of a bot's token nothing is taken for a name.
pub(super) fn unwrapped(mut text: &str) -> &str {
    for _ in 0..LAYERS_MAX {
        let before = text.len();
        // Python's `repr` of bytes.
        if text.starts_with("b'") || text.starts_with("b\"") {
            text = &text[1..];
        }
        text = text.trim_matches(QUOTES);
        if !is_token(text) {
            text = without_name(text);
        }
        if text.len() == before {
            break;
        }
    }
    text
}

/// Whether this is a bot's token, also as it stands in the address of a call (`bot12345:AAE..`).
pub(super) fn is_token(text: &str) -> bool {
    let text = text.strip_prefix("bot").unwrap_or(text);
    text.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && TOKEN_SECRET_LEN.contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    })
}

/// What stands behind the name of a variable, a key or a function. In a session string an `=` is only
/// padding, and there is neither a colon nor a bracket.
fn without_name(text: &str) -> &str {
    let Some(at) = text.find(['=', ':', '(']) else { return text };
    let (name, value) = (text[..at].trim_matches(QUOTES), &text[at + 1..]);
    let is_name = !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_name && value.bytes().any(|byte| byte != b'=') { value } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_a_string_is_taken_off() {
        for text in [
            "1AbC-_=",
            "\"1AbC-_=\"",
            "'1AbC-_='",
            "b'1AbC-_='",
            "“1AbC-_=”",
            "SESSION=1AbC-_=",
            "export SESSION=\"1AbC-_=\"",
            "session_string = b'1AbC-_=';",
            "\"session\": \"1AbC-_=\",",
            "\u{feff}1AbC-_=\u{200b}",
            "StringSession('1AbC-_=')",
            "StringSession(\"1AbC-_=\"),",
            "session = StringSession(b'1AbC-_=')",
            "const session = new StringSession(\"1AbC-_=\");",
            "telethon.sessions.StringSession(`1AbC-_=`)",
            "SESSION=[1AbC-_=]",
            "<1AbC-_=>",
            "1AbC-_=.",
            "Here it is: \"1AbC-_=\".",
            "1AbC-_%3D",
            "1AbC%2D_%3d",
            "session%3D1AbC-_%3D%0A",
            "1AbC-_%253D",
            "\u{a0}1AbC-_=\u{a0}",
            "1Ab\r\nC-_=\n",
        ] {
            assert_eq!(unwrapped(&visible(text.as_bytes()).unwrap()), "1AbC-_=", "{text:?}");
        }
    }

    #[test]
    fn an_escape_that_is_none_stays() {
        for text in ["1Ab%", "1Ab%3", "1Ab%zz", "1Ab%+1", "1Ab%é", "1Ab%ff"] {
            assert_eq!(&**visible(text.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn a_token_is_known_by_all_of_its_parts() {
        let secret = "AAE-x_0123456789abcdefghijABCDEFGHI";
        for text in [
            format!("5000000000:{secret}"),
            format!("\"5000000000:{secret}\""),
            format!("TOKEN=5000000000:{secret}"),
            format!("bot5000000000:{secret}"),
        ] {
            assert!(is_token(unwrapped(&text)), "{text:?}");
        }
        let session = "1".repeat(353);
        for text in [
            format!("5000000000:{session}"),
            format!("name:{secret}"),
            format!(":{secret}"),
            "5000000000:AAE".to_owned(),
            format!("5000000000:{secret}!"),
        ] {
            assert!(!is_token(&text), "{text:?}");
        }
        assert_eq!(unwrapped(&format!("442079460958:{session}")), session);
    }

    #[test]
    fn padding_is_no_name() {
        assert_eq!(unwrapped("1AbC=="), "1AbC==");
        assert_eq!(unwrapped("="), "=");
        assert_eq!(unwrapped(""), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(visible(b"\xff\xfe1\0"), Err(SessionStringError::Alphabet));
    }
}
