//! A plan of faults and its rules.
//!
//! Owns the checks of a rule, and the mixed plan. Never carries a fault out.

use std::time::Duration;

use super::protocol::ProtocolFault;
use crate::account_id::AccountId;
use crate::sandbox::request::METHODS;

/// The name of the first packet of a connection in a rule.
pub(in crate::sandbox) const CONNECT: &str = "connect";
/// The name of an update that is pushed in a rule.
pub(in crate::sandbox) const UPDATES: &str = "updates";
/// The name of the introduction of a client in a rule, whatever call it stands in front of.
pub(in crate::sandbox) const INTRODUCTION: &str = "initConnection";
/// What a rule may be on besides the methods: the first packet of a connection, an introduction, an update, or any
/// call.
const TARGETS: [&str; 4] = [CONNECT, INTRODUCTION, UPDATES, "*"];
/// The longest delay: a server that takes longer for an answer has fallen silent.
const DELAY_MAX: Duration = Duration::from_secs(3600);
/// The longest flood wait. Telegram imposes days at times; no number of seconds that it sends is larger.
pub(super) const FLOOD_SECONDS_MAX: u32 = i32::MAX.cast_unsigned();

/// Faults to inject. The default injects none.
///
/// In TOML:
///
/// ```toml
/// [[rule]]
/// on = "messages.sendMessage" # or "connect", "initConnection", "updates", "*", "ping", ...
/// fault = "flood_wait"
/// seconds = 3
/// chance = 0.01               # of each call (default 1)
/// limit = 5                   # at most so many times (default: no limit)
/// account = "+9996621234"     # for this account only (default: for all)
///
/// [[rule]]
/// on = "updates"              # what a session is pushed; no answer to a call
/// fault = "lose"
/// chance = 0.05               # of each update of each session
/// ```
///
/// | fault | what happens | with |
/// |---|---|---|
/// | `delay` | the answer comes later | `time` (seconds, or as in `250ms`) |
/// | `close` | the connection is closed instead of an answer | |
/// | `reset` | the same, abruptly | |
/// | `silence` | the call is never answered | |
/// | `black_hole` | the connection is never answered again | |
/// | `bad_crc` | the answer arrives damaged | |
/// | `flood_wait` | `FLOOD_WAIT_X`, for this method of the account until it has passed | `seconds`, days if need be |
/// | `error` | an RPC error | `code`, `message` |
/// | `transport` | a transport error instead of an answer, and the end | `code` |
/// | `lose` | an update is not sent | |
/// | `double` | an update is sent twice | |
/// | `reorder` | an update is sent after the next one of the connection, or a second late if none comes | |
///
/// Those of [`ProtocolFault`] come on top.
///
/// A rule on `initConnection` strikes the call that the introduction stands in front of, and one on `*` strikes
/// every call once, by its own name.
///
/// On `updates` there are `lose`, `double`, `reorder` and `delay`, and these strike nothing else: `*` is every
/// call. What is lost stays in its box, where `updates.getDifference` finds it. Each session draws the faults of
/// its updates for itself: with the same seed and the same updates they are the same ones, whatever other
/// sessions do, unless a `limit` is shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    pub(super) rules: Vec<FaultRule>,
}

/// One kind of fault, and what it is injected into.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    pub(super) on: Box<str>,
    pub(super) fault: Fault,
    pub(super) chance: f64,
    pub(super) limit: u64,
    pub(super) account: Option<AccountId>,
}

/// A fault: what is done to a call, a connection or an update.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The answer or the update comes so much later.
    Delay(Duration),
    /// The connection is closed instead of an answer.
    Close,
    /// The connection is reset instead of an answer.
    Reset,
    /// The call is never answered.
    Silence,
    /// Nothing on the connection is ever answered again.
    BlackHole,
    /// The answer arrives with a wrong checksum.
    BadCrc,
    /// `FLOOD_WAIT_X`, for this method of the account until the time has passed.
    FloodWait {
        /// For how long.
        seconds: u32,
    },
    /// An RPC error instead of an answer.
    Error {
        /// Like an HTTP status.
        code: i32,
        /// As in `USER_DEACTIVATED`.
        message: Box<str>,
    },
    /// A transport error instead of an answer, and the end of the connection.
    Transport {
        /// 404, 429 or 444, as the real servers use them.
        code: u16,
    },
    /// An update is not sent.
    Lose,
    /// An update is sent twice.
    Double,
    /// An update is sent after the next one of its connection; if none comes for a second, then.
    Reorder,
    /// Something that no server of good faith does.
    Protocol(ProtocolFault),
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {problem}")]
pub struct FaultPlanError {
    /// Which rule, from 1.
    pub rule: usize,
    /// What is wrong with it and what would do.
    pub problem: String,
}

impl FaultRule {
    /// A rule that applies every time. `on` is a method's name in the schema, `connect`, `updates` or `*`.
    #[must_use]
    pub fn new(on: &str, fault: Fault) -> Self {
        Self { on: on.into(), fault, chance: 1.0, limit: u64::MAX, account: None }
    }

    /// Applies with this probability, from 0 to 1.
    #[must_use]
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Applies at most so many times.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Applies to this account only.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    fn check(&self) -> Result<(), String> {
        let on = &*self.on;
        if !TARGETS.contains(&on) && !METHODS.contains(&on) {
            let known: Vec<_> = TARGETS.iter().chain(&METHODS).copied().collect();
            return Err(format!("on = {on:?}: must be one of {}", known.join(", ")));
        }
        if !(0.0..=1.0).contains(&self.chance) {
            return Err(format!("chance = {}: must be from 0 to 1", self.chance));
        }
        if self.limit == 0 {
            return Err("limit = 0: leave the rule out, or allow it once".to_owned());
        }
        let answers = matches!(
            self.fault,
            Fault::FloodWait { .. } | Fault::Error { .. } | Fault::BadCrc | Fault::Delay(_)
        );
        let is_protocol_of_calls =
            matches!(self.fault, Fault::Protocol(fault) if !fault.is_of_connections());
        if on == "connect" && (answers || is_protocol_of_calls) {
            return Err("on connect there is no call to answer: use close, reset, silence, \
                        black_hole, transport, clock_jump, half_close or stop_reading"
                .to_owned());
        }
        let for_updates = matches!(self.fault, Fault::Lose | Fault::Double | Fault::Reorder);
        if on == UPDATES && !for_updates && !matches!(self.fault, Fault::Delay(_)) {
            return Err(
                "on updates nothing is asked: use lose, double, reorder or delay".to_owned()
            );
        }
        if on != UPDATES && for_updates {
            return Err(format!(
                "on = {on:?}: lose, double and reorder strike what is pushed: write on = \"updates\""
            ));
        }
        match &self.fault {
            Fault::Protocol(fault) => fault.check(),
            Fault::Delay(time) if *time > DELAY_MAX => {
                Err(format!("time = {time:?}: must be an hour at most"))
            }
            Fault::FloodWait { seconds } if !(1..=FLOOD_SECONDS_MAX).contains(seconds) => {
                Err(format!(
                    "seconds = {seconds}: must be from 1 to {FLOOD_SECONDS_MAX} (a day is 86400)"
                ))
            }
            Fault::Error { code, .. } if *code == 0 => {
                Err("code = 0: must be an error code such as 400".to_owned())
            }
            Fault::Error { message, .. } if message.is_empty() => {
                Err("message is empty: must be an error such as USER_DEACTIVATED".to_owned())
            }
            Fault::Transport { code } if !(1..=999).contains(code) => {
                Err(format!("code = {code}: must be from 1 to 999, such as 429"))
            }
            _ => Ok(()),
        }
    }
}

impl FaultPlan {
    /// A plan of these rules, of which the first that applies counts.
    ///
    /// # Errors
    /// The first rule that makes no sense.
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Result<Self, FaultPlanError> {
        let rules: Vec<_> = rules.into_iter().collect();
        for (at, rule) in rules.iter().enumerate() {
            rule.check().map_err(|problem| FaultPlanError { rule: at + 1, problem })?;
        }
        Ok(Self { rules })
    }

    /// A few of each kind: what a service meets in a bad week, within a minute. Every
    /// account survives it; a few sessions do not.
    #[must_use]
    pub fn mixed() -> Self {
        let error = |code, message: &str| Fault::Error { code, message: message.into() };
        let rule = |on: &str, fault, chance| FaultRule::new(on, fault).chance(chance);
        let rules = vec![
            rule("*", Fault::Delay(Duration::from_millis(500)), 0.002),
            rule("*", error(500, "RPC_CALL_FAIL"), 0.000_5),
            rule("*", Fault::Close, 0.000_1),
            rule("*", Fault::Reset, 0.000_1),
            rule("*", Fault::BadCrc, 0.000_05),
            rule("*", Fault::Silence, 0.000_05),
            rule("*", Fault::BlackHole, 0.000_02),
            rule("*", Fault::Transport { code: 429 }, 0.000_02),
            rule("messages.sendMessage", Fault::FloodWait { seconds: 2 }, 0.000_5),
            rule("users.getUsers", error(401, "SESSION_REVOKED"), 0.000_1).limit(3),
            rule("users.getUsers", error(406, "AUTH_KEY_DUPLICATED"), 0.000_1).limit(1),
            rule("connect", Fault::Close, 0.01),
            rule("connect", Fault::Reset, 0.01),
            rule("connect", Fault::Silence, 0.002),
            rule("connect", Fault::Transport { code: 429 }, 0.005).limit(2),
            rule("updates", Fault::Lose, 0.002),
            rule("updates", Fault::Double, 0.002),
            rule("updates", Fault::Reorder, 0.002),
            rule("updates", Fault::Delay(Duration::from_millis(500)), 0.002),
        ];
        Self { rules }
    }

    /// One of each fault of the protocol, and some of the others: what a client has to bear that speaks the
    /// protocol by itself. Not for clients that panic over it.
    #[must_use]
    pub fn hostile() -> Self {
        let rule = |fault| FaultRule::new("*", fault).chance(0.002);
        let others = [
            Fault::Close,
            Fault::Reset,
            Fault::BadCrc,
            Fault::Silence,
            Fault::Transport { code: 429 },
        ];
        Self { rules: ProtocolFault::samples().chain(others).map(rule).collect() }
    }

    /// The accounts that rules are for, each with the number of its rule, from 1.
    pub fn accounts(&self) -> impl Iterator<Item = (usize, AccountId)> + '_ {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(at, rule)| Some((at + 1, rule.account?)))
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
