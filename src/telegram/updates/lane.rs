//! Lane of an account: the task that has one of its connections bring its updates, and puts them in order.
//!
//! Owns which connection carries it, the questions to the server, and the watch on silence. Never leases a
//! connection for longer than it takes to begin: calls go on beside it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use grammers_client::session::updates::UpdatesLike;
use grammers_client::tl::{RemoteCall, enums, functions, types};

use super::carrier::{Carrier, Lost, Trouble, carrier, pause_unless_closing, trouble};
use super::feed::{Heard, Listener};
use super::lanes::Lanes;
use super::mailbox::MailboxEntry;
use super::options::{Overflow, UpdatesOptions};
use super::progress::UpdateProgress;
use super::received::{AccountUpdate, Receipt, UpdateContent};
use super::sequence::Sequence;
use super::step::{SequenceTurn, UpdateStep};
use crate::account_id::AccountId;
use crate::base::clock::{Instant, now};
use crate::pool::Account;
use crate::session::UpdateStates;
use crate::telegram::{BoxError, GrammersManager, SessionSource};

/// What a silence may be set to.
const CHECK_AFTER_MIN: Duration = Duration::from_millis(50);
const CHECK_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// The pause after a question that the server did not answer, and what it doubles to.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause before a channel is asked for again of which the server did not answer.
const CHANNEL_PAUSE: Duration = Duration::from_secs(5);
/// How often the pause before such a refusal is taken in is doubled.
const REFUSALS_MAX: u32 = 6;
/// How long a connection has to carry a lane for its loss to be nothing special.
const SHORT: Duration = Duration::from_secs(5);
/// The pause after one that was lost sooner, doubled for each of so many in a row.
const LOSS_PAUSE: Duration = Duration::from_millis(50);
const LOSSES_MAX: u32 = 8;
/// How often it is told in the log that updates of an account are dropped.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a lane works with.
pub(super) struct Lane<S: SessionSource> {
    account: Account<GrammersManager<S>>,
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
        account: Account<GrammersManager<S>>,
        mailbox: MailboxEntry,
        listener: Weak<Listener>,
        options: UpdatesOptions,
    ) -> Self {
        let manager = &account.inner().context().manager;
        let (lanes, id) = (Arc::clone(&manager.lanes), account.id());
        let group = manager.group_of(id);
        let mut options = options;
        options.check_after = options.check_after.clamp(CHECK_AFTER_MIN, CHECK_AFTER_MAX);
        Self { account, lanes, group, mailbox, listener, options, told_drop: None, handed: None }
    }

    pub(super) fn id(&self) -> AccountId {
        self.account.id()
    }

    /// Waits, unless the pool begins to close.
    pub(super) async fn pause(&self, wait: Duration) {
        pause_unless_closing(&self.account, wait).await;
    }

    /// Brings updates until nobody listens any more, or the account will have no connection again.
    pub(super) async fn run(&mut self) {
        let account = self.account.id();
        let Some((progress, states)) = self.start().await else { return };
        let sequence = Sequence::load(&states, account.is_bot());
        self.handed = Some((Arc::clone(&progress), states));
        let (slot, qts) = (None, HashMap::new());
        let mut run =
            Run { sequence, progress, slot, qts, heard: now(), pause: PAUSE_FIRST, refusals: 0 };
        let mut losses = 0;
        while let Some(mut carrier) = carrier(&self.account, &self.listener).await {
            tracing::debug!(%account, slot = carrier.slot(), "updates are brought by this connection");
            let since = now();
            let Lost = self.serve(&mut run, &mut carrier).await;
            drop(carrier);
            // One that is lost again and again is not asked for again and again.
            losses = if now() < since + SHORT { (losses + 1).min(LOSSES_MAX) } else { 0 };
            if losses > 0 {
                self.pause(LOSS_PAUSE * 2_u32.pow(losses)).await;
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

    /// Brings updates by one connection.
    async fn serve(&mut self, run: &mut Run, carrier: &mut Carrier) -> Lost {
        match self.try_serve(run, carrier).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn try_serve(
        &mut self,
        run: &mut Run,
        carrier: &mut Carrier,
    ) -> Result<Infallible, Lost> {
        self.begin(run, carrier).await?;
        loop {
            let until = match run.sequence.next() {
                SequenceTurn::AskAccount(question) => {
                    if let Some(step) = self.ask_account(run, carrier, question).await? {
                        self.deliver(run, carrier.slot(), step).await;
                    }
                    continue;
                }
                SequenceTurn::AskChannel(question) => {
                    if let Some(step) = self.ask_channel(run, carrier, question).await? {
                        self.deliver(run, carrier.slot(), step).await;
                    }
                    // One channel after the other, and between them what comes for all others.
                    self.hear_what_came(run, carrier).await;
                    continue;
                }
                SequenceTurn::Tell(step) => {
                    self.deliver(run, carrier.slot(), step).await;
                    continue;
                }
                SequenceTurn::Wait(at) => at.min(run.heard + self.options.check_after),
            };
            let heard = tokio::select! {
                biased;
                heard = carrier.feed.recv() => heard,
                () = tokio::time::sleep_until(until) => {
                    // Nothing was heard for long: what was lost last, nothing shows.
                    if now() >= run.heard + self.options.check_after {
                        run.heard = now();
                        run.sequence.resync();
                    }
                    continue;
                }
            };
            run.heard = now();
            match heard {
                Heard::Updates(updates) => {
                    self.hear(run, carrier.slot(), *updates).await;
                }
                Heard::Gap => run.sequence.resync_all(),
                Heard::End => return Err(Lost),
            }
        }
    }

    /// Takes in what has come unasked. Returns whether more may be taken in before something is asked.
    async fn hear(&mut self, run: &mut Run, slot: u16, updates: UpdatesLike) -> bool {
        let Some(step) = run.sequence.receive(updates) else { return false };
        self.deliver(run, slot, step).await;
        true
    }

    /// Takes in what came while something was asked.
    async fn hear_what_came(&mut self, run: &mut Run, carrier: &mut Carrier) {
        while let Some(updates) = carrier.feed.try_recv() {
            if !self.hear(run, carrier.slot(), *updates).await {
                return;
            }
        }
    }

    /// Has a new connection bring updates, and finds out from where on.
    async fn begin(&mut self, run: &mut Run, carrier: &Carrier) -> Result<(), Lost> {
        let slot = carrier.slot();
        let moves = run.slot.map_or(slot != 0, |before| before != slot);
        if run.sequence.is_new() {
            let state = self.state(run, carrier).await?;
            let step = run.sequence.begin(state);
            self.deliver(run, slot, step).await;
        } else if moves {
            let state = self.state(run, carrier).await?;
            run.qts.insert(run.slot.unwrap_or(0), run.sequence.qts());
            run.sequence.move_to(run.qts.get(&slot).copied().unwrap_or(state.qts));
        } else {
            run.sequence.resync();
        }
        run.slot = Some(slot);
        Ok(())
    }

    /// Asks for what is missing of the account. `None`: it came to nothing, and is asked again.
    async fn ask_account(
        &self,
        run: &mut Run,
        carrier: &Carrier,
        question: functions::updates::GetDifference,
    ) -> Result<Option<UpdateStep>, Lost> {
        let wait = match self.call(run, carrier, &question).await {
            Ok(difference) => {
                run.refusals = 0;
                return Ok(Some(run.sequence.answer_account(difference)));
            }
            Err(Trouble::Lost) => return Err(Lost),
            Err(Trouble::Later) => run.next_pause(),
            Err(Trouble::Wait(wait)) => wait,
            Err(Trouble::Refused(error)) => {
                tracing::warn!(
                    account = %self.id(), %error,
                    "the server does not tell what was missed: updates go on from now"
                );
                run.refusals = (run.refusals + 1).min(REFUSALS_MAX);
                carrier.rest(now() + PAUSE_FIRST * 2_u32.pow(run.refusals)).await?;
                let state = self.state(run, carrier).await?;
                return Ok(Some(run.sequence.begin_again(state)));
            }
        };
        carrier.rest(now() + wait).await?;
        Ok(None)
    }

    /// Asks for what is missing of a channel. `None`: it came to nothing, and is asked again. Nothing else waits for
    /// that.
    async fn ask_channel(
        &self,
        run: &mut Run,
        carrier: &Carrier,
        question: functions::updates::GetChannelDifference,
    ) -> Result<Option<UpdateStep>, Lost> {
        let later = now() + CHANNEL_PAUSE;
        match self.call(run, carrier, &question).await {
            Ok(difference) => return Ok(run.sequence.answer_channel(difference, later)),
            Err(Trouble::Lost) => return Err(Lost),
            Err(Trouble::Refused(error)) => {
                tracing::info!(account = %self.id(), %error, "a channel is not shown any more");
                return Ok(Some(run.sequence.give_up_channel()));
            }
            Err(Trouble::Later) => run.sequence.put_off_channel(later),
            Err(Trouble::Wait(wait)) => run.sequence.rest_channels(now() + wait),
        }
        Ok(None)
    }

    /// The server's own state, asked until it answers.
    async fn state(&self, run: &mut Run, carrier: &Carrier) -> Result<types::updates::State, Lost> {
        loop {
            let wait = match self.call(run, carrier, &functions::updates::GetState {}).await {
                Ok(enums::updates::State::State(state)) => return Ok(state),
                Err(Trouble::Lost) => return Err(Lost),
                Err(Trouble::Wait(wait)) => wait,
                Err(Trouble::Later | Trouble::Refused(_)) => run.next_pause(),
            };
            carrier.rest(now() + wait).await?;
        }
    }

    async fn call<R: RemoteCall>(
        &self,
        run: &mut Run,
        carrier: &Carrier,
        question: &R,
    ) -> Result<R::Return, Trouble> {
        let caller = &carrier.caller;
        let answer = caller.send(question, caller.call_timeout).await;
        match answer {
            Ok(answer) => {
                run.heard = now();
                run.pause = PAUSE_FIRST;
                Ok(answer)
            }
            Err(error) => {
                // The pool learns of it as from any borrower's call: of a flood, of a session that is lost.
                self.account.inner().learn(&error, caller.slot, None);
                Err(trouble(error, caller))
            }
        }
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
            let receipt = Receipt { progress: Arc::clone(&run.progress), batch };
            let (account, peers) = (self.account.id(), Arc::clone(&step.peers));
            if let UpdateContent::Missed(missed) = content {
                self.lanes.count_missed(&self.group);
                tracing::warn!(%account, ?missed, "updates are missing: the server tells no details of them");
            }
            let update = AccountUpdate { account, slot, content, peers, _receipt: receipt };
            match self.options.overflow {
                Overflow::Wait => self.mailbox.put(update).await,
                Overflow::DropOldest => {
                    if self.mailbox.put_over(update).is_some() {
                        self.count_dropped();
                    }
                }
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
