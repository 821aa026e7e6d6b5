//! The description of the API: OpenAPI 3.1, made from the routes themselves.
//!
//! Owns what all routes have in common: the errors that any of them may answer with, and how a client says who
//! it is.

use axum::body::Bytes;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::http::access::{COOKIE, SESSION};
use crate::http::problem::Problem;

/// A token in the header `Authorization`.
const BY_TOKEN: &str = "token";
/// The cookie of a browser that has signed in.
const BY_COOKIE: &str = "cookie";

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

/// Adds to each operation the errors that it may answer with, and who may.
pub(super) fn complete(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let mut token = Http::new(HttpAuthScheme::Bearer);
    token.description = Some("A token that `telepool token create` has made.".to_owned());
    components.add_security_scheme(BY_TOKEN, SecurityScheme::Http(token));
    let about = "What signing in has given a browser. It lets nobody change anything.";
    let cookie = ApiKeyValue::with_description(COOKIE, about);
    components.add_security_scheme(BY_COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for (path, item) in &mut openapi.paths.paths {
        let reads = item.get.iter_mut().map(|it| (it, true));
        let changes = [&mut item.post, &mut item.patch, &mut item.delete];
        let changes = changes.into_iter().flatten().map(|it| (it, false));
        let is_session = path == SESSION;
        for (operation, is_read) in reads.chain(changes) {
            add_errors(operation, is_session);
            operation.security = Some(security(is_session, is_read));
        }
    }
}

/// Returns which ways there are of saying who one is; each of them suffices.
fn security(is_session: bool, is_read: bool) -> Vec<SecurityRequirement> {
    let by = |scheme| SecurityRequirement::new::<_, _, &str>(scheme, []);
    // Without an access policy, or on a loopback address, reads may be free.
    match (is_session, is_read) {
        (true, _) => vec![SecurityRequirement::default()],
        (false, true) => vec![by(BY_TOKEN), by(BY_COOKIE), SecurityRequirement::default()],
        (false, false) => vec![by(BY_TOKEN)],
    }
}

fn add_errors(operation: &mut Operation, is_session: bool) {
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
    if is_session {
        add("404", "There is no access policy, and so no signing in");
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
