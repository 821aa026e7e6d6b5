//! Operations that change something.

use hyper::Method;
use serde_json::{Map, Value};

use super::Ctl;
use super::account_name::AccountName;
use super::shown::{settings_table, text_of};
use crate::client::{ClientError, Extent, encoded};
use crate::failure::Failure;
use crate::logs::escaped;
use crate::stdout;

/// What has become of the accounts that an operation was asked for.
#[derive(Default)]
struct Progress {
    done: Vec<Value>,
    /// How many were refused, each for itself.
    refused: usize,
}

impl Ctl {
    /// Does the same to each account. One that is refused keeps the others from nothing; what the server
    /// refuses to all, or that nobody answers there, ends it.
    pub(super) async fn operate(
        &self,
        operation: &str,
        accounts: &[AccountName],
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        let body = reason.map(|reason| serde_json::json!({ "reason": reason }));
        let mut progress = Progress::default();
        for (index, account) in accounts.iter().enumerate() {
            let path = format!("/api/v1/accounts/{}/{operation}", account.encoded());
            let asked = self.client.ask(Method::POST, &path, body.as_ref()).await;
            let others = accounts.len() > 1;
            match asked {
                Ok(answer) => self.show_done(account, answer, &mut progress)?,
                Err(error) if !others => return Err(error.into()),
                Err(ClientError { failure, extent: Extent::Request }) => {
                    say!(ERROR "telepool: {account}: {failure}");
                    progress.refused += 1;
                }
                Err(error) => {
                    self.show_rows(&progress)?;
                    say_left(error.extent, &accounts[index..]);
                    return Err(error.into());
                }
            }
        }
        self.show_rows(&progress)?;
        match progress.refused {
            0 => Ok(()),
            some => Err(Failure::broken(format!("{some} of {} were not done", accounts.len()))),
        }
    }

    pub(super) async fn close_connection(
        &self,
        account: &AccountName,
        id: &str,
    ) -> Result<(), Failure> {
        let (in_path, connection) = (account.encoded(), encoded(id));
        let path = format!("/api/v1/accounts/{in_path}/connections/{connection}/close");
        let answer = self.client.ask(Method::POST, &path, None).await?;
        let mut progress = Progress::default();
        self.show_done(account, answer, &mut progress)?;
        self.show_rows(&progress)
    }

    /// Says of an account what was done; as JSON all are told at the end.
    fn show_done(
        &self,
        account: &AccountName,
        answer: Value,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if self.is_json {
            let name = Value::from(account.to_string());
            let mut row = Map::from_iter([("account".to_owned(), name)]);
            row.extend(answer.as_object().cloned().unwrap_or_default());
            progress.done.push(Value::from(row));
            return Ok(());
        }
        stdout::print(&format!("{account}: {}\n", escaped(&text_of(&answer["text"]))))
    }

    fn show_rows(&self, progress: &Progress) -> Result<(), Failure> {
        if self.is_json { self.print_json(&Value::from(progress.done.clone())) } else { Ok(()) }
    }

    pub(super) async fn config(&self) -> Result<(), Failure> {
        let answer = self.client.get("/api/v1/config").await?;
        if self.is_json {
            self.print_json(&answer)?;
        } else {
            stdout::print(&settings_table(&answer["settings"]))?;
        }
        Ok(())
    }

    pub(super) async fn set(&self, settings: &[String]) -> Result<(), Failure> {
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
            return Ok(());
        }
        let all = answer["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let changed = all.iter().filter(|it| keys.iter().any(|key| it["key"] == **key)).cloned();
        stdout::print(&settings_table(&changed.collect()))?;
        Ok(())
    }

    pub(super) fn print_json(&self, answer: &Value) -> Result<(), Failure> {
        stdout::print(&format!("{answer}\n"))
    }
}

/// Says of the accounts from the one on that an operation has ended with whether anything was done to them.
fn say_left(extent: Extent, left: &[AccountName]) {
    let Some((first, others)) = left.split_first() else { return };
    let rest = match extent {
        Extent::Unanswered => {
            say!(WARN "telepool: {first}: it is not known whether it was done");
            others
        }
        _ => left,
    };
    for account in rest {
        say!(WARN "telepool: {account}: not done");
    }
}
