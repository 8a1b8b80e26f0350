//! How many todos were open over the last seven days: a line, and the same numbers as a table.

use std::fmt::Write;

use super::html::{Html, clock};
use super::scene::Scene;
use crate::api::reads;
use crate::model::todo::Status;
use crate::model::view::TodoView;

/// Days that the line spans.
const DAYS: i64 = 7;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The picture's height, without its border.
const HEIGHT: usize = 28;
/// Pixels of a day.
const DAY_PX: usize = 20;

/// Draws it; nothing where no todo was open in that time.
pub(crate) fn line(html: &mut Html, scene: &Scene<'_>) {
    let points = points(scene);
    let most = points.iter().map(|(_, open, _)| *open).max().unwrap_or(0);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    if most == 0 {
        return;
    }
    let mut path = String::new();
    for (n, (_, open, _)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if n == 0 { "M" } else { "L" }, n * DAY_PX + 1, 1 + HEIGHT - open * HEIGHT / most);
    }
    let says = |html: &mut Html| {
        html.raw("open todos over 7 days: ").count(first.1).raw(" then, ").count(last.1).raw(" now");
    };
    html.raw("<p class=\"burn\"><svg role=\"img\" viewBox=\"0 0 142 30\" width=\"142\" height=\"30\" aria-label=\"");
    says(html);
    html.raw("\"><title>");
    says(html);
    html.raw("</title><path class=\"track\" d=\"M0 29.5h142\"/><path class=\"line\" d=\"")
        .text(&path)
        .raw("\"/></svg> <span class=\"small\">");
    html.count(first.1).raw(" open a week ago, ").count(last.1).raw(" now</span></p><details><summary>The same as a table</summary>");
    html.raw(
        "<table><thead><tr><th scope=\"col\">At</th><th scope=\"col\">Open</th><th scope=\"col\">Done that day</th></tr></thead><tbody>",
    );
    for (n, (at, open, done)) in points.iter().enumerate() {
        html.raw("<tr><td>");
        match n == points.len() - 1 {
            true => drop(html.raw("now")),
            false => drop(html.text(&clock(*at, scene.now_ms))),
        }
        html.raw("</td><td>").count(*open).raw("</td><td>").count(*done).raw("</td></tr>");
    }
    html.raw("</tbody></table></details>");
}

/// The end of each of the last days and now: when, how many were open then, how many were done since the point before.
fn points(scene: &Scene<'_>) -> Vec<(i64, usize, usize)> {
    let today = reads::midnight(scene.now_ms);
    let mut at: Vec<i64> = (0..DAYS).rev().map(|day| today - day * DAY_MS).collect();
    at.push(scene.now_ms);
    let (mut open, mut done) = (vec![0; at.len()], vec![0; at.len()]);
    for todo in scene.view.todos.values().filter(|todo| todo.listed && !todo.deleted) {
        let over = over(todo);
        for (n, at) in at.iter().enumerate() {
            open[n] += usize::from(todo.created <= *at && over.is_none_or(|over| over > *at));
        }
        let day = over.filter(|_| todo.status == Status::Completed).and_then(|over| at.iter().position(|at| over <= *at));
        // What was done before the first of them is of no day that is shown.
        let before = over.is_some_and(|over| over <= at[0] - DAY_MS);
        if let Some(day) = day.filter(|_| !before) {
            done[day] += 1;
        }
    }
    at.into_iter().zip(open).zip(done).map(|((at, open), done)| (at, open, done)).collect()
}

/// When it was finished, if it is.
fn over(todo: &TodoView) -> Option<i64> {
    todo.status.is_finished().then(|| todo.completed.unwrap_or(todo.updated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, NOW, todo};
    use crate::api::strips::Strips;

    #[test]
    fn a_todo_is_open_from_when_it_was_seen_until_it_was_done() {
        let at = |days: i64| NOW - days * DAY_MS;
        let mut fleet = Fleet::new();
        for (text, created, completed) in [("a", at(30), None), ("b", at(3), None), ("c", at(5), Some(at(2))), ("d", at(40), Some(at(20)))]
        {
            let mut one = todo("web", text, if completed.is_some() { Status::Completed } else { Status::Pending });
            (one.created, one.completed) = (created, completed);
            fleet = fleet.todo(one);
        }
        let strips = Strips::default();
        let scene = Scene::new(&fleet.0, &strips, NOW, None, ("/sync", ""));
        let points = points(&scene);
        assert_eq!(points.len(), 8);
        assert_eq!((points[0].1, points[7].1), (1, 2), "{points:?}");
        assert_eq!(points.iter().map(|(_, open, _)| *open).max(), Some(3));
        assert_eq!(points.iter().map(|(_, _, done)| done).sum::<usize>(), 1, "what was done long ago is of no day");
        let mut html = Html::new(NOW);
        line(&mut html, &scene);
        let (drawn, _) = html.done();
        assert!(drawn.contains("open todos over 7 days: 1 then, 2 now") && drawn.contains("<td>now</td><td>2</td>"), "{drawn}");
        let mut none = Html::new(NOW);
        line(&mut none, &Scene::new(&Fleet::new().0, &strips, NOW, None, ("/sync", "")));
        assert_eq!(none.done().0, "");
    }
}
