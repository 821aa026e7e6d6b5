//! What one input holds, item by item.
//!
//! Owns the ways to open one and what to call it. Never holds more of a file of lines than one line, and opens
//! files only to read them.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::files::regular;
use super::tdata::{self, TdataAccounts};
use super::text::{self, StringLines, TextKind};
use super::{Found, FoundSession, ImportError, ImportOptions, ItemError, Origin, database, gotd};
use crate::session::SessionRecord;
use crate::session::lines::{self, LastLine, LineReader};

/// How much of a text is looked at to tell what it is.
const BEGIN_LEN: usize = 64 << 10;
/// The longest text: two million sessions fit.
const TEXT_LEN_MAX: u64 = 1 << 30;

/// A source of lines.
type Lines<'a> = Box<dyn BufRead + 'a>;

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportKind {
    /// A database of a program.
    Database(Origin),
    /// A folder of Telegram Desktop.
    TelegramDesktop {
        /// How many accounts it has.
        accounts: u32,
    },
    /// A session of gotd.
    Gotd,
    /// telepool's JSON lines.
    Lines,
    /// Session strings and bots' tokens.
    Strings,
}

impl fmt::Display for ImportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(origin) => write!(f, "{} file", origin.name()),
            Self::TelegramDesktop { accounts: 1 } => f.write_str("tdata folder, 1 account"),
            Self::TelegramDesktop { accounts } => write!(f, "tdata folder, {accounts} accounts"),
            Self::Gotd => f.write_str("gotd session"),
            Self::Lines => f.write_str("JSON lines"),
            Self::Strings => f.write_str("session strings"),
        }
    }
}

/// An open input: an iterator over what it holds. After an item that is wrong the next one is read.
pub struct ImportedFile<'a> {
    kind: ImportKind,
    items: Items<'a>,
    sessions: u64,
    tokens: u64,
}

enum Items<'a> {
    One(Option<Found>),
    Accounts(TdataAccounts),
    Lines(Box<LineReader<'a, Lines<'a>>>),
    Strings(StringLines<Lines<'a>>),
}

impl fmt::Debug for ImportedFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedFile").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Opens a file or a folder of Telegram Desktop, whatever program has written it. Of a folder that has `tdata`
/// within, as that of the program has, it is this that is opened.
///
/// # Errors
/// Why it gives no session at all. Errors of single sessions come one by one with the items.
pub fn open<'a>(path: &Path, options: &'a ImportOptions) -> Result<ImportedFile<'a>, ImportError> {
    if fs::metadata(path)?.is_dir() {
        let accounts = tdata::open(path, options)?;
        let kind = ImportKind::TelegramDesktop { accounts: accounts.number() };
        let items = Items::Accounts(accounts);
        return Ok(ImportedFile { kind, items, sessions: 0, tokens: 0 });
    }
    let mut file = regular(path)?;
    let len = file.metadata()?.len();
    let begin = begin(&mut file)?;
    if begin.starts_with(database::MAGIC) {
        return Ok(of_database(database::read_file(path, options.in_use_is_fine)?));
    }
    if len > TEXT_LEN_MAX {
        // What is something else is told so, however long it is.
        text::kind(&begin, false)?;
        return Err(ImportError::TooLong { limit: TEXT_LEN_MAX });
    }
    of_text(begin, BufReader::new(file), options)
}

/// Reads what comes from elsewhere than a file, such as standard input.
///
/// ```
/// use telepool::import::{self, Found, ImportOptions};
///
/// let options = ImportOptions::default();
/// let text = "# bots\n5000000001:AAE-x_0123456789abcdefghijABCDEFGHI\n";
/// let mut file = import::read(text.as_bytes(), &options)?;
/// for item in &mut file {
///     match item? {
///         Found::Session(session) => println!("a session of data centre {}", session.dc),
///         Found::Token(token) => assert_eq!(token.bot.to_string(), "bot:5000000001"),
///         _ => unreachable!("this version knows no more"),
///     }
/// }
/// assert_eq!(file.summary(), "1 bot token");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`open`].
pub fn read<'a>(
    mut source: impl Read + 'a,
    options: &'a ImportOptions,
) -> Result<ImportedFile<'a>, ImportError> {
    let mut begin = begin(&mut source)?;
    if begin.starts_with(database::MAGIC) {
        source.take(database::STREAM_LEN_MAX + 1).read_to_end(&mut begin)?;
        return Ok(of_database(database::read_bytes(std::mem::take(&mut begin))?));
    }
    of_text(begin, BufReader::new(source), options)
}

fn begin(source: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut begin = Zeroizing::new(Vec::with_capacity(BEGIN_LEN));
    source.take(BEGIN_LEN as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

fn of_database(found: FoundSession) -> ImportedFile<'static> {
    one(ImportKind::Database(found.origin), Found::Session(Box::new(found)))
}

fn one(kind: ImportKind, found: Found) -> ImportedFile<'static> {
    ImportedFile { kind, items: Items::One(Some(found)), sessions: 0, tokens: 0 }
}

fn of_text<'a>(
    begin: Zeroizing<Vec<u8>>,
    mut rest: impl BufRead + 'a,
    options: &'a ImportOptions,
) -> Result<ImportedFile<'a>, ImportError> {
    let is_whole = rest.fill_buf()?.is_empty();
    let kind = text::kind(&begin, is_whole)?;
    if kind == TextKind::BrokenString
        && let Ok(found) = text::found(&begin)
    {
        return Ok(one(ImportKind::Strings, found));
    }
    let source: Lines<'a> = Box::new(Cursor::new(begin).chain(rest));
    let (kind, items) = match kind {
        TextKind::Gotd => return of_gotd(source),
        TextKind::Lines => {
            let lines = lines::read(source, &options.data_centres);
            (ImportKind::Lines, Items::Lines(Box::new(lines)))
        }
        TextKind::Strings | TextKind::BrokenString => {
            (ImportKind::Strings, Items::Strings(StringLines::new(source)))
        }
    };
    Ok(ImportedFile { kind, items, sessions: 0, tokens: 0 })
}

/// One session, which may go over several lines, or one on each line.
fn of_gotd(mut source: Lines<'_>) -> Result<ImportedFile<'_>, ImportError> {
    let mut whole = Zeroizing::new(Vec::with_capacity(gotd::LEN_MAX + 1));
    source.by_ref().take(gotd::LEN_MAX as u64 + 1).read_to_end(&mut whole)?;
    let found = match gotd::read(&whole) {
        Ok(found) => found,
        Err(_) if text::has_gotd_lines(&whole) => {
            let source: Lines<'_> = Box::new(Cursor::new(whole).chain(source));
            let items = Items::Strings(StringLines::new(source));
            return Ok(ImportedFile { kind: ImportKind::Strings, items, sessions: 0, tokens: 0 });
        }
        Err(_) if whole.len() > gotd::LEN_MAX => {
            return Err(ImportError::TooLong { limit: gotd::LEN_MAX as u64 });
        }
        Err(error) => return Err(error),
    };
    Ok(one(ImportKind::Gotd, Found::Session(Box::new(found))))
}

impl ImportedFile<'_> {
    /// What the input is.
    #[must_use]
    pub fn kind(&self) -> ImportKind {
        self.kind
    }

    /// What the input is, and how much of it has been read so far: `Telethon file`, `12 session strings and 1 bot
    /// token`.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        match (self.kind, self.sessions, self.tokens) {
            (ImportKind::Lines, sessions, _) => counted(sessions, "JSON line"),
            (ImportKind::Strings, 0, tokens @ 1..) => counted(tokens, "bot token"),
            (ImportKind::Strings, sessions, 0) => counted(sessions, "session string"),
            (ImportKind::Strings, sessions, tokens) => {
                let sessions = counted(sessions, "session string");
                format!("{sessions} and {}", counted(tokens, "bot token"))
            }
            (kind, ..) => kind.to_string(),
        }
    }
}

impl Iterator for ImportedFile<'_> {
    type Item = Result<Found, ItemError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match &mut self.items {
            Items::One(found) => Ok(found.take()?),
            Items::Accounts(accounts) => {
                accounts.next()?.map(|session| Found::Session(Box::new(session)))
            }
            Items::Strings(lines) => lines.next()?,
            Items::Lines(lines) => match lines.next()? {
                Ok(record) => Ok(Found::Session(Box::new(of_line(record, lines.told())))),
                Err(error) => Err(error.into()),
            },
        };
        match &item {
            Ok(Found::Session(_)) => self.sessions += 1,
            Ok(Found::Token(_)) => self.tokens += 1,
            Err(_) => {}
        }
        Some(item)
    }
}

/// The session of a JSON line. Of a slot that was only the next free one another file knows nothing.
fn of_line(record: SessionRecord, told: LastLine) -> FoundSession {
    let mut found = FoundSession::new(Origin::Lines, record.dc, record.key);
    found.address = Some(record.address);
    found.test_mode = told.test_mode;
    found.phone = Some(record.account).filter(|account| account.is_phone());
    found.user_id = Some(record.user_id).filter(|id| *id != 0);
    found.is_bot = Some(record.is_bot);
    found.api_id = told.api_id.and_then(|id| i32::try_from(id).ok());
    found.slot = told.has_slot.then_some(record.slot);
    found.group = record.group;
    found.proxy = record.proxy;
    found
}
