use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Request, Response, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::assets::{FILES, INDEX, REFERENCE};
use super::router;

/// The page is loaded over lines of any kind: it stays small.
const BYTES_MAX: usize = 200_000;

async fn ask(path: &str, held: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(held) = held {
        request = request.header(IF_NONE_MATCH, held);
    }
    let request = request.body(Body::empty()).expect("a request");
    TowerToHyperService::new(router()).call(request).await.expect("an answer")
}

fn header(response: &Response<Body>, name: impl axum::http::header::AsHeaderName) -> &str {
    response.headers()[name].to_str().expect("text")
}

/// The local addresses that a text has in its quotes.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.split(['"', '\'']).filter(|it| it.starts_with("/page/"))
}

#[tokio::test]
async fn each_file_has_its_type_and_what_keeps_a_browser_to_it() {
    let named = FILES.iter().map(|(name, asset)| (format!("/page/{name}"), asset));
    let all = named.chain([("/".into(), &INDEX), ("/api".into(), &REFERENCE)]);
    for (path, asset) in all {
        let response = ask(&path, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, CONTENT_TYPE), asset.content_type);
        let policy = header(&response, CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(&response, CACHE_CONTROL), "no-cache");
        let body = axum::body::to_bytes(response.into_body(), BYTES_MAX).await.expect("a body");
        assert_eq!(body, asset.text, "{path}");
    }
}

#[tokio::test]
async fn what_a_browser_holds_is_not_sent_again() {
    let tag = header(&ask("/", None).await, ETAG).to_owned();
    for held in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let response = ask("/", Some(&held)).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{held}");
        assert_eq!(header(&response, ETAG), tag);
        let body = axum::body::to_bytes(response.into_body(), BYTES_MAX).await.expect("a body");
        assert!(body.is_empty(), "{held}");
    }
    for held in ["\"other\"", "", tag.trim_matches('"')] {
        assert_eq!(ask("/", Some(held)).await.status(), StatusCode::OK, "{held}");
    }
    assert_eq!(ask("/api", Some(&tag)).await.status(), StatusCode::OK, "another file's");
}

#[tokio::test]
async fn no_other_path_is_a_file() {
    for path in ["/page/", "/page/mod.rs", "/page/..%2fmod.rs", "/page/files/app.js", "/index.html"]
    {
        assert_eq!(ask(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// Each script that is imported, and each file that a document names, is there, and none is left over.
#[test]
fn the_files_name_each_other() {
    let mut used = vec!["uplot-licence.txt".to_owned()];
    for asset in [&INDEX, &REFERENCE] {
        used.extend(addresses(asset.text).map(|it| it["/page/".len()..].to_owned()));
    }
    for (name, asset) in FILES.iter().filter(|(name, _)| *name != "uplot.js") {
        let imports = asset.text.split('\'').filter(|it| it.starts_with("./"));
        for imported in imports {
            assert!(super::assets::named(&imported[2..]).is_some(), "{name} imports {imported}");
            used.push(imported[2..].to_owned());
        }
    }
    for (name, _) in FILES {
        assert!(used.iter().any(|it| it == name), "nothing uses {name}");
    }
    for name in used {
        assert!(super::assets::named(&name).is_some(), "{name} is not there");
    }
}

/// What is read over a wire never becomes markup, and nothing is asked of another origin.
#[test]
fn the_page_makes_no_markup_and_asks_nothing_from_outside() {
    let own = FILES.iter().filter(|(name, _)| !name.starts_with("uplot"));
    let documents = [("index.html", &INDEX), ("reference.html", &REFERENCE)];
    let all = own.map(|(name, asset)| (*name, asset)).chain(documents);
    for (name, asset) in all {
        for never in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "style=\"",
            "onclick=",
            "localStorage",
            "document.cookie",
            "<script>",
            "import(",
        ] {
            assert!(!asset.text.contains(never), "{name} has {never}");
        }
        // Names of XML's, which nobody loads.
        let text = asset.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{name} names an address");
    }
}

#[test]
fn the_page_is_small() {
    let files: usize = FILES.iter().map(|(_, asset)| asset.text.len()).sum();
    let all = files + INDEX.text.len() + REFERENCE.text.len();
    assert!(all < BYTES_MAX, "{all} bytes");
}
