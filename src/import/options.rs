//! What an import is told besides its input.

use std::fmt;

use zeroize::Zeroizing;

use crate::session::DataCentres;

/// What an import is told besides its input.
///
/// Made by [`ImportOptions::default`], and its fields are set by name: more may come.
#[derive(Clone)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Where data centres listen whose sessions do not say it.
    pub data_centres: DataCentres,
    /// The passcode of Telegram Desktop, if it asks for one.
    pub passcode: Option<Zeroizing<String>>,
    /// Whether a database is read that its program has not closed. Two programs with one session make Telegram
    /// void it, so that only whoever has stopped the other may say so.
    pub in_use_is_fine: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { data_centres: DataCentres::production(), passcode: None, in_use_is_fine: false }
    }
}

impl fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportOptions")
            .field("has_passcode", &self.passcode.is_some())
            .field("in_use_is_fine", &self.in_use_is_fine)
            .finish_non_exhaustive()
    }
}
