//! Who misses what of whom: device × device, as far as this device can know.
//!
//! A device knows its own links and nothing of those between others. Two that both hold what we hold are level with each other;
//! everything else is `null`, never 0.

use serde_json::{Value, json};

use super::devices;
use super::envelope::Answer;
use super::query::Query;
use crate::model::view::{DeviceView, View};

/// How many changes `row` misses that `column` has; `None` when that cannot be known here.
pub(crate) fn misses(view: &View, row: &DeviceView, column: &DeviceView) -> Option<u64> {
    if row.id == column.id {
        return Some(0);
    }
    if row.id == view.me {
        return column.we_miss;
    }
    if column.id == view.me {
        return row.they_miss;
    }
    (is_level(row) && is_level(column)).then_some(0)
}

/// Whether a device holds what we hold, and we what it holds.
pub(crate) fn is_level(device: &DeviceView) -> bool {
    device.they_miss == Some(0) && device.we_miss == Some(0)
}

/// `GET /api/v3/sync/matrix`.
pub(crate) fn matrix(view: &View, query: &str) -> Answer {
    let members = devices::members(view);
    let cell = |row: &DeviceView, column: &DeviceView| json!({"device": column.id, "misses": misses(view, row, column)});
    let row = |row: &&DeviceView| -> Value {
        let cells: Vec<Value> = members.iter().filter(|column| column.id != row.id).map(|column| cell(row, column)).collect();
        json!({"device": row.id, "deviceName": row.name.json(), "from": cells})
    };
    let rows: Vec<Value> = members.iter().map(row).collect();
    let total = rows.len();
    Answer::counting(Value::from(rows), total, Query::parse(query, &[]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::fixture::{Fleet, MBP, MINI, device};
    use crate::model::id::DeviceId;

    #[test]
    fn what_is_between_others_is_known_only_when_both_are_level_with_us() {
        let third = DeviceId([3; 32]);
        let mut fleet = Fleet::new();
        fleet.0.devices.insert(third, Arc::new(DeviceView { they_miss: Some(14), ..device(third, "thinkpad") }));
        let at = |view: &View, row: DeviceId, column: DeviceId| misses(view, &view.devices[&row], &view.devices[&column]);
        let seen = [(MBP, MINI), (MINI, MBP), (MBP, third), (third, MBP), (MINI, third), (third, third)];
        assert_eq!(seen.map(|(row, column)| at(&fleet.0, row, column)), [Some(0), Some(0), None, Some(14), None, Some(0)]);
        fleet.0.devices.insert(third, Arc::new(DeviceView { they_miss: Some(0), we_miss: Some(0), ..device(third, "thinkpad") }));
        assert_eq!(at(&fleet.0, MINI, third), Some(0));
        let told = matrix(&fleet.0, "").wrapped(&fleet.0, 0, "daemon").value();
        assert_eq!((&told["total"], told["data"][0]["from"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    }
}
