//! Heartbeat of a connection: whether the server still answers.
//!
//! Owns the pings. A line that is cut tells nobody: what is sent is lost, and the server's end stays
//! open until its timer strikes. The timer is set by the first call of each connection, and by the
//! client's own pings, once a minute. How late those may reach the server decides for how long a key must
//! rest after its line was cut; so a connection on which nothing was heard for a while is asked, and is
//! given up if no answer comes. Plain pings, which leave the timer alone: a ping that sets it anew could
//! be late itself.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use grammers_client::tl::{Serializable as _, functions};
use tokio::time::Sleep;

use super::TelegramError;
use super::parts::ConnectionParts;

/// After so long without a word the server is asked, and so long it may take to answer.
const STEP: Duration = Duration::from_secs(15);

/// No answer came that would show whether the server has seen what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silent;

type Ping = Pin<Box<dyn Future<Output = Result<(), Silent>> + Send>>;

/// The heartbeat: when to ping, and the ping under way.
pub(super) struct Heartbeat {
    next: Option<Pin<Box<Sleep>>>,
    ping: Option<Ping>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self { next: None, ping: None }
    }

    /// To be polled while the connection stands. Returns once the server is found silent.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        parts: &ConnectionParts,
    ) -> Option<Silent> {
        loop {
            if let Some(ping) = &mut self.ping {
                let Poll::Ready(answer) = ping.as_mut().poll(context) else { return None };
                self.ping = None;
                // The client puts no question while it dials another data centre.
                if answer.is_err() && !parts.session.is_dialling_abroad() {
                    return Some(Silent);
                }
            }
            let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(STEP)));
            if next.as_mut().poll(context).is_pending() {
                return None;
            }
            let left = STEP.saturating_sub(parts.health.silence());
            if left.is_zero() {
                self.ping = Some(Box::pin(ping(parts, STEP)));
            }
            self.next =
                Some(Box::pin(tokio::time::sleep(if left.is_zero() { STEP } else { left })));
        }
    }
}

/// Asks the server for an answer of any kind. A connection that the server has closed is no silent one:
/// its end is known.
pub(super) fn ping(
    parts: &ConnectionParts,
    limit: Duration,
) -> impl Future<Output = Result<(), Silent>> + Send + use<> {
    let rpc = parts.rpc.clone();
    let health = std::sync::Arc::clone(&parts.health);
    let session = std::sync::Arc::clone(&parts.session);
    async move {
        let ping = functions::Ping { ping_id: 0 }.to_bytes();
        match rpc.call::<functions::Ping>(ping, limit).await {
            Ok(_) | Err(TelegramError::Rpc { .. } | TelegramError::Answer(_)) => {
                health.note_answer();
                session.note_no_dial_abroad();
                Ok(())
            }
            Err(error) if is_silence(&error) => Err(Silent),
            Err(_closed) => Ok(()),
        }
    }
}

/// Whether an error says that the server may have noticed nothing.
fn is_silence(error: &TelegramError) -> bool {
    match error {
        TelegramError::Timeout { .. } => true,
        TelegramError::Io(error) => matches!(
            error.kind(),
            ErrorKind::TimedOut
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_other_end_said_is_no_silence() {
        let io = |kind: ErrorKind| TelegramError::Io(kind.into());
        for silent in [
            TelegramError::Timeout { after: STEP },
            io(ErrorKind::TimedOut),
            io(ErrorKind::NetworkDown),
            io(ErrorKind::HostUnreachable),
            io(ErrorKind::NetworkUnreachable),
        ] {
            assert!(is_silence(&silent), "{silent}");
        }
        for said in [
            TelegramError::Dropped,
            TelegramError::Transport { code: 429 },
            io(ErrorKind::ConnectionReset),
            io(ErrorKind::UnexpectedEof),
        ] {
            assert!(!is_silence(&said), "{said}");
        }
    }
}
