//! Integration tests, one file per aspect.

#[cfg(feature = "session")]
mod session;
