//! `telepool session remove`: sessions go, with their keys.

use std::process::ExitCode;

use clap::Args;
use telepool::store::{Removal, SessionStore as _};

use super::{StoreArguments, WhichSessions, keys_of, served, shown_name, unusable};
use crate::failure::Failure;
use crate::stdout;

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    which: WhichSessions,
    /// Yes, remove the keys for good.
    #[arg(long)]
    yes: bool,
    /// Forgets as well that the keys were here. Without it an import refuses them, so that they do not come back by
    /// mistake.
    #[arg(long)]
    forget: bool,
}

pub(crate) fn run(arguments: &RemoveArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    let (account, sessions) = arguments.which.find(&store)?;
    let name = shown_name(&account);
    if !arguments.yes {
        let slots: Vec<String> = sessions.iter().map(|it| it.slot.to_string()).collect();
        let what = format!("slot {}", slots.join(", "));
        return Err(Failure::refused(format!(
            "{name}: {what} would go, and the keys with them: whoever has no copy of a key has to sign in anew. \
             Add --yes to do it, or export them first (telepool session export)"
        )));
    }
    let how = if arguments.forget { Removal::Everything } else { Removal::KeepKeyId };
    let removed = store.remove(&keys_of(&sessions), how).map_err(unusable)?;
    for session in &removed {
        stdout::print(&format!("removed {name} slot {}, key {}\n", session.slot, session.key_id))?;
    }
    if let Some(by) = served::by_whom(&store)? {
        say!("telepool: {by} closes their connections within two seconds");
    }
    Ok(ExitCode::SUCCESS)
}
