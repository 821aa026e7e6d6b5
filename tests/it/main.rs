//! Integration tests, one file per aspect.

#[cfg(feature = "session")]
mod session;
#[cfg(all(feature = "grammers", feature = "sandbox"))]
mod telegram;
