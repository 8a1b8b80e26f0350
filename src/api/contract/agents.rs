//! The objects of `/api/v3` that tell of agents, and what they themselves are told.

use super::shapes::{STATE, STATUS};
use super::terms::Kind;
use super::terms::Kind::{Any, Is, List, Perhaps, Text, Time, Whole, Word, Yes};
use super::terms::Shape;

/// What an agent can say that it does.
const REPORTED: Kind = Word(&["working", "waiting", "idle", "done", "failed"]);

/// All of them.
pub(super) const AGENTS: &[Shape] = &[
    Shape {
        name: "Agent",
        what: "An agent on a device. What it says is what its leading session says: one that waits for a person, else the one heard of last.",
        fields: &[
            ("agent", Text, "its name, as agents.toml of its device has it"),
            ("calledByTool", Perhaps(&Text), "what its tool calls it, where that is another name"),
            ("role", Perhaps(&Text), "as agents.toml of its device says"),
            ("device", Text, ""),
            ("deviceName", Text, ""),
            ("reachable", Yes, "whether its device can be reached"),
            ("state", STATE, "as it is judged now"),
            ("symbol", Text, "the state as one sign"),
            ("reported", REPORTED, "what it said last"),
            ("task", Perhaps(&Text), ""),
            ("file", Perhaps(&Text), ""),
            ("note", Perhaps(&Text), ""),
            ("intervalS", Whole, "how often it means to be heard, seconds"),
            ("lastBeat", Time, "by its own clock"),
            ("beatReceived", Perhaps(&Time), "by our clock"),
            ("progressAt", Perhaps(&Time), ""),
            ("since", Time, "when this state began"),
            ("pid", Perhaps(&Whole), ""),
            ("source", Text, "how it is known: cli, hook, api, file"),
            ("claimedDevice", Perhaps(&Text), "another device's name that a report gave"),
            ("metadata", Any, "as it was given"),
            ("sessions", List(&Is("AgentSession")), ""),
        ],
    },
    Shape {
        name: "AgentSession",
        what: "What an agent says in one of its sessions.",
        fields: &[
            ("session", Text, ""),
            ("calledByTool", Perhaps(&Text), ""),
            ("role", Perhaps(&Text), ""),
            ("device", Text, ""),
            ("deviceName", Text, ""),
            ("tool", Perhaps(&Text), ""),
            ("project", Perhaps(&Text), ""),
            ("state", STATE, ""),
            ("symbol", Text, ""),
            ("reported", REPORTED, ""),
            ("task", Perhaps(&Text), ""),
            ("file", Perhaps(&Text), ""),
            ("note", Perhaps(&Text), ""),
            ("intervalS", Whole, ""),
            ("lastBeat", Time, ""),
            ("beatReceived", Perhaps(&Time), ""),
            ("progressAt", Perhaps(&Time), ""),
            ("since", Time, ""),
            ("pid", Perhaps(&Whole), ""),
            ("source", Text, ""),
            ("claimedDevice", Perhaps(&Text), ""),
            ("metadata", Any, ""),
        ],
    },
    Shape {
        name: "AgentNow",
        what: "One agent over all devices. There is always an answer: of one that nobody heard of, that it is not active.",
        fields: &[
            ("agent", Text, ""),
            ("role", Perhaps(&Text), ""),
            ("is_active", Yes, ""),
            ("current_task", Perhaps(&Text), ""),
            ("started_at", Perhaps(&Time), ""),
            ("duration_seconds", Perhaps(&Whole), ""),
            ("state", Perhaps(&STATE), ""),
            ("device", Perhaps(&Text), "where it is most active"),
            ("deviceName", Perhaps(&Text), ""),
            ("sessions", List(&Is("AgentSession")), ""),
        ],
    },
    Shape {
        name: "Glance",
        what: "",
        fields: &[
            ("states", List(&Is("StateCount")), "in the order in which they need a person; what is over is not counted"),
            ("conflicts", Whole, ""),
            ("others", Whole, "other devices of the fleet"),
            ("reachable", Whole, "of them"),
            ("inStep", Perhaps(&Yes), "null when none can be reached"),
            ("lastContact", Perhaps(&Time), "with the one that was heard the longest ago"),
        ],
    },
    Shape { name: "StateCount", what: "", fields: &[("state", STATE, ""), ("symbol", Text, ""), ("count", Whole, "")] },
    Shape {
        name: "Note",
        what: "What a session that begins should know.",
        fields: &[
            ("project", Text, ""),
            ("agents", List(&Is("NoteAgent")), ""),
            ("agentsTotal", Whole, ""),
            ("todos", List(&Is("NoteTodo")), ""),
            ("todosTotal", Whole, ""),
            ("conflicts", Whole, ""),
        ],
    },
    Shape {
        name: "NoteAgent",
        what: "",
        fields: &[
            ("agent", Text, ""),
            ("role", Perhaps(&Text), ""),
            ("device", Text, ""),
            ("deviceName", Text, ""),
            ("state", STATE, ""),
            ("task", Perhaps(&Text), ""),
            ("file", Perhaps(&Text), ""),
            ("branch", Perhaps(&Text), ""),
            ("lastBeat", Time, ""),
        ],
    },
    Shape {
        name: "NoteTodo",
        what: "",
        fields: &[("id", Text, ""), ("shortId", Text, ""), ("content", Text, ""), ("status", STATUS, ""), ("owner", Perhaps(&Text), "")],
    },
];
