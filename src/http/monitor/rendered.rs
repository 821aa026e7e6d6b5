//! Rendered texts: answers that several clients get, each made once.
//!
//! Owns how many of them there may be. They go with the sample or the listing that they were made of.

use axum::body::Bytes;

use crate::base::sync::Mutex;

/// Texts by what they depend on.
#[derive(Debug, Default)]
pub(crate) struct Rendered(Mutex<Vec<(String, Bytes)>>);

/// How many such texts are kept, and how many bytes of them.
const RENDERED_MAX: usize = 64;
const RENDERED_BYTES_MAX: usize = 4 << 20;

impl Rendered {
    /// The text of a key, if there is one.
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.0.lock().iter().find(|(known, _)| known == key).map(|(_, text)| text.clone())
    }

    /// Returns the text of a key, made now if there is none yet. Two who ask at once may both make it.
    pub(crate) fn get_or_make<E>(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if let Some(text) = self.get(key) {
            return Ok(text);
        }
        let text = make()?;
        let mut rendered = self.0.lock();
        let bytes: usize = rendered.iter().map(|(_, text)| text.len()).sum();
        if rendered.len() < RENDERED_MAX && bytes + text.len() <= RENDERED_BYTES_MAX {
            rendered.push((key.to_owned(), text.clone()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_once() {
        let rendered = Rendered::default();
        let make = |text: &'static str| move || Ok::<_, ()>(text.into());
        assert_eq!(rendered.get("a"), None);
        assert_eq!(rendered.get_or_make("a", make("one")).unwrap(), "one");
        assert_eq!(rendered.get_or_make("a", make("two")).unwrap(), "one");
        assert_eq!(rendered.get_or_make("b", make("two")).unwrap(), "two");
        assert_eq!(rendered.get_or_make("c", || Err("none")), Err("none"));
        assert_eq!(rendered.get("c"), None);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let rendered = Rendered::default();
        for number in 0..2 * RENDERED_MAX {
            rendered.get_or_make(&number.to_string(), || Ok::<_, ()>("text".into())).unwrap();
        }
        assert_eq!(rendered.0.lock().len(), RENDERED_MAX);
        let rendered = Rendered::default();
        let large = Bytes::from(vec![b' '; RENDERED_BYTES_MAX / 2 + 1]);
        for key in ["a", "b"] {
            assert_eq!(rendered.get_or_make(key, || Ok::<_, ()>(large.clone())).unwrap(), large);
        }
        assert!(rendered.get("a").is_some() && rendered.get("b").is_none());
    }
}
