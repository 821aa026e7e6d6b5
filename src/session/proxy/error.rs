//! The error of a proxy's URL.
//!
//! Owns the wording: what is wrong and what would do. Never holds the URL or a part of it.

/// Why a text is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// Too long.
    #[error("it has more than {limit} bytes: shorten it")]
    TooLong {
        /// How many bytes it may have.
        limit: usize,
    },
    /// No scheme of ours, no host or no port, or what may be the wrong way round.
    #[error(
        "it must be socks5://[user:password@]host:port, http://[user:password@]host:port or bind://IP, in \
         this order, with the whole name or the address of the host"
    )]
    Form,
    /// A percent sign that begins no byte, or bytes that are no text.
    #[error(
        "user and password must be percent-encoded text: write % as %25, @ as %40, : as %3A and / as %2F"
    )]
    Escape,
    /// A user or a password is missing or too long.
    #[error(
        "it must have a user and a password of 1 to {limit} bytes each, or neither (a user of an HTTP \
         proxy may go without a password, and has no colon in it)"
    )]
    Credentials {
        /// How many bytes each may have.
        limit: usize,
    },
    /// No address to dial from.
    #[error(
        "bind:// takes one address of this machine, such as bind://192.0.2.7: no name, no port, and not \
         0.0.0.0"
    )]
    BindAddress,
}
