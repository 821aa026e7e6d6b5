//! Extractors of the API: the query, the path and the body, each refused in words.
//!
//! Owns how axum's own rejections are told. Judges no access: that is the view's part.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::http::api::error::ApiError;

/// No body of a request is longer.
pub(super) const BODY_MAX: usize = 16 * 1024;

/// The query, read as `T`.
pub(super) struct QueryOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let refused = |error: &dyn std::fmt::Display| {
            let remedy = "see the parameters of this path in /api/v1/openapi.json";
            ApiError::bad_request("bad_query", format!("the query cannot be read: {error}"), remedy)
        };
        // A byte that is no text is replaced on the way, and would be taken for another word.
        let query = parts.uri.query().unwrap_or_default();
        if has_broken_escape(query) {
            return Err(refused(&"an escape is not two hexadecimal digits, or no UTF-8"));
        }
        let Query(query) = Query::try_from_uri(&parts.uri).map_err(|error| refused(&error))?;
        Ok(Self(query))
    }
}

/// Whether a percent sign stands alone, or what it spells is no text.
fn has_broken_escape(query: &str) -> bool {
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = (*first == b'%').then(|| {
            let digits = tail.get(..2).and_then(|it| std::str::from_utf8(it).ok())?;
            let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        match escape {
            None => {
                bytes.push(*first);
                rest = tail;
            }
            Some(Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            Some(None) => return true,
        }
    }
    std::str::from_utf8(&bytes).is_err()
}

/// The parameters of the path, read as `T`.
pub(super) struct PathOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await.map_err(|error| {
            let detail = format!("the path cannot be read: {}", error.body_text());
            let remedy = "take ids as GET /api/v1/accounts and /api/v1/connections give them";
            ApiError::bad_request("bad_path", detail, remedy)
        });
        path.map(|Path(path)| Self(path))
    }
}

/// The body, read as JSON.
pub(super) struct JsonOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonOf<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read_body(request).await.and_then(|body| read_json(&body)).map(Self)
    }
}

/// The same of a body that may be left out, which is then what it is by default.
pub(super) struct OptionalJsonOf<T>(pub(super) T);

impl<S: Send + Sync, T: Default + DeserializeOwned> FromRequest<S> for OptionalJsonOf<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read_body(request).await?;
        if body.is_empty() { Ok(Self(T::default())) } else { read_json(&body).map(Self) }
    }
}

async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    let content = request.headers().get(header::CONTENT_TYPE).map(|it| it.as_bytes().to_vec());
    let Ok(body) = axum::body::to_bytes(request.into_body(), BODY_MAX).await else {
        let detail = format!("the body is longer than {BODY_MAX} bytes, or was cut off");
        let stage = ("request", "body_too_large");
        let remedy = "send less in one request";
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, stage, detail, remedy));
    };
    let is_json = content.as_ref().is_some_and(|it| it.starts_with(b"application/json"));
    if !body.is_empty() && !is_json {
        let detail = "the body is not said to be JSON";
        let remedy = "send it with the header Content-Type: application/json";
        let stage = ("request", "bad_content_type");
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, stage, detail, remedy));
    }
    Ok(body)
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let remedy = "see the body of this request in /api/v1/openapi.json";
        ApiError::bad_request("bad_body", format!("the body cannot be read: {error}"), remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_that_spells_no_text_is_seen() {
        for (query, broken) in [
            ("", false),
            ("q=%2B44&state=ready", false),
            ("q=%C3%BC", false),
            ("q=%FF", true),
            ("q=%", true),
            ("q=%4", true),
            ("q=%zz", true),
            ("q=%+1", true),
        ] {
            assert_eq!(has_broken_escape(query), broken, "{query}");
        }
    }
}
