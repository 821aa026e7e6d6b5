//! One connection's time with a lane: what it brings, and what the server is asked by it.
//!
//! Owns the turns: one question, then whatever has come. Finds no connection, and hands nothing on by itself.

use std::convert::Infallible;
use std::time::Duration;

use grammers_client::session::updates::UpdatesLike;
use grammers_client::tl::{RemoteCall, enums, functions, types};

use super::{Lane, PAUSE_FIRST, Run};
use crate::base::clock::now;
use crate::telegram::SessionSource;
use crate::telegram::updates::carrier::{Carrier, Lost, Trouble, trouble};
use crate::telegram::updates::feed::{FEED_CAPACITY, Heard};
use crate::telegram::updates::step::{SequenceTurn, UpdateStep};

/// The pause before a channel is asked for again of which the server did not answer.
const CHANNEL_PAUSE: Duration = Duration::from_secs(5);
/// How often the pause before such a refusal is taken in is doubled.
const REFUSALS_MAX: u32 = 6;

impl<S: SessionSource> Lane<S> {
    /// Brings updates by one connection, until it is lost.
    pub(super) async fn serve(
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
        // No more than fit in there: what comes meanwhile waits until the next question.
        for _ in 0..FEED_CAPACITY {
            let Some(updates) = carrier.feed.try_recv() else { return };
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
        if std::mem::take(&mut run.has_gap) {
            run.sequence.resync_all();
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
}
