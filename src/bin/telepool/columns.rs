//! Wrapping of text to the width of a terminal.
//!
//! Owns the width, and the breaking of a text between its words. A word that is too long for a line stays
//! whole: it may be a path.

/// How many columns a terminal has that nobody has made wider.
pub(crate) const COLUMNS: usize = 80;

/// The text in lines of at most that width, each of which but the first begins so.
pub(crate) fn wrapped(text: &str, begins: &str) -> String {
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if !wrapped.is_empty() && column + 1 + length > COLUMNS {
            wrapped.push('\n');
            wrapped.push_str(begins);
            column = begins.len();
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_begin_as_they_are_told_to() {
        let text = format!("# {}", "word ".repeat(40).trim_end());
        let told = wrapped(&text, "# ");
        assert!(
            told.lines().count() > 2 && told.lines().all(|it| it.starts_with("# word")),
            "{told}"
        );
        assert!(told.lines().all(|it| it.len() <= COLUMNS && !it.ends_with(' ')), "{told}");
        assert_eq!(told.replace("\n# ", " "), text);
        let long = "x".repeat(100);
        assert_eq!(wrapped(&format!("a {long} b"), "  "), format!("a\n  {long}\n  b"));
        assert_eq!(wrapped(&format!("{long} b"), ""), format!("{long}\nb"));
    }
}
