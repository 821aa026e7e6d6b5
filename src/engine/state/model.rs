//! Models of one word for loom: whoever gets a connection, or closes it, sees what those before it
//! did to it. The payload stands for the connection; it is relaxed, so that only the word orders it.

use std::sync::Arc;

use loom::thread;

use super::*;

/// A connection, the reason of its end, and the account's count of orphans.
struct World {
    word: StateWord,
    payload: AtomicU64,
    reason: AtomicU64,
    orphans: AtomicU64,
}

/// Works on a world from two threads, after it was prepared.
fn race(
    prepare: fn(&World),
    one: impl Fn(&World) + Send + Sync + Copy + 'static,
    other: fn(&World),
) {
    race_and_judge(prepare, one, other, |_| ());
}

/// The same, and looks at what has come of it.
fn race_and_judge(
    prepare: fn(&World),
    one: impl Fn(&World) + Send + Sync + Copy + 'static,
    other: fn(&World),
    judge: fn(&World),
) {
    loom::model(move || {
        let zero = || AtomicU64::new(0);
        let world = Arc::new(World {
            word: StateWord::connecting(),
            payload: zero(),
            reason: zero(),
            orphans: zero(),
        });
        prepare(&world);
        let first = {
            let world = Arc::clone(&world);
            thread::spawn(move || one(&world))
        };
        other(&world);
        drop(first.join());
        judge(&world);
    });
}

fn connecting(_: &World) {}

fn leased(world: &World) {
    let _ = world.word.transition_to_opened(true, 1);
}

fn leased_of_two(world: &World) {
    let _ = world.word.transition_to_opened(true, 2);
}

fn leased_twice(world: &World) {
    leased_of_two(world);
    assert_eq!(world.word.transition_to_leased_in_place(2), Some(true));
}

fn work(world: &World) {
    world.payload.fetch_add(1, Ordering::Relaxed);
}

#[track_caller]
fn sees(world: &World, works: u64) {
    assert_eq!(world.payload.load(Ordering::Relaxed), works, "the work of others is not seen");
}

fn open_after_work(world: &World) {
    work(world);
    let _ = world.word.transition_to_opened(false, 1);
}

fn release_after_work(world: &World) {
    work(world);
    let _ = world.word.transition_to_released();
}

fn lease_exclusive(world: &World) {
    if world.word.transition_to_leased(1) != Leased::No {
        sees(world, 1);
    }
}

fn lease_in_place(world: &World) {
    if world.word.transition_to_leased_in_place(1).is_some() {
        sees(world, 1);
    }
}

fn reap(world: &World) {
    if world.word.transition_to_reaped() {
        sees(world, 1);
    }
}

fn retire(world: &World) {
    if world.word.transition_to_retired(false) == Retired::Close {
        sees(world, 1);
    }
}

#[test]
fn model_a_borrower_sees_what_the_dialler_did() {
    race(connecting, open_after_work, lease_exclusive);
    race(connecting, open_after_work, lease_in_place);
}

#[test]
fn model_a_borrower_sees_what_the_borrower_before_it_did() {
    race(leased, release_after_work, lease_exclusive);
    race(leased, release_after_work, lease_in_place);
    race(leased_of_two, release_after_work, |world| {
        if world.word.transition_to_leased_in_place(2) == Some(false) {
            sees(world, 1);
        }
    });
    // Of two leases one has to be given up before there is a third.
    race(leased_twice, release_after_work, |world| {
        if world.word.transition_to_leased(2) != Leased::No {
            sees(world, 1);
        }
    });
}

#[test]
fn model_whoever_closes_an_idle_connection_sees_what_its_borrowers_did() {
    race(leased, release_after_work, reap);
    race(leased, release_after_work, retire);
    race(connecting, open_after_work, reap);
}

#[test]
fn model_the_last_borrower_of_a_retired_connection_sees_what_the_others_did() {
    race(leased_twice, release_after_work, |world| {
        if world.word.transition_to_discarded(true) == Retired::Close {
            sees(world, 1);
        }
    });
    race(
        leased_twice,
        |world| {
            work(world);
            if world.word.transition_to_discarded(false) == Retired::Close {
                sees(world, 2);
            }
        },
        |world| {
            work(world);
            if world.word.transition_to_released() == Released::Close {
                sees(world, 2);
            }
        },
    );
}

#[test]
fn model_whoever_forces_a_close_sees_what_those_who_had_left_did() {
    race(
        |world| {
            leased_twice(world);
            let _ = world.word.transition_to_retired(false);
        },
        release_after_work,
        |world| {
            let left = std::cell::Cell::new(0);
            let forced = world.word.transition_to_forced(|leases| left.set(leases), |_| ());
            if forced && left.get() == 1 {
                sees(world, 1);
            }
        },
    );
}

/// Whoever retires the connection notes why before.
fn retire_for_a_reason(world: &World) {
    world.reason.store(1, Ordering::Relaxed);
    let _ = world.word.transition_to_retired(false);
}

#[track_caller]
fn sees_the_reason(world: &World) {
    assert_eq!(world.reason.load(Ordering::Relaxed), 1, "closed without the reason");
}

#[test]
fn model_whoever_closes_a_retired_connection_knows_the_reason() {
    race(leased, retire_for_a_reason, |world| {
        if world.word.transition_to_released() == Released::Close {
            sees_the_reason(world);
        }
    });
    race(connecting, retire_for_a_reason, |world| {
        if world.word.transition_to_opened(false, 1) == Opened::Close {
            sees_the_reason(world);
        }
    });
}

/// Closes by force, and counts the leases that outlive that.
fn force_and_count(world: &World) {
    let orphans = &world.orphans;
    world.word.transition_to_forced(
        |leases| {
            orphans.fetch_add(leases.into(), Ordering::Relaxed);
        },
        |leases| {
            orphans.fetch_sub(leases.into(), Ordering::Relaxed);
        },
    );
}

#[test]
fn model_an_orphan_is_counted_before_it_returns() {
    race(
        |world| {
            leased(world);
            let _ = world.word.transition_to_retired(false);
        },
        force_and_count,
        |world| {
            if world.word.transition_to_released() == Released::Orphan {
                assert_eq!(world.orphans.load(Ordering::Relaxed), 1, "the count would wrap");
            }
        },
    );
}

#[test]
fn model_a_forced_close_counts_the_orphans_that_it_leaves_and_no_more() {
    race_and_judge(
        |world| {
            leased_twice(world);
            let _ = world.word.transition_to_retired(false);
        },
        force_and_count,
        |world| {
            if world.word.transition_to_released() == Released::Orphan {
                world.orphans.fetch_sub(1, Ordering::Relaxed);
            }
        },
        // One lease is left, of a connection that was forced.
        |world| assert_eq!(world.orphans.load(Ordering::Relaxed), 1, "it is never collected"),
    );
}
