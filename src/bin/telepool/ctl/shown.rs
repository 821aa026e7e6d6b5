//! Answers of the API as plain text.

use serde_json::Value;

use crate::logs::escaped;
use crate::table::Table;

/// A value as it stands in a cell; nothing where there is none.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A time in seconds, in the unit that suits it.
pub(crate) fn seconds_of(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return String::new() };
    // To what is shown, before it is split: else a minute may have sixty seconds.
    let ms = (seconds.max(0.0) * 1000.0).round();
    let (tenths, whole) = ((ms / 100.0).round(), (ms / 1000.0).round());
    match ms {
        0.0 => "0".to_owned(),
        ms if ms < 1000.0 => format!("{ms}ms"),
        _ if tenths < 600.0 => format!("{:.1}s", tenths / 10.0),
        _ if whole < 3600.0 => format!("{}m{:02}s", (whole / 60.0).floor(), whole % 60.0),
        _ => format!("{}h{:02}m", (whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor()),
    }
}

/// Milliseconds since 1970 as time of day in UTC.
pub(super) fn time_of(value: &Value) -> String {
    let Some(ms) = value.as_u64() else { return String::new() };
    let seconds = ms / 1000 % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, ms % 1000)
}

/// The objects of a list.
pub(crate) fn rows(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn accounts_table(accounts: &[Value]) -> String {
    let head = [
        "account",
        "group",
        "state",
        "reason",
        "#active",
        "#idle",
        "#connecting",
        "#max",
        "#leases",
        "#waiting",
        "#oldest wait",
        "#errors",
        "#last used",
    ];
    let mut table = Table::new(&head);
    for it in accounts {
        let connections = &it["connections"];
        table.push([
            text_of(&it["id"]),
            text_of(&it["group"]),
            text_of(&it["state"]),
            text_of(&it["reason"]),
            text_of(&connections["active"]),
            text_of(&connections["idle"]),
            text_of(&connections["connecting"]),
            text_of(&it["connections_max"]),
            text_of(&it["leases"]),
            text_of(&it["waiting"]),
            seconds_of(&it["oldest_wait_s"]),
            text_of(&it["errors"]),
            seconds_of(&it["last_used_s"]),
        ]);
    }
    table.to_string()
}

pub(super) fn connections_table(connections: &[Value], with_account: bool) -> String {
    let head = [
        "account",
        "#id",
        "#slot",
        "#dc",
        "state",
        "#age",
        "#last used",
        "#uses",
        "#leases",
        "#errors",
        "last error",
    ];
    let mut table = Table::new(&head[usize::from(!with_account)..]);
    for it in connections {
        let account = with_account.then(|| text_of(&it["account"]));
        table.push(account.into_iter().chain([
            text_of(&it["id"]),
            text_of(&it["slot"]),
            text_of(&it["data_centre"]),
            text_of(&it["state"]),
            seconds_of(&it["age_s"]),
            seconds_of(&it["last_used_s"]),
            text_of(&it["uses"]),
            text_of(&it["leases"]),
            text_of(&it["errors"]),
            text_of(&it["last_error"]),
        ]));
    }
    table.to_string()
}

/// One event in a line. Who did it stands in its text.
pub(crate) fn event_line(event: &Value) -> String {
    let name =
        ["name", "account"].iter().map(|key| text_of(&event[*key])).find(|it| !it.is_empty());
    let line = format!(
        "{} {:5} {} {}",
        time_of(&event["at"]),
        text_of(&event["level"]),
        name.unwrap_or_else(|| "-".to_owned()),
        text_of(&event["text"]),
    );
    format!("{}\n", escaped(&line))
}

pub(super) fn settings_table(settings: &Value) -> String {
    let mut table = Table::new(&["setting", "value", "default", "origin", "applies"]);
    for it in rows(settings) {
        let keys = ["key", "value", "default", "origin", "applies"];
        table.push(keys.map(|key| text_of(&it[key])));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        for (seconds, shown) in [
            (0.0, "0"),
            (-1.0, "0"),
            (0.0004, "0"),
            (0.25, "250ms"),
            (0.9994, "999ms"),
            (0.9996, "1.0s"),
            (12.34, "12.3s"),
            (59.94, "59.9s"),
            (59.96, "1m00s"),
            (61.0, "1m01s"),
            (119.6, "2m00s"),
            (3599.0, "59m59s"),
            (3599.6, "1h00m"),
            (7380.0, "2h03m"),
        ] {
            assert_eq!(seconds_of(&Value::from(seconds)), shown);
        }
        assert_eq!(seconds_of(&Value::Null), "");
        assert_eq!(time_of(&Value::from(1_798_117_230_042_u64)), "13:00:30.042");
    }

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        let event = serde_json::json!({
            "at": 0, "level": "warn", "account": "bot:1", "name": null, "text": "a\nb\u{1b}[31m by uid 7",
        });
        assert_eq!(event_line(&event), "00:00:00.000 warn  bot:1 a\\nb\\u{1b}[31m by uid 7\n");
    }
}
