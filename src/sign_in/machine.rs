//! The machine: what comes after what.
//!
//! Owns the state of one sign-in. Never makes a call, asks anybody, or waits.

use std::fmt;
use std::time::Duration;

use grammers_tl_types::{Deserializable, enums, types};
use zeroize::Zeroizing;

use super::password::PasswordChallenge;
use super::sent_code::CodeRefusal;
use super::{
    Application, LoginLink, SentCode, SignInError, SignInInputError, SignInStep, SignInWay,
    SignedIn, calls,
};
use crate::account_id::AccountId;

/// How many codes, and how many passwords, may be tried.
const TRIES_MAX: u8 = 5;
/// How often the server may send a sign-in elsewhere, or have it begin anew.
const DETOURS_MAX: u8 = 4;
/// How often a code to be scanned is asked about.
const POLL_EVERY: Duration = Duration::from_secs(3);

const UNREADABLE: SignInError = SignInError::Protocol("an answer is not one to what was asked");

/// A sign-in under way.
pub struct SignIn {
    pub(super) application: Application,
    pub(super) way: SignInWay,
    /// At which data centre it is pending.
    pub(super) dc: i32,
    pub(super) state: State,
    /// The code that was sent, and what the server knows it by.
    pub(super) sent: Option<(Zeroizing<String>, SentCode)>,
    pub(super) detours: u8,
    pub(super) password_tries: u8,
    pub(super) is_cancelled: bool,
    /// A password was asked for: the server has taken everything else.
    pub(super) is_at_password: bool,
}

/// What is waited for.
pub(super) enum State {
    /// The answer to a call.
    Called(SignInCall),
    /// A code.
    Code,
    /// A password.
    Password(PasswordChallenge),
    /// That somebody scans what is shown.
    Shown,
    /// That the time is over for which the server has refused a call.
    Resting(SignInCall),
    /// Nothing: the server has taken it.
    Taken,
    /// Nothing: it was given up, or it failed.
    Over,
}

/// A call whose answer is waited for.
pub(super) enum SignInCall {
    First,
    Resend,
    CancelCode,
    SignIn,
    Import,
    /// With the password that was entered already, if there is one.
    Challenge(Option<Zeroizing<String>>),
    /// With the password, in case that the challenge is out of date, and whether it was before.
    Check {
        password: Zeroizing<String>,
        is_again: bool,
    },
    Oneself,
    LogOut,
}

impl SignIn {
    /// Begins, at the data centre that is nearest or that the account was last seen at: the server says if it is
    /// another.
    ///
    /// # Errors
    /// What is given has no phone number in it, or no token.
    pub fn begin(
        application: Application,
        way: SignInWay,
        dc: i32,
    ) -> Result<(Self, SignInStep), SignInInputError> {
        match &way {
            SignInWay::Phone { number, .. } if !number.is_phone() => {
                return Err(SignInInputError::new(
                    "it is no phone number: write it with + and the code of the country",
                ));
            }
            SignInWay::Bot(token) if !is_bot_token(token) => {
                return Err(SignInInputError::new(
                    "it is no bot's token: @BotFather gives it, as in 12345:AAH...",
                ));
            }
            _ => {}
        }
        let mut sign_in = Self::at(application, way, dc);
        let step = sign_in.call_first();
        Ok((sign_in, step))
    }

    pub(super) fn at(application: Application, way: SignInWay, dc: i32) -> Self {
        Self {
            application,
            way,
            dc,
            state: State::Over,
            sent: None,
            detours: 0,
            password_tries: 0,
            is_cancelled: false,
            is_at_password: false,
        }
    }

    /// At which data centre it is pending.
    #[must_use]
    pub fn dc(&self) -> i32 {
        self.dc
    }

    fn call(&mut self, call: SignInCall, request: Vec<u8>) -> SignInStep {
        self.state = State::Called(call);
        SignInStep::Call { dc: self.dc, request }
    }

    pub(super) fn call_first(&mut self) -> SignInStep {
        self.sent = None;
        let request = calls::first(&self.application, &self.way);
        self.call(SignInCall::First, request)
    }

    /// Asks who is signed in: whether a call was carried out whose answer never came.
    pub(super) fn call_oneself(&mut self) -> SignInStep {
        self.call(SignInCall::Oneself, calls::oneself())
    }

    pub(super) fn call_challenge(&mut self, password: Option<Zeroizing<String>>) -> SignInStep {
        self.call(SignInCall::Challenge(password), calls::challenge())
    }

    /// Whether the server has taken the last thing it was sent is known: it has not.
    fn not_taken(&mut self) -> SignInStep {
        match self.is_at_password {
            true => self.call_challenge(None),
            false => self.ask_code_again(),
        }
    }

    /// Has the code asked for as it was, or something asked for if there is none.
    pub(super) fn ask_code_again(&mut self) -> SignInStep {
        let refusal = self.sent.as_ref().and_then(|(_, sent)| sent.refusal);
        self.ask_code(refusal)
    }

    /// Has the code asked for.
    pub(super) fn ask_code(&mut self, refusal: Option<CodeRefusal>) -> SignInStep {
        match &mut self.sent {
            Some((_, sent)) => {
                sent.refusal = refusal;
                let sent = sent.clone();
                self.state = State::Code;
                SignInStep::AskCode(sent)
            }
            None => self.call_first(),
        }
    }

    fn cancelled(&mut self) -> SignInStep {
        self.state = State::Over;
        SignInStep::Cancelled
    }

    /// Goes on at another data centre.
    fn move_to(&mut self, dc: Option<i32>, refused: SignInError) -> Result<(), SignInError> {
        self.detour()?;
        self.dc = dc.filter(|dc| (1..=1_000).contains(dc)).ok_or(refused)?;
        Ok(())
    }

    /// The server may send a sign-in elsewhere, or have it begin anew, a few times.
    fn detour(&mut self) -> Result<(), SignInError> {
        self.detours += 1;
        match self.detours > DETOURS_MAX {
            true => Err(SignInError::Protocol("it sends a sign-in in circles")),
            false => Ok(()),
        }
    }

    /// The server has answered the last call. It may take some tenths of a second of a core.
    ///
    /// # Errors
    /// The sign-in is over.
    pub fn answered(&mut self, answer: &[u8]) -> Result<SignInStep, SignInError> {
        let State::Called(call) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(SignInError::Protocol("an answer to nothing"));
        };
        let next = self.next(call, answer);
        match next {
            // It may have been taken all the same.
            Err(_) if self.is_cancelled => Ok(self.call(SignInCall::LogOut, calls::log_out())),
            next => next,
        }
    }

    fn next(&mut self, call: SignInCall, answer: &[u8]) -> Result<SignInStep, SignInError> {
        match call {
            SignInCall::First => match &self.way {
                SignInWay::Phone { .. } => self.code_sent(answer),
                SignInWay::Bot(_) => self.authorized(read(answer)?),
                SignInWay::Scan { .. } => self.token(read(answer)?),
            },
            SignInCall::Resend => self.code_sent(answer),
            SignInCall::SignIn | SignInCall::Check { .. } => self.authorized(read(answer)?),
            SignInCall::Import => self.token(read(answer)?),
            SignInCall::Challenge(password) => self.challenged(read(answer)?, password),
            SignInCall::Oneself => {
                let users: Vec<enums::User> = read(answer)?;
                let user = users.into_iter().next().ok_or(UNREADABLE)?;
                self.accepted(None, user)
            }
            SignInCall::CancelCode | SignInCall::LogOut => Ok(self.cancelled()),
        }
    }

    fn code_sent(&mut self, answer: &[u8]) -> Result<SignInStep, SignInError> {
        match read(answer)? {
            enums::auth::SentCode::Code(told) => {
                let tries_left = self.sent.as_ref().map_or(TRIES_MAX, |(_, it)| it.tries_left);
                let sent = SentCode::read(&told, tries_left)?;
                self.sent = Some((Zeroizing::new(told.phone_code_hash), sent));
                match (self.is_cancelled, self.cancel_code()) {
                    (true, Some(step)) => Ok(step),
                    _ => Ok(self.ask_code(None)),
                }
            }
            enums::auth::SentCode::Success(it) => self.authorized(it.authorization),
            enums::auth::SentCode::PaymentRequired(_) => Err(SignInError::PAYMENT_REQUIRED),
        }
    }

    fn token(&mut self, token: enums::auth::LoginToken) -> Result<SignInStep, SignInError> {
        match token {
            enums::auth::LoginToken::Token(_) if self.is_cancelled => Ok(self.cancelled()),
            enums::auth::LoginToken::Token(it) => {
                self.state = State::Shown;
                let (token, expires) = (Zeroizing::new(it.token), it.expires);
                Ok(SignInStep::Show(LoginLink { token, expires, poll_after: POLL_EVERY }))
            }
            // Somebody has scanned it: only there the login can be taken, and ended again.
            enums::auth::LoginToken::MigrateTo(it) => {
                self.move_to(Some(it.dc_id), UNREADABLE)?;
                Ok(self.call(SignInCall::Import, calls::import(&it.token)))
            }
            enums::auth::LoginToken::Success(it) => self.authorized(it.authorization),
        }
    }

    fn challenged(
        &mut self,
        told: enums::account::Password,
        password: Option<Zeroizing<String>>,
    ) -> Result<SignInStep, SignInError> {
        if self.is_cancelled {
            return Ok(self.cancelled());
        }
        let enums::account::Password::Password(told) = told;
        let tries_left = TRIES_MAX - self.password_tries;
        let (challenge, question) = PasswordChallenge::read(told, tries_left)?;
        self.is_at_password = true;
        match password {
            Some(password) => self.check(challenge, password, true),
            None => {
                self.state = State::Password(challenge);
                Ok(SignInStep::AskPassword(question))
            }
        }
    }

    fn check(
        &mut self,
        challenge: PasswordChallenge,
        password: Zeroizing<String>,
        is_again: bool,
    ) -> Result<SignInStep, SignInError> {
        let proof = challenge.prove(&password).ok_or(SignInError::NO_RANDOM_NUMBERS)?;
        Ok(self.call(SignInCall::Check { password, is_again }, calls::check(proof)))
    }

    fn authorized(
        &mut self,
        authorization: enums::auth::Authorization,
    ) -> Result<SignInStep, SignInError> {
        match authorization {
            enums::auth::Authorization::SignUpRequired(_) if self.is_cancelled => {
                Ok(self.cancelled())
            }
            enums::auth::Authorization::Authorization(it) => {
                let user = it.user.clone();
                self.accepted(Some(it), user)
            }
            enums::auth::Authorization::SignUpRequired(_) => Err(SignInError::SIGN_UP_REQUIRED),
        }
    }

    /// The server has taken it. Whoever has given up meanwhile is logged out.
    fn accepted(
        &mut self,
        told: Option<types::auth::Authorization>,
        user: enums::User,
    ) -> Result<SignInStep, SignInError> {
        if self.is_cancelled {
            return Ok(self.call(SignInCall::LogOut, calls::log_out()));
        }
        let enums::User::User(user) = user else { return Err(UNREADABLE) };
        let number = |it: Option<i32>| it.and_then(|it| u32::try_from(it).ok());
        let phone = user.phone.and_then(|it| AccountId::from_revealed(&format!("+{it}")).ok());
        self.state = State::Taken;
        Ok(SignInStep::Done(Box::new(SignedIn {
            dc: self.dc,
            user_id: user.id,
            is_bot: user.bot,
            phone,
            otherwise_relogin_days: told.as_ref().and_then(|it| number(it.otherwise_relogin_days)),
            temporary_sessions: told.as_ref().and_then(|it| number(it.tmp_sessions)),
            future_token: told.and_then(|it| it.future_auth_token).map(Zeroizing::new),
        })))
    }

    /// The server has refused the last call.
    ///
    /// # Errors
    /// The sign-in is over, and this is what to do about it. After [`SignInError::Flood`] it is not: it goes on with
    /// [`lost`](Self::lost) once that time has passed.
    pub fn refused(&mut self, code: i32, name: &str) -> Result<SignInStep, SignInError> {
        let State::Called(call) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(SignInError::Protocol("a refusal of nothing"));
        };
        let refused = SignInError::of(code, name);
        let is_wanted = !self.is_cancelled || matches!(call, SignInCall::LogOut);
        if is_wanted && matches!(refused, SignInError::Flood { .. }) {
            self.state = State::Resting(call);
            return Err(refused);
        }
        if refused.is_trouble() && !name.starts_with("AUTH_RESTART") {
            // Whether it was carried out is not known.
            self.detour()?;
            self.state = State::Called(call);
            return Ok(self.lost());
        }
        match (call, name) {
            // Nothing is left of it there, or nothing was.
            (SignInCall::CancelCode, _) => Ok(self.cancelled()),
            (SignInCall::LogOut, _) if code == 401 => Ok(self.cancelled()),
            (SignInCall::LogOut, _) => Err(refused),
            // What was sent is forgotten, where there is anything.
            _ if self.is_cancelled => Ok(self.cancel_code().unwrap_or_else(|| self.cancelled())),
            (SignInCall::First, name) if code == 303 => {
                let dc = name.rsplit_once("_MIGRATE_").and_then(|(_, dc)| dc.parse().ok());
                self.move_to(dc, refused)?;
                Ok(self.call_first())
            }
            (SignInCall::Check { .. } | SignInCall::Challenge(_), "SESSION_PASSWORD_NEEDED") => {
                Err(refused)
            }
            (_, "SESSION_PASSWORD_NEEDED") => Ok(self.call_challenge(None)),
            (_, name) if name.starts_with("AUTH_RESTART") => {
                self.detour()?;
                Ok(self.call_first())
            }
            (SignInCall::SignIn, name) if is_wrong_code(name) => {
                let left = self.sent.as_mut().map_or(0, |(_, sent)| {
                    sent.tries_left = sent.tries_left.saturating_sub(1);
                    sent.tries_left
                });
                match left {
                    0 => Err(SignInError::TriesSpent { what: "the code", tries: TRIES_MAX }),
                    _ => Ok(self.ask_code(Some(CodeRefusal::Wrong))),
                }
            }
            (
                SignInCall::SignIn | SignInCall::Resend,
                "PHONE_CODE_EXPIRED" | "EMAIL_VERIFY_EXPIRED",
            ) => Ok(self.ask_code(Some(CodeRefusal::Expired))),
            (SignInCall::Resend, "SEND_CODE_UNAVAILABLE") => {
                if let Some((_, sent)) = &mut self.sent {
                    sent.next = None;
                }
                Ok(self.ask_code(None))
            }
            (SignInCall::Check { .. }, "PASSWORD_HASH_INVALID") => {
                self.password_tries += 1;
                match self.password_tries >= TRIES_MAX {
                    true => Err(SignInError::TriesSpent { what: "the password", tries: TRIES_MAX }),
                    false => Ok(self.call_challenge(None)),
                }
            }
            (
                SignInCall::Check { password, is_again: false },
                "SRP_ID_INVALID" | "SRP_PASSWORD_CHANGED",
            ) => Ok(self.call_challenge(Some(password))),
            // What was scanned is out of date by now: another is shown.
            (SignInCall::Import, name) if name.starts_with("AUTH_TOKEN_") => {
                self.detour()?;
                Ok(self.call_first())
            }
            // The server has not taken what it was sent last.
            (SignInCall::Oneself, "AUTH_KEY_UNREGISTERED") => Ok(self.not_taken()),
            _ => Err(refused),
        }
    }

    /// The last call has had no answer, and may have been carried out. Returns what to do on the next connection.
    /// One that was surely not sent is to be made again instead.
    #[must_use]
    pub fn lost(&mut self) -> SignInStep {
        let state = match std::mem::replace(&mut self.state, State::Over) {
            State::Resting(call) => State::Called(call),
            state => state,
        };
        match state {
            // Only the server knows, and what it has taken is not to be made twice, or is to be logged out.
            State::Called(
                SignInCall::SignIn
                | SignInCall::Import
                | SignInCall::Check { .. }
                | SignInCall::Oneself,
            ) => self.call_oneself(),
            State::Called(SignInCall::First) if self.way.may_need_no_more() => self.call_oneself(),
            State::Shown => self.call_oneself(),
            State::Called(SignInCall::LogOut) => self.call(SignInCall::LogOut, calls::log_out()),
            State::Taken => {
                self.state = State::Taken;
                self.call_if_cancelled()
            }
            _ if self.is_cancelled => self.cancel_code().unwrap_or_else(|| self.cancelled()),
            // Another code is the same one as long as that is good.
            State::Called(SignInCall::First) => self.call_first(),
            State::Called(SignInCall::Resend) | State::Code => self.ask_code_again(),
            State::Called(SignInCall::Challenge(password)) => self.call_challenge(password),
            State::Password(_) => self.call_challenge(None),
            State::Called(SignInCall::CancelCode) | State::Resting(_) | State::Over => {
                self.cancelled()
            }
        }
    }

    /// After the end: a session that is not wanted is logged out, and one that is stays.
    fn call_if_cancelled(&mut self) -> SignInStep {
        match self.is_cancelled {
            true => self.call(SignInCall::LogOut, calls::log_out()),
            false => self.call_oneself(),
        }
    }

    /// Somebody has entered the code.
    ///
    /// # Errors
    /// It can not be one, or none is waited for. The sign-in is where it was.
    pub fn enter_code(&mut self, code: &str) -> Result<SignInStep, SignInInputError> {
        let (State::Code, SignInWay::Phone { number, .. }) = (&self.state, &self.way) else {
            return Err(SignInInputError::new("no code is waited for"));
        };
        let Some((hash, sent)) = &self.sent else {
            return Err(SignInInputError::new("no code was sent"));
        };
        if sent.refusal == Some(CodeRefusal::Expired) {
            return Err(SignInInputError::new("this code is out of date: ask for another"));
        }
        let code = Zeroizing::new(sent.clean(code)?);
        let request = calls::sign_in(*number, hash, &code, &sent.delivery);
        Ok(self.call(SignInCall::SignIn, request))
    }

    /// Somebody wants another code.
    ///
    /// # Errors
    /// None is to be had, or none is waited for. The sign-in is where it was.
    pub fn resend(&mut self) -> Result<SignInStep, SignInInputError> {
        let (State::Code, SignInWay::Phone { number, .. }) = (&self.state, &self.way) else {
            return Err(SignInInputError::new("no code is waited for"));
        };
        match &self.sent {
            Some((_, sent)) if sent.refusal == Some(CodeRefusal::Expired) => Ok(self.call_first()),
            Some((hash, SentCode { next: Some(_), .. })) => {
                let request = calls::resend(*number, hash);
                Ok(self.call(SignInCall::Resend, request))
            }
            _ => Err(SignInInputError::new(
                "Telegram offers no other way to send the code: look where it said that it is",
            )),
        }
    }

    /// Somebody has entered the password. It takes some tenths of a second of a core.
    ///
    /// # Errors
    /// It is empty, or none is waited for. The sign-in is where it was.
    pub fn enter_password(
        &mut self,
        password: Zeroizing<String>,
    ) -> Result<SignInStep, SignInInputError> {
        if password.is_empty() {
            return Err(SignInInputError::new("the password is empty"));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Password(challenge) => {
                let checked = self.check(challenge, password, false);
                checked.map_err(|error| SignInInputError::new(error.to_string()))
            }
            state => {
                self.state = state;
                Err(SignInInputError::new("no password is waited for"))
            }
        }
    }

    /// Asks whether what is shown was scanned. Nothing is to be asked if nothing is shown.
    #[must_use]
    pub fn poll(&mut self) -> Option<SignInStep> {
        match &self.state {
            State::Shown => Some(self.call_first()),
            _ => None,
        }
    }

    /// Gives it up. `None`: what comes of the call that is on its way has to be waited for, and if the server takes the
    /// sign-in it is logged out.
    #[must_use]
    pub fn cancel(&mut self) -> Option<SignInStep> {
        self.is_cancelled = true;
        match &self.state {
            State::Called(_) => None,
            State::Code => Some(match self.cancel_code() {
                Some(step) => step,
                None => self.cancelled(),
            }),
            // Somebody may have scanned it by now.
            State::Shown => Some(self.call_oneself()),
            State::Resting(_) => Some(self.lost()),
            State::Taken => Some(self.call_if_cancelled()),
            State::Password(_) | State::Over => Some(self.cancelled()),
        }
    }

    /// Has the code forgotten that was sent, if one was.
    fn cancel_code(&mut self) -> Option<SignInStep> {
        let SignInWay::Phone { number, .. } = &self.way else { return None };
        let (hash, _) = self.sent.as_ref().filter(|_| self.is_cancelled)?;
        let request = calls::cancel(*number, hash);
        Some(self.call(SignInCall::CancelCode, request))
    }
}

/// Whether a code was refused because it is another one.
fn is_wrong_code(name: &str) -> bool {
    let names = ["PHONE_CODE_INVALID", "PHONE_CODE_EMPTY", "CODE_INVALID", "EMAIL_CODE_INVALID"];
    names.contains(&name)
}

/// Whether it looks as a bot's token does: its number, a colon and what is secret.
fn is_bot_token(token: &str) -> bool {
    let is_secret = |it: &str| {
        !it.is_empty()
            && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    token
        .split_once(':')
        .is_some_and(|(number, secret)| number.parse::<u64>().is_ok() && is_secret(secret))
}

/// Reads an answer.
fn read<T: Deserializable>(answer: &[u8]) -> Result<T, SignInError> {
    T::from_bytes(answer).map_err(|_| UNREADABLE)
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("way", &self.way)
            .field("dc", &self.dc)
            .finish_non_exhaustive()
    }
}
