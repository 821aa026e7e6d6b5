//! Settings of the command: where they come from, and what they are.

mod arguments;
mod merge;
mod telegram;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use arguments::{SettingsArguments, address, count, seed, time};
pub(crate) use values::{Settings, is_quoted};
