//! Many bots, by a list of their tokens.
//!
//! Owns their pace, and that one that fails keeps no other from its turn. A bot that has a session is left alone: each
//! sign-in counts at Telegram, and too many of them have a bot wait for an hour.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use telepool::AccountId;
use telepool::sign_in::{SignInWay, bot_of_token};
use telepool::store::SessionStore as _;
use zeroize::Zeroizing;

use super::flow::LoginFlow;
use super::setup::unless_stopped;
use crate::failure::Failure;
use crate::input::{self, SESSIONS_LEN_MAX};
use crate::session::unusable;

/// Reads a list of tokens, one a line; `-` is standard input. Empty lines and those with `#` in front say nothing.
pub(super) fn read(path: &Path) -> Result<Vec<Zeroizing<String>>, Failure> {
    let shown = path.display();
    let refuse = |error| Failure::refused(format!("--bot-tokens {shown}: {error}"));
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(input::open(path, SESSIONS_LEN_MAX).map_err(refuse)?),
    };
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(source).lines()) {
        let line = Zeroizing::new(line.map_err(refuse)?);
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        // Nothing of it is repeated.
        if bot_of_token(token).is_none() {
            return Err(Failure::refused(format!(
                "--bot-tokens {shown}: line {number} is no bot's token, as @BotFather gives it (12345:AAH...)"
            )));
        }
        tokens.push(Zeroizing::new(token.to_owned()));
    }
    match tokens.is_empty() {
        true => Err(Failure::refused(format!("--bot-tokens {shown}: there is no token in it"))),
        false => Ok(tokens),
    }
}

/// What became of a list.
#[derive(Default)]
pub(super) struct BotTotals {
    pub(super) signed_in: usize,
    pub(super) had_one: usize,
    pub(super) failed: usize,
    /// Of those that failed, how many may come later, and after what time the first.
    pub(super) later: usize,
    pub(super) retry_after: Option<Duration>,
}

impl LoginFlow {
    /// Signs bots in one after another, no more than so many a second.
    pub(super) async fn bots(
        &mut self,
        tokens: Vec<Zeroizing<String>>,
        (sessions, group): (u16, Option<&str>),
        per_second: u32,
    ) -> Result<BotTotals, Failure> {
        let mut totals = BotTotals::default();
        let mut turns = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (count, sessions) = (tokens.len(), usize::from(sessions));
        for (number, token) in (1..).zip(tokens) {
            let Some(bot) = bot_of_token(&token) else { continue };
            let known = self.store.account(bot).map_err(unusable)?;
            let had = known.map_or(0, |account| account.session_count());
            if had >= sessions {
                totals.had_one += 1;
                self.tell_bot(bot, (number, count), "has-session", "has a session already")?;
                continue;
            }
            for _ in had..sessions {
                unless_stopped(&self.stop, || ended(&totals), turns.tick()).await?;
                match self.bot(bot, token.clone(), group).await {
                    Ok(()) => totals.signed_in += 1,
                    Err(failure) if failure.is_stop() => return Err(ended(&totals)),
                    Err(failure) => {
                        totals.failed += 1;
                        if let Some(after) = failure.retry_after() {
                            totals.later += 1;
                            let first = totals.retry_after.map_or(after, |first| first.min(after));
                            totals.retry_after = Some(first);
                        }
                        let words = failure.to_string();
                        self.tell_bot(bot, (number, count), "failed", &words)?;
                        break;
                    }
                }
            }
        }
        Ok(totals)
    }

    /// One sign-in of one bot.
    async fn bot(
        &mut self,
        bot: AccountId,
        token: Zeroizing<String>,
        group: Option<&str>,
    ) -> Result<(), Failure> {
        let (run, keeper) = self.take_up(&bot.to_string(), SignInWay::Bot(token), group)?;
        self.run(run, &keeper).await
    }

    fn tell_bot(
        &self,
        bot: AccountId,
        (number, count): (usize, usize),
        event: &str,
        words: &str,
    ) -> Result<(), Failure> {
        let told = json!({
            "event": event,
            "account": bot.to_string(),
            "number": number,
            "of": count,
            "problem": (event == "failed").then_some(words),
        });
        self.conversation.tell(&told, &format!("{bot} ({number} of {count}): {words}"))
    }
}

fn ended(totals: &BotTotals) -> Failure {
    Failure::stopped(format!(
        "ended before its time: {} bots are signed in; the same command goes on with the others",
        totals.signed_in
    ))
}
