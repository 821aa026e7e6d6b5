//! The check of a store that is served: whoever serves it is asked, and nothing is dialled.
//!
//! Owns what the answers mean for each session.

use std::process::ExitCode;

use serde_json::Value;
use telepool::QuarantineReason;

use super::ToCheck;
use super::verdict::{SessionVerdict, VerdictKind};
use crate::client::{Client, Extent, encoded};
use crate::failure::Failure;
use crate::stdout;

pub(super) async fn ask(
    client: &Client,
    all: &[ToCheck],
    is_json: bool,
) -> Result<ExitCode, Failure> {
    say!("telepool: the store is served: that process is asked, and nothing is dialled");
    let (mut bad, mut alive) = (0, 0);
    let mut answer = (String::new(), Value::Null);
    for it in all {
        let name = it.account.name().map(|name| name.reveal().to_string()).unwrap_or_default();
        if name != answer.0 && !name.is_empty() {
            let path = format!("/api/v1/accounts/{}", encoded(&name));
            answer = match client.get(&path).await {
                Ok(known) => (name.clone(), known),
                // An account that the pool has not met is unknown to it.
                Err(error) if error.extent == Extent::Request => (name.clone(), Value::Null),
                Err(error) => return Err(error.into()),
            };
        }
        let known = if name.is_empty() { &Value::Null } else { &answer.1 };
        let verdict = verdict_of(it, known);
        bad += usize::from(!matches!(verdict.kind(), VerdictKind::Alive | VerdictKind::NotDialled));
        alive += usize::from(verdict.kind() == VerdictKind::Alive);
        stdout::print(&verdict.shown(is_json))?;
    }
    say!("telepool: {alive} of {} sessions have a connection, {bad} cannot", all.len());
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict_of(it: &ToCheck, answer: &Value) -> SessionVerdict {
    let slot = u64::from(it.session.slot);
    let of_slot = |list: &str| {
        let rows = answer[list].as_array()?;
        rows.iter().find(|row| row["slot"].as_u64() == Some(slot)).cloned()
    };
    if let Some((reason, _)) = it.session.quarantine {
        return SessionVerdict::quarantined(&it.account, &it.session, reason);
    }
    if let Some(quarantine) = of_slot("quarantines") {
        let label = quarantine["reason"].as_str().unwrap_or_default();
        let known = QuarantineReason::ALL.into_iter().find(|reason| reason.label() == label);
        let reason = known.unwrap_or(QuarantineReason::Suspect);
        return SessionVerdict::quarantined(&it.account, &it.session, reason);
    }
    if of_slot("connections_list").is_some() {
        return SessionVerdict::alive(&it.account, &it.session, None);
    }
    // What keeps the account from a connection is told by whoever has tried.
    let mut texts =
        ["last_error", "detail", "reason"].iter().filter_map(|key| answer[*key].as_str());
    match (answer["state"].as_str(), texts.next()) {
        (Some("ready" | "cooling") | None, None) | (None, Some(_)) => {
            SessionVerdict::not_dialled(&it.account, &it.session)
        }
        (Some(_), Some(text)) => {
            SessionVerdict::unreachable(&it.account, &it.session, text.to_owned())
        }
        (Some(state), None) => {
            SessionVerdict::unreachable(&it.account, &it.session, format!("the account is {state}"))
        }
    }
}
