//! How telepool works inside. Documentation only: there is no code here.
//!
//! # The floors
//! A folder uses only those below it; `tests/tidy.rs` checks that.
//!
//! ```text
//!   bin/telepool   arguments, configuration files, the workload of a sandbox run
//!   ──────────────────────────────────────────────────────────────────────────
//!   telegram       accounts behind the Manager   sandbox   the data centre
//!   http           the numbers over HTTP
//!   ownership      which process may use which key
//!   session        sessions as text              metrics   the numbers
//!   ──────────────────────────────────────────────────────────────────────────
//!   pool           Pool, Account, Acquire, Lease: what users hold
//!   runtime        an account with its engine; the tasks: worker, dials, checks, reaper
//!   registry       all accounts: map, active set, eviction queue
//!   limits, expiry budget, dial limiter, occupancy; timing wheel and schedule
//!   engine         the engine of one account, without I/O: states, idle queue, waiters
//!   ──────────────────────────────────────────────────────────────────────────
//!   account_id, account_health, connection, manager, config, error, events, stats: the words
//!   base           atomics and locks, time, timers, panics of others' code, labels
//! ```
//!
//! Nothing below the features knows Telegram. Nothing from the engine down spawns, sleeps or reads a
//! clock. The registry, the limits and the schedule know no account: they are generic over it.
//!
//! # One account
//! ```text
//!            gate: flags + generation      (who may be served at all)
//!              │
//!   acquire ───┼──► an entry ────► connection.word: state, leases, QUEUED  ──► lease
//!              │                         ▲
//!              └──► wait queue ──────────┘  handed over, first come, first served
//!                        │
//!                        └──► vacant slot + permit ──► dial ──► connection
//! ```
//!
//! - A **slot** is an authorized session. It holds one connection, or none; a permit of the
//!   account and one of the whole pool go with each.
//! - The **word** of a connection says what it is doing and how many leases it bears. Whoever
//!   changes it from idle owns what comes next: a borrower, the reaper, a resize. The idle queue
//!   only remembers an order; an entry whose connection was claimed otherwise is stale.
//! - The **gate** of the account tells an acquire in one load whether it may take the short way,
//!   and a release whether somebody must be looked after.
//!
//! # One acquire
//! The gate is clear: an entry is popped, its word is changed from idle to leased, the manager is
//! asked whether the connection is broken, and the lease is made. No lock, no semaphore, no
//! allocation. Was it idle for longer than `check_after_idle`, it is checked first.
//!
//! The connection that was used longest ago is used next: entries lie in a queue. That of an account's
//! only connection lies beside the gate instead, so that with very many accounts an acquire waits for
//! the memory of the account and of the connection, and for none besides; the queue is made with the
//! second connection. Only while several threads contend does each keep to one connection (thread
//! affinity): it is leased through its slot, and its entry stays where it is, so that the ends of the
//! queue and every connection do not move from cache to cache. Now and then
//! an acquire of a thread looks at the time first, and whether its task owes others a turn: then it gives
//! way with empty hands.
//!
//! Otherwise the acquire joins the wait queue, under the account's lock. *Then* it looks for a
//! connection: a release makes its word idle and *then* looks at the gate, so that one of the two
//! sees the other. (One that joins others has nothing to look for, unless it may have something
//! dialled.) If a slot is vacant and a permit is free, the engine orders a dial, which
//! the worker carries out apart from the caller: a caller that leaves loses its turn, and the
//! connection is pooled.
//!
//! # One release
//! The word is changed back; the gate is looked at. Clear: the entry is pushed, and that is all.
//! Not clear: the engine, under the lock, gives the connection to the first waiter, or closes it
//! because it is broken, outdated, over its age or over the cap.
//!
//! # One expiry
//! Each connection has one entry in the wheel, with the time of its next visit. Entries come out
//! in chunks of 64. The reaper reads when the connection was last used and re-arms the entry, or claims
//! the connection by the same change of the word that an acquire makes. Nothing on the way of an acquire
//! knows the wheel.
//!
//! # One shutdown
//! Every gate is closed: waiters wake with an error, idle connections go to the closer, leased
//! ones follow as they return, or by force after `drain_timeout`. The last slot to become vacant
//! ends the wait. A connection is vacant only when the manager's `close` has returned, and the
//! manager of Telegram accounts returns when the socket is gone: that is why no key is ever on two.
//!
//! # Words
//! Each means one thing, here and in the code; the words of the field are used where there are any.
//!
//! | word | what it means |
//! |---|---|
//! | account | what a caller asks for: a user or a bot, with one session or more |
//! | session, slot | an authorization of an account; its place in the account, from 0 |
//! | store, origin | where sessions are kept past the process; the program that a session comes from |
//! | name, canonical name | a phone number, `bot:ID` or `user:ID` that leads to an account; the one by which the pool knows it |
//! | identity | the device and application that a session shows |
//! | connection | an open link of one slot; at most one exists for a slot at any time |
//! | lease | the right to use a connection, until it is dropped; several may share one connection |
//! | acquire | the future that becomes a lease |
//! | waiter, wait queue | an acquire that found no free connection; those of an account, first come, first served |
//! | permit | a unit of a cap: of an account, of the pool, of dials under way to an address |
//! | gate | the word of an account that says whether an acquire or a release may take the short way |
//! | generation | counts the configurations of an account; a connection of an older one is retired |
//! | retire, drain | to take no new leases and close on the last release; to do so for a whole account |
//! | check, suspect | to ask the server whether a connection or a session is still good; what has to be checked |
//! | probe | the dial that tells whether a suspect session is known to the server |
//! | pause | acquires of an account wait until an operator resumes it; everything else goes on |
//! | quarantine | a session or an account that is not dialled until an operator reinstates it |
//! | cooldown | the time in which a method of an account must rest; a flood wait of the server's |
//! | rest, backoff | an account that is not dialled for a while, after dials that failed |
//! | listener, lane | who reads the updates of an account; the way by which they come to it, over one of its connections at a time |
//! | feed, mailbox | where a connection puts the updates that come by it; where those of an account wait to be read |
//! | turn, pacing | the right to send one call into a chat now; waiting for it here, so that the server need not refuse it |
//! | broadcast, journal | one message to many chats; the file that says which of them are settled |
//! | evict | to close an idle connection so that another account may have its permit |
//! | egress | the way by which a dial leaves: the address that the machine chooses, one that was named, or a proxy; a dial limiter for each |
//! | bridge, door | the way of a proxied connection; the listener on the loopback interface at which the client enters it |
//! | endpoint | the server in this process by which the client makes its calls over a connection that is not its own; the client enters it by a door as well |
//! | breaker, trial | dials to what refuses or does not answer are held back; one now and then is let through |
//! | effects | what a step of the engine leaves to be done; applying them is the only way out |
//! | command | what an account sends to the worker, since it takes time |
//! | active set | the accounts that a scrape has to visit; all others have nothing to show |
//! | reading | one pass over a pool's counters, for `Pool::stats` and for metrics |
//! | key lock | keeps an authorization key from being used by two connections, within a process or on a host |
//!
//! # What is limited
//! Connections by two caps; dials by pace, handshakes and a breaker per egress; waits by a
//! deadline; closes by `close_timeout`; drains by `drain_timeout`; events by a backlog of 1,024;
//! group labels by 64; cooldowns by 64 per account; sends by the limits that an account keeps; the chats that a
//! broadcast reads ahead by 100,000, and its calls by 8 per account; failed dials by jittered backoff from 1 to
//! 60 s. The worker's queue has no limit of its own: what lies in it holds a permit.
//!
//! # What must hold
//! Each of these facts fails in some published pool; here it is held by tests. Those that begin
//! with `model_` are loom models, `the_engine_is_its_model` is a state machine of random actions
//! against a plain model.
//!
//! | | fact | held by |
//! |---|---|---|
//! | I1 | live and connecting connections never exceed a cap, of an account or of the pool | `the_engine_is_its_model`, `more_accounts_than_the_global_cap_allows`, `an_acquire_never_exceeds_the_sessions_of_an_account` |
//! | I2 | after any resizes, free permits and held ones make the cap | `resizing_in_any_order_keeps_the_number_of_permits`, `shrinking_and_growing_while_empty_keeps_the_number_of_permits`, `the_engine_is_its_model` |
//! | I3 | the reaper neither makes nor loses a permit | `the_engine_is_its_model`, `model_a_reaped_connection_is_replaced_for_a_waiter_that_comes_meanwhile` |
//! | I4 | no wake-up is lost | `model_a_release_and_a_waiter_never_miss_each_other`, `model_two_releases_serve_two_waiters`, `model_a_waiter_that_leaves_while_it_is_served_loses_nothing` |
//! | I5 | an acquire can be dropped at any point | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `chaos_leaves_nothing_behind` |
//! | I6 | a dial whose caller left is pooled or ends, and its slot comes back | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `a_dial_whose_caller_left_is_pooled`, `a_dial_that_never_ends_costs_one_attempt_and_its_slot_comes_back` |
//! | I7 | a check without an answer leaves no idle connection | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `a_check_that_finds_no_answer_never_returns_the_connection_to_the_pool` |
//! | I8 | a panic of somebody else's code costs one connection | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `a_panic_in_connect_costs_that_attempt`, `a_panic_in_check_close_or_is_broken_costs_that_connection`, `a_panic_around_a_check_costs_one_connection`, `a_panic_around_a_dial_costs_one_attempt`, `a_waker_that_panics_costs_nobody_else_anything`, `a_listener_that_panics_harms_nobody_and_hears_the_next_event` |
//! | I9 | what was returned while unwinding is checked before it is reused | `a_connection_returned_while_unwinding_is_checked_before_it_is_reused`, `a_shared_connection_is_checked_after_one_of_its_borrowers_has_panicked` |
//! | I10 | a discarded connection makes a dial for whoever waits | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `a_discard_closes_and_then_dials_for_whoever_waits`, `a_discarded_or_broken_connection_is_replaced_and_a_waiter_gets_the_new_one` |
//! | I11 | a connection is in one state, and the states add up | `the_engine_is_its_model` |
//! | I12 | of the reaper and an acquire exactly one gets a connection | `model_exactly_one_of_reaper_and_acquire_gets_an_idle_connection` |
//! | I13 | no counter is seen before what it counts | `the_engine_is_its_model`, `model_an_orphan_is_counted_before_it_returns`, `scrapes_in_the_middle_of_it_leave_no_total_too_high` |
//! | I14 | an expiry comes within one tick, for the busy ones on return | `an_idle_connection_lives_for_max_idle_time_and_at_most_one_tick_longer`, `traffic_keeps_a_connection_and_age_ends_it_on_its_return`, `an_entry_comes_out_in_the_first_interval_after_it_is_due`, `the_engine_is_its_model` |
//! | I15 | connections born together do not die together | `connections_born_together_do_not_die_together`, `an_age_ends_within_its_jitter_and_one_tick` |
//! | I16 | dials are bounded for each egress and, after failures, for each account | `no_second_sees_more_dials_than_the_limit`, `after_an_outage_dials_keep_to_the_limit_and_every_account_comes_back_in_time`, `an_account_that_cannot_connect_is_dialled_ever_more_seldom`, `a_server_that_hangs_up_on_every_login_is_dialled_ever_more_seldom` |
//! | I17 | a close refuses, wakes, ends what is held, and has a deadline | `closing_wakes_waiters_refuses_acquires_and_forces_what_is_held_too_long`, `what_is_held_after_a_drain_is_taken_at_its_deadline`, `model_closing_meets_every_connection_and_every_waiter` |
//! | I18 | nothing on the way back waits without a bound | `a_close_that_hangs_and_a_dial_that_hangs_do_not_hold_up_the_end`, `a_dial_a_check_and_a_close_end_at_their_deadlines` |
//! | I19 | a lease can be dropped anywhere and at any time | `an_acquire_can_be_dropped_at_every_poll_whatever_each_await_comes_to`, `a_lease_can_be_dropped_without_a_runtime_and_after_it`, `whoever_waits_when_the_runtime_of_the_pool_ends_hears_of_it` |
//! | I20 | what was begun under an old configuration is not pooled | `a_connection_begun_under_an_old_generation_is_not_pooled`, `model_a_new_generation_leaves_no_old_connection_idle` |
//! | I21 | an account has one pool, whoever removes it meanwhile | `an_account_that_is_removed_and_come_for_at_once_never_has_two_pools`, `a_removal_that_comes_late_spares_the_account_pool_that_has_come_since` |
//! | I22 | what goes leaves nothing | `accounts_that_come_and_go_leave_nothing_with_the_reaper`, `a_removed_account_leaves_nothing_and_can_come_back`, `a_closed_connection_is_dropped_and_never_meets_its_successor` |
//! | I23 | first come, first served; nobody starves, at no cap | `the_engine_is_its_model`, `sixty_four_tasks_on_three_exclusive_connections`, `a_hot_account_cannot_keep_a_cold_one_from_its_first_connection` |
//! | I24 | gauges return to zero | `the_engine_is_its_model`, `chaos_leaves_nothing_behind` |
//! | I25 | asking again for the only lease times out, and says who holds it | `asking_again_while_holding_the_only_lease_times_out_and_says_who_holds_it` |
//! | I26 | a clock that jumps harms nobody | `a_clock_that_jumps_ends_what_is_over_and_nothing_else`, `a_jump_shorter_than_the_idle_time_closes_nothing`, `a_clock_that_jumps_far_ahead_takes_everything_out_once`, `coarse_time_follows_exact_time_and_never_goes_back` |
//! | T1 | a key is on one main connection | `chaos_leaves_nothing_behind`, `recycling_under_load_never_overlaps_two_connections_of_a_key`, `abandoned_connects_never_put_a_key_on_two_connections`, `a_key_outlasts_the_runtime_of_its_connection_until_the_socket_is_gone` |
//! | T2 | a key is never replaced | `another_key_is_refused_at_every_stage`, `an_unknown_key_is_kept_and_becomes_suspect_the_second_time` |
//! | T3 | a quarantined account costs nothing, also after a restart | `an_account_that_the_server_has_ended_costs_no_dial_and_fails_at_once`, `a_quarantine_outlasts_the_pool_and_costs_no_dial`, `a_session_that_was_quarantined_is_not_dialled_by_the_next_run`, `a_quarantine_follows_its_key_to_another_account_or_slot`, `a_line_of_somebody_elses_stays_and_counts_until_it_is_lifted`, `what_could_not_be_written_is_written_by_itself_as_soon_as_it_can`, `the_engine_is_its_model` |
//! | T4 | a flood delays one method of one account | `a_limit_of_one_method_or_one_chat_rests_nothing_else`, `a_long_flood_comes_back_and_later_calls_do_not_reach_the_server` |
//! | T5 | no two processes of a user dial one key, and what is quarantined stays so | `a_second_process_is_refused_before_it_dials_and_told_who_has_the_sessions`, `ten_processes_over_overlapping_files_never_meet_at_a_key`, `two_library_processes_never_meet_at_a_key`, `a_second_one_on_the_same_file_is_told_who_holds_it` |
//! | T6 | a process that was stopped or killed, or a machine that crashed or slept, never meets its own old connection at the server | `a_killed_process_costs_a_pause_and_no_login_though_the_server_has_not_noticed`, `after_a_machine_has_lost_its_power_every_session_rests`, `a_process_that_was_stopped_past_the_delay_costs_nothing`, `a_cut_line_lets_the_session_rest_until_the_server_has_closed_its_end`, `the_first_write_after_a_long_pause_is_refused_and_the_connection_never_serves_again`, `a_fence_cuts_the_connection_and_counts_the_pause_as_rest`, `behind_a_proxy_that_passes_no_end_on_the_key_rests` |
//! | T7 | what a store was told is in it whenever its process dies, and no key comes back from it twice | `nothing_that_was_told_is_lost_however_often_it_is_killed`, `the_file_is_a_store_by_every_rule` |
//! | T8 | an update that the server sent reaches whoever listens: in order, at least once, and once in the life of a process | `every_update_comes_once_and_in_order_whatever_becomes_of_it_on_the_way`, `what_came_while_the_process_was_away_is_fetched_and_what_was_taken_is_not`, `an_update_that_was_not_dropped_comes_again_in_the_next_life`, `a_lost_update_that_nothing_follows_is_found_by_the_watch_on_silence`, `the_state_never_passes_an_update_that_is_still_out` |
