//! What bounds a pool: the cap on its connections, the pace of its dials, and how many slots are in use.
//!
//! Containers that know no account: what they hold permits for is their callers' affair.

pub(crate) mod budget;
pub(crate) mod dialing;
pub(crate) mod occupancy;
