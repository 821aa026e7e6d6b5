//! Files of the page, built into the binary.
//!
//! Owns their names and types. uPlot is vendored with its licence, which is sent like the others.

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file: its type and its text.
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

/// The page.
pub(super) const INDEX: Asset =
    Asset { content_type: HTML, text: include_str!("files/index.html") };
/// The description of the API.
pub(super) const REFERENCE: Asset =
    Asset { content_type: HTML, text: include_str!("files/reference.html") };

macro_rules! files {
    ($($name:literal $content_type:ident $path:literal;)*) => {
        /// What is served below `/page`, by its name there.
        pub(super) const FILES: &[(&str, Asset)] =
            &[$(($name, Asset { content_type: $content_type, text: include_str!($path) }),)*];
    };
}

files! {
    "account.js" SCRIPT "files/account.js";
    "accounts.js" SCRIPT "files/accounts.js";
    "api.js" SCRIPT "files/api.js";
    "app.js" SCRIPT "files/app.js";
    "charts.js" SCRIPT "files/charts.js";
    "dom.js" SCRIPT "files/dom.js";
    "events.js" SCRIPT "files/events.js";
    "format.js" SCRIPT "files/format.js";
    "live.js" SCRIPT "files/live.js";
    "operations.js" SCRIPT "files/operations.js";
    "reference.js" SCRIPT "files/reference.js";
    "session.js" SCRIPT "files/session.js";
    "settings.js" SCRIPT "files/settings.js";
    "style.css" STYLE "files/style.css";
    "table.js" SCRIPT "files/table.js";
    "tiles.js" SCRIPT "files/tiles.js";
    "uplot.css" STYLE "vendor/uplot.css";
    "uplot.js" SCRIPT "vendor/uplot.js";
    "uplot-licence.txt" TEXT "vendor/LICENSE";
    "view.js" SCRIPT "files/view.js";
}

/// Returns the file of this name.
pub(super) fn named(name: &str) -> Option<&'static Asset> {
    FILES.iter().find_map(|(known, asset)| (*known == name).then_some(asset))
}
