//! The lines of a token file.
//!
//! Owns their form. A line that is not wholly understood lets nobody in: what is left out of it by a slip of
//! the pen might be what limits its token.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Scope;
use super::super::grant::TokenGrant;
use super::super::token::TokenHash;
use super::{TOKENS_MAX, TokenFileError, TokenRecord};

/// One line. Every member has to be there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLine {
    id: String,
    name: String,
    scopes: Vec<String>,
    #[serde(deserialize_with = "given")]
    groups: Option<Vec<String>>,
    phones: bool,
    created: u64,
    #[serde(deserialize_with = "given")]
    expires: Option<u64>,
    sha256: String,
}

/// Has a member that may be null be there all the same.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// Reads the lines of a file. Empty ones, and a mark of UTF-8 as editors put it in front, are passed over.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<TokenRecord>, TokenFileError> {
    let mut records: Vec<TokenRecord> = Vec::new();
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let text = text.trim_start_matches('\u{feff}');
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |problem: String| TokenFileError::Line { path: path.to_owned(), line, problem };
        let record = parse(text).map_err(wrong)?;
        if !ids.insert(record.id) {
            return Err(wrong(format!("the id {} is there twice", record.id)));
        }
        if !names.insert(record.grant.name.clone()) {
            return Err(wrong(format!("the name {:?} is there twice", record.grant.name)));
        }
        if records.len() == TOKENS_MAX {
            return Err(TokenFileError::Full { path: path.to_owned() });
        }
        records.push(record);
    }
    Ok(records)
}

fn parse(text: &str) -> Result<TokenRecord, String> {
    // What the parser says may quote the line, in which somebody may have put a token by mistake.
    let line: TokenLine = serde_json::from_str(text).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => {
                "a member of it is missing, unknown or of another kind"
            }
            _ => "it is no JSON object",
        };
        format!("{what} (at column {})", error.column())
    })?;
    let id = line.id.parse().map_err(|error| format!("id: {error}"))?;
    let scopes = line.scopes.iter().map(|name| Scope::named(name)).collect::<Option<Vec<_>>>();
    let scopes = scopes.ok_or("scopes: each is read, operate or call")?;
    let hash = TokenHash::parse(&line.sha256).ok_or("sha256: it is no 64 hexadecimal digits")?;
    let mut grant = TokenGrant::new(line.name, scopes);
    (grant.groups, grant.phones, grant.expires) = (line.groups, line.phones, line.expires);
    grant.check().map_err(|error| error.to_string())?;
    Ok(TokenRecord { id, grant, created: line.created, hash })
}

pub(super) fn write(records: &[TokenRecord]) -> String {
    let mut text = String::new();
    for TokenRecord { id, grant, created, hash } in records {
        let line = TokenLine {
            id: id.to_string(),
            name: grant.name.clone(),
            scopes: grant.scopes.iter().map(|scope| scope.label().to_owned()).collect(),
            groups: grant.groups.clone(),
            phones: grant.phones,
            created: *created,
            expires: grant.expires,
            sha256: hash.text(),
        };
        text.push_str(&serde_json::to_string(&line).expect("BUG: texts always make JSON"));
        text.push('\n');
    }
    text
}
