//! Settings as a panel tells of them: where each comes from, and those that the pool does not have.
//!
//! Owns the words for where a value comes from.

use std::collections::BTreeMap;

use crate::base::labels::labelled;
use crate::base::sync::Mutex;

labelled! {
    /// Where the value of a setting comes from.
    pub enum SettingOrigin {
        /// Nobody has set it.
        Default = "default",
        /// A file of settings.
        File = "file",
        /// An environment variable.
        Environment = "environment",
        /// A flag of the command line.
        Flag = "flag",
        /// The API, since the process began.
        Api = "api",
    }
}

/// A setting of the application around the pool. It is shown beside those of the pool and holds from the
/// start of the process: a change by the API is refused, and the refusal names it.
#[derive(Clone, Debug)]
pub struct StaticSetting {
    /// Its key, such as `telegram.redial_after_loss`; none of the pool's.
    pub key: String,
    /// Its value, as text.
    pub value: String,
    /// What it is if nobody sets it.
    pub default: String,
    /// What it accepts, in words.
    pub accepts: String,
    /// What it is for, in a few words.
    pub about: String,
    /// Where its value comes from.
    pub origin: SettingOrigin,
}

/// What a panel knows of settings.
#[derive(Debug, Default)]
pub(super) struct PanelSettings {
    /// Where those of the pool come from that have another value than the default.
    pub(super) origins: Mutex<BTreeMap<String, SettingOrigin>>,
    /// Those of the application.
    pub(super) fixed: Mutex<Vec<StaticSetting>>,
}
