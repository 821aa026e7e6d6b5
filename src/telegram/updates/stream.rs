//! Streams of updates, as the application reads them.
//!
//! Owns the lanes of a stream: they end with it. Puts nothing in order.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::feed::Listener;
use super::lane::Lane;
use super::mailbox::Mailboxes;
use super::options::{ListenError, TryRecvError, UpdatesOptions};
use super::received::AccountUpdate;
use crate::account_id::AccountId;
use crate::base::panics::call_manager;
use crate::base::sync::Mutex;
use crate::manager::Manager as _;
use crate::pool::{Account, Pool, PoolRef};
use crate::runtime::Runtime;
use crate::telegram::{SessionSource, TelegramManager};

/// How often how far accounts have got is saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked which accounts there are.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// How many of them are looked at before others have their turn.
const LISTED_AT_ONCE: usize = 256;

/// The updates of one account, or of many: of each in their order, and of those that have some in turn.
///
/// What an account is waiting with is held for it alone: one that nobody has read for long takes no more than its
/// `capacity`, and holds up nobody else. Dropping the stream ends the listening.
pub struct UpdateStream {
    // First to be dropped: what is still in the mailboxes was not taken.
    lanes: Arc<StreamLanes>,
    mailboxes: Arc<Mailboxes>,
    /// Looks which accounts there are.
    listing: Option<AbortHandle>,
    save: SaveProgress,
}

/// Has it saved how far the accounts have got. Returns whether the pool is still there.
type SaveProgress = Arc<dyn Fn() -> bool + Send + Sync>;

/// The lanes of a stream, by account.
#[derive(Default)]
struct StreamLanes {
    running: Mutex<RunningLanes>,
}

#[derive(Default)]
struct RunningLanes {
    by_account: HashMap<AccountId, LaneHandle>,
    /// The stream has gone: no more begin.
    is_over: bool,
}

/// A lane that runs for as long as this lives.
struct LaneHandle {
    listener: Option<Arc<Listener>>,
    task: AbortHandle,
}

impl Drop for LaneHandle {
    fn drop(&mut self) {
        // Before the lane ends: what it drops on its way was not taken.
        drop(self.listener.take());
        self.task.abort();
    }
}

impl UpdateStream {
    /// The next update, or `None` once there will be no more: the pool is closed, its runtime has ended, or the
    /// account was removed. Dropping the future loses no update.
    pub async fn recv(&mut self) -> Option<AccountUpdate> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The same as a poll, for streams.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<AccountUpdate>> {
        self.mailboxes.poll_recv(context)
    }

    /// An update that is there already.
    ///
    /// # Errors
    /// There is none now, or there will be no more.
    pub fn try_recv(&mut self) -> Result<AccountUpdate, TryRecvError> {
        self.mailboxes.try_recv()
    }

    /// How many accounts are listened to.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.lanes.running.lock().by_account.len()
    }
}

impl Drop for UpdateStream {
    fn drop(&mut self) {
        if let Some(listing) = &self.listing {
            listing.abort();
        }
        (self.save)();
        let mut running = self.lanes.running.lock();
        running.is_over = true;
        let lanes = std::mem::take(&mut running.by_account);
        drop(running);
        drop(lanes);
    }
}

impl fmt::Debug for UpdateStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateStream").field("accounts", &self.accounts()).finish_non_exhaustive()
    }
}

/// Which accounts a stream is of.
enum StreamScope {
    All,
    Group(Arc<str>),
}

impl StreamScope {
    fn accounts(&self, source: &impl SessionSource) -> Option<Vec<AccountId>> {
        match self {
            Self::All => source.all_accounts(),
            Self::Group(group) => source.members(group).map(|members| members.to_vec()),
        }
    }
}

impl<S: SessionSource> Pool<TelegramManager<S>> {
    /// The updates of all accounts that the source of sessions lists, also of those that come later, within ten
    /// seconds. Accounts that another stream reads are left to it, and taken over when it ends.
    ///
    /// ```no_run
    /// # use telepool::{Pool, telegram::{TelegramManager, InvokeError, MemorySource, TelegramError}};
    /// # async fn example(pool: Pool<TelegramManager<MemorySource>>)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// let mut updates = pool.updates()?;
    /// while let Some(update) = updates.recv().await {
    ///     let Some(message) = update.new_message() else { continue };
    ///     let Some(echo) = update.answer(message.message.clone()) else { continue };
    ///     let account = pool.account(update.account)?;
    ///     // Each answer by itself: a slow one holds up no other account.
    ///     tokio::spawn(async move {
    ///         match account.invoke(&echo).await {
    ///             Err(InvokeError::Call(TelegramError::Rpc { name, .. }))
    ///                 if &*name == "RANDOM_ID_DUPLICATE" => {} // It was sent before.
    ///             Err(error) => eprintln!("{}: {error}", account.id()),
    ///             Ok(_) => {}
    ///         }
    ///         drop(update); // Only now it is taken.
    ///     });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # What is promised
    /// - Each listening account keeps one connection, which is dialled again when it breaks or has reached its age.
    ///   It does not expire by idling.
    /// - Of each account the updates come in the order of their boxes: the account's own, and each channel's. What
    ///   was lost, doubled or late on the way is fetched, left out or waited for.
    /// - Each comes at least once, across restarts as well if the source of sessions keeps
    ///   [how far one got](SessionSource::set_update_states); and once in the life of a process, unless a stream is
    ///   dropped while the application still holds some of its updates: these come again by the next stream. The
    ///   first time that an account is listened to at all, it begins with what comes from then on.
    /// - Where the server tells no details any more this is [told](super::UpdateContent::Missed).
    /// - A channel begins with the first that is heard of it. If that is only that something has come, what came
    ///   before is told as missed.
    /// - The reading of an account begins when it has its connection, not when this returns: what comes to a new one
    ///   before that is not told.
    /// - Taken is what was dropped, whyever: a handler that panics or is cancelled while it holds an update has taken
    ///   it. Keep what must not be lost elsewhere until it is done.
    /// - What has no place in a box (somebody is typing, is online) comes as it comes, or not at all.
    ///
    /// # Errors
    /// The source of sessions keeps no list of accounts.
    pub fn updates(&self) -> Result<UpdateStream, ListenError> {
        self.updates_with(&UpdatesOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// Those of [`updates`](Self::updates).
    pub fn updates_with(&self, options: &UpdatesOptions) -> Result<UpdateStream, ListenError> {
        self.listen(StreamScope::All, options)
    }

    /// The updates of the accounts of a group, also of those that come later; see [`updates`](Self::updates).
    ///
    /// # Errors
    /// Those of [`updates`](Self::updates).
    pub fn group_updates(
        &self,
        group: &str,
        options: &UpdatesOptions,
    ) -> Result<UpdateStream, ListenError> {
        self.listen(StreamScope::Group(Arc::from(group)), options)
    }

    fn listen(
        &self,
        scope: StreamScope,
        options: &UpdatesOptions,
    ) -> Result<UpdateStream, ListenError> {
        if scope.accounts(self.manager().source()).is_none() {
            return Err(ListenError::NoList);
        }
        let (mailboxes, lanes) = (Mailboxes::new(true), Arc::<StreamLanes>::default());
        let listing = keep_listening(
            self.downgrade(),
            scope,
            options.clone(),
            GrowingMailboxes(Arc::clone(&mailboxes)),
            Arc::downgrade(&lanes),
        );
        let listing = Some(self.context().handle.spawn(listing).abort_handle());
        let save = save_regularly(self.runtime());
        Ok(UpdateStream { lanes, mailboxes, listing, save })
    }
}

impl<S: SessionSource> Account<TelegramManager<S>> {
    /// The updates of this account; see [`Pool::updates`] for what is promised.
    ///
    /// # Errors
    /// Another stream reads them.
    pub fn updates(&self) -> Result<UpdateStream, ListenError> {
        self.updates_with(&UpdatesOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// Those of [`updates`](Self::updates).
    pub fn updates_with(&self, options: &UpdatesOptions) -> Result<UpdateStream, ListenError> {
        let (mailboxes, lanes) = (Mailboxes::new(false), Arc::<StreamLanes>::default());
        if !lanes.add(self, None, &mailboxes, options) {
            return Err(ListenError::AlreadyListening { account: self.id() });
        }
        let save = save_regularly(&self.inner().runtime);
        Ok(UpdateStream { lanes, mailboxes, listing: None, save })
    }
}

impl StreamLanes {
    fn has(&self, account: AccountId) -> bool {
        self.running.lock().by_account.contains_key(&account)
    }

    /// Ends the lanes of accounts that are not known any more, and returns these.
    fn retain(&self, is_known: impl Fn(AccountId) -> bool) -> Vec<AccountId> {
        let mut running = self.running.lock();
        let gone = running.by_account.extract_if(|account, _| !is_known(*account));
        let gone: Vec<_> = gone.collect();
        drop(running);
        gone.into_iter().map(|(account, _lane)| account).collect()
    }

    /// Begins to listen to an account, unless somebody does or the stream has gone.
    fn add<S: SessionSource>(
        &self,
        account: &Account<TelegramManager<S>>,
        pool: Option<PoolRef<TelegramManager<S>>>,
        mailboxes: &Arc<Mailboxes>,
        options: &UpdatesOptions,
    ) -> bool {
        let context = account.inner().context();
        // Held until it is in: a stream that goes finds it, or it does not begin.
        let mut running = self.running.lock();
        if running.is_over {
            return false;
        }
        let Some(listener) = context.manager.lanes.listen(account.id()) else { return false };
        let (mailbox, heard) = (mailboxes.open(options.capacity), Arc::downgrade(&listener));
        let lane = Lane::new(account.clone(), pool, mailbox, heard, options.clone());
        let task = context.handle.spawn(lane.keep_running()).abort_handle();
        let handle = LaneHandle { listener: Some(listener), task };
        let before = running.by_account.insert(account.id(), handle);
        drop(running);
        drop(before);
        true
    }
}

/// Listens to whichever accounts there are.
async fn keep_listening<S: SessionSource>(
    reference: PoolRef<TelegramManager<S>>,
    scope: StreamScope,
    options: UpdatesOptions,
    mailboxes: GrowingMailboxes,
    lanes: Weak<StreamLanes>,
) {
    while let (Some(pool), Some(lanes)) = (reference.upgrade(), lanes.upgrade()) {
        let mut closing = pool.context().closing.subscribe();
        if pool.context().is_closing() {
            return;
        }
        let manager = pool.manager();
        // A source that cannot tell now changes nothing.
        if let Some(accounts) =
            call_manager("accounts", || scope.accounts(manager.source())).flatten()
        {
            let known: HashSet<_> = accounts.into_iter().map(|id| manager.canonical(id)).collect();
            let gone = lanes.retain(|account| known.contains(&account));
            manager.forget_updates(&gone);
            for (at, id) in known.into_iter().enumerate() {
                if at % LISTED_AT_ONCE == LISTED_AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
                if !lanes.has(id)
                    && let Ok(account) = pool.account(id)
                {
                    lanes.add(&account, Some(reference.clone()), &mailboxes.0, &options);
                }
            }
        }
        drop((pool, lanes));
        // Whether it closes or has ended: it is looked.
        tokio::time::timeout(LIST_EVERY, closing.wait_for(|closing| *closing)).await.ok();
    }
}

/// Mailboxes to which more come, as long as this lives.
struct GrowingMailboxes(Arc<Mailboxes>);

impl Drop for GrowingMailboxes {
    fn drop(&mut self) {
        self.0.end_growth();
    }
}

/// Has it saved how far accounts have got: by whoever calls this, and once a second as long as the pool is there.
fn save_regularly<S: SessionSource>(runtime: &Arc<Runtime<TelegramManager<S>>>) -> SaveProgress {
    let (context, save) = (&runtime.context, saving(runtime));
    if context.manager.lanes.needs_saver() {
        let save = Arc::clone(&save);
        context.handle.spawn(async move {
            loop {
                let save = Arc::clone(&save);
                // The source may wait for a disk.
                if !tokio::task::spawn_blocking(move || save()).await.is_ok_and(|goes_on| goes_on) {
                    return;
                }
                tokio::time::sleep(SAVE_EVERY).await;
            }
        });
    }
    save
}

fn saving<S: SessionSource>(runtime: &Arc<Runtime<TelegramManager<S>>>) -> SaveProgress {
    let weak = Arc::downgrade(runtime);
    Arc::new(move || {
        weak.upgrade().inspect(|runtime| runtime.context.manager.save_updates()).is_some()
    })
}
