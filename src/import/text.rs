//! Files of text: session strings and bots' tokens, one a line, of any format and in any order.
//!
//! Owns which text is one, told by its beginning, and its reading, line by line. Never holds more than one line,
//! and wipes it.

use std::io::BufRead;

use zeroize::Zeroizing;

use super::{BotToken, Found, ImportError, ItemError, TextProblem, gotd};
use crate::account_id::{AccountId, bot_id};
use crate::session::lines::{ForeignFile, LINE_LEN_MAX, LineStatus, next_line, text_of};
use crate::session::{SessionString, SessionStringError, bot_token};

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    /// telepool's JSON lines.
    Lines,
    /// A session of gotd.
    Gotd,
    /// Session strings and tokens.
    Strings,
    /// One session string, with line breaks in it.
    BrokenString,
}

/// What a text holds that begins so, or why it holds no session.
pub(super) fn kind(begin: &[u8], is_whole: bool) -> Result<TextKind, ImportError> {
    match ForeignFile::of_bytes(begin, !is_whole) {
        Some(ForeignFile::TelegramDesktop) => return Err(ImportError::PartOfFolder),
        Some(ForeignFile::OtherEncoding) if count(begin, is_whole).sessions == 0 => {
            return Err(ImportError::NotASession { what: ForeignFile::OtherEncoding.what() });
        }
        Some(kind) if kind.is_encoding() => return Err(ImportError::Foreign(kind)),
        Some(kind) => return Err(ImportError::NotASession { what: kind.what() }),
        None => {}
    }
    let Some(first) = significant(begin).next() else {
        let what = if begin.is_empty() { "empty" } else { "text without a session" };
        return Err(ImportError::NotASession { what });
    };
    let has_sessions = || begin.windows(9).any(|words| words == b"\"session\"");
    match first {
        [b'{', ..] if gotd::is_begun(text_of(begin)) => Ok(TextKind::Gotd),
        [b'{', ..] if has_sessions() => Ok(TextKind::Lines),
        [b'{', ..] => Err(ImportError::NotASession { what: "JSON of something else" }),
        [b'[', ..] if has_sessions() => Err(ImportError::Foreign(ForeignFile::Array)),
        _ if is_whole && SessionString::parse(begin).is_ok() => Ok(TextKind::BrokenString),
        _ => match count(begin, is_whole) {
            it if it.are_most(it.sessions) => Ok(TextKind::Strings),
            it if it.are_most(it.rows) => Err(ImportError::Foreign(ForeignFile::Table)),
            _ => Err(ImportError::NotASession { what: "text of something else" }),
        },
    }
}

/// The lines that are neither blank nor a comment.
fn significant(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).map(text_of);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Whether a text has a session of gotd on a line of its own.
pub(super) fn has_gotd_lines(text: &[u8]) -> bool {
    significant(text).next().is_some_and(|line| gotd::read(line).is_ok())
}

/// How many lines there are, how many of them are sessions, or what is left of one, and how many have a session
/// among other things.
struct LineCount {
    lines: usize,
    sessions: usize,
    rows: usize,
}

impl LineCount {
    /// A title may stand above them, and some may be wrong; a program has a line or two of many.
    fn are_most(&self, count: usize) -> bool {
        count > 0 && count * 2 >= self.lines
    }
}

fn count(begin: &[u8], is_whole: bool) -> LineCount {
    // The last line of a beginning is cut off.
    let end = begin.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
    let begin = if is_whole { begin } else { &begin[..end.unwrap_or(begin.len())] };
    let is_session = |line: &&[u8]| {
        matches!(
            ForeignFile::of_first_line(line),
            Some(ForeignFile::StringAlone | ForeignFile::TokenAlone)
        ) || gotd::is_begun(line)
    };
    let is_row = |line: &&[u8]| {
        let mut columns = line.split(|byte| b",;:|\t ".contains(byte));
        columns.any(|column| SessionString::parse(column).is_ok())
    };
    let lines = significant(begin).count();
    let sessions = significant(begin).filter(is_session).count();
    LineCount { lines, sessions, rows: significant(begin).filter(is_row).count() }
}

/// The sessions of a text, line by line.
pub(super) struct StringLines<R> {
    /// `None` after a failed read.
    source: Option<R>,
    /// As large as a line can be, so that no growing leaves copies behind.
    buffer: Zeroizing<Vec<u8>>,
    line: u64,
    is_after_return: bool,
}

impl<R: BufRead> StringLines<R> {
    pub(super) fn new(source: R) -> Self {
        let buffer = Zeroizing::new(Vec::with_capacity(LINE_LEN_MAX));
        Self { source: Some(source), buffer, line: 0, is_after_return: false }
    }
}

impl<R: BufRead> Iterator for StringLines<R> {
    type Item = Result<Found, ItemError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let source = self.source.as_mut()?;
            let status = match next_line(source, &mut self.buffer, &mut self.is_after_return) {
                Ok(status) => status,
                Err(error) => {
                    self.source = None;
                    return Some(Err(error.into()));
                }
            };
            self.line += 1;
            let line = text_of(&self.buffer);
            let found = match status {
                LineStatus::End => return None,
                _ if line.is_empty() || line.starts_with(b"#") => continue,
                LineStatus::TooLong => Err(TextProblem::TooLong { limit: LINE_LEN_MAX }),
                LineStatus::Whole => found(line),
            };
            return Some(found.map_err(|problem| ItemError::Text { line: self.line, problem }));
        }
    }
}

/// What a line holds, or a whole text that is one string.
pub(super) fn found(text: &[u8]) -> Result<Found, TextProblem> {
    if text.starts_with(b"{") {
        return match gotd::read(text) {
            Ok(session) => Ok(Found::Session(Box::new(session))),
            Err(error) => Err(TextProblem::Json(error)),
        };
    }
    match SessionString::parse(text) {
        Ok(string) => Ok(Found::Session(Box::new(string.into()))),
        Err(SessionStringError::BotToken) => token(text).ok_or(TextProblem::BotId),
        Err(error) => Err(error.into()),
    }
}

fn token(text: &[u8]) -> Option<Found> {
    let token = bot_token(text)?;
    let (id, _) = token.split_once(':')?;
    let bot = AccountId::bot(bot_id(id).ok()?).ok()?;
    Some(Found::Token(BotToken { bot, token }))
}
