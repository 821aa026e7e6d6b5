//! What either end of a connection has of MTProto: the server's side of the cipher, and the exchange of a new key.
//!
//! Owns no connection. Its rooms neither read nor write anything: they are given what has come, and return what is
//! to go.

pub(crate) mod cipher;
pub(crate) mod key_exchange;
