//! The error of a client: what it met, and how much of what is asked there it concerns.

use crate::failure::Failure;

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// This request alone: another may do.
    Request,
    /// All that is asked there. This request has changed nothing.
    Server,
    /// All that is asked there, and it is not known what this request has changed.
    Unanswered,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct ClientError {
    pub(crate) failure: Failure,
    pub(crate) extent: Extent,
}

impl ClientError {
    /// A failure that another request would meet as well.
    pub(super) fn server(failure: Failure) -> Self {
        Self { failure, extent: Extent::Server }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        error.failure
    }
}
