//! Cursors: where a page of a list ended.
//!
//! Owns their text. A cursor holds the place of the last row in its order and not its number, so that it
//! stays true when rows come, go and move.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::monitor::CursorPlace;

/// Writes a cursor: the order that it belongs to, and the place of the last row.
pub(super) fn write(order: u8, (key, alias): &CursorPlace) -> String {
    let mut bytes = vec![order];
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&alias.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of this order.
pub(super) fn read(order: u8, text: &str) -> Option<CursorPlace> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let ([of, key @ ..], alias) = bytes.split_last_chunk::<8>()? else { return None };
    let place = (key.try_into().ok()?, u64::from_be_bytes(*alias));
    (*of == order).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_by_its_own_order_alone() {
        let place = ([7; 24], 42);
        let text = write(3, &place);
        assert_eq!(text.len(), 44);
        assert_eq!(read(3, &text), Some(place));
        assert_eq!(read(4, &text), None);
        for text in ["", "AA", "not a cursor", &text[1..], &(text.clone() + "A")] {
            assert_eq!(read(3, text), None, "{text}");
        }
    }
}
