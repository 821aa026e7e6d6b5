//! What somebody enters, and the end if he gives up.
//!
//! Owns what of it is taken, and when.

use zeroize::Zeroizing;

use super::{SignIn, SignInCall, SignInState};
use crate::sign_in::sent_code::CodeRefusal;
use crate::sign_in::{SentCode, SignInInputError, SignInStep, SignInWay, calls};

impl SignIn {
    /// Somebody has entered the code.
    ///
    /// # Errors
    /// It can not be one, or none is waited for. The sign-in is where it was.
    pub fn enter_code(&mut self, code: &str) -> Result<SignInStep, SignInInputError> {
        let (SignInState::Code, SignInWay::Phone { number, .. }) = (&self.state, &self.way) else {
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
        let (SignInState::Code, SignInWay::Phone { number, .. }) = (&self.state, &self.way) else {
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
        match std::mem::replace(&mut self.state, SignInState::Over) {
            SignInState::Password(challenge) => {
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
            SignInState::Shown => Some(self.call_first()),
            _ => None,
        }
    }

    /// Gives it up. `None`: what comes of the call that is on its way has to be waited for, and if the server takes the
    /// sign-in it is logged out.
    #[must_use]
    pub fn cancel(&mut self) -> Option<SignInStep> {
        self.is_cancelled = true;
        match &self.state {
            SignInState::Called(_) => None,
            SignInState::Code => Some(self.give_up()),
            // Somebody may have scanned it by now.
            SignInState::Shown => Some(self.call_first()),
            SignInState::Unknown => Some(self.call_oneself()),
            SignInState::Resting(_) => Some(self.lost()),
            SignInState::Taken => Some(self.call_if_cancelled()),
            SignInState::Password(_) | SignInState::Over => Some(self.cancelled()),
        }
    }

    /// Nobody is signed in: what was sent is forgotten, where there is anything, and that is all.
    pub(super) fn give_up(&mut self) -> SignInStep {
        self.cancel_code().unwrap_or_else(|| self.cancelled())
    }

    /// Has the code forgotten that was sent, if one was.
    pub(super) fn cancel_code(&mut self) -> Option<SignInStep> {
        let SignInWay::Phone { number, .. } = &self.way else { return None };
        let (hash, _) = self.sent.as_ref().filter(|_| self.is_cancelled)?;
        let request = calls::cancel(*number, hash);
        Some(self.call(SignInCall::CancelCode, request))
    }
}
