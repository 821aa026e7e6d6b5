//! Bodies of the calls that a sign-in makes.
//!
//! Owns their arguments. Never decides which comes next.

use grammers_tl_types::{Serializable as _, enums, functions, types};

use super::sent_code::CodeDelivery;
use super::{Application, SignInWay};
use crate::account_id::AccountId;

/// A number as Telegram takes it, with the code of the country.
fn digits(phone: AccountId) -> String {
    phone.number().to_string()
}

/// The call with which a sign-in begins.
pub(super) fn first(application: &Application, way: &SignInWay) -> Vec<u8> {
    let (api_id, api_hash) = (application.id, application.hash.to_string());
    match way {
        SignInWay::Phone { number, logout_tokens } => {
            // Calls that are not to be taken, and what only an app on the phone can have, are of no use here.
            let settings = types::CodeSettings {
                allow_flashcall: false,
                current_number: false,
                allow_app_hash: false,
                allow_missed_call: false,
                allow_firebase: false,
                unknown_number: false,
                logout_tokens: (!logout_tokens.is_empty())
                    .then(|| logout_tokens.iter().map(|token| token.to_vec()).collect()),
                token: None,
                app_sandbox: None,
            };
            let settings = enums::CodeSettings::Settings(settings);
            let phone_number = digits(*number);
            functions::auth::SendCode { phone_number, api_id, api_hash, settings }.to_bytes()
        }
        SignInWay::Bot(token) => {
            let bot_auth_token = token.to_string();
            functions::auth::ImportBotAuthorization { flags: 0, api_id, api_hash, bot_auth_token }
                .to_bytes()
        }
        SignInWay::Scan { except } => {
            let except_ids = except.clone();
            functions::auth::ExportLoginToken { api_id, api_hash, except_ids }.to_bytes()
        }
    }
}

/// The code that somebody has entered.
pub(super) fn sign_in(
    phone: AccountId,
    hash: &str,
    code: &str,
    delivery: &CodeDelivery,
) -> Vec<u8> {
    let code = code.to_owned();
    let (phone_code, email_verification) = match delivery.is_email() {
        true => {
            let code = enums::EmailVerification::Code(types::EmailVerificationCode { code });
            (None, Some(code))
        }
        false => (Some(code), None),
    };
    let (phone_number, phone_code_hash) = (digits(phone), hash.to_owned());
    functions::auth::SignIn { phone_number, phone_code_hash, phone_code, email_verification }
        .to_bytes()
}

/// Another code, by the next way.
pub(super) fn resend(phone: AccountId, hash: &str) -> Vec<u8> {
    let (phone_number, phone_code_hash) = (digits(phone), hash.to_owned());
    functions::auth::ResendCode { phone_number, phone_code_hash, reason: None }.to_bytes()
}

/// The code is not wanted any more.
pub(super) fn cancel(phone: AccountId, hash: &str) -> Vec<u8> {
    let (phone_number, phone_code_hash) = (digits(phone), hash.to_owned());
    functions::auth::CancelCode { phone_number, phone_code_hash }.to_bytes()
}

/// Takes over, at another data centre, a login that was scanned.
pub(super) fn import(token: &[u8]) -> Vec<u8> {
    functions::auth::ImportLoginToken { token: token.to_vec() }.to_bytes()
}

/// What a password is checked by.
pub(super) fn challenge() -> Vec<u8> {
    functions::account::GetPassword {}.to_bytes()
}

/// The proof that somebody has the password.
pub(super) fn check(password: types::InputCheckPasswordSrp) -> Vec<u8> {
    let password = enums::InputCheckPasswordSrp::Srp(password);
    functions::auth::CheckPassword { password }.to_bytes()
}

/// Who is signed in with the key, if anybody is.
pub(super) fn oneself() -> Vec<u8> {
    functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] }.to_bytes()
}

pub(super) fn log_out() -> Vec<u8> {
    functions::auth::LogOut {}.to_bytes()
}
