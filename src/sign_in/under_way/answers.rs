//! What the server has answered.
//!
//! Owns the reading of answers, and what each leads to.

use grammers_tl_types::{Deserializable, enums, types};
use zeroize::Zeroizing;

use super::{POLL_EVERY, SignIn, SignInCall, SignInState, TRIES_MAX, UNREADABLE};
use crate::account_id::AccountId;
use crate::sign_in::password::PasswordChallenge;
use crate::sign_in::{LoginLink, SentCode, SignInError, SignInStep, SignInWay, SignedIn, calls};

impl SignIn {
    /// The server has answered the last call. It may take some tenths of a second of a core.
    ///
    /// # Errors
    /// The sign-in is over.
    pub fn answered(&mut self, answer: &[u8]) -> Result<SignInStep, SignInError> {
        let SignInState::Called(call) = std::mem::replace(&mut self.state, SignInState::Over)
        else {
            return Err(SignInError::Protocol("an answer to nothing"));
        };
        self.troubles = 0;
        let may_be_taken = self.may_be_taken(&call);
        let next = self.next(call, answer);
        match next {
            Err(_) if self.is_cancelled && may_be_taken => {
                Ok(self.call(SignInCall::LogOut, calls::log_out()))
            }
            Err(error) => Err(self.failed(may_be_taken, error)),
            next => next,
        }
    }

    /// Whether the server signs somebody in by a call.
    pub(super) fn may_be_taken(&self, call: &SignInCall) -> bool {
        match call {
            SignInCall::SignIn
            | SignInCall::Import
            | SignInCall::Check { .. }
            | SignInCall::Oneself
            | SignInCall::LogOut => true,
            SignInCall::First => self.way.may_need_no_more(),
            SignInCall::Resend | SignInCall::CancelCode | SignInCall::Challenge(_) => false,
        }
    }

    /// It does not go on; but what the server may have taken is asked about if it is given up.
    pub(super) fn failed(&mut self, may_be_taken: bool, error: SignInError) -> SignInError {
        if may_be_taken {
            self.state = SignInState::Unknown;
        }
        error
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
                self.state = SignInState::Shown;
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
        let was_wrong = std::mem::take(&mut self.was_wrong);
        let (challenge, question) = PasswordChallenge::read(told, (tries_left, was_wrong))?;
        self.is_at_password = true;
        match password {
            Some(password) => self.check(challenge, password, true),
            None => {
                self.state = SignInState::Password(challenge);
                Ok(SignInStep::AskPassword(question))
            }
        }
    }

    pub(super) fn check(
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
        self.state = SignInState::Taken;
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
}

/// Reads an answer.
fn read<T: Deserializable>(answer: &[u8]) -> Result<T, SignInError> {
    T::from_bytes(answer).map_err(|_| UNREADABLE)
}
