//! Received messages: which ids a client has used in a session, and what became of each message.
//!
//! Owns the rules about ids and sequence numbers that need memory. Never answers: it says with which code a
//! message is refused.

use std::collections::VecDeque;

/// How many are remembered of a session.
const RECEIVED_MAX: usize = 512;

/// The codes of `bad_msg_notification` that memory decides on.
const TOO_OLD: i32 = 20;
const SEQUENCE_TOO_LOW: i32 = 32;
const SEQUENCE_TOO_HIGH: i32 = 33;
const EVEN_EXPECTED: i32 = 34;
const ODD_EXPECTED: i32 = 35;

/// What the server says of a message when it is asked (`msgs_state_info`): low bits first, then flags.
const FORGOTTEN: u8 = 1;
const NOT_RECEIVED: u8 = 2;
const NOT_RECEIVED_YET: u8 = 3;
const RECEIVED: u8 = 4;
const ACKNOWLEDGED: u8 = 8;
const NEEDS_NO_ACKNOWLEDGEMENT: u8 = 16;
const IS_CALL: u8 = 32;
const IS_ANSWERED: u8 = 64;

/// Whether the sequence number of a message has to be odd, since the message wants an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum SequenceParity {
    Even,
    Odd,
    /// Clients differ about pings, acknowledgements and questions about messages, and the real servers take both.
    Either,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It wants no acknowledgement and gets no answer that is kept.
    Notice,
    /// A call whose answer has not left.
    Running,
    /// The same, and the client was told that it has come.
    Acknowledged,
    /// A call whose answer has left.
    Answered,
    /// A call whose answer the client does not want any more.
    Dropped,
}

/// Why a message is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MessageRefusal {
    /// It was received before.
    Duplicate,
    /// With this code of `bad_msg_notification`.
    Code(i32),
}

#[derive(Clone, Copy, Debug)]
struct ReceivedMessage {
    id: i64,
    sequence: u32,
    fate: Fate,
}

/// The messages of a session that were received last, by their ids.
#[derive(Debug, Default)]
pub(super) struct ReceivedMessages {
    messages: VecDeque<ReceivedMessage>,
    has_forgotten: bool,
}

impl ReceivedMessages {
    /// Takes a message, unless a rule forbids it.
    pub(super) fn admit(
        &mut self,
        (id, sequence): (i64, u32),
        parity: SequenceParity,
        fate: Fate,
    ) -> Result<(), MessageRefusal> {
        let place = match self.place(id) {
            Ok(_) => return Err(MessageRefusal::Duplicate),
            Err(place) => place,
        };
        if place == 0 && self.has_forgotten {
            return Err(MessageRefusal::Code(TOO_OLD));
        }
        // Numbers rise with ids; two that follow each other are equal only if both are even.
        let is_odd = !sequence.is_multiple_of(2);
        let forbids = |other: u32, is_beyond: bool| is_beyond || (other == sequence && is_odd);
        let before = place.checked_sub(1).and_then(|place| self.messages.get(place));
        if before.is_some_and(|it| forbids(it.sequence, it.sequence > sequence)) {
            return Err(MessageRefusal::Code(SEQUENCE_TOO_LOW));
        }
        if self.messages.get(place).is_some_and(|it| forbids(it.sequence, it.sequence < sequence)) {
            return Err(MessageRefusal::Code(SEQUENCE_TOO_HIGH));
        }
        match parity {
            SequenceParity::Even if is_odd => return Err(MessageRefusal::Code(EVEN_EXPECTED)),
            SequenceParity::Odd if !is_odd => return Err(MessageRefusal::Code(ODD_EXPECTED)),
            _ => {}
        }
        self.messages.insert(place, ReceivedMessage { id, sequence, fate });
        if self.messages.len() > RECEIVED_MAX {
            self.messages.pop_front();
            self.has_forgotten = true;
        }
        Ok(())
    }

    /// As if a message had not come: it may come again.
    pub(super) fn forget(&mut self, id: i64) {
        if let Ok(place) = self.place(id) {
            self.messages.remove(place);
        }
    }

    pub(super) fn fate(&self, id: i64) -> Option<Fate> {
        Some(self.messages[self.place(id).ok()?].fate)
    }

    pub(super) fn set_fate(&mut self, id: i64, fate: Fate) {
        if let Ok(place) = self.place(id) {
            self.messages[place].fate = fate;
        }
    }

    /// What is known of a message, as `msgs_state_info` has it.
    pub(super) fn state(&self, id: i64) -> u8 {
        match self.place(id) {
            Ok(place) => {
                RECEIVED
                    | match self.messages[place].fate {
                        Fate::Notice => NEEDS_NO_ACKNOWLEDGEMENT,
                        Fate::Running => IS_CALL,
                        Fate::Acknowledged => ACKNOWLEDGED | IS_CALL,
                        Fate::Answered | Fate::Dropped => ACKNOWLEDGED | IS_CALL | IS_ANSWERED,
                    }
            }
            Err(0) if self.has_forgotten => FORGOTTEN,
            Err(place) if place == self.messages.len() => NOT_RECEIVED_YET,
            Err(_) => NOT_RECEIVED,
        }
    }

    /// Where a message lies, or would.
    fn place(&self, id: i64) -> Result<usize, usize> {
        // Nearly always behind all the others.
        match self.messages.back() {
            Some(last) if last.id >= id => self.messages.binary_search_by_key(&id, |it| it.id),
            _ => Err(self.messages.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(
        received: &mut ReceivedMessages,
        id: i64,
        sequence: u32,
    ) -> Result<(), MessageRefusal> {
        received.admit((id, sequence), SequenceParity::Either, Fate::Running)
    }

    #[test]
    fn numbers_rise_with_ids_and_only_even_ones_repeat() {
        let mut received = ReceivedMessages::default();
        let code = |code| Err(MessageRefusal::Code(code));
        for (id, sequence, outcome) in [
            (100, 1, Ok(())),
            (200, 3, Ok(())),
            (200, 5, Err(MessageRefusal::Duplicate)),
            (300, 2, code(32)),
            (300, 3, code(32)),
            (300, 4, Ok(())),
            (400, 4, Ok(())),
            (150, 3, code(33)),
            (150, 4, code(33)),
            (150, 2, Ok(())),
            (50, 1, code(33)),
            (50, 0, Ok(())),
        ] {
            assert_eq!(admit(&mut received, id, sequence), outcome, "{id} {sequence}");
        }
        for (parity, sequence, outcome) in [
            (SequenceParity::Even, 7, code(34)),
            (SequenceParity::Odd, 6, code(35)),
            (SequenceParity::Even, 6, Ok(())),
        ] {
            assert_eq!(received.admit((500, sequence), parity, Fate::Notice), outcome);
        }
    }

    #[test]
    fn what_is_known_of_a_message_is_told_by_where_its_id_lies() {
        let mut received = ReceivedMessages::default();
        assert_eq!(received.state(4), NOT_RECEIVED_YET);
        for id in 1..=3_u32 {
            admit(&mut received, i64::from(id) * 100, id * 2).unwrap();
        }
        received.set_fate(200, Fate::Answered);
        received.set_fate(300, Fate::Notice);
        let states = [50, 100, 150, 200, 300, 400].map(|id| received.state(id));
        assert_eq!(states, [2, 4 + 32, 2, 4 + 8 + 32 + 64, 4 + 16, 3]);
        received.forget(200);
        assert_eq!(received.state(200), NOT_RECEIVED);
    }

    #[test]
    fn what_is_older_than_all_that_is_remembered_is_refused() {
        let mut received = ReceivedMessages::default();
        for id in 0..u32::try_from(RECEIVED_MAX).unwrap() {
            admit(&mut received, i64::from(id) * 4 + 1000, id).ok();
        }
        for id in 0..RECEIVED_MAX {
            let sequence = u32::try_from(RECEIVED_MAX + id).unwrap() * 2;
            admit(&mut received, i64::try_from(id).unwrap() * 4 + 100_000, sequence).unwrap();
        }
        assert_eq!(received.messages.len(), RECEIVED_MAX);
        assert_eq!(admit(&mut received, 1, 0), Err(MessageRefusal::Code(TOO_OLD)));
        assert_eq!(received.state(1), FORGOTTEN);
    }
}
