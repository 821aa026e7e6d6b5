//! Examination of both engines: one after the other, each with a key of its own.
//!
//! Owns the order of the steps, and what each should come to. Never has two connections with one key.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use telepool::telegram::client::tl::{Deserializable as _, Serializable as _, enums, functions};
use telepool::telegram::wire::WireHandle;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::caller::{Answered, CallProblem, Caller, GrammersClient};
use super::calls::TestCall;
use super::key::{DoctorKey, KeyProblem, agree};
use super::record::{Came, Record, StepOutcome};
use crate::clock::now;
use crate::failure::Failure;

/// How many calls are made at once.
const AT_ONCE: i64 = 64;
/// How often the line changes while nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// What is examined, and how.
pub(super) struct Examination {
    pub(super) address: SocketAddr,
    pub(super) dc: i32,
    pub(super) api_id: i32,
    /// For how long a connection idles.
    pub(super) idle: Duration,
    /// After how long without a ping the server is asked to close a connection.
    pub(super) disconnect_after: Duration,
    /// How long an answer is waited for.
    pub(super) patience: Duration,
    pub(super) line: ProgressBar,
    pub(super) record: Arc<Record>,
    /// The connection of the wire that is open, to be closed if the user ends it all.
    pub(super) open: Mutex<Option<WireHandle>>,
}

/// What each call came to, in the order of [`TestCall::ALL`].
pub(super) type Answers = Vec<Answered>;

impl Examination {
    /// Does it all. Refused if nobody is there.
    pub(super) async fn run(&self, given: Option<[DoctorKey; 2]>) -> Result<(), Failure> {
        let keys = match given {
            Some(keys) => {
                self.reach().await?;
                Some(keys)
            }
            None => self.agree_on_keys().await?,
        };
        let Some([first, second]) = keys else { return Ok(()) };
        let by_grammers = self.examine_grammers(&first).await;
        let by_wire = self.examine_wire(&second).await;
        let mut all = by_grammers.iter().chain(&by_wire);
        if all.all(|answered| matches!(answered, Err(CallProblem::Lost(_)))) {
            return Err(self.unreachable("it takes connections, and answers nothing"));
        }
        self.compare(&by_grammers, &by_wire).await;
        Ok(())
    }

    fn unreachable(&self, why: &str) -> Failure {
        let text = format!(
            "{}: {why}: check that this machine may open TCP connections to it, or name another one \
             with --data-centre or --address",
            self.address
        );
        Failure::refused(text)
    }

    /// Whether anybody takes connections.
    async fn reach(&self) -> Result<(), Failure> {
        let reached = timeout(self.patience, TcpStream::connect(self.address)).await;
        let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        reached.map(drop).map_err(|error| self.unreachable(&error.to_string()))
    }

    /// A key for each engine. `None`: the server has said what it should not, which is told.
    async fn agree_on_keys(&self) -> Result<Option<[DoctorKey; 2]>, Failure> {
        let mut keys = Vec::new();
        for engine in ["grammers", "wire"] {
            let mut problem = None;
            self.step(engine, "key agreement", "a fresh key", async {
                match agree(self.address, self.patience).await {
                    Ok(key) => {
                        let came =
                            Came::ok(format!("a fresh key; clock {:+} s", key.memory.clock_offset));
                        keys.push(key);
                        came
                    }
                    Err(KeyProblem::Refused(why)) => Came::differs(why),
                    Err(KeyProblem::Unreachable(why)) => {
                        problem = Some(self.unreachable(&why));
                        Came::failed(why)
                    }
                }
            })
            .await;
            if let Some(failure) = problem {
                return Err(failure);
            }
        }
        Ok(keys.try_into().ok())
    }

    /// A step: what is to be done, and what comes of it, in the table.
    pub(super) async fn step(
        &self,
        engine: &'static str,
        name: &str,
        expected: impl Into<String>,
        work: impl Future<Output = Came>,
    ) -> StepOutcome {
        self.record.begin(engine, name);
        self.line.set_message(format!("{engine}: {name}"));
        self.line.tick();
        let started = now();
        let came = work.await;
        let outcome = came.outcome;
        self.record.end(expected.into(), came, now() - started);
        outcome
    }

    /// Waits, and shows for how long yet. Returns early when `until` does.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        time: Duration,
        until: impl Future<Output = T>,
    ) -> Option<T> {
        self.line.suspend(|| say!("telepool: {what}: up to {time:?}; Ctrl-C ends it"));
        let end = now() + time;
        let mut until = std::pin::pin!(until);
        loop {
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                return None;
            }
            self.line.set_message(format!("{what}: {} s left", left.as_secs() + 1));
            self.line.tick();
            tokio::select! {
                done = &mut until => return Some(done),
                () = sleep(left.min(TICK)) => {}
            }
        }
    }

    async fn examine_grammers(&self, key: &DoctorKey) -> Answers {
        let client = GrammersClient::new(&key.key, (self.dc, self.address), self.api_id);
        let caller = client.caller();
        let answers = self.make_calls("grammers", &caller).await;
        if is_open(&answers) {
            self.make_many("grammers", &caller, || None).await;
            self.idle("grammers", &caller, || None).await;
        }
        self.step("grammers", "close", "its socket is closed", async {
            match client.close().await {
                Ok(()) => Came::ok("closed"),
                Err(why) => Came::failed(why),
            }
        })
        .await;
        answers
    }

    /// Makes each of the calls. Once one has lost its connection the others are not made.
    pub(super) async fn make_calls(&self, engine: &'static str, caller: &Caller) -> Answers {
        let mut answers = Answers::new();
        for call in TestCall::ALL {
            self.step(engine, call.name(), call.expected(self.dc), async {
                let answered = caller.call(call.body(), self.patience).await;
                let came = call.judge(&answered, self.dc);
                answers.push(answered);
                came
            })
            .await;
            if !is_open(&answers) {
                break;
            }
        }
        answers
    }

    /// Makes many calls at once. What `packets` counts is told besides.
    pub(super) async fn make_many(
        &self,
        engine: &'static str,
        caller: &Caller,
        packets: impl Fn() -> Option<u64>,
    ) {
        let expected = format!("{AT_ONCE} answers, each to its call");
        self.step(engine, "many calls at once", expected, async {
            let before = packets();
            let mut calls = JoinSet::new();
            for ping_id in 0..AT_ONCE {
                let (caller, patience) = (caller.clone(), self.patience);
                calls.spawn(async move {
                    let body = functions::Ping { ping_id }.to_bytes();
                    let answer = caller.call(body, patience).await?;
                    let pong = enums::Pong::from_bytes(&answer);
                    Ok::<_, CallProblem>(matches!(
                        pong, Ok(enums::Pong::Pong(pong)) if pong.ping_id == ping_id
                    ))
                });
            }
            let (mut right, mut wrong, mut lost) = (0, 0, None);
            while let Some(done) = calls.join_next().await {
                match done {
                    Ok(Ok(true)) => right += 1,
                    Ok(Ok(false)) => wrong += 1,
                    Ok(Err(problem)) => lost = Some(problem.to_string()),
                    Err(error) => lost = Some(error.to_string()),
                }
            }
            let packets = before.zip(packets()).map(|(before, after)| after - before);
            let packets = packets.map_or_else(String::new, |it| format!(", in {it} packets"));
            match lost {
                Some(why) => Came::failed(format!("{right} answers; {why}")),
                None if wrong > 0 => Came::differs(format!("{wrong} of another call")),
                None => Came::ok(format!("{right} answers{packets}")),
            }
        })
        .await;
    }

    /// Idles, and calls again. What `packets` counts is told besides.
    pub(super) async fn idle(
        &self,
        engine: &'static str,
        caller: &Caller,
        packets: impl Fn() -> Option<u64>,
    ) {
        let idle = self.idle;
        let name = format!("a call after {idle:?}");
        self.step(engine, &name, "still open, an answer", async {
            let before = packets();
            self.wait(&format!("{engine} idles"), idle, std::future::pending::<()>()).await;
            let heard = before.zip(packets()).map(|(before, after)| after - before);
            let heard =
                heard.map_or_else(String::new, |it| format!(", {it} packets came meanwhile"));
            match caller.call(TestCall::NearestDc.body(), self.patience).await {
                Err(CallProblem::Lost(why)) => Came::failed(why),
                Err(problem) => Came::differs(problem.to_string()),
                Ok(_) => Came::ok(format!("an answer{heard}")),
            }
        })
        .await;
    }

    /// Whether the server has said the same by way of both engines.
    async fn compare(&self, by_grammers: &Answers, by_wire: &Answers) {
        for (call, (one, other)) in TestCall::ALL.into_iter().zip(by_grammers.iter().zip(by_wire)) {
            let name = format!("{} compared", call.name());
            self.step("both", &name, "the same by both engines", async {
                let lost = [one, other].into_iter().find_map(|it| match it {
                    Err(CallProblem::Lost(why)) => Some(why),
                    _ => None,
                });
                match (call.comparable(one), call.comparable(other)) {
                    _ if let Some(why) = lost => Came::failed(why.as_str()),
                    (Ok(one), Ok(other)) if one == other => {
                        Came::ok(format!("the same {} bytes", one.len()))
                    }
                    (Err(one), Err(other)) if one == other => Came::ok("the same error"),
                    (one, other) => Came::differs(format!(
                        "grammers: {}; wire: {}{}",
                        shortly(&one),
                        shortly(&other),
                        first_difference(&one, &other)
                    )),
                }
            })
            .await;
        }
    }

    /// Closes what is open, after the user has ended it.
    pub(super) async fn close_what_is_open(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = open {
            handle.close();
            timeout(self.patience, handle.gone()).await.ok();
        }
    }
}

/// Whether the connection has survived the calls that were made.
pub(super) fn is_open(answers: &Answers) -> bool {
    !matches!(answers.last(), Some(Err(CallProblem::Lost(_))))
}

fn shortly(answered: &Answered) -> String {
    match answered {
        Ok(answer) => format!("{}, {} bytes", super::describe::name_of(answer), answer.len()),
        Err(problem) => problem.to_string(),
    }
}

/// Where two answers part.
fn first_difference(one: &Answered, other: &Answered) -> String {
    let (Ok(one), Ok(other)) = (one, other) else { return String::new() };
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    format!("; the first {same} are the same")
}
