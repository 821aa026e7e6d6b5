//! Problems: the body of every answer that is an error, as `application/problem+json` (RFC 9457).
//!
//! Owns its shape. What is wrong in a request, and what can be done about it, is said by whoever refuses it.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused or failed, and what would help.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the title is that of the status, and `reason` tells problems apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// What the status means.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, in words.
    detail: Cow<'static, str>,
    /// How far the request came: `access`, `request`, `lookup`, `operation`, `server`.
    stage: &'static str,
    /// Why, as a word that programs may go by.
    reason: &'static str,
    /// What would help.
    remedy: Cow<'static, str>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(crate) const CONTENT_TYPE: HeaderValue =
        HeaderValue::from_static("application/problem+json");

    pub(crate) fn new(
        status: StatusCode,
        (stage, reason): (&'static str, &'static str),
        detail: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            stage,
            reason,
            remedy: remedy.into(),
            retry_after_s: None,
        }
    }

    /// Tells when it is worth another try, in seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("BUG: it was made from a status");
        let retry_after = self.retry_after_s;
        let mut answer = (status, Json(self)).into_response();
        answer.headers_mut().insert(header::CONTENT_TYPE, Self::CONTENT_TYPE);
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_every_member_and_says_when_to_come_back() {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let problem = Problem::new(status, ("access", "rate"), "too many", "wait").retry_after(3);
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "too many",
            "stage": "access", "reason": "rate", "remedy": "wait",
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), expected);
        let answer = problem.into_response();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "3");
    }
}
