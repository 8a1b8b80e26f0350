//! `/sync` and the pages below it: what a person looks at, written by the server, kept true by one small script.
//!
//! The server alone decides what is shown and how. A page is a row of parts; each has a name and a sum of its content. The script
//! hears of a change, asks for the parts whose sum is not the one it has, and moves their differences into the page, so that
//! without a script the same page is there, asked for anew every 5 s. Agents' text is untrusted: it enters through
//! `html::Html`, which escapes it, and the policy of every answer allows neither script nor style within a page. Nothing on a page can write; it
//! shows the command instead.

mod agents;
mod assets;
mod burn;
mod devices;
mod frame;
mod html;
mod lately;
mod overview;
mod pieces;
mod projects;
mod scene;
mod sessions;
mod timeline;
mod todos;
mod tree;

pub(crate) use assets::{ASSETS, HASH};
pub(crate) use frame::{changed, document};
pub(crate) use html::moment;
pub(crate) use overview::nothing;
pub(crate) use scene::Scene;
pub(crate) use tree::page;
