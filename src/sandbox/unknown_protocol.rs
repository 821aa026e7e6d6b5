//! Clients that speak no transport of the data centre, and the warning about them.
//!
//! Owns the guess at the protocol that such a client speaks, and the rate limit of the warning: one a
//! minute, however many of them connect.

use std::time::Duration;

use super::frame::FrameError;
use crate::base::clock::{Instant, now};
use crate::base::sync::Mutex;

/// How many of the first bytes are logged: enough to know a protocol by, and too few for the
/// secrets that follow.
const SHOWN_LEN: usize = 8;
/// How long there is no further warning.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// The first bytes of a browser, of a client of the Bot API or of web sockets.
const HTTP: [&[u8; 4]; 8] =
    [b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"PATC", b"DELE", b"CONN"];

/// Why the protocol of a client is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownProtocol {
    #[error("it looks like HTTP, which neither the Bot API nor web sockets are served over here")]
    Http,
    #[error("it looks like TLS, which nobody speaks here")]
    Tls,
    #[error(
        "64 bytes obfuscate no transport; with the secret of a proxy they would look like this"
    )]
    ObfuscationHeader,
    #[error("too few bytes came to tell a transport")]
    TooShort,
    #[error("the first frame is none: {0}")]
    Frame(#[from] FrameError),
}

impl UnknownProtocol {
    /// The protocol that the first bytes look like, or `otherwise`.
    pub(super) fn guess(bytes: &[u8], otherwise: Self) -> Self {
        match bytes {
            [0x16, 3, ..] => Self::Tls,
            _ if bytes.first_chunk().is_some_and(|word| HTTP.contains(&word)) => Self::Http,
            _ => otherwise,
        }
    }
}

/// The warnings about unknown protocols, limited in rate.
#[derive(Debug, Default)]
pub(super) struct UnknownProtocolWarnings {
    last: Mutex<Option<LastWarning>>,
}

#[derive(Debug)]
struct LastWarning {
    at: Instant,
    /// How many clients were not warned about since.
    suppressed: u64,
}

impl UnknownProtocolWarnings {
    /// Warns about a client by its first bytes, unless there was a warning just now.
    pub(super) fn warn(&self, seen: &[u8], reason: UnknownProtocol) {
        let Some(suppressed) = self.take_suppressed() else { return };
        let seen = seen[..SHOWN_LEN.min(seen.len())].escape_ascii();
        tracing::warn!(
            %seen,
            %reason,
            untold = suppressed,
            "a client speaks no transport of the sandbox, which speaks full, abridged, intermediate \
             and padded intermediate, and all but the first obfuscated as well"
        );
    }

    /// How many clients were not warned about since the last warning, if it is time for another.
    fn take_suppressed(&self) -> Option<u64> {
        let now = now();
        let mut last = self.last.lock();
        match &mut *last {
            Some(last) if now < last.at + WARNING_INTERVAL => {
                last.suppressed += 1;
                None
            }
            _ => {
                let last = last.replace(LastWarning { at: now, suppressed: 0 });
                Some(last.map_or(0, |last| last.suppressed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_may_be_is_guessed_by_its_first_bytes() {
        for (bytes, guess) in [
            (&b"GET / HTTP/1.1"[..], UnknownProtocol::Http),
            (b"CONNECT here:443", UnknownProtocol::Http),
            (&[0x16, 3, 1, 0, 200], UnknownProtocol::Tls),
            (b"GETTY", UnknownProtocol::TooShort),
            (b"", UnknownProtocol::TooShort),
        ] {
            assert_eq!(
                UnknownProtocol::guess(bytes, UnknownProtocol::TooShort),
                guess,
                "{bytes:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_make_one_warning_a_minute() {
        let warnings = UnknownProtocolWarnings::default();
        assert_eq!(warnings.take_suppressed(), Some(0));
        for _ in 0..1000 {
            assert_eq!(warnings.take_suppressed(), None);
        }
        tokio::time::advance(WARNING_INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(warnings.take_suppressed(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(warnings.take_suppressed(), Some(1001));
        assert_eq!(warnings.take_suppressed(), None);
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!(warnings.take_suppressed(), Some(1));
    }
}
