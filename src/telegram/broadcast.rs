//! Broadcasts: one message to many chats, by the accounts of a group.
//!
//! Owns the order of the work, and that no chat gets the message twice, also when a run is cut short and begun
//! again. Never decides how fast an account may send: [`pacing`](super::Pacing) does, and the server.
//!
//! `target` says to whom, `senders` who is next, `run` makes the calls, `outcome` judges their errors, `journal`
//! remembers what is settled and `progress` counts.

mod call;
mod journal;
mod outcome;
mod progress;
mod run;
mod senders;
mod target;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use grammers_client::tl::enums;

use self::journal::Journal;
pub use self::outcome::{BroadcastError, BroadcastOutcome, BroadcastResult, UnsentReason};
pub use self::progress::BroadcastProgress;
pub use self::run::BroadcastRun;
pub use self::target::{BroadcastMessage, BroadcastTarget};
use super::{SessionSource, TelegramManager};
use crate::account_id::AccountId;
use crate::pool::Pool;

/// Makes the message for a chat.
type MakeMessage = dyn Fn(AccountId, &enums::InputPeer) -> BroadcastMessage + Send + Sync;

/// A broadcast that is to begin; made by [`Pool::broadcast`].
pub struct Broadcast<S: SessionSource> {
    pool: Pool<TelegramManager<S>>,
    group: Box<str>,
    id: Box<str>,
    make: Box<MakeMessage>,
    journal: Option<PathBuf>,
    calls_per_account: usize,
    look_ahead: usize,
    patience: Duration,
}

impl<S: SessionSource> Pool<TelegramManager<S>> {
    /// Sends a message to many chats, by the accounts of a group.
    ///
    /// The id names the broadcast for good. From it and the chat comes the `random_id` of each message, by
    /// which the server drops what it has already: a run that was cut short is begun again with the same id,
    /// and no chat gets the message twice. With a [journal](Broadcast::journal) it does not even ask again.
    ///
    /// Accounts send side by side, each as fast as it may: have them keep to Telegram's limits
    /// ([`TelegramSettings::pacing`](super::TelegramSettings::pacing)), or they meet floods. One that rests or is
    /// out of service holds up no other.
    ///
    /// ```
    /// use telepool::telegram::{
    ///     BroadcastOutcome, BroadcastTarget, TelegramManager, MemorySource, SendPacing, TelegramSettings,
    ///     client::tl::{enums, types},
    /// };
    /// use telepool::{AccountId, Pool};
    ///
    #[cfg_attr(feature = "sandbox", doc = "# #[tokio::main(flavor = \"current_thread\")]")]
    #[cfg_attr(
        feature = "sandbox",
        doc = "# async fn main() -> Result<(), Box<dyn std::error::Error>> {"
    )]
    #[cfg_attr(
        feature = "sandbox",
        doc = "# use telepool::sandbox::{DataCentre, DataCentreOptions};"
    )]
    #[cfg_attr(
        feature = "sandbox",
        doc = "# let centre = DataCentre::start(DataCentreOptions::default()).await?;"
    )]
    #[cfg_attr(feature = "sandbox", doc = "# let bot = AccountId::bot(5_000_000_001)?;")]
    #[cfg_attr(
        feature = "sandbox",
        doc = "# let sessions = centre.create_sessions(bot, 1, Some(\"bots\".into()));"
    )]
    #[cfg_attr(
        feature = "sandbox",
        doc = "# let folder = std::env::temp_dir().join(format!(\"telepool-{}\", std::process::id()));"
    )]
    #[cfg_attr(feature = "sandbox", doc = "# std::fs::create_dir_all(&folder)?;")]
    #[cfg_attr(feature = "sandbox", doc = "# let journal = folder.join(\"reopening.journal\");")]
    #[cfg_attr(
        not(feature = "sandbox"),
        doc = "# async fn example(bot: AccountId, sessions: Vec<telepool::session::SessionRecord>, journal: &str) -> Result<(), Box<dyn std::error::Error>> {"
    )]
    /// let mut settings = TelegramSettings::new(12345);
    /// settings.pacing = SendPacing::bot().into();
    /// let pool = Pool::builder(TelegramManager::new(MemorySource::new(sessions)?, settings)).build()?;
    ///
    /// // Whoever reads them from a database or a file: any iterator will do.
    /// let groups = (1..=5).map(|chat_id| enums::InputPeer::Chat(types::InputPeerChat { chat_id }));
    /// let targets = groups.map(move |group| BroadcastTarget::by(bot, group));
    ///
    /// let broadcast = pool.broadcast("bots", "reopening", "We are back.").journal(&journal);
    /// let mut run = broadcast.start(targets).await?;
    /// while let Some(result) = run.next().await {
    ///     let result = result?;
    ///     match result.outcome {
    ///         BroadcastOutcome::Failed { error } => println!("{:?}: {error}", result.chat),
    ///         BroadcastOutcome::Unsent { reason } => println!("{:?}: later: {reason}", result.chat),
    ///         _ => {}
    ///     }
    ///     println!("{:.1} messages/s", run.progress().rate);
    /// }
    /// assert_eq!(run.progress().sent, 5);
    #[cfg_attr(feature = "sandbox", doc = "# std::fs::remove_dir_all(&folder)?;")]
    /// # pool.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast(
        &self,
        group: &str,
        id: &str,
        message: impl Into<BroadcastMessage>,
    ) -> Broadcast<S> {
        let message = message.into();
        Broadcast {
            pool: self.clone(),
            group: group.into(),
            id: id.into(),
            make: Box::new(move |_, _| message.clone()),
            journal: None,
            calls_per_account: 8,
            look_ahead: 100_000,
            patience: Duration::from_secs(600),
        }
    }
}

impl<S: SessionSource> Broadcast<S> {
    /// Makes the message for each chat instead, from the account that writes and the chat. It must be quick,
    /// and make the same message when a chat is tried again.
    #[must_use]
    pub fn each(
        mut self,
        make: impl Fn(AccountId, &enums::InputPeer) -> BroadcastMessage + Send + Sync + 'static,
    ) -> Self {
        self.make = Box::new(make);
        self
    }

    /// Keeps in this file which chats are settled, so that a later run with the same id and the same file
    /// passes them over. The file is made if it is not there; one that belongs to another broadcast is
    /// refused.
    ///
    /// It has one line of JSON for each chat, is only appended to, and is synchronized to the disk after each
    /// batch of lines. A chat takes some 100 bytes there, and 16 bytes of memory in a later run.
    #[must_use]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// How many calls of an account may be under way, those that wait for their turn to send among them; 8
    /// by default, at least 1. As many as are answered in the time of one answer keep an account busy: 8 are
    /// 30 messages per second if an answer takes 260 ms. More make others wait who send by the same account,
    /// since the chats of a broadcast take turns with theirs.
    #[must_use]
    pub fn calls_per_account(mut self, calls: usize) -> Self {
        self.calls_per_account = calls.max(1);
        self
    }

    /// How many chats are read ahead of the calls at most; 100,000 by default, which takes some 10 MB. A list
    /// that names all chats of one account after those of another is read on only so far: give it in turns,
    /// or read further ahead, so that all accounts have work.
    #[must_use]
    pub fn look_ahead(mut self, chats: usize) -> Self {
        self.look_ahead = chats.max(1);
        self
    }

    /// For how long an account or a chat is waited for that has to rest or is paused; 10 minutes by default. Those
    /// for which that is too short are left for a later run.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens the journal and begins. Nothing is read from the list, and nothing is sent, until the
    /// [results](BroadcastRun::next) are asked for.
    ///
    /// # Errors
    /// The journal cannot be used: it is that of another broadcast, or another run writes it.
    pub async fn start<T>(self, targets: T) -> Result<BroadcastRun<S>, BroadcastError>
    where
        T: IntoIterator<Item: Into<BroadcastTarget> + 'static, IntoIter: Send + 'static>,
    {
        let opened = match &self.journal {
            Some(path) => {
                let (journal, settled) = Journal::open(path, &self.id).await?;
                Some((journal, settled))
            }
            None => None,
        };
        let members = self.pool.manager().source().members(&self.group);
        let targets = targets.into_iter().map(Into::into);
        Ok(BroadcastRun::new(self, Box::new(targets), members.unwrap_or_default(), opened))
    }
}

impl<S: SessionSource> fmt::Debug for Broadcast<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("group", &self.group)
            .field("id", &self.id)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
