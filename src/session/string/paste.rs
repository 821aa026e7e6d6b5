//! What copying and pasting puts around a session string and into it.
//!
//! Owns the list of what may be taken away without a doubt: no format has any of it, and every format
//! is checked in all of its parts afterwards.

use zeroize::Zeroizing;

use super::SessionStringError;
use crate::account::is_invisible;

/// How many layers of quotes, names and prefixes are taken off.
const LAYERS_MAX: usize = 4;
/// The longest name in front of an `=`.
const NAME_LEN_MAX: usize = 64;
/// What stands around a text in source code, settings and chats.
const QUOTES: [char; 14] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '‚', '«', '»', ',', ';', '\\'];

/// The text without blanks, line breaks and invisible marks; what is left of it is wiped when dropped.
pub(super) fn visible(text: &[u8]) -> Result<Zeroizing<String>, SessionStringError> {
    let text = std::str::from_utf8(text).map_err(|_| SessionStringError::Alphabet)?;
    // As large as it can become, so that no reallocation leaves a copy behind.
    let mut visible = Zeroizing::new(String::with_capacity(text.len()));
    visible.extend(text.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c)));
    Ok(visible)
}

/// The string within quotes, behind `NAME=`, or both: `export SESSION="1An8..."`, `b'1An8...'`.
pub(super) fn unwrapped(mut text: &str) -> &str {
    for _ in 0..LAYERS_MAX {
        let before = text.len();
        // Python's `repr` of bytes.
        if text.starts_with("b'") || text.starts_with("b\"") {
            text = &text[1..];
        }
        text = text.trim_matches(QUOTES);
        text = without_name(text);
        if text.len() == before {
            break;
        }
    }
    text
}

/// What stands behind the name of a variable or a key. In a session string an `=` is only padding,
/// and there is no colon.
fn without_name(text: &str) -> &str {
    let Some(at) = text.find(['=', ':']) else { return text };
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
            "\u{a0}1AbC-_=\u{a0}",
            "1Ab\r\nC-_=\n",
        ] {
            assert_eq!(unwrapped(&visible(text.as_bytes()).unwrap()), "1AbC-_=", "{text:?}");
        }
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
