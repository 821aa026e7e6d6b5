//! The description of the API: OpenAPI 3.1, made from the routes themselves.
//!
//! Owns what all routes have in common: the errors that any of them may answer with, and the token.

use axum::body::Bytes;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::{
    ContentBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::http::problem::Problem;

/// What the description says of itself.
pub(super) fn empty() -> OpenApi {
    let mut info = Info::new("telepool", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "A pool of connections of Telegram accounts: what it has, what it does, and what an operator can do \
         about it. Times are milliseconds since 1970, durations are seconds and end in `_s`, ids of 64 bits \
         are strings, and what is absent is null. Errors are problems (RFC 9457)."
            .to_owned(),
    );
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".to_owned());
    info.license = Some(license);
    OpenApiBuilder::new().info(info).build()
}

/// Adds to each operation the errors that it may answer with.
pub(super) fn complete(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    for item in openapi.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete] {
            operation.iter_mut().for_each(add_errors);
        }
    }
}

fn add_errors(operation: &mut Operation) {
    let has_parameters = operation.parameters.as_ref().is_some_and(|it| !it.is_empty());
    let in_path = |it: &RefOr<Parameter>| match it {
        RefOr::T(it) => it.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    };
    // The query of the events may name an account as well.
    let names =
        |it: &RefOr<Parameter>| in_path(it) || matches!(it, RefOr::T(it) if it.name == "account");
    let names_one = operation.parameters.as_ref().is_some_and(|all| all.iter().any(names));
    let has_body = operation.request_body.is_some();
    let mut add = |status: &str, what: &str| {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| problem(what).into());
    };
    if has_parameters || has_body {
        add("400", "The query, the path or the body is not as described");
    }
    if names_one {
        add("404", "There is none such, or none that you may see");
    }
    if has_body {
        add("413", "The body is too long");
        add("415", "The body is not said to be JSON");
    }
    add("401", "There is no token, or one that is unknown or has expired");
    add("403", "The token lacks the scope, or the request comes from where none may");
    add("429", "There are too many requests: the header Retry-After says when to come back");
    add("500", "A bug");
    add("503", "The pool is closed, or too busy: the header Retry-After says when to come back");
}

fn problem(what: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(what).content("application/problem+json", content).build()
}

/// The text of the description.
pub(super) fn text(openapi: &OpenApi) -> Bytes {
    serde_json::to_vec(openapi).expect("BUG: the description is no JSON").into()
}
