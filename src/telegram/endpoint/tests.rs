//! The client library over an endpoint behind which the test answers, and whoever else comes to its port.

mod strangers;
#[cfg(feature = "sandbox")]
mod wire;

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use grammers_client::InvocationError;
use grammers_client::tl::{Deserializable, RemoteCall, Serializable, enums, types};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::local_error;
use super::*;
use crate::account_id::AccountId;
use crate::telegram::TelegramError;
use crate::telegram::wire::WireEnd;

const DC: i32 = 2;

fn record() -> SessionRecord {
    let address = "192.0.2.1:443".parse().unwrap();
    SessionRecord::new(AccountId::bot(5).unwrap(), DC, address, AuthKey::new([3; 256]))
}

/// Opens an endpoint whose calls are answered so.
fn open<F, A>(forward: F) -> EndpointClient
where
    F: Fn(Vec<u8>) -> A + Send + 'static,
    A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
{
    open_until(forward, std::future::pending())
}

fn open_until<F, A, E>(forward: F, ended: E) -> EndpointClient
where
    F: Fn(Vec<u8>) -> A + Send + 'static,
    A: Future<Output = Result<Vec<u8>, WireError>> + Send + 'static,
    E: Future<Output = ()> + Send + 'static,
{
    let (record, settings) = (record(), TelegramSettings::new(1));
    let runtime = &Handle::current();
    EndpointClient::open(
        EndpointOptions { record: &record, settings: &settings, runtime },
        forward,
        ended,
    )
}

fn part_of_a_file(id: i64, bytes: Vec<u8>) -> functions::upload::SaveFilePart {
    functions::upload::SaveFilePart { file_id: id, file_part: 0, bytes }
}

/// The answer to that: whether the part was taken.
fn taken() -> Vec<u8> {
    true.to_bytes()
}

fn lost() -> WireError {
    WireError::Lost { was_sent: true, end: WireEnd::HungUp }
}

/// A method of the test's own, which has a number in it.
struct Ask<R> {
    number: i32,
    returned: PhantomData<R>,
}

impl<R> Ask<R> {
    const fn new(number: i32) -> Self {
        Self { number, returned: PhantomData }
    }
}

impl<R> Serializable for Ask<R> {
    fn serialize(&self, buf: &mut impl Extend<u8>) {
        7_u32.serialize(buf);
        self.number.serialize(buf);
    }
}

impl<R: Deserializable> RemoteCall for Ask<R> {
    type Return = R;
}

/// The number in a body.
fn number(body: &[u8]) -> i32 {
    i32::from_le_bytes(*body[4..].first_chunk().unwrap())
}

fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    Handle::current().spawn(future)
}

/// Counts how many of it there are.
#[derive(Clone, Default)]
struct Held(Arc<AtomicUsize>);

struct Holds(Arc<AtomicUsize>);

impl Held {
    fn hold(&self) -> Holds {
        self.0.fetch_add(1, Ordering::SeqCst);
        Holds(Arc::clone(&self.0))
    }

    async fn are(&self, count: usize) {
        while self.0.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// It is a part of a connection, which many tasks share.
const fn is_shared<T: Send + Sync>() {}
const _: () = is_shared::<EndpointClient>();

#[tokio::test]
async fn a_body_comes_as_the_client_wrote_it_however_it_was_packed() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let endpoint = open({
        let heard = Arc::clone(&heard);
        move |body| {
            heard.lock().unwrap().push(body);
            std::future::ready(Ok(taken()))
        }
    });
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(512 << 10).collect();
    let parts = [vec![], vec![1; 300], vec![2; 512], vec![3; 512 << 10], noise]
        .map(|it| part_of_a_file(1, it));
    for part in &parts {
        assert!(endpoint.client().invoke(part).await.unwrap());
    }
    let expected = parts.map(|part| part.to_bytes());
    assert!(*heard.lock().unwrap() == expected, "and nothing else was passed on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_have_their_own_answers_in_whatever_order_these_come() {
    let endpoint = open(|body: Vec<u8>| async move {
        let asked = number(&body);
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..3_000))).await;
        Ok(enums::updates::State::State(types::updates::State {
            pts: asked,
            qts: 0,
            date: 0,
            seq: 0,
            unread_count: 0,
        })
        .to_bytes())
    });
    let calls: Vec<_> = (0..1_500)
        .map(|pts| {
            let client = endpoint.client().clone();
            spawn(async move {
                let answer = client.invoke(&Ask::<enums::updates::State>::new(pts)).await.unwrap();
                let enums::updates::State::State(state) = answer;
                assert_eq!(state.pts, pts);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_of_several_megabytes_comes_whole_and_one_too_large_costs_its_call_alone() {
    let endpoint = open(|body: Vec<u8>| async move {
        let mut random = fastrand::Rng::with_seed(1);
        let bytes = match number(&body) {
            0 => vec![5; 6 << 20],
            _ => std::iter::repeat_with(|| random.u8(..)).take(2 << 20).collect(),
        };
        let file =
            types::upload::File { r#type: enums::storage::FileType::FileUnknown, mtime: 0, bytes };
        Ok(enums::upload::File::File(file).to_bytes())
    });
    for _ in 0..2 {
        let file = endpoint.client().invoke(&Ask::new(0)).await.unwrap();
        let enums::upload::File::File(file) = file else { panic!("a file") };
        assert!(file.bytes == vec![5; 6 << 20]);
        let error =
            endpoint.client().invoke(&Ask::<enums::upload::File>::new(1)).await.unwrap_err();
        let InvocationError::Rpc(error) = error else { panic!("{error}") };
        assert_eq!(error.name, "TELEPOOL_ANSWER_TOO_LARGE");
        assert!(matches!(local_error(&error), Some(WireError::Answer(_))));
    }
}

#[tokio::test]
async fn what_the_wire_says_of_a_call_is_told_of_it_and_no_call_hangs() {
    let errors = || {
        [
            WireError::Rpc { code: 420, message: "FLOOD_WAIT_31".into() },
            WireError::Rpc { code: 500, message: "ä".into() },
            WireError::TimedOut { was_sent: true, after: Duration::from_secs(30) },
            WireError::Forgotten,
            WireError::Busy { limit: 16_384 },
            WireError::Answer("damaged"),
        ]
    };
    let endpoint = open(move |body: Vec<u8>| {
        let index = usize::try_from(number(&body)).unwrap();
        std::future::ready(errors().into_iter().nth(index).map_or(Ok(taken()), Err))
    });
    for (index, error) in (0..).zip(errors()) {
        let told = endpoint.client().invoke(&Ask::<bool>::new(index)).await.unwrap_err();
        let InvocationError::Rpc(told) = told else { panic!("{told}") };
        match (error, local_error(&told)) {
            (WireError::Rpc { code, .. }, None) => {
                assert_eq!((told.code, told.caused_by), (code, Some(7)));
                let value = (code == 420).then_some(31);
                let name = if code == 420 { "FLOOD_WAIT" } else { "ä" };
                assert_eq!((&*told.name, told.value), (name, value));
            }
            (WireError::Answer(_), Some(WireError::Answer(_))) => {}
            (error, Some(understood)) => assert_eq!(error.to_string(), understood.to_string()),
            (error, None) => panic!("{error}"),
        }
    }
    assert!(endpoint.client().invoke(&Ask::<bool>::new(99)).await.unwrap());
}

/// Calls that are never answered, each of which holds something.
fn unanswered(held: &Held) -> impl Fn(Vec<u8>) -> BoxedAnswer + Send + 'static + use<> {
    let held = held.clone();
    move |_| {
        let held = held.hold();
        Box::pin(async move {
            let _held = held;
            std::future::pending().await
        })
    }
}

type BoxedAnswer = Pin<Box<dyn Future<Output = Result<Vec<u8>, WireError>> + Send>>;

async fn many_calls(client: &Client) -> Vec<JoinHandle<InvocationError>> {
    let calls = (0..50).map(|index| {
        let client = client.clone();
        spawn(async move { client.invoke(&Ask::<bool>::new(index)).await.unwrap_err() })
    });
    calls.collect()
}

/// Calls fail as those of a connection that has ended do, and so does every one after them.
async fn all_fail(calls: Vec<JoinHandle<InvocationError>>, client: &Client) {
    let mut errors = Vec::new();
    for call in calls {
        errors.push(call.await.unwrap());
    }
    errors.push(client.invoke(&Ask::<bool>::new(0)).await.unwrap_err());
    for error in errors {
        let error = TelegramError::from(error);
        assert!(matches!(error, TelegramError::Io(_) | TelegramError::Dropped), "{error}");
    }
}

/// Whether a socket of the endpoint or of its client is open. Elsewhere than on Linux nobody says.
fn has_sockets(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let sockets: String = tables.into_iter().flatten().collect();
    let port = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let mut is_meant = false;
        for address in columns.by_ref().take(2) {
            is_meant |= address.ends_with(&port);
        }
        // Established, half-closed by the other side, or listening.
        is_meant && columns.next().is_some_and(|state| ["01", "08", "0A"].contains(&state))
    })
}

/// Waits until nothing is left of an endpoint whose guard is gone.
async fn no_sockets(port: u16) {
    while has_sockets(port) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn with_the_connection_every_call_ends_and_nothing_is_left() {
    let held = Held::default();
    let (end, ended) = oneshot::channel::<()>();
    let endpoint = open_until(unanswered(&held), async { drop(ended.await) });
    let calls = many_calls(endpoint.client()).await;
    held.are(50).await;
    assert!(!endpoint.is_over());
    let port = endpoint.address.port();
    assert!(has_sockets(port) || cfg!(not(target_os = "linux")));
    drop(end);
    all_fail(calls, endpoint.client()).await;
    endpoint.gone().await;
    assert!(endpoint.is_over() && !has_sockets(port));
    held.are(0).await;
}

#[tokio::test]
async fn with_the_guard_every_call_ends_and_a_clone_of_the_client_is_dead() {
    let held = Held::default();
    let endpoint = open(unanswered(&held));
    let client = endpoint.client().clone();
    let calls = many_calls(&client).await;
    held.are(50).await;
    let port = endpoint.address.port();
    drop(endpoint);
    all_fail(calls, &client).await;
    held.are(0).await;
    no_sockets(port).await;
}

#[tokio::test]
async fn one_lost_call_ends_them_all() {
    let held = Held::default();
    let silent = unanswered(&held);
    let endpoint = open(move |body: Vec<u8>| -> BoxedAnswer {
        if number(&body) == 49 { Box::pin(std::future::ready(Err(lost()))) } else { silent(body) }
    });
    all_fail(many_calls(endpoint.client()).await, endpoint.client()).await;
    endpoint.gone().await;
    held.are(0).await;
}

#[tokio::test]
async fn a_connection_that_takes_no_more_answers_what_was_sent_before() {
    let (answer, answered) = oneshot::channel();
    let answered = Mutex::new(Some(answered));
    let endpoint = open(move |body: Vec<u8>| {
        let sent = answered.lock().unwrap().take_if(|_| number(&body) == 1);
        async move {
            let end = WireEnd::Closed { is_confirmed: false };
            match sent {
                Some(answered) => answered.await.map_err(|_| lost()),
                None => Err(WireError::Lost { was_sent: false, end }),
            }
        }
    });
    let client = endpoint.client().clone();
    let call = spawn(async move { client.invoke(&Ask::<bool>::new(1)).await });
    let error = endpoint.client().invoke(&Ask::<bool>::new(2)).await.unwrap_err();
    let InvocationError::Rpc(error) = error else { panic!("{error}") };
    assert!(
        matches!(local_error(&error), Some(WireError::Lost { was_sent: false, .. })),
        "{error}"
    );
    answer.send(taken()).unwrap();
    assert!(call.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_call_that_panics_ends_the_endpoint_and_not_the_process() {
    let endpoint = open(|body: Vec<u8>| async move {
        assert_ne!(number(&body), 49, "this panic is a part of the test");
        std::future::pending().await
    });
    all_fail(many_calls(endpoint.client()).await, endpoint.client()).await;
    endpoint.gone().await;
}

#[tokio::test]
async fn without_a_port_for_its_endpoint_a_client_is_as_one_whose_connection_has_ended() {
    let (record, settings, runtime) = (record(), TelegramSettings::new(1), &Handle::current());
    let options = EndpointOptions { record: &record, settings: &settings, runtime };
    let answer = |_| std::future::ready(Ok(taken()));
    let endpoint = EndpointClient::behind(None, options, answer, std::future::pending());
    assert!(endpoint.is_over());
    all_fail(Vec::new(), endpoint.client()).await;
    endpoint.gone().await;
}

#[test]
fn an_endpoint_is_opened_from_outside_the_runtime_and_ends_with_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (record, settings) = (record(), TelegramSettings::new(1));
    let options =
        EndpointOptions { record: &record, settings: &settings, runtime: runtime.handle() };
    let answer = |_| std::future::ready(Ok(taken()));
    let endpoint = EndpointClient::open(options, answer, std::future::pending());
    assert!(runtime.block_on(endpoint.client().invoke(&Ask::<bool>::new(1))).unwrap());
    drop(runtime);
    assert!(endpoint.is_over());
    let late = tokio::runtime::Builder::new_current_thread().build().unwrap();
    late.block_on(all_fail(Vec::new(), endpoint.client()));
}

#[tokio::test]
async fn a_home_over_ipv6_has_its_endpoint_there_and_its_client_works() {
    let mut record = record();
    record.address = "[2001:db8::1]:443".parse().unwrap();
    let (settings, runtime) = (TelegramSettings::new(1), &Handle::current());
    let options = EndpointOptions { record: &record, settings: &settings, runtime };
    let answer = |_| std::future::ready(Ok(taken()));
    let endpoint = EndpointClient::open(options, answer, std::future::pending());
    assert!(endpoint.client().invoke(&Ask::<bool>::new(1)).await.unwrap());
}

#[tokio::test]
async fn a_foreign_data_centre_is_dialled_by_the_proxy_alone() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut record = record();
    let url = format!("socks5://{}", proxy.local_addr().unwrap());
    record.proxy = Some(Arc::new(url.parse().unwrap()));
    let mut settings = TelegramSettings::new(1);
    settings.data_centres.insert(4, "192.0.2.4:443".parse().unwrap());
    let runtime = &Handle::current();
    let options = EndpointOptions { record: &record, settings: &settings, runtime };
    let answer = |_| std::future::ready(Ok(taken()));
    let endpoint = EndpointClient::open(options, answer, std::future::pending());
    assert!(endpoint.client().invoke(&Ask::<bool>::new(1)).await.unwrap(), "home is near");
    let client = endpoint.client().clone();
    let call = spawn(async move { client.invoke_in_dc(4, &Ask::<bool>::new(1)).await });
    let (mut stream, _) = proxy.accept().await.unwrap();
    let mut greeting = [0; 3];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 1, 0]);
    drop(stream);
    assert!(call.await.unwrap().is_err());
    let unknown = endpoint.client().invoke_in_dc(3, &Ask::<bool>::new(1)).await.unwrap_err();
    assert!(matches!(unknown, InvocationError::InvalidDc), "{unknown}");
    drop(endpoint);
}
