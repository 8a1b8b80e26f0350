//! The page's style and script, in the binary, under names that hold their hash: what a browser has under such a name is right for ever.

use std::sync::LazyLock;

/// One file that the page needs.
pub(crate) struct Asset {
    /// Its path: `/assets/page.0123456789ab.js`.
    pub(crate) path: String,
    /// Its media type.
    pub(crate) kind: &'static str,
    /// What it holds.
    pub(crate) text: &'static str,
}

/// Style and script, in this order.
pub(crate) static ASSETS: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    let asset = |text: &'static str, ending: &str, kind| {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        Asset { path: format!("/assets/page.{}.{ending}", &hash[..12]), kind, text }
    };
    [
        asset(include_str!("page.css"), "css", "text/css; charset=utf-8"),
        asset(include_str!("page.js"), "js", "text/javascript; charset=utf-8"),
    ]
});

/// What stands for both: a page that was loaded with another one loads itself anew.
pub(crate) static HASH: LazyLock<String> = LazyLock::new(|| {
    let paths: String = ASSETS.iter().map(|asset| asset.path.as_str()).chain([env!("CARGO_PKG_VERSION")]).collect();
    blake3::hash(paths.as_bytes()).to_hex()[..12].to_owned()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_stays_small_and_neither_makes_markup_of_text() {
        let [style, script] = &*ASSETS;
        assert!(script.text.len() <= 25_000, "{} bytes", script.text.len());
        for way in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "setHTML", "srcdoc"] {
            assert!(!script.text.contains(way), "{way} makes markup or code of text");
        }
        assert!(!style.text.contains("url(") && !style.text.contains("@import"), "the style asks nobody for anything");
    }
}
