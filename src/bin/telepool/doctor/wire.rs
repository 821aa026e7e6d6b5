//! Examination of the wire: what it relies on, step by step, over connections of one key.
//!
//! Owns what is put in the way of each connection: a cut, a wrong salt, a clock that is off. The next one is opened
//! when the one before has ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use telepool::session::AuthKey;
use telepool::telegram::client::tl::{Serializable as _, functions};
use telepool::telegram::wire::{
    KeyMemory, ServerSalt, WireEnd, WireGuard, WireHandle, WireNote, WireObserver, WireOptions,
    introduction, open,
};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::caller::{CallProblem, Caller, identity};
use super::calls::TestCall;
use super::examination::{Answers, Examination, is_open};
use super::key::DoctorKey;
use super::record::Came;
use crate::clock::now;

/// How long the server is given to close its end, to see how long it takes.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// How much later than it should the server may close a connection without pings, and how much earlier.
const LATE_MAX: Duration = Duration::from_secs(15);
const EARLY_MAX: Duration = Duration::from_secs(1);
/// For how long beyond its time such a connection is watched.
const WATCH_ON: Duration = Duration::from_secs(60);
/// By how much a clock is off, in seconds.
const HOUR: i64 = 3_600;

/// Sees how a connection ends.
struct EndWatch(Arc<Mutex<bool>>);

impl WireGuard for EndWatch {
    fn note_end(&mut self, note: &WireNote<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = note.is_confirmed;
    }
}

/// A connection of the wire.
struct Link {
    handle: WireHandle,
    /// Starts its driver.
    start: Arc<Notify>,
    is_confirmed: Arc<Mutex<bool>>,
}

impl Link {
    fn caller(&self) -> Caller {
        Caller::Wire(self.handle.clone(), Arc::clone(&self.start))
    }
}

impl Examination {
    /// All steps of the wire. Returns what the calls of the first connection came to.
    pub(super) async fn examine_wire(&self, key: &DoctorKey) -> Answers {
        let link = match self.open_wire(key, |_| {}).await {
            Ok(link) => link,
            Err(problem) => {
                let why = problem.to_string();
                self.step("wire", "connection", "one", async { Came::failed(why) }).await;
                return vec![Err(problem)];
            }
        };
        let caller = link.caller();
        let answers = self.make_calls("wire", &caller).await;
        if !is_open(&answers) {
            self.end(link).await;
            return answers;
        }
        self.tell_opening(&link, key).await;
        let packets = || Some(link.handle.counts().packets_received);
        self.make_many("wire", &caller, packets).await;
        self.idle("wire", &caller, packets).await;
        let key = DoctorKey { memory: link.handle.memory(), ..key.clone() };
        let key = self.cut(link, &key).await;
        self.stop_pinging(&key).await;
        self.wrong_salt(&key).await;
        self.wrong_clock(&key, HOUR, (17, "a clock an hour ahead")).await;
        self.wrong_clock(&key, -HOUR, (16, "a clock an hour behind")).await;
        self.unknown_key().await;
        answers
    }

    /// Dials, and has a connection begin, with options that may differ from the usual ones.
    async fn open_wire(
        &self,
        key: &DoctorKey,
        change: impl FnOnce(&mut WireOptions),
    ) -> Result<Link, CallProblem> {
        let dialled = timeout(self.patience, TcpStream::connect(self.address)).await;
        let lost = |why: String| CallProblem::Lost(why);
        let stream = dialled
            .map_err(|_| lost(format!("no connection within {:?}", self.patience)))?
            .map_err(|error| lost(error.to_string()))?;
        let mut options = WireOptions::new(key.key.clone());
        options.memory = key.memory.clone();
        options.introduction = introduction(self.api_id, identity());
        options.times.close_within = CLOSE_WITHIN;
        let record = Arc::clone(&self.record);
        options.observer = Some(WireObserver::new(move |message| record.hear(message)));
        change(&mut options);
        let is_confirmed = Arc::<Mutex<bool>>::default();
        let watch = EndWatch(Arc::clone(&is_confirmed));
        let (handle, driver) = open(stream, watch, options, |_| {});
        let start = Arc::<Notify>::default();
        let begun = Arc::clone(&start);
        drop(Handle::current().spawn(async move {
            begun.notified().await;
            driver.await
        }));
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        Ok(Link { handle, start, is_confirmed })
    }

    /// Closes a connection unless it has ended, and waits for that. Returns how it ended, and whether the server
    /// has closed its end.
    async fn end(&self, link: Link) -> (WireEnd, bool) {
        link.start.notify_one();
        link.handle.close();
        let end = link.handle.gone().await;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let is_confirmed = *link.is_confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        self.record.note_end(&end.to_string(), is_confirmed, link.handle.counts());
        (end, is_confirmed)
    }

    /// How many round trips the opening has taken: one if a salt was known.
    async fn tell_opening(&self, link: &Link, key: &DoctorKey) {
        let expected = if key.memory.salts.is_empty() { 2 } else { 1 };
        self.step("wire", "opening", round_trips(expected), self.opening(link, expected)).await;
    }

    /// Whether a connection whose first call was answered has been opened in so many round trips.
    async fn opening(&self, link: &Link, expected: u64) -> Came {
        // The counters are shown after the answer that they count.
        if let Err(problem) = link.caller().call(TestCall::Ping.body(), self.patience).await {
            return Came::failed(problem.to_string());
        }
        let counts = link.handle.counts();
        let (took, refused) = (counts.opening_round_trips, counts.refused_packets);
        Came::judged(took <= expected, format!("{}, packets refused: {refused}", round_trips(took)))
    }

    /// Cuts a connection off, opens another with what is remembered, and closes that in good order. Returns what is
    /// remembered then.
    async fn cut(&self, link: Link, key: &DoctorKey) -> DoctorKey {
        self.step("wire", "cut off", "at once", async {
            link.handle.abort();
            let (end, _) = self.end(link).await;
            Came::judged(matches!(end, WireEnd::Aborted), end.to_string())
        })
        .await;
        let expected = format!("an answer after {}", round_trips(1));
        let mut opened = None;
        self.step("wire", "opened anew with its salt", expected, async {
            match self.open_and_call(key, |_| {}).await {
                Ok(link) => {
                    let came = self.opening(&link, 1).await;
                    opened = Some(link);
                    came
                }
                Err(problem) => Came::failed(problem.to_string()),
            }
        })
        .await;
        let Some(link) = opened else { return key.clone() };
        let memory = link.handle.memory();
        self.step("wire", "close in good order", "the server closes its end too", async {
            let started = now();
            let (end, is_confirmed) = self.end(link).await;
            let took = now() - started;
            match is_confirmed {
                true => Came::ok(format!("it has, after {} ms", took.as_millis())),
                false => Came::differs(format!("{end}, its own is open after {took:.1?}")),
            }
        })
        .await;
        DoctorKey { memory, ..key.clone() }
    }

    /// Opens a connection, and makes one call, which introduces it.
    async fn open_and_call(
        &self,
        key: &DoctorKey,
        change: impl FnOnce(&mut WireOptions),
    ) -> Result<Link, CallProblem> {
        let link = self.open_wire(key, change).await?;
        match link.caller().call(TestCall::Config.body(), self.patience).await {
            Err(problem @ CallProblem::Lost(_)) => {
                let (end, _) = self.end(link).await;
                Err(CallProblem::Lost(format!("{problem} ({end})")))
            }
            // The server has refused the call, and so has answered it.
            Ok(_) | Err(CallProblem::Refused(..)) => Ok(link),
        }
    }

    /// When does the server close a connection that does not ping any more?
    async fn stop_pinging(&self, key: &DoctorKey) {
        let delay = self.disconnect_after;
        let expected = format!("the server closes it after {delay:?}");
        self.step("wire", "no more pings", expected, async {
            let quiet = |options: &mut WireOptions| {
                options.times.ping_every = Duration::from_secs(86_400);
            };
            let link = match self.open_and_call(key, quiet).await {
                Ok(link) => link,
                Err(problem) => return Came::failed(problem.to_string()),
            };
            let disconnect_delay = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX);
            let ping = functions::PingDelayDisconnect { ping_id: 1, disconnect_delay }.to_bytes();
            if let Err(problem) = link.caller().call(ping, self.patience).await {
                self.end(link).await;
                return Came::failed(problem.to_string());
            }
            let started = now();
            let gone = link.handle.gone();
            let gone = self.wait("no more pings", delay + WATCH_ON, gone).await;
            let took = now() - started;
            let (end, is_confirmed) = self.end(link).await;
            let in_time = took + EARLY_MAX >= delay && took <= delay + LATE_MAX;
            match gone {
                None => Came::differs(format!("it is open after {took:.1?}")),
                Some(_) => Came::judged(
                    in_time && is_confirmed,
                    format!("{end} after {:.1} s", took.as_secs_f64()),
                ),
            }
        })
        .await;
    }

    async fn wrong_salt(&self, key: &DoctorKey) {
        let value = fastrand::i64(1..);
        let salt = ServerSalt { value, valid_since: 0, valid_until: i32::MAX };
        let memory = KeyMemory { salts: Arc::new([salt]), ..key.memory.clone() };
        let key = DoctorKey { memory, ..key.clone() };
        self.step("wire", "a wrong salt", "bad_server_salt (48), then an answer", async {
            self.refused_at_first(&key, 48).await
        })
        .await;
    }

    async fn wrong_clock(&self, key: &DoctorKey, off: i64, (code, name): (i64, &'static str)) {
        let clock_offset = key.memory.clock_offset + off;
        let memory = KeyMemory { clock_offset, ..key.memory.clone() };
        let key = DoctorKey { memory, ..key.clone() };
        let expected = format!("bad_msg_notification ({code}), then an answer");
        self.step("wire", name, expected, async { self.refused_at_first(&key, code).await }).await;
    }

    /// A connection whose first packet the server should refuse with this code, and whose call it answers then.
    async fn refused_at_first(&self, key: &DoctorKey, code: i64) -> Came {
        let link = match self.open_and_call(key, |_| {}).await {
            Ok(link) => link,
            Err(problem) => return Came::failed(problem.to_string()),
        };
        let handle = link.handle.clone();
        let codes = self.record.refusals();
        self.end(link).await;
        let counts = handle.counts();
        let shown: Vec<String> = codes.iter().map(i64::to_string).collect();
        let text = format!(
            "codes {}; an answer after {}",
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") },
            round_trips(counts.opening_round_trips),
        );
        Came::judged(codes.contains(&code), text)
    }

    async fn unknown_key(&self) {
        let mut bytes = [0; AuthKey::LEN];
        fastrand::fill(&mut bytes);
        let key = DoctorKey { key: AuthKey::new(bytes), memory: KeyMemory::default() };
        self.step("wire", "an unknown key", "transport code 404", async {
            let link = match self.open_wire(&key, |_| {}).await {
                Ok(link) => link,
                Err(problem) => return Came::failed(problem.to_string()),
            };
            let answered = link.caller().call(TestCall::Config.body(), self.patience).await;
            let (end, is_confirmed) = self.end(link).await;
            let closed = if is_confirmed { "closed its end" } else { "left its end open" };
            match (end, answered) {
                (WireEnd::Transport { code }, Err(_)) => {
                    Came::judged(code == 404, format!("transport code {code}, and it {closed}"))
                }
                (end, Err(_)) => Came::differs(format!("{end}, and it {closed}")),
                (_, Ok(_)) => Came::differs("an answer"),
            }
        })
        .await;
    }
}

fn round_trips(count: u64) -> String {
    match count {
        1 => "1 round trip".to_owned(),
        count => format!("{count} round trips"),
    }
}
