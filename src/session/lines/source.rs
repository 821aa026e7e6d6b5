//! Lines of a source, however long they are and however they end.
//!
//! Owns the bounded buffer's filling. Never holds more than one line.

use std::io::{self, BufRead};

use super::LINE_LEN_MAX;
use crate::account_id::is_invisible;

/// How a line has come.
pub(crate) enum LineStatus {
    End,
    Whole,
    TooLong,
}

/// Fills the buffer with the next line, which ends with a line feed, a carriage return or both. An overlong
/// line is passed over in bounded memory.
pub(crate) fn next_line(
    source: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    is_after_return: &mut bool,
) -> io::Result<LineStatus> {
    buffer.clear();
    let mut too_long = false;
    let mut any = false;
    loop {
        let chunk = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            break;
        }
        if std::mem::take(is_after_return) && chunk[0] == b'\n' {
            source.consume(1);
            continue;
        }
        any = true;
        let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        *is_after_return = end.is_some_and(|end| chunk[end] == b'\r');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        // The beginning is kept of any line: it may tell what kind of file this is.
        let room = LINE_LEN_MAX - buffer.len();
        too_long |= text.len() > room;
        buffer.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        source.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(match (any, too_long) {
        (false, _) => LineStatus::End,
        (true, false) => LineStatus::Whole,
        (true, true) => LineStatus::TooLong,
    })
}

/// A line without the blanks of any script around it, and without the marks that some editors begin a file
/// with.
pub(crate) fn text_of(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c)).as_bytes(),
        Err(_) => line.trim_ascii(),
    }
}
