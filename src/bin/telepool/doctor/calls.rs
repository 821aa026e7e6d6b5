//! Calls that need no login, and what each should come to.
//!
//! Owns the reading of their answers. Never makes one.

use std::fmt::Display;

use telepool::telegram::client::tl::{Deserializable, Serializable as _, enums, functions};

use super::caller::{Answered, CallProblem};
use super::record::Came;

/// What the server says of a key that nobody is logged in with.
const NOT_LOGGED_IN: (i32, &str) = (401, "AUTH_KEY_UNREGISTERED");
/// The number of the one ping that is made by itself.
const PING_ID: i64 = 0x7465_6c65;

/// One of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestCall {
    Config,
    NearestDc,
    AppConfig,
    OwnUser,
    Ping,
}

impl TestCall {
    /// All of them, the introduction first.
    pub(super) const ALL: [Self; 5] =
        [Self::Config, Self::NearestDc, Self::AppConfig, Self::OwnUser, Self::Ping];

    /// Its name in the schema.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Config => "help.getConfig",
            Self::NearestDc => "help.getNearestDc",
            Self::AppConfig => "help.getAppConfig",
            Self::OwnUser => "users.getUsers",
            Self::Ping => "ping",
        }
    }

    /// What is sent.
    pub(super) fn body(self) -> Vec<u8> {
        match self {
            Self::Config => functions::help::GetConfig {}.to_bytes(),
            Self::NearestDc => functions::help::GetNearestDc {}.to_bytes(),
            Self::AppConfig => functions::help::GetAppConfig { hash: 0 }.to_bytes(),
            Self::OwnUser => {
                functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }.to_bytes()
            }
            Self::Ping => functions::Ping { ping_id: PING_ID }.to_bytes(),
        }
    }

    /// What should come.
    pub(super) fn expected(self, dc: i32) -> String {
        match self {
            Self::Config | Self::NearestDc => format!("that of data centre {dc}"),
            Self::AppConfig => "a large object".to_owned(),
            Self::OwnUser => format!("{} {}", NOT_LOGGED_IN.0, NOT_LOGGED_IN.1),
            Self::Ping => "its own number".to_owned(),
        }
    }

    /// Whether it has come.
    pub(super) fn judge(self, answered: &Answered, dc: i32) -> Came {
        let answer = match (self, answered) {
            (Self::OwnUser, Err(CallProblem::Refused(code, name, None))) => {
                let is_expected = (*code, name.as_str()) == NOT_LOGGED_IN;
                return Came::judged(is_expected, format!("{code} {name}"));
            }
            (_, Err(problem @ CallProblem::Refused(_, name, _))) => {
                let remedy =
                    if name.contains("API_ID") { ": is TELEPOOL_API_ID yours?" } else { "" };
                return Came::differs(format!("{problem}{remedy}"));
            }
            (_, Err(CallProblem::Lost(why))) => return Came::failed(why.as_str()),
            (_, Ok(answer)) => answer,
        };
        let len = answer.len();
        match self {
            Self::Config => read(answer, |enums::Config::Config(config)| {
                let (own, addresses) = (config.this_dc, config.dc_options.len());
                let kind = if config.test_mode { "test mode" } else { "no test mode" };
                let told = format!("of data centre {own}, {kind}, {addresses} addresses");
                Came::judged(own == dc, told)
            }),
            Self::NearestDc => read(answer, |enums::NearestDc::Dc(nearest)| {
                let told = format!("{}, nearest is {}", nearest.this_dc, nearest.nearest_dc);
                Came::judged(nearest.this_dc == dc, told)
            }),
            Self::AppConfig => read(answer, |config: enums::help::AppConfig| match config {
                enums::help::AppConfig::Config(_) => Came::ok(format!("{len} bytes, unpacked")),
                enums::help::AppConfig::NotModified => Came::differs("that it has not changed"),
            }),
            Self::OwnUser => Came::differs("an answer: somebody is logged in with this key"),
            Self::Ping => read(answer, |enums::Pong::Pong(pong)| {
                let is_own = pong.ping_id == PING_ID;
                Came::judged(is_own, if is_own { "its own number" } else { "another number" })
            }),
        }
    }

    /// What of an outcome has to be the same whichever engine has made the call.
    pub(super) fn comparable(self, answered: &Answered) -> Answered {
        let answer = answered.clone()?;
        let Self::Config = self else {
            // A pong names the message that it answers.
            return Ok(if self == Self::Ping {
                answer.get(12..).unwrap_or_default().to_vec()
            } else {
                answer
            });
        };
        Ok(match enums::Config::from_bytes(&answer) {
            Ok(enums::Config::Config(mut config)) => {
                // These go by the time and by the key.
                (config.date, config.expires, config.autologin_token) = (0, 0, None);
                config.to_bytes()
            }
            Err(_) => answer,
        })
    }
}

fn read<T: Deserializable>(answer: &[u8], judge: impl FnOnce(T) -> Came) -> Came {
    match T::from_bytes(answer) {
        Ok(value) => judge(value),
        Err(error) => unreadable(answer, &error),
    }
}

/// It may be a newer form of an answer than the schema here has.
fn unreadable(answer: &[u8], error: &dyn Display) -> Came {
    let name = super::describe::name_of(answer);
    Came::differs(format!("{name}, which cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    use telepool::telegram::client::tl::types;

    use super::super::record::StepOutcome;
    use super::*;

    fn nearest(this_dc: i32) -> Answered {
        let nearest = types::NearestDc { country: "ZZ".to_owned(), this_dc, nearest_dc: 4 };
        Ok(enums::NearestDc::Dc(nearest).to_bytes())
    }

    fn outcome(call: TestCall, answered: &Answered) -> StepOutcome {
        call.judge(answered, 2).outcome
    }

    #[test]
    fn an_answer_is_judged_by_what_it_says() {
        assert_eq!(outcome(TestCall::NearestDc, &nearest(2)), StepOutcome::Expected);
        assert_eq!(outcome(TestCall::NearestDc, &nearest(3)), StepOutcome::Differs);
        let pong = |ping_id| {
            let pong = types::Pong { msg_id: 1, ping_id };
            Ok(enums::Pong::Pong(pong).to_bytes())
        };
        assert_eq!(outcome(TestCall::Ping, &pong(PING_ID)), StepOutcome::Expected);
        assert_eq!(outcome(TestCall::Ping, &pong(7)), StepOutcome::Differs);
        let refused = |code, name: &str| Err(CallProblem::Refused(code, name.to_owned(), None));
        let nobody = refused(401, "AUTH_KEY_UNREGISTERED");
        assert_eq!(outcome(TestCall::OwnUser, &nobody), StepOutcome::Expected);
        assert_eq!(outcome(TestCall::Config, &nobody), StepOutcome::Differs);
        let other = refused(401, "SESSION_REVOKED");
        assert_eq!(outcome(TestCall::OwnUser, &other), StepOutcome::Differs);
        let came = TestCall::Config.judge(&refused(400, "CONNECTION_API_ID_INVALID"), 2);
        assert_eq!(came.text, "400 CONNECTION_API_ID_INVALID: is TELEPOOL_API_ID yours?");
        let lost = Err(CallProblem::Lost("it is gone".to_owned()));
        assert_eq!(outcome(TestCall::OwnUser, &lost), StepOutcome::Failed);
    }

    #[test]
    fn an_answer_that_the_schema_lacks_is_told_by_its_name() {
        let came = TestCall::NearestDc.judge(&Ok(vec![1, 2, 3, 4]), 2);
        assert_eq!(came.outcome, StepOutcome::Differs);
        assert!(came.text.starts_with("0x04030201, which cannot be read"), "{}", came.text);
    }

    #[test]
    fn two_pongs_are_compared_by_their_numbers_and_others_by_every_byte() {
        let pong = |msg_id, ping_id| {
            let pong = types::Pong { msg_id, ping_id };
            TestCall::Ping.comparable(&Ok(enums::Pong::Pong(pong).to_bytes()))
        };
        assert_eq!(pong(1, 5), pong(2, 5));
        assert_ne!(pong(1, 5), pong(1, 6));
        let compared = |dc| TestCall::NearestDc.comparable(&nearest(dc));
        assert_eq!(compared(2), nearest(2));
        assert_ne!(compared(2), compared(3));
    }
}
