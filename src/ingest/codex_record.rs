//! What is looked at in a line of a Codex rollout: little of every line, more only where it is needed. A rollout holds
//! megabytes of what tools printed, none of which is built into anything.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::loose::{Content, Many, Maybe, Number, Text};
use super::salvage;

/// Events that are written, or were once, and say nothing that is needed here.
pub(super) const SILENT_EVENTS: &[&str] = &[
    "agent_reasoning",
    "agent_reasoning_raw_content",
    "agent_reasoning_section_break",
    "background_event",
    "collab_agent_interaction_begin",
    "collab_agent_interaction_end",
    "collab_agent_spawn_begin",
    "collab_agent_spawn_end",
    "collab_close_begin",
    "collab_close_end",
    "collab_resume_begin",
    "collab_resume_end",
    "collab_waiting_begin",
    "collab_waiting_end",
    "context_compacted",
    "deprecation_notice",
    "dynamic_tool_call_request",
    "dynamic_tool_call_response",
    "entered_review_mode",
    "exec_command_begin",
    "exec_command_end",
    "exited_review_mode",
    "guardian_assessment",
    "hook_completed",
    "hook_started",
    "image_generation_begin",
    "image_generation_end",
    "item_started",
    "mcp_startup_complete",
    "mcp_startup_update",
    "mcp_tool_call_begin",
    "mcp_tool_call_end",
    "model_reroute",
    "patch_apply_begin",
    "patch_apply_end",
    "plan_update",
    "raw_response_item",
    "session_configured",
    "shutdown_complete",
    "stream_error",
    "sub_agent_activity",
    "terminal_interaction",
    "thread_goal_updated",
    "thread_rolled_back",
    "thread_settings_applied",
    "turn_diff",
    "undo_completed",
    "undo_started",
    "view_image_tool_call",
    "warning",
    "web_search_begin",
    "web_search_end",
];

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) timestamp: Text<'a>,
    #[serde(borrow)]
    pub(super) r#type: Text<'a>,
    #[serde(borrow)]
    pub(super) record_type: Text<'a>,
    #[serde(borrow)]
    pub(super) payload: Maybe<Payload<'a>>,
}

/// What is looked at in every record.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) r#type: Text<'a>,
    #[serde(borrow)]
    pub(super) role: Text<'a>,
    #[serde(borrow)]
    pub(super) phase: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) call_id: Text<'a>,
    #[serde(borrow)]
    pub(super) cwd: Text<'a>,
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
    #[serde(borrow)]
    pub(super) thread_name: Text<'a>,
    #[serde(borrow)]
    pub(super) last_agent_message: Text<'a>,
    pub(super) error: Maybe<Nothing>,
    pub(super) info: Maybe<Info>,
    #[serde(borrow)]
    pub(super) item: Maybe<Item<'a>>,
}

/// An object, whatever is in it.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Info {
    pub(super) total_token_usage: Maybe<Usage>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) input_tokens: Number,
    pub(super) output_tokens: Number,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub(super) r#type: Text<'a>,
    #[serde(borrow)]
    pub(super) phase: Text<'a>,
}

/// What is looked at only where it is needed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Deep<'a> {
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
    #[serde(borrow)]
    pub(super) arguments: Text<'a>,
    pub(super) output: Value,
    #[serde(borrow)]
    pub(super) item: Maybe<DeepItem<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct DeepItem<'a> {
    #[serde(borrow)]
    pub(super) content: Content<'a>,
}

/// The first line of a rollout.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Text<'a>,
    #[serde(borrow)]
    pub(super) cwd: Text<'a>,
    #[serde(borrow)]
    pub(super) git: Maybe<Git<'a>>,
    pub(super) source: Value,
    #[serde(borrow)]
    pub(super) thread_source: Text<'a>,
    #[serde(borrow)]
    pub(super) forked_from_id: Text<'a>,
    #[serde(borrow)]
    pub(super) parent_thread_id: Text<'a>,
    #[serde(borrow)]
    pub(super) agent_nickname: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Git<'a> {
    #[serde(borrow)]
    pub(super) branch: Text<'a>,
    #[serde(borrow)]
    pub(super) repository_url: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Plan<'a> {
    #[serde(borrow)]
    pub(super) plan: Many<Step<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Step<'a> {
    #[serde(borrow)]
    pub(super) step: Text<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
}

/// The rollout of the TypeScript program that came first, one object, rewritten each time.
#[derive(Deserialize)]
pub(super) struct Old<'a> {
    #[serde(borrow)]
    pub(super) session: Meta<'a>,
    #[serde(default)]
    pub(super) items: Vec<Value>,
}

/// A record, and how to look at it again.
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it stands in an envelope, with its time.
    pub(super) is_enveloped: bool,
    pub(super) at: Option<i64>,
    pub(super) payload: Payload<'a>,
}

impl Record<'_> {
    /// The text in which to look [`again`](Record::again).
    pub(super) fn text(&self) -> Cow<'_, [u8]> {
        salvage::mended(self.bytes)
    }

    /// Reads what only few records are asked for.
    pub(super) fn again<'b, T: Deserialize<'b> + Default>(&self, text: &'b [u8]) -> T {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "T: Deserialize<'de>"))]
        struct Envelope<T> {
            payload: T,
        }
        if self.is_enveloped {
            serde_json::from_slice::<Envelope<T>>(text).map(|envelope| envelope.payload).unwrap_or_default()
        } else {
            serde_json::from_slice(text).unwrap_or_default()
        }
    }
}
