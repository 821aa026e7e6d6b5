//! Lane of an account: the task that has one of its connections bring its updates, and puts them in order.
//!
//! Owns which connection carries it, the questions to the server, and the watch on silence. Never leases a
//! connection for longer than it takes to begin: calls go on beside it.

mod serve;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::carrier::{Lost, carrier, pause_unless_closing};
use super::feed::Listener;
use super::lanes::Lanes;
use super::mailbox::MailboxEntry;
use super::options::{Overflow, UpdatesOptions};
use super::progress::UpdateProgress;
use super::received::{AccountUpdate, Receipt, UpdateContent};
use super::sequence::Sequence;
use super::step::UpdateStep;
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::base::panics::catch_future;
use crate::pool::{Account, PoolRef};
use crate::session::UpdateStates;
use crate::telegram::{BoxError, SessionSource, TelegramManager};

/// How long after its end it is looked whether the account can be had again, and what that doubles to.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What a silence may be set to.
const CHECK_AFTER_MIN: Duration = Duration::from_millis(50);
const CHECK_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// The pause after a question that the server did not answer, and what it doubles to.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a connection has to carry a lane for its loss to be nothing special.
const SHORT: Duration = Duration::from_secs(5);
/// The pause after one that was lost sooner, doubled for each of so many in a row.
const LOSS_PAUSE: Duration = Duration::from_millis(50);
const LOSSES_MAX: u32 = 8;
/// How often it is told in the log that updates of an account are dropped.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a lane works with.
pub(super) struct Lane<S: SessionSource> {
    account: Account<TelegramManager<S>>,
    /// Where the account is found again after its end; `None` if the lane ends with it.
    pool: Option<PoolRef<TelegramManager<S>>>,
    lanes: Arc<Lanes>,
    group: Arc<str>,
    mailbox: MailboxEntry,
    listener: Weak<Listener>,
    options: UpdatesOptions,
    told_drop: Option<Instant>,
    /// How far it has handed updates on, and the progress of what is out: where it goes on after a panic.
    handed: Option<(Arc<UpdateProgress>, UpdateStates)>,
}

/// The state of one run of a lane.
struct Run {
    sequence: Sequence,
    progress: Arc<UpdateProgress>,
    /// The slot of the last carrier.
    slot: Option<u16>,
    /// How far the box of secret chats and bots was, by slot: each session has one of its own. Only that of
    /// the first slot is saved.
    qts: HashMap<u16, i32>,
    /// When the server last told or was asked anything of the state.
    heard: Instant,
    pause: Duration,
    /// How often in a row the server has refused to tell what was missed.
    refusals: u32,
    /// Something is missing that the last connection brought.
    has_gap: bool,
}

impl Run {
    /// The pause before the same is asked again.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

impl<S: SessionSource> Lane<S> {
    pub(super) fn new(
        account: Account<TelegramManager<S>>,
        pool: Option<PoolRef<TelegramManager<S>>>,
        mailbox: MailboxEntry,
        listener: Weak<Listener>,
        options: UpdatesOptions,
    ) -> Self {
        let manager = &account.inner().context().manager;
        let (lanes, id) = (Arc::clone(&manager.lanes), account.id());
        let group = manager.group_of(id);
        let mut options = options;
        options.check_after = options.check_after.clamp(CHECK_AFTER_MIN, CHECK_AFTER_MAX);
        let (told_drop, handed) = (None, None);
        Self { account, pool, lanes, group, mailbox, listener, options, told_drop, handed }
    }

    fn id(&self) -> AccountId {
        self.account.id()
    }

    /// Brings updates for as long as the stream wants those of the account.
    pub(super) async fn keep_running(mut self) {
        let mut pause = LOOK_FIRST;
        loop {
            let began = now();
            let ran = catch_future(Box::pin(self.run())).await;
            if ran.is_none() {
                let account = self.id();
                tracing::error!(%account, "the reading of updates has panicked: it begins anew");
            } else if self.pool.is_none() {
                // A stream of one account ends with it.
                return;
            }
            if now() >= began + SHORT {
                pause = LOOK_FIRST;
            }
            if !self.reopen(pause).await {
                return;
            }
            pause = (pause * 2).min(LOOK_EVERY);
        }
    }

    /// Takes the account as the pool has it now, once it has it: it was closed or removed, and may be dialled again.
    /// Goes on with what was handed on, so that nothing comes twice. Returns whether there is one.
    async fn reopen(&mut self, pause: Duration) -> bool {
        loop {
            if !pause_unless_closing(&self.account, pause).await {
                return false;
            }
            let Some(pool) = &self.pool else { return true };
            let Some(pool) = pool.upgrade() else { return false };
            if let Ok(account) = pool.account(self.id()) {
                self.account = account;
                return true;
            }
        }
    }

    /// Brings updates until nobody listens any more, or the account will have no connection again.
    async fn run(&mut self) {
        let account = self.account.id();
        let Some((progress, states)) = self.start().await else { return };
        let sequence = Sequence::load(&states, account.is_bot());
        self.handed = Some((Arc::clone(&progress), states));
        let mut run = Run {
            sequence,
            progress,
            slot: None,
            qts: HashMap::new(),
            heard: now(),
            pause: PAUSE_FIRST,
            refusals: 0,
            has_gap: false,
        };
        let mut losses = 0;
        while let Some(mut carrier) = carrier(&self.account, &self.listener).await {
            tracing::debug!(%account, slot = carrier.slot(), "updates are brought by this connection");
            let since = now();
            let Err(Lost) = self.serve(&mut run, &mut carrier).await;
            // What it brought and nobody has taken in goes with it.
            run.has_gap |= carrier.feed.has_rest();
            drop(carrier);
            // One that is lost again and again is not asked for again and again.
            losses = if now() < since + SHORT { (losses + 1).min(LOSSES_MAX) } else { 0 };
            if losses > 0 {
                pause_unless_closing(&self.account, LOSS_PAUSE * 2_u32.pow(losses)).await;
            }
        }
    }

    /// From where it goes on: where it got before a panic, where a lane before it got in this process, or what was
    /// saved. `None`: the pool closes before that can be read.
    async fn start(&mut self) -> Option<(Arc<UpdateProgress>, UpdateStates)> {
        if let Some(handed) = self.handed.take() {
            return Some(handed);
        }
        let mut saved = None;
        let mut pause = PAUSE_FIRST;
        while !self.lanes.has_progress(self.id()) {
            match self.read_saved().await {
                Ok(states) => {
                    saved = states;
                    break;
                }
                Err(error) => tracing::error!(
                    account = %self.id(), %error,
                    "it cannot be read how far updates were taken: none are read before that, and it is tried again"
                ),
            }
            if !pause_unless_closing(&self.account, pause).await {
                return None;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let progress = self.lanes.begin(self.id(), Weak::clone(&self.listener), saved);
        let taken = progress.taken();
        Some((progress, taken))
    }

    /// What the source of sessions has kept. It may block, and so many lanes begin at once that each gets its turn.
    async fn read_saved(&self) -> Result<Option<UpdateStates>, BoxError> {
        let _turn = self.lanes.reads.acquire().await?;
        let account = self.account.clone();
        let read = move || account.inner().context().manager.source().update_states(account.id());
        tokio::task::spawn_blocking(read).await?
    }

    /// Hands a step on, and waits for room where the stream is to miss nothing.
    async fn deliver(&mut self, run: &mut Run, slot: u16, mut step: UpdateStep) {
        if let Some(account) = step.states.account.as_mut().filter(|_| slot != 0) {
            account.qts = run.qts.get(&0).copied().unwrap_or_default();
        }
        if let Some((_, handed)) = &mut self.handed {
            handed.merge(&step.states);
        }
        let batch = run.progress.begin(step.updates.len(), step.states);
        for content in step.updates {
            if self.options.overflow == Overflow::Wait {
                // Before there is a receipt: one that is dropped in here was not taken.
                self.mailbox.room().await;
            }
            let receipt = Receipt { progress: Arc::clone(&run.progress), batch };
            let (account, peers) = (self.account.id(), Arc::clone(&step.peers));
            if let UpdateContent::Missed(missed) = content {
                self.lanes.count_missed(&self.group);
                tracing::warn!(%account, ?missed, "updates are missing: the server tells no details of them");
            }
            let update = AccountUpdate { account, slot, content, peers, _receipt: receipt };
            // Where there was room nothing has to make way.
            if self.mailbox.put_over(update).is_some() {
                self.count_dropped();
            }
        }
    }

    fn count_dropped(&mut self) {
        self.lanes.count_dropped(&self.group);
        if self.told_drop.is_none_or(|told| now() >= told + TELL_EVERY) {
            self.told_drop = Some(now());
            tracing::warn!(
                account = %self.id(),
                "updates are dropped, the oldest first: whoever reads them is too slow (told once a minute)"
            );
        }
    }
}
