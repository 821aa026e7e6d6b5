//! Beside `telepool datacenter`, as the README has it.

use super::*;
use crate::command::{Running, telepool};

#[test]
fn whoever_is_in_the_file_of_the_data_centre_signs_in_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, file, key) = (path("sessions.jsonl"), path("sign-ins.json"), path("key.pem"));
    let mut running = Running::of(&mut telepool(&[
        "datacenter",
        "--out",
        &out,
        "--accounts",
        "1",
        "--latency",
        "1ms",
        "--data-centres",
        "2",
        "--sign-ins",
        &file,
        "--people",
        "4",
        "--password",
        PASSWORD,
        "--public-key",
        &key,
    ]));
    running.line_with("data centre 1 listens on");
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut servers = vec!["--server-key".to_owned(), key];
    for centre in told["data_centres"].as_array().unwrap() {
        let row = format!("data_centres.{}={}", centre["dc"], centre["address"].as_str().unwrap());
        servers.extend(["--set".to_owned(), row]);
    }
    let command = |arguments: &[&str]| {
        let all = arguments.iter().copied().chain(servers.iter().map(String::as_str));
        let mut command = telepool(&all.collect::<Vec<_>>());
        command.env("TELEPOOL_STORE", folder.path().join("accounts.db"));
        command.env("TELEPOOL_LOCKS", folder.path().join("locks"));
        command.env("TELEPOOL_API_ID", "7").env("TELEPOOL_API_HASH", "hash");
        command
    };
    for person in told["people"].as_array().unwrap() {
        let mut talk =
            Talk::of(&mut command(&["login", "--json", person["phone"].as_str().unwrap()]));
        talk.hear("code");
        talk.say(&json!({ "code": person["code"] }));
        talk.hear("password");
        talk.say(&json!({ "password": person["password"] }));
        assert_eq!(talk.hear("signed-in")["dc"], person["dc"]);
        assert_eq!(talk.end().0, Some(0));
    }
    for bot in told["bots"].as_array().unwrap() {
        let token = bot["token"].as_str().unwrap();
        let (code, _, said) = output(command(&["login", "--bot"]).env("TELEPOOL_BOT_TOKEN", token));
        assert_eq!((code, said.contains("is signed in")), (Some(0), true), "{said}");
    }
    running.signal("-INT");
    let (code, stats) = running.end();
    assert_eq!((code, stats.lines().count()), (Some(0), 2), "{stats}");
}
