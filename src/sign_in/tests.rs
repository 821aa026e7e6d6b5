//! The machine over every kind of reply, in and out of order.

use std::collections::BTreeSet;

use grammers_tl_types::{
    Deserializable as _, Identifiable as _, Serializable as _, enums, functions, types,
};
use proptest::prelude::*;

use super::error::REFUSALS;
use super::*;
use crate::mtproto::key_exchange::{Group, KNOWN_PRIME};

const PHONE: &str = "+9996620001";

fn application() -> Application {
    Application::new(7, "hash")
}

fn by_phone() -> SignInWay {
    SignInWay::phone(PHONE.parse().unwrap())
}

fn by_token() -> SignInWay {
    SignInWay::Bot(Zeroizing::new("5:secret".to_owned()))
}

/// A user with a phone number, as a server writes one.
fn user(is_bot: bool) -> enums::User {
    let flags = 1_u32 << 10 | u32::from(is_bot) << 14 | 1 << 4;
    let mut body = types::User::CONSTRUCTOR_ID.to_bytes();
    flags.serialize(&mut body);
    0_u32.serialize(&mut body);
    77_i64.serialize(&mut body);
    PHONE[1..].to_owned().serialize(&mut body);
    if is_bot {
        1_i32.serialize(&mut body);
    }
    enums::User::from_bytes(&body).unwrap()
}

fn authorization(is_bot: bool) -> enums::auth::Authorization {
    enums::auth::Authorization::Authorization(types::auth::Authorization {
        setup_password_required: true,
        otherwise_relogin_days: Some(3),
        tmp_sessions: None,
        future_auth_token: Some(vec![9; 8]),
        user: user(is_bot),
    })
}

fn sent_code(r#type: enums::auth::SentCodeType, next: Option<enums::auth::CodeType>) -> Vec<u8> {
    let phone_code_hash = "known by this".to_owned();
    let (next_type, timeout) = (next, Some(60));
    let sent = types::auth::SentCode { r#type, phone_code_hash, next_type, timeout };
    enums::auth::SentCode::Code(sent).to_bytes()
}

fn in_app() -> Vec<u8> {
    let app = enums::auth::SentCodeType::App(types::auth::SentCodeTypeApp { length: 5 });
    sent_code(app, Some(enums::auth::CodeType::Sms))
}

/// What a call returns that has nothing else to say.
fn yes() -> Vec<u8> {
    true.to_bytes()
}

fn token(token: u8) -> Vec<u8> {
    let token = types::auth::LoginToken { expires: 1_700_000_030, token: vec![token; 32] };
    enums::auth::LoginToken::Token(token).to_bytes()
}

/// What a server says of a password.
fn challenge() -> Vec<u8> {
    let group = Group::checked(&KNOWN_PRIME, 3).unwrap();
    let algorithm = types::PasswordKdfAlgoSha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow {
        salt1: vec![1; 16],
        salt2: vec![2; 16],
        g: 3,
        p: KNOWN_PRIME.to_vec(),
    };
    let algorithm = enums::PasswordKdfAlgo::from(algorithm);
    let password = types::account::Password {
        has_recovery: true,
        has_secure_values: false,
        has_password: true,
        current_algo: Some(algorithm.clone()),
        srp_b: Some(group.public(&[5; 256]).to_bytes_be()),
        srp_id: Some(4),
        hint: Some("the usual".to_owned()),
        email_unconfirmed_pattern: None,
        new_algo: algorithm,
        new_secure_algo: enums::SecurePasswordKdfAlgo::Unknown,
        secure_random: vec![3; 16],
        pending_reset_date: None,
        login_email_pattern: None,
    };
    enums::account::Password::Password(password).to_bytes()
}

/// The method that is to be called, and where.
fn called(step: &SignInStep) -> (i32, u32) {
    let SignInStep::Call { dc, request } = step else { panic!("{step:?}") };
    (*dc, u32::from_le_bytes(*request.first_chunk().unwrap()))
}

fn asked(step: SignInStep) -> SentCode {
    let SignInStep::AskCode(sent) = step else { panic!("{step:?}") };
    sent
}

fn question(step: SignInStep) -> PasswordQuestion {
    let SignInStep::AskPassword(question) = step else { panic!("{step:?}") };
    question
}

fn done(step: SignInStep) -> SignedIn {
    let SignInStep::Done(done) = step else { panic!("{step:?}") };
    *done
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// A sign-in whose code is asked for.
fn at_code() -> SignIn {
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
    asked(sign_in.answered(&in_app()).unwrap());
    sign_in
}

/// One whose password is asked for.
fn at_password() -> SignIn {
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    sign_in.refused(401, "SESSION_PASSWORD_NEEDED").unwrap();
    question(sign_in.answered(&challenge()).unwrap());
    sign_in
}

const SEND_CODE: u32 = functions::auth::SendCode::CONSTRUCTOR_ID;
const SIGN_IN: u32 = functions::auth::SignIn::CONSTRUCTOR_ID;
const RESEND: u32 = functions::auth::ResendCode::CONSTRUCTOR_ID;
const CANCEL: u32 = functions::auth::CancelCode::CONSTRUCTOR_ID;
const EXPORT: u32 = functions::auth::ExportLoginToken::CONSTRUCTOR_ID;
const IMPORT: u32 = functions::auth::ImportLoginToken::CONSTRUCTOR_ID;
const IMPORT_BOT: u32 = functions::auth::ImportBotAuthorization::CONSTRUCTOR_ID;
const GET_PASSWORD: u32 = functions::account::GetPassword::CONSTRUCTOR_ID;
const CHECK: u32 = functions::auth::CheckPassword::CONSTRUCTOR_ID;
const GET_USERS: u32 = functions::users::GetUsers::CONSTRUCTOR_ID;
const LOG_OUT: u32 = functions::auth::LogOut::CONSTRUCTOR_ID;

#[test]
fn by_phone_with_a_migration_a_wrong_code_and_a_password() {
    let (mut sign_in, step) = SignIn::begin(application(), by_phone(), 2).unwrap();
    assert_eq!(called(&step), (2, SEND_CODE));
    let step = sign_in.refused(303, "PHONE_MIGRATE_4").unwrap();
    assert_eq!((called(&step), sign_in.dc()), ((4, SEND_CODE), 4));
    let sent = asked(sign_in.answered(&in_app()).unwrap());
    assert_eq!((sent.delivery, sent.length, sent.tries_left), (CodeDelivery::App, Some(5), 5));
    assert_eq!(
        (sent.next, sent.next_after),
        (Some(CodeDelivery::Sms), Some(Duration::from_secs(60)))
    );
    assert_eq!(called(&sign_in.enter_code("99 999").unwrap()), (4, SIGN_IN));
    let sent = asked(sign_in.refused(400, "PHONE_CODE_INVALID").unwrap());
    assert_eq!((sent.refusal, sent.tries_left), (Some(CodeRefusal::Wrong), 4));
    assert_eq!(called(&sign_in.enter_code("1-2-3-4-5").unwrap()), (4, SIGN_IN));
    let step = sign_in.refused(401, "SESSION_PASSWORD_NEEDED").unwrap();
    assert_eq!(called(&step), (4, GET_PASSWORD));
    let asked = question(sign_in.answered(&challenge()).unwrap());
    assert_eq!((asked.hint.as_deref(), asked.tries_left), (Some("the usual"), 5));
    assert_eq!(called(&sign_in.enter_password(secret("wrong")).unwrap()), (4, CHECK));
    // Each attempt has a challenge of its own.
    assert_eq!(called(&sign_in.refused(400, "PASSWORD_HASH_INVALID").unwrap()), (4, GET_PASSWORD));
    assert_eq!(question(sign_in.answered(&challenge()).unwrap()).tries_left, 4);
    assert_eq!(called(&sign_in.enter_password(secret("right")).unwrap()), (4, CHECK));
    let signed_in = done(sign_in.answered(&authorization(false).to_bytes()).unwrap());
    assert_eq!((signed_in.dc, signed_in.user_id, signed_in.is_bot), (4, 77, false));
    assert_eq!(signed_in.phone, Some(PHONE.parse().unwrap()));
    assert_eq!((signed_in.otherwise_relogin_days, signed_in.temporary_sessions), (Some(3), None));
    assert_eq!(signed_in.future_token.unwrap()[..], [9; 8]);
    assert!(sign_in.answered(&[]).is_err(), "it is over");
}

#[test]
fn a_password_that_was_changed_meanwhile_is_checked_once_more() {
    for name in ["SRP_ID_INVALID", "SRP_PASSWORD_CHANGED"] {
        let mut sign_in = at_password();
        sign_in.enter_password(secret("right")).unwrap();
        assert_eq!(called(&sign_in.refused(400, name).unwrap()).1, GET_PASSWORD);
        assert_eq!(called(&sign_in.answered(&challenge()).unwrap()).1, CHECK, "without asking");
        let error = sign_in.refused(400, name).unwrap_err();
        assert!(matches!(error, SignInError::Refused { .. }), "{error}");
    }
}

#[test]
fn a_bot_signs_in_with_one_call_wherever_it_lives() {
    let (mut sign_in, step) = SignIn::begin(application(), by_token(), 2).unwrap();
    assert_eq!(called(&step), (2, IMPORT_BOT));
    assert_eq!(called(&sign_in.refused(303, "USER_MIGRATE_1").unwrap()), (1, IMPORT_BOT));
    let signed_in = done(sign_in.answered(&authorization(true).to_bytes()).unwrap());
    assert!(signed_in.is_bot && signed_in.dc == 1);
}

#[test]
fn what_is_scanned_may_live_elsewhere_and_have_a_password_on_either_side() {
    for password_on_import in [false, true] {
        let way = SignInWay::Scan { except: vec![77] };
        let (mut sign_in, step) = SignIn::begin(application(), way, 2).unwrap();
        assert_eq!(called(&step), (2, EXPORT));
        for shown in 1..=2 {
            let step = sign_in.answered(&token(shown)).unwrap();
            let SignInStep::Show(link) = step else { panic!("{step:?}") };
            assert_eq!(link.token(), [shown; 32]);
            assert!(link.url().starts_with("tg://login?token=AQEB") || shown == 2);
            assert_eq!(called(&sign_in.poll().unwrap()), (2, EXPORT));
            assert!(sign_in.poll().is_none(), "once at a time");
        }
        if password_on_import {
            let elsewhere = types::auth::LoginTokenMigrateTo { dc_id: 5, token: vec![8; 9] };
            let elsewhere = enums::auth::LoginToken::MigrateTo(elsewhere).to_bytes();
            assert_eq!(called(&sign_in.answered(&elsewhere).unwrap()), (5, IMPORT));
        }
        let dc = if password_on_import { 5 } else { 2 };
        let step = sign_in.refused(401, "SESSION_PASSWORD_NEEDED").unwrap();
        assert_eq!(called(&step), (dc, GET_PASSWORD));
        sign_in.answered(&challenge()).unwrap();
        sign_in.enter_password(secret("right")).unwrap();
        assert_eq!(done(sign_in.answered(&authorization(false).to_bytes()).unwrap()).dc, dc);
    }
}

#[test]
fn a_scan_that_comes_too_late_for_the_other_data_centre_is_shown_anew() {
    let (mut sign_in, _) =
        SignIn::begin(application(), SignInWay::Scan { except: vec![] }, 2).unwrap();
    let elsewhere = types::auth::LoginTokenMigrateTo { dc_id: 5, token: vec![8; 9] };
    sign_in.answered(&enums::auth::LoginToken::MigrateTo(elsewhere).to_bytes()).unwrap();
    assert_eq!(called(&sign_in.refused(400, "AUTH_TOKEN_EXPIRED").unwrap()), (5, EXPORT));
    let success = types::auth::LoginTokenSuccess { authorization: authorization(false) };
    let success = enums::auth::LoginToken::Success(success).to_bytes();
    assert_eq!(done(sign_in.answered(&success).unwrap()).dc, 5);
}

#[test]
fn another_code_is_to_be_had_where_the_server_offers_one_or_after_the_last() {
    let mut sign_in = at_code();
    assert_eq!(called(&sign_in.resend().unwrap()).1, RESEND);
    let sms = enums::auth::SentCodeType::Sms(types::auth::SentCodeTypeSms { length: 5 });
    let sent = asked(sign_in.answered(&sent_code(sms, None)).unwrap());
    assert_eq!((sent.delivery, sent.next), (CodeDelivery::Sms, None));
    assert!(sign_in.resend().unwrap_err().to_string().contains("no other way"));
    sign_in.enter_code("12345").unwrap();
    let sent = asked(sign_in.refused(400, "PHONE_CODE_EXPIRED").unwrap());
    assert_eq!(sent.refusal, Some(CodeRefusal::Expired));
    assert!(sign_in.enter_code("12345").unwrap_err().to_string().contains("out of date"));
    assert_eq!(called(&sign_in.resend().unwrap()).1, SEND_CODE);

    let mut sign_in = at_code();
    sign_in.resend().unwrap();
    let sent = asked(sign_in.refused(406, "SEND_CODE_UNAVAILABLE").unwrap());
    assert_eq!((sent.next, sent.refusal), (None, None));
}

#[test]
fn after_five_codes_or_passwords_that_is_all() {
    let mut sign_in = at_code();
    for left in (0..5).rev() {
        sign_in.enter_code("12345").unwrap();
        match sign_in.refused(400, "PHONE_CODE_INVALID") {
            Ok(step) => assert_eq!(asked(step).tries_left, left),
            Err(error) => {
                assert_eq!(left, 0);
                assert_eq!(error, SignInError::TriesSpent { what: "the code", tries: 5 });
            }
        }
    }
    let mut sign_in = at_password();
    for left in (0..5).rev() {
        sign_in.enter_password(secret("no")).unwrap();
        match sign_in.refused(400, "PASSWORD_HASH_INVALID") {
            Ok(_) => assert_eq!(question(sign_in.answered(&challenge()).unwrap()).tries_left, left),
            Err(error) => {
                assert_eq!(left, 0);
                assert_eq!(error, SignInError::TriesSpent { what: "the password", tries: 5 });
            }
        }
    }
}

#[test]
fn what_is_no_code_is_not_sent() {
    let mut sign_in = at_code();
    for (typed, words) in [
        ("", "empty"),
        (" - ", "empty"),
        ("1234", "5 characters"),
        ("123456", "5 characters"),
        ("1234x", "digits"),
    ] {
        let error = sign_in.enter_code(typed).unwrap_err().to_string();
        assert!(error.contains(words), "{typed:?}: {error}");
    }
    assert!(sign_in.enter_password(secret("x")).is_err());
    assert!(sign_in.poll().is_none());
    assert_eq!(called(&sign_in.enter_code(" 123-45\n").unwrap()).1, SIGN_IN);
    assert!(sign_in.enter_code("12345").is_err(), "one is on its way");
    let missed = types::auth::SentCodeTypeMissedCall { prefix: "+99".into(), length: 4 };
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
    let missed = enums::auth::SentCodeType::MissedCall(missed);
    asked(sign_in.answered(&sent_code(missed, None)).unwrap());
    let SignInStep::Call { request, .. } = sign_in.enter_code("+99 66 212 3456").unwrap() else {
        panic!("there is no call")
    };
    let request = functions::auth::SignIn::from_bytes(&request[4..]).unwrap();
    assert_eq!(request.phone_code.as_deref(), Some("3456"));
}

#[test]
fn a_code_that_came_by_mail_is_sent_as_such() {
    let email = types::auth::SentCodeTypeEmailCode {
        apple_signin_allowed: false,
        google_signin_allowed: false,
        email_pattern: "a***@b.c".to_owned(),
        length: 6,
        reset_available_period: None,
        reset_pending_date: None,
    };
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
    let email = enums::auth::SentCodeType::EmailCode(email);
    let sent = asked(sign_in.answered(&sent_code(email, None)).unwrap());
    assert_eq!(sent.delivery.to_string(), "by e-mail to a***@b.c");
    let SignInStep::Call { request, .. } = sign_in.enter_code("123456").unwrap() else {
        panic!("there is no call")
    };
    let request = functions::auth::SignIn::from_bytes(&request[4..]).unwrap();
    let code = types::EmailVerificationCode { code: "123456".to_owned() };
    assert_eq!(request.email_verification, Some(enums::EmailVerification::Code(code)));
    assert_eq!((request.phone_code, request.phone_number.as_str()), (None, &PHONE[1..]));
}

#[test]
fn what_can_only_be_done_elsewhere_is_said() {
    let set_up = types::auth::SentCodeTypeSetUpEmailRequired {
        apple_signin_allowed: false,
        google_signin_allowed: false,
    };
    let firebase = types::auth::SentCodeTypeFirebaseSms {
        nonce: None,
        play_integrity_project_id: None,
        play_integrity_nonce: None,
        receipt: None,
        push_timeout: None,
        length: 5,
    };
    let paid = types::auth::SentCodePaymentRequired {
        store_product: String::new(),
        phone_code_hash: String::new(),
        support_email_address: String::new(),
        support_email_subject: String::new(),
        premium_days: 0,
        currency: String::new(),
        amount: 0,
    };
    for answer in [
        sent_code(enums::auth::SentCodeType::SetUpEmailRequired(set_up), None),
        sent_code(enums::auth::SentCodeType::FirebaseSms(firebase), None),
        enums::auth::SentCode::PaymentRequired(paid).to_bytes(),
    ] {
        let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
        let error = sign_in.answered(&answer).unwrap_err();
        assert!(error.to_string().contains("official app"), "{error}");
    }
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    let nobody = types::auth::AuthorizationSignUpRequired { terms_of_service: None };
    let nobody = enums::auth::Authorization::SignUpRequired(nobody).to_bytes();
    assert!(sign_in.answered(&nobody).unwrap_err().to_string().contains("nobody has an account"));
}

#[test]
fn a_sign_in_that_is_not_done_yet_needs_no_code_with_what_the_last_session_left() {
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
    let success = types::auth::SentCodeSuccess { authorization: authorization(false) };
    let step = sign_in.answered(&enums::auth::SentCode::Success(success).to_bytes()).unwrap();
    assert_eq!(done(step).user_id, 77);
}

#[test]
fn every_refusal_has_words_and_a_remedy_and_floods_their_time() {
    let mut names = BTreeSet::new();
    for (name, words, remedy) in REFUSALS {
        assert!(names.insert(name), "{name}");
        assert!(!words.is_empty() && !remedy.is_empty());
        let (mut sign_in, _) = SignIn::begin(application(), by_token(), 2).unwrap();
        let error = sign_in.refused(400, name).unwrap_err().to_string();
        assert_eq!(error, format!("{words} ({name}): {remedy}"));
    }
    for name in &names {
        let hides = names.iter().filter(|it| *it != name && it.starts_with(name));
        assert_eq!(hides.count(), 0, "{name} stands before a longer one");
    }
    let (mut sign_in, _) = SignIn::begin(application(), by_token(), 2).unwrap();
    let error = sign_in.refused(420, "FLOOD_WAIT_1020").unwrap_err();
    assert!(matches!(&error, SignInError::Flood { after, .. } if after.as_secs() == 1_020));
    assert!(error.to_string().contains("17m") || error.to_string().contains("1020s"), "{error}");
    let unknown = SignInError::of(400, "SOMETHING_NEW").to_string();
    assert!(
        unknown.contains("SOMETHING_NEW") && unknown.contains("core.telegram.org"),
        "{unknown}"
    );
}

#[test]
fn a_server_that_sends_one_in_circles_is_left() {
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 1).unwrap();
    let circles =
        (0..10).map(|turn| sign_in.refused(303, &format!("PHONE_MIGRATE_{}", turn % 5 + 1)));
    let ends = circles.collect::<Vec<_>>();
    assert!(ends[3].is_ok() && ends[4].is_err());
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 1).unwrap();
    assert!(sign_in.refused(303, "PHONE_MIGRATE_").is_err());
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 1).unwrap();
    assert_eq!(called(&sign_in.refused(500, "AUTH_RESTART").unwrap()), (1, SEND_CODE));
}

#[test]
fn whoever_gives_up_leaves_nothing_behind() {
    // A code that was sent is forgotten.
    let mut sign_in = at_code();
    assert_eq!(called(&sign_in.cancel().unwrap()).1, CANCEL);
    assert!(matches!(sign_in.answered(&yes()), Ok(SignInStep::Cancelled)));
    // What is being sent as well.
    let (mut sign_in, _) = SignIn::begin(application(), by_phone(), 2).unwrap();
    assert!(sign_in.cancel().is_none());
    assert_eq!(called(&sign_in.answered(&in_app()).unwrap()).1, CANCEL);
    assert!(matches!(sign_in.refused(400, "PHONE_CODE_EXPIRED"), Ok(SignInStep::Cancelled)));
    // What the server has taken meanwhile is logged out.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    assert!(sign_in.cancel().is_none());
    let taken = authorization(false).to_bytes();
    assert_eq!(called(&sign_in.answered(&taken).unwrap()).1, LOG_OUT);
    assert_eq!(called(&sign_in.refused(500, "INTERNAL").unwrap()).1, LOG_OUT, "it is there still");
    let flood = sign_in.refused(420, "FLOOD_WAIT_3");
    assert!(matches!(flood, Err(SignInError::Flood { .. })), "{flood:?}");
    assert_eq!(called(&sign_in.lost()).1, LOG_OUT);
    assert!(sign_in.refused(400, "NO").is_err());
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    assert!(sign_in.cancel().is_none());
    assert_eq!(called(&sign_in.refused(400, "PHONE_CODE_INVALID").unwrap()).1, CANCEL);
    assert!(matches!(sign_in.refused(400, "PHONE_CODE_EXPIRED"), Ok(SignInStep::Cancelled)));
    let mut sign_in = at_password();
    assert!(matches!(sign_in.cancel(), Some(SignInStep::Cancelled)));
    assert!(matches!(sign_in.cancel(), Some(SignInStep::Cancelled)), "twice is once");
    // What was shown may have been scanned by now.
    let mut shown = SignIn::begin(application(), SignInWay::Scan { except: vec![] }, 2).unwrap().0;
    shown.answered(&token(1)).unwrap();
    assert_eq!(called(&shown.cancel().unwrap()).1, EXPORT);
    let elsewhere = types::auth::LoginTokenMigrateTo { dc_id: 4, token: vec![1] };
    let elsewhere = enums::auth::LoginToken::MigrateTo(elsewhere).to_bytes();
    assert_eq!(called(&shown.answered(&elsewhere).unwrap()), (4, IMPORT));
    let success = types::auth::LoginTokenSuccess { authorization: authorization(false) };
    let success = enums::auth::LoginToken::Success(success).to_bytes();
    assert_eq!(called(&shown.answered(&success).unwrap()), (4, LOG_OUT));
    // Or it has not.
    let mut shown = SignIn::begin(application(), SignInWay::Scan { except: vec![] }, 2).unwrap().0;
    shown.answered(&token(1)).unwrap();
    shown.cancel().unwrap();
    assert!(matches!(shown.answered(&token(1)), Ok(SignInStep::Cancelled)));
    // What nobody can read may have been taken.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    assert!(sign_in.answered(&[1, 2, 3]).is_err());
    assert_eq!(called(&sign_in.cancel().unwrap()).1, GET_USERS);
    let flood = sign_in.refused(420, "FLOOD_WAIT_3");
    assert!(matches!(flood, Err(SignInError::Flood { .. })), "it says nothing: {flood:?}");
    assert_eq!(called(&sign_in.cancel().unwrap()).1, GET_USERS);
    assert_eq!(called(&sign_in.answered(&vec![user(false)].to_bytes()).unwrap()).1, LOG_OUT);
    assert!(sign_in.refused(406, "NOT_NOW").is_err());
    assert_eq!(called(&sign_in.cancel().unwrap()).1, GET_USERS, "it is there still");
    assert_eq!(called(&sign_in.refused(401, "AUTH_KEY_UNREGISTERED").unwrap()).1, CANCEL);
    assert!(matches!(sign_in.answered(&yes()), Ok(SignInStep::Cancelled)));
    // And so is what was done before somebody thought better of it.
    let (mut sign_in, _) = SignIn::begin(application(), by_token(), 2).unwrap();
    done(sign_in.answered(&authorization(true).to_bytes()).unwrap());
    assert_eq!(called(&sign_in.cancel().unwrap()).1, LOG_OUT);
    // Whatever is lost on the way.
    let mut sign_in = at_code();
    sign_in.resend().unwrap();
    assert!(sign_in.cancel().is_none());
    assert_eq!(called(&sign_in.lost()).1, CANCEL);
}

#[test]
fn after_a_flood_it_goes_on_where_it_was() {
    let flood = |sign_in: &mut SignIn| {
        let flood = sign_in.refused(420, "FLOOD_WAIT_30").unwrap_err();
        assert!(matches!(flood, SignInError::Flood { after, .. } if after.as_secs() == 30));
    };
    let (mut sign_in, first) = SignIn::begin(application(), by_phone(), 2).unwrap();
    flood(&mut sign_in);
    assert_eq!(called(&restarted(&sign_in).1), called(&first));
    assert_eq!(called(&sign_in.lost()), called(&first));
    let mut sign_in = at_password();
    sign_in.enter_password(secret("wrong")).unwrap();
    flood(&mut sign_in);
    assert!(sign_in.enter_password(secret("right")).is_err(), "not yet");
    assert_eq!(called(&restarted(&sign_in).1).1, GET_USERS);
    assert_eq!(called(&sign_in.lost()).1, GET_USERS);
    assert_eq!(called(&sign_in.refused(401, "SESSION_PASSWORD_NEEDED").unwrap()).1, GET_PASSWORD);
    flood(&mut sign_in);
    assert_eq!(called(&sign_in.cancel().unwrap()).1, CANCEL);
    // Trouble of the server's own says nothing of the call, and does not last for ever.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    for _ in 0..4 {
        assert_eq!(called(&sign_in.refused(500, "INTERNAL").unwrap()).1, GET_USERS);
    }
    assert!(sign_in.refused(-503, "Timeout").is_err());
}

#[test]
fn what_is_left_of_the_last_session_spares_the_code() {
    let logout_tokens = vec![Zeroizing::new(b"left".to_vec())];
    let way = SignInWay::Phone { number: PHONE.parse().unwrap(), logout_tokens };
    let (mut sign_in, step) = SignIn::begin(application(), way, 2).unwrap();
    let SignInStep::Call { request, .. } = step else { panic!("{step:?}") };
    let sent = functions::auth::SendCode::from_bytes(&request[4..]).unwrap();
    let enums::CodeSettings::Settings(settings) = sent.settings;
    assert_eq!(settings.logout_tokens, Some(vec![b"left".to_vec()]));
    // It may be all that there is to it.
    assert_eq!(called(&restarted(&sign_in).1).1, GET_USERS);
    assert_eq!(called(&sign_in.lost()).1, GET_USERS);
    assert_eq!(called(&sign_in.refused(401, "AUTH_KEY_UNREGISTERED").unwrap()).1, SEND_CODE);
    let authorization = authorization(false);
    let success = types::auth::SentCodeSuccess { authorization };
    let taken = enums::auth::SentCode::Success(success).to_bytes();
    assert_eq!(done(sign_in.answered(&taken).unwrap()).user_id, 77);
}

#[test]
fn what_is_no_number_and_no_token_is_refused_at_once() {
    let begin = |way| SignIn::begin(application(), way, 2).map(|_| ()).unwrap_err().to_string();
    let bot = AccountId::bot(5).unwrap();
    assert!(begin(SignInWay::phone(bot)).contains("phone number"));
    for token in ["", "secret", "5:", ":secret", "bot:secret", "5:sec ret"] {
        assert!(begin(SignInWay::Bot(secret(token))).contains("@BotFather"), "{token}");
    }
}

#[test]
fn what_was_lost_on_the_way_is_asked_about_before_it_is_repeated() {
    // The server has taken it.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    assert_eq!(called(&sign_in.lost()).1, GET_USERS);
    assert_eq!(called(&sign_in.lost()).1, GET_USERS, "as often as need be");
    assert_eq!(done(sign_in.answered(&vec![user(false)].to_bytes()).unwrap()).user_id, 77);
    // It has not.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    drop(sign_in.lost());
    let sent = asked(sign_in.refused(401, "AUTH_KEY_UNREGISTERED").unwrap());
    assert_eq!((sent.tries_left, sent.refusal), (5, None));
    // It wants a password.
    let mut sign_in = at_code();
    sign_in.enter_code("12345").unwrap();
    drop(sign_in.lost());
    assert_eq!(called(&sign_in.refused(401, "SESSION_PASSWORD_NEEDED").unwrap()).1, GET_PASSWORD);
    // A bot.
    let (mut sign_in, _) = SignIn::begin(application(), by_token(), 2).unwrap();
    assert_eq!(called(&sign_in.lost()).1, GET_USERS);
    assert_eq!(called(&sign_in.refused(401, "AUTH_KEY_UNREGISTERED").unwrap()).1, IMPORT_BOT);
    // A connection that goes while a person thinks.
    let mut sign_in = at_code();
    asked(sign_in.lost());
    let mut sign_in = at_password();
    assert_eq!(called(&sign_in.lost()).1, GET_PASSWORD);
}

/// Through what a process writes and the next one reads.
fn restarted(sign_in: &SignIn) -> (SignIn, SignInStep) {
    let kept = serde_json::to_string(&sign_in.save()).unwrap();
    let saved: SavedSignIn = serde_json::from_str(&kept).unwrap();
    assert!(!format!("{saved:?} {sign_in:?}").contains("known by this"), "no secret is shown");
    assert_eq!(saved.dc(), sign_in.dc());
    saved.resume(application()).unwrap()
}

#[test]
fn an_interrupted_sign_in_goes_on_where_it_was() {
    let mut sign_in = at_code();
    sign_in.enter_code("99999").unwrap();
    sign_in.refused(400, "PHONE_CODE_INVALID").unwrap();
    let (mut again, step) = restarted(&sign_in);
    assert_eq!(asked(step).tries_left, 4);
    let SignInStep::Call { request, .. } = again.enter_code("12345").unwrap() else {
        panic!("there is no call")
    };
    let request = functions::auth::SignIn::from_bytes(&request[4..]).unwrap();
    assert_eq!(request.phone_code_hash, "known by this");
    // In the middle of the call.
    let (mut after, step) = restarted(&again);
    assert_eq!(called(&step).1, GET_USERS);
    assert_eq!(asked(after.refused(401, "AUTH_KEY_UNREGISTERED").unwrap()).tries_left, 4);
    let (_, step) = restarted(&at_password());
    assert_eq!(called(&step).1, GET_PASSWORD);
    let (sign_in, _) = SignIn::begin(application(), by_phone(), 3).unwrap();
    assert_eq!(called(&restarted(&sign_in).1), (3, SEND_CODE));
    let (sign_in, _) = SignIn::begin(application(), by_token(), 3).unwrap();
    assert_eq!(called(&restarted(&sign_in).1), (3, GET_USERS));
}

/// What may come of a call.
fn replies() -> impl Strategy<Value = Reply> {
    let answers = [
        in_app(),
        token(1),
        challenge(),
        authorization(false).to_bytes(),
        vec![user(false)].to_bytes(),
        yes(),
        vec![1, 2, 3],
    ];
    let names = [
        "SESSION_PASSWORD_NEEDED",
        "PHONE_MIGRATE_3",
        "AUTH_RESTART",
        "PHONE_CODE_INVALID",
        "PHONE_CODE_EXPIRED",
        "PASSWORD_HASH_INVALID",
        "SRP_ID_INVALID",
        "AUTH_KEY_UNREGISTERED",
        "FLOOD_WAIT_5",
        "TROUBLE",
    ];
    prop_oneof![
        4 => prop::sample::select(answers.to_vec()).prop_map(Reply::Answer),
        4 => prop::sample::select(names.to_vec()).prop_map(Reply::Refusal),
        1 => Just(Reply::Lost),
        3 => prop::sample::select(vec!["12345", "1"]).prop_map(Reply::Code),
        1 => Just(Reply::Password),
        1 => Just(Reply::Resend),
        1 => Just(Reply::Cancel),
        1 => Just(Reply::Restart),
    ]
}

#[derive(Clone, Debug)]
enum Reply {
    Answer(Vec<u8>),
    Refusal(&'static str),
    Lost,
    Code(&'static str),
    Password,
    Resend,
    Cancel,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn in_whatever_order_things_come_it_ends_or_waits_and_no_login_is_left_behind(
        way in 0..3_usize, replies in prop::collection::vec(replies(), 1..24),
    ) {
        let way = [by_phone(), by_token(), SignInWay::Scan { except: vec![] }][way].clone();
        let (mut sign_in, _) = SignIn::begin(application(), way, 2).unwrap();
        let mut gives_up = false;
        for reply in replies {
            let next = match reply {
                Reply::Answer(answer) => sign_in.answered(&answer),
                Reply::Refusal(name) => {
                    let code = if name.contains("MIGRATE") { 303 } else { [401, 500][usize::from(name == "TROUBLE")] };
                    sign_in.refused(code, name)
                }
                Reply::Lost => Ok(sign_in.lost()),
                Reply::Code(code) => match sign_in.enter_code(code) {
                    Ok(step) => Ok(step),
                    Err(_) => continue,
                },
                Reply::Password => match sign_in.enter_password(secret("x")) {
                    Ok(step) => Ok(step),
                    Err(_) => continue,
                },
                Reply::Resend => match sign_in.resend() {
                    Ok(step) => Ok(step),
                    Err(_) => continue,
                },
                Reply::Cancel => {
                    gives_up = true;
                    match sign_in.cancel() {
                        Some(step) => Ok(step),
                        None => continue,
                    }
                }
                // What is given up is not gone on with.
                Reply::Restart if gives_up => continue,
                Reply::Restart => {
                    let (again, step) = restarted(&sign_in);
                    sign_in = again;
                    Ok(step)
                }
            };
            match next {
                Ok(next) => {
                    let logs_out = matches!(&next, SignInStep::Call { request, .. }
                        if request[..4] == LOG_OUT.to_le_bytes());
                    prop_assert!(!logs_out || gives_up);
                    prop_assert!(!gives_up || !matches!(next, SignInStep::Done(_)));
                }
                // It goes on after a while.
                Err(SignInError::Flood { .. }) => drop(sign_in.lost()),
                Err(_) => return Ok(()),
            }
        }
    }
}
