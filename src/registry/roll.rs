//! What has something afoot, so that a reading need not look at everything else.
//!
//! Owns the list: each element once, from when it is noted until it is found at rest. What is
//! merely known costs a reading nothing. Knows nothing of what the elements are.
//!
//! # Orderings
//! Whoever changes an element does so under the element's lock, and looks at its mark then;
//! whoever takes one off clears the mark, and looks at the element then, under that lock. The
//! lock orders the two: either the change is seen, or the cleared mark is.

use std::sync::{Arc, Weak};

use crate::registry::mark::Mark;
use crate::sync::Mutex;

pub(crate) struct Roll<T> {
    /// Noted since the last reading.
    arrivals: Mutex<Vec<Weak<T>>>,
    /// Held throughout a reading: two at once would each see a part.
    present: Mutex<Vec<Weak<T>>>,
}

impl<T> Roll<T> {
    pub(crate) fn new() -> Self {
        Self { arrivals: Mutex::new(Vec::new()), present: Mutex::new(Vec::new()) }
    }

    /// Notes an element that has something afoot. To be called after the change.
    pub(crate) fn note(&self, element: &Arc<T>, mark: Mark<'_>) {
        if !mark.is_noted() && mark.note() {
            self.arrivals.lock().push(Arc::downgrade(element));
        }
    }

    /// Looks at each element; `look` returns whether it is to stay. It must not come back here
    /// to read. One that is gone leaves by itself.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<T>) -> bool) {
        let mut present = self.present.lock();
        present.append(&mut self.arrivals.lock());
        present.retain(|element| element.upgrade().is_some_and(|element| look(&element)));
        // Room for twice as many is kept, and no more: a burst is soon over.
        let room = 2 * present.len();
        present.shrink_to(room);
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::registry::Marks;

    #[test]
    fn an_element_stands_once_until_it_is_told_to_go() {
        let roll = Roll::<Marks>::new();
        let element = Arc::new(Marks::default());
        let read = |stays: bool| {
            let mut seen = 0;
            roll.for_each(|element| {
                seen += 1;
                stays || element.afoot().take_off(|| false)
            });
            seen
        };
        roll.note(&element, element.afoot());
        roll.note(&element, element.afoot());
        assert_eq!((read(true), read(false), read(true)), (1, 1, 0));
        roll.note(&element, element.afoot());
        assert_eq!(read(true), 1, "it may come again");
        drop(element);
        assert_eq!(read(true), 0, "what is gone is not counted");
    }
}

#[cfg(all(test, pool_loom))]
mod model {
    use super::*;
    use crate::registry::Marks;

    /// As an account: the mark, and under a lock whether something is afoot.
    struct Element {
        marks: Marks,
        afoot: Mutex<bool>,
    }

    #[test]
    fn model_an_account_with_something_afoot_is_on_the_roll_once() {
        loom::model(|| {
            let element = Arc::new(Element { marks: Marks::default(), afoot: Mutex::new(false) });
            let roll = Arc::new(Roll::new());
            // It stands there from before, and is at rest by now.
            roll.note(&element, element.marks.afoot());
            let noter = {
                let (element, roll) = (Arc::clone(&element), Arc::clone(&roll));
                loom::thread::spawn(move || {
                    *element.afoot.lock() = true;
                    roll.note(&element, element.marks.afoot());
                })
            };
            roll.for_each(|it| it.marks.afoot().take_off(|| *it.afoot.lock()));
            drop(noter.join());
            let mut seen = 0;
            roll.for_each(|_| {
                seen += 1;
                true
            });
            assert_eq!(seen, 1, "missed for good, or counted twice");
        });
    }
}
