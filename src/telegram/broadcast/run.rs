//! A broadcast under way: it reads the list, makes the calls and hands out the results.
//!
//! Owns the calls, which end when it is dropped. Never reads further ahead than it was told, and keeps nothing of
//! a chat that is settled.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::call::{CallContext, CallEnd};
use super::journal::Journal;
use super::outcome::{NextStep, TRIES_MAX};
use super::progress::ProgressCounts;
use super::senders::{Senders, WaitingChat};
use super::{
    Broadcast, BroadcastError, BroadcastOutcome, BroadcastProgress, BroadcastResult,
    BroadcastTarget, MakeMessage, UnsentReason,
};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::timer::{after, sleep, timeout_at};
use crate::pool::Pool;
use crate::telegram::{InvokeError, SessionSource, TelegramManager};

/// How many chats are read from the list before others get a turn.
const READ_AT_ONCE: usize = 256;
/// The most calls under way, of all accounts.
const CALLS_MAX: usize = 8192;
/// The shortest time after which a chat is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// How often it is looked whether the disk has caught up.
const DISK_PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked whether an account is still paused.
const PAUSED_LOOK: Duration = Duration::from_secs(1);
/// When nothing is to happen by itself.
const FAR_AWAY: Duration = Duration::from_secs(86_400);

/// A broadcast under way: a stream of results, one for each chat.
///
/// Dropping it ends the broadcast. What was answered by then is in the journal; a call that had no answer yet
/// counts as nothing, and a later run makes it again, with the same `random_id`.
pub struct BroadcastRun<S: SessionSource> {
    pool: Pool<TelegramManager<S>>,
    runtime: Handle,
    id: Box<str>,
    make: Box<MakeMessage>,
    look_ahead: usize,
    patience: Duration,
    /// What is left of the list.
    targets: Option<Box<dyn Iterator<Item = BroadcastTarget> + Send>>,
    /// Who writes to chats that name nobody.
    members: Arc<[AccountId]>,
    senders: Senders,
    calls: JoinSet<CallEnd>,
    results: VecDeque<BroadcastResult>,
    counts: ProgressCounts,
    started: Instant,
    journal: Option<Journal>,
    /// The numbers of chats that an earlier run has settled.
    settled: HashSet<i64>,
    /// Since when accounts have been found paused.
    paused: HashMap<AccountId, Instant>,
    has_failed: bool,
}

impl<S: SessionSource> BroadcastRun<S> {
    pub(super) fn new(
        broadcast: Broadcast<S>,
        targets: Box<dyn Iterator<Item = BroadcastTarget> + Send>,
        members: Arc<[AccountId]>,
        opened: Option<(Journal, HashSet<i64>)>,
    ) -> Self {
        let Broadcast { pool, id, make, calls_per_account, look_ahead, patience, .. } = broadcast;
        let (journal, settled) = match opened {
            Some((journal, settled)) => (Some(journal), settled),
            None => (None, HashSet::new()),
        };
        Self {
            runtime: pool.context().handle.clone(),
            pool,
            id,
            make,
            look_ahead,
            patience,
            targets: Some(targets),
            members,
            senders: Senders::new(calls_per_account),
            calls: JoinSet::new(),
            results: VecDeque::new(),
            counts: ProgressCounts::default(),
            started: now(),
            journal,
            settled,
            paused: HashMap::new(),
            has_failed: false,
        }
    }

    /// How far it has come. Chats whose results were not taken yet count as what they came to.
    #[must_use]
    pub fn progress(&self) -> BroadcastProgress {
        let waiting = self.senders.waiting() + self.calls.len();
        self.counts.read(waiting, now().saturating_duration_since(self.started))
    }

    /// The next result; `None` once each chat of the list has had one and the journal is on the disk. Chats that
    /// an earlier run has settled have none. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The journal cannot be written, or the runtime of the pool has ended. The broadcast has ended with it,
    /// and is to be run again.
    pub async fn next(&mut self) -> Option<Result<BroadcastResult, BroadcastError>> {
        loop {
            if let Some(result) = self.results.pop_front() {
                return Some(Ok(result));
            }
            if self.has_failed {
                return None;
            }
            if let Some(error) = self.journal.as_ref().and_then(Journal::take_failure) {
                return Some(Err(self.fail(error)));
            }
            self.senders.wake(now());
            let has_read = self.read();
            self.begin_calls();
            while let Some(ended) = self.calls.try_join_next() {
                if let Err(error) = self.end_call(ended) {
                    return Some(Err(error));
                }
            }
            if !self.results.is_empty() {
                continue;
            }
            if has_read {
                tokio::task::yield_now().await;
                continue;
            }
            if self.is_over() {
                let closed = match &mut self.journal {
                    Some(journal) => journal.close().await,
                    None => Ok(()),
                };
                return closed.err().map(|error| Err(self.fail(error)));
            }
            if let Err(error) = self.wait().await {
                return Some(Err(error));
            }
        }
    }

    /// Takes all results that are left, and returns what it has come to.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn finish(mut self) -> Result<BroadcastProgress, BroadcastError> {
        while let Some(result) = self.next().await {
            result?;
        }
        Ok(self.progress())
    }

    /// Ends it before its time, and waits until the journal has what was answered.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn cancel(mut self) -> Result<BroadcastProgress, BroadcastError> {
        self.calls.abort_all();
        while let Some(ended) = self.calls.join_next().await {
            // Those that were answered count; of those that were aborted nobody knows.
            if let Ok(end) = ended {
                self.settle(end);
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.close().await?;
        }
        Ok(self.progress())
    }

    fn is_over(&self) -> bool {
        self.targets.is_none() && self.calls.is_empty() && self.senders.waiting() == 0
    }

    fn fail(&mut self, error: BroadcastError) -> BroadcastError {
        self.has_failed = true;
        self.calls.abort_all();
        error
    }

    /// Waits until a call ends or somebody's time comes.
    async fn wait(&mut self) -> Result<(), BroadcastError> {
        let wake = self.senders.next_wake().unwrap_or_else(|| after(FAR_AWAY));
        let is_behind = self.journal.as_ref().is_some_and(Journal::is_behind);
        let end = if is_behind { wake.min(after(DISK_PAUSE)) } else { wake };
        if self.calls.is_empty() {
            sleep(&self.runtime, end.saturating_duration_since(now())).await;
            return Ok(());
        }
        match timeout_at(&self.runtime, end, self.calls.join_next()).await.flatten() {
            Some(ended) => self.end_call(ended),
            None => Ok(()),
        }
    }

    /// Reads some of the list. Returns whether there may be more to read at once.
    fn read(&mut self) -> bool {
        for _ in 0..READ_AT_ONCE {
            if self.targets.is_none() {
                return false;
            }
            if self.senders.waiting() >= self.look_ahead && !self.make_room() {
                return false;
            }
            let Some(target) = self.targets.as_mut().and_then(Iterator::next) else {
                self.targets = None;
                return false;
            };
            let number = target.number(&self.id);
            if self.settled.contains(&number) {
                self.counts.skipped += 1;
                continue;
            }
            self.assign(WaitingChat { target, number, tries: 0 });
        }
        true
    }

    /// Makes room for accounts that could send, if those that rest have filled it.
    fn make_room(&mut self) -> bool {
        let at_rest = self.senders.waiting_at_rest();
        if 2 * at_rest <= self.senders.waiting() {
            return false;
        }
        let Some((account, chat)) = self.senders.make_room() else { return false };
        self.report_unsent(Some(account), chat, UnsentReason::Crowded);
        true
    }

    /// Gives a chat to the account that writes to it.
    fn assign(&mut self, chat: WaitingChat) {
        let Some(account) = chat.target.account else {
            return match self.member_for(chat.number) {
                Some(account) => self.senders.push(account, chat),
                None => self.report_unsent(None, chat, UnsentReason::NoMember),
            };
        };
        match self.senders.ended(account).map(Arc::clone) {
            Some(reason) => self.report_unsent(Some(account), chat, UnsentReason::Account(reason)),
            None => self.senders.push(account, chat),
        }
    }

    /// The member that writes to a chat: the one whose turn its number says, or the next that can.
    fn member_for(&self, number: i64) -> Option<AccountId> {
        let members = u64::try_from(self.members.len()).ok().filter(|members| *members > 0)?;
        let first = usize::try_from(number.cast_unsigned() % members).ok()?;
        let (before, from) = self.members.split_at(first);
        let mut turns = from.iter().chain(before);
        turns.find(|account| self.senders.ended(**account).is_none()).copied()
    }

    fn begin_calls(&mut self) {
        if self.journal.as_ref().is_some_and(Journal::is_behind) {
            return;
        }
        while self.calls.len() < CALLS_MAX
            && let Some((account, chat)) = self.senders.begin_call()
        {
            let mut message = (self.make)(account, &chat.target.chat);
            message.address(chat.target.chat.clone(), chat.number);
            let journal = self.journal.as_ref().and_then(Journal::writer);
            let context = CallContext { pool: self.pool.clone(), journal };
            self.calls.spawn_on(context.call(account, chat, message), &self.runtime);
        }
    }

    fn end_call(&mut self, ended: Result<CallEnd, JoinError>) -> Result<(), BroadcastError> {
        match ended {
            Ok(end) => self.settle(end),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(self.fail(BroadcastError::RuntimeEnded)),
            },
        }
        Ok(())
    }

    /// What follows from a call that has ended.
    fn settle(&mut self, CallEnd { account, mut chat, step }: CallEnd) {
        self.senders.end_call(account);
        if !matches!(step, NextStep::Paused) {
            self.paused.remove(&account);
        }
        match step {
            NextStep::Paused => {
                let since = *self.paused.entry(account).or_insert_with(now);
                if now().saturating_duration_since(since) + PAUSED_LOOK > self.patience {
                    self.report_unsent(Some(account), chat, UnsentReason::Paused);
                } else {
                    self.senders.rest(account, after(PAUSED_LOOK));
                    self.senders.push_first(account, chat);
                }
            }
            NextStep::Report(outcome) => self.report(Some(account), chat, outcome),
            NextStep::TryLater(wait, error) => {
                let is_wait = matches!(*error, InvokeError::RetryAfter { .. });
                chat.tries += u32::from(!is_wait);
                if let Some(reason) = self.senders.ended(account).map(Arc::clone) {
                    self.report_unsent(Some(account), chat, UnsentReason::Account(reason));
                } else if wait > self.patience || chat.tries >= TRIES_MAX {
                    self.report_unsent(Some(account), chat, UnsentReason::Call(error));
                } else {
                    self.senders.push_later(account, chat, after(wait.max(PAUSE_MIN)));
                }
            }
            NextStep::Rest(wait, error) if wait > self.patience => {
                self.end_account(account, chat, &error);
            }
            NextStep::Rest(wait, _) if self.senders.ended(account).is_none() => {
                self.senders.rest(account, after(wait));
                self.senders.push_first(account, chat);
            }
            NextStep::Rest(_, error) | NextStep::EndAccount(error) => {
                self.end_account(account, chat, &error);
            }
        }
    }

    /// An account sends nothing any more: its chats are told, or go to other members.
    fn end_account(&mut self, account: AccountId, chat: WaitingChat, error: &Arc<InvokeError>) {
        let mut left = self.senders.end(account, error);
        left.insert(0, chat);
        for chat in left {
            match chat.target.account {
                // Whoever writes instead sends it for the first time.
                None if chat.tries == 0 => self.assign(chat),
                _ => {
                    let reason = UnsentReason::Account(Arc::clone(error));
                    self.report_unsent(Some(account), chat, reason);
                }
            }
        }
    }

    fn report_unsent(
        &mut self,
        account: Option<AccountId>,
        chat: WaitingChat,
        reason: UnsentReason,
    ) {
        self.report(account, chat, BroadcastOutcome::Unsent { reason });
    }

    fn report(&mut self, account: Option<AccountId>, chat: WaitingChat, outcome: BroadcastOutcome) {
        let elapsed = now().saturating_duration_since(self.started);
        self.counts.count(&outcome, elapsed);
        self.results.push_back(BroadcastResult { account, chat: chat.target.chat, outcome });
    }
}

impl<S: SessionSource> fmt::Debug for BroadcastRun<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastRun")
            .field("id", &self.id)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}
