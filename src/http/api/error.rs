//! Errors of the API, as `application/problem+json` (RFC 9457).
//!
//! Owns what each error says: how far the request came, why it failed, and what would help. Tells nothing of
//! the inside: no path of a file, no text of a panic.

use std::any::Any;
use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::http::access::{Access, Scope};
use crate::http::problem::Problem;

/// Why a request was refused or failed, and what would help.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(Box<Problem>);

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        (stage, reason): (&'static str, &'static str),
        detail: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Problem::new(status, (stage, reason), detail, remedy)))
    }

    /// Tells when it is worth another try, in seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self(Box::new(self.0.retry_after(seconds)))
    }

    /// The query, the path or the body is not what the description says.
    pub(crate) fn bad_request(
        reason: &'static str,
        detail: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ("request", reason), detail, remedy)
    }

    pub(crate) fn unknown_path() -> Self {
        let remedy = "see /api/v1/openapi.json for what there is";
        let stage = ("request", "unknown_path");
        Self::new(StatusCode::NOT_FOUND, stage, "nothing is at this path", remedy)
    }

    pub(crate) fn unknown_method() -> Self {
        let remedy = "see the header Allow, or /api/v1/openapi.json";
        let stage = ("request", "unknown_method");
        let detail = "this path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, stage, detail, remedy)
    }

    /// There is none such, or none that whoever asks may see.
    pub(crate) fn unknown(what: &'static str, remedy: &'static str) -> Self {
        let detail = format!("the pool knows no such {what}");
        Self::new(StatusCode::NOT_FOUND, ("lookup", "unknown"), detail, remedy)
    }

    /// Whoever asks may not do this.
    pub(crate) fn no_scope(access: &Access, scope: Scope) -> Self {
        let detail = format!("this needs the scope {}, which you do not have", scope.label());
        if access.scopes.is_empty() {
            let stage = ("access", "no_access");
            let remedy = "send a token: Authorization: Bearer <token>";
            return Self::new(StatusCode::UNAUTHORIZED, stage, detail, remedy);
        }
        let stage = ("access", "missing_scope");
        let remedy = format!("use a token that has the scope {}", scope.label());
        Self::new(StatusCode::FORBIDDEN, stage, detail, remedy)
    }

    /// What concerns all groups is for whoever sees all of them.
    pub(crate) fn all_groups(detail: &'static str) -> Self {
        let remedy = "use a token that is not limited to groups";
        Self::new(StatusCode::FORBIDDEN, ("access", "limited_to_groups"), detail, remedy)
    }

    pub(crate) fn closing() -> Self {
        let remedy = "ask again once the service is up";
        let stage = ("lookup", "closing");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, stage, "the pool is closed", remedy)
            .retry_after(5)
    }

    /// Something panicked, or the runtime shuts down.
    pub(crate) fn internal() -> Self {
        let remedy = "ask again; if it stays so, report it with the log of the service";
        let stage = ("server", "bug");
        let detail = "the server failed to make the answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, stage, detail, remedy)
    }

    /// Makes the answer to a request whose handler panicked. What it said is in the log, and only there.
    pub(crate) fn of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        tracing::error!(panic = text, "a handler of the HTTP API panicked: a bug");
        Self::internal().into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_stage_reason_and_remedy_and_when_to_come_back() {
        let problem = ApiError::closing();
        let text = serde_json::to_value(&problem.0).unwrap();
        assert_eq!(
            text,
            serde_json::json!({
                "type": "about:blank", "title": "Service Unavailable", "status": 503,
                "detail": "the pool is closed", "stage": "lookup", "reason": "closing",
                "remedy": "ask again once the service is up",
            })
        );
        let answer = problem.into_response();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["retry-after"], "5");
    }

    #[test]
    fn what_a_panic_said_is_told_to_nobody_outside() {
        let answer = ApiError::of_panic(Box::new("/home/secret".to_owned()));
        assert_eq!(answer.status(), 500);
        let text = serde_json::to_string(&ApiError::internal().0).unwrap();
        assert!(!text.contains("secret"));
    }
}
