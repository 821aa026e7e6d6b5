//! Signing in at the sandbox over real connections: new keys, the machine, and the calls that it asks for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use telepool::AccountId;
use telepool::ownership::{HostLocks, HostLocksOptions};
use telepool::sandbox::{DataCentre, DataCentreOptions, Fault, FaultPlan, FaultRule};
use telepool::session::{ClientIdentity, DataCentres};
use telepool::sign_in::{
    Application, CodeDelivery, CodeRefusal, LoginLink, SentCode, SignInError, SignInWay, SignedIn,
};
use telepool::telegram::client::tl::{Deserializable as _, Serializable as _, enums, functions};
use telepool::telegram::wire::{WireError, WireOptions, introduction, open};
use telepool::telegram::{
    BoxError, KeptSignIn, SignInPrompt, SignInRun, SignInRunError, SignInSettings, SignedInSession,
    sign_out,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(30);

async fn data_centre() -> DataCentre {
    DataCentre::start(DataCentreOptions::default()).await.unwrap()
}

/// Three data centres with the same accounts.
async fn data_centres() -> [DataCentre; 3] {
    let first = DataCentre::start(of_number(1)).await.unwrap();
    let second = first.start_beside(of_number(2)).await.unwrap();
    let third = second.start_beside(of_number(3)).await.unwrap();
    [first, second, third]
}

fn of_number(dc: i32) -> DataCentreOptions {
    let mut options = DataCentreOptions::default();
    options.dc = dc;
    options
}

/// Whoever signs in: where data centres listen, where keys are locked, and what was kept last.
struct Client {
    settings: SignInSettings,
    locks: Arc<HostLocks>,
    kept: Arc<Mutex<Option<Vec<u8>>>>,
    _folder: TempDir,
}

impl Client {
    fn of(centres: &[DataCentre]) -> Self {
        let mut settings = SignInSettings::new(Application::new(7, "hash"));
        settings.identity = ClientIdentity::new("test", "1", "1");
        let addresses = (1..).zip(centres).map(|(dc, centre)| (dc, centre.address()));
        settings.data_centres = match centres {
            [only] => DataCentres::from_iter([(2, only.address())]),
            _ => addresses.collect(),
        };
        settings.server_keys = vec![DataCentre::public_key()];
        let folder = tempfile::tempdir().unwrap();
        let mut options = HostLocksOptions::default();
        options.folder = Some(folder.path().into());
        let (locks, kept) = (Arc::new(HostLocks::new(options)), Arc::default());
        Self { settings, locks, kept, _folder: folder }
    }

    fn keep(&self) -> impl FnMut(&KeptSignIn) -> Result<(), BoxError> + Send + 'static {
        let kept = Arc::clone(&self.kept);
        move |it| {
            *kept.lock().unwrap() = Some(it.to_bytes().to_vec());
            Ok(())
        }
    }

    fn begin(&self, way: SignInWay) -> SignInRun {
        let locks = Arc::clone(&self.locks);
        SignInRun::begin(self.settings.clone(), way, 2, locks, self.keep()).unwrap()
    }

    /// Goes on with what was kept last, as another process does.
    fn resume(&self) -> SignInRun {
        let kept = self.kept.lock().unwrap().clone().unwrap();
        let kept = KeptSignIn::from_bytes(&kept).unwrap();
        let locks = Arc::clone(&self.locks);
        SignInRun::resume(self.settings.clone(), kept, locks, self.keep()).unwrap()
    }
}

async fn code(run: &mut SignInRun) -> SentCode {
    match run.next().await.unwrap() {
        SignInPrompt::Code(sent) => sent,
        other => panic!("{other:?}"),
    }
}

async fn password_is_asked(run: &mut SignInRun) -> u8 {
    match run.next().await.unwrap() {
        SignInPrompt::Password(question) => question.tries_left,
        other => panic!("{other:?}"),
    }
}

async fn link(run: &mut SignInRun) -> LoginLink {
    match run.next().await.unwrap() {
        SignInPrompt::Scan(link) => link,
        other => panic!("{other:?}"),
    }
}

async fn done(run: &mut SignInRun) -> SignedIn {
    match run.next().await.unwrap() {
        SignInPrompt::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// Calls a method with the key of a session, alone.
async fn call(session: &SignedInSession, body: Vec<u8>) -> Result<Vec<u8>, WireError> {
    let stream = TcpStream::connect(session.address).await.unwrap();
    let mut options = WireOptions::new(session.key.clone());
    options.introduction = introduction(7, session.settings.identity.clone());
    let (handle, driver) = open(stream, (), options, |_| {});
    let driver = tokio::spawn(driver);
    let answered = handle.call(body, LIMIT).await;
    handle.close();
    assert!(driver.await.unwrap().is_confirmed());
    answered
}

fn get_state() -> Vec<u8> {
    functions::updates::GetState {}.to_bytes()
}

async fn serves(session: &SignedInSession) {
    let state = call(session, get_state()).await.unwrap();
    enums::updates::State::from_bytes(&state).unwrap();
}

fn no_violations(centres: &[DataCentre]) {
    for centre in centres {
        let stats = centre.stats();
        assert_eq!((stats.key_violations, stats.keys_unknown), (0, 0), "{stats:?}");
    }
}

#[tokio::test]
async fn by_phone_with_a_code_and_a_password_to_a_session_that_makes_calls() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996634567".parse().unwrap();
    data_centre.create_account(account);
    assert!(data_centre.set_password(account, Some("öffne dich"), Some("a door")));
    let client = Client::of(std::slice::from_ref(&data_centre));
    let mut run = client.begin(SignInWay::phone(account));
    let sent = code(&mut run).await;
    assert_eq!((sent.delivery, sent.next), (CodeDelivery::App, Some(CodeDelivery::Sms)));
    assert_eq!(data_centre.login_code(account).as_deref(), Some("33333"));
    run.enter_code("11111").unwrap();
    let sent = code(&mut run).await;
    assert_eq!((sent.tries_left, sent.refusal), (4, Some(CodeRefusal::Wrong)));
    run.resend().unwrap();
    assert_eq!(code(&mut run).await.delivery, CodeDelivery::Sms);
    run.enter_code("33333").unwrap();
    let question = run.next().await.unwrap();
    let SignInPrompt::Password(question) = question else { panic!("{question:?}") };
    assert_eq!(question.hint.as_deref(), Some("a door"));
    run.enter_password(secret("no")).await.unwrap();
    assert_eq!(password_is_asked(&mut run).await, 4);
    run.enter_password(secret("öffne dich")).await.unwrap();
    let signed_in = done(&mut run).await;
    assert_eq!((signed_in.phone, signed_in.is_bot), (Some(account), false));
    let session = run.finish().await.unwrap();
    serves(&session).await;
    assert_eq!(data_centre.stats().keys_made, 1);
    no_violations(&[data_centre]);
}

#[tokio::test]
async fn a_bot_by_its_token_and_nobody_by_another() {
    let data_centre = data_centre().await;
    let account = AccountId::bot(555).unwrap();
    let token = data_centre.bot_token(account).unwrap();
    let client = Client::of(std::slice::from_ref(&data_centre));
    let mut run = client.begin(SignInWay::Bot(secret(&token)));
    let signed_in = done(&mut run).await;
    assert_eq!((signed_in.user_id, signed_in.is_bot), (555, true));
    let error = client.begin(SignInWay::Bot(secret("555:wrong"))).next().await.unwrap_err();
    assert!(error.to_string().contains("@BotFather"), "{error}");
    assert_eq!(error.retry_after(), None);
}

#[tokio::test]
async fn whoever_lives_elsewhere_is_signed_in_there() {
    let centres = data_centres().await;
    let [first, second, third] = &centres;
    let (person, bot): (AccountId, _) =
        ("+9996655501".parse().unwrap(), AccountId::bot(557).unwrap());
    third.create_account(person);
    let token = first.bot_token(bot).unwrap();
    let client = Client::of(&centres);
    let mut run = client.begin(SignInWay::phone(person));
    code(&mut run).await;
    run.enter_code("55555").unwrap();
    assert_eq!(done(&mut run).await.dc, 3);
    let session = run.finish().await.unwrap();
    assert_eq!(session.address, third.address());
    serves(&session).await;
    let mut run = client.begin(SignInWay::Bot(secret(&token)));
    assert_eq!(done(&mut run).await.dc, 1);
    serves(&run.finish().await.unwrap()).await;
    // A key at each place that it came to, and the login at one.
    let keys = centres.each_ref().map(|centre| centre.stats().keys_made);
    assert_eq!(keys, [1, 2, 1]);
    // What is scanned as well, and its password is proved there.
    assert!(first.set_password(person, Some("secret"), None));
    let mut run = client.begin(SignInWay::Scan { except: vec![] });
    let shown = link(&mut run).await;
    assert!(second.accept_login(person, shown.token()));
    password_is_asked(&mut run).await;
    run.enter_password(secret("secret")).await.unwrap();
    assert_eq!(done(&mut run).await.dc, 3);
    serves(&run.finish().await.unwrap()).await;
    no_violations(&centres);
}

#[tokio::test]
async fn a_login_is_taken_over_elsewhere_for_what_needs_no_home() {
    let centres = data_centres().await;
    let account: AccountId = "+9996611101".parse().unwrap();
    centres[1].create_account(account);
    let client = Client::of(&centres);
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    run.enter_code("11111").unwrap();
    let user_id = done(&mut run).await.user_id;
    let home = run.finish().await.unwrap();
    let export = functions::auth::ExportAuthorization { dc_id: 3 }.to_bytes();
    let exported = call(&home, export).await.unwrap();
    let exported = enums::auth::ExportedAuthorization::from_bytes(&exported).unwrap();
    let enums::auth::ExportedAuthorization::Authorization(exported) = exported;
    assert_eq!(exported.id, user_id);
    // A key of the other data centre, by which nobody is signed in.
    let mut elsewhere = home.clone();
    let stream = TcpStream::connect(centres[2].address()).await.unwrap();
    let servers = client.settings.server_keys.clone();
    let made = telepool::telegram::wire::make_key(stream, servers, LIMIT).await.unwrap();
    (elsewhere.key, elsewhere.address) = (made.key, centres[2].address());
    let import = functions::auth::ImportAuthorization { id: user_id, bytes: exported.bytes };
    call(&elsewhere, import.to_bytes()).await.unwrap();
    let oneself = functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }.to_bytes();
    let users = call(&elsewhere, oneself).await.unwrap();
    let users = Vec::<enums::User>::from_bytes(&users).unwrap();
    assert!(matches!(&users[..], [enums::User::User(user)] if user.id == user_id));
    let refused = call(&elsewhere, get_state()).await.unwrap_err();
    assert!(
        matches!(&refused, WireError::Rpc { code: 303, message } if &**message == "USER_MIGRATE_2"),
        "{refused}"
    );
    let again = call(&elsewhere, import.to_bytes()).await.unwrap_err();
    assert!(matches!(&again, WireError::Rpc { code: 400, .. }), "{again}");
}

#[tokio::test]
async fn a_further_session_is_accepted_by_the_first_without_another_code() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996612345".parse().unwrap();
    data_centre.create_account(account);
    let client = Client::of(std::slice::from_ref(&data_centre));
    let mut first = client.begin(SignInWay::phone(account));
    code(&mut first).await;
    first.enter_code("11111").unwrap();
    let own = done(&mut first).await;
    let mut further = client.begin(SignInWay::Scan { except: vec![] });
    let shown = link(&mut further).await;
    first.accept(&shown).await.unwrap();
    let again = first.accept(&shown).await.unwrap_err();
    assert!(matches!(again, SignInRunError::SignIn(SignInError::Refused { .. })), "{again}");
    assert_eq!(done(&mut further).await.user_id, own.user_id);
    let (first, further) = (first.finish().await.unwrap(), further.finish().await.unwrap());
    assert_ne!(first.key.id(), further.key.id());
    serves(&first).await;
    serves(&further).await;
    no_violations(&[data_centre]);
}

/// Puts one fault on a call, which then goes on by itself.
fn once(method: &str, fault: Fault) -> FaultPlan {
    FaultPlan::new([FaultRule::new(method, fault).limit(1)]).unwrap()
}

/// Signs somebody in who has a password, whatever is on the way.
async fn sign_in_through(centres: &[DataCentre], account: AccountId) -> SignedInSession {
    let client = Client::of(centres);
    let mut run = client.begin(SignInWay::phone(account));
    let mut asked = Vec::new();
    loop {
        match run.next().await.unwrap() {
            SignInPrompt::Code(_) => {
                asked.push("code");
                run.enter_code("44444").unwrap();
            }
            SignInPrompt::Password(_) => {
                asked.push("password");
                run.enter_password(secret("secret")).await.unwrap();
            }
            SignInPrompt::Done(_) => break,
            other => panic!("{other:?}"),
        }
        assert!(asked.len() < 8, "{asked:?}");
    }
    run.finish().await.unwrap()
}

#[tokio::test]
async fn a_connection_that_ends_at_any_call_costs_nothing_but_time() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996640001".parse().unwrap();
    data_centre.create_account(account);
    assert!(data_centre.set_password(account, Some("secret"), None));
    let methods =
        ["auth.sendCode", "auth.signIn", "account.getPassword", "auth.checkPassword", "connect"];
    let mut sessions = Vec::new();
    for method in methods {
        for fault in [Fault::Close, Fault::Reset, Fault::Error { code: 500, message: "NO".into() }]
        {
            if method == "connect" && matches!(fault, Fault::Error { .. }) {
                continue;
            }
            data_centre.set_faults(&once(method, fault));
            sessions.push(sign_in_through(std::slice::from_ref(&data_centre), account).await);
        }
    }
    data_centre.set_faults(&FaultPlan::default());
    for session in &sessions {
        serves(session).await;
    }
    no_violations(&[data_centre]);
}

#[tokio::test]
async fn at_every_prompt_another_process_goes_on() {
    let centres = data_centres().await;
    let account: AccountId = "+9996677701".parse().unwrap();
    centres[0].create_account(account);
    assert!(centres[0].set_password(account, Some("secret"), None));
    let client = Client::of(&centres);
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    drop(run);
    let mut run = client.resume();
    code(&mut run).await;
    run.enter_code("12345").unwrap();
    assert_eq!(code(&mut run).await.refusal, Some(CodeRefusal::Wrong));
    drop(run);
    let mut run = client.resume();
    let sent = code(&mut run).await;
    assert_eq!((sent.refusal, sent.tries_left), (Some(CodeRefusal::Wrong), 4));
    run.enter_code("77777").unwrap();
    password_is_asked(&mut run).await;
    drop(run);
    let mut run = client.resume();
    password_is_asked(&mut run).await;
    run.enter_password(secret("secret")).await.unwrap();
    let user_id = done(&mut run).await.user_id;
    // Even between the server's word and the store's.
    drop(run);
    let mut run = client.resume();
    assert_eq!(done(&mut run).await.user_id, user_id);
    serves(&run.finish().await.unwrap()).await;
    let keys = centres.each_ref().map(|centre| centre.stats().keys_made);
    assert_eq!(keys, [1, 1, 0], "one each, however often it was begun");
    no_violations(&centres);
}

#[tokio::test]
async fn whoever_gives_up_leaves_nothing_pending_and_nobody_signed_in() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996622222".parse().unwrap();
    data_centre.create_account(account);
    let client = Client::of(std::slice::from_ref(&data_centre));
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    run.cancel().await.unwrap();
    run.cancel().await.unwrap();
    assert!(run.next().await.is_err());
    // After the server has taken it.
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    run.enter_code("22222").unwrap();
    done(&mut run).await;
    run.cancel().await.unwrap();
    // While nobody knows whether it has.
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    run.enter_code("22222").unwrap();
    data_centre.set_latency(Duration::from_millis(300));
    tokio::time::timeout(Duration::from_millis(100), run.next()).await.unwrap_err();
    data_centre.set_latency(Duration::ZERO);
    run.cancel().await.unwrap();
    assert_eq!(data_centre.session_count(account), 0);
    no_violations(&[data_centre]);
}

#[tokio::test]
async fn whoever_has_logged_out_needs_no_code_the_next_time() {
    let data_centre = data_centre().await;
    let account: AccountId = "+9996699990".parse().unwrap();
    data_centre.create_account(account);
    let client = Client::of(std::slice::from_ref(&data_centre));
    let mut run = client.begin(SignInWay::phone(account));
    code(&mut run).await;
    run.enter_code("99999").unwrap();
    done(&mut run).await;
    let session = run.finish().await.unwrap();
    let out = async || {
        let place = (2, session.address);
        let (settings, key) = (client.settings.clone(), session.key.clone());
        sign_out(settings, place, key, Arc::clone(&client.locks) as _).await.unwrap()
    };
    let token = out().await.logout_token.unwrap();
    let error = call(&session, get_state()).await.unwrap_err();
    assert!(matches!(&error, WireError::Rpc { code: 401, .. }), "{error}");
    assert!(out().await.logout_token.is_none(), "once is enough");
    let way = SignInWay::Phone { number: account, logout_tokens: vec![token] };
    let mut run = client.begin(way);
    done(&mut run).await;
    serves(&run.finish().await.unwrap()).await;
    no_violations(&[data_centre]);
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
            "key": DataCentre::public_key().to_pem(),
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
    // Some write where they are run what they do not understand.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let ran = child.wait_with_output().await.unwrap();
    let (said, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{} {said}{told}", ran.status);
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}
