//! Fuzz targets of the wire: what a server may send.
//!
//! Owns the reading of bytes as a server's packets. Compiled for fuzzing, and for a test that tries a few thousand.

use std::time::Duration;

use super::frame::{Framed, next_frame};
use super::layer::{LayerEvent, LayerStart, WireLayer};
use super::limits::{WireLimits, WireTimes};
use super::salts::KeyMemory;
use crate::base::clock::now;

const NOON: Duration = Duration::from_secs(1_700_000_000);
/// How many packets are read from one input: more tell nothing new.
const PACKETS_MAX: usize = 64;

/// A byte that says what comes next, and its bytes: a call, some time, or a packet as it is once decrypted, with the
/// session's id in its place. Whatever was asked ends, and in the end nothing waits.
pub(crate) fn wire(data: &[u8]) {
    let mut layer = WireLayer::<u64>::new(LayerStart {
        key: &[7; 256],
        memory: KeyMemory::default(),
        introduction: [1; 8].into(),
        wants_updates: true,
        limits: WireLimits { unpacked_packet_max: 1 << 20, ..WireLimits::default() },
        times: WireTimes::default(),
        unix_time: NOON,
        now: now(),
        random: fastrand::Rng::with_seed(1),
    });
    let (mut rest, mut at, mut calls, mut ended) = (data, now(), 0, 0);
    for _ in 0..PACKETS_MAX {
        let Some((kind, after)) = rest.split_first() else { break };
        rest = after;
        let outcome = match kind % 4 {
            0 => {
                layer.call(calls, calls, vec![2; 8], Duration::from_secs(30), at);
                calls += 1;
                Ok(())
            }
            1 => {
                at += Duration::from_secs(u64::from(*kind));
                layer.handle_timeout(at)
            }
            _ => {
                let len = rest.first_chunk().map_or(0, |len| usize::from(u16::from_le_bytes(*len)));
                let (body, after) = rest.split_at(rest.len().min(2 + len));
                rest = after;
                layer.handle_message_bytes(body.get(2..).unwrap_or_default(), at)
            }
        };
        while layer.poll_transmit(at).is_some() {}
        ended += ended_calls(&mut layer);
        if let Err(end) = outcome {
            layer.end(&end);
            break;
        }
    }
    layer.end(&super::WireEnd::HungUp);
    ended += ended_calls(&mut layer);
    assert_eq!(ended, calls, "each call has an answer or an error");
    assert!(layer.is_idle());
    frames(data);
}

/// How many calls have ended since it was last asked.
fn ended_calls(layer: &mut WireLayer<u64>) -> u64 {
    let events = std::iter::from_fn(|| layer.poll_event());
    let is_end =
        |it: &LayerEvent<u64>| matches!(it, LayerEvent::Answer { .. } | LayerEvent::Failed { .. });
    events.filter(is_end).count() as u64
}

/// However the bytes come, what is missing of a frame is no more than a frame.
fn frames(data: &[u8]) {
    const LEN_MAX: usize = 1 << 16;
    let mut rest = data;
    while let Ok(Framed::Packet(packet)) = next_frame(rest, LEN_MAX) {
        rest = &rest[packet.end..];
    }
    if let Ok(Framed::Part { missing }) = next_frame(rest, LEN_MAX) {
        assert!((1..=LEN_MAX).contains(&missing) || missing <= 4);
    }
}
