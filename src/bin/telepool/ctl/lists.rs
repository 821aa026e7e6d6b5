//! What is only looked at: accounts, connections and events.

use serde_json::Value;

use super::account_name::{AccountName, search_text};
use super::shown::{accounts_table, connections_table, event_line, rows, seconds_of, text_of};
use super::{AccountsArguments, ConnectionsArguments, Ctl, EventsArguments, LeastLevel, name_of};
use crate::client::query;
use crate::failure::Failure;
use crate::logs::escaped;
use crate::table::Table;
use crate::{signals, stdout};

/// How many the API lists at once.
const PAGE: usize = 500;

impl Ctl {
    pub(super) async fn accounts(&self, arguments: &AccountsArguments) -> Result<(), Failure> {
        let (sort, state) = (name_of(arguments.sort), name_of(arguments.in_state));
        let search = arguments.search.as_deref().map(search_text);
        let path = query(
            "/api/v1/accounts",
            [
                ("q", search.as_deref()),
                ("state", state.as_deref()),
                ("reason", arguments.reason.as_deref()),
                ("group", arguments.group.as_deref()),
                ("sort", sort.as_deref()),
                ("order", arguments.desc.then_some("desc")),
            ],
        );
        let answer = self.list(&path, "accounts", arguments.limit).await?;
        self.show_list(&answer, "accounts", "account", accounts_table)
    }

    pub(super) async fn connections(
        &self,
        arguments: &ConnectionsArguments,
    ) -> Result<(), Failure> {
        let (sort, state) = (name_of(arguments.sort), name_of(arguments.in_state));
        let path = query(
            "/api/v1/connections",
            [
                ("state", state.as_deref()),
                ("group", arguments.group.as_deref()),
                ("sort", sort.as_deref()),
                ("order", arguments.desc.then_some("desc")),
            ],
        );
        let answer = self.list(&path, "connections", arguments.limit).await?;
        self.show_list(&answer, "connections", "connection", |rows| connections_table(rows, true))
    }

    /// The first so many of a list, page by page; 0 stands for all. The answer is that of the first page, with
    /// the rows of the others and the cursor of the last.
    async fn list(&self, path: &str, key: &str, limit: usize) -> Result<Value, Failure> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut whole: Option<Value> = None;
        let mut cursor: Option<String> = None;
        let mut count = 0;
        loop {
            let size = PAGE.min(limit - count).to_string();
            let page = query(path, [("limit", Some(&*size)), ("cursor", cursor.as_deref())]);
            let mut page = self.client.get(&page).await?;
            count += rows(&page[key]).len();
            cursor = page["next"].as_str().map(str::to_owned);
            let next = page["next"].clone();
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => {
                    let more = page[key].as_array_mut().map(std::mem::take).unwrap_or_default();
                    if let Some(all) = whole[key].as_array_mut() {
                        all.extend(more);
                    }
                    whole["next"] = next;
                }
            }
            if cursor.is_none() || count >= limit {
                return Ok(whole.unwrap_or_default());
            }
        }
    }

    fn show_list(
        &self,
        answer: &Value,
        key: &str,
        one: &str,
        table: impl FnOnce(&[Value]) -> String,
    ) -> Result<(), Failure> {
        if self.is_json {
            self.print_json(answer)?;
            return Ok(());
        }
        let shown = rows(&answer[key]);
        if shown.is_empty() {
            say!("telepool: no {one} matches");
        } else {
            stdout::print(&table(shown))?;
        }
        let matched = answer["matched"].as_u64().unwrap_or_default();
        let left = matched.saturating_sub(shown.len() as u64);
        if left > 0 && !answer["next"].is_null() {
            say!("telepool: and {left} more: --limit 0 lists all");
        }
        Ok(())
    }

    pub(super) async fn account(&self, account: &AccountName) -> Result<(), Failure> {
        let path = format!("/api/v1/accounts/{}", account.encoded());
        let answer = self.client.get(&path).await?;
        if self.is_json {
            self.print_json(&answer)?;
            return Ok(());
        }
        let mut text = accounts_table(std::slice::from_ref(&answer));
        for key in ["detail", "remedy", "last_error"] {
            let told = text_of(&answer[key]);
            if !told.is_empty() {
                text.push_str(&format!("\n{}: {}", key.replace('_', " "), escaped(&told)));
            }
        }
        let mut section = |head: &str, body: String| {
            if !body.is_empty() {
                text.push_str(&format!("\n{head}:\n{body}"));
            }
        };
        section("connections", {
            let connections = rows(&answer["connections_list"]);
            if connections.is_empty() {
                String::new()
            } else {
                connections_table(connections, false)
            }
        });
        section("quarantined sessions", {
            let mut table = Table::new(&["#slot", "reason", "remedy"]);
            for it in rows(&answer["quarantines"]) {
                table.push(["slot", "reason", "remedy"].map(|key| text_of(&it[key])));
            }
            if table.is_empty() { String::new() } else { table.to_string() }
        });
        section("methods that rest", {
            let mut table = Table::new(&["method", "#for"]);
            for it in rows(&answer["cooldowns"]) {
                let named = text_of(&it["name"]);
                let method = if named.is_empty() { text_of(&it["method"]) } else { named };
                table.push([method, seconds_of(&it["remaining_s"])]);
            }
            if table.is_empty() { String::new() } else { table.to_string() }
        });
        section("events", rows(&answer["events"]).iter().map(event_line).collect());
        stdout::print(&text)?;
        Ok(())
    }

    pub(super) async fn events(&self, arguments: &EventsArguments) -> Result<(), Failure> {
        let limit = arguments.limit.to_string();
        let path = query("/api/v1/events", arguments.filters());
        let path = query(&path, [("after", arguments.after.as_deref()), ("limit", Some(&*limit))]);
        let answer = self.client.get(&path).await?;
        if !arguments.follow {
            if self.is_json {
                self.print_json(&answer)?;
            } else {
                let lines: String = rows(&answer["events"]).iter().map(event_line).collect();
                if lines.is_empty() {
                    say!("telepool: no event matches");
                }
                stdout::print(&lines)?;
            }
            return Ok(());
        }
        for event in rows(&answer["events"]) {
            self.show_event(event)?;
        }
        self.follow(arguments, text_of(&answer["last"])).await
    }

    /// Shows the events that come after one, until Ctrl-C, the end of the run, or nobody reads them any more.
    async fn follow(&self, arguments: &EventsArguments, mut last: String) -> Result<(), Failure> {
        let (_stopper, mut stop) = signals::listen()?;
        let path = query("/api/v1/events/stream?samples=0", arguments.filters());
        let mut stream = self.client.events(&path, &last).await?;
        while !stdout::is_abandoned() {
            let event = tokio::select! {
                event = stream.next() => event,
                () = stop.requested() => return Ok(()),
            };
            let Some(event) = event else {
                return Err(Failure::unreachable(format!(
                    "the stream has ended, as it does with the run; --after {last} goes on with what came \
                     later"
                )));
            };
            match event.kind.as_str() {
                "event" => {
                    self.show_event(&serde_json::from_str(&event.data).unwrap_or_default())?;
                    last = event.id;
                }
                "missed" => say!(WARN "telepool: some events were missed: there were too many"),
                _ => {}
            }
        }
        Ok(())
    }

    fn show_event(&self, event: &Value) -> Result<(), Failure> {
        if self.is_json {
            return self.print_json(event);
        }
        stdout::print(&event_line(event))
    }
}

impl EventsArguments {
    /// Which events are asked for, of the list and of the stream.
    fn filters(&self) -> [(&'static str, Option<&str>); 4] {
        let level = self.level.map(|level| match level {
            LeastLevel::Info => "info",
            LeastLevel::Warn => "warn",
            LeastLevel::Error => "error",
        });
        [
            ("kind", self.kind.as_deref()),
            ("account", self.account.as_ref().map(AccountName::as_str)),
            ("group", self.group.as_deref()),
            ("level", level),
        ]
    }
}
