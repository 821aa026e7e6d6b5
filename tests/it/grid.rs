//! The grid of cancellations: whatever each await of an acquire comes to, its caller may leave
//! at any poll, in any way.
//!
//! A case is a scene (what the acquire finds), how the manager's three calls end, after how many
//! polls the caller leaves, and how. Time is paused, so that the slow and the hanging cost
//! nothing and every case is the same each time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use telepool::{Acquire, Config, ConnectionState, Lease, Pool};

use crate::scripted::{Play, Scripted, account};

const SLOTS: u16 = 2;
const SLOW: Duration = Duration::from_millis(3);
/// Longer than every deadline of the configuration together.
const LONG: Duration = Duration::from_millis(300);
/// Longer than the pauses after a few failed dials.
const PATIENCE: Duration = Duration::from_secs(60);
/// More polls than any acquire takes.
const POLLS_MAX: usize = 24;

/// What the acquire finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// No connection.
    Cold,
    /// A connection that was idle for so long that it is checked first.
    Stale,
    /// Every place taken; one lease comes back after a while.
    Full,
    /// Every place taken; one connection is discarded after a while.
    Discarded,
    /// Every place taken; one connection breaks, and is found out when it is handed over.
    Breaking,
    /// An idle connection, and a caller who wants another.
    Fresh,
    /// Every place taken in an account that is paused; it is resumed as one lease comes back.
    Paused,
}

/// How the caller leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    AtOnce,
    /// When there is something new, without looking at it.
    WhenWoken,
    /// On a thread that has no runtime.
    Elsewhere,
    /// While the pool is being closed.
    WhileClosing,
    /// While the account is being removed.
    WhileRemoving,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    scene: Scene,
    connect: Play,
    check: Play,
    close: Play,
    leave: Leave,
    polls: usize,
}

const SCENES: [Scene; 7] = [
    Scene::Cold,
    Scene::Stale,
    Scene::Full,
    Scene::Discarded,
    Scene::Breaking,
    Scene::Fresh,
    Scene::Paused,
];
const PLAYS: [Play; 5] = [Play::Good, Play::Slow(SLOW), Play::Fail, Play::Never, Play::Panic];
const LEAVES: [Leave; 5] =
    [Leave::AtOnce, Leave::WhenWoken, Leave::Elsewhere, Leave::WhileClosing, Leave::WhileRemoving];

fn configure(config: &mut Config) {
    config.pool.max_connections_per_account = 2;
    config.pool.max_connections = 2;
    config.pool.acquire_timeout = Duration::from_millis(50);
    config.pool.dial_timeout = Duration::from_millis(20);
    config.pool.check_timeout = Duration::from_millis(20);
    config.pool.close_timeout = Duration::from_millis(10);
    config.pool.drain_timeout = Duration::from_millis(20);
    config.pool.check_after_idle = Duration::from_secs(1);
    config.pool.max_idle_time = Duration::from_secs(100_000);
    config.pool.max_connection_age = Duration::from_secs(100_000);
}

/// The acquire and what stands around it.
struct Stage {
    manager: Scripted,
    pool: Pool<Scripted>,
    held: Vec<Lease<Scripted>>,
}

impl Stage {
    async fn set(case: &Case) -> Self {
        let manager = Scripted::new(SLOTS, 1);
        let pool = manager.pool(configure);
        let mut held = Vec::new();
        match case.scene {
            Scene::Cold => {}
            Scene::Stale => {
                drop(pool.acquire(account(1)).await.unwrap());
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Scene::Full | Scene::Discarded | Scene::Breaking | Scene::Paused => {
                for _ in 0..SLOTS {
                    held.push(pool.acquire(account(1)).await.unwrap());
                }
                assert!(case.scene != Scene::Paused || pool.pause(account(1)));
            }
            Scene::Fresh => drop(pool.acquire(account(1)).await.unwrap()),
        }
        manager.on_connect(case.connect);
        manager.on_check(case.check);
        manager.on_close(case.close);
        Self { manager, pool, held }
    }

    fn acquire(&self, scene: Scene) -> Acquire<Scripted> {
        match scene {
            Scene::Fresh => self.pool.acquire_fresh(account(1)),
            _ => self.pool.acquire(account(1)),
        }
    }

    /// What happens beside the acquire.
    async fn go_on(&mut self, scene: Scene) {
        tokio::time::sleep(SLOW).await;
        let Some(lease) = self.held.pop() else { return };
        match scene {
            Scene::Discarded => lease.discard(),
            Scene::Breaking => {
                lease.broken.store(true, Ordering::SeqCst);
                drop(lease);
            }
            Scene::Paused => {
                drop(lease);
                tokio::time::sleep(SLOW).await;
                self.pool.resume(account(1));
            }
            _ => drop(lease),
        }
    }

    /// After everything has had its time, nothing is lost and nothing is left.
    async fn end(mut self, case: &Case) {
        self.held.clear();
        for on in [Scripted::on_connect, Scripted::on_check, Scripted::on_close] {
            on(&self.manager, Play::Good);
        }
        tokio::time::sleep(LONG).await;
        let stats = self.pool.stats();
        let left = (stats.leases, stats.waiting, stats.current_connecting);
        assert_eq!(left, (0, 0, 0), "{case:?}: {stats:?}");
        let connections =
            self.pool.account_stats(account(1)).map_or(Vec::new(), |it| it.connections);
        let at_rest = |state| state == ConnectionState::Idle;
        assert!(connections.iter().all(|it| at_rest(it.state)), "{case:?}: {connections:?}");
        if matches!(case.leave, Leave::WhileClosing) {
            assert!(self.pool.acquire(account(1)).await.is_err(), "{case:?}");
        } else {
            let mut both = Vec::new();
            for _ in 0..SLOTS {
                let lease = self.pool.acquire_timeout(account(1), PATIENCE).await;
                let lease = lease.unwrap_or_else(|error| panic!("{case:?}: {error}"));
                assert!(!lease.unproved.load(Ordering::SeqCst), "{case:?}: it failed its check");
                both.push(lease);
            }
        }
        assert_eq!(self.pool.close().await.still_open, 0, "{case:?}");
        self.manager.tally(|tally| {
            assert_eq!((tally.all, tally.doubled), (0, 0), "{case:?}");
            assert!(tally.all_max <= u64::from(SLOTS), "{case:?}");
            if healthy_all_along(case) {
                let needed = if case.scene == Scene::Fresh { 3 } else { u64::from(SLOTS) };
                assert!(tally.dials <= needed, "{case:?}: a healthy connection was lost");
            }
        });
    }
}

/// Nothing that happens in this case is a reason to close a connection.
fn healthy_all_along(case: &Case) -> bool {
    let is_sound = match case.scene {
        Scene::Cold | Scene::Full | Scene::Fresh | Scene::Paused => true,
        // A check that its caller leaves goes on.
        Scene::Stale => matches!(case.check, Play::Good | Play::Slow(_)),
        Scene::Discarded | Scene::Breaking => false,
    };
    is_sound
        && matches!(case.connect, Play::Good | Play::Slow(_))
        && matches!(case.leave, Leave::AtOnce | Leave::WhenWoken | Leave::Elsewhere)
}

/// Runs one case. Answers whether the acquire ended before its caller left.
async fn run(case: &Case) -> bool {
    let mut stage = Stage::set(case).await;
    let mut acquire = Some(stage.acquire(case.scene));
    let mut polls = 0;
    let watched = poll_fn(|context| {
        let inner = acquire.as_mut().expect("polled after its end");
        if polls == case.polls {
            return Poll::Ready(None);
        }
        polls += 1;
        match pin!(inner).poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polls == case.polls && !matches!(case.leave, Leave::WhenWoken) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    });
    let (done, ()) = tokio::join!(watched, stage.go_on(case.scene));
    let ended = done.is_some();
    drop(done);
    let acquire = acquire.take().expect("the acquire is here until it is dropped");
    let pool = stage.pool.clone();
    match case.leave {
        Leave::AtOnce | Leave::WhenWoken => drop(acquire),
        Leave::Elsewhere => std::thread::spawn(move || drop(acquire)).join().unwrap(),
        Leave::WhileClosing => {
            let closing = tokio::spawn(async move { pool.close().await });
            tokio::task::yield_now().await;
            drop(acquire);
            stage.held.clear();
            assert_eq!(closing.await.unwrap().still_open, 0, "{case:?}");
        }
        Leave::WhileRemoving => {
            let removing = tokio::spawn(async move { pool.remove_account(account(1)).await });
            tokio::task::yield_now().await;
            drop(acquire);
            stage.held.clear();
            removing.await.unwrap();
        }
    }
    stage.end(case).await;
    ended
}

#[tokio::test(start_paused = true)]
async fn an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to() {
    let mut cases = 0;
    for scene in SCENES {
        for (connect, check, close) in triples(scene) {
            for leave in LEAVES {
                for polls in 0..POLLS_MAX {
                    let case = Case { scene, connect, check, close, leave, polls };
                    cases += 1;
                    if run(&case).await {
                        break;
                    }
                    assert!(polls + 1 < POLLS_MAX, "{case:?}: it does not end");
                }
            }
        }
    }
    println!("{cases} cases");
    assert!(cases > 2000, "{cases}");
}

/// How the three calls of the manager end. Only a stale connection is checked, so that other
/// scenes need one check; in a cold one nothing is closed.
fn triples(scene: Scene) -> impl Iterator<Item = (Play, Play, Play)> {
    let checks = if scene == Scene::Stale { &PLAYS[..] } else { &PLAYS[..1] };
    let closes = if scene == Scene::Cold { &PLAYS[..1] } else { &PLAYS[..] };
    PLAYS.into_iter().flat_map(move |connect| {
        checks
            .iter()
            .flat_map(move |check| closes.iter().map(move |close| (connect, *check, *close)))
    })
}
