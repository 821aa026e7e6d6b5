//! Faults below the calls: what a server gone mad, or a hostile one, does to the protocol with the key in hand.
//!
//! Owns their names and limits. Never carries one out.

use super::plan::Fault;

/// The deepest nesting of containers, and the most that a compressed answer comes to.
const DEPTH_MAX: u32 = 100_000;
const UNPACKED_LEN_MAX: u32 = 1 << 30;
/// The farthest that a clock jumps: thirty years.
const JUMP_MAX: i32 = 946_080_000;

/// A fault of the protocol: what is done to the answer of a call, or to its connection.
///
/// All but the last five concern one answer, which comes in a packet of its own. The client can rely on nothing
/// then but its own limits: it has to end the connection, or to go on as if the answer had been lost.
///
/// | fault | what happens | with |
/// |---|---|---|
/// | `frame_length` | the frame says another length | `length`, in bytes and negative if need be |
/// | `message_key` | the packet's message key is not that of what it holds | |
/// | `wrong_session` | the packet is of another session | |
/// | `old_message_id` | the answer's id is an hour old | |
/// | `repeated_message_id` | the answer has the id of the message before it | |
/// | `even_message_id` | the answer's id is one that a client gives | |
/// | `message_length` | the message says another length | `length`, in bytes and negative if need be |
/// | `container_count` | the answer is alone in a container that says another number of messages | `count`, negative if need be |
/// | `nested_containers` | the answer lies in containers in containers | `depth`, up to 100,000 (24 bytes each) |
/// | `gzip_bomb` | a compressed answer that comes to so many zeros | `bytes`, up to 2^30; a thousandth of it is sent |
/// | `msg_copy` | the answer comes as a copy of a message, which nobody sends | |
/// | `stray_answer` | before the answer comes that to a call which was never made | |
/// | `stray_service` | before the answer come one of each message about messages, all of which were never sent, and one of no known kind | |
/// | `answer_twice` | the answer comes twice, in two messages | |
/// | `message_twice` | the answer's message comes twice, as it is | |
/// | `detailed_info` | the client is only told that there is an answer, and has to ask for it | |
/// | `bad_salt` | the call is refused because of its salt, which is right | |
/// | `bad_message` | the call is refused by `bad_msg_notification` | `code` |
/// | `clock_jump` | the server's clock jumps, for this connection; the call is refused if its id does not fit any more | `seconds`, negative: back |
/// | `half_close` | the server sends its end (FIN) instead of an answer, and waits for that of the client | |
/// | `stop_reading` | nothing is read any more, so that the client's writes come to a stop | |
///
/// On `connect` there are `clock_jump`, `half_close` and `stop_reading`; on `updates` there is none.
///
/// ```
/// use telepool::sandbox::{Fault, FaultPlan, FaultRule, ProtocolFault};
///
/// let nested = Fault::Protocol(ProtocolFault::NestedContainers { depth: 16_000 });
/// FaultPlan::new([FaultRule::new("users.getUsers", nested).limit(1)])?;
/// # Ok::<(), telepool::sandbox::FaultPlanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// The frame of the answer says another length.
    FrameLength {
        /// In bytes. The abridged transport has only 24 bits for a quarter of it.
        length: i32,
    },
    /// The packet's message key is not that of what it holds.
    MessageKey,
    /// The packet is of another session.
    WrongSession,
    /// The answer's id is an hour old.
    OldMessageId,
    /// The answer has the id of the message before it, or its own if there was none.
    RepeatedMessageId,
    /// The answer's id is one that a client gives.
    EvenMessageId,
    /// The message of the answer says another length.
    MessageLength {
        /// In bytes.
        length: i32,
    },
    /// The answer is alone in a container that says another number of messages.
    ContainerCount {
        /// How many it says.
        count: i32,
    },
    /// The answer lies in containers in containers.
    NestedContainers {
        /// How many, from 1 to 100,000.
        depth: u32,
    },
    /// The answer is compressed, and comes to zeros.
    GzipBomb {
        /// How many, from 1 to 2^30.
        bytes: u32,
    },
    /// The answer comes as a copy of a message.
    MsgCopy,
    /// Before the answer comes that to a call which was never made.
    StrayAnswer,
    /// Before the answer come one of each message about messages, all of which were never sent, and one of no
    /// known kind.
    StrayService,
    /// The answer comes in two messages.
    AnswerTwice,
    /// The answer's message comes twice, as it is.
    MessageTwice,
    /// The client is told of the answer, and has to ask for it.
    DetailedInfo,
    /// The call is refused because of its salt, which is right.
    BadSalt,
    /// The call is refused.
    BadMessage {
        /// The code, from 1 to 999: 16 to 20, 32 to 35 and 64 are known.
        code: i32,
    },
    /// The server's clock jumps, for this connection.
    ClockJump {
        /// How far ahead, or back if negative; thirty years at most.
        seconds: i32,
    },
    /// The server sends its end of the connection instead of an answer, and waits for that of the client.
    HalfClose,
    /// The server reads nothing any more. It sees the client's end all the same, unless that stands behind
    /// bytes which find no room: then only a reset shows.
    StopReading,
}

/// Every kind by its name, with the key of the number that it needs.
pub(super) const KINDS: [(&str, Option<&str>); 21] = [
    ("frame_length", Some("length")),
    ("message_key", None),
    ("wrong_session", None),
    ("old_message_id", None),
    ("repeated_message_id", None),
    ("even_message_id", None),
    ("message_length", Some("length")),
    ("container_count", Some("count")),
    ("nested_containers", Some("depth")),
    ("gzip_bomb", Some("bytes")),
    ("msg_copy", None),
    ("stray_answer", None),
    ("stray_service", None),
    ("answer_twice", None),
    ("message_twice", None),
    ("detailed_info", None),
    ("bad_salt", None),
    ("bad_message", Some("code")),
    ("clock_jump", Some("seconds")),
    ("half_close", None),
    ("stop_reading", None),
];

impl ProtocolFault {
    /// The fault of a name, with the number that it needs; one that fits no fault is refused by `check`.
    pub(super) fn named(kind: &str, number: i64) -> Option<Self> {
        let signed = i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX });
        let unsigned = u32::try_from(number).unwrap_or(0);
        Some(match kind {
            "frame_length" => Self::FrameLength { length: signed },
            "message_key" => Self::MessageKey,
            "wrong_session" => Self::WrongSession,
            "old_message_id" => Self::OldMessageId,
            "repeated_message_id" => Self::RepeatedMessageId,
            "even_message_id" => Self::EvenMessageId,
            "message_length" => Self::MessageLength { length: signed },
            "container_count" => Self::ContainerCount { count: signed },
            "nested_containers" => Self::NestedContainers { depth: unsigned },
            "gzip_bomb" => Self::GzipBomb { bytes: unsigned },
            "msg_copy" => Self::MsgCopy,
            "stray_answer" => Self::StrayAnswer,
            "stray_service" => Self::StrayService,
            "answer_twice" => Self::AnswerTwice,
            "message_twice" => Self::MessageTwice,
            "detailed_info" => Self::DetailedInfo,
            "bad_salt" => Self::BadSalt,
            "bad_message" => Self::BadMessage { code: signed },
            "clock_jump" => Self::ClockJump { seconds: signed },
            "half_close" => Self::HalfClose,
            "stop_reading" => Self::StopReading,
            _ => return None,
        })
    }

    /// Whether it can strike the first packet of a connection, which is no call.
    pub(super) fn is_of_connections(self) -> bool {
        matches!(self, Self::ClockJump { .. } | Self::HalfClose | Self::StopReading)
    }

    pub(super) fn check(self) -> Result<(), String> {
        match self {
            Self::NestedContainers { depth } if !(1..=DEPTH_MAX).contains(&depth) => {
                Err(format!("depth = {depth}: must be from 1 to {DEPTH_MAX}"))
            }
            Self::GzipBomb { bytes } if !(1..=UNPACKED_LEN_MAX).contains(&bytes) => {
                Err(format!("bytes = {bytes}: must be from 1 to {UNPACKED_LEN_MAX}"))
            }
            Self::BadMessage { code } if !(1..=999).contains(&code) => {
                Err(format!("code = {code}: must be from 1 to 999, such as 16"))
            }
            Self::ClockJump { seconds }
                if seconds == 0 || seconds.unsigned_abs() > JUMP_MAX.unsigned_abs() =>
            {
                Err(format!(
                    "seconds = {seconds}: must be from -{JUMP_MAX} to {JUMP_MAX} (thirty years), and not 0"
                ))
            }
            _ => Ok(()),
        }
    }

    /// One of each kind, as bad as a client has to bear.
    pub(super) fn samples() -> impl Iterator<Item = Fault> {
        let number = |kind: &str| match kind {
            "frame_length" => 1_500_000_000,
            "message_length" => -4,
            "container_count" => -1,
            "nested_containers" => 16_000,
            "gzip_bomb" => 64 << 20,
            "bad_message" => 32,
            "clock_jump" => 3600,
            _ => 0,
        };
        KINDS
            .iter()
            .filter_map(move |(kind, _)| Self::named(kind, number(kind)))
            .map(Fault::Protocol)
    }
}
