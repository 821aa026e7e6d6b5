//! The display text of others' errors, cut and escaped: of a manager, a server or a file.
//!
//! Owns how much of it is kept, and which characters stand in it as they are. Whoever keeps such a text,
//! tells or logs it, takes it from here.

use std::fmt::{self, Display, Write};

use crate::base::panics::catch;

/// How many characters are kept.
const KEPT_MAX: usize = 500;

/// What is kept of a text.
struct Kept {
    text: String,
    /// How many characters still fit.
    room: usize,
    is_cut: bool,
}

impl Kept {
    fn put(&mut self, it: char) -> fmt::Result {
        if acts(it) {
            let spelled = it.escape_default();
            self.add(spelled.len(), spelled)
        } else {
            self.add(1, [it])
        }
    }

    /// All of these, or none and nothing behind them.
    fn add(&mut self, len: usize, characters: impl IntoIterator<Item = char>) -> fmt::Result {
        if len > self.room {
            (self.room, self.is_cut) = (0, true);
            // Ends the writing: what does not fit takes no time either.
            return Err(fmt::Error);
        }
        self.room -= len;
        self.text.extend(characters);
        Ok(())
    }
}

impl Write for Kept {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        piece.chars().try_for_each(|it| self.put(it))
    }
}

/// Whether a character does something instead of being shown: begins a line, moves the cursor, changes
/// a colour or shows text in another order than it has.
pub(crate) fn acts(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text of an error: its first 500 characters in one line, and an ellipsis for the rest. To be taken
/// before any lock is held, and before anything is given back: it is somebody else's code.
pub(crate) fn display_safely(error: &impl Display) -> String {
    let mut kept = Kept { text: String::new(), room: KEPT_MAX, is_cut: false };
    let shown = catch(|| write!(kept, "{error}"));
    match shown {
        _ if kept.is_cut => kept.text.push('…'),
        Some(Ok(())) => {}
        _ => "an error that panics when it is shown".clone_into(&mut kept.text),
    }
    kept.text
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_is_cut_between_characters() {
        assert_eq!(display_safely(&"Zürich, \"Москва\" 北京"), "Zürich, \"Москва\" 北京");
        assert_eq!(display_safely(&"é".repeat(500)), "é".repeat(500));
        assert_eq!(display_safely(&"é".repeat(501)), "é".repeat(500) + "…");
        assert_eq!(display_safely(&"x".repeat(10_000_000)), "x".repeat(500) + "…");
        let escaped = "x".repeat(497) + "\u{1b}" + "x";
        assert_eq!(display_safely(&escaped), "x".repeat(497) + "…", "no half of an escape is kept");
    }

    #[test]
    fn what_would_act_is_spelled_out() {
        let forged = "EVIL\n2026-11-28 WARN\r\t\u{1b}[31mred\u{9b}1m\u{202e}abc\u{2028}";
        let told = "EVIL\\n2026-11-28 WARN\\r\\t\\u{1b}[31mred\\u{9b}1m\\u{202e}abc\\u{2028}";
        assert_eq!(display_safely(&forged), told);
    }

    /// Shows itself for ever, unless it is told to stop.
    struct Endless;

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("and so on ")?;
            }
        }
    }

    /// Does not let itself be stopped.
    struct Stubborn;

    impl Display for Stubborn {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..1000).for_each(|_| f.write_str("so be it ").expect("there is room"));
            Ok(())
        }
    }

    #[test]
    fn one_that_cannot_be_shown_to_its_end_is_cut_as_well() {
        assert_eq!(display_safely(&Endless), "and so on ".repeat(50) + "…");
        let told = display_safely(&Stubborn);
        assert!(told.starts_with("so be it so be it") && told.ends_with('…'), "{told}");
    }
}
