//! The configuration: what is in force and where it comes from, and changes to it.
//!
//! Owns the answer, and that a change is judged as a whole before any of it holds.

use std::collections::BTreeMap;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Config, Setting};
use crate::http::api::error::ApiError;
use crate::http::api::extract::JsonOf;
use crate::http::api::view::{Operator, View};
use crate::http::panel::Origin;

/// How many settings a change names at most: there are fewer.
const CHANGES_MAX: usize = 64;

/// The configuration in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Config)]
pub(super) struct ConfigPage {
    settings: Vec<SettingRow>,
    /// Of a change, the keys that hold only after a restart.
    restart: Vec<&'static str>,
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Setting)]
struct SettingRow {
    /// Its key, such as `pool.max_idle_time`.
    key: &'static str,
    /// Its value; times are in seconds.
    value: String,
    /// What it is if nobody sets it.
    default: String,
    /// What it accepts, in words.
    accepts: String,
    /// What it is for.
    about: &'static str,
    /// Where the value comes from: `default`, `file`, `environment`, `flag` or `api`.
    origin: &'static str,
    /// Whether a change holds at once or after a restart: `now` or `restart`.
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
/// a whole; if one is refused, none holds. They last until the service ends. For tokens that see all groups.
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

fn page(view: &View) -> Result<ConfigPage, ApiError> {
    let config = view.panel.monitor.pool.config().ok_or_else(ApiError::closing)?;
    let default = Config::default();
    let origins = view.panel.origins.lock();
    let text = |config: &Config, key| config.text(key).unwrap_or_default();
    let row = |setting: &'static Setting| SettingRow {
        key: setting.key,
        value: text(&config, setting.key),
        default: text(&default, setting.key),
        accepts: setting.accepts(),
        about: setting.about,
        origin: origins.get(setting.key).copied().unwrap_or(Origin::Default).label(),
        applies: "now",
    };
    Ok(ConfigPage { settings: Setting::all().iter().map(row).collect(), restart: Vec::new() })
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
    let mut origins = view.panel.origins.lock();
    let mut config = Config::clone(&*pool.config().ok_or_else(ApiError::closing)?);
    let refused = |errors: &str| {
        let remedy = "see GET /api/v1/config for what each accepts; nothing was changed";
        ApiError::bad_request("bad_setting", errors.to_owned(), remedy)
    };
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
        origins.extend(changes.keys().map(|key| (key.clone(), Origin::Api)));
        let keys: Vec<&str> = changes.keys().map(String::as_str).collect();
        let (by, detail) = (&view.access().name, keys.join(", "));
        pool.audit("reconfigure", None, None, by, Some(&detail));
    }
    drop(origins);
    page(view)
}
