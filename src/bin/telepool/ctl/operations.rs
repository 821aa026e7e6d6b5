//! Operations that change something.

use std::process::ExitCode;

use hyper::Method;
use serde_json::{Map, Value};

use super::Ctl;
use super::shown::{settings_table, text_of};
use crate::client::encoded;
use crate::failure::Failure;
use crate::logs::escaped;
use crate::stdout;

impl Ctl {
    /// Does the same to each account. One that is refused keeps the others from nothing.
    pub(super) async fn operate(
        &self,
        operation: &str,
        accounts: &[String],
        reason: Option<&str>,
    ) -> Result<ExitCode, Failure> {
        let body = reason.map(|reason| serde_json::json!({ "reason": reason }));
        let mut answers = Vec::new();
        for account in accounts {
            let path = format!("/api/v1/accounts/{}/{operation}", encoded(account));
            let answer = self.client.ask(Method::POST, &path, body.as_ref()).await;
            answers.push((account.clone(), answer));
        }
        self.show_operations(answers)
    }

    pub(super) async fn close_connection(
        &self,
        account: &str,
        id: &str,
    ) -> Result<ExitCode, Failure> {
        let (in_path, connection) = (encoded(account), encoded(id));
        let path = format!("/api/v1/accounts/{in_path}/connections/{connection}/close");
        let answer = self.client.ask(Method::POST, &path, None).await;
        self.show_operations(vec![(account.to_owned(), answer)])
    }

    /// Says what became of each, and ends with the failure of the first that has failed, if one has.
    fn show_operations(
        &self,
        answers: Vec<(String, Result<Value, Failure>)>,
    ) -> Result<ExitCode, Failure> {
        let (mut done, mut first) = (Vec::new(), None);
        let is_one = answers.len() == 1;
        for (account, answer) in answers {
            match answer {
                Ok(answer) if self.is_json => {
                    let mut row = Map::from_iter([("account".to_owned(), Value::from(account))]);
                    row.extend(answer.as_object().cloned().unwrap_or_default());
                    done.push(Value::from(row));
                }
                Ok(answer) => {
                    let text = text_of(&answer["text"]);
                    stdout::print(&format!("{}: {}\n", escaped(&account), escaped(&text)))?;
                }
                Err(failure) if is_one || failure.is_held() => {
                    first = Some(failure);
                    break;
                }
                Err(failure) => {
                    say!(ERROR "telepool: {}: {failure}", escaped(&account));
                    first.get_or_insert_with(|| Failure::broken("not all of them were done"));
                }
            }
        }
        if self.is_json {
            self.print_json(&Value::from(done))?;
        }
        first.map_or(Ok(ExitCode::SUCCESS), Err)
    }

    pub(super) async fn config(&self) -> Result<ExitCode, Failure> {
        let answer = self.client.get("/api/v1/config").await?;
        if self.is_json {
            self.print_json(&answer)?;
        } else {
            stdout::print(&settings_table(&answer["settings"]))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn set(&self, settings: &[String]) -> Result<ExitCode, Failure> {
        let (pairs, rest) = settings.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Failure::refused(
                "set takes keys and values in turn, as in set pool.max_idle_time 2m: a value is missing",
            ));
        }
        let mut body = Map::new();
        for [key, value] in pairs {
            if body.insert(key.clone(), Value::from(value.clone())).is_some() {
                return Err(Failure::refused(format!("{} is set twice", escaped(key))));
            }
        }
        let keys: Vec<String> = body.keys().cloned().collect();
        let answer =
            self.client.ask(Method::PATCH, "/api/v1/config", Some(&Value::from(body))).await?;
        if self.is_json {
            self.print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let all = answer["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let changed = all.iter().filter(|it| keys.iter().any(|key| it["key"] == **key)).cloned();
        stdout::print(&settings_table(&changed.collect()))?;
        let restart = answer["restart"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !restart.is_empty() {
            let names: Vec<String> = restart.iter().map(text_of).collect();
            say!(WARN "telepool: {} will hold after the next start", names.join(", "));
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn print_json(&self, answer: &Value) -> Result<(), Failure> {
        stdout::print(&format!("{answer}\n"))
    }
}
