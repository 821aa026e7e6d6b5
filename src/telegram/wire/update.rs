//! What a connection brings unasked.
//!
//! Owns the type alone. Reads nothing of what is in it.

/// What comes besides answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireUpdate {
    /// The bytes of an `Updates`, or of what this version does not know.
    Pushed(Vec<u8>),
    /// The answer of a call of ours that has updates in it.
    Own {
        /// The body of the call.
        request: Vec<u8>,
        /// The bytes of the result.
        answer: Vec<u8>,
    },
    /// The server has forgotten the session and begun another: what happened before may be missing.
    Gap,
    /// The server has refused a call that nobody waits for any more, with a code that may be about the key. Of
    /// this even those hear who want no updates.
    Rejected {
        /// 401 or 406.
        code: i32,
        /// As it was sent.
        message: Box<str>,
    },
}
