//! Deserialization of a fault plan, from TOML or another format.
//!
//! Owns the messages about what is written in the wrong way. What a rule may be is checked by `FaultRule`.

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::plan::{FLOOD_SECONDS_MAX, Fault, FaultPlan, FaultPlanError, FaultRule};
use super::protocol::{KINDS, ProtocolFault};
use crate::config::parse_time;

/// What is to be done about rules that are written in another way.
const WRITE_RULES: &str = "write [[rule]] above each rule, in two brackets: there may be several";

/// What the numbers of the protocol can be.
const I32: &str = "a number of 32 bits, negative if need be";

#[derive(Default)]
struct RawPlan {
    rule: Vec<RawRule>,
}

/// A number outside of what its field takes is judged by name, with all the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    on: String,
    fault: String,
    chance: Option<f64>,
    limit: Option<i64>,
    account: Option<String>,
    time: Option<RawTime>,
    seconds: Option<i64>,
    code: Option<i64>,
    message: Option<String>,
    length: Option<i64>,
    count: Option<i64>,
    depth: Option<i64>,
    bytes: Option<i64>,
}

impl<'de> Deserialize<'de> for RawPlan {
    fn deserialize<D: Deserializer<'de>>(plan: D) -> Result<Self, D::Error> {
        plan.deserialize_map(PlanVisitor)
    }
}

struct PlanVisitor;

impl<'de> Visitor<'de> for PlanVisitor {
    type Value = RawPlan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rules, each below a [[rule]]")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawPlan, M::Error> {
        let mut plan = RawPlan::default();
        while let Some(key) = map.next_key::<String>()? {
            if key != "rule" {
                return Err(M::Error::custom(format!("unknown field `{key}`: {WRITE_RULES}")));
            }
            plan.rule = map.next_value::<RawRules>()?.0;
        }
        Ok(plan)
    }
}

struct RawRules(Vec<RawRule>);

impl<'de> Deserialize<'de> for RawRules {
    fn deserialize<D: Deserializer<'de>>(rules: D) -> Result<Self, D::Error> {
        rules.deserialize_any(RulesVisitor)
    }
}

struct RulesVisitor;

impl<'de> Visitor<'de> for RulesVisitor {
    type Value = RawRules;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules: {WRITE_RULES}")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut rules: S) -> Result<RawRules, S::Error> {
        let mut all = Vec::new();
        while let Some(rule) = rules.next_element()? {
            all.push(rule);
        }
        Ok(RawRules(all))
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<RawRules, M::Error> {
        Err(M::Error::custom(format!("[rule] is a single table: {WRITE_RULES}")))
    }
}

/// Seconds, or text with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawTime {
    Seconds(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for FaultPlan {
    fn deserialize<D: Deserializer<'de>>(plan: D) -> Result<Self, D::Error> {
        RawPlan::deserialize(plan)?.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<RawPlan> for FaultPlan {
    type Error = FaultPlanError;

    fn try_from(plan: RawPlan) -> Result<Self, FaultPlanError> {
        let rules = plan.rule.into_iter().enumerate().map(|(at, rule)| {
            rule.into_rule().map_err(|problem| FaultPlanError { rule: at + 1, problem })
        });
        Self::new(rules.collect::<Result<Vec<_>, _>>()?)
    }
}

impl RawRule {
    fn into_rule(mut self) -> Result<FaultRule, String> {
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
            "lose" => Fault::Lose,
            "double" => Fault::Double,
            "reorder" => Fault::Reorder,
            _ => self.take_protocol_fault(&kind)?,
        };
        let left = [
            ("time", self.time.is_some()),
            ("seconds", self.seconds.is_some()),
            ("code", self.code.is_some()),
            ("message", self.message.is_some()),
            ("length", self.length.is_some()),
            ("count", self.count.is_some()),
            ("depth", self.depth.is_some()),
            ("bytes", self.bytes.is_some()),
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

    fn take_protocol_fault(&mut self, kind: &str) -> Result<Fault, String> {
        let Some((_, key)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            let protocol: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "fault = {kind:?}: must be delay, close, reset, silence, black_hole, bad_crc, \
                 flood_wait, error, transport, lose, double or reorder, or one of the protocol: {}",
                protocol.join(", ")
            ));
        };
        let number = match *key {
            None => 0,
            Some("length") => {
                within::<i32>("length", need(kind, "length", &mut self.length)?, I32)?.into()
            }
            Some("count") => {
                within::<i32>("count", need(kind, "count", &mut self.count)?, I32)?.into()
            }
            Some("depth") => need(kind, "depth", &mut self.depth)?,
            Some("bytes") => need(kind, "bytes", &mut self.bytes)?,
            Some("code") => need(kind, "code", &mut self.code)?,
            Some(_) => need(kind, "seconds", &mut self.seconds)?,
        };
        let fault = ProtocolFault::named(kind, number).expect("BUG: each kind has a fault");
        Ok(Fault::Protocol(fault))
    }

    fn take_time(&mut self) -> Result<Duration, String> {
        let (shown, time) = match need("delay", "time", &mut self.time)? {
            RawTime::Seconds(seconds) => {
                (seconds.to_string(), Duration::try_from_secs_f64(seconds).ok())
            }
            RawTime::Text(text) => {
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
