//! `telepool session tokens`: the tokens of bots that imports have brought, kept for a sign-in.
//!
//! Owns the view of an operator on them. Shows whose they are, and never one of them.

use std::process::ExitCode;

use clap::Args;
use telepool::AccountId;
use telepool::store::SessionStore as _;

use super::{StoreArguments, unusable};
use crate::failure::Failure;
use crate::stdout;

#[derive(Debug, Args)]
pub(crate) struct TokensArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Removes the token of this bot, as bot:123456, in place of listing them.
    #[arg(long, value_name = "BOT")]
    remove: Option<AccountId>,
}

pub(crate) fn run(arguments: &TokensArguments) -> Result<ExitCode, Failure> {
    let store = arguments.store.open()?;
    if let Some(bot) = arguments.remove {
        return match store.remove_bot_token(bot).map_err(unusable)? {
            true => {
                stdout::print(&format!("removed the token of {bot}\n"))?;
                Ok(ExitCode::SUCCESS)
            }
            false => Err(Failure::refused(format!("the store has no token of {bot}"))),
        };
    }
    let tokens = store.bot_tokens().map_err(unusable)?;
    if tokens.is_empty() {
        stdout::print("no token\n")?;
    }
    for token in tokens {
        stdout::print(&format!("{}\n", token.bot))?;
    }
    Ok(ExitCode::SUCCESS)
}
