//! A sign-in under way: the machine that says what comes next.
//!
//! Owns its state and the calls that it asks for. What becomes of answers, refusals and what somebody enters lies below.
//! Never makes a call, asks anybody, or waits.

mod answers;
mod inputs;
mod refusals;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::password::PasswordChallenge;
use super::sent_code::CodeRefusal;
use super::{
    Application, SentCode, SignInError, SignInInputError, SignInStep, SignInWay, bot_of_token,
    calls,
};

/// How many codes, and how many passwords, may be tried.
const TRIES_MAX: u8 = 5;
/// How often the server may send a sign-in elsewhere, or have it begin anew.
const DETOURS_MAX: u8 = 4;
/// How often in a row the server may have trouble of its own.
const TROUBLES_MAX: u8 = 4;
/// How often a code to be scanned is asked about.
const POLL_EVERY: Duration = Duration::from_secs(3);

const UNREADABLE: SignInError = SignInError::Protocol("an answer is not one to what was asked");

/// A sign-in under way.
pub struct SignIn {
    pub(super) application: Application,
    pub(super) way: SignInWay,
    /// At which data centre it is pending.
    pub(super) dc: i32,
    pub(super) state: SignInState,
    /// The code that was sent, and what the server knows it by.
    pub(super) sent: Option<(Zeroizing<String>, SentCode)>,
    pub(super) detours: u8,
    /// How often in a row the server had trouble of its own.
    troubles: u8,
    pub(super) password_tries: u8,
    /// The last password was.
    was_wrong: bool,
    pub(super) is_cancelled: bool,
    /// A password was asked for: the server has taken everything else.
    pub(super) is_at_password: bool,
}

/// What is waited for.
pub(super) enum SignInState {
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
    /// Whoever asks the server: it may have taken it.
    Unknown,
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
            SignInWay::Bot(token) if bot_of_token(token).is_none() => {
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
            state: SignInState::Over,
            sent: None,
            detours: 0,
            troubles: 0,
            password_tries: 0,
            was_wrong: false,
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
        self.state = SignInState::Called(call);
        SignInStep::Call { dc: self.dc, request }
    }

    pub(super) fn call_first(&mut self) -> SignInStep {
        (self.sent, self.is_at_password) = (None, false);
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
                self.state = SignInState::Code;
                SignInStep::AskCode(sent)
            }
            None => self.call_first(),
        }
    }

    fn cancelled(&mut self) -> SignInStep {
        self.state = SignInState::Over;
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
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("way", &self.way)
            .field("dc", &self.dc)
            .finish_non_exhaustive()
    }
}
