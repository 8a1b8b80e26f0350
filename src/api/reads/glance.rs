//! The shortest answer there is: how many agents are in which state, and whether the devices are in step. A prompt asks this
//! every time it is drawn, so it names nobody and costs the same whatever is kept.

use serde_json::json;

use super::devices;
use super::envelope::{Answer, iso_or_null};
use super::query::Query;
use super::{agents, find, todos};
use crate::api::problem::Problem;
use crate::model::view::{AgentState, DeviceView, View};

/// `GET /api/v3/glance`; with `device=` of the agents on one device alone.
pub(crate) fn glance(view: &View, query: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["device"]);
    let only = find::device_id(view, query.text("device"))?;
    let rows = agents::rows(view);
    let mut total = 0;
    let mut states = Vec::new();
    // What is over is not counted.
    for state in agents::STATES.into_iter().filter(|state| !matches!(state, AgentState::Done | AgentState::Failed)) {
        let count = rows.iter().filter(|row| row.lead.state == state && only.is_none_or(|only| row.device == only)).count();
        total += count;
        if count > 0 {
            states.push(json!({"state": state.word(), "symbol": state.symbol().to_string(), "count": count}));
        }
    }
    let others: Vec<&DeviceView> = devices::members(view).into_iter().filter(|device| device.id != view.me).collect();
    let reached: Vec<&DeviceView> = others.iter().copied().filter(|device| device.reachable).collect();
    let in_step = reached.iter().all(|device| device.link.as_ref().is_some_and(|link| link.level));
    let data = json!({
        "states": states,
        "conflicts": todos::open_conflicts(view),
        "others": others.len(),
        "reachable": reached.len(),
        "inStep": (!reached.is_empty()).then_some(in_step),
        "lastContact": iso_or_null(reached.iter().filter_map(|device| device.last_contact_here).min()),
    });
    Ok(Answer::counting(data, total, query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, NOW, beat};
    use crate::api::reads::answer;
    use crate::model::beat::Reported;
    use serde_json::Value;

    fn ask(fleet: &Fleet, query: &str) -> Value {
        answer(&fleet.0, NOW, "daemon", "/api/v3/glance", query).expect("an answer")["data"].clone()
    }

    #[test]
    fn it_counts_as_the_list_of_agents_does() {
        let fleet = Fleet::busy()
            .agent(beat(MBP, "one", Reported::Working, "x"), AgentState::Late)
            .agent(beat(MINI, "two", Reported::Done, "x"), AgentState::Done);
        let list = answer(&fleet.0, NOW, "daemon", "/api/v3/agents", "").expect("an answer");
        let rows = list["data"].as_array().expect("rows");
        let told = ask(&fleet, "");
        for state in told["states"].as_array().expect("states") {
            let count = rows.iter().filter(|row| row["state"] == state["state"]).count();
            assert_eq!(state["count"], json!(count), "{state}");
        }
        let text = told.to_string();
        assert!(!text.contains('✓') && text.contains('●'), "{told}");
        let here = ask(&fleet, "device=mbp-lena");
        assert!(here["states"].as_array().map(Vec::len) <= told["states"].as_array().map(Vec::len));
    }

    #[test]
    fn a_device_alone_is_neither_in_step_nor_out_of_it() {
        let alone = ask(&Fleet(View::of(MBP)), "");
        assert_eq!((&alone["inStep"], &alone["others"], &alone["states"]), (&Value::Null, &json!(0), &json!([])));
        let wrong = answer(&Fleet::busy().0, NOW, "daemon", "/api/v3/glance", "device=nobody");
        assert_eq!(wrong.map_err(|problem| problem.status), Err(404));
    }
}
