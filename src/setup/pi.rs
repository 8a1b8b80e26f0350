//! pi has no list of hooks but extensions: one file, wholly ours, that hands each event to the same `hubless hook`.

/// How every extension of ours begins, whatever its version.
const MARK: &str = "// hubless: ";

/// The extension: plain JavaScript, which is TypeScript too. It imports nothing of pi, whose package has changed its name before; it
/// never throws and never waits long.
const EXTENSION: &str = r#"// hubless: reports pi's sessions to hubless on this machine, and shows it who else works on the project.
// Made by `hubless hooks install pi`; `hubless hooks uninstall pi` takes it away. What is changed here is lost.
import { spawn } from "node:child_process";

const PROGRAM = @PROGRAM@;
const HOME = @HOME@;
const WAIT_MS = 500;

function report(ctx, event, more = {}) {
  return new Promise((done) => {
    let said = "";
    try {
      const env = HOME === null ? process.env : { ...process.env, HUBLESS_HOME: HOME };
      const child = spawn(PROGRAM, ["hook", "pi"], { env, stdio: ["pipe", "pipe", "ignore"] });
      const enough = setTimeout(() => done(""), WAIT_MS);
      enough.unref();
      child.on("error", () => done(""));
      child.on("close", () => done(said));
      child.stdout.on("data", (bytes) => (said += bytes));
      child.stdin.on("error", () => {});
      const session = ctx.sessionManager.getSessionId();
      child.stdin.end(JSON.stringify({ hook_event_name: event, session_id: session, cwd: ctx.cwd, ...more }));
    } catch {
      done("");
    }
  });
}

export default function (pi) {
  const files = new Map();
  pi.on("session_start", async (event, ctx) => {
    const note = await report(ctx, "SessionStart", { source: event?.reason ?? "startup" });
    return note ? { systemPromptAppend: note } : undefined;
  });
  pi.on("before_agent_start", (event, ctx) => void report(ctx, "UserPromptSubmit", { prompt: event?.prompt }));
  pi.on("agent_start", (_event, ctx) => void report(ctx, "UserPromptSubmit"));
  pi.on("tool_execution_start", (event) => void files.set(event?.toolCallId, event?.args?.path));
  pi.on("tool_execution_end", (event, ctx) => {
    const file_path = files.get(event?.toolCallId);
    files.delete(event?.toolCallId);
    void report(ctx, "PostToolUse", { tool_name: event?.toolName, tool_input: { file_path } });
  });
  pi.on("agent_end", (_event, ctx) => void report(ctx, "Stop"));
  pi.on("session_shutdown", async (_event, ctx) => void (await report(ctx, "SessionEnd")));
}
"#;

/// The events that the extension listens to.
pub(super) const EVENTS: [&str; 6] =
    ["session_start", "before_agent_start", "agent_start", "tool_execution_end", "agent_end", "session_shutdown"];

/// The extension that runs this program.
pub(super) fn extension(program: &str, home: Option<&str>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let home = home.map_or_else(|| "null".to_owned(), text);
    EXTENSION.replacen("@PROGRAM@", &text(program), 1).replacen("@HOME@", &home, 1)
}

/// Whether a file is an extension of ours.
pub(super) fn is_ours(extension: &str) -> bool {
    extension.starts_with(MARK)
}

/// Where it lies below pi's directory.
pub(super) const PLACE: &str = "extensions/hubless.ts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_marked_and_names_the_program_as_javascript_reads_it() {
        let text = extension("/a \"b\"/hubless", Some("/h@PROGRAM@"));
        assert!(is_ours(&text) && !is_ours("// mine\n// hubless: "));
        assert!(text.contains(r#"const PROGRAM = "/a \"b\"/hubless";"#) && text.contains("const HOME = \"/h@PROGRAM@\";"), "{text}");
        assert!(extension("/x", None).contains("const HOME = null;"));
        for event in EVENTS {
            assert!(text.contains(&format!("pi.on(\"{event}\"")), "{event}");
        }
    }
}
