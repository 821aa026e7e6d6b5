//! Compressed messages that come to far more than what is sent.
//!
//! Owns their making, which costs a thousandth of what they come to. Never opens one.

use flate2::{Compress, Compression, FlushCompress};
use grammers_tl_types::Serializable;

const GZIP_PACKED: u32 = 0x3072_cfa1;
/// What a gzip stream begins with: no name, no time, any system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// How many zeros one piece comes to.
const PIECE_LEN: usize = 1 << 20;

/// A compressed object, as a message may hold it, that comes to so many zeros.
pub(super) fn packed_zeros(len: usize) -> Vec<u8> {
    let mut stream = GZIP_HEADER.to_vec();
    let whole = piece(PIECE_LEN);
    (0..len / PIECE_LEN).for_each(|_| stream.extend(&whole));
    stream.extend(piece(len % PIECE_LEN));
    // An empty last block, with the codes that need no table.
    stream.extend([3, 0]);
    let (mut checksum, mut left) = (crc32fast::Hasher::new(), len);
    let zeros = [0; 4096];
    while left > 0 {
        let part = left.min(zeros.len());
        checksum.update(&zeros[..part]);
        left -= part;
    }
    stream.extend(checksum.finalize().to_le_bytes());
    stream.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    let mut object = GZIP_PACKED.to_bytes();
    stream.serialize(&mut object);
    object
}

/// Zeros compressed by themselves, so that pieces can follow each other.
fn piece(len: usize) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(len / 500 + 64);
    let flushed = deflate.compress_vec(&vec![0; len], &mut out, FlushCompress::Full);
    flushed.expect("BUG: there is room for zeros");
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use grammers_tl_types::Deserializable;

    use super::*;

    #[test]
    fn a_bomb_comes_to_what_it_should_and_is_small() {
        for len in [1, 1000, PIECE_LEN, 5 * PIECE_LEN + 7] {
            let object = packed_zeros(len);
            assert!(object.len() < len / 900 + 100, "{len}: {}", object.len());
            let stream = Vec::<u8>::from_bytes(&object[4..]).unwrap();
            let mut zeros = Vec::new();
            GzDecoder::new(&stream[..]).read_to_end(&mut zeros).unwrap();
            assert!(zeros.len() == len && zeros.iter().all(|byte| *byte == 0), "{}", zeros.len());
        }
    }
}
