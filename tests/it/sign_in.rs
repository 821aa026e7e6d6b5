//! Signing in at the sandbox over real connections: a new key, the machine, and the calls that it asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use telepool::AccountId;
use telepool::sandbox::{DataCentre, DataCentreOptions};
use telepool::session::{AuthKey, ClientIdentity};
use telepool::sign_in::{Application, CodeDelivery, SignIn, SignInStep, SignInWay, SignedIn};
use telepool::telegram::client::tl::{Deserializable as _, Serializable as _, enums, functions};
use telepool::telegram::wire::{
    KeyMemory, ServerPublicKey, WireEnd, WireError, WireHandle, WireOptions, introduction,
    make_key, open,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(30);

async fn data_centre() -> DataCentre {
    DataCentre::start(DataCentreOptions::default()).await.unwrap()
}

/// Whoever signs in: a connection for each data centre.
struct Driver {
    data_centre: DataCentre,
    connections: BTreeMap<i32, (AuthKey, WireHandle, JoinHandle<WireEnd>)>,
}

impl Driver {
    fn new(data_centre: &DataCentre) -> Self {
        Self { data_centre: data_centre.clone(), connections: BTreeMap::new() }
    }

    async fn open(&self, key: AuthKey, memory: KeyMemory) -> (WireHandle, JoinHandle<WireEnd>) {
        let stream = TcpStream::connect(self.data_centre.address()).await.unwrap();
        let mut options = WireOptions::new(key);
        options.memory = memory;
        options.introduction = introduction(7, ClientIdentity::new("test", "1", "1"));
        let (handle, driver) = open(stream, (), options, |_| {});
        (handle, tokio::spawn(driver))
    }

    async fn connection(&mut self, dc: i32) -> WireHandle {
        if !self.connections.contains_key(&dc) {
            let stream = TcpStream::connect(self.data_centre.address()).await.unwrap();
            let server = ServerPublicKey::from_pem(&DataCentre::public_key()).unwrap();
            let made = make_key(stream, vec![server], LIMIT).await.unwrap();
            let (handle, driver) = self.open(made.key.clone(), made.memory).await;
            self.connections.insert(dc, (made.key, handle, driver));
        }
        self.connections[&dc].1.clone()
    }

    /// Makes the calls that are asked for, up to what somebody has to do.
    async fn drive(&mut self, sign_in: &mut SignIn, mut step: SignInStep) -> SignInStep {
        while let SignInStep::Call { dc, request } = step {
            let connection = self.connection(dc).await;
            step = match connection.call(request, LIMIT).await {
                Ok(answer) => sign_in.answered(&answer).unwrap(),
                Err(WireError::Rpc { code, message }) => sign_in.refused(code, &message).unwrap(),
                Err(error) => panic!("{error}"),
            };
        }
        step
    }

    async fn close(&mut self, dc: i32) -> AuthKey {
        let (key, handle, driver) = self.connections.remove(&dc).unwrap();
        handle.close();
        assert!(driver.await.unwrap().is_confirmed());
        key
    }
}

fn begin(way: SignInWay) -> (SignIn, SignInStep) {
    SignIn::begin(Application::new(7, "hash"), way, 2).unwrap()
}

fn done(step: SignInStep) -> SignedIn {
    let SignInStep::Done(done) = step else { panic!("{step:?}") };
    *done
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[tokio::test]
async fn by_phone_with_a_code_and_a_password_to_a_session_that_makes_calls() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996634567".parse().unwrap();
    data_centre.create_account(account);
    assert!(data_centre.set_password(account, Some("öffne dich"), Some("a door")));
    let mut driver = Driver::new(&data_centre);
    let (mut sign_in, step) = begin(SignInWay::phone(account));
    let step = driver.drive(&mut sign_in, step).await;
    let SignInStep::AskCode(sent) = step else { panic!("{step:?}") };
    assert_eq!((sent.delivery, sent.next), (CodeDelivery::App, Some(CodeDelivery::Sms)));
    assert_eq!(data_centre.login_code(account).as_deref(), Some("33333"));
    let step = sign_in.enter_code("11111").unwrap();
    let step = driver.drive(&mut sign_in, step).await;
    let SignInStep::AskCode(sent) = step else { panic!("{step:?}") };
    assert_eq!(sent.tries_left, 4);
    let step = sign_in.enter_code("33333").unwrap();
    let step = driver.drive(&mut sign_in, step).await;
    let SignInStep::AskPassword(question) = step else { panic!("{step:?}") };
    assert_eq!(question.hint.as_deref(), Some("a door"));
    let step = sign_in.enter_password(secret("no")).unwrap();
    let step = driver.drive(&mut sign_in, step).await;
    let SignInStep::AskPassword(question) = step else { panic!("{step:?}") };
    assert_eq!(question.tries_left, 4);
    let step = sign_in.enter_password(secret("öffne dich")).unwrap();
    let signed_in = done(driver.drive(&mut sign_in, step).await);
    assert_eq!((signed_in.phone, signed_in.is_bot), (Some(account), false));
    let key = driver.close(2).await;
    let (connection, _) = driver.open(key, KeyMemory::default()).await;
    let state = functions::updates::GetState {}.to_bytes();
    let state = connection.call(state, LIMIT).await.unwrap();
    enums::updates::State::from_bytes(&state).unwrap();
    let stats = data_centre.stats();
    assert_eq!((stats.keys_made, stats.key_violations, stats.keys_unknown), (1, 0, 0));
}

#[tokio::test]
async fn a_bot_by_its_token_and_nobody_by_another() {
    let data_centre = data_centre().await;
    let account = AccountId::bot(555).unwrap();
    let token = data_centre.bot_token(account).unwrap();
    let mut driver = Driver::new(&data_centre);
    let (mut sign_in, step) = begin(SignInWay::Bot(secret(&token)));
    let signed_in = done(driver.drive(&mut sign_in, step).await);
    assert_eq!((signed_in.user_id, signed_in.is_bot), (555, true));
    let (mut sign_in, step) = begin(SignInWay::Bot(secret("555:wrong")));
    let SignInStep::Call { dc, request } = step else { panic!("{step:?}") };
    let connection = Driver::new(&data_centre).connection(dc).await;
    let Err(WireError::Rpc { code, message }) = connection.call(request, LIMIT).await else {
        panic!("it is taken")
    };
    let error = sign_in.refused(code, &message).unwrap_err();
    assert!(error.to_string().contains("@BotFather"), "{error}");
}

#[tokio::test]
async fn a_further_session_is_accepted_by_the_first_without_another_code() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996612345".parse().unwrap();
    data_centre.create_account(account);
    let mut first = Driver::new(&data_centre);
    let (mut sign_in, step) = begin(SignInWay::phone(account));
    first.drive(&mut sign_in, step).await;
    let step = sign_in.enter_code("11111").unwrap();
    let own = done(first.drive(&mut sign_in, step).await);

    let mut further = Driver::new(&data_centre);
    let (mut sign_in, step) = begin(SignInWay::Scan { except: vec![] });
    let step = further.drive(&mut sign_in, step).await;
    let SignInStep::Show(link) = step else { panic!("{step:?}") };
    let accept = functions::auth::AcceptLoginToken { token: link.token().to_vec() };
    first.connection(2).await.call(accept.to_bytes(), LIMIT).await.unwrap();
    let step = sign_in.poll().unwrap();
    let signed_in = done(further.drive(&mut sign_in, step).await);
    assert_eq!(signed_in.user_id, own.user_id);
    assert_ne!(first.close(2).await.id(), further.close(2).await.id());
}

#[tokio::test]
async fn whoever_gives_up_after_the_server_has_taken_it_is_logged_out() {
    let data_centre = data_centre().await;
    let account = AccountId::bot(556).unwrap();
    let token = data_centre.bot_token(account).unwrap();
    let mut driver = Driver::new(&data_centre);
    let (mut sign_in, step) = begin(SignInWay::Bot(secret(&token)));
    assert!(sign_in.cancel().is_none());
    let step = driver.drive(&mut sign_in, step).await;
    assert!(matches!(step, SignInStep::Cancelled), "{step:?}");
    let state = functions::updates::GetState {}.to_bytes();
    let error = driver.connection(2).await.call(state, LIMIT).await.unwrap_err();
    assert!(matches!(&error, WireError::Rpc { code: 401, .. }), "{error}");
}

/// What comes of a client that others have written, who signs in with these numbers, at a data centre beside it: there
/// is nothing else.
fn foreign_sign_in(test: &str, script: &str, packages: &str, keys: u64) {
    let told = alone(test, async || {
        let data_centre = data_centre().await;
        let account: AccountId = "+9996654321".parse().unwrap();
        data_centre.create_account(account);
        assert!(data_centre.set_password(account, Some("secret"), None));
        let token = data_centre.bot_token(AccountId::bot(557).unwrap()).unwrap();
        let given = serde_json::json!({
            "port": data_centre.address().port(),
            "key": DataCentre::public_key(),
            "phone": "+9996654321",
            "code": "55555",
            "password": "secret",
            "token": token,
        });
        let told = foreign_client(script, packages, &given).await;
        let stats = data_centre.stats();
        assert_eq!((stats.keys_made, stats.key_violations), (keys, 0), "{stats:?}");
        told
    });
    if let Some(told) = told {
        assert_eq!(told["phone"]["phone"], "9996654321", "{told}");
        assert_eq!((&told["token"]["id"], &told["token"]["bot"]), (&557.into(), &true.into()));
        assert!(told.get("scan").is_none_or(|scan| scan["id"] == told["phone"]["id"]), "{told}");
    }
}

#[test]
#[ignore = "needs root and Telethon; `.ci/run` has a step for it"]
fn telethon_signs_in_from_nothing() {
    let test = "sign_in::telethon_signs_in_from_nothing";
    foreign_sign_in(test, "telethon/sign_in.py", "foreign/telethon", 3);
}

#[test]
#[ignore = "needs root and Kurigram; `.ci/run` has a step for it"]
fn kurigram_signs_in_from_nothing() {
    let test = "sign_in::kurigram_signs_in_from_nothing";
    foreign_sign_in(test, "kurigram/sign_in.py", "libraries/kurigram-2.2.26", 2);
}

/// Runs in a network namespace that has the loopback interface alone: starts this test over there, unless it is there.
fn alone<T>(test: &str, inside: impl AsyncFnOnce() -> T) -> Option<T> {
    const THERE: &str = "TELEPOOL_TEST_ALONE";
    if std::env::var_os(THERE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return Some(runtime.block_on(inside()));
    }
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "sh", "-c", r#"ip link set lo up && exec "$0" "$@""#]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(THERE, "1");
    let ran = command.output().expect("unshare, of Debian's package util-linux");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    None
}

/// Runs a script of a library that others have written. Returns what it prints last.
async fn foreign_client(
    script: &str,
    packages: &str,
    given: &serde_json::Value,
) -> serde_json::Value {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt as _;
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join(packages);
    assert!(packages.exists(), "{}: `.ci/run` says how to install it", packages.display());
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign").join(script);
    let mut command = tokio::process::Command::new("timeout");
    command.args(["60", "python3"]).arg(script).env("PYTHONPATH", packages);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let ran = child.wait_with_output().await.unwrap();
    let (said, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{} {said}{told}", ran.status);
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}
