//! What a page is drawn from.

use super::html::Html;
use crate::api::reads::Query;
use crate::api::strips::Strips;
use crate::model::view::View;

/// The parameters that pages take.
const KNOWN: [&str; 2] = ["range", "page"];

/// Everything that a page may look at.
pub(crate) struct Scene<'a> {
    /// What is known.
    pub(crate) view: &'a View,
    /// When agents were heard.
    pub(crate) strips: &'a Strips,
    /// What ages are counted to, milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// What is wrong with the doors.
    pub(crate) trouble: Option<&'a str>,
    /// The path, as it stands in the URL.
    pub(crate) path: &'a str,
    query: Query,
}

impl<'a> Scene<'a> {
    /// A scene; `query` is what stands behind `?`.
    pub(crate) fn new(
        view: &'a View,
        strips: &'a Strips,
        now_ms: i64,
        trouble: Option<&'a str>,
        (path, query): (&'a str, &str),
    ) -> Scene<'a> {
        Scene { view, strips, now_ms, trouble, path, query: Query::parse(query, &KNOWN) }
    }

    /// An empty piece of this page.
    pub(crate) fn html(&self) -> Html {
        Html::new(self.now_ms)
    }

    /// The span that the timeline shows: its name and its milliseconds.
    pub(crate) fn range(&self) -> (&'static str, i64) {
        const HOUR: i64 = 60 * 60 * 1000;
        match self.query.text("range") {
            Some("6h") => ("6h", 6 * HOUR),
            Some("7d") => ("7d", 7 * 24 * HOUR),
            _ => ("24h", 24 * HOUR),
        }
    }

    /// Which page of a long list is shown, from 1.
    pub(crate) fn page(&self) -> usize {
        self.query.text("page").and_then(|text| text.parse().ok()).unwrap_or(1).clamp(1, 100_000)
    }
}

/// A part of a page: a name, and what stands in it. One with nothing in it is there and hidden, so that it can come.
pub(crate) struct Part {
    pub(crate) id: &'static str,
    pub(crate) html: Html,
}

impl Part {
    /// A part without a heading.
    pub(crate) fn bare(id: &'static str, html: Html) -> Part {
        Part { id, html }
    }

    /// A part that begins with its heading.
    pub(crate) fn titled(scene: &Scene<'_>, id: &'static str, title: &'static str) -> Part {
        let mut html = scene.html();
        html.raw("<h2 id=\"").raw(id).raw("-h\">").raw(title).raw("</h2>");
        Part { id, html }
    }
}

/// A whole page.
pub(crate) struct Page {
    /// The name of what it shows, escaped where it goes.
    pub(crate) title: String,
    /// What it consists of.
    pub(crate) parts: Vec<Part>,
}
