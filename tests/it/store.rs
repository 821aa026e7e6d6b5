//! Stores: where sessions are kept.

#[cfg(all(unix, feature = "cli"))]
mod command;
mod conformance;
#[cfg(all(unix, feature = "cli"))]
mod export;
#[cfg(all(unix, feature = "cli"))]
mod kill;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod libraries;
#[cfg(unix)]
mod place;
#[cfg(all(unix, feature = "cli"))]
mod real;
mod source;

use telepool::store::SqliteStore;

#[test]
fn the_file_is_a_store_by_every_rule() {
    for (rule, hold) in conformance::RULES {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(&folder.path().join("accounts.db")).unwrap();
        println!("{rule}");
        hold(&store);
    }
}
