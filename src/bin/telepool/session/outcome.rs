//! What an import came to, input by input.
//!
//! Owns the line for each, as text and as JSON. Phone numbers are masked, and no key is shown.

use serde::Serialize;
use telepool::AccountId;
use telepool::store::{Added, Addition};

use crate::logs::escaped;

/// How many problems of one input are told one by one.
const PROBLEMS_MAX: usize = 10;

/// One input.
#[derive(Debug, Default, Serialize)]
pub(super) struct InputOutcome {
    pub(super) path: String,
    /// What it is; nothing if it could not be read.
    pub(super) kind: Option<String>,
    pub(super) new_accounts: u64,
    pub(super) more_sessions: u64,
    pub(super) merged: u64,
    pub(super) already_there: u64,
    pub(super) unidentified: u64,
    pub(super) tokens: u64,
    /// Which are to accept a new one each.
    pub(super) accepting: u64,
    pub(super) refused: u64,
    /// Passed over: no session, in a folder of others.
    pub(super) passed_over: bool,
    pub(super) problems: Vec<String>,
    /// Whose the only session is.
    #[serde(skip)]
    only: Option<(Option<AccountId>, u16)>,
}

impl InputOutcome {
    pub(super) fn of(path: String) -> Self {
        Self { path, ..Self::default() }
    }

    pub(super) fn add(&mut self, addition: &Addition) {
        match addition.outcome {
            Added::NewAccount => self.new_accounts += 1,
            Added::AnotherSession => self.more_sessions += 1,
            Added::Merged => self.merged += 1,
            Added::AlreadyThere => self.already_there += 1,
            Added::Refused(conflict) => return self.refuse(conflict.to_string()),
            _ => {}
        }
        if addition.name.is_none() {
            self.unidentified += 1;
        }
        let is_first = self.sessions() == 1;
        self.only = is_first.then_some((addition.name, addition.slot));
    }

    pub(super) fn refuse(&mut self, problem: String) {
        self.refused += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// How many sessions of it are in the store.
    pub(super) fn sessions(&self) -> u64 {
        self.new_accounts + self.more_sessions + self.merged + self.already_there
    }

    /// One line, and one more for each problem.
    pub(super) fn text(&self) -> String {
        let path = escaped(&self.path);
        let kind = self.kind.as_deref().map(|kind| format!("{kind}: ")).unwrap_or_default();
        if self.passed_over {
            return format!("{path}: passed over: {}\n", self.problems.join("; "));
        }
        if let (Some((name, slot)), 0, 0) = (self.only, self.refused, self.tokens) {
            return format!("{path}: {kind}{}\n", self.of_one(name, slot));
        }
        if let (0, 0, [only]) = (self.sessions(), self.tokens, self.problems.as_slice()) {
            return format!("{path}: {kind}refused: {only}\n");
        }
        let mut text = format!("{path}: {kind}{}\n", self.counts());
        for problem in &self.problems {
            text.push_str(&format!("  {problem}\n"));
        }
        if self.refused > self.problems.len() as u64 {
            text.push_str(&format!("  and {} more\n", self.refused - self.problems.len() as u64));
        }
        text
    }

    fn of_one(&self, name: Option<AccountId>, slot: u16) -> String {
        let name =
            name.map_or_else(|| "nobody knows whose it is yet".to_owned(), |it| it.to_string());
        match () {
            () if self.already_there > 0 => format!("already there ({name})"),
            () if self.merged > 0 => format!("merged ({name})"),
            () if self.more_sessions > 0 => format!("imported ({name}, slot {slot})"),
            () => format!("imported ({name})"),
        }
    }

    fn counts(&self) -> String {
        let imported = self.new_accounts + self.more_sessions;
        let counts = [
            (imported, "imported"),
            (self.merged, "merged"),
            (self.already_there, "already there"),
            (self.tokens, "kept for a sign-in"),
            (self.accepting, "to accept a new session"),
            (self.refused, "refused"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
        if told.is_empty() { "nothing in it".to_owned() } else { told.join(", ") }
    }
}

/// All inputs together.
#[derive(Debug, Default)]
pub(super) struct ImportTotals {
    pub(super) inputs: u64,
    pub(super) new_accounts: u64,
    pub(super) sessions: u64,
    pub(super) already_there: u64,
    pub(super) merged: u64,
    pub(super) unidentified: u64,
    pub(super) tokens: u64,
    pub(super) refused: u64,
    pub(super) passed_over: u64,
    /// Files that others on the machine may read.
    pub(super) exposed: u64,
}

impl ImportTotals {
    pub(super) fn add(&mut self, outcome: &InputOutcome) {
        self.inputs += 1;
        self.new_accounts += outcome.new_accounts;
        self.sessions += outcome.new_accounts + outcome.more_sessions + outcome.merged;
        self.already_there += outcome.already_there;
        self.merged += outcome.merged;
        self.unidentified += outcome.unidentified;
        self.tokens += outcome.tokens;
        self.refused += outcome.refused;
        self.passed_over += u64::from(outcome.passed_over);
    }

    /// What was done, or would be.
    pub(super) fn text(&self, would: bool) -> String {
        let verb = if would { " would be" } else { "" };
        let mut text = format!(
            "{} sessions of {} new accounts{verb} imported, {} already there, {} refused",
            self.sessions, self.new_accounts, self.already_there, self.refused
        );
        for (count, what) in [
            (self.merged, "merged"),
            (self.unidentified, "of unknown accounts"),
            (self.tokens, "bot tokens kept"),
            (self.passed_over, "files passed over"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}
