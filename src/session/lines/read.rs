//! Reader of sessions as JSON lines.
//!
//! Owns the bounded line buffer and the rules between lines: no slot and no authorization key
//! twice. Never holds more than one line, and wipes it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::fields::{Fields, Scalar};
use super::source::{LineStatus, next_line, text_of};
use super::{ForeignFile, GROUP_LEN_MAX, LINE_LEN_MAX, LineError, LineProblem, SLOTS_MAX};
use crate::account_id::{AccountId, USER_ID_MAX, bot_id};
use crate::session::{AuthKey, DataCentres, Proxy, SessionRecord, SessionString};

/// Reads sessions one by one. After a bad line the next one is read, so that all errors of a
/// file can be shown at once; after a failed read there is nothing more, and neither is behind the
/// beginning of another kind of file or a line in another encoding ([`LineProblem::Foreign`]).
pub fn read<R: BufRead>(source: R, data_centres: &DataCentres) -> LineReader<'_, R> {
    LineReader {
        source: Some(source),
        data_centres,
        // Allocated once, so that growing it leaves no copies of keys behind.
        buffer: Zeroizing::new(Vec::with_capacity(LINE_LEN_MAX)),
        line: 0,
        is_after_return: false,
        has_begun: false,
        slots: HashMap::new(),
        keys: HashMap::new(),
        hasher: RandomState::new(),
        #[cfg(feature = "store")]
        told: LastLine::default(),
    }
}

/// Reads every session, or stops at the first line that is none.
///
/// # Errors
/// The first bad line and what would do instead.
pub fn read_all<R: BufRead>(
    source: R,
    data_centres: &DataCentres,
) -> Result<Vec<SessionRecord>, LineError> {
    read(source, data_centres).collect()
}

/// An iterator over the sessions of a source; see [`read`].
pub struct LineReader<'a, R> {
    /// `None` after a failed read, and of another kind of file.
    source: Option<R>,
    data_centres: &'a DataCentres,
    buffer: Zeroizing<Vec<u8>>,
    line: u64,
    /// Whether the last line has ended with a carriage return, of which a line feed may be the second
    /// half.
    is_after_return: bool,
    /// Whether a line has been seen that was neither blank nor a comment, as other kinds of files have.
    has_begun: bool,
    /// Which line has each slot.
    slots: HashMap<(AccountId, u16), u64>,
    /// Which line has each authorization key, by a hash: a copy of every key would be one more
    /// thing to guard. The hash is keyed, so that nobody can make two keys collide.
    keys: HashMap<u64, u64>,
    hasher: RandomState,
    /// What else the session read last has told.
    #[cfg(feature = "store")]
    told: LastLine,
}

/// What a line has told of its session that a record does not hold.
#[cfg(feature = "store")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastLine {
    /// Whether its slot stood there, and is not the lowest that was free.
    pub(crate) has_slot: bool,
    /// Whether it is of the test servers, if the string says so.
    pub(crate) test_mode: Option<bool>,
    /// The application that logged in, if the string says so.
    pub(crate) api_id: Option<u32>,
}

impl<R> std::fmt::Debug for LineReader<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader").field("line", &self.line).finish_non_exhaustive()
    }
}

impl<R: BufRead> Iterator for LineReader<'_, R> {
    type Item = Result<SessionRecord, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let source = self.source.as_mut()?;
            let line = next_line(source, &mut self.buffer, &mut self.is_after_return);
            if matches!(line, Ok(LineStatus::End)) {
                return None;
            }
            self.line += 1;
            let foreign = self.is_foreign(matches!(line, Ok(LineStatus::TooLong)));
            if line.is_err() || foreign.is_some() {
                self.source = None;
            }
            let problem = match (line, foreign) {
                (Err(error), _) => error.into(),
                (Ok(_), Some(kind)) => LineProblem::Foreign(kind),
                (Ok(LineStatus::TooLong), None) => LineProblem::TooLong { limit: LINE_LEN_MAX },
                (Ok(_), None) if text_of(&self.buffer).is_empty() => continue,
                (Ok(_), None) => {
                    self.has_begun |= !text_of(&self.buffer).starts_with(b"#");
                    return Some(self.session().map_err(|problem| self.error(problem)));
                }
            };
            return Some(Err(self.error(problem)));
        }
    }
}

impl<R> LineReader<'_, R> {
    /// The number of the line that was read last, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What else the session that was read last has told.
    #[cfg(feature = "store")]
    pub(crate) fn told(&self) -> LastLine {
        self.told
    }

    /// What else the source is, if it begins as no lines of sessions do, or goes on in another encoding:
    /// saving it in the right one mends all of its lines.
    fn is_foreign(&self, is_cut: bool) -> Option<ForeignFile> {
        let by_bytes = ForeignFile::of_bytes(&self.buffer, is_cut);
        match self.has_begun {
            true => by_bytes.filter(|kind| *kind == ForeignFile::OtherEncoding),
            false => by_bytes.or_else(|| ForeignFile::of_first_line(text_of(&self.buffer))),
        }
    }

    fn error(&self, problem: LineProblem) -> LineError {
        LineError { line: self.line, problem }
    }

    /// The session of the line in the buffer, checked against the lines before.
    fn session(&mut self) -> Result<SessionRecord, LineProblem> {
        let fields = Fields::parse(text_of(&self.buffer))?;
        let account = account(&fields)?;
        let session = session_string(&fields)?;
        let dc = data_centre(&fields, &session, self.data_centres)?;
        let record = SessionRecord {
            account,
            slot: self.slot(&fields, account)?,
            dc,
            address: address(&fields, &session, dc, self.data_centres)?,
            user_id: user_id(&fields, &session, account)?,
            is_bot: is_bot(&fields, &session, account)?,
            group: group(&fields)?,
            proxy: proxy(&fields)?,
            api_id: None,
            identity: None,
            key: session.key,
        };
        // Only a line that is right in everything else claims its slot and its key.
        let fingerprint = fingerprint(&self.hasher, &record.key);
        if let Some(first) = self.keys.get(&fingerprint) {
            return Err(LineProblem::KeyTaken { first: *first });
        }
        self.keys.insert(fingerprint, self.line);
        self.slots.insert((account, record.slot), self.line);
        #[cfg(feature = "store")]
        {
            let (test_mode, api_id) = (session.test_mode, session.api_id);
            self.told = LastLine { has_slot: fields.slot.is_some(), test_mode, api_id };
        }
        Ok(record)
    }

    fn slot(&self, fields: &Fields<'_>, account: AccountId) -> Result<u16, LineProblem> {
        let Some(value) = &fields.slot else {
            return (0..SLOTS_MAX)
                .find(|slot| !self.slots.contains_key(&(account, *slot)))
                .ok_or(LineProblem::NoSlotFree { limit: SLOTS_MAX });
        };
        let slot = match value {
            Scalar::Number(slot) => u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS_MAX),
            _ => None,
        }
        .ok_or_else(|| wrong("slot", value.quoted(), "a number from 0 to 63"))?;
        match self.slots.get(&(account, slot)) {
            Some(first) => Err(LineProblem::SlotTaken { slot, first: *first }),
            None => Ok(slot),
        }
    }
}

fn fingerprint(hasher: &RandomState, key: &AuthKey) -> u64 {
    hasher.hash_one(key.expose())
}

fn wrong(key: &'static str, found: String, wanted: &'static str) -> LineProblem {
    LineProblem::Value { key, found, wanted }
}

fn account(fields: &Fields<'_>) -> Result<AccountId, LineProblem> {
    let (key, value) = match (&fields.phone, &fields.bot_id) {
        (Some(_), Some(_)) => return Err(LineProblem::TwoAccounts),
        (Some(phone), None) => ("phone", phone),
        (None, Some(bot)) => ("bot_id", bot),
        (None, None) => {
            let remedy = "add the account's number, or `bot_id` for a bot";
            return Err(LineProblem::Missing { key: "phone", remedy });
        }
    };
    let refuse = |source| LineProblem::Account { key, source };
    let text = match value {
        // Held against the same rules as a text.
        Scalar::Number(number @ 0..) => Cow::Owned(number.to_string()),
        Scalar::Text(text) => Cow::Borrowed(&**text),
        _ => return Err(wrong(key, value.shown(), "an account's number, in digits alone")),
    };
    if key == "bot_id" {
        let text = text.trim();
        // The rest of a token is a secret.
        if text.contains(':') {
            let wanted = "the bot's id, which are only the digits before the colon of its token";
            return Err(wrong(key, value.shown(), wanted));
        }
        return bot_id(text).and_then(AccountId::bot).map_err(refuse);
    }
    let phone: AccountId = text.parse().map_err(refuse)?;
    if !phone.is_phone() {
        return Err(wrong(key, value.shown(), "a phone number; a bot has `bot_id`"));
    }
    Ok(phone)
}

fn session_string(fields: &Fields<'_>) -> Result<SessionString, LineProblem> {
    match &fields.session {
        None => {
            let remedy = "add the string that Telethon, GramJS or Pyrogram exports";
            Err(LineProblem::Missing { key: "session", remedy })
        }
        Some(Scalar::Text(text)) => Ok(SessionString::parse(text.as_bytes())?),
        Some(value) => Err(wrong("session", value.shown(), "a session string")),
    }
}

fn data_centre(
    fields: &Fields<'_>,
    session: &SessionString,
    data_centres: &DataCentres,
) -> Result<i32, LineProblem> {
    // A string of Pyrogram has no version in front, so that the rest of one may be read as another's, with
    // a part of the application's id or of the key for its data centre.
    let is_anchored = session.test_mode.is_none();
    if !is_anchored && !data_centres.is_known(session.dc) {
        return Err(LineProblem::UnknownDataCentre { dc: session.dc });
    }
    match &fields.dc {
        None => Ok(session.dc),
        Some(value) => match value {
            Scalar::Number(dc) => u8::try_from(*dc).ok().filter(|dc| *dc != 0).map(i32::from),
            _ => None,
        }
        .ok_or_else(|| wrong("dc", value.shown(), "a number from 1 to 255"))
        .and_then(|key| {
            let string = session.dc;
            if key == string {
                Ok(key)
            } else {
                Err(LineProblem::DataCentreConflict { key, string })
            }
        }),
    }
}

fn address(
    fields: &Fields<'_>,
    session: &SessionString,
    dc: i32,
    data_centres: &DataCentres,
) -> Result<SocketAddr, LineProblem> {
    if let Some(value) = &fields.address {
        return match value {
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified())
        .ok_or_else(|| {
            // Before an `@` there may be a password, and what is long may be a token.
            let is_plain =
                matches!(value, Scalar::Text(text) if text.len() <= 40 && !text.contains('@'));
            let shown = if is_plain { value.quoted() } else { value.shown() };
            wrong("address", shown, "an IP address and a port, such as \"127.0.0.1:443\"")
        });
    }
    if let Some(address) = session.address {
        return Ok(address);
    }
    if session.test_mode == Some(true) {
        return data_centres.test_address(dc).ok_or(LineProblem::TestServer { dc });
    }
    data_centres.address(dc).ok_or(LineProblem::NoAddress { dc })
}

fn user_id(
    fields: &Fields<'_>,
    session: &SessionString,
    account: AccountId,
) -> Result<i64, LineProblem> {
    let of_bot = || i64::try_from(account.number()).ok().filter(|_| account.is_bot());
    match &fields.user_id {
        None => Ok(session.user_id.or_else(of_bot).unwrap_or(0)),
        // 0 is how a record without a known user is written.
        Some(Scalar::Number(id @ 0..=USER_ID_MAX)) => Ok(*id),
        Some(value) => {
            let wanted = "a user's number, which is at most 1099511627775, or left out";
            Err(wrong("user_id", value.shown(), wanted))
        }
    }
}

fn is_bot(
    fields: &Fields<'_>,
    session: &SessionString,
    account: AccountId,
) -> Result<bool, LineProblem> {
    let told = match &fields.is_bot {
        None => session.is_bot,
        Some(Scalar::Flag(flag)) => Some(*flag),
        Some(value) => return Err(wrong("is_bot", value.shown(), "true or false")),
    };
    match told {
        Some(string) if string != account.is_bot() => Err(LineProblem::BotConflict { string }),
        _ => Ok(account.is_bot()),
    }
}

fn group(fields: &Fields<'_>) -> Result<Option<Arc<str>>, LineProblem> {
    let Some(value) = &fields.group else { return Ok(None) };
    match value {
        Scalar::Text(text)
            if !text.trim().is_empty()
                && text.chars().count() <= GROUP_LEN_MAX
                && !text.chars().any(char::is_control) =>
        {
            Ok(Some(Arc::from(text.trim())))
        }
        _ => Err(wrong("group", value.shown(), "a label of 1 to 64 printable characters")),
    }
}

/// What a proxy has to be that is no text. What is wrong with a text its own error says.
const PROXY: &str = "a text such as \"socks5://user:password@host:port\", \"http://host:port\" or \
                     \"bind://IP\"";

fn proxy(fields: &Fields<'_>) -> Result<Option<Arc<Proxy>>, LineProblem> {
    match &fields.proxy {
        None => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(Arc::new(text.parse()?))),
        Some(value) => Err(wrong("proxy", value.shown(), PROXY)),
    }
}
