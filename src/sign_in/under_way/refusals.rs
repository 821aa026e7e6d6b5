//! What the server has refused, and what was lost on the way.
//!
//! Owns what each refusal leads to, and what has to be asked before anything is repeated.

use super::{SignIn, SignInCall, SignInState, TRIES_MAX, TROUBLES_MAX};
use crate::sign_in::sent_code::CodeRefusal;
use crate::sign_in::{SignInError, SignInStep, SignInWay, calls};

impl SignIn {
    /// The server has refused the last call.
    ///
    /// # Errors
    /// The sign-in is over, and this is what to do about it. After [`SignInError::Flood`] it is not: it goes on with
    /// [`lost`](Self::lost) once that time has passed.
    pub fn refused(&mut self, code: i32, name: &str) -> Result<SignInStep, SignInError> {
        let SignInState::Called(call) = std::mem::replace(&mut self.state, SignInState::Over)
        else {
            return Err(SignInError::Protocol("a refusal of nothing"));
        };
        let refused = SignInError::of(code, name);
        let ends = matches!(call, SignInCall::LogOut | SignInCall::Oneself);
        if (!self.is_cancelled || ends) && matches!(refused, SignInError::Flood { .. }) {
            self.state = SignInState::Resting(call);
            return Err(refused);
        }
        if refused.is_trouble() && !name.starts_with("AUTH_RESTART") {
            // Whether it was carried out is not known.
            self.troubles += 1;
            if self.troubles > TROUBLES_MAX {
                self.troubles = 0;
                self.state = SignInState::Resting(call);
                return Err(SignInError::Trouble { code });
            }
            self.state = SignInState::Called(call);
            return Ok(self.lost());
        }
        match call {
            SignInCall::CancelCode | SignInCall::LogOut => self.refused_at_the_end(&call, refused),
            _ if self.is_cancelled => self.refused_at_the_end(&call, refused),
            call => self.refused_under_way(call, name, refused),
        }
    }

    /// A refusal while it is given up.
    fn refused_at_the_end(
        &mut self,
        call: &SignInCall,
        refused: SignInError,
    ) -> Result<SignInStep, SignInError> {
        let nobody = matches!(refused, SignInError::Refused { code: 401, .. });
        match call {
            // Nothing is left of it there, or nothing was.
            SignInCall::CancelCode => Ok(self.cancelled()),
            SignInCall::LogOut if nobody => Ok(self.cancelled()),
            SignInCall::Oneself if nobody => match &self.way {
                // Somebody may have scanned what was shown all the same.
                SignInWay::Scan { .. } if !refused.wants_password() => Ok(self.call_first()),
                _ => Ok(self.give_up()),
            },
            SignInCall::LogOut | SignInCall::Oneself => Err(self.failed(true, refused)),
            _ => Ok(self.give_up()),
        }
    }

    fn refused_under_way(
        &mut self,
        call: SignInCall,
        name: &str,
        refused: SignInError,
    ) -> Result<SignInStep, SignInError> {
        match (call, name) {
            (SignInCall::First, name) if name.contains("_MIGRATE_") => {
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
                self.was_wrong = true;
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
        let state = match std::mem::replace(&mut self.state, SignInState::Over) {
            SignInState::Resting(call) => SignInState::Called(call),
            state => state,
        };
        match state {
            // Only the server knows, and what it has taken is not to be made twice, or is to be logged out.
            SignInState::Called(
                SignInCall::SignIn
                | SignInCall::Import
                | SignInCall::Check { .. }
                | SignInCall::Oneself,
            ) => self.call_oneself(),
            SignInState::Called(SignInCall::First) if self.way.may_need_no_more() => {
                self.call_oneself()
            }
            SignInState::Shown | SignInState::Unknown => self.call_oneself(),
            SignInState::Called(SignInCall::LogOut) => {
                self.call(SignInCall::LogOut, calls::log_out())
            }
            SignInState::Taken => {
                self.state = SignInState::Taken;
                self.call_if_cancelled()
            }
            _ if self.is_cancelled => self.give_up(),
            // Another code is the same one as long as that is good.
            SignInState::Called(SignInCall::First) => self.call_first(),
            SignInState::Called(SignInCall::Resend) | SignInState::Code => self.ask_code_again(),
            SignInState::Called(SignInCall::Challenge(password)) => self.call_challenge(password),
            SignInState::Password(_) => self.call_challenge(None),
            SignInState::Called(SignInCall::CancelCode)
            | SignInState::Resting(_)
            | SignInState::Over => self.cancelled(),
        }
    }

    /// After the end: a session that is not wanted is logged out, and one that is stays.
    pub(super) fn call_if_cancelled(&mut self) -> SignInStep {
        match self.is_cancelled {
            true => self.call(SignInCall::LogOut, calls::log_out()),
            false => self.call_oneself(),
        }
    }
}

/// Whether a code was refused because it is another one.
fn is_wrong_code(name: &str) -> bool {
    let names = ["PHONE_CODE_INVALID", "PHONE_CODE_EMPTY", "CODE_INVALID", "EMAIL_CODE_INVALID"];
    names.contains(&name)
}
