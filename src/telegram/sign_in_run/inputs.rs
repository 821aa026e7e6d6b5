//! What somebody enters, and what a sign-in that is done accepts.
//!
//! Owns nothing: it is passed on to the machine, and to the server.

use std::sync::Arc;

use grammers_tl_types::{Serializable as _, functions};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{SignInRun, SignInRunError};
use crate::sign_in::{LoginLink, SignInInputError, SignInStep};

impl SignInRun {
    /// Somebody has entered the code.
    ///
    /// # Errors
    /// It can not be one, or none is waited for. The sign-in is where it was.
    pub fn enter_code(&mut self, code: &str) -> Result<(), SignInInputError> {
        let step = self.machine.lock().sign_in.enter_code(code)?;
        self.step = Some(step);
        Ok(())
    }

    /// Somebody wants another code.
    ///
    /// # Errors
    /// None is to be had, or none is waited for. The sign-in is where it was.
    pub fn resend(&mut self) -> Result<(), SignInInputError> {
        let step = self.machine.lock().sign_in.resend()?;
        self.step = Some(step);
        Ok(())
    }

    /// Somebody has entered the password.
    ///
    /// # Errors
    /// It is empty, or none is waited for. The sign-in is where it was.
    pub async fn enter_password(
        &mut self,
        password: Zeroizing<String>,
    ) -> Result<(), SignInInputError> {
        let machine = Arc::clone(&self.machine);
        // Whoever gives this up has it asked for again.
        let before = self.step.take();
        let entered = spawn_blocking(move || machine.lock().sign_in.enter_password(password)).await;
        match entered {
            Ok(Ok(step)) => self.step = Some(step),
            Ok(Err(error)) => {
                self.step = before;
                return Err(error);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Accepts what another sign-in shows, as an app of this account does with what it scans: so an account gets
    /// further sessions by one code. This one has to be done, and not finished.
    ///
    /// # Errors
    /// It is not done, what is shown is out of date, or the server can not be reached.
    pub async fn accept(&mut self, link: &LoginLink) -> Result<(), SignInRunError> {
        let Some(SignInStep::Done(done)) = &self.step else {
            return Err(SignInRunError::OutOfTurn("nobody is signed in yet"));
        };
        let dc = done.dc;
        let request = functions::auth::AcceptLoginToken { token: link.token().to_vec() }.to_bytes();
        let answered = self.connections.call(dc, request).await?;
        answered.map(drop).map_err(|error| SignInRunError::of_call(dc, error))
    }
}
