//! By a program, without a terminal, and by lists.

use super::*;

#[test]
fn a_program_signs_an_account_in_by_phone_with_three_sessions_and_one_code() {
    let home = Home::new();
    let account = home.account("+9996613579");
    home.protect(account);
    let mut talk = home.talk(&["+9996613579", "--sessions", "3", "--group", "shop"]);
    let code = talk.hear("code");
    assert_eq!((&code["account"], &code["length"]), (&json!("+9996613579"), &json!(5)));
    assert!(code["sent"].as_str().unwrap().contains("apps"), "{code}");
    talk.say(&json!({ "code": "1234" }));
    assert!(talk.hear("code")["problem"].as_str().unwrap().contains("5 characters"));
    talk.say(&json!({ "pass": "x" }));
    assert!(talk.hear("problem")["problem"].as_str().unwrap().contains("no answer"));
    talk.say(&json!({ "code": "00000" }));
    let code = talk.hear("code");
    assert_eq!((&code["refusal"], &code["tries_left"]), (&json!("wrong"), &json!(4)));
    talk.say(&json!({ "resend": true }));
    assert!(talk.hear("code")["sent"].as_str().unwrap().contains("SMS"));
    talk.say(&json!({ "code": "11111" }));
    let password = talk.hear("password");
    assert_eq!((&password["hint"], &password["tries_left"]), (&json!("a door"), &json!(5)));
    talk.say(&json!({ "password": "wrong" }));
    let password = talk.hear("password");
    assert_eq!((&password["tries_left"], &password["refusal"]), (&json!(4), &json!("wrong")));
    talk.say(&json!({ "password": PASSWORD }));
    let slots: Vec<Value> = (0..3).map(|_| talk.hear("signed-in")["slot"].clone()).collect();
    assert_eq!(slots, [0, 1, 2]);
    let (code, said) = talk.end();
    assert_eq!(code, Some(0), "{said}");
    for secret in [PASSWORD, "hush-hash", "11111"] {
        assert!(!said.contains(secret), "{said}");
    }
    let sessions = home.sessions();
    assert_eq!(sessions.len(), 3);
    for session in &sessions {
        assert_eq!((&session["group"], &session["origin"]), (&json!("shop"), &json!("sign-in")));
        assert_eq!((&session["dc"], &session["api_id"]), (&json!(1), &json!(7)));
    }
    assert!(home.left().is_empty());
    home.check(3);
}

#[test]
fn what_is_killed_at_any_prompt_goes_on_there() {
    let home = Home::new();
    let account = home.account("+9996624680");
    home.protect(account);
    let mut talk = home.talk(&["+9996624680"]);
    talk.hear("code");
    talk.signal("-KILL");
    talk.end();
    assert_eq!(home.left()[0]["name"], "+9996624680");
    // The same command goes on as well.
    let mut talk = home.talk(&["+9996624680"]);
    talk.hear("resumed");
    talk.hear("code");
    talk.say(&json!({ "code": "22222" }));
    talk.hear("password");
    talk.signal("-KILL");
    talk.end();
    let (code, _, told) = home.run(&["login", "--resume", "--sessions", "2"]);
    assert_eq!((code, told.contains("--anew")), (Some(2), true), "{told}");
    let mut talk = home.talk(&["--resume"]);
    talk.hear("password");
    talk.signal("-INT");
    talk.hear("failed");
    let (code, said) = talk.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("telepool login --resume +9996624680"), "{said}");
    let mut talk = home.talk(&["--resume", "+9996624680"]);
    talk.hear("password");
    talk.say(&json!({ "password": PASSWORD }));
    talk.hear("signed-in");
    assert_eq!(talk.end().0, Some(0));
    assert_eq!(home.centres[0].session_count(account), 1);
    // One key at each data centre, however often it was begun.
    let keys = home.centres.each_ref().map(|centre| centre.stats().keys_made);
    assert_eq!(keys, [1, 1]);
    home.check(1);
}

#[test]
fn two_processes_do_not_go_on_with_one_sign_in() {
    let home = Home::new();
    home.account("+9996677777");
    let mut talk = home.talk(&["+9996677777"]);
    talk.hear("code");
    let (code, out, told) = home.run(&["login", "--resume", "+9996677777", "--json"]);
    assert_eq!(code, Some(3), "{out}{told}");
    assert!(told.contains("another process"), "{told}");
    talk.say(&json!({ "code": "77777" }));
    talk.hear("signed-in");
    assert_eq!(talk.end().0, Some(0));
    home.check(1);
}

#[test]
fn what_is_given_up_leaves_nothing() {
    let home = Home::new();
    let account = home.account("+9996688888");
    let mut talk = home.talk(&["+9996688888"]);
    talk.hear("code");
    talk.say(&json!({ "cancel": true }));
    assert_eq!(talk.hear("failed")["status"], 130);
    talk.end();
    assert!(home.left().is_empty());
    let mut talk = home.talk(&["+9996688888"]);
    talk.hear("code");
    // Whose input ends leaves it.
    let (code, said) = talk.end();
    assert_eq!(code, Some(4), "{said}");
    assert_eq!(home.left().len(), 1);
    let (code, _, told) = home.run(&["login", "--give-up", "+9996688888"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(home.left().is_empty() && home.sessions().is_empty());
    assert_eq!(home.centres[0].session_count(account), 0);
}

#[test]
fn without_anybody_to_ask_it_ends_with_what_is_missing() {
    let home = Home::new();
    home.account("+9996655555");
    let (code, _, told) = home.run(&["login", "+9996655555"]);
    assert_eq!(code, Some(4), "{told}");
    assert!(
        told.contains("--json") && home.left().is_empty(),
        "no code is sent for nobody: {told}"
    );
    let (code, _, told) = home.run(&["login", "9996655555"]);
    assert_eq!((code, told.contains("with +")), (Some(2), true), "{told}");
    let picture = home.path("nowhere").join("code.png").display().to_string();
    let (code, _, told) = home.run(&["login", "--qr", "--qr-png", &picture]);
    assert_eq!((code, told.contains(&picture)), (Some(2), true), "{told}");
    let (code, _, told) = home.run(&["login"]);
    assert_eq!((code, told.contains("--qr")), (Some(4), true), "{told}");
    let mut command = home.command(&["login", "+9996655555"]);
    let (code, _, told) = output(command.env_remove("TELEPOOL_API_HASH"));
    assert_eq!((code, told.contains("TELEPOOL_API_HASH")), (Some(4), true), "{told}");
    let token = home.centres[1].bot_token(AccountId::bot(8).unwrap()).unwrap();
    let (code, _, told) = home.run(&["login", &token]);
    assert_eq!(code, Some(2), "{told}");
    assert!(!told.contains(&token), "{told}");
    // What Telegram refuses is told with its remedy, and not kept.
    let (code, _, told) = home.run(&["login", "+15550001111", "--json"]);
    assert_eq!(code, Some(4), "a code is asked for: {told}");
}

#[test]
fn a_flood_is_told_with_its_time_and_goes_on_later() {
    let home = Home::new();
    home.account("+9996633333");
    home.centres[1].set_faults(&once("auth.sendCode", Fault::FloodWait { seconds: 40 }));
    let mut talk = home.talk(&["+9996633333"]);
    let failed = talk.hear("failed");
    assert_eq!((&failed["status"], &failed["retry_after_s"]), (&json!(75), &json!(40)));
    assert_eq!(talk.end().0, Some(75));
    assert_eq!(home.left().len(), 1);
}

#[test]
fn a_code_is_scanned_by_an_account_that_lives_elsewhere() {
    let home = Home::new();
    let account = home.account("+9996699999");
    let picture = home.path("code.png");
    let mut talk = home.talk(&["--qr", "--qr-png", &picture.display().to_string()]);
    let shown = talk.hear("scan");
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let token = shown["url"].as_str().unwrap().strip_prefix("tg://login?token=").unwrap();
    let token = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token);
    assert!(home.centres[0].accept_login(account, &token.unwrap()));
    assert_eq!(talk.hear("signed-in")["dc"], 1);
    assert_eq!(talk.end().0, Some(0));
    assert!(!picture.exists(), "what it shows is nobody's business any more");
    assert!(home.left().is_empty());
    home.check(1);
}

#[test]
fn a_hundred_bots_are_signed_in_by_a_list_of_their_tokens() {
    let home = Home::new();
    let bots: Vec<AccountId> =
        (1..=100).map(|number| AccountId::bot(9_000 + number).unwrap()).collect();
    let tokens: Vec<String> = (0..)
        .zip(&bots)
        .map(|(number, bot)| home.centres[number % 2].bot_token(*bot).unwrap())
        .collect();
    let list = home.path("tokens");
    std::fs::write(&list, format!("# mine\n{}\n", tokens.join("\n"))).unwrap();
    let list = list.display().to_string();
    let pace = ["--set", "dial.per_second=50"];
    let (code, out, told) = home.run(&[&["login", "--bot-tokens", &list][..], &pace].concat());
    assert_eq!(code, Some(0), "{out}{told}");
    assert!(told.contains("100 bots are signed in"), "{told}");
    assert!(tokens.iter().all(|token| !told.contains(token.split_once(':').unwrap().1)));
    assert_eq!(home.sessions().len(), 100);
    // Signing in counts at Telegram: whoever has a session is left alone.
    let made = home.centres.each_ref().map(|centre| centre.stats().keys_made);
    let (code, _, told) = home.run(&["login", "--bot-tokens", &list]);
    assert_eq!(
        (code, told.contains("0 bots are signed in, 100 had a session")),
        (Some(0), true),
        "{told}"
    );
    assert_eq!(made, home.centres.each_ref().map(|centre| centre.stats().keys_made));
    // One that is none fails for itself.
    let more =
        [home.centres[1].bot_token(AccountId::bot(50).unwrap()).unwrap(), "51:wrong".to_owned()];
    let mut talk = Talk::of(&mut home.command(&["login", "--bot-tokens", "-"]));
    let input = talk.input.as_mut().unwrap();
    write!(input, "{}\n{}\n", more[1], more[0]).unwrap();
    let (code, said) = talk.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("@BotFather") && said.contains("1 bots are signed in"), "{said}");
    home.check(101);
}

#[test]
fn a_bot_signs_in_by_a_token_in_a_file_and_logs_out() {
    let home = Home::new();
    let bot = AccountId::bot(8).unwrap();
    let token = home.centres[0].bot_token(bot).unwrap();
    let file = home.path("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let mut command = home.command(&["login", "--bot"]);
    let (code, _, told) = output(command.env("TELEPOOL_BOT_TOKEN_FILE", &file));
    assert_eq!(code, Some(0), "{told}");
    let mut command = home.command(&["login", "--bot"]);
    let both = command.env("TELEPOOL_BOT_TOKEN_FILE", &file).env("TELEPOOL_BOT_TOKEN", &token);
    let (code, _, told) = output(both);
    assert_eq!((code, told.contains("both set")), (Some(2), true), "{told}");
    home.check(1);
    let (code, out, told) = home.run(&["logout", "bot:8"]);
    assert_eq!((code, out.contains("logged out")), (Some(0), true), "{out}{told}");
    assert_eq!((home.sessions().len(), home.centres[0].session_count(bot)), (0, 0));
}

#[test]
fn whoever_has_logged_out_comes_back_without_a_code() {
    let home = Home::new();
    let account = home.account("+9996644444");
    let mut talk = home.talk(&["+9996644444"]);
    talk.hear("code");
    talk.say(&json!({ "code": "44444" }));
    talk.hear("signed-in");
    assert_eq!(talk.end().0, Some(0));
    let (code, out, told) = home.run(&["logout", "+9996644444"]);
    assert_eq!(code, Some(0), "{out}{told}");
    assert_eq!(home.centres[0].session_count(account), 0);
    let mut talk = home.talk(&["+9996644444"]);
    talk.hear("signed-in");
    assert_eq!(talk.end().0, Some(0));
    home.check(1);
}

#[test]
fn sessions_of_others_accept_new_ones_and_are_left_alone() {
    let home = Home::new();
    let account = home.account("+9996617171");
    home.protect(account);
    let old = home.centres[0].create_sessions(account, 2, None);
    let bot = home.centres[0].create_sessions(AccountId::bot(9).unwrap(), 1, None);
    let mut lines = Vec::new();
    for session in old.iter().chain(&bot) {
        telepool::session::lines::write_line(&mut lines, session).unwrap();
    }
    let file = home.path("old.jsonl");
    std::fs::write(&file, lines).unwrap();
    let file = file.display().to_string();
    let mut command = home.command(&[
        "session",
        "import",
        &file,
        "--as-new-session",
        "--api-id",
        "2040",
        "--json",
    ]);
    let mut talk = Talk::of(&mut command);
    talk.hear("");
    for slot in 0..2 {
        talk.hear("password");
        talk.say(&json!({ "password": PASSWORD }));
        assert_eq!(talk.hear("signed-in")["slot"], slot);
    }
    assert_eq!(talk.hear("is-bot")["user_id"], 9);
    assert_eq!(talk.hear("ended")["accepted"], 2);
    let (code, said) = talk.end();
    assert_eq!(code, Some(0), "{said}");
    // Once is enough, however often it is done.
    let (code, _, told) = output(&mut command);
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("signed in"), "{told}");
    let sessions = home.sessions();
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().all(|it| it["login_at"].as_u64().is_some()), "{sessions:?}");
    let keys: Vec<_> =
        old.iter().map(|it| telepool::session::KeyId::of(&it.key).to_string()).collect();
    for session in &sessions {
        assert!(!keys.iter().any(|key| session["key_id"] == key.as_str()), "{session}");
        assert_eq!(session["api_id"], 7, "under the operator's own application");
    }
    assert_eq!(home.centres[0].session_count(account), 4, "the old ones stay");
    home.check(2);
}
