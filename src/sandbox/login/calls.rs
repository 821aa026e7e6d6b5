//! Calls by which somebody signs in or out.
//!
//! Owns the reading of them. Never carries one out.

use grammers_tl_types::{Deserializable, Identifiable, functions};

/// One of them.
#[derive(Debug, PartialEq)]
pub(in crate::sandbox) enum LoginCall {
    SendCode(functions::auth::SendCode),
    ResendCode(functions::auth::ResendCode),
    CancelCode(functions::auth::CancelCode),
    SignIn(functions::auth::SignIn),
    ImportBot(functions::auth::ImportBotAuthorization),
    ExportToken(functions::auth::ExportLoginToken),
    ImportToken(functions::auth::ImportLoginToken),
    AcceptToken(functions::auth::AcceptLoginToken),
    Password,
    CheckPassword(functions::auth::CheckPassword),
    LogOut,
    Export(functions::auth::ExportAuthorization),
    Import(functions::auth::ImportAuthorization),
}

impl LoginCall {
    /// Reads the arguments of a method. `None`: it is none of these; `Some(None)`: they can not be read.
    pub(in crate::sandbox) fn read(id: u32, arguments: &[u8]) -> Option<Option<Self>> {
        use functions::auth;
        fn arguments_of<T: Deserializable>(
            bytes: &[u8],
            of: fn(T) -> LoginCall,
        ) -> Option<LoginCall> {
            T::from_bytes(bytes).ok().map(of)
        }
        Some(match id {
            auth::SendCode::CONSTRUCTOR_ID => arguments_of(arguments, Self::SendCode),
            auth::ResendCode::CONSTRUCTOR_ID => arguments_of(arguments, Self::ResendCode),
            auth::CancelCode::CONSTRUCTOR_ID => arguments_of(arguments, Self::CancelCode),
            auth::SignIn::CONSTRUCTOR_ID => arguments_of(arguments, Self::SignIn),
            auth::ImportBotAuthorization::CONSTRUCTOR_ID => {
                arguments_of(arguments, Self::ImportBot)
            }
            auth::ExportLoginToken::CONSTRUCTOR_ID => arguments_of(arguments, Self::ExportToken),
            auth::ImportLoginToken::CONSTRUCTOR_ID => arguments_of(arguments, Self::ImportToken),
            auth::AcceptLoginToken::CONSTRUCTOR_ID => arguments_of(arguments, Self::AcceptToken),
            functions::account::GetPassword::CONSTRUCTOR_ID => Some(Self::Password),
            auth::CheckPassword::CONSTRUCTOR_ID => arguments_of(arguments, Self::CheckPassword),
            auth::LogOut::CONSTRUCTOR_ID => Some(Self::LogOut),
            auth::ExportAuthorization::CONSTRUCTOR_ID => arguments_of(arguments, Self::Export),
            auth::ImportAuthorization::CONSTRUCTOR_ID => arguments_of(arguments, Self::Import),
            _ => return None,
        })
    }
}
