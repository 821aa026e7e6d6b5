//! The folder of Telegram Desktop, `tdata`.
//!
//! Owns which folder is one, and its accounts. Never writes there, and takes no key of those that the program has
//! meant to destroy.
//!
//! | file | holds |
//! |---|---|
//! | `key_data` | the local key, under the passcode, and which accounts there are |
//! | 16 digits of the MD5 of `data`, `data#2`.. | of each account the user, the data centre and the keys |
//! | `config` in the folder of the same name | among others, whether it is of the test servers |
//!
//! Each is there once with an `s` behind its name, or with a `0` and a `1` of which the whole one counts.

mod crypt;
mod file;
mod qt;

use std::path::{Path, PathBuf};

use crypt::LocalKey;
use qt::QtCursor;

use super::{FoundSession, ImportError, ImportOptions, ItemError, Origin};
use crate::account_id::USER_ID_MAX;
use crate::session::AuthKey;

/// How many accounts there may be: the program has at most six.
const ACCOUNTS_MAX: u32 = 64;
/// How many keys one may have.
const KEYS_MAX: u32 = 1000;
/// What the settings of an account begin with that are its authorization.
const AUTHORIZATION: i32 = 0x4b;
/// The only version of the configuration there is, and where it is of the test servers.
const CONFIG_VERSION: i32 = 1;
const TEST: i32 = 1;

/// Whether a folder is one of Telegram Desktop.
pub(super) fn is_folder(path: &Path) -> bool {
    file::SUFFIXES.iter().any(|suffix| path.join(format!("key_data{suffix}")).is_file())
        || path.join("key_data").is_file()
}

/// The accounts of a folder that is one of Telegram Desktop, or has it within.
pub(super) fn open(path: &Path, options: &ImportOptions) -> Result<TdataAccounts, ImportError> {
    let within = path.join("tdata");
    let folder = match () {
        () if is_folder(path) => path.to_owned(),
        () if is_folder(&within) => within,
        () => return Err(ImportError::Folder),
    };
    let file = file::read(&folder, "key_data")?;
    let mut arrays = QtCursor::new(&file);
    let (salt, key, info) = (arrays.bytes()?, arrays.bytes()?, arrays.bytes()?);
    let key = crypt::local_key(salt, key, options.passcode.as_ref().map(|it| it.as_str()))?;
    let info = key.decrypted(info)?;
    let mut info = QtCursor::new(&info);
    let count = info.count(ACCOUNTS_MAX)?;
    if count == 0 {
        return Err(ImportError::SignedOut { origin: Origin::TelegramDesktop });
    }
    let mut order = Vec::new();
    for _ in 0..count {
        order.push(info.count(ACCOUNTS_MAX)?);
    }
    order.reverse();
    Ok(TdataAccounts { folder, key, count, left: order })
}

/// The accounts of a folder, one by one.
pub(super) struct TdataAccounts {
    folder: PathBuf,
    key: LocalKey,
    count: u32,
    /// The numbers of those that have not been read, the next one last.
    left: Vec<u32>,
}

impl TdataAccounts {
    /// How many there are.
    pub(super) fn number(&self) -> u32 {
        self.count
    }

    fn account(&self, index: u32) -> Result<FoundSession, ImportError> {
        let name = file::name(index);
        let mut found = authorization(&self.decrypted(&self.folder, &name)?)?;
        // Without it nothing is missing but the one word.
        let config = self.decrypted(&self.folder.join(&name), "config");
        found.test_mode = config.ok().and_then(|config| is_test(&config).ok()).flatten();
        Ok(found)
    }

    fn decrypted(&self, folder: &Path, name: &str) -> Result<crypt::Secret, ImportError> {
        let file = file::read(folder, name)?;
        self.key.decrypted(QtCursor::new(&file).bytes()?)
    }
}

impl Iterator for TdataAccounts {
    type Item = Result<FoundSession, ItemError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.left.pop()?;
        let number = index + 1;
        Some(self.account(index).map_err(|problem| ItemError::Account { number, problem }))
    }
}

/// What a file of an account says.
fn authorization(settings: &[u8]) -> Result<FoundSession, ImportError> {
    let mut settings = QtCursor::new(settings);
    if settings.number()? != AUTHORIZATION {
        return Err(ImportError::Damaged { what: "an account does not begin with its keys" });
    }
    let mut fields = QtCursor::new(settings.bytes()?);
    let (mut user, mut dc) = (i64::from(fields.number()?), fields.number()?);
    // What was too small for the ids of today says where they are.
    if (user, dc) == (-1, -1) {
        (user, dc) = (fields.long()?, fields.number()?);
    }
    let mut keys = Vec::new();
    for _ in 0..fields.count(KEYS_MAX)? {
        let dc = fields.number()?;
        let key = AuthKey::from_slice(fields.take(AuthKey::LEN)?);
        keys.extend(key.filter(|key| !key.is_blank()).map(|key| (dc, key)));
    }
    let place = keys.iter().position(|(of, _)| *of == dc);
    let place = place.filter(|_| user != 0);
    let place = place.ok_or(ImportError::SignedOut { origin: Origin::TelegramDesktop })?;
    let (dc, key) = keys.remove(place);
    if !(1..=255).contains(&dc) {
        return Err(ImportError::DataCentre);
    }
    let mut found = FoundSession::new(Origin::TelegramDesktop, dc, key);
    found.user_id = Some(user).filter(|id| (1..=USER_ID_MAX).contains(id));
    // The program signs no bots in.
    found.is_bot = found.user_id.map(|_| false);
    found.foreign_keys = keys.into_iter().filter(|(dc, _)| (1..=255).contains(dc)).collect();
    Ok(found)
}

/// Whether a configuration is of the test servers, if it is one that we know.
fn is_test(config: &[u8]) -> Result<Option<bool>, ImportError> {
    let mut fields = QtCursor::new(QtCursor::new(config).bytes()?);
    let (version, environment) = (fields.number()?, fields.number()?);
    Ok((version == CONFIG_VERSION).then_some(environment == TEST))
}

/// What a fuzzer has of a part: a file, an account, a configuration, an encrypted array.
#[cfg(fuzzing)]
pub(super) fn any_part(which: u8, bytes: crypt::Secret) -> Option<FoundSession> {
    match which % 4 {
        0 => {
            let contents = file::contents(file::sealed(bytes)).expect("it has just been sealed");
            let mut arrays = QtCursor::new(&contents);
            let (salt, key) = (arrays.bytes().ok()?, arrays.bytes().ok()?);
            crypt::local_key(salt, key, None).ok()?.decrypted(arrays.bytes().ok()?).ok()?;
            None
        }
        1 => authorization(&bytes).ok(),
        2 => is_test(&bytes).ok().and(None),
        _ => file::contents(bytes).ok().and(None),
    }
}
