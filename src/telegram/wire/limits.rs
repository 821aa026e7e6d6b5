//! Limits of a connection: on what a server may send, and on what waits here.
//!
//! Owns the numbers, and where they come from. Never counts anything itself.

use std::time::Duration;

/// The longest body of a call: one of 1,040,000 bytes, and what it may be wrapped in. Servers take messages of up to
/// 1 MiB, with the container and what else is in it.
pub(super) const BODY_LEN_MAX: usize = 1_040_004;
/// How many bytes of messages go into one packet, as other clients have it.
pub(super) const PACKET_LEN_MAX: usize = 1_044_448;
/// How many bytes several of them may come to. More at once saves nothing, and keeps what comes after them waiting:
/// a server answers nothing of a packet before it has all of it.
pub(super) const SEVERAL_LEN_MAX: usize = 128 * 1024;
/// How many messages go into one packet: what a container may hold.
pub(super) const PACKED_MAX: usize = 1_020;

/// What a server may send, and what may wait here.
///
/// A packet is read only by somebody who has the key: what these limits keep out comes from a server that has
/// lost its mind, and may cost the connection, but neither the memory nor the time of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireLimits {
    /// The longest frame, in bytes (default 4 MiB). Servers take 1 MiB and send parts of files of as much; a
    /// packet of several answers is larger.
    pub frame_len_max: usize,
    /// How many bytes one compressed message may come to (default 16 MiB). The largest answers known are of a
    /// few megabytes.
    pub unpacked_message_max: usize,
    /// How many bytes all compressed messages of a packet may come to (default 32 MiB).
    pub unpacked_packet_max: usize,
    /// How many messages may be in a packet (default 8,192). A container of the protocol holds 1,020.
    pub messages_max: usize,
    /// How deep messages may lie in each other (default 4): a compressed container with compressed messages
    /// needs 3.
    pub nesting_max: usize,
    /// How many calls may be without an answer at a time (default 1,024, as in Telegram's own library).
    pub calls_max: usize,
    /// How many calls may wait, those without an answer included (default 16,384).
    pub calls_waiting_max: usize,
    /// How many bytes the bodies of those may have (default 64 MiB): uploads of 128 parts of 512 KiB each.
    pub bytes_waiting_max: usize,
    /// How many ids of messages are kept to know duplicates by (default 4,096, as several come for
    /// each call), of the last 300 s.
    pub seen_max: usize,
    /// How often a call is sent again because the server refused its message (default 5).
    pub resends_max: u8,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            frame_len_max: 4 << 20,
            unpacked_message_max: 16 << 20,
            unpacked_packet_max: 32 << 20,
            messages_max: 8_192,
            nesting_max: 4,
            calls_max: 1_024,
            calls_waiting_max: 16_384,
            bytes_waiting_max: 64 << 20,
            seen_max: 4_096,
            resends_max: 5,
        }
    }
}

/// When a connection speaks without being asked to. No time counts as longer than a day, and pings lie at least 1 ms
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireTimes {
    /// How often the server is pinged (default 15 s). One that says nothing for so long after a ping has left is
    /// silent, and so is one that says other things for eight times as long.
    pub ping_every: Duration,
    /// After how long without a ping the server closes its end (default 30 s), in whole seconds: at least
    /// one, and no less than lies between two pings.
    pub disconnect_delay: Duration,
    /// How long an acknowledgement waits for company (default 10 s).
    pub ack_after: Duration,
    /// How long a close may take: to send what is begun, and for the server to close its end (default 1.5 s).
    pub close_within: Duration,
}

impl Default for WireTimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ping_every: seconds(15),
            disconnect_delay: seconds(30),
            ack_after: seconds(10),
            close_within: Duration::from_millis(1_500),
        }
    }
}

impl WireTimes {
    /// The same, but for what no clock can count, or what would never let the connection rest.
    pub(super) fn within_reason(self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(86_400));
        Self {
            ping_every: self.ping_every.clamp(shortest, longest),
            disconnect_delay: self.disconnect_delay,
            ack_after: self.ack_after.min(longest),
            close_within: self.close_within.min(longest),
        }
    }

    /// After how many seconds without a ping the server is to close its end.
    pub(super) fn disconnect_seconds(&self) -> u64 {
        let between = self.ping_every.as_secs() + u64::from(self.ping_every.subsec_nanos() > 0);
        self.disconnect_delay.as_secs().max(between).max(1)
    }
}
