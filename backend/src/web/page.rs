//! The page, in one piece: no other file, no other host.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::control::histogram::BOUNDS;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("page/units.js"),
    include_str!("page/history.js"),
    include_str!("page/rows.js"),
    include_str!("page/draw.js"),
    include_str!("page/table.js"),
    include_str!("page/page.js"),
];

/// The page, and what browsers are to allow it.
#[derive(Debug)]
pub(super) struct Page {
    /// The document.
    pub(super) html: String,
    /// Its `Content-Security-Policy`: the style and script that are in it and no others, and questions to
    /// nobody but us.
    pub(super) policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let scripts = SCRIPTS.concat();
        let script = format!("\"use strict\";\nconst BOUNDS = {BOUNDS:?};\n{scripts}");
        let html = HTML
            .replace("/*style*/", STYLE)
            .replace("/*script*/", &script);
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(&script),
        );
        Self { html, policy }
    }
}
