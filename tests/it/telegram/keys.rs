//! One authorization key is on one connection, whatever becomes of futures, tasks and servers.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn abandoned_connects_never_put_a_key_on_two_connections() {
    abandon_connects().await;
}

#[tokio::test]
async fn nor_do_they_on_a_single_thread() {
    abandon_connects().await;
}

/// Connects, gives up at random points, and connects again at once.
async fn abandon_connects() {
    let bench = bench(1);
    for round in 0..200 {
        match round % 3 {
            // At some point of its own progress...
            0 => abandon(bench.connect(), fastrand::usize(0..8)).await,
            // ...or at some point of time...
            1 => {
                let limit = Duration::from_micros(fastrand::u64(0..1_500));
                drop(tokio::time::timeout(limit, bench.connect()).await);
            }
            // ...or just when it is there.
            _ => drop(bench.connect().await.unwrap()),
        }
        let connection = bench.connect().await.unwrap();
        bench.manager.check(&connection).await.unwrap();
        if fastrand::bool() {
            bench.manager.close(&connection).await;
        }
    }
    bench.quiet().await;
    assert_eq!(bench.server.violations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rivals_for_one_session_take_turns() {
    let bench = bench(1);
    let rivals = (0..20).map(|_| async {
        let connection = bench.connect().await.unwrap();
        connection.invoke(&GetNearestDc {}).await.unwrap();
        drop(connection);
    });
    futures(rivals).await;
    bench.quiet().await;
    assert_eq!((bench.accepted(), bench.server.violations()), (20, 0));
}

/// Runs futures side by side on this task.
async fn futures<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).map(Some).collect();
    std::future::poll_fn(|context| {
        for place in &mut futures {
            if place.as_mut().is_some_and(|future| future.as_mut().poll(context).is_ready()) {
                *place = None;
            }
        }
        if futures.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

only_over_grammers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_panic_of_the_client_costs_one_connection_and_no_key() {
        let bench = bench(1);
        for _ in 0..50 {
            let connection = bench.connect().await.unwrap();
            // Past our checks, through the plain client.
            let lost = connection.client().invoke(&Raw(vec![1; 5])).await.unwrap_err();
            assert_eq!(bench.manager.react(&lost.into()), Reaction::Discard);
            let after = connection.invoke(&GetNearestDc {}).await.unwrap_err();
            let gone = matches!(after, TelegramError::Dropped | TelegramError::NotSent);
            assert!(gone, "{after}");
            assert!(bench.manager.is_broken(&connection));
        }
        bench.quiet().await;
        assert_eq!((bench.accepted(), bench.server.violations()), (50, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_client_stuck_in_a_foreign_dial_is_cut_off_without_a_violation() {
        // The system takes the connection, and nobody ever answers on it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let deaf = listener.local_addr().unwrap();
        let mut settings = settings();
        settings.data_centres = [(4, deaf)].into_iter().collect::<telepool::session::DataCentres>();
        settings.close_grace = Duration::from_millis(20);
        let bench = bench_with(1, settings);
        for _ in 0..20 {
            let connection = bench.connect().await.unwrap();
            let client = connection.client();
            let abroad = tokio::time::timeout(
                Duration::from_millis(5),
                client.invoke_in_dc(4, &GetNearestDc {}),
            );
            assert!(abroad.await.is_err(), "nobody answers there");
            drop(connection);
            let next = bench.connect().await.unwrap();
            bench.manager.close(&next).await;
        }
        bench.quiet().await;
        assert_eq!(bench.server.violations(), 0);
    }
}

#[tokio::test]
async fn a_lost_connection_is_not_redialled_by_the_client() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Close);
    let lost = connection.invoke(&GetNearestDc {}).await.unwrap_err();
    assert!(matches!(lost, TelegramError::Io(_)), "{lost}");
    assert!(bench.manager.is_broken(&connection));
    bench.server.decide::<GetNearestDc>(Reply::Answer);
    for _ in 0..3 {
        let after = connection.invoke(&GetNearestDc {}).await.unwrap_err();
        assert_eq!(bench.manager.react(&after), Reaction::Discard, "{after}");
        connection.client().invoke(&GetNearestDc {}).await.unwrap_err();
    }
    assert_eq!(bench.accepted(), 1);
    bench.manager.close(&connection).await;
    let next = bench.connect().await.unwrap();
    next.invoke(&GetNearestDc {}).await.unwrap();
    assert_eq!((bench.accepted(), bench.server.violations()), (2, 0));
}

#[tokio::test]
async fn a_clone_of_the_client_outlives_its_connection_without_reviving_it() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    let client = connection.client();
    drop(connection);
    bench.quiet().await;
    client.invoke(&GetNearestDc {}).await.unwrap_err();
    assert_eq!(bench.accepted(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_kept_and_becomes_suspect_the_second_time() {
    let bench = bench(1);
    bench.server.forget(bench.keys[0]);
    let first = bench.connect().await.unwrap_err();
    assert!(matches!(first, TelegramError::KeyUnknown { strikes: 1 }), "{first}");
    assert_eq!(bench.manager.react(&first), Reaction::Discard);
    let second = bench.connect().await.unwrap_err();
    assert_eq!(
        bench.manager.react(&second),
        Reaction::QuarantineSession(QuarantineReason::Suspect),
        "{second}"
    );
    // It was a passing fault: the same key still serves, and the count starts afresh.
    bench.server.create_sessions(bench.keys[0]);
    drop(bench.connect().await.unwrap());
    bench.quiet().await;
    bench.server.forget(bench.keys[0]);
    let again = bench.connect().await.unwrap_err();
    assert!(matches!(again, TelegramError::KeyUnknown { strikes: 1 }), "{again}");
}

#[tokio::test]
async fn a_key_that_is_forgotten_later_costs_the_connection_only() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    bench.server.decide::<GetNearestDc>(Reply::Transport(404));
    let error = connection.invoke(&GetNearestDc {}).await.unwrap_err();
    assert!(matches!(error, TelegramError::Transport { code: 404 }), "{error}");
    assert!(bench.manager.is_broken(&connection));
    connection.invoke(&GetNearestDc {}).await.unwrap_err();
    let exchanges = bench.server.state.key_exchanges.load(Ordering::SeqCst);
    assert_eq!((bench.accepted(), exchanges), (1, 0), "no new key was made");
}

#[tokio::test]
async fn a_close_that_is_abandoned_still_closes() {
    let bench = bench(1);
    let connection = bench.connect().await.unwrap();
    abandon(bench.manager.close(&connection), 1).await;
    bench.quiet().await;
    drop(bench.connect().await.unwrap());
    assert_eq!(bench.server.violations(), 0);
}

only_over_grammers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_panic_while_dialling_costs_the_attempt() {
        let bench = bench(1);
        for _ in 0..10 {
            bench.server.decide::<Introduction>(Reply::Nonsense);
            let lost = bench.connect().await.unwrap_err();
            assert_eq!(bench.manager.react(&lost), Reaction::Discard, "{lost}");
            bench.server.decide::<Introduction>(Reply::Answer);
            drop(bench.connect().await.unwrap());
        }
        bench.quiet().await;
        assert_eq!(bench.server.violations(), 0);
    }
}

#[tokio::test]
async fn a_silent_server_holds_nothing_but_the_attempt() {
    let mut settings = settings();
    // So that each of them waits for the login check as well.
    settings.login_lasts = Duration::ZERO;
    let bench = bench_with(1, settings);
    for silent in 0..10 {
        let silence = |reply| {
            if silent % 2 == 0 {
                bench.server.decide::<Introduction>(reply);
            } else {
                bench.server.decide::<functions::updates::GetState>(reply);
            }
        };
        silence(Reply::Silence);
        let limit = Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, bench.connect()).await.is_err());
        silence(Reply::Answer);
        drop(bench.connect().await.unwrap());
    }
    bench.quiet().await;
    assert_eq!(bench.server.violations(), 0);
}

#[test]
fn a_key_outlasts_the_runtime_of_its_connection_until_the_socket_is_gone() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    };
    let next = runtime();
    for round in 0..10 {
        let bench = std::sync::Arc::new(bench(30));
        let connect_all = |runtime: &tokio::runtime::Runtime| {
            let connect = |slot| {
                let bench = std::sync::Arc::clone(&bench);
                runtime.spawn(async move { bench.manager.connect(account(), slot).await.unwrap() })
            };
            (0..30).map(connect).collect::<Vec<_>>()
        };
        let first = runtime();
        let open: Vec<_> = connect_all(&first)
            .into_iter()
            .map(|connecting| next.block_on(connecting).unwrap())
            .collect();
        // They wait for the keys.
        let waiting = connect_all(&next);
        if round % 2 == 0 {
            drop(first);
        } else {
            first.shutdown_background();
        }
        for connecting in waiting {
            let connection = next.block_on(connecting).unwrap();
            next.block_on(connection.invoke(&GetNearestDc {})).unwrap();
        }
        assert!(open.iter().all(|connection| bench.manager.is_broken(connection)));
        assert_eq!(bench.server.violations(), 0);
    }
}
