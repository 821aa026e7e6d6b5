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
    SignIn::begin(Application::new(7, "hash"), way, 2)
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
    let (mut sign_in, step) = begin(SignInWay::Phone(account));
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
    let (mut sign_in, step) = begin(SignInWay::Phone(account));
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
