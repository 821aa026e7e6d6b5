//! Random ids of messages: what an account has sent is not sent again.
//!
//! Owns the last ids of an account. Never looks at a message.

use std::collections::{HashSet, VecDeque};

use super::response::RpcError;
use crate::base::sync::Mutex;

/// How many are remembered of an account. The real servers do not say for how long they do.
const IDS_MAX: usize = 20_000;

/// The ids of what an account has sent last.
#[derive(Default)]
pub(super) struct RandomIds {
    ids: Mutex<Ids>,
}

#[derive(Default)]
struct Ids {
    known: HashSet<i64>,
    /// The oldest first.
    order: VecDeque<i64>,
}

impl RandomIds {
    /// Sends something, unless it was sent by this id before.
    pub(super) fn send_once(
        &self,
        id: i64,
        send: impl FnOnce() -> Result<Vec<u8>, RpcError>,
    ) -> Result<Vec<u8>, RpcError> {
        if id == 0 {
            return Err(RpcError::new(400, "RANDOM_ID_EMPTY"));
        }
        let mut ids = self.ids.lock();
        if ids.known.contains(&id) {
            return Err(RpcError::new(500, "RANDOM_ID_DUPLICATE"));
        }
        let answer = send()?;
        if ids.order.len() == IDS_MAX
            && let Some(oldest) = ids.order.pop_front()
        {
            ids.known.remove(&oldest);
        }
        ids.known.insert(id);
        ids.order.push_back(id);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_sent_again_and_what_failed_may_be() {
        let ids = RandomIds::default();
        let send = |id| ids.send_once(id, || Ok(vec![1]));
        let fail = |id| ids.send_once(id, || Err(RpcError::new(400, "PEER_ID_INVALID")));
        assert_eq!(fail(7).unwrap_err().message, "PEER_ID_INVALID");
        assert!(send(7).is_ok());
        for again in [send(7), fail(7)] {
            assert_eq!(again.unwrap_err(), RpcError::new(500, "RANDOM_ID_DUPLICATE"));
        }
        assert_eq!(send(0).unwrap_err(), RpcError::new(400, "RANDOM_ID_EMPTY"));
        for id in (8..).take(IDS_MAX) {
            assert!(send(id).is_ok());
        }
        assert!(send(7).is_ok(), "it was long ago");
        assert_eq!(ids.ids.lock().known.len(), IDS_MAX);
    }
}
