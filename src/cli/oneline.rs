//! `status --oneline`: a few signs for a prompt, `1◐ 1✕ 1● 1○ 1? 1! ⇅6s`. A prompt waits for nothing and shows no errors: one
//! small question, and the one word `down` when nobody answers it.

use serde_json::Value;

use super::ages;
use super::context::{Context, block_on, target};
use super::fields;
use super::output::print;
use super::problem::{CHECK_SAYS_NO, Trouble};
use crate::api::client;
use crate::model::reply::Code;

/// What is shown when no daemon runs.
const DOWN: &str = "down\n";

/// Asks and prints; returns the exit code.
pub(crate) fn run(context: &Context, device: Option<String>, check: bool) -> anyhow::Result<u8> {
    let target = target("/api/v3/glance", &[("device", device)]);
    if context.out.is_data() {
        let envelope = context.ask_quietly(&target)?;
        context.out.show(&envelope, |_| String::new())?;
        return Ok(code(&envelope["data"], check));
    }
    match block_on(context.client().get(&target))? {
        Ok(envelope) => {
            print(&format!("{}\n", drawn(&envelope["data"], context.now_ms)))?;
            Ok(code(&envelope["data"], check))
        }
        Err(client::Error::Down { .. }) => print(DOWN).map(|()| Code::DaemonDown.exit()),
        Err(other) => Err(Trouble::from(other).into()),
    }
}

fn code(data: &Value, check: bool) -> u8 {
    let is_wrong = |state: &Value| matches!(fields::text(state, "state").as_deref(), Some("stale" | "stuck?"));
    let wrong = fields::count(data, "conflicts") > 0 || fields::list(data, "states").iter().any(is_wrong);
    if check && wrong { CHECK_SAYS_NO } else { 0 }
}

/// Agents by their signs, conflicts as `!`, and how the other devices are: `⇅6s` in step, `⇅…` not yet, `⇅✕` none in reach.
fn drawn(data: &Value, now_ms: i64) -> String {
    let mut parts: Vec<(String, u64)> = Vec::new();
    for state in fields::list(data, "states") {
        let (symbol, count) = (fields::or_dash(state, "symbol"), fields::count(state, "count"));
        match parts.iter_mut().find(|(known, _)| *known == symbol) {
            Some((_, sum)) => *sum += count,
            None => parts.push((symbol, count)),
        }
    }
    let mut parts: Vec<String> = parts.into_iter().map(|(symbol, count)| format!("{count}{symbol}")).collect();
    if parts.is_empty() {
        parts.push("0●".to_owned());
    }
    let conflicts = fields::count(data, "conflicts");
    if conflicts > 0 {
        parts.push(format!("{conflicts}!"));
    }
    if fields::count(data, "others") > 0 {
        let age = fields::time(data, "lastContact").map(|at| ages::since(now_ms, at).replace(' ', ""));
        parts.push(match (data["inStep"].as_bool(), age) {
            (Some(true), age) => format!("⇅{}", age.unwrap_or_default()),
            (Some(false), _) => "⇅…".to_owned(),
            (None, _) => "⇅✕".to_owned(),
        });
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_gets_signs_and_numbers() {
        let state = |state: &str, symbol: &str, count: u64| json!({"state": state, "symbol": symbol, "count": count});
        let states = [
            state("needs input", "◐", 1),
            state("stale", "✕", 1),
            state("stuck?", "●", 1),
            state("working", "●", 2),
            state("idle", "○", 1),
            state("unknown", "?", 1),
        ];
        let told = |in_step: Value, conflicts: u64| {
            json!({"states": states, "conflicts": conflicts, "others": 2, "reachable": 1, "inStep": in_step,
                   "lastContact": ages::exact(4_000)})
        };
        assert_eq!(drawn(&told(json!(true), 0), 10_000), "1◐ 1✕ 3● 1○ 1? ⇅6s");
        assert_eq!(drawn(&told(json!(false), 2), 10_000), "1◐ 1✕ 3● 1○ 1? 2! ⇅…");
        assert!(drawn(&told(Value::Null, 0), 10_000).ends_with(" ⇅✕"));
        assert_eq!(drawn(&json!({"states": [], "others": 0}), 0), "0●", "alone, and nobody works");
    }

    #[test]
    fn the_check_minds_what_is_stale_or_in_conflict() {
        let data = |state: &str, conflicts: u64| json!({"states": [{"state": state, "symbol": "x", "count": 1}], "conflicts": conflicts});
        assert_eq!((code(&data("working", 0), true), code(&data("stale", 0), true), code(&data("working", 1), true)), (0, 7, 7));
        assert_eq!(code(&data("stale", 1), false), 0);
    }
}
