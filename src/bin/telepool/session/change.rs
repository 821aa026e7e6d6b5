//! `telepool session set` and `reinstate`: what an operator says of sessions.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hyper::Method;
use telepool::session::Proxy;
use telepool::session::lines::GROUP_LEN_MAX;
use telepool::store::{SessionChange, SessionStore as _};
use zeroize::Zeroizing;

use super::identity::IdentityArguments;
use super::{StoreArguments, WhichSessions, keys_of, served, shown_name, unusable};
use crate::client::encoded;
use crate::failure::Failure;
use crate::settings::{address, count};
use crate::{input, runtime, stdout};

/// What takes a value away.
const NONE: &str = "none";

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    which: WhichSessions,
    /// The proxy to dial by, of all sessions of the account: socks5://[USER:PASSWORD@]HOST:PORT, http://.. or bind://ADDRESS; `@FILE` reads it from
    /// a file, since others may see arguments; `none` for none.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// The account's group; `none` for none.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The application that has logged in, as my.telegram.org gave it.
    #[arg(long, value_name = "ID", value_parser = count::<i32>(1..=2_147_483_647))]
    api_id: Option<i32>,
    /// Where its data centre listens, in place of the address that came with it.
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    address: Option<SocketAddr>,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// A proxy of the command line, or none.
pub(crate) fn proxy(text: &str) -> Result<Option<Arc<Proxy>>, Failure> {
    match text {
        NONE => Ok(None),
        // The error repeats nothing: there may be a password in it.
        url => match of_file(url)?.trim().parse() {
            Ok(proxy) => Ok(Some(Arc::new(proxy))),
            Err(error) => Err(Failure::refused(format!("--proxy: {error}"))),
        },
    }
}

/// The text itself, or the first line of the file that it names: an argument shows to all users of the machine.
fn of_file(text: &str) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = text.strip_prefix('@') else { return Ok(Zeroizing::new(text.to_owned())) };
    input::first_line(Path::new(path))
        .map_err(|error| Failure::refused(format!("--proxy @{path}: {error}")))
}

/// A group of the command line, or none.
pub(crate) fn group(text: &str) -> Result<Option<Arc<str>>, Failure> {
    let is_label = (1..=GROUP_LEN_MAX).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control);
    match text {
        NONE => Ok(None),
        _ if !is_label => Err(Failure::refused(format!(
            "--group: give a label of 1 to {GROUP_LEN_MAX} printable characters"
        ))),
        text => Ok(Some(Arc::from(text.trim()))),
    }
}

pub(crate) fn set(arguments: &SetArguments) -> Result<ExitCode, Failure> {
    let mut change = SessionChange::default();
    change.proxy = arguments.proxy.as_deref().map(proxy).transpose()?;
    change.group = arguments.group.as_deref().map(group).transpose()?;
    change.api_id = arguments.api_id.map(Some);
    change.address = arguments.address;
    change.identity = arguments.identity.change()?;
    if change == SessionChange::default() {
        return Err(Failure::refused(
            "nothing is to be changed: give --proxy, --group, --api-id, --address, --device (with --system-version, --app-version and --lang) or \
             --identity",
        ));
    }
    let store = arguments.store.open()?;
    let (account, sessions) = arguments.which.find(&store)?;
    let changed = store.change(&keys_of(&sessions), &change).map_err(unusable)?;
    let name = shown_name(&account);
    let what = if changed == 1 { "session" } else { "sessions" };
    stdout::print(&format!("changed {changed} {what} of {name}\n"))?;
    if let Some(by) = served::by_whom(&store)? {
        say!("telepool: {by} takes it up within two seconds");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(crate) struct ReinstateArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    which: WhichSessions,
}

pub(crate) fn reinstate(arguments: &ReinstateArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    let (account, mut meant) = arguments.which.find(&store)?;
    let name = shown_name(&account);
    let all = account.quarantines.len();
    meant.retain(|session| session.quarantine.is_some());
    if meant.is_empty() {
        return Err(Failure::broken(format!("no session of {name} that is meant is quarantined")));
    }
    if let Some(client) = served::client(&store)? {
        if meant.len() < all {
            return Err(Failure::refused(format!(
                "the process that serves the store reinstates all sessions of an account at once: name {name} without \
                 a slot, or end that process first"
            )));
        }
        let named = account.name().ok_or_else(|| {
            Failure::refused("it is not known whose the session is: telepool session check asks")
        })?;
        let path = format!("/api/v1/accounts/{}/reinstate", encoded(&named.reveal().to_string()));
        let asked = runtime::current_thread()?.block_on(client.ask(Method::POST, &path, None));
        asked.map_err(Failure::from)?;
        stdout::print(&format!("reinstated {name}, by the process that serves it\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for session in meant {
        store.set_quarantine(session.key_id, None).map_err(unusable)?;
        stdout::print(&format!("reinstated {name} slot {}\n", session.slot))?;
    }
    Ok(ExitCode::SUCCESS)
}
