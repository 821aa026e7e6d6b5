//! New sessions in place of those of other programs: each of these accepts one, and is then left alone.
//!
//! Owns the way of one session to its successor. What was found is never stored.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use telepool::import::Origin;
use telepool::session::{ClientIdentity, KeyId};
use telepool::sign_in::{Application, SignInWay};
use telepool::store::{NewSession, SessionStore as _, SqliteStore};

use super::conversation::Conversation;
use super::flow::{Acceptor, LoginFlow};
use super::setup::Setup;
use crate::failure::Failure;
use crate::given::given;
use crate::session::unusable;

/// The application that Telegram Desktop signs in as, which its folders do not name.
const TELEGRAM_DESKTOP: i32 = 2040;

/// Has each of these sessions accept a new one, which goes into the store.
pub(crate) fn run(
    setup: &Setup<'_>,
    store: SqliteStore,
    found: &[NewSession],
) -> Result<ExitCode, Failure> {
    setup.run(store, async |flow| {
        let (mut accepted, mut passed_over, mut failed) = (0, 0, 0);
        for (number, session) in (1..).zip(found) {
            match flow.anew(session).await {
                Ok(true) => accepted += 1,
                Ok(false) => passed_over += 1,
                Err(failure) if failure.is_stop() => return Err(failure),
                Err(failure) => {
                    failed += 1;
                    tell(&flow.conversation, (number, found.len()), &failure)?;
                }
            }
        }
        let event = json!({
            "event": "ended",
            "accepted": accepted,
            "passed_over": passed_over,
            "failed": failed,
        });
        let words = format!(
            "{accepted} sessions have accepted a new one, {passed_over} were passed over, {failed} failed"
        );
        flow.conversation.tell(&event, &words)?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn tell(
    conversation: &Conversation,
    (number, count): (usize, usize),
    failure: &Failure,
) -> Result<(), Failure> {
    let mut event = failure.event();
    (event["number"], event["of"]) = (number.into(), count.into());
    conversation.tell(&event, &format!("{number} of {count}: {failure}"))
}

/// How Telegram Desktop introduces itself, as far as its folders tell.
fn telegram_desktop() -> ClientIdentity {
    ClientIdentity::new("Desktop", std::env::consts::OS, "5.8.3 x64")
}

impl LoginFlow {
    /// One session, which accepts its successor. Returns whether it has; it is passed over otherwise.
    async fn anew(&mut self, session: &NewSession) -> Result<bool, Failure> {
        let found = &session.found;
        let key = KeyId::of(&found.key);
        let user = found.user_id.map(|id| format!("user {id}"));
        let who = user.unwrap_or_else(|| format!("the session {key}"));
        if found.is_bot == Some(true) {
            let event = json!({ "event": "is-bot", "user_id": found.user_id });
            let words = format!(
                "{who} is a bot, which accepts nobody: telepool login --bot takes its token"
            );
            return self.conversation.tell(&event, &words).map(|()| false);
        }
        if self.store.was_removed(key).map_err(unusable)? {
            let event = json!({ "event": "has-successor", "key_id": key.to_string() });
            let words = format!(
                "{who} has accepted a new session before, or was removed: it is left alone"
            );
            return self.conversation.tell(&event, &words).map(|()| false);
        }
        let api_id = match (found.api_id, found.origin) {
            (Some(id), _) => id,
            (None, Origin::TelegramDesktop) => TELEGRAM_DESKTOP,
            (None, _) => {
                return Err(Failure::refused(
                    "nobody knows which application this session belongs to: give --api-id",
                ));
            }
        };
        // The old session is used as it was: at its own place, as its own application.
        let mut old = Box::new(self.settings.clone());
        old.application = Application::new(api_id, "");
        old.test_servers = found.test_mode.unwrap_or(false);
        old.proxy.clone_from(&found.proxy);
        old.identity = match (&session.identity, found.origin) {
            (Some(identity), _) => (**identity).clone(),
            (None, Origin::TelegramDesktop) => telegram_desktop(),
            (None, _) => old.identity,
        };
        let locks = Arc::clone(&self.locks);
        let place = (found.dc, session.address);
        let acceptor = Acceptor::Session { settings: old, place, key: found.key.clone(), locks };
        self.settings.test_servers = found.test_mode.unwrap_or(false);
        self.settings.proxy.clone_from(&found.proxy);
        self.password = given("PASSWORD")?;
        let way = SignInWay::Scan { except: Vec::new() };
        let (run, mut own) =
            self.take_up(&format!("new-for-{key}"), way, found.group.as_deref())?;
        own.replaces = Some(key);
        self.have_accepted(acceptor, run, own).await.map(|()| true)
    }
}
