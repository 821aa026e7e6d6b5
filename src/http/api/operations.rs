//! Operations: what an operator does to an account or a connection.
//!
//! Owns their answers and their audit: each leaves an event and a line of the log with who did it. What is
//! done is the pool's.

use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::api::error::ApiError;
use crate::http::api::extract::{OptionalJsonOf, PathOf};
use crate::http::api::view::{Operator, View};
use crate::http::pool::AccountOperation;

/// How long an answer waits for the end of an operation, which goes on without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest reason of a quarantine, in characters.
const REASON_LEN_MAX: usize = 200;

/// Why an account is quarantined by hand.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct QuarantineRequest {
    /// For the audit.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// What an operation came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// Whether it is done. If not, it either goes on, or there was nothing to do: the text says which.
    done: bool,
    /// The same in words.
    text: String,
}

/// Closes every connection of an account. Leased ones are closed on their return, or by force after
/// `pool.drain_timeout`. The account goes on serving, on new connections.
#[utoipa::path(
    post,
    path = "/accounts/{id}/close",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn close_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
) -> Result<Json<Outcome>, ApiError> {
    operate(operator, id, AccountOperation::Close, None).await
}

/// Takes an account out of service: acquires fail at once, and its connections are closed as their leases
/// end.
#[utoipa::path(
    post,
    path = "/accounts/{id}/drain",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn drain_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
) -> Result<Json<Outcome>, ApiError> {
    operate(operator, id, AccountOperation::Drain, None).await
}

/// Has the acquires of an account wait until it is resumed, or for as long as they may. Leases that are held
/// go on.
#[utoipa::path(
    post,
    path = "/accounts/{id}/pause",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn pause_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
) -> Result<Json<Outcome>, ApiError> {
    operate(operator, id, AccountOperation::Pause, None).await
}

/// Ends the pause of an account: those that wait are served.
#[utoipa::path(
    post,
    path = "/accounts/{id}/resume",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn resume_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
) -> Result<Json<Outcome>, ApiError> {
    operate(operator, id, AccountOperation::Resume, None).await
}

/// Puts an account that is drained or quarantined back into service, and ends the pause after dials that
/// failed.
#[utoipa::path(
    post,
    path = "/accounts/{id}/reinstate",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn reinstate_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
) -> Result<Json<Outcome>, ApiError> {
    operate(operator, id, AccountOperation::Reinstate, None).await
}

/// Takes every session of an account out of service until somebody reinstates it: acquires fail at once, and
/// its connections are closed as their leases end.
#[utoipa::path(
    post,
    path = "/accounts/{id}/quarantine",
    tag = "operations",
    params(("id" = String, Path, description = "The `id` of the account", max_length = 100)),
    request_body(content = Option<QuarantineRequest>, content_type = "application/json"),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn quarantine_account(
    operator: Operator,
    PathOf(id): PathOf<String>,
    OptionalJsonOf(request): OptionalJsonOf<QuarantineRequest>,
) -> Result<Json<Outcome>, ApiError> {
    let reason = request.reason;
    if reason.as_ref().is_some_and(|it| it.chars().count() > REASON_LEN_MAX) {
        let detail = format!("the reason is longer than {REASON_LEN_MAX} characters");
        return Err(ApiError::bad_request("bad_reason", detail, "say it in fewer words"));
    }
    operate(operator, id, AccountOperation::Quarantine, reason).await
}

/// Closes a connection: at once if it is idle, else on its return or by force after `pool.drain_timeout`.
#[utoipa::path(
    post,
    path = "/accounts/{id}/connections/{connection}/close",
    tag = "operations",
    params(
        ("id" = String, Path, description = "The `id` of the account", max_length = 100),
        ("connection" = String, Path, description = "The `id` of the connection",
            min_length = 1, max_length = 20, pattern = "^[0-9]{1,20}$"),
    ),
    responses((status = 200, description = "What it came to", body = Outcome))
)]
pub(super) async fn close_connection(
    Operator(view): Operator,
    PathOf((id, connection)): PathOf<(String, String)>,
) -> Result<Json<Outcome>, ApiError> {
    let work = move |view: &View| {
        let is_plain = connection.bytes().all(|it| it.is_ascii_digit());
        let unknown = || {
            let remedy = "take the id of a connection from its account, GET /api/v1/accounts/{id} or telepool \
                          ctl account";
            ApiError::unknown("connection", remedy)
        };
        if !is_plain || !(1..=20).contains(&connection.len()) {
            let detail = "the id of a connection is a decimal number";
            let remedy = "take it from GET /api/v1/accounts/{id}";
            return Err(ApiError::bad_request("bad_path", detail, remedy));
        }
        let account = view.find(&id)?;
        let number = connection.parse().map_err(|_| unknown())?;
        let closed = view.panel.monitor.pool.close_connection(account, number);
        if !closed.ok_or_else(unknown)? {
            return Err(unknown());
        }
        let by = &view.access().name;
        view.panel.monitor.pool.audit("close_connection", Some(account), Some(number), by, None);
        let text = "it is closed now if it was idle, and else on its return".to_owned();
        Ok(Outcome { done: true, text })
    };
    view.blocking(work).await.map(Json)
}

async fn operate(
    Operator(view): Operator,
    id: String,
    operation: AccountOperation,
    reason: Option<String>,
) -> Result<Json<Outcome>, ApiError> {
    let view = std::sync::Arc::new(view);
    let finder = std::sync::Arc::clone(&view);
    let account = tokio::task::spawn_blocking(move || finder.find(&id)).await;
    let account = account.unwrap_or_else(|_| Err(ApiError::internal()))?;
    let done = view.panel.monitor.pool.operate(account, operation, PATIENCE).await;
    let done = done.ok_or_else(|| {
        ApiError::unknown("account", "it was forgotten just now: acquire it, or list the accounts")
    })?;
    let is_vain = !done && !matches!(operation, AccountOperation::Close | AccountOperation::Drain);
    let detail = reason.as_deref().or(is_vain.then_some("there was nothing to do"));
    let by = &view.access().name;
    view.panel.monitor.pool.audit(operation.name(), Some(account), None, by, detail);
    Ok(Json(Outcome { done, text: operation.outcome(done).to_owned() }))
}

impl AccountOperation {
    /// As the audit names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Drain => "drain",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reinstate => "reinstate",
            Self::Quarantine => "quarantine",
        }
    }

    /// How the account stands, for whoever asked.
    const fn outcome(self, done: bool) -> &'static str {
        match (self, done) {
            (Self::Close, true) => "its connections are closed",
            (Self::Close, false) => "its connections are closed as their leases end",
            (Self::Drain, true) => "it is out of service, and holds nothing",
            (Self::Drain, false) => {
                "it is out of service, and its connections are closed as their leases end"
            }
            (Self::Pause, true) => "its acquires wait until it is resumed",
            (Self::Pause, false) => "there was nothing to pause: it is paused, or closed",
            (Self::Resume, true) => "its acquires are served again",
            (Self::Resume, false) => "there was nothing to resume: it is not paused",
            (Self::Reinstate, true) => "it is back in service",
            (Self::Reinstate, false) => "there was nothing to reinstate: it serves",
            (Self::Quarantine, true) => {
                "it is quarantined until it is reinstated, also after a restart if there is a state file"
            }
            (Self::Quarantine, false) => "there was nothing to quarantine: each session is already",
        }
    }
}
