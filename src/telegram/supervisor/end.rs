//! End of a connection: how the client's runner is ended, and whether that proves its sockets closed.
//!
//! Owns the order of the steps: the last ping, the request to quit, the cut. Never unlocks the key.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use crate::telegram::heartbeat::{Silent, ping};
use crate::telegram::parts::ConnectionParts;

/// How long a server that has left no call without an answer may take to answer the last ping.
const FINAL_PING_MAX: Duration = Duration::from_secs(5);
/// An answer that is no older proves that the line is sound.
const FRESH: Duration = Duration::from_millis(100);

/// Why nothing comes of a connection any more.
pub(super) enum EndCause {
    /// Nobody wants it.
    Unwanted,
    /// Its socket is closed.
    Over,
    /// The runner has ended, and not by a panic.
    Ran,
    Panicked,
    /// The server says nothing any more.
    Silent,
    /// The process did not run for so long.
    Fenced(Duration),
}

/// What the end of a runner came to.
pub(super) struct RunnerEnd {
    /// Whether it proves every socket closed.
    pub(super) closed: bool,
    /// For how long the key must rest. `None`: the server learns of the end, if what is closed here closes
    /// its side.
    pub(super) rest: Option<Duration>,
}

/// Ends the runner.
pub(super) async fn end_runner<R: Future<Output = Option<()>>>(
    mut runner: Pin<Box<R>>,
    end: EndCause,
    parts: &ConnectionParts,
) -> RunnerEnd {
    let connected = parts.session.seal();
    let cut = |rest| RunnerEnd { closed: false, rest: Some(rest) };
    let lost = parts.redial_after_loss;
    let ended = match end {
        EndCause::Ran => Some(Some(())),
        EndCause::Panicked => Some(None),
        // Not yet connected, it has no tasks that could outlive it: it is only dropped.
        _ if !connected => return RunnerEnd { closed: true, rest: None },
        // Without another word: what could still be written may come too late.
        EndCause::Fenced(stopped) => return cut(lost.saturating_sub(stopped)),
        EndCause::Silent => return cut(lost),
        EndCause::Over => quit(&mut runner, parts).await,
        EndCause::Unwanted => match final_ping(&mut runner, parts).await {
            FinalPing::Answered => quit(&mut runner, parts).await,
            FinalPing::Ended(ended) => Some(ended),
            FinalPing::Silence => return cut(lost),
        },
    };
    let Some(ended) = ended else { return RunnerEnd { closed: false, rest: None } };
    if ended.is_none() {
        let (account, slot) = (parts.account, parts.slot);
        tracing::warn!(%account, slot, "the client panicked: its connection is lost");
    }
    RunnerEnd { closed: ended.is_some() || !connected, rest: None }
}

/// Ends the way by a proxy, after the runner. Returns for how long the key must rest.
pub(super) async fn end_bridge(rest: Option<Duration>, parts: &ConnectionParts) -> Duration {
    let Some(bridge) = &parts.bridge else { return rest.unwrap_or_default() };
    // Where it is settled that the server has not noticed, or need not, nothing is waited for.
    let limit = if rest.is_none() { parts.close_grace } else { Duration::ZERO };
    let noticed = bridge.end(limit).await;
    rest.unwrap_or(if noticed { Duration::ZERO } else { parts.redial_after_loss })
}

/// Asks the runner to quit, which it does once its sockets are closed. `None`: not in time.
async fn quit<R: Future<Output = Option<()>>>(
    runner: &mut Pin<Box<R>>,
    parts: &ConnectionParts,
) -> Option<Option<()>> {
    parts.rpc.quit();
    tokio::time::timeout(parts.close_grace, runner).await.ok()
}

/// What the last ping of a connection came to that is not wanted any more.
enum FinalPing {
    /// The server has answered just now: it will notice that the connection is closed.
    Answered,
    Silence,
    /// The runner has ended meanwhile; `None` if by a panic.
    Ended(Option<()>),
}

async fn final_ping<R: Future<Output = Option<()>>>(
    runner: &mut Pin<Box<R>>,
    parts: &ConnectionParts,
) -> FinalPing {
    if parts.health.has_answered_within(FRESH) {
        return FinalPing::Answered;
    }
    let limit = match parts.health.has_unanswered() {
        true => parts.close_grace,
        false => FINAL_PING_MAX.min(parts.call_timeout),
    };
    let mut last = pin!(ping(parts, limit));
    poll_fn(|context| match last.as_mut().poll(context) {
        Poll::Ready(Ok(())) => Poll::Ready(FinalPing::Answered),
        Poll::Ready(Err(Silent)) => Poll::Ready(FinalPing::Silence),
        // The question is put by the client, which runs on in here.
        Poll::Pending => runner.as_mut().poll(context).map(FinalPing::Ended),
    })
    .await
}
