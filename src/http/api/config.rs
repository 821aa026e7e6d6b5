//! The configuration: what is in force and where it comes from, and changes to it.
//!
//! Owns the answer, and that a change is judged as a whole before any of it holds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Config, Setting};
use crate::http::api::error::ApiError;
use crate::http::api::extract::JsonOf;
use crate::http::api::view::{Operator, View};
use crate::http::settings::{SettingOrigin, StaticSetting};

/// How many settings a change names at most: there are fewer.
const CHANGES_MAX: usize = 64;

/// The configuration in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Config)]
pub(super) struct ConfigPage {
    settings: Vec<SettingRow>,
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Setting)]
struct SettingRow {
    /// Its key, such as `pool.max_idle_time`.
    key: Cow<'static, str>,
    /// Its value; times are in seconds.
    value: String,
    /// What it is if nobody sets it.
    default: String,
    /// What it accepts, in words.
    accepts: String,
    /// What it is for.
    about: Cow<'static, str>,
    /// Where the value comes from: `default`, `file`, `environment`, `flag` or `api`.
    origin: &'static str,
    /// Whether a change holds at once, or the setting is read at the start of the process only and refused here:
    /// `now` or `restart`.
    applies: &'static str,
}

/// Every setting with its value, and where that comes from.
#[utoipa::path(
    get,
    path = "/config",
    tag = "configuration",
    responses((status = 200, description = "Every setting", body = ConfigPage))
)]
pub(super) async fn get_config(view: View) -> Result<Json<ConfigPage>, ApiError> {
    page(&view).map(Json)
}

/// Changes settings: texts by key, as the file of settings and the command line have them. They are judged as
/// a whole; if one is refused, none holds, as if one is named that is read at the start only. They last until the
/// service ends. For tokens that see all groups.
#[utoipa::path(
    patch,
    path = "/config",
    tag = "configuration",
    request_body(
        content = BTreeMap<String, String>,
        description = "The values by key, such as {\"pool.max_idle_time\": \"2m\"}",
    ),
    responses((status = 200, description = "Every setting, after the change", body = ConfigPage))
)]
pub(super) async fn change_config(
    Operator(view): Operator,
    JsonOf(changes): JsonOf<BTreeMap<String, String>>,
) -> Result<Json<ConfigPage>, ApiError> {
    view.blocking(move |view| change(view, &changes)).await.map(Json)
}

impl From<StaticSetting> for SettingRow {
    fn from(it: StaticSetting) -> Self {
        let StaticSetting { key, value, default, accepts, about, origin } = it;
        let (key, about, origin) = (key.into(), about.into(), origin.label());
        Self { key, value, default, accepts, about, origin, applies: "restart" }
    }
}

fn page(view: &View) -> Result<ConfigPage, ApiError> {
    let config = view.panel.monitor.pool.config().ok_or_else(ApiError::closing)?;
    let default = Config::default();
    let origins = view.panel.settings.origins.lock();
    let text = |config: &Config, key| config.text(key).unwrap_or_default();
    let row = |setting: &'static Setting| SettingRow {
        key: setting.key.into(),
        value: text(&config, setting.key),
        default: text(&default, setting.key),
        accepts: setting.accepts(),
        about: setting.about.into(),
        origin: origins.get(setting.key).copied().unwrap_or(SettingOrigin::Default).label(),
        applies: "now",
    };
    let of_pool = Setting::all().iter().map(row);
    let fixed = view.panel.settings.fixed.lock();
    Ok(ConfigPage {
        settings: of_pool.chain(fixed.iter().cloned().map(SettingRow::from)).collect(),
    })
}

fn change(view: &View, changes: &BTreeMap<String, String>) -> Result<ConfigPage, ApiError> {
    if !view.sees_all() {
        return Err(ApiError::all_groups("the configuration holds for all groups"));
    }
    if changes.len() > CHANGES_MAX {
        let detail = format!("{} settings are named", changes.len());
        return Err(ApiError::bad_request(
            "bad_setting",
            detail,
            "name each that is to change once",
        ));
    }
    let pool = &view.panel.monitor.pool;
    // Held throughout: of two changes at once, neither loses what the other has set.
    let mut origins = view.panel.settings.origins.lock();
    let mut config = Config::clone(&*pool.config().ok_or_else(ApiError::closing)?);
    let refused = |errors: &str| {
        let remedy = "see GET /api/v1/config for what each accepts; nothing was changed";
        ApiError::bad_request("bad_setting", errors.to_owned(), remedy)
    };
    let fixed = view.panel.settings.fixed.lock().clone();
    let is_named = |it: &&StaticSetting| changes.contains_key(&it.key);
    let named: Vec<&str> = fixed.iter().filter(is_named).map(|it| it.key.as_str()).collect();
    if !named.is_empty() {
        return Err(ApiError::bad_request(
            "needs_restart",
            format!("read at the start of the process only: {}", named.join(", ")),
            "set it where the service has its settings from, and restart that; nothing was changed",
        ));
    }
    let errors: Vec<String> = changes
        .iter()
        .filter_map(|(key, value)| config.set(key, value).err())
        .map(|error| error.to_string())
        .collect();
    if !errors.is_empty() {
        return Err(refused(&errors.join("; ")));
    }
    if !changes.is_empty() {
        let swapped = pool.reconfigure(config).ok_or_else(ApiError::closing)?;
        swapped.map_err(|error| refused(&error.to_string()))?;
        origins.extend(changes.keys().map(|key| (key.clone(), SettingOrigin::Api)));
        let keys: Vec<&str> = changes.keys().map(String::as_str).collect();
        let (by, detail) = (&view.access().name, keys.join(", "));
        pool.audit("reconfigure", None, None, by, Some(&detail));
    }
    drop(origins);
    page(view)
}
