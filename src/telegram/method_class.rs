//! Classes of methods, by what an account does with them: what floods are counted by.
//!
//! Owns the table from a method of the client's layer to its class. A method of a later layer has no class,
//! nor has one that is wrapped in another.

use grammers_client::tl::{Identifiable as _, functions, name_for_id};

use crate::base::labels::labelled;

labelled! {
    /// What an account does with a method.
    pub(super) enum MethodClass {
        /// Says something: messages, media, forwards, reactions, stories.
        Send = "send",
        /// Changes what is there: edits, deletes, pins, settings, rights.
        Edit = "edit",
        /// Asks for what is there.
        Read = "read",
        /// Looks for somebody or something: names, phone numbers, texts.
        Search = "search",
        /// Brings itself or others into a chat, or out of it.
        Join = "join",
        /// Logs in or out.
        Login = "login",
        /// Brings a file to the server.
        Upload = "upload",
        /// Takes a file from it.
        Download = "download",
    }
}

/// Methods whose name tells nothing, or something else, by their constructor ids: they come before what is
/// told by names.
const BY_ID: &[(u32, MethodClass)] = &[
    (functions::account::GetPassword::CONSTRUCTOR_ID, MethodClass::Login),
    (functions::channels::InviteToChannel::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::channels::LeaveChannel::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::contacts::ImportContacts::CONSTRUCTOR_ID, MethodClass::Search),
    (functions::contacts::ResolvePhone::CONSTRUCTOR_ID, MethodClass::Search),
    (functions::contacts::ResolveUsername::CONSTRUCTOR_ID, MethodClass::Search),
    (functions::messages::AddChatUser::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::messages::CheckChatInvite::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::messages::CreateChat::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::messages::DeleteChatUser::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::messages::ImportChatInvite::CONSTRUCTOR_ID, MethodClass::Join),
    (functions::messages::SetTyping::CONSTRUCTOR_ID, MethodClass::Send),
    (functions::messages::StartBot::CONSTRUCTOR_ID, MethodClass::Send),
    (functions::messages::UploadMedia::CONSTRUCTOR_ID, MethodClass::Upload),
    (functions::photos::UploadProfilePhoto::CONSTRUCTOR_ID, MethodClass::Upload),
    (functions::upload::SaveBigFilePart::CONSTRUCTOR_ID, MethodClass::Upload),
    (functions::upload::SaveFilePart::CONSTRUCTOR_ID, MethodClass::Upload),
];

/// Families, by what stands before the point.
const BY_FAMILY: &[(&str, MethodClass)] = &[
    ("auth", MethodClass::Login),
    ("upload", MethodClass::Download),
    // What is asked for anew after a gap.
    ("updates", MethodClass::Read),
];

/// How the names of all others begin, after the point.
const BY_VERB: &[(&str, MethodClass)] = &[
    ("send", MethodClass::Send),
    ("forward", MethodClass::Send),
    ("vote", MethodClass::Send),
    ("search", MethodClass::Search),
    ("join", MethodClass::Join),
    ("get", MethodClass::Read),
    ("check", MethodClass::Read),
    ("read", MethodClass::Read),
    ("received", MethodClass::Read),
    ("add", MethodClass::Edit),
    ("block", MethodClass::Edit),
    ("create", MethodClass::Edit),
    ("delete", MethodClass::Edit),
    ("edit", MethodClass::Edit),
    ("save", MethodClass::Edit),
    ("set", MethodClass::Edit),
    ("toggle", MethodClass::Edit),
    ("unblock", MethodClass::Edit),
    ("unpin", MethodClass::Edit),
    ("update", MethodClass::Edit),
];

impl MethodClass {
    /// Returns the class of a method by its constructor id, if it is known.
    pub(super) fn of(method: u32) -> Option<Self> {
        let by_id = BY_ID.iter().find(|(id, _)| *id == method);
        by_id.map(|(_, class)| *class).or_else(|| Self::by_name(name_for_id(method)))
    }

    fn by_name(name: &str) -> Option<Self> {
        let (family, method) = name.split_once('.')?;
        let by_family = BY_FAMILY.iter().find(|(known, _)| *known == family);
        let found = by_family.or_else(|| BY_VERB.iter().find(|(verb, _)| method.starts_with(verb)));
        found.map(|(_, class)| *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::FLOOD_CLASSES_MAX;

    #[test]
    fn methods_are_classed_by_what_an_account_does_with_them() {
        use MethodClass::{Download, Edit, Join, Login, Read, Search, Send, Upload};

        for (method, class) in [
            (functions::messages::SendMessage::CONSTRUCTOR_ID, Send),
            (functions::messages::SendReaction::CONSTRUCTOR_ID, Send),
            (functions::messages::ForwardMessages::CONSTRUCTOR_ID, Send),
            (functions::messages::SetTyping::CONSTRUCTOR_ID, Send),
            (functions::messages::EditMessage::CONSTRUCTOR_ID, Edit),
            (functions::channels::EditBanned::CONSTRUCTOR_ID, Edit),
            (functions::account::UpdateProfile::CONSTRUCTOR_ID, Edit),
            (functions::users::GetUsers::CONSTRUCTOR_ID, Read),
            (functions::messages::GetHistory::CONSTRUCTOR_ID, Read),
            (functions::updates::GetDifference::CONSTRUCTOR_ID, Read),
            (functions::contacts::ResolveUsername::CONSTRUCTOR_ID, Search),
            (functions::contacts::ImportContacts::CONSTRUCTOR_ID, Search),
            (functions::messages::SearchGlobal::CONSTRUCTOR_ID, Search),
            (functions::channels::JoinChannel::CONSTRUCTOR_ID, Join),
            (functions::messages::ImportChatInvite::CONSTRUCTOR_ID, Join),
            (functions::channels::InviteToChannel::CONSTRUCTOR_ID, Join),
            (functions::auth::SendCode::CONSTRUCTOR_ID, Login),
            (functions::account::GetPassword::CONSTRUCTOR_ID, Login),
            (functions::upload::SaveBigFilePart::CONSTRUCTOR_ID, Upload),
            (functions::messages::UploadMedia::CONSTRUCTOR_ID, Upload),
            (functions::upload::GetFile::CONSTRUCTOR_ID, Download),
        ] {
            assert_eq!(MethodClass::of(method), Some(class), "{}", name_for_id(method));
        }
        for other in [functions::Ping::CONSTRUCTOR_ID, 7] {
            assert_eq!(MethodClass::of(other), None, "{}", name_for_id(other));
        }
    }

    #[test]
    fn the_classes_and_their_labels_are_few_and_in_order() {
        assert!(MethodClass::LABELS.len() <= FLOOD_CLASSES_MAX);
        for class in MethodClass::ALL {
            assert_eq!(MethodClass::LABELS[class as usize], class.label());
        }
    }
}
