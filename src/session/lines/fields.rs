//! Fields of one JSON line, typed but not yet judged together.
//!
//! Owns the JSON: which keys there are and which type each takes. Borrows the session string
//! from the line's buffer, which is wiped, instead of copying it. serde's own messages are not
//! used: they quote the values they refuse.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::LineProblem;
use crate::account_id::is_invisible;

/// A key that is longer than this, or has other characters than ours, is not repeated.
const SHOWN_KEY_LEN_MAX: usize = 20;
/// A text longer than this is not repeated.
const SHOWN_TEXT_LEN_MAX: usize = 48;
/// A number of more digits may be that of a phone, in the wrong place.
const SHOWN_DIGITS_MAX: usize = 6;

/// The values of one line as they stand.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) phone: Option<Scalar<'a>>,
    pub(super) bot_id: Option<Scalar<'a>>,
    pub(super) session: Option<Scalar<'a>>,
    pub(super) slot: Option<Scalar<'a>>,
    pub(super) dc: Option<Scalar<'a>>,
    pub(super) address: Option<Scalar<'a>>,
    pub(super) user_id: Option<Scalar<'a>>,
    pub(super) is_bot: Option<Scalar<'a>>,
    pub(super) group: Option<Scalar<'a>>,
    pub(super) proxy: Option<Scalar<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, LineProblem> {
        let mut json = serde_json::Deserializer::from_slice(line);
        let object = Object::deserialize(&mut json).and_then(|object| json.end().map(|()| object));
        match object {
            Ok(Object(fields)) => fields,
            Err(error) if error.is_eof() => Err(LineProblem::Unfinished),
            // Of what is whole and no object serde tells no place.
            Err(error) => {
                let column = error.column().max(1);
                Err(match line.get(column - 1..).is_some_and(is_typography) {
                    true => LineProblem::Typography { column },
                    false => LineProblem::NotAnObject { column },
                })
            }
        }
    }

    fn field(&mut self, key: &str) -> Option<(&'static str, &mut Option<Scalar<'a>>)> {
        Some(match key {
            "phone" => ("phone", &mut self.phone),
            "bot_id" => ("bot_id", &mut self.bot_id),
            "session" => ("session", &mut self.session),
            "slot" => ("slot", &mut self.slot),
            "dc" => ("dc", &mut self.dc),
            "address" => ("address", &mut self.address),
            "user_id" => ("user_id", &mut self.user_id),
            "is_bot" => ("is_bot", &mut self.is_bot),
            "group" => ("group", &mut self.group),
            "proxy" => ("proxy", &mut self.proxy),
            _ => return None,
        })
    }
}

/// A whole line. The outer error of serde means that it is no JSON object, the inner one that it
/// is an object of other keys.
struct Object<'a>(Result<Fields<'a>, LineProblem>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Fields::default();
        let mut problem = None;
        while let Some(Scalar::Text(key)) = map.next_key()? {
            let value: Scalar<'de> = map.next_value()?;
            match fields.field(&key) {
                // An explicit null reads as an absent key, and so does an empty text unless the key has
                // to be there: programs that export write every key.
                Some((key, place @ None)) => *place = Some(value).filter(|it| !it.is_absent(key)),
                Some((key, Some(_))) => {
                    problem.get_or_insert(LineProblem::RepeatedKey { key });
                }
                None => {
                    problem.get_or_insert(LineProblem::UnknownKey { key: shown_key(&key) });
                }
            }
        }
        Ok(Object(problem.map_or(Ok(fields), Err)))
    }
}

/// Keys that a line cannot do without.
const NEEDED: [&str; 3] = ["phone", "bot_id", "session"];

/// Whether a text begins with what word processors and web pages put in the place of blanks and quotes.
fn is_typography(text: &[u8]) -> bool {
    let first = text.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    first.is_some_and(|c| {
        is_invisible(c) || (c.is_whitespace() && !c.is_ascii()) || "“”„‟«»‘’‚".contains(c)
    })
}

/// The name of an unknown key if it looks like a name, else only its length.
fn shown_key(key: &str) -> String {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain && key.len() <= SHOWN_KEY_LEN_MAX {
        format!("`{key}`")
    } else {
        format!("of {} characters", key.chars().count())
    }
}

/// One JSON value, without the insides of arrays and objects: no key takes one.
#[derive(PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Flag(bool),
    Number(i64),
    /// A number that is no 64-bit integer.
    OtherNumber,
    Text(Cow<'a, str>),
    Compound,
}

impl Scalar<'_> {
    /// Whether the value of this key says as little as no key at all.
    fn is_absent(&self, key: &str) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => {
                !NEEDED.contains(&key) && text.chars().all(|c| c.is_whitespace() || is_invisible(c))
            }
            _ => false,
        }
    }

    /// What may be said of the value in an error: its type, and numbers and flags themselves.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => shown_number(*number),
            Self::OtherNumber => "another number".into(),
            Self::Text(text) => format!("a text of {} characters", text.chars().count()),
            Self::Compound => "an array or an object".into(),
        }
    }

    /// The same for a key that holds no secret: a short text is quoted too.
    pub(super) fn quoted(&self) -> String {
        match self {
            Self::Text(text) if text.len() <= SHOWN_TEXT_LEN_MAX && !may_be_phone(text) => {
                format!("{text:?}")
            }
            _ => self.shown(),
        }
    }
}

/// The number, unless it may be that of a phone: of such a one only how many digits it has.
fn shown_number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string().len();
    match digits {
        0..=SHOWN_DIGITS_MAX => number.to_string(),
        _ => format!("a number of {digits} digits"),
    }
}

/// Whether a text has the digits of a phone number, with whatever stands between them, and no letters.
fn may_be_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_address = || text.contains(':') || text.parse::<IpAddr>().is_ok();
    digits > SHOWN_DIGITS_MAX && !text.contains(char::is_alphabetic) && !is_address()
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Scalar::OtherNumber, Scalar::Number))
    }

    fn visit_f64<E: de::Error>(self, _number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::OtherNumber)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Compound)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Compound)
    }
}
