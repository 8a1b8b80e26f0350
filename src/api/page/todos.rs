//! Todos: what is open, all, conflicts with both words, and each one's page with everything that happened to it.

use std::sync::Arc;

use super::burn;
use super::html::Html;
use super::pieces;
use super::scene::{Page, Part, Scene};
use crate::api::problem::Problem;
use crate::api::reads;
use crate::model::todo::{Side, Status};
use crate::model::view::{Conflict, TodoView};

/// Open todos on the first page.
const SHOWN: usize = 15;

/// What a todo's status looks like.
fn status(html: &mut Html, scene: &Scene<'_>, todo: &TodoView) {
    let (sign, word) = match todo.status {
        _ if todo.deleted => ("–", "deleted"),
        Status::Pending if reads::is_ready(scene.view, todo) => ("○", "ready"),
        Status::Pending if todo.listed => ("◌", "blocked"),
        Status::Pending => ("○", "pending"),
        Status::InProgress => ("●", "in progress"),
        Status::Cancelled => ("–", "cancelled"),
        Status::Completed => ("✓", "done"),
    };
    html.raw("<span class=\"state ").raw(if todo.status == Status::InProgress { "good" } else { "calm" });
    html.raw("\"><span class=\"sym\" aria-hidden=\"true\">").raw(sign).raw("</span> ").raw(word).raw("</span>");
    if todo.conflict {
        html.raw(" <span class=\"badge warn\">≠ conflict</span>");
    }
}

/// What is counted, and what is open.
pub(crate) fn summary(scene: &Scene<'_>) -> Part {
    if scene.view.todos.is_empty() {
        return Part::bare("todos", scene.html());
    }
    let counts = reads::counts(scene.view, reads::midnight(scene.now_ms));
    let open = |todo: &&Arc<TodoView>| todo.listed && !todo.deleted && !todo.status.is_finished();
    let mut rows: Vec<&Arc<TodoView>> = scene.view.todos.values().filter(open).collect();
    rows.sort_by_key(|todo| place(todo));
    let mut part = Part::titled(scene, "todos", "Todos");
    let html = &mut part.html;
    html.raw("<p class=\"sub\">").count(counts.in_progress).raw(" in progress · ").count(counts.ready).raw(" ready · ");
    html.count(counts.open.saturating_sub(counts.in_progress + counts.ready))
        .raw(" blocked · ")
        .count(counts.done_today)
        .raw(" done today");
    let conflicts = reads::open_conflicts(scene.view);
    if conflicts > 0 {
        html.raw(" · <span class=\"warn\">").counted(conflicts, "conflict", "conflicts").raw("</span>");
    }
    html.raw("</p>");
    burn::line(html, scene);
    html.raw("<ul class=\"rows todos\">");
    for todo in rows.iter().take(SHOWN) {
        html.raw("<li data-key=\"").text(&todo.id.to_string()).raw("\">");
        status(html, scene, todo);
        html.raw(" ");
        pieces::todo_link(html, todo);
        html.raw(" <span class=\"on\">").brief(&pieces::short_project(&todo.project)).raw("</span></li>");
    }
    html.raw("</ul>");
    if rows.is_empty() {
        html.raw("<p class=\"none\">Nothing is open.</p>");
    }
    html.raw("<p class=\"more\"><a href=\"/sync/todos\">All ").count(counts.total).raw(" todos</a></p>");
    part
}

/// In progress first, then what is open, then what was done last.
fn place(todo: &TodoView) -> (u8, i64, crate::model::id::TodoId) {
    match todo.status {
        Status::InProgress => (0, todo.created, todo.id),
        Status::Pending => (1, todo.created, todo.id),
        Status::Completed | Status::Cancelled => (2, todo.updated.saturating_neg(), todo.id),
    }
}

/// `/sync/todos`.
pub(crate) fn all(scene: &Scene<'_>) -> Page {
    let counts = reads::counts(scene.view, reads::midnight(scene.now_ms));
    let mut html = scene.html();
    html.raw("<h1>Todos</h1><p class=\"sub\">").count(counts.open).raw(" open of ").counted(counts.total, "todo", "todos").raw("</p>");
    Page { title: "Todos · hubless".into(), parts: vec![Part::bare("top", html), table(scene, |todo| !todo.deleted)] }
}

/// A table of the todos that fit.
pub(crate) fn table(scene: &Scene<'_>, fits: impl Fn(&TodoView) -> bool) -> Part {
    let mut rows: Vec<&Arc<TodoView>> = scene.view.todos.values().filter(|todo| fits(todo)).collect();
    rows.sort_by_key(|todo| place(todo));
    let mut part = Part::titled(scene, "todos", "Todos");
    let html = &mut part.html;
    if rows.is_empty() {
        html.raw("<p class=\"none\">None yet.</p>");
        return part;
    }
    html.raw("<table class=\"list\"><thead><tr><th scope=\"col\">Status</th><th scope=\"col\">Todo</th><th scope=\"col\">Project</th>");
    html.raw("<th scope=\"col\">Owner</th><th scope=\"col\">Changed</th></tr></thead><tbody>");
    for todo in pieces::slice(scene, &rows) {
        html.raw("<tr data-key=\"").text(&todo.id.to_string()).raw("\"><td>");
        status(html, scene, todo);
        html.raw("</td><td>");
        pieces::todo_link(html, todo);
        html.raw("</td><td>");
        pieces::project_link(html, &todo.project);
        html.raw("</td><td>");
        if let Some(owner) = &todo.owner {
            html.brief(owner);
        }
        html.raw("</td><td>").ago(todo.updated).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    pieces::pager(html, scene, rows.len());
    part
}

/// A conflict: both words, why the one counts, and how to settle it.
pub(crate) fn conflict(html: &mut Html, scene: &Scene<'_>, conflict: &Conflict) {
    html.raw("<p class=\"line\"><span class=\"state warn\"><span class=\"sym\" aria-hidden=\"true\">≠</span> conflict</span> ");
    html.raw("<strong><a href=\"/sync/todos/").text(&conflict.todo.to_string()).raw("\">").brief(&conflict.content).raw("</a></strong>");
    html.raw(" <span class=\"why\">").text(&conflict.field).raw(" was said in two ways</span></p><ol class=\"sides\"><li>");
    side(html, scene, &conflict.local);
    html.raw(" <span class=\"why\">· counts now, by the rule <q>").raw(conflict.rule).raw("</q></span></li><li>");
    side(html, scene, &conflict.remote);
    html.raw("</li></ol>");
    if !conflict.resolved {
        html.raw("<p class=\"act\">");
        let id = conflict.id.short(pieces::SHOWN_LETTERS);
        pieces::command(html, &format!("hubless todos resolve {id} --keep 2"));
        html.raw(" takes the second; <code>--keep 1</code> confirms the first</p>");
    }
}

fn side(html: &mut Html, scene: &Scene<'_>, side: &Side) {
    html.brief(&side.value).raw(" <span class=\"on\">by ");
    pieces::device_link(html, scene.view, &side.device);
    html.raw(", ").at(side.at).raw("</span>");
}

/// `/sync/todos/{id}`.
pub(crate) fn one(scene: &Scene<'_>, typed: &str) -> Result<Page, Problem> {
    let todo = reads::find_todo(scene.view, typed)?;
    let mut html = scene.html();
    html.raw("<h1>").whole(&todo.content).raw("</h1><p class=\"sub\">");
    status(&mut html, scene, todo);
    html.raw(" · ");
    pieces::project_link(&mut html, &todo.project);
    html.raw("</p><dl class=\"facts\"><div><dt>Id</dt><dd><code>").text(&todo.id.to_string()).raw("</code></dd></div>");
    for (word, text) in [("Owner", &todo.owner), ("Priority", &todo.priority)] {
        if let Some(text) = text {
            html.raw("<div><dt>").raw(word).raw("</dt><dd>").brief(text).raw("</dd></div>");
        }
    }
    html.raw("<div><dt>First seen</dt><dd>").at(todo.created).raw("</dd></div>");
    if let (Some(at), Some(by)) = (todo.completed, &todo.completed_by) {
        html.raw("<div><dt>Done</dt><dd>").at(at).raw(" by ");
        pieces::who(&mut html, scene, by);
        html.raw("</dd></div>");
    }
    if !todo.blocked_by.is_empty() {
        html.raw("<div><dt>Waits for</dt><dd><ul class=\"plain\">");
        for before in todo.blocked_by.iter().filter_map(|id| scene.view.todos.get(id)) {
            html.raw("<li>");
            status(&mut html, scene, before);
            html.raw(" ");
            pieces::todo_link(&mut html, before);
            html.raw("</li>");
        }
        html.raw("</ul></dd></div>");
    }
    html.raw("</dl>");
    let title = format!("{} · hubless", todo.content.plain());
    Ok(Page { title, parts: vec![Part::bare("top", html), conflicts(scene, todo), origins(scene, todo), history(scene, todo)] })
}

fn conflicts(scene: &Scene<'_>, todo: &TodoView) -> Part {
    let all: Vec<_> = scene.view.conflicts.values().filter(|conflict| conflict.todo == todo.id).collect();
    if all.is_empty() {
        return Part::bare("conflicts", scene.html());
    }
    let mut part = Part::titled(scene, "conflicts", "Conflicts");
    part.html.raw("<ul class=\"rows\">");
    for each in all {
        part.html.raw("<li class=\"item\" data-key=\"").text(&each.id.to_string()).raw("\">");
        conflict(&mut part.html, scene, each);
        part.html.raw(if each.resolved { "<p class=\"none\">settled</p></li>" } else { "</li>" });
    }
    part.html.raw("</ul>");
    part
}

fn origins(scene: &Scene<'_>, todo: &TodoView) -> Part {
    let mut part = Part::titled(scene, "origins", "Where it is listed");
    let html = &mut part.html;
    html.raw("<ul class=\"rows\">");
    for origin in &todo.origins {
        html.raw("<li>").text(&origin.status.word().replace('_', " ")).raw(" <span class=\"on\">on ");
        match origin.device {
            Some(device) => pieces::device_link(html, scene.view, &device),
            None => drop(html.raw("a list of a person")),
        }
        if let Some(session) = &origin.session {
            html.raw(", in ");
            pieces::session_id_link(html, scene.view, session);
        }
        html.raw(if origin.listed { "</span></li>" } else { ", no longer in that list</span></li>" });
    }
    html.raw("</ul>");
    part
}

fn history(scene: &Scene<'_>, todo: &TodoView) -> Part {
    let mut part = Part::titled(scene, "history", "History");
    let html = &mut part.html;
    html.raw("<table class=\"list\"><thead><tr><th scope=\"col\">When</th><th scope=\"col\">Who</th><th scope=\"col\">What</th>");
    html.raw("<th scope=\"col\">From</th><th scope=\"col\">To</th></tr></thead><tbody>");
    for step in todo.history.iter().rev().take(pieces::ROWS_MAX) {
        html.raw("<tr><td>").at(step.at).raw("</td><td>");
        pieces::who(html, scene, &step.by);
        html.raw("</td><td>").text(&step.field).raw("</td><td>");
        if let Some(from) = &step.from {
            html.brief(from);
        }
        html.raw("</td><td>").brief(&step.to).raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    if todo.history.len() > pieces::ROWS_MAX {
        html.raw("<p class=\"more\">The last ").count(pieces::ROWS_MAX).raw(" of ").count(todo.history.len()).raw(" steps. All of them: ");
        pieces::command(html, &format!("hubless todos history {}", todo.id.short(pieces::SHOWN_LETTERS)));
        html.raw("</p>");
    }
    part
}
