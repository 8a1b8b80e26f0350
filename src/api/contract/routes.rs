//! The routes of the API.

use super::terms::Answer::{Bare, Enveloped, Other};
use super::terms::Doors::{Both, Socket};
use super::terms::Kind::{Any, Is, List, Moment, Perhaps, Text, Whole, Word, Yes};
use super::terms::Method::{Get, Post};
use super::terms::{Answer, Kind, Parameter, Route};

const JSON: &str = "application/json";

const LIMIT: Parameter = ("limit", false, "at most so many rows; 0, or nothing, means all");
const CURSOR: Parameter = ("cursor", false, "go on behind the row of that `next`");
const DEVICE: Parameter = ("device", false, "only of that device: its name or id");
const PROJECT: Parameter = ("project", false, "only of that project: its key, or the last part of it");
const TAG: Parameter = ("tag", false, "only with that tag");
const SINCE: Parameter = ("since", false, "only what was active since: an age (`7d`), a date, or a time");
const NO_BODY: &[(&str, Kind, bool, &str)] = &[];

/// A route that both doors answer.
const fn read(path: &'static str, what: &'static str, query: &'static [Parameter], answer: Answer) -> Route {
    Route { method: Get, path, doors: Both, what, query, body: NO_BODY, status: 200, answer }
}

/// A route of the control socket that does something.
const fn write(path: &'static str, what: &'static str, body: &'static [(&'static str, Kind, bool, &'static str)], answer: Answer) -> Route {
    Route { method: Post, path, doors: Socket, what, query: &[], body, status: 200, answer }
}

/// All routes, in the order in which they are told.
pub(crate) const ROUTES: &[Route] = &[
    read("/api/v3/overview", "Does anyone wait, is anything wrong, is what is seen current?", &[], Enveloped(Is("Overview"))),
    read(
        "/api/v3/glance",
        "How many agents are in which state, and whether the devices are in step: for a prompt.",
        &[DEVICE],
        Enveloped(Is("Glance")),
    ),
    read(
        "/api/v3/devices",
        "The members of the fleet, this device first.",
        &[("all", false, "1: also those that were members"), LIMIT, CURSOR],
        Enveloped(List(&Is("Device"))),
    ),
    read("/api/v3/devices/{device}", "One device, by name or id.", &[], Enveloped(Is("Device"))),
    read(
        "/api/v3/agents",
        "Who works on what; who needs a person stands first.",
        &[DEVICE, ("state", false, "only in these states, with commas between"), ("agent", false, "only of that name"), LIMIT, CURSOR],
        Enveloped(List(&Is("Agent"))),
    ),
    read("/api/v3/agents/{name}", "One agent over all devices.", &[DEVICE], Enveloped(Is("AgentNow"))),
    read(
        "/api/v3/sessions",
        "Runs of tools, the latest first.",
        &[("tool", false, "only of that tool"), DEVICE, PROJECT, ("agent", false, "only of that agent"), TAG, SINCE, LIMIT, CURSOR],
        Enveloped(List(&Is("Session"))),
    ),
    read("/api/v3/sessions/{id}", "One session; the beginning of its id is enough.", &[], Enveloped(Is("Session"))),
    read(
        "/api/v3/todos",
        "Todos of all devices as one list.",
        &[
            PROJECT,
            ("status", false, "only of these, with commas between"),
            DEVICE,
            ("session", false, "only of that session"),
            TAG,
            ("listed", false, "0: only what no list names any more; 1: only what a list names"),
            ("all", false, "1: also what was deleted"),
            ("ready", false, "1: only what could be begun now, the urgent first; circles are named in `warnings`"),
            LIMIT,
            CURSOR,
        ],
        Enveloped(List(&Is("Todo"))),
    ),
    read("/api/v3/todos/stats", "How long todos took, by session and by agent.", &[PROJECT, SINCE], Enveloped(Is("Stats"))),
    read("/api/v3/todos/{id}", "One todo; the beginning of its id is enough.", &[], Enveloped(Is("Todo"))),
    read("/api/v3/todos/{id}/history", "What happened to a todo, oldest first.", &[LIMIT, CURSOR], Enveloped(List(&Is("Step")))),
    read(
        "/api/v3/conflicts",
        "Where devices disagreed; the same on every device, byte for byte.",
        &[("resolved", false, "0: only what waits for somebody"), ("todo", false, "only of that todo"), LIMIT, CURSOR],
        Enveloped(List(&Is("Conflict"))),
    ),
    read("/api/v3/projects", "Who works on which project, and what is left there.", &[PROJECT], Enveloped(Is("Coordination"))),
    read("/api/v3/sync", "How far apart the devices are.", &[DEVICE, LIMIT, CURSOR], Enveloped(List(&Is("SyncRow")))),
    read(
        "/api/v3/sync/list",
        "What is held of each collection, here and beside each other member.",
        &[DEVICE, LIMIT, CURSOR],
        Enveloped(List(&Is("Holding"))),
    ),
    read("/api/v3/sync/matrix", "Who misses what of whom, as far as this device can know.", &[], Enveloped(List(&Is("MatrixRow")))),
    read(
        "/api/v3/timeline",
        "Who worked when: sessions as spans of time.",
        &[
            ("from", false, "an age, a date, or a time; a day before `to` if it is not given"),
            ("to", false, "the same; now if it is not given"),
            DEVICE,
            LIMIT,
            CURSOR,
        ],
        Enveloped(List(&Is("Span"))),
    ),
    read("/api/v3/sources", "The directories that are read.", &[LIMIT, CURSOR], Enveloped(List(&Is("Source")))),
    read(
        "/api/v3/note",
        "What a session that begins should know: who else works on its project, what is left, what is in conflict. Null without a project.",
        &[("tool", true, "of the session"), ("session", true, "what the tool calls the session")],
        Enveloped(Perhaps(&Is("Note"))),
    ),
    read(
        "/api/v3/events",
        "Server-sent events: hello, tick, agent, device, session, todo, conflict, resync, bye. Each carries the whole object; `Last-Event-ID` goes on behind that one.",
        &[],
        Other("text/event-stream"),
    ),
    write(
        "/api/v3/todos",
        "Adds a todo; 200 when it is there already. The answer comes once it is on disk.",
        &[
            ("content", Text, true, ""),
            ("project", Text, false, "its key, or the last part of one that is known; several of that name are a 409"),
            ("priority", Text, false, "a word, or 0 to 4"),
            ("agent", Text, false, "who acts; a person if nobody is named"),
        ],
        Enveloped(Is("Todo")),
    ),
    write(
        "/api/v3/todos/{id}/{deed}",
        "start, done, reopen, edit, assign, delete, undo, resolve, tag, untag. claim and release do not exist yet and say so (501).",
        &[
            ("agent", Text, false, "who acts"),
            ("content", Text, false, "edit"),
            ("owner", Text, false, "edit, assign"),
            ("priority", Text, false, "edit"),
            ("keep", Word(&["local", "remote", "both"]), false, "resolve"),
            ("text", Text, false, "resolve: neither, but this"),
            ("tags", List(&Text), false, "tag, untag"),
        ],
        Enveloped(Is("Todo")),
    ),
    write(
        "/api/v3/sessions/{id}/{deed}",
        "tag, untag: what is given or taken by hand, on all devices.",
        &[("agent", Text, false, "who acts"), ("tags", List(&Text), true, "")],
        Enveloped(Is("Session")),
    ),
    write(
        "/api/v3/beats",
        "An agent reports.",
        &[
            ("agent", Text, true, ""),
            ("task", Text, false, ""),
            ("file", Text, false, ""),
            ("state", Word(&["working", "waiting", "idle", "done", "failed"]), false, ""),
            ("note", Text, false, ""),
            ("session", Text, false, "what the tool calls its session"),
            ("tool", Text, false, ""),
            ("pid", Whole, false, "the agent's end is seen when that process ends"),
            ("intervalS", Whole, false, "how often it will report"),
            ("cwd", Text, false, ""),
            ("metadata", Any, false, "an object that comes back as it was given"),
            ("at", Moment, false, "when it was, for what was kept meanwhile"),
            ("source", Word(&["cli", "hook", "api"]), false, ""),
        ],
        Enveloped(Is("Beaten")),
    ),
    write(
        "/api/v3/pair",
        "Without a ticket it opens a window for another device; with a ticket or a code it joins.",
        &[
            ("ticket", Text, false, "a ticket or a code of another device"),
            ("by", Word(&["ticket", "code"]), false, "what is made"),
            ("addr", Text, false, "where the other device is: host:port"),
            ("stay", Yes, false, "close the window when nobody waits at it"),
        ],
        Enveloped(Any),
    ),
    write(
        "/api/v3/pair/{window}/wait",
        "Answers when somebody came to a window, or tried to.",
        &[("wrong", Whole, false, "wrong codes that are known already"), ("relayed", Whole, false, "")],
        Enveloped(Any),
    ),
    write("/api/v3/pair/{window}/close", "Closes a window.", NO_BODY, Enveloped(Any)),
    write("/api/v3/leave", "Leaves the fleet and keeps what is here.", NO_BODY, Enveloped(Any)),
    write("/api/v3/devices/{device}/ping", "Measures the way to a device.", NO_BODY, Enveloped(Any)),
    write(
        "/api/v3/devices/{device}/revoke",
        "Shuts a device out for ever.",
        &[("forgetData", Yes, false, "show no more of its sessions and agents")],
        Enveloped(Any),
    ),
    write("/api/v3/devices/{device}/rename", "Calls a device otherwise, on all devices.", &[("name", Text, true, "")], Enveloped(Any)),
    write(
        "/api/v3/sync/run",
        "Documents are exchanged now, whatever is paused or scheduled, until both hold the same.",
        &[("device", Text, false, "with that one alone"), ("dryRun", Yes, false, "only say what would be exchanged")],
        Enveloped(Any),
    ),
    write(
        "/api/v3/sync/verify",
        "Every document is compared with each device in reach, and every file is read back from disk.",
        &[("device", Text, false, "with that one alone"), ("repair", Yes, false, "set damaged files aside and write them anew")],
        Enveloped(Any),
    ),
    write(
        "/api/v3/sync/pause",
        "No documents are exchanged until resume.",
        &[("device", Text, false, "with that one; else with all")],
        Enveloped(Is("Rests")),
    ),
    write(
        "/api/v3/sync/resume",
        "Documents are exchanged again.",
        &[("device", Text, false, "with that one; else with all")],
        Enveloped(Is("Rests")),
    ),
    Route { status: 202, ..write("/api/v3/rescan", "Lists all sources anew.", NO_BODY, Enveloped(Any)) },
    write("/api/v3/sources/{source}/{deed}", "pause or resume: a tool or one source rests, or goes on.", NO_BODY, Enveloped(Any)),
    Route { doors: Socket, ..read("/api/v3/export", "Everything in one automerge document.", &[], Other("application/octet-stream")) },
    read("/v2/syncOverview", "EVOX device sync: all devices and agents.", &[], Bare(Is("V2Overview"))),
    read("/v2/deviceSessions", "EVOX device sync: the agents of a device.", &[("device", true, "its name")], Bare(Is("V2DeviceSessions"))),
    read("/v2/agentSessions", "EVOX device sync: an agent on all devices.", &[("agent", true, "its name")], Bare(Is("V2AgentSessions"))),
    write(
        "/v2/sessionState",
        "EVOX device sync: an agent reports. Another member's name as `device` is a 409.",
        &[
            ("device", Text, true, ""),
            ("agent", Text, true, ""),
            ("status", Text, true, ""),
            ("currentTask", Text, false, ""),
            ("currentFile", Text, false, ""),
            ("notes", Text, false, ""),
            ("metadata", Any, false, ""),
        ],
        Bare(Is("Said")),
    ),
    read("/api/v1/sync/status", "pi-brain: its spokes.", &[], Bare(Is("Spokes"))),
    write(
        "/api/v1/sync/sessions",
        "pi-brain: records of sessions, `{sessions: [...]}` or the list itself; answered after they are on disk. `remote` names a record's project wherever it ran.",
        &[("sessions", List(&Any), true, "")],
        Bare(Is("SessionsTaken")),
    ),
    read("/api/agent-webhook", "Mission Control: that it is there.", &[], Bare(Is("WebhookInfo"))),
    write(
        "/api/agent-webhook",
        "Mission Control: a run begins, goes on, is done or failed. The same key is the same session. 201 for a new one.",
        &[
            ("action", Word(&["spawn", "progress", "complete", "error"]), true, ""),
            ("sessionKey", Text, true, ""),
            ("agentName", Text, false, "needed by spawn"),
            ("task", Text, false, "needed by spawn"),
            ("file", Text, false, ""),
            ("note", Text, false, ""),
            ("result", Text, false, "complete"),
            ("error", Text, false, "error"),
        ],
        Bare(Is("RunTaken")),
    ),
    read("/api/mission-control/status", "Mission Control: all agents.", &[], Bare(Is("MissionControl"))),
    read("/api/status", "ChittySync: what is stored, counted.", &[], Bare(Is("HubStatus"))),
    read("/api/project", "ChittySync: all projects.", &[], Bare(Is("Coordination"))),
    read("/api/project/{name}", "ChittySync: one project, by its key or the last part of it.", &[], Bare(Is("Project"))),
    read("/api/session", "ChittySync: all sessions, the latest first.", &[], Bare(Is("HubSessionList"))),
    read("/api/session/{id}", "ChittySync: one session.", &[], Bare(Any)),
    read("/api/topic", "ChittySync: topics, which are tags.", &[], Bare(Is("Topics"))),
    read("/api/topic/{name}", "ChittySync: one topic.", &[], Bare(Is("Topic"))),
    write(
        "/api/todos/sync",
        "ChittySync: a list of todos, `{todos: [...], sessionId?}` or the list itself; 207 when a row was refused.",
        &[("todos", List(&Any), true, "{content, status, activeForm}"), ("sessionId", Text, false, "")],
        Bare(Is("ListTaken")),
    ),
    write("/api/orchestrate", "Not there yet (501); nothing is taken.", NO_BODY, Bare(Any)),
    write("/api/session", "Not there yet (501); nothing is taken.", NO_BODY, Bare(Any)),
    read("/healthz", "That it lives.", &[], Bare(Is("Health"))),
    read(
        "/readyz",
        "Whether the replica is open and both doors listen; all else is a warning.",
        &[("verbose", false, "one line for each check")],
        Other("text/plain"),
    ),
    read("/version", "The version, and that of the answers.", &[], Bare(Is("Version"))),
    read("/metrics", "For Prometheus, in the text format of OpenMetrics.", &[], Other("application/openmetrics-text")),
    read("/openapi.json", "This description.", &[], Other(JSON)),
    read("/", "Goes to the page.", &[], Other("text/html")),
    read("/sync", "The page.", &[], Other("text/html")),
    read("/sync/{rest}", "The page's parts: devices, agents, sessions, todos, projects.", &[], Other("text/html")),
    read("/assets/{name}", "What the page needs.", &[], Other("text/css")),
];
