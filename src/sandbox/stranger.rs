//! Clients that speak no transport of the data centre, and what is said of them.
//!
//! Owns the guess at what such a client takes the data centre for, and the line of the log, which
//! comes once a minute at most, however many of them come.

use std::time::Duration;

use super::frame::FrameError;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

/// How much of what was seen is shown: enough to know a protocol by, and too little for the
/// secrets that follow.
const SHOWN_LEN: usize = 8;
/// How long there is no further line.
const QUIET: Duration = Duration::from_secs(60);
/// What a browser, a client of the Bot API or of web sockets begins with.
const HTTP: [&[u8; 4]; 8] =
    [b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"PATC", b"DELE", b"CONN"];

/// Why a client is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    #[error("it looks like HTTP, which neither the Bot API nor web sockets are served over here")]
    Http,
    #[error("it looks like TLS, which nobody speaks here")]
    Tls,
    #[error(
        "64 bytes obfuscate no transport; with the secret of a proxy they would look like this"
    )]
    Header,
    #[error("too few bytes came to tell a transport")]
    Short,
    #[error("the first frame is none: {0}")]
    Frame(#[from] FrameError),
}

impl Stranger {
    /// What a client may be by its first bytes, and this otherwise.
    pub(super) fn guess(bytes: &[u8], otherwise: Self) -> Self {
        match bytes {
            [0x16, 3, ..] => Self::Tls,
            _ if bytes.first_chunk().is_some_and(|word| HTTP.contains(&word)) => Self::Http,
            _ => otherwise,
        }
    }
}

/// What has been said of strangers.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    told: Mutex<Option<Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How many came since, of which nothing was said.
    untold: u64,
}

impl Strangers {
    /// Tells of a client by its first bytes, unless one has been told of just now.
    pub(super) fn tell(&self, seen: &[u8], reason: Stranger) {
        let Some(untold) = self.is_to_be_told() else { return };
        let seen = seen[..SHOWN_LEN.min(seen.len())].escape_ascii();
        tracing::warn!(
            %seen,
            %reason,
            untold,
            "a client speaks no transport of the sandbox, which speaks full, abridged, intermediate \
             and padded intermediate, and all but the first obfuscated as well"
        );
    }

    /// Of how many nothing was said so far, if it is time to speak.
    fn is_to_be_told(&self) -> Option<u64> {
        let now = now();
        let mut told = self.told.lock();
        match &mut *told {
            Some(told) if now < told.at + QUIET => {
                told.untold += 1;
                None
            }
            _ => Some(told.replace(Told { at: now, untold: 0 }).map_or(0, |told| told.untold)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_may_be_is_guessed_by_its_first_bytes() {
        for (bytes, guess) in [
            (&b"GET / HTTP/1.1"[..], Stranger::Http),
            (b"CONNECT here:443", Stranger::Http),
            (&[0x16, 3, 1, 0, 200], Stranger::Tls),
            (b"GETTY", Stranger::Short),
            (b"", Stranger::Short),
        ] {
            assert_eq!(Stranger::guess(bytes, Stranger::Short), guess, "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_strangers_make_one_line_a_minute() {
        let strangers = Strangers::default();
        assert_eq!(strangers.is_to_be_told(), Some(0));
        for _ in 0..1000 {
            assert_eq!(strangers.is_to_be_told(), None);
        }
        tokio::time::advance(QUIET - Duration::from_millis(1)).await;
        assert_eq!(strangers.is_to_be_told(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(strangers.is_to_be_told(), Some(1001));
        assert_eq!(strangers.is_to_be_told(), None);
        tokio::time::advance(QUIET).await;
        assert_eq!(strangers.is_to_be_told(), Some(1));
    }
}
