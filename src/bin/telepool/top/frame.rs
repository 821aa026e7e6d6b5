//! One frame of `top`: tiles, alerts, accounts and events, in whatever room there is.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use serde_json::Value;

use super::data::Data;
use super::view::View;
use crate::ctl::shown::{event_line, rows, seconds_of, text_of};
use crate::logs::escaped;

/// The columns that one tile has.
const TILE: u16 = 20;
/// How many alerts are shown.
const ALERTS_MAX: usize = 3;
/// How many events are shown where there is room.
const EVENTS_MAX: u16 = 8;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const HEAD: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) fn draw(frame: &mut Frame<'_>, view: &View, data: &Data) {
    let area = frame.area();
    let tiles = tiles(&data.snapshot, area.width);
    let alerts = alerts(&data.snapshot);
    let fixed = 2 + lines_of(tiles.len()) + lines_of(alerts.len());
    // Half of what is left, at most.
    let events = EVENTS_MAX.min(area.height.saturating_sub(fixed) / 2);
    let [head, tile_area, alert_area, account_area, event_area, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lines_of(tiles.len())),
        Constraint::Length(lines_of(alerts.len())),
        Constraint::Min(0),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head_line(data)), head);
    frame.render_widget(Paragraph::new(tiles), tile_area);
    frame.render_widget(Paragraph::new(alerts), alert_area);
    draw_accounts(frame, account_area, view, data);
    draw_events(frame, event_area, &data.events);
    frame.render_widget(Paragraph::new(foot_line(view)), foot);
}

fn lines_of(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn head_line(data: &Data) -> Line<'static> {
    let snapshot = &data.snapshot;
    if let Some(problem) = &data.problem {
        return Line::styled(escaped(problem).into_owned(), Style::new().fg(Color::Red));
    }
    let up = snapshot["at"].as_f64().zip(snapshot["started_at"].as_f64());
    let up = up.map(|(at, since)| Value::from((at - since) / 1000.0)).unwrap_or_default();
    Line::from(vec![
        Span::styled(format!("telepool {}", text_of(&snapshot["version"])), BOLD),
        Span::raw(format!("  up {}  ", seconds_of(&up))),
        Span::raw(escaped(&text_of(&snapshot["readiness"]["text"])).into_owned()),
    ])
}

/// A number with so many digits as tell something.
fn rate_of(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// The sum of the numbers of an object.
fn sum_of(counts: &Value) -> u64 {
    counts.as_object().map(|it| it.values().filter_map(Value::as_u64).sum()).unwrap_or_default()
}

/// The tiles, as many in a line as there is room for.
fn tiles(snapshot: &Value, width: u16) -> Vec<Line<'static>> {
    let (totals, rates) = (&snapshot["totals"], &snapshot["rates"]);
    let connections = &totals["connections"];
    let max = text_of(&totals["connections_max"]);
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let tiles = [
        ("active", format!("{}/{max}", text_of(&connections["active"]))),
        ("idle", text_of(&connections["idle"])),
        ("connecting", text_of(&connections["connecting"])),
        ("leases", text_of(&totals["leases"])),
        ("waiting", text_of(&totals["waiting"])),
        ("oldest wait", or_dash(seconds_of(&totals["oldest_wait_s"]))),
        ("acquires/s", rate_of(&rates["acquires"])),
        ("failed/s", rate_of(&rates["acquires_failed"])),
        ("calls/s", rate_of(&rates["calls"])),
        ("calls failed/s", rate_of(&rates["calls_failed"])),
        ("floods", sum_of(&totals["floods"]).to_string()),
        ("quarantined", text_of(&totals["accounts"]["quarantined"])),
        ("wait p99", or_dash(seconds_of(&rates["wait_p99_s"]))),
        ("call p99", or_dash(seconds_of(&rates["call_p99_s"]))),
    ];
    let in_line = usize::from((width / TILE).max(1));
    let width = usize::from(TILE);
    let shown = tiles.map(|(name, value)| {
        let room = width.saturating_sub(name.len() + 3);
        let value = or_dash(value);
        vec![
            Span::styled(format!("{name} "), DIM),
            Span::styled(format!("{value:<room$}"), BOLD),
            Span::raw("  "),
        ]
    });
    shown.chunks(in_line).map(|line| Line::from(line.concat())).collect()
}

fn alerts(snapshot: &Value) -> Vec<Line<'static>> {
    let shown = rows(&snapshot["alerts"]).iter().take(ALERTS_MAX);
    shown
        .map(|alert| {
            let severity = text_of(&alert["severity"]);
            let colour = match severity.as_str() {
                "page" => Color::Red,
                "warn" => Color::Yellow,
                _ => Color::Cyan,
            };
            let text = format!("{}: {}", text_of(&alert["text"]), text_of(&alert["remedy"]));
            Line::from(vec![
                Span::styled(format!("{severity:4} "), Style::new().fg(colour)),
                Span::raw(escaped(&text).into_owned()),
            ])
        })
        .collect()
}

/// A column: its name, its width, the room that the frame must have for it, and its text.
type Column = (&'static str, u16, u16, fn(&Value) -> String);

const COLUMNS: [Column; 11] = [
    ("account", 16, 0, |it| text_of(&it["name"])),
    ("state", 11, 0, |it| text_of(&it["state"])),
    ("act", 4, 0, |it| text_of(&it["connections"]["active"])),
    ("idle", 4, 40, |it| text_of(&it["connections"]["idle"])),
    ("leases", 6, 48, |it| text_of(&it["leases"])),
    ("wait", 5, 55, |it| text_of(&it["waiting"])),
    ("oldest", 7, 62, |it| seconds_of(&it["oldest_wait_s"])),
    ("errors", 6, 70, |it| text_of(&it["errors"])),
    ("used", 7, 78, |it| seconds_of(&it["last_used_s"])),
    ("group", 12, 100, |it| text_of(&it["group"])),
    ("reason", 40, 120, |it| text_of(&it["reason"])),
];

fn draw_accounts(frame: &mut Frame<'_>, area: Rect, view: &View, data: &Data) {
    let columns = COLUMNS.iter().filter(|column| area.width >= column.2);
    let (widths, names): (Vec<_>, Vec<_>) =
        columns.clone().map(|it| (Constraint::Length(it.1), Cell::from(it.0))).unzip();
    let accounts = rows(&data.accounts["accounts"]);
    let shown = accounts.iter().skip(view.scroll.min(accounts.len().saturating_sub(1)));
    let shown = shown.map(|account| {
        let cells = columns.clone().map(|it| Cell::from(escaped(&(it.3)(account)).into_owned()));
        Row::new(cells).style(style_of(account["state"].as_str().unwrap_or_default()))
    });
    let table = Table::new(shown, widths).header(Row::new(names).style(HEAD)).column_spacing(1);
    frame.render_widget(table, area);
}

/// The state stands there as a word as well.
fn style_of(state: &str) -> Style {
    match state {
        "quarantined" => Style::new().fg(Color::Red),
        "suspect" | "cooling" | "resting" => Style::new().fg(Color::Yellow),
        "draining" | "paused" => Style::new().fg(Color::Cyan),
        _ => Style::new(),
    }
}

/// The last events, the newest at the end.
fn draw_events(frame: &mut Frame<'_>, area: Rect, events: &Value) {
    let Some(room) = usize::from(area.height).checked_sub(1) else { return };
    let events = rows(events.get("events").unwrap_or(&Value::Null));
    let last = &events[events.len().saturating_sub(room)..];
    let mut lines =
        vec![Line::styled(format!("{:width$}", "events", width = usize::from(area.width)), HEAD)];
    lines.extend(last.iter().map(|event| Line::raw(event_line(event).trim_end().to_owned())));
    frame.render_widget(Paragraph::new(lines), area);
}

fn foot_line(view: &View) -> Line<'static> {
    if view.is_typing {
        return Line::raw(format!(
            "search: {}_  (Enter keeps it, Esc clears it)",
            escaped(&view.search)
        ));
    }
    let asks = view.asks();
    let state = asks.state.unwrap_or("all");
    Line::styled(
        format!(
            "q quit  s sort: {} {}  r reverse  f state: {state}  / search {}",
            asks.sort,
            asks.order,
            escaped(&asks.search)
        ),
        DIM,
    )
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn data() -> Data {
        let account = |number: u64| {
            json!({
                "id": format!("bot:{number}"), "name": format!("bot:{number}"), "state": "ready",
                "group": "bots", "connections": {"active": 1, "idle": 2, "connecting": 0},
                "leases": 3, "waiting": 0, "errors": number,
            })
        };
        Data {
            snapshot: json!({
                "at": 90_000, "started_at": 0, "version": "1.2.3", "readiness": {"text": "ready"},
                "totals": {"connections": {"active": 7, "idle": 5, "connecting": 1},
                    "connections_max": 100, "leases": 9, "waiting": 2, "oldest_wait_s": 0.25,
                    "floods": {"wait": 3, "slow": 4}, "accounts": {"quarantined": 6}},
                "rates": {"acquires": 123.4, "calls": 5.25},
                "alerts": [{"severity": "page", "text": "bad\u{1b}[2J", "remedy": "do this"}],
            }),
            accounts: json!({"accounts": (0..50).map(account).collect::<Vec<_>>()}),
            events: json!({"events": [{"at": 0, "level": "info", "account": "bot:1", "text": "opened"}]}),
            problem: None,
        }
    }

    fn drawn(width: u16, height: u16, view: &View, data: &Data) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view, data)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    #[test]
    fn a_frame_of_a_small_terminal_has_all_that_matters() {
        let lines = drawn(80, 24, &View::default(), &data());
        let text = lines.join("\n");
        for words in [
            "telepool 1.2.3  up 1m30s  ready",
            "active 7/100",
            "oldest wait 250ms",
            "acquires/s 123",
            "calls/s 5.2",
            "floods 7",
            "quarantined 6",
            "page bad\\u{1b}[2J: do this",
            "bot:0 ",
            "00:00:00.000 info  bot:1 opened",
            "s sort: active desc",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let view = View { scroll: 10, ..View::default() };
        let text = drawn(80, 24, &view, &data()).join("\n");
        assert!(text.contains("bot:10 ") && !text.contains("bot:9 "), "{text}");
    }

    #[test]
    fn any_size_and_any_answer_is_drawn() {
        for (width, height) in [(1, 1), (10, 3), (30, 10), (60, 15), (300, 100)] {
            for data in [data(), Data::default()] {
                let lines = drawn(width, height, &View::default(), &data);
                assert_eq!(lines.len(), usize::from(height), "{width}x{height}");
            }
        }
    }
}
