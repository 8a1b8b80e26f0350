//! Which page stands at which path.

use super::scene::{Page, Scene};
use super::{agents, devices, overview, projects, sessions, todos};
use crate::api::problem::Problem;
use crate::api::reads;

/// The page at the scene's path.
///
/// # Errors
/// A problem when there is nothing there, or several by that beginning.
pub(crate) fn page(scene: &Scene<'_>) -> Result<Page, Problem> {
    let parts: Vec<String> = scene.path.trim_matches('/').split('/').map(reads::decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["sync"] => Ok(overview::page(scene)),
        ["sync", "agents"] => Ok(agents::all(scene)),
        ["sync", "agents", name] => agents::one(scene, name),
        ["sync", "sessions"] => Ok(sessions::all(scene)),
        ["sync", "sessions", typed] => sessions::one(scene, typed),
        ["sync", "todos"] => Ok(todos::all(scene)),
        ["sync", "todos", typed] => todos::one(scene, typed),
        ["sync", "projects"] => Ok(projects::all(scene)),
        ["sync", "projects", key] => projects::one(scene, key),
        ["sync", "devices", typed] => devices::one(scene, typed),
        _ => Err(reads::no_route(scene.path)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{changed, document};
    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, NOW, beat, device, leos, todo};
    use crate::api::strips::Strips;
    use crate::model::beat::Reported;
    use crate::model::id::DeviceId;
    use crate::model::text::Foreign;
    use crate::model::todo::Status;
    use crate::model::view::{AgentState, DeviceView, SessionState, View, Warning};
    use quickcheck::quickcheck;

    fn drawn(view: &View, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let strips = Strips::default();
        strips.note(&View::of(MBP), view);
        let scene = Scene::new(view, &strips, NOW, None, (path, query));
        let page = page(&scene).unwrap_or_else(|problem| panic!("{path}: {problem}"));
        document(&scene, page)
    }

    #[track_caller]
    fn says(page: &str, all: &[&str]) {
        let text = words(page);
        for wanted in all {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    }

    /// What a person reads: without tags, white space collapsed.
    fn words(page: &str) -> String {
        let mut out = String::new();
        for piece in page.split('<') {
            let (tag, text) = piece.split_once('>').unwrap_or(("", piece));
            let inline = ["bdi", "/bdi", "a ", "/a", "strong", "/strong", "time", "/time"].iter().any(|name| tag.starts_with(name));
            out.push_str(if inline { "" } else { " " });
            // What only a screen reader says.
            out.push_str(if tag.contains("class=\"vh\"") { "" } else { text });
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_page_answers_what_a_person_asks_first() {
        let page = drawn(&Fleet::busy().0, "/sync");
        let wanted = [
            "1 agent needs you · 1 todo conflict",
            "2 devices, 2 reachable · 2 agents active · in step, last contact 6s",
            "needs input",
            "AGT-324: run migration?",
            "working",
            "AGT-280",
            "this device",
            "reachable, 4 ms",
            "2 active of 2 agents · 1 session · synced",
            "1 in progress · 1 ready · 0 blocked · 1 done today · 1 conflict",
            "Lately",
            "Leo asks: AGT-324: run migration?",
            "sam works: AGT-280",
            "What happens from now on: hubless watch",
            "≠ conflict Rotate staging key",
            "hubless todos resolve c-",
            "acme/api-server",
            "1 of 3 done",
            "Changes that the device of the row misses from the device of the column, as known by mbp-lena",
        ];
        says(&page, &wanted);
        assert!(page.find("id=\"needs\"") < page.find("id=\"devices\""), "who waits comes first");
        assert!(
            page.contains("<title>(1) hubless · mbp-lena</title>") && page.contains("\"sam: heard in 1 of the last 1 minute\""),
            "{page}"
        );
    }

    #[test]
    fn each_thing_has_a_page_of_its_own() {
        let fleet = Fleet::busy().session(SessionState::Ended, &[todo("web", "Dark mode", Status::Pending).id]).0;
        let id = todo("web", "Rotate staging key", Status::Completed).id;
        for (path, wanted) in [
            ("/sync/agents".to_owned(), &["Agents 2 active of 3", "run migration?"][..]),
            ("/sync/agents/LEO".into(), &["Leo", "for 12m", "The same as a table", "hubless agents show Leo", "1 of 3 done"]),
            (format!("/sync/sessions/{}", leos()), &["Session", "claude", "/home/leo/api-server", "Branch main", "Dark mode"]),
            (format!("/sync/todos/{id}"), &["Rotate staging key", "completed-stays", "counts now", "Where it is listed", "History"]),
            ("/sync/projects/github.com%2Facme%2Fapi-server".into(), &["acme/api-server", "Add retry budget"]),
            (format!("/sync/devices/{MINI}"), &["mac-mini", "192.168.1.20:41733", "Leo", "sam"]),
            ("/sync/sessions".into(), &["1 session on all devices"]),
            ("/sync/todos".into(), &["2 open of 3 todos"]),
            ("/sync/projects".into(), &["2 projects"]),
        ] {
            says(&drawn(&fleet, &path), wanted);
        }
        let strips = Strips::default();
        for path in [
            "/sync/agents/nobody",
            "/sync/sessions/zz",
            "/sync/todos/t-zzzz",
            "/sync/projects/x",
            "/sync/devices/x",
            "/sync/x",
            "/sync/a/b/c",
        ] {
            let scene = Scene::new(&fleet, &strips, NOW, None, (path, ""));
            let problem = page(&scene).map(|page| page.title).expect_err(path);
            assert_eq!(problem.status, 404, "{path}");
            says(&document(&scene, super::super::nothing(&scene, &problem)), &["There is nothing here"]);
        }
    }

    #[test]
    fn what_agents_write_is_inert_on_every_page() {
        let evil = "<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}\"'&";
        let mut asks = beat(MINI, evil, Reported::Waiting, evil);
        asks.note = Some(Foreign::new(evil));
        let item = todo(evil, evil, Status::Pending);
        let mut fleet = Fleet::busy().agent(asks, AgentState::NeedsInput).conflict(&item, false).todo(item.clone());
        fleet.0.devices.insert(MINI, Arc::new(device(MINI, evil)));
        fleet.0.warnings.insert("x".into(), Warning { what: evil.into(), fix: Some(evil.into()) });
        fleet.0.strangers.insert(evil.into(), evil.into());
        let mut session = fleet.0.sessions[&leos()].as_ref().clone();
        session.fact.title = Some(Foreign::new(evil));
        session.fact.tool = evil.into();
        session.fact.project = Some(evil.into());
        fleet.0.sessions.insert(leos(), Arc::new(session));
        let name = super::super::html::percent(evil);
        for path in ["/sync", "/sync/agents", "/sync/sessions", "/sync/todos", "/sync/projects"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("/sync/agents/{name}"), format!("/sync/projects/{name}"), format!("/sync/todos/{}", item.id)])
            .chain([format!("/sync/sessions/{}", leos()), format!("/sync/devices/{MINI}")])
        {
            let page = drawn(&fleet.0, &path);
            assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'), "{path}: {page}");
            assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"), "{path}");
        }
    }

    #[test]
    fn an_empty_house_says_what_to_do_and_one_alone_that_it_is() {
        let mut fleet = Fleet::new();
        fleet.0.devices.remove(&MINI);
        let page = drawn(&fleet.0, "/sync");
        says(&page, &["Nothing needs you", "Nothing has been heard yet", "hubless hooks install", "hubless pair"]);
        let alone = fleet.agent(beat(MBP, "max", Reported::Idle, ""), AgentState::Idle);
        let page = drawn(&alone.0, "/sync");
        says(&page, &["1 device. To see your others here:"]);
        assert!(!page.contains("Nothing has been heard yet"));
    }

    #[test]
    fn a_device_out_of_reach_is_dim_and_not_an_alarm() {
        let third = DeviceId([3; 32]);
        let away = DeviceView {
            reachable: false,
            they_miss: Some(14),
            last_contact_here: Some(NOW - 7_800_000),
            clock_skew_ms: Some(-252_000),
            ..device(third, "thinkpad")
        };
        let mut fleet = Fleet::new().agent(beat(third, "kai", Reported::Working, "AGT-331"), AgentState::Unknown);
        fleet.0.devices.insert(third, Arc::new(away));
        let page = drawn(&fleet.0, "/sync");
        says(&page, &["Nothing needs you", "not seen for 2h 10m", "14 behind", "clock 4m behind", "was working: AGT-331", "last word"]);
        assert!(page.contains("card gone") && !page.contains("class=\"state bad\""), "{page}");
    }

    #[test]
    fn a_first_exchange_has_a_bar_and_is_determinate() {
        let mut fleet = Fleet::busy();
        let mut mini = DeviceView::clone(&fleet.0.devices[&MINI]);
        let link = mini.link.as_mut().expect("a link");
        (link.level, link.documents) = (false, Some((212, 412)));
        (mini.they_miss, mini.we_miss) = (None, None);
        fleet.0.devices.insert(MINI, Arc::new(mini.clone()));
        let page = drawn(&fleet.0, "/sync");
        says(&page, &["212 of 412 documents exchanged", "catching up"]);
        assert!(page.contains("<progress max=\"412\" value=\"212\""), "{page}");
        mini.link.as_mut().expect("a link").documents = Some((0, 1));
        fleet.0.devices.insert(MINI, Arc::new(mini));
        assert!(!drawn(&fleet.0, "/sync").contains("documents exchanged"), "one document is no first exchange");
    }

    #[test]
    fn what_mends_a_thing_is_words_with_commands_among_them() {
        for (fix, shown, commands) in [
            ("hubless doctor", "Fix: hubless doctor Copy", 1),
            ("look at desk: `hubless devices`", "Fix: look at desk: hubless devices Copy", 1),
            ("pair it, or name it as  hubless devices  does", "Fix: pair it, or name it as hubless devices Copy does", 1),
            ("`hubless doctor`, here and on desk", "Fix: hubless doctor Copy , here and on desk", 1),
            ("make room on the disk", "Fix: make room on the disk", 0),
        ] {
            let mut fleet = Fleet::busy();
            fleet.0.warnings.insert("x".into(), Warning { what: "something".into(), fix: Some(fix.into()) });
            let page = drawn(&fleet.0, "/sync");
            says(&page, &[shown]);
            let before = drawn(&Fleet::busy().0, "/sync").matches("class=\"cmd\"").count();
            assert_eq!(page.matches("class=\"cmd\"").count(), before + commands, "{fix}");
        }
        let odd = Fleet::new().agent(beat(MINI, "-x y's", Reported::Idle, ""), AgentState::Idle);
        says(&drawn(&odd.0, "/sync/agents/-x%20y's"), &["hubless agents show -- &#39;-x y&#39;\\&#39;&#39;s&#39;"]);
    }

    #[test]
    fn stale_and_stuck_say_since_when() {
        let mut fleet = Fleet::new()
            .agent(beat(MINI, "evox", Reported::Working, "monitoring"), AgentState::Stale)
            .agent(beat(MINI, "dev", Reported::Working, "build"), AgentState::Stuck);
        fleet.0.strangers.insert("q7".into(), "192.168.1.9:4826".into());
        says(
            &drawn(&fleet.0, "/sync"),
            &[
                "2 agents stale",
                "no beat for 29s",
                "one was due every 60 s",
                "last: monitoring",
                "no progress",
                "Another hubless is in reach at 192.168.1.9:4826",
            ],
        );
    }

    #[test]
    fn a_script_gets_the_parts_that_it_has_not() {
        let (fleet, strips) = (Fleet::busy(), Strips::default());
        let parts = |view: &View, now: i64, have: &str| {
            let scene = Scene::new(view, &strips, now, None, ("/sync", ""));
            let page = page(&scene).expect("the first page");
            changed(&scene, page, have)
        };
        let mark = |html: &str| -> String {
            let marks = html.split("<section id=\"").skip(1).map(|part| {
                let id = part.split('"').next().expect("an id");
                let sum = part.split("data-mark=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a sum");
                format!("{id}.{sum}")
            });
            marks.collect::<Vec<_>>().join("~")
        };
        let all = parts(&fleet.0, NOW, "");
        let have = mark(&all);
        assert_eq!(have.split('~').count(), 11);
        assert_eq!(parts(&fleet.0, NOW, &have), "", "nothing changed");
        assert_eq!(parts(&fleet.0, NOW + 1_000, &have), "", "an age is no change");
        let more = Fleet(fleet.0.clone()).todo(todo("web", "fresh", Status::Pending));
        assert_eq!(mark(&parts(&more.0, NOW, &have)).replace(|c: char| c.is_ascii_hexdigit(), ""), mark_ids("projects~todos~lately"));
    }

    fn mark_ids(ids: &str) -> String {
        ids.split('~').map(|id| format!("{id}.")).collect::<Vec<_>>().join("~").replace(|c: char| c.is_ascii_hexdigit(), "")
    }

    #[test]
    fn a_long_list_is_shown_page_by_page_and_counted() {
        let mut fleet = Fleet::busy();
        for n in 0..250 {
            fleet = fleet.todo(todo("web", &format!("todo number {n:03}"), Status::Pending));
        }
        let rows = |path: &str| drawn(&fleet.0, path).matches("<tr data-key").count();
        assert_eq!(
            ["", "?page=2", "?page=3", "?page=99", "?page=x"].map(|page| rows(&format!("/sync/todos{page}"))),
            [100, 100, 53, 0, 100]
        );
        says(&drawn(&fleet.0, "/sync/todos?page=2"), &["101–200 of 253", "Previous", "Next"]);
    }

    quickcheck! {
        fn no_path_panics(path: String, query: String) -> bool {
            let (fleet, strips) = (Fleet::busy(), Strips::default());
            ["agents", "sessions", "todos", "projects", "devices"].iter().all(|kind| {
                let path = format!("/sync/{kind}/{path}");
                let scene = Scene::new(&fleet.0, &strips, i64::MAX, None, (&path, &query));
                page(&scene).map_or_else(|problem| problem.status >= 400, |page| !document(&scene, page).is_empty())
            })
        }
    }
}
