//! Problems: the body of every answer that is an error, as `application/problem+json` (RFC 9457).
//!
//! Owns its shape. What is wrong in a request, and what can be done about it, is said by whoever refuses it.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused, or has failed, and what can be done about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is, and `reason` which one.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name of the status.
    pub title: Cow<'static, str>,
    /// The status of the answer.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    pub status: StatusCode,
    /// What is wrong, in a sentence.
    pub detail: Cow<'static, str>,
    /// How far the request has come, such as `access`.
    pub stage: Cow<'static, str>,
    /// What is wrong, as a word for programs.
    pub reason: Cow<'static, str>,
    /// What can be done about it.
    pub remedy: Cow<'static, str>,
}

impl Problem {
    /// The media type.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// Makes a problem of a status, a stage and a reason, which are words for programs, and of what is wrong
    /// and what can be done about it, which are for people.
    pub fn new(
        status: StatusCode,
        stage: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").into(),
            status,
            detail: detail.into(),
            stage: stage.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("BUG: texts always make JSON");
        let kind = HeaderValue::from_static(Self::CONTENT_TYPE);
        (self.status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_every_member_and_the_status_twice() {
        let problem =
            Problem::new(StatusCode::FORBIDDEN, "access", "host", "no such host", "ask localhost");
        let shown = serde_json::to_value(&problem).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Forbidden", "status": 403, "detail": "no such host",
            "stage": "access", "reason": "host", "remedy": "ask localhost",
        });
        assert_eq!(shown, expected);
        let answer = problem.into_response();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], Problem::CONTENT_TYPE);
    }
}
