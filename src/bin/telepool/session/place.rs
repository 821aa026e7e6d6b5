//! Place of the store: where it is unless somebody names another.
//!
//! Owns the order of the looks, and how a command ends that cannot use what is there.

use std::path::PathBuf;

use clap::Args;
use etcetera::BaseStrategy as _;
use telepool::store::{SqliteStore, StoreError};

use crate::failure::Failure;

/// Names the store.
pub(crate) const VARIABLE: &str = "TELEPOOL_STORE";
/// Where a service manager has its services keep what is to stay; of several folders the first.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
const FILE: &str = "accounts.db";

#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// The store. Without it: TELEPOOL_STORE, else accounts.db in systemd's STATE_DIRECTORY, else in the folder
    /// where this system has users keep data of programs.
    #[arg(long, value_name = "PATH", global = true)]
    store: Option<PathBuf>,
}

impl StoreArguments {
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match &self.store {
            Some(path) => Ok(path.clone()),
            None => default_path(),
        }
    }

    /// Opens a store that is there.
    pub(crate) fn open(&self) -> Result<SqliteStore, Failure> {
        SqliteStore::open(&self.path()?).map_err(unusable)
    }
}

/// Where the store is that nobody has named.
pub(crate) fn default_path() -> Result<PathBuf, Failure> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = named(VARIABLE) {
        return Ok(path.into());
    }
    if let Some(folders) = named(STATE_DIRECTORY)
        && let Some(first) = std::env::split_paths(&folders).next()
    {
        return Ok(first.join(FILE));
    }
    let strategy = etcetera::base_strategy::choose_native_strategy().map_err(|_| {
        Failure::refused(format!(
            "this user has no home to keep the store in: name its file with --store, or with {VARIABLE}"
        ))
    })?;
    Ok(strategy.data_dir().join("telepool").join(FILE))
}

/// How a command ends that cannot use the store.
pub(crate) fn unusable(error: StoreError) -> Failure {
    match error {
        StoreError::Database(_) | StoreError::Damaged { .. } => Failure::broken(error.to_string()),
        error => Failure::refused(format!("--store {error}")),
    }
}
