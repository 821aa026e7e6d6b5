//! Tests of plans, as they are written and as they are drawn from.

use std::time::Duration;

use super::protocol::KINDS;
use super::*;
use crate::account_id::AccountId;

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
            {"on": "*", "fault": "flood_wait", "seconds": 2147483647},
            {"on": "updates", "fault": "lose"},
            {"on": "updates", "fault": "double", "chance": 0.5},
            {"on": "updates", "fault": "reorder"},
            {"on": "updates", "fault": "delay", "time": 2}
        ]}"#,
    );
    let rules = [
        FaultRule::new("messages.sendMessage", Fault::FloodWait { seconds: 3 }).limit(2),
        FaultRule::new("*", Fault::Delay(Duration::from_millis(250))).chance(0.5),
        FaultRule::new("connect", Fault::Transport { code: 429 })
            .account("+9996621234".parse().unwrap()),
        FaultRule::new("*", Fault::FloodWait { seconds: 86_400 }),
        FaultRule::new("*", Fault::FloodWait { seconds: 2_147_483_647 }),
        FaultRule::new("updates", Fault::Lose),
        FaultRule::new("updates", Fault::Double).chance(0.5),
        FaultRule::new("updates", Fault::Reorder),
        FaultRule::new("updates", Fault::Delay(Duration::from_secs(2))),
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
        (r#"{"on": "ping", "fault": "flood_wait", "seconds": 0}"#, "seconds = 0: must be from 1"),
        (r#"{"on": "ping", "fault": "flood_wait", "seconds": -5}"#, "seconds = -5: must be from 1"),
        (r#"{"on": "ping", "fault": "flood_wait", "seconds": 2147483648}"#, "to 2147483647"),
        (r#"{"on": "ping", "fault": "flood_wait", "seconds": 5000000000}"#, "to 2147483647"),
        (
            r#"{"on": "ping", "fault": "error", "code": 9999999999, "message": "A"}"#,
            "code = 9999999999: must be an error code",
        ),
        (r#"{"on": "ping", "fault": "transport", "code": 70000}"#, "from 1 to 999"),
        (r#"{"on": "connect", "fault": "bad_crc"}"#, "no call to answer"),
        (r#"{"on": "updates", "fault": "silence"}"#, "use lose, double, reorder or delay"),
        (r#"{"on": "*", "fault": "lose"}"#, "write on = \"updates\""),
        (r#"{"on": "ping", "fault": "close", "account": "nobody"}"#, "account:"),
        (r#"{"on": "ping", "fault": "error", "code": 400, "message": ""}"#, "message is empty"),
    ] {
        let text = format!(r#"{{"rule": [{{"on": "*", "fault": "close"}}, {rule}]}}"#);
        let error = written(&text).unwrap_err();
        assert!(error.contains("rule 2") && error.contains(words), "{error}");
    }
    for text in [r#"{"rules": []}"#, r#"{"rule": {"on": "*"}}"#, r#"{"rule": 3}"#, r#"{"on": "*"}"#]
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
    let faults = FaultInjector::new(&FaultPlan::new(rules).unwrap());
    let mut random = fastrand::Rng::with_seed(1);
    let mut draw = |place: &str| faults.draw(place, Some(account()), &mut random);
    assert_eq!((draw("ping"), draw("ping")), (Some(Fault::Close), Some(Fault::Close)));
    let applied = (0..10_000).filter(|_| draw("ping").is_some()).count();
    assert!((2_200..2_800).contains(&applied), "{applied}");
    assert_eq!(draw("connect"), None, "any call is no connect");
    assert!((0..1000).all(|_| draw("updates").is_none()), "nor an update");
}

#[test]
fn the_mixed_plan_is_one() {
    let mixed = FaultPlan::mixed();
    assert_eq!(FaultPlan::new(mixed.rules.clone()), Ok(mixed));
    assert!(FaultPlan::default().is_empty());
}

#[test]
fn every_fault_of_the_protocol_can_be_written() {
    let rules: Vec<_> = KINDS
        .iter()
        .map(|(kind, key)| {
            let number = key.map(|key| format!(r#", "{key}": 32"#)).unwrap_or_default();
            format!(r#"{{"on": "ping", "fault": "{kind}"{number}}}"#)
        })
        .collect();
    let plan = written(&format!(r#"{{"rule": [{}]}}"#, rules.join(", "))).unwrap();
    let faults: Vec<_> = plan.rules.iter().map(|rule| rule.fault.clone()).collect();
    let depth = ProtocolFault::NestedContainers { depth: 32 };
    assert!(faults.contains(&Fault::Protocol(depth)) && faults.len() == KINDS.len());
    assert_eq!(FaultPlan::new(FaultPlan::hostile().rules), Ok(FaultPlan::hostile()));
    let struck = FaultPlan::hostile().rules.into_iter();
    let protocol = struck.filter(|rule| matches!(rule.fault, Fault::Protocol(_)));
    assert_eq!(protocol.count(), KINDS.len(), "one of each");
}

#[test]
fn a_fault_of_the_protocol_that_makes_no_sense_says_what_would_do() {
    for (rule, words) in [
        (r#""on": "ping", "fault": "vanish""#, "nested_containers"),
        (r#""on": "ping", "fault": "gzip_bomb""#, "needs bytes"),
        (r#""on": "ping", "fault": "gzip_bomb", "bytes": 1073741825"#, "1 to 1073741824"),
        (r#""on": "ping", "fault": "nested_containers", "depth": 0"#, "1 to 100000"),
        (r#""on": "ping", "fault": "nested_containers", "depth": -1"#, "1 to 100000"),
        (r#""on": "ping", "fault": "bad_message", "code": 0"#, "such as 16"),
        (r#""on": "ping", "fault": "clock_jump", "seconds": 0"#, "thirty years"),
        (r#""on": "ping", "fault": "frame_length", "length": 4294967296"#, "32 bits"),
        (r#""on": "ping", "fault": "msg_copy", "depth": 3"#, "depth means nothing"),
        (r#""on": "connect", "fault": "msg_copy""#, "stop_reading"),
        (r#""on": "updates", "fault": "half_close""#, "lose"),
    ] {
        let error = written(&format!(r#"{{"rule": [{{{rule}}}]}}"#)).unwrap_err();
        assert!(error.contains(words), "{rule}: {error}");
    }
    for fault in [r#""clock_jump", "seconds": -3600"#, r#""half_close""#, r#""stop_reading""#] {
        let rule = format!(r#"{{"rule": [{{"on": "connect", "fault": {fault}}}]}}"#);
        assert!(written(&rule).is_ok(), "{rule}");
    }
}
