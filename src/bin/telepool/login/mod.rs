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
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use telepool::AccountId;
use telepool::ownership::{HostLocks, HostLocksOptions};
use telepool::sandbox::ServerPublicKey;
use telepool::sign_in::{Application, SignInWay};
use telepool::store::{SessionStore as _, SqliteStore};
use telepool::telegram::{SignInSettings, settle_store};
use zeroize::Zeroizing;

pub(crate) use self::anew::{NewSessionArguments, run as anew};
pub(crate) use self::logout::{LogoutArguments, run as run_logout};

use self::bots::bot_of;
use self::code_image::CodePicture;
use self::conversation::Conversation;
use self::flow::LoginFlow;
use self::pending::{Keeper, Left, is_of_another};
use self::terminal::Lines;
use crate::failure::Failure;
use crate::given::given;
use crate::secrets::redact;
use crate::session::{IdentityArguments, StoreArguments, group, proxy, unusable};
use crate::settings::{Settings, SettingsArguments, count};
use crate::signals::{self, Stop};
use crate::{input, logs, runtime, session_source, status, stdout};

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

/// Which servers are meant.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Signs in at Telegram's test servers, which have accounts of their own.
    #[arg(long)]
    test: bool,
    /// The public key of the servers (PEM), such as a sandbox's (telepool datacenter --public-key). Without it:
    /// Telegram's.
    #[arg(long, value_name = "FILE")]
    server_key: Option<PathBuf>,
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
    let done = sign_in(arguments);
    if is_json && let Err(failure) = &done {
        let event = json!({
            "event": "failed",
            "status": failure.status(),
            "problem": redact(failure.to_string()),
            "retry_after_s": failure.retry_after().map(|after| after.as_secs()),
        });
        stdout::print(&format!("{event}\n"))?;
    }
    done
}

fn sign_in(arguments: LoginArguments) -> Result<ExitCode, Failure> {
    logs::start(&status::hidden())?;
    let settings = arguments.settings.load(Settings::for_serve())?;
    let store = Arc::new(SqliteStore::create(&arguments.store.path()?).map_err(unusable)?);
    if arguments.list {
        return list(&store, arguments.json);
    }
    if let Some(path) = &arguments.qr_png {
        CodePicture::at(path)
            .check()
            .map_err(|error| Failure::refused(format!("--qr-png {}: {error}", path.display())))?;
    }
    // First of all, and from standard input perhaps.
    let tokens = arguments.tokens(&store)?;
    let runtime = runtime::multi_thread()?;
    let locks = Arc::new(locks(&store, &settings));
    let done = runtime.block_on(async {
        let (_stopper, stop) = signals::listen()?;
        let mut conversation = conversation(arguments.json);
        let application = ask(&stop, application(&mut conversation)).await?;
        let mut flow = LoginFlow {
            settings: arguments.sign_in_settings(application, &settings)?,
            password: given("PASSWORD")?,
            picture: arguments.qr_png.clone(),
            locks: Arc::clone(&locks),
            store: Arc::clone(&store),
            replaces: None,
            conversation,
            stop,
        };
        match tokens {
            Some(tokens) => arguments.bots(&mut flow, tokens, &settings).await,
            None => arguments.account(&mut flow).await,
        }
    });
    drop(runtime);
    locks.settle(SETTLE_TIMEOUT);
    // Two that turn out to be one person are merged, unless somebody serves the store, who does it when he begins.
    let settled = settle_store(&store).map_err(session_source::refused_store);
    done.and_then(|done| settled.map(|_| done))
}

/// With whom a sign-in is.
fn conversation(is_json: bool) -> Conversation {
    match (is_json, terminal::is_there()) {
        (true, _) => Conversation::Program(Lines::start()),
        (false, true) => Conversation::Person(Lines::start()),
        (false, false) => Conversation::Nobody,
    }
}

/// How long it may take to note at the end that every connection is closed.
const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

fn locks(store: &SqliteStore, settings: &Settings) -> HostLocks {
    let mut options = HostLocksOptions::default();
    options.serves = Some(format!("a sign-in for {}", store.path().display()));
    options.timer = rest(settings);
    HostLocks::new(options)
}

/// For how long a key rests after a connection that was lost: all of them are of telepool's own kind here, which end
/// sooner than others.
fn rest(settings: &Settings) -> std::time::Duration {
    settings.redial_after_loss().min(std::time::Duration::from_secs(75))
}

/// Asks for something that nothing is kept of yet.
async fn ask<T>(
    stop: &Stop,
    asking: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        () = stop.requested() => Err(Failure::interrupted()),
        asked = asking => asked,
    }
}

/// As which application one signs in.
async fn application(conversation: &mut Conversation) -> Result<Application, Failure> {
    const WHERE: &str = "https://my.telegram.org gives it";
    let id = match given("API_ID")? {
        Some(id) => id,
        None => {
            let remedy =
                format!("the application: set TELEPOOL_API_ID and TELEPOOL_API_HASH ({WHERE})");
            conversation.once(&format!("Application id ({WHERE}): "), false, &remedy).await?
        }
    };
    let id = id.trim().parse().ok().filter(|id: &i32| *id > 0);
    let id = id.ok_or_else(|| {
        Failure::refused(format!("the application id (TELEPOOL_API_ID) is no number: {WHERE}"))
    })?;
    let hash = match given("API_HASH")? {
        Some(hash) => hash,
        None => {
            let remedy = format!("the application's hash: set TELEPOOL_API_HASH ({WHERE})");
            conversation.once("Application hash: ", true, &remedy).await?
        }
    };
    match hash.trim() {
        "" => Err(Failure::refused(format!("TELEPOOL_API_HASH is empty: {WHERE}"))),
        hash => Ok(Application::new(id, hash)),
    }
}

fn list(store: &SqliteStore, is_json: bool) -> Result<ExitCode, Failure> {
    let all = pending::all(store)?;
    if all.is_empty() && !is_json {
        stdout::print("no sign-in was left\n")?;
    }
    for (login, state) in all {
        let line = match is_json {
            true => json!({
                "name": login.name,
                "started": login.started,
                "api_id": state.as_ref().map(|state| state.kept.api_id()),
                "test": state.as_ref().map(|state| state.kept.test_servers()),
                "further_sessions": state.as_ref().map(|state| state.further),
            })
            .to_string(),
            false => {
                let unreadable =
                    if state.is_none() { " (by another version of telepool)" } else { "" };
                format!("{}, begun {}{unreadable}", login.name, humantime_of(login.started))
            }
        };
        stdout::print(&(line + "\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn humantime_of(unix: u64) -> String {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(unix);
    humantime::format_rfc3339_seconds(time).to_string()
}

impl LoginArguments {
    fn sign_in_settings(
        &self,
        application: Application,
        settings: &Settings,
    ) -> Result<SignInSettings, Failure> {
        let mut sign_in = SignInSettings::new(application);
        sign_in.data_centres = settings.data_centres().clone();
        sign_in.redial_after_loss = rest(settings);
        self.server.apply(&mut sign_in)?;
        if let Some(identity) = self.identity.read()? {
            sign_in.identity = identity;
        }
        sign_in.proxy = self.proxy.as_deref().map(proxy).transpose()?.flatten();
        Ok(sign_in)
    }

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
            let left = self.left(flow, name.as_deref())?;
            return resume(flow, left).await;
        }
        if let Some(name) = &self.give_up {
            let left = self.left(flow, Some(name))?;
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
        let run = flow.begin(way, FIRST_DC, &keeper)?;
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
            let stop = flow.stop.clone();
            match ask(&stop, flow.conversation.phone()).await? {
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
            return Ok((SignInWay::Scan { except: Vec::new() }, free_name(&flow.store)?));
        }
        let token = match given("BOT_TOKEN")? {
            Some(token) => token,
            None => {
                let remedy = "the bot's token: set TELEPOOL_BOT_TOKEN, or TELEPOOL_BOT_TOKEN_FILE";
                let stop = flow.stop.clone();
                ask(
                    &stop,
                    flow.conversation.once(
                        "Token of the bot (@BotFather gives it): ",
                        true,
                        remedy,
                    ),
                )
                .await?
            }
        };
        let token = Zeroizing::new(token.trim().to_owned());
        let bot = bot_of(&token).ok_or_else(|| {
            Failure::refused("this is no bot's token: @BotFather gives it, as in 12345:AAH...")
        })?;
        Ok((SignInWay::Bot(token), bot.to_string()))
    }

    /// A sign-in that was left.
    fn left(&self, flow: &LoginFlow, name: Option<&str>) -> Result<Left, Failure> {
        let names: Vec<String> =
            pending::all(&flow.store)?.into_iter().map(|(login, _)| login.name).collect();
        let none = || "no sign-in was left".to_owned();
        let name = match name {
            Some(name) if names.iter().any(|it| it == name) => name.to_owned(),
            Some(_) => {
                let there = if names.is_empty() { none() } else { names.join(", ") };
                return Err(Failure::refused(format!(
                    "no sign-in of that name was left; those that were are: {there}"
                )));
            }
            None => {
                let mut own: Vec<&String> =
                    names.iter().filter(|name| !is_of_another(name, &names)).collect();
                if own.len() > 1 {
                    return Err(Failure::refused(format!(
                        "several sign-ins were left: name one of {}",
                        names.join(", ")
                    )));
                }
                own.pop().cloned().ok_or_else(|| Failure::refused(none()))?
            }
        };
        pending::find(&flow.store, &name)?.ok_or_else(|| Failure::refused(none()))
    }
}

/// Says that an account is signed in already: another session is what is wanted, or a mistake.
fn tell_sessions(flow: &LoginFlow, name: &str) -> Result<(), Failure> {
    let Ok(account) = name.parse() else { return Ok(()) };
    let known = flow.store.account(account).map_err(unusable)?;
    let Some(count) = known.map(|it| usize::from(it.slots) - it.gaps.len()).filter(|it| *it > 0)
    else {
        return Ok(());
    };
    let event = json!({ "event": "has-sessions", "account": name, "sessions": count });
    flow.conversation
        .tell(&event, &format!("{name} has {count} sessions already: this adds to them"))
}

/// A name that no sign-in has which was left.
fn free_name(store: &SqliteStore) -> Result<String, Failure> {
    let all = pending::all(store)?;
    let names = (1..).map(|number| match number {
        1 => "qr".to_owned(),
        number => format!("qr-{number}"),
    });
    let mut free = names.filter(|name| all.iter().all(|(login, _)| login.name != *name));
    Ok(free.next().expect("BUG: there are names without end"))
}

async fn resume(flow: &mut LoginFlow, left: Left) -> Result<ExitCode, Failure> {
    let keeper = Keeper::of(&flow.store, &left);
    let run = flow.resume(left, &keeper)?;
    flow.run(run, &keeper).await?;
    Ok(ExitCode::SUCCESS)
}

async fn give_up(flow: &mut LoginFlow, left: Left) -> Result<(), Failure> {
    let keeper = Keeper::of(&flow.store, &left);
    let mut run = flow.resume(left, &keeper)?;
    let given_up = flow.give_up::<()>(&mut run, &keeper).await;
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

impl ServerArguments {
    fn apply(&self, settings: &mut SignInSettings) -> Result<(), Failure> {
        settings.test_servers = self.test;
        if let Some(path) = &self.server_key {
            let refuse = |problem: String| {
                Failure::refused(format!("--server-key {}: {problem}", path.display()))
            };
            let text = input::text(path).map_err(refuse)?;
            let key = ServerPublicKey::from_pem(&text);
            let key = key.ok_or_else(|| {
                refuse(
                    "no RSA key of 2,048 bits that begins with -----BEGIN RSA PUBLIC KEY-----"
                        .to_owned(),
                )
            })?;
            settings.server_keys = vec![key];
        }
        Ok(())
    }
}
