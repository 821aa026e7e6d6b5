//! What goes wrong on purpose: a plan of faults that is drawn from a seed.
//!
//! Owns the plan, its written form and its limits. Never carries a fault out.

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::method::METHODS;
use crate::account_id::AccountId;
use crate::base::sync::{AtomicU64, Ordering};
use crate::config::parse_time;

/// Where a rule may strike besides the methods: on the first packet of a connection, or on any
/// call.
const PLACES: [&str; 2] = ["connect", "*"];
/// The longest delay: a server that takes longer for an answer has fallen silent.
const DELAY_MAX: Duration = Duration::from_secs(3600);
/// The longest flood wait. Telegram imposes days at times; no number of seconds that it sends is larger.
const FLOOD_SECONDS_MAX: u32 = i32::MAX.cast_unsigned();

/// Faults to inject. The default injects none.
///
/// In TOML:
///
/// ```toml
/// [[rule]]
/// on = "messages.sendMessage" # or "connect", "*", "ping", "help.getConfig", ...
/// fault = "flood_wait"
/// seconds = 3
/// chance = 0.01               # of each call (default 1)
/// limit = 5                   # at most so many times (default: no limit)
/// account = "+9996621234"     # for this account only (default: for all)
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "WrittenPlan")]
pub struct FaultPlan {
    rules: Vec<FaultRule>,
}

/// One kind of fault, and when it strikes.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    on: Box<str>,
    fault: Fault,
    chance: f64,
    limit: u64,
    account: Option<AccountId>,
}

/// What is done to a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The answer comes so much later.
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
    /// A rule that strikes every time. `on` is a method's name in the schema, `connect` or `*`.
    #[must_use]
    pub fn new(on: &str, fault: Fault) -> Self {
        Self { on: on.into(), fault, chance: 1.0, limit: u64::MAX, account: None }
    }

    /// Strikes this fraction of the times.
    #[must_use]
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Strikes at most so many times.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Strikes this account only.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    fn check(&self) -> Result<(), String> {
        let on = &*self.on;
        if !PLACES.contains(&on) && !METHODS.contains(&on) {
            let known: Vec<_> = PLACES.iter().chain(&METHODS).copied().collect();
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
        if on == "connect" && answers {
            return Err("on connect there is no call to answer: use close, reset, silence, \
                        black_hole or transport"
                .to_owned());
        }
        match &self.fault {
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
    /// A plan of these rules, of which the first that strikes counts.
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

    /// A little of everything: what a service meets in a bad week, within a minute. Every
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
        ];
        Self { rules }
    }

    /// The accounts that rules are for, each with the number of its rule, from 1.
    pub fn accounts(&self) -> impl Iterator<Item = (usize, AccountId)> + '_ {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(at, rule)| Some((at + 1, rule.account?)))
    }

    /// Whether nothing will go wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// A plan at work: its rules, and how often each has struck.
///
/// The counts are relaxed: each is a budget of its own that guards nothing.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<(FaultRule, AtomicU64)>,
}

impl Faults {
    pub(super) fn new(plan: &FaultPlan) -> Self {
        let rules = plan.rules.iter().cloned().map(|rule| (rule, AtomicU64::new(0))).collect();
        Self { rules }
    }

    /// What goes wrong at this place this time, if anything does.
    pub(super) fn draw(
        &self,
        place: &str,
        account: AccountId,
        random: &mut fastrand::Rng,
    ) -> Option<Fault> {
        self.rules.iter().find_map(|(rule, struck)| {
            let applies = *rule.on == *place || (&*rule.on == "*" && place != "connect");
            let meant = rule.account.is_none_or(|meant| meant == account);
            if !applies || !meant || random.f64() >= rule.chance {
                return None;
            }
            let spend = |count: u64| (count < rule.limit).then_some(count + 1);
            let spent = struck.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
            spent.ok().map(|_| rule.fault.clone())
        })
    }
}

/// What is to be done about rules that are written in another way.
const WRITE_RULES: &str = "write [[rule]] above each rule, in two brackets: there may be several";

#[derive(Default)]
struct WrittenPlan {
    rule: Vec<WrittenRule>,
}

/// A number outside of what its field takes is judged by name, with all the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    on: String,
    fault: String,
    chance: Option<f64>,
    limit: Option<i64>,
    account: Option<String>,
    time: Option<WrittenTime>,
    seconds: Option<i64>,
    code: Option<i64>,
    message: Option<String>,
}

impl<'de> Deserialize<'de> for WrittenPlan {
    fn deserialize<D: Deserializer<'de>>(plan: D) -> Result<Self, D::Error> {
        plan.deserialize_map(PlanVisitor)
    }
}

struct PlanVisitor;

impl<'de> Visitor<'de> for PlanVisitor {
    type Value = WrittenPlan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rules, each below a [[rule]]")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<WrittenPlan, M::Error> {
        let mut plan = WrittenPlan::default();
        while let Some(key) = map.next_key::<String>()? {
            if key != "rule" {
                return Err(M::Error::custom(format!("unknown field `{key}`: {WRITE_RULES}")));
            }
            plan.rule = map.next_value::<WrittenRules>()?.0;
        }
        Ok(plan)
    }
}

struct WrittenRules(Vec<WrittenRule>);

impl<'de> Deserialize<'de> for WrittenRules {
    fn deserialize<D: Deserializer<'de>>(rules: D) -> Result<Self, D::Error> {
        rules.deserialize_any(RulesVisitor)
    }
}

struct RulesVisitor;

impl<'de> Visitor<'de> for RulesVisitor {
    type Value = WrittenRules;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules: {WRITE_RULES}")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut rules: S) -> Result<WrittenRules, S::Error> {
        let mut all = Vec::new();
        while let Some(rule) = rules.next_element()? {
            all.push(rule);
        }
        Ok(WrittenRules(all))
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<WrittenRules, M::Error> {
        Err(M::Error::custom(format!("[rule] is a single table: {WRITE_RULES}")))
    }
}

/// Seconds, or text with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTime {
    Seconds(f64),
    Text(String),
}

impl TryFrom<WrittenPlan> for FaultPlan {
    type Error = FaultPlanError;

    fn try_from(plan: WrittenPlan) -> Result<Self, FaultPlanError> {
        let rules = plan.rule.into_iter().enumerate().map(|(at, rule)| {
            rule.understand().map_err(|problem| FaultPlanError { rule: at + 1, problem })
        });
        Self::new(rules.collect::<Result<Vec<_>, _>>()?)
    }
}

impl WrittenRule {
    fn understand(mut self) -> Result<FaultRule, String> {
        let kind = self.fault.clone();
        let fault = match kind.as_str() {
            "delay" => Fault::Delay(self.take_time()?),
            "close" => Fault::Close,
            "reset" => Fault::Reset,
            "silence" => Fault::Silence,
            "black_hole" => Fault::BlackHole,
            "bad_crc" => Fault::BadCrc,
            "flood_wait" => {
                let seconds = need(&kind, "seconds", &mut self.seconds)?;
                let wanted = format!("from 1 to {FLOOD_SECONDS_MAX} (a day is 86400)");
                Fault::FloodWait { seconds: within("seconds", seconds, &wanted)? }
            }
            "error" => Fault::Error {
                code: {
                    let code = need(&kind, "code", &mut self.code)?;
                    within("code", code, "an error code such as 400")?
                },
                message: need(&kind, "message", &mut self.message)?.into(),
            },
            "transport" => {
                let code = need(&kind, "code", &mut self.code)?;
                // Beyond the range it becomes 0, which the check refuses by name.
                Fault::Transport { code: u16::try_from(code.unsigned_abs()).unwrap_or(0) }
            }
            _ => {
                return Err(format!(
                    "fault = {kind:?}: must be delay, close, reset, silence, black_hole, bad_crc, \
                     flood_wait, error or transport"
                ));
            }
        };
        let left = [
            ("time", self.time.is_some()),
            ("seconds", self.seconds.is_some()),
            ("code", self.code.is_some()),
            ("message", self.message.is_some()),
        ];
        if let Some((key, _)) = left.iter().find(|(_, is_left)| *is_left) {
            return Err(format!("{key} means nothing for the fault {kind:?}: remove it"));
        }
        let mut rule = FaultRule::new(&self.on, fault).chance(self.chance.unwrap_or(1.0));
        if let Some(limit) = self.limit {
            rule.limit = within("limit", limit, "1 or more, or left out")?;
        }
        if let Some(account) = self.account {
            rule.account = Some(account.parse().map_err(|error| format!("account: {error}"))?);
        }
        Ok(rule)
    }

    fn take_time(&mut self) -> Result<Duration, String> {
        let (shown, time) = match need("delay", "time", &mut self.time)? {
            WrittenTime::Seconds(seconds) => {
                (seconds.to_string(), Duration::try_from_secs_f64(seconds).ok())
            }
            WrittenTime::Text(text) => {
                let time = parse_time(&text);
                (text, time)
            }
        };
        time.ok_or_else(|| format!("time = {shown}: must be seconds, or a time such as 250ms"))
    }
}

/// A written number as the number that is wanted.
fn within<T: TryFrom<i64>>(key: &str, value: i64, wanted: &str) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{key} = {value}: must be {wanted}"))
}

fn need<T>(fault: &str, key: &str, value: &mut Option<T>) -> Result<T, String> {
    value.take().ok_or_else(|| format!("the fault {fault:?} needs {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        AccountId::bot(1).unwrap()
    }

    fn written(text: &str) -> Result<FaultPlan, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_written_plan_is_understood() {
        let plan = written(
            r#"{"rule": [
                {"on": "messages.sendMessage", "fault": "flood_wait", "seconds": 3, "limit": 2},
                {"on": "*", "fault": "delay", "time": "250ms", "chance": 0.5},
                {"on": "connect", "fault": "transport", "code": -429, "account": "+9996621234"},
                {"on": "*", "fault": "flood_wait", "seconds": 86400},
                {"on": "*", "fault": "flood_wait", "seconds": 2147483647}
            ]}"#,
        );
        let rules = [
            FaultRule::new("messages.sendMessage", Fault::FloodWait { seconds: 3 }).limit(2),
            FaultRule::new("*", Fault::Delay(Duration::from_millis(250))).chance(0.5),
            FaultRule::new("connect", Fault::Transport { code: 429 })
                .account("+9996621234".parse().unwrap()),
            FaultRule::new("*", Fault::FloodWait { seconds: 86_400 }),
            FaultRule::new("*", Fault::FloodWait { seconds: 2_147_483_647 }),
        ];
        let meant = FaultPlan::new(rules).unwrap();
        let account = "+9996621234".parse().unwrap();
        assert_eq!(meant.accounts().collect::<Vec<_>>(), [(3, account)]);
        assert_eq!(plan, Ok(meant));
        assert_eq!(written("{}"), Ok(FaultPlan::default()));
    }

    #[test]
    fn a_plan_that_makes_no_sense_says_which_rule_and_what_would_do() {
        for (rule, words) in [
            (r#"{"on": "ping", "fault": "vanish"}"#, "black_hole"),
            (r#"{"on": "users.getUser", "fault": "close"}"#, "users.getUsers"),
            (r#"{"on": "ping", "fault": "delay"}"#, "needs time"),
            (r#"{"on": "ping", "fault": "delay", "time": "soon"}"#, "time = soon"),
            (r#"{"on": "ping", "fault": "delay", "time": 3601}"#, "an hour at most"),
            (r#"{"on": "ping", "fault": "close", "code": 3}"#, "code means nothing"),
            (r#"{"on": "ping", "fault": "close", "chance": 1.5}"#, "from 0 to 1"),
            (r#"{"on": "ping", "fault": "close", "limit": 0}"#, "limit = 0"),
            (r#"{"on": "ping", "fault": "close", "limit": -1}"#, "limit = -1: must be 1 or more"),
            (
                r#"{"on": "ping", "fault": "flood_wait", "seconds": 0}"#,
                "seconds = 0: must be from 1",
            ),
            (
                r#"{"on": "ping", "fault": "flood_wait", "seconds": -5}"#,
                "seconds = -5: must be from 1",
            ),
            (r#"{"on": "ping", "fault": "flood_wait", "seconds": 2147483648}"#, "to 2147483647"),
            (r#"{"on": "ping", "fault": "flood_wait", "seconds": 5000000000}"#, "to 2147483647"),
            (
                r#"{"on": "ping", "fault": "error", "code": 9999999999, "message": "A"}"#,
                "code = 9999999999: must be an error code",
            ),
            (r#"{"on": "ping", "fault": "transport", "code": 70000}"#, "from 1 to 999"),
            (r#"{"on": "connect", "fault": "bad_crc"}"#, "no call to answer"),
            (r#"{"on": "ping", "fault": "close", "account": "nobody"}"#, "account:"),
            (r#"{"on": "ping", "fault": "error", "code": 400, "message": ""}"#, "message is empty"),
        ] {
            let text = format!(r#"{{"rule": [{{"on": "*", "fault": "close"}}, {rule}]}}"#);
            let error = written(&text).unwrap_err();
            assert!(error.contains("rule 2") && error.contains(words), "{error}");
        }
        for text in
            [r#"{"rules": []}"#, r#"{"rule": {"on": "*"}}"#, r#"{"rule": 3}"#, r#"{"on": "*"}"#]
        {
            let error = written(text).unwrap_err();
            assert!(error.contains("write [[rule]] above each rule"), "{error}");
        }
    }

    #[test]
    fn a_limit_holds_and_chance_is_kept() {
        let rules = [
            FaultRule::new("ping", Fault::Close).limit(2),
            FaultRule::new("*", Fault::Reset).chance(0.25),
        ];
        let faults = Faults::new(&FaultPlan::new(rules).unwrap());
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = |place: &str| faults.draw(place, account(), &mut random);
        assert_eq!((draw("ping"), draw("ping")), (Some(Fault::Close), Some(Fault::Close)));
        let struck = (0..10_000).filter(|_| draw("ping").is_some()).count();
        assert!((2_200..2_800).contains(&struck), "{struck}");
        assert_eq!(draw("connect"), None, "any call is no connect");
    }

    #[test]
    fn the_mixed_plan_is_one() {
        let mixed = FaultPlan::mixed();
        assert_eq!(FaultPlan::new(mixed.rules.clone()), Ok(mixed));
        assert!(FaultPlan::default().is_empty());
    }
}
