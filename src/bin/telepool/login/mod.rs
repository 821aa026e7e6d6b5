//! `telepool login` and `telepool logout`: how an account comes to a session, and how it ends.
//!
//! Owns the arguments, whom there is to ask, and what the command ends with. Secrets are never taken from arguments.

mod anew;
mod bots;
mod code_image;
mod conversation;
mod flow;
mod logout;
mod pending;
mod questions;
mod setup;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use telepool::AccountId;
use telepool::sign_in::{SignInWay, bot_of_token};
use telepool::store::{SessionStore as _, SqliteStore};
use zeroize::Zeroizing;

pub(crate) use self::anew::run as anew;
pub(crate) use self::logout::{LogoutArguments, run as run_logout};
pub(crate) use self::setup::{ServerArguments, Setup};

use self::code_image::CodePicture;
use self::conversation::Conversation;
use self::flow::LoginFlow;
use self::pending::{Keeper, Left};
use self::setup::ask;
use crate::failure::Failure;
use crate::given::given;
use crate::session::{IdentityArguments, StoreArguments, group, proxy, unusable};
use crate::settings::{Settings, SettingsArguments, count};
use crate::{logs, status, stdout};

/// Where a sign-in begins whose data centre nobody knows: the server says if it is another.
const FIRST_DC: i32 = 2;
/// As many sessions as an account can have in the store.
const SESSIONS_MAX: i64 = 64;

#[derive(Debug, Args)]
#[command(after_help = WAYS)]
pub(crate) struct LoginArguments {
    /// The phone number, as +442079460958. Without any way to sign in, it is asked for.
    #[arg(value_name = "PHONE", value_parser = phone)]
    phone: Option<AccountId>,
    /// Shows a code for the account's app to scan.
    #[arg(long, group = "way", conflicts_with = "phone")]
    qr: bool,
    /// Draws that code into a picture (PNG) as well, anew whenever it changes.
    #[arg(long, value_name = "FILE", requires = "qr", conflicts_with = "phone")]
    qr_png: Option<PathBuf>,
    /// Signs a bot in, by the token in TELEPOOL_BOT_TOKEN or in the file that TELEPOOL_BOT_TOKEN_FILE names.
    #[arg(long, group = "way", conflicts_with = "phone")]
    bot: bool,
    /// Signs many bots in, by a list of tokens, one a line; `-` reads standard input. Bots that have a session are left
    /// alone.
    #[arg(long, value_name = "FILE", group = "way", conflicts_with = "phone")]
    bot_tokens: Option<PathBuf>,
    /// Signs in the bots whose tokens the store keeps (telepool session tokens).
    #[arg(long, group = "way", conflicts_with = "phone")]
    kept_tokens: bool,
    /// Goes on with a sign-in that was left; needs its name if there are several.
    #[arg(long, value_name = "NAME", group = "way", conflicts_with = "phone", num_args = 0..=1)]
    resume: Option<Option<String>>,
    /// Gives up a sign-in that was left.
    #[arg(long, value_name = "NAME", group = "way", conflicts_with = "phone")]
    give_up: Option<String>,
    /// Lists the sign-ins that were left.
    #[arg(long, group = "way", conflicts_with = "phone")]
    list: bool,
    /// How many sessions the account gets, by one code: the first accepts the others.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count::<u16>(1..=SESSIONS_MAX))]
    sessions: u16,
    /// Gives up what was left of this number or bot before, in place of going on with it.
    #[arg(long)]
    anew: bool,
    /// Speaks JSON: events on standard output, answers on standard input, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Puts the account into this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Signs in by this proxy, which the account keeps; `@FILE` reads it from a file, since others may see arguments.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    #[command(flatten)]
    identity: IdentityArguments,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    settings: SettingsArguments,
}

const WAYS: &str = "\
The application (https://my.telegram.org) is given by TELEPOOL_API_ID and
TELEPOOL_API_HASH, the password of the account by TELEPOOL_PASSWORD if not at
the prompt; each may be in a file that the variable with _FILE names. What is
not given is asked for in a terminal; elsewhere the command ends with status 4.

A sign-in is kept in the store before anything is asked: Ctrl-C, a kill or a
restart leave it for telepool login --resume. Status 75 means that Telegram
wants to be left alone for a while; the message says how long.";

/// A phone number, which nothing else is taken for.
fn phone(text: &str) -> Result<AccountId, String> {
    match text.parse::<AccountId>() {
        // Without it a number of this country would be one of another.
        Ok(account) if account.is_phone() && text.trim_start().starts_with('+') => Ok(account),
        _ => Err("give a phone number with + and the code of the country, as +442079460958; a bot's token is never an \
                  argument (--bot)"
            .to_owned()),
    }
}

pub(crate) fn run(arguments: LoginArguments) -> Result<ExitCode, Failure> {
    let is_json = arguments.json;
    let done = sign_in(&arguments);
    if is_json && let Err(failure) = &done {
        stdout::print(&format!("{}\n", failure.event()))?;
    }
    done
}

fn sign_in(arguments: &LoginArguments) -> Result<ExitCode, Failure> {
    logs::start(&status::hidden())?;
    let settings = arguments.settings.load(Settings::for_serve())?;
    let store = SqliteStore::create(&arguments.store.path()?).map_err(unusable)?;
    if arguments.list {
        return pending::list(&store, arguments.json);
    }
    if let Some(path) = &arguments.qr_png {
        CodePicture::at(path)
            .check()
            .map_err(|error| Failure::refused(format!("--qr-png {}: {error}", path.display())))?;
    }
    // First of all, and from standard input perhaps.
    let tokens = arguments.tokens(&store)?;
    let setup = Setup {
        settings: &settings,
        server: &arguments.server,
        identity: &arguments.identity,
        is_json: arguments.json,
    };
    setup.run(store, async |flow| {
        flow.settings.proxy = arguments.proxy.as_deref().map(proxy).transpose()?.flatten();
        flow.password = given("PASSWORD")?;
        flow.picture.clone_from(&arguments.qr_png);
        match tokens {
            Some(tokens) => arguments.bots(flow, tokens, &settings).await,
            None => arguments.account(flow).await,
        }
    })
}

impl LoginArguments {
    fn group(&self) -> Result<Option<String>, Failure> {
        let group = self.group.as_deref().map(group).transpose()?.flatten();
        Ok(group.map(|group| group.to_string()))
    }

    /// The tokens of a list, if one is meant.
    fn tokens(&self, store: &SqliteStore) -> Result<Option<Vec<Zeroizing<String>>>, Failure> {
        if let Some(path) = &self.bot_tokens {
            return bots::read(path).map(Some);
        }
        if !self.kept_tokens {
            return Ok(None);
        }
        let kept = store.bot_tokens().map_err(unusable)?;
        match kept.is_empty() {
            true => Err(Failure::refused(
                "the store keeps no token of a bot: telepool session tokens lists them",
            )),
            false => Ok(Some(kept.into_iter().map(|it| it.token).collect())),
        }
    }

    async fn bots(
        &self,
        flow: &mut LoginFlow,
        tokens: Vec<Zeroizing<String>>,
        settings: &Settings,
    ) -> Result<ExitCode, Failure> {
        let (group, per_second) = (self.group()?, settings.config().dial.per_second);
        let totals = flow.bots(tokens, (self.sessions, group.as_deref()), per_second).await?;
        let words = format!(
            "{} bots are signed in, {} had a session, {} failed",
            totals.signed_in, totals.had_one, totals.failed
        );
        let event = json!({
            "event": "ended",
            "signed_in": totals.signed_in,
            "had_session": totals.had_one,
            "failed": totals.failed,
        });
        flow.conversation.tell(&event, &words)?;
        match totals.retry_after {
            _ if totals.failed == 0 => Ok(ExitCode::SUCCESS),
            Some(after) if totals.later == totals.failed => Err(Failure::later(format!(
                "the first of them may be tried again in {} s",
                after.as_secs()
            ))
            .after(after)),
            _ => Ok(ExitCode::FAILURE),
        }
    }

    /// One account, whichever way.
    async fn account(&self, flow: &mut LoginFlow) -> Result<ExitCode, Failure> {
        let further = self.sessions - 1;
        if let Some(name) = &self.resume {
            self.refuse_changes("--resume")?;
            let left = pending::meant(&flow.store, name.as_deref())?;
            return resume(flow, left).await;
        }
        if let Some(name) = &self.give_up {
            let left = pending::meant(&flow.store, Some(name))?;
            return give_up(flow, left).await.map(|()| ExitCode::SUCCESS);
        }
        let (way, name) = self.way(flow).await?;
        if let Some(left) = pending::find(&flow.store, &name)? {
            if !self.anew {
                self.refuse_changes(&name)?;
                let words =
                    format!("{name} was left in the middle: it goes on there (--anew begins anew)");
                flow.conversation.tell(&json!({ "event": "resumed", "account": name }), &words)?;
                return resume(flow, left).await;
            }
            give_up(flow, left).await?;
        }
        if let (SignInWay::Phone { logout_tokens, .. }, Conversation::Nobody) =
            (&way, &flow.conversation)
            && logout_tokens.is_empty()
        {
            return Err(Failure::missing(
                "somebody to ask for the code: run it in a terminal, or by a program with --json",
            ));
        }
        tell_sessions(flow, &name)?;
        let further = if matches!(way, SignInWay::Bot(_)) { 0 } else { further };
        let keeper = Keeper::new(&flow.store, &name, self.group()?, further);
        let (run, keeper) = flow.begin(way, keeper)?;
        flow.run(run, &keeper).await?;
        Ok(ExitCode::SUCCESS)
    }

    /// What was left goes on as it was begun.
    fn refuse_changes(&self, what: &str) -> Result<(), Failure> {
        let given = [
            ("--sessions", self.sessions > 1),
            ("--proxy", self.proxy.is_some()),
            ("--group", self.group.is_some()),
            ("--device or --identity", self.identity.read()?.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((flag, _)) => Err(Failure::refused(format!(
                "{what}: what was left goes on as it was begun, so leave {flag} away, or begin anew with --anew"
            ))),
        }
    }

    /// How one signs in, and what that is called.
    async fn way(&self, flow: &mut LoginFlow) -> Result<(SignInWay, String), Failure> {
        let mut number = self.phone;
        let mut scans = self.qr;
        if number.is_none() && !scans && !self.bot {
            match ask(&flow.stop, flow.conversation.phone()).await? {
                Some(text) => number = Some(phone(text.trim()).map_err(Failure::refused)?),
                None => scans = true,
            }
        }
        if let Some(number) = number {
            let known = flow.store.account(number).map_err(unusable)?;
            let user = known.and_then(|account| account.user_id);
            let logout_tokens = match user {
                Some(user) => flow.store.logout_tokens(user).map_err(unusable)?,
                None => Vec::new(),
            };
            return Ok((SignInWay::Phone { number, logout_tokens }, number.reveal().to_string()));
        }
        if scans {
            return Ok((SignInWay::Scan { except: Vec::new() }, pending::free_name(&flow.store)?));
        }
        let token = match given("BOT_TOKEN")? {
            Some(token) => token,
            None => {
                let remedy = "the bot's token: set TELEPOOL_BOT_TOKEN, or TELEPOOL_BOT_TOKEN_FILE";
                let question = "Token of the bot (@BotFather gives it): ";
                ask(&flow.stop, flow.conversation.once(question, true, remedy)).await?
            }
        };
        let token = Zeroizing::new(token.trim().to_owned());
        let bot = bot_of_token(&token).ok_or_else(|| {
            Failure::refused("this is no bot's token: @BotFather gives it, as in 12345:AAH...")
        })?;
        Ok((SignInWay::Bot(token), bot.to_string()))
    }
}

/// Says that an account is signed in already: another session is what is wanted, or a mistake.
fn tell_sessions(flow: &LoginFlow, name: &str) -> Result<(), Failure> {
    let Ok(account) = name.parse() else { return Ok(()) };
    let known = flow.store.account(account).map_err(unusable)?;
    let count = known.map_or(0, |account| account.session_count());
    if count == 0 {
        return Ok(());
    }
    let event = json!({ "event": "has-sessions", "account": name, "sessions": count });
    flow.conversation
        .tell(&event, &format!("{name} has {count} sessions already: this adds to them"))
}

async fn resume(flow: &mut LoginFlow, left: Left) -> Result<ExitCode, Failure> {
    let (run, keeper) = flow.resume(left)?;
    flow.run(run, &keeper).await?;
    Ok(ExitCode::SUCCESS)
}

async fn give_up(flow: &mut LoginFlow, left: Left) -> Result<(), Failure> {
    let (mut run, keeper) = flow.resume(left)?;
    let given_up = flow.give_up(&mut run, &keeper).await;
    run.leave().await;
    match given_up {
        Err(failure)
            if failure.is_stop() && pending::find(&flow.store, keeper.login().0)?.is_none() =>
        {
            flow.conversation.tell(
                &json!({ "event": "given-up", "account": &*keeper.shown }),
                &failure.to_string(),
            )
        }
        other => other,
    }
}
