//! What the connections of keys have learned of the server: its clock and its salts.
//!
//! Owns that memory, which spares the next dial a round trip. None of it is a secret without the key.

use std::collections::HashMap;

use super::wire::KeyMemory;
use crate::base::clock::unix_time;
use crate::base::sync::Mutex;
use crate::session::KeyId;

/// So many salts are kept of each key, of half an hour each: whoever is not dialled for longer pays a round trip.
const SALTS_MAX: usize = 16;
/// The memory is not pruned of what has ended while it has fewer entries than this.
const PRUNE_MIN: usize = 1024;

/// The memory, by key.
#[derive(Debug, Default)]
pub(super) struct KeyMemories(Mutex<KnownKeys>);

#[derive(Debug, Default)]
struct KnownKeys {
    memories: HashMap<KeyId, KeyMemory>,
    /// At how many entries it is pruned.
    prune_at: usize,
}

impl KeyMemories {
    /// What the last connection of a key has learned.
    pub(super) fn recall(&self, key: KeyId) -> KeyMemory {
        self.0.lock().memories.get(&key).cloned().unwrap_or_default()
    }

    /// What a connection has learned.
    pub(super) fn note(&self, key: KeyId, memory: &KeyMemory) {
        let mut known = self.0.lock();
        if known.memories.len() >= known.prune_at.max(PRUNE_MIN) {
            known.memories.retain(|_, memory| !shortened(memory).salts.is_empty());
            known.prune_at = 2 * known.memories.len();
        }
        let memory = shortened(memory);
        // Its clock alone is worth a round trip where that is wrong.
        if !memory.salts.is_empty() || memory.clock_offset != 0 {
            known.memories.insert(key, memory);
        }
    }
}

/// The same without the salts that have ended, or that are far away.
fn shortened(memory: &KeyMemory) -> KeyMemory {
    let own = i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX);
    let now = own.saturating_add(memory.clock_offset);
    let mut salts = memory.salts.to_vec();
    salts.retain(|salt| i64::from(salt.valid_until) > now);
    salts.sort_unstable_by_key(|salt| salt.valid_since);
    salts.truncate(SALTS_MAX);
    KeyMemory { salts: salts.into(), ..*memory }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::AuthKey;
    use crate::telegram::wire::ServerSalt;

    fn key(number: u16) -> KeyId {
        let mut bytes = [0; 256];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        KeyId::of(&AuthKey::new(bytes))
    }

    fn memory(salts: impl IntoIterator<Item = i32>) -> KeyMemory {
        let now = i32::try_from(unix_time().as_secs()).unwrap();
        let salts = salts.into_iter().map(|at| ServerSalt {
            value: at.into(),
            valid_since: now + at * 1_800,
            valid_until: now + (at + 2) * 1_800,
        });
        KeyMemory { salts: salts.collect(), clock_offset: 0 }
    }

    #[test]
    fn what_is_kept_of_a_key_is_what_its_next_connection_can_use() {
        let memories = KeyMemories::default();
        assert_eq!(memories.recall(key(1)), KeyMemory::default());
        memories.note(key(1), &memory((-20..40).rev()));
        let kept: Vec<i64> = memories.recall(key(1)).salts.iter().map(|it| it.value).collect();
        assert_eq!(kept, (-1..15).collect::<Vec<_>>());
        memories.note(key(1), &memory([-9]));
        assert_eq!(memories.recall(key(1)).salts.len(), SALTS_MAX, "that one has ended");
        memories.note(key(1), &KeyMemory { clock_offset: 60, ..memory([-9]) });
        assert_eq!(memories.recall(key(1)).clock_offset, 60);
        assert_eq!(memories.recall(key(2)), KeyMemory::default());
    }

    #[test]
    fn keys_whose_salts_have_ended_take_no_room() {
        let memories = KeyMemories::default();
        for number in 0..2_000 {
            memories.0.lock().memories.insert(key(number), memory([-9]));
        }
        memories.note(key(2_000), &memory([0]));
        assert_eq!(memories.0.lock().memories.len(), 1);
    }
}
