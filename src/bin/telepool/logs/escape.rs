//! Text of others, such as a server's errors, on a terminal and in a log.
//!
//! Owns which characters may stand there as they are: none that would begin a line, move the cursor,
//! change a colour or show text in another order than it has.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character does something instead of being shown.
fn acts(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text in one line of visible characters, with `\n`, `\u{1b}` and their like spelled out.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut told = String::with_capacity(text.len() + 8);
    for it in text.chars() {
        if acts(it) { told.extend(it.escape_default()) } else { told.push(it) }
    }
    Cow::Owned(told)
}

/// The same of a line of JSON, in JSON's own words. What acts can stand only in its texts, but for the
/// end of the line.
pub(super) fn in_json(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    for it in line.chars() {
        match it {
            '\n' => told.push(it),
            it if acts(it) => {
                let mut units = [0; 2];
                for unit in it.encode_utf16(&mut units) {
                    write!(told, "\\u{unit:04x}").expect("BUG: a text takes every word");
                }
            }
            it => told.push(it),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_spelled_out_and_all_else_stays() {
        assert_eq!(
            escaped("EVIL\n2026 WARN\r\t\u{1b}[31mred"),
            "EVIL\\n2026 WARN\\r\\t\\u{1b}[31mred"
        );
        assert_eq!(escaped("\u{9b}31m \u{202e}abc\u{2028}"), "\\u{9b}31m \\u{202e}abc\\u{2028}");
        let plain = "Zürich, \"Москва\" 北京 C:\\n 'x'";
        assert!(matches!(escaped(plain), Cow::Borrowed(it) if it == plain));
    }

    #[test]
    fn a_line_of_json_stays_json() {
        let text = "a\u{9b}b\u{2028}\u{7f}\u{e9}";
        let line = format!("{}\n", serde_json::to_string(text).unwrap());
        let told = in_json(&line);
        assert!(told.ends_with("\"\n") && !told.trim_end().contains(acts), "{told}");
        assert_eq!(serde_json::from_str::<String>(&told).unwrap(), text);
    }
}
