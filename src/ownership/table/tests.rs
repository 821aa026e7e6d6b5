//! Two tables that were opened apart are two processes to each other.

use std::path::Path;
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;

const COARSE: u64 = FINE_LIMIT - 1;
const FINE: u64 = FINE_LIMIT;
/// Each kind against each.
const PAIRS: [(u64, u64); 4] = [(COARSE, FINE), (FINE, COARSE), (COARSE, COARSE), (FINE, FINE)];

fn index() -> LockIndex {
    LockIndex::from(format!("{:016x}", fastrand::u64(..)).parse::<crate::session::KeyId>().unwrap())
}

/// A process.
struct One(LockTable, Processes);

impl One {
    /// One that may open so many files.
    fn join(folder: &Path, limit: u64) -> Self {
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        let processes = Processes::join(folder).unwrap();
        Self(LockTable::new(keys, processes.own(), limit), processes)
    }

    fn locks(&mut self, index: LockIndex) -> bool {
        self.0.lock(index, &self.1).unwrap().is_ok()
    }

    fn is_told_of_removed_locks(&mut self, index: LockIndex) -> bool {
        let error = self.0.lock(index, &self.1).unwrap_err();
        LockLoss::of(&error) == Some(LockLoss::Removed)
    }
}

fn two(folder: &TempDir, limits: (u64, u64)) -> [One; 2] {
    [limits.0, limits.1].map(|limit| One::join(folder.path(), limit))
}

/// The files of a folder that this process has open.
fn open_in(folder: &TempDir) -> u64 {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let here = all.filter_map(|it| it.path().read_link().ok());
    here.filter(|path| path.starts_with(folder.path())).count() as u64
}

#[cfg(target_os = "linux")]
#[test]
fn however_many_keys_are_added_no_more_files_are_open_than_was_said() {
    for (limit, most) in [(120, 16), (COARSE, 16), (FINE, 1_024), (u64::MAX, 1_024)] {
        let folder = tempfile::tempdir().unwrap();
        let mut one = One::join(folder.path(), limit);
        for keys in 1..=3_000 {
            assert!(one.locks(index()));
            let said = files_for(keys, limit);
            assert!(said <= most + FILES_BESIDE);
            if keys.is_power_of_two() || keys == 3_000 {
                let open = open_in(&folder);
                assert!(open <= said, "{open} are open with {keys} keys within {limit}");
            }
        }
        assert!(one.0.open.len() as u64 >= most * 9 / 10, "{} within {limit}", one.0.open.len());
    }
}

#[test]
fn a_key_is_held_by_one_whatever_each_may_open() {
    for limits in PAIRS {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder, limits);
        let index = index();
        assert!(one.locks(index));
        assert!(!other.locks(index), "{limits:?}");
        one.0.unlock(index).unwrap();
        assert!(other.locks(index), "{limits:?}");
        assert!(!one.locks(index), "{limits:?}");
    }
}

#[test]
fn a_key_is_held_by_one_though_the_numbers_of_processes_were_removed_in_between() {
    for limits in PAIRS {
        let folder = tempfile::tempdir().unwrap();
        let mut one = One::join(folder.path(), limits.0);
        let (held, later) = (index(), index());
        assert!(one.locks(held));
        std::fs::remove_file(folder.path().join("processes")).unwrap();
        let mut other = One::join(folder.path(), limits.1);
        assert!(!other.locks(held), "{limits:?}");
        assert!(one.is_told_of_removed_locks(later), "{limits:?}");
        assert!(other.locks(later), "{limits:?}: it was let go");
    }
}

#[test]
fn of_two_that_lock_a_key_at_the_same_moment_in_other_files_never_both_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let [mut one, mut other] = two(&folder, (COARSE, FINE));
    let indices: Vec<LockIndex> = (0..2_000).map(|_| index()).collect();
    let at_once = Barrier::new(2);
    let lock_all = |one: &mut One| -> Vec<bool> {
        let lock = |index: &LockIndex| {
            at_once.wait();
            matches!(one.0.try_lock(*index, &one.1), Ok(LockAttempt::Locked))
        };
        indices.iter().map(lock).collect()
    };
    let [coarse, fine] = std::thread::scope(|scope| {
        let coarse = scope.spawn(|| lock_all(&mut one));
        let fine = lock_all(&mut other);
        [coarse.join().unwrap(), fine]
    });
    assert!(coarse.iter().zip(&fine).all(|(coarse, fine)| !(*coarse && *fine)));
    assert!(coarse.iter().chain(&fine).any(|got| *got));
}

#[test]
fn files_that_were_removed_are_not_believed() {
    for limits in PAIRS {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = two(&folder, limits);
        let index = index();
        assert!(one.locks(index) && one.0.is_current(index) && one.0.is_next_current());
        std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        assert!(other.locks(index), "it cannot know");
        assert!(!one.0.is_current(index) && !one.0.is_next_current());
        one.0.unlock(index).unwrap();
        assert!(one.is_told_of_removed_locks(index), "{limits:?}");
    }
}

#[test]
fn every_file_is_looked_at_in_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = One::join(folder.path(), FINE);
    let indices: Vec<LockIndex> = (0..1_000).map(|_| index()).collect();
    assert!(indices.iter().all(|index| one.locks(*index)));
    let turns = one.0.open.len().div_ceil(LOOKED_AT_ONCE);
    assert!((0..turns).all(|_| one.0.is_next_current()));
    let (number, _) = Sharding::Fine.find(indices[7]);
    std::fs::remove_file(Sharding::Fine.path(&one.0.folder, number)).unwrap();
    assert!((0..turns).any(|_| !one.0.is_next_current()));
}

#[test]
fn a_lock_under_the_own_number_is_somebody_elses_and_nobody_knows_whose() {
    let folder = tempfile::tempdir().unwrap();
    let [mut one, mut other] = two(&folder, (COARSE, COARSE));
    other.0.own = one.0.own;
    let index = index();
    assert!(other.locks(index));
    assert_eq!(one.0.lock(index, &one.1).unwrap(), Err(None));
}
