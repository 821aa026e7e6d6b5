//! What a test or a benchmark has happen in a data centre: messages, channels and so on.
//!
//! Owns that part of [`DataCentre`]'s public face. Never writes an update itself: `posting` does.

use super::counts::{ChannelUpdateCounts, UpdateCounts};
use super::{posting, push_too_long};
use crate::account_id::AccountId;
use crate::sandbox::DataCentre;
use crate::sandbox::response::is_message;

impl DataCentre {
    /// A made-up user writes to an account, which gets the message into its common box, and each of its
    /// sessions that listens an update. A session listens once it has made a call outside of
    /// `invokeWithoutUpdates` on a connection that is still open.
    ///
    /// Returns the id of the message; `None` if there is no such account or if no message can have such
    /// a text, which has 1 to 4,096 characters.
    ///
    /// ```
    /// # use telepool::sandbox::{DataCentre, DataCentreOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let data_centre = DataCentre::start(DataCentreOptions::default()).await?;
    /// let account = "+9996620001".parse()?;
    /// data_centre.create_sessions(account, 1, None);
    /// assert_eq!(data_centre.post_message(account, "hello"), Some(1));
    /// let counts = data_centre.update_counts(account).ok_or("it is there")?;
    /// assert_eq!((counts.pts, counts.common_kept), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn post_message(&self, account: AccountId, text: &str) -> Option<i32> {
        let server = &self.running.server;
        let user = server.user(account).filter(|_| is_message(text))?;
        Some(posting::post_message(server, &user, text))
    }

    /// Deletes those of the messages that the account has had, in one update whose `pts_count` is their
    /// number. Returns how many.
    pub fn delete_messages(&self, account: AccountId, messages: &[i32]) -> usize {
        let server = &self.running.server;
        let Some(user) = server.user(account) else { return 0 };
        posting::delete_messages(server, &user, messages)
    }

    /// Has something come into the secondary box of an account: a user stops the bot or starts it again
    /// (`updateBotStopped`), or writes to the account in a secret chat (`updateNewEncryptedMessage`).
    /// Returns its `qts`; `None` if there is no such account.
    pub fn post_secondary(&self, account: AccountId) -> Option<i32> {
        let server = &self.running.server;
        Some(posting::post_secondary(server, &*server.user(account)?))
    }

    /// Creates a channel with these members, of whom those are left out that are no accounts here; those
    /// who listen get `updateChannel`. Returns its id.
    ///
    /// Each member has an access hash of its own for it, which comes with every update of the channel.
    pub fn create_channel(&self, members: &[AccountId]) -> i64 {
        let server = &self.running.server;
        let members = members.iter().filter_map(|account| server.user(*account));
        posting::create_channel(server, members.collect())
    }

    /// Posts a message in a channel, which each member gets. Returns the id of the message; `None` if
    /// there is no such channel or if no message can have such a text.
    pub fn post_in_channel(&self, channel: i64, text: &str) -> Option<i32> {
        let server = &self.running.server;
        let channel = server.channel(channel).filter(|_| is_message(text))?;
        Some(posting::post_in_channel(server, &channel, text))
    }

    /// Edits a message of a channel. Returns whether it was there and the text is one that a message can
    /// have.
    pub fn edit_in_channel(&self, channel: i64, message: i32, text: &str) -> bool {
        let server = &self.running.server;
        let channel = server.channel(channel).filter(|_| is_message(text));
        channel.is_some_and(|it| posting::edit_in_channel(server, &it, message, text))
    }

    /// Deletes those of the messages that are in the channel, in one update whose `pts_count` is their
    /// number. Returns how many.
    pub fn delete_in_channel(&self, channel: i64, messages: &[i32]) -> usize {
        let server = &self.running.server;
        let channel = server.channel(channel);
        channel.map_or(0, |it| posting::delete_in_channel(server, &it, messages))
    }

    /// Sends `updatesTooLong`, which tells a client to ask for the difference, to every connection of an
    /// account that listens. Returns to how many.
    pub fn push_update(&self, account: AccountId) -> usize {
        let server = &self.running.server;
        server.user(account).map_or(0, |user| push_too_long(server, &user))
    }

    /// What the boxes of an account hold and what its sessions were sent so far; `None` if there is no
    /// such account.
    #[must_use]
    pub fn update_counts(&self, account: AccountId) -> Option<UpdateCounts> {
        let server = &self.running.server;
        let user = server.user(account)?;
        let sessions = user.keys.lock().iter().map(|key| key.update_counts()).collect();
        let ids = user.boxes.lock().channels.clone();
        let channels = ids.into_iter().filter_map(|id| server.channel(id)).map(|channel| {
            let posts = channel.posts.lock();
            ChannelUpdateCounts {
                channel: channel.id,
                pts: posts.log.pts(),
                kept: posts.log.len(),
                access_hash: channel.access_hash(user.id),
            }
        });
        let channels = channels.collect();
        let boxes = user.boxes.lock();
        Some(UpdateCounts {
            pts: boxes.common.pts(),
            qts: boxes.secondary.pts(),
            common_kept: boxes.common.len(),
            secondary_kept: boxes.secondary.len(),
            channels,
            sessions,
        })
    }
}
