//! What is kept of a sign-in while a person is asked, so that it can go on in another process.
//!
//! Owns what outlasts the process. It holds secrets (what the server knows a code by, a bot's token) and belongs where
//! sessions are; a password is never in it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::under_way::{SignInCall, SignInState};
use super::{Application, SentCode, SignIn, SignInStep, SignInWay};
use crate::account_id::AccountId;

/// A sign-in that was interrupted. Together with the keys of its data centres it is all that is needed to go on.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedSignIn {
    way: SavedWay,
    dc: i32,
    /// What the server knows the code by, and the code.
    sent: Option<(Zeroizing<String>, SentCode)>,
    place: SavedPlace,
    detours: u8,
    password_tries: u8,
    is_at_password: bool,
    is_cancelled: bool,
}

#[derive(Clone, Serialize, Deserialize)]
enum SavedWay {
    Phone { number: String, logout_tokens: Vec<Zeroizing<Vec<u8>>> },
    Bot(Zeroizing<String>),
    Scan(Vec<i64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SavedPlace {
    /// Nothing was sent that would be lost.
    Beginning,
    Code,
    Password,
    /// The server may have taken it.
    Unknown,
}

impl SignIn {
    /// What is to be kept before a person is asked, and before a call is made that the server may take.
    #[must_use]
    pub fn save(&self) -> SavedSignIn {
        let place = match &self.state {
            SignInState::Code
            | SignInState::Called(SignInCall::Resend | SignInCall::CancelCode) => SavedPlace::Code,
            SignInState::Password(_) | SignInState::Called(SignInCall::Challenge(_)) => {
                SavedPlace::Password
            }
            SignInState::Called(SignInCall::First) | SignInState::Resting(SignInCall::First)
                if !self.way.may_need_no_more() =>
            {
                SavedPlace::Beginning
            }
            SignInState::Called(_)
            | SignInState::Resting(_)
            | SignInState::Unknown
            | SignInState::Shown
            | SignInState::Taken
            | SignInState::Over => SavedPlace::Unknown,
        };
        let way = match &self.way {
            SignInWay::Phone { number, logout_tokens } => SavedWay::Phone {
                number: number.reveal().to_string(),
                logout_tokens: logout_tokens.clone(),
            },
            SignInWay::Bot(token) => SavedWay::Bot(token.clone()),
            SignInWay::Scan { except } => SavedWay::Scan(except.clone()),
        };
        SavedSignIn {
            way,
            dc: self.dc,
            sent: self.sent.clone(),
            place,
            detours: self.detours,
            password_tries: self.password_tries,
            is_at_password: self.is_at_password,
            is_cancelled: self.is_cancelled,
        }
    }
}

impl SavedSignIn {
    /// At which data centre it is pending.
    #[must_use]
    pub fn dc(&self) -> i32 {
        self.dc
    }

    /// Goes on with it. `None` if what was kept is none.
    #[must_use]
    pub fn resume(self, application: Application) -> Option<(SignIn, SignInStep)> {
        let way = match self.way {
            SavedWay::Phone { number, logout_tokens } => {
                SignInWay::Phone { number: AccountId::from_revealed(&number).ok()?, logout_tokens }
            }
            SavedWay::Bot(token) => SignInWay::Bot(token),
            SavedWay::Scan(except) => SignInWay::Scan { except },
        };
        let mut sign_in = SignIn::at(application, way, self.dc);
        sign_in.sent = self.sent;
        (sign_in.detours, sign_in.password_tries) = (self.detours, self.password_tries);
        (sign_in.is_at_password, sign_in.is_cancelled) = (self.is_at_password, self.is_cancelled);
        let step = match self.place {
            // What was given up is ended, and not begun anew.
            _ if self.is_cancelled => sign_in.call_oneself(),
            SavedPlace::Beginning => sign_in.call_first(),
            SavedPlace::Code => sign_in.ask_code_again(),
            // Which it is checked by is out of date.
            SavedPlace::Password => sign_in.call_challenge(None),
            SavedPlace::Unknown => sign_in.call_oneself(),
        };
        Some((sign_in, step))
    }
}

impl fmt::Debug for SavedSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSignIn").field("dc", &self.dc).finish_non_exhaustive()
    }
}
