//! Updates of a connection of the wire, as the lane of its account takes them.
//!
//! Owns the reading of them. Never waits for a slow lane.

use grammers_client::session::updates::UpdatesLike;
use grammers_client::tl::{Deserializable, Identifiable, enums, functions};

use crate::base::text::display_safely;
use crate::manager::{Reaction, TrafficCounters};
use crate::telegram::health::ConnectionHealth;
use crate::telegram::rpc::{method, unwrapped};
use crate::telegram::updates::FeedSource;
use crate::telegram::wire::{WireError, WireUpdate};
use crate::telegram::{TelegramError, verdict};

/// Hands over what a connection brings unasked.
pub(super) fn hand_over(
    update: WireUpdate,
    feed: &FeedSource,
    health: &ConnectionHealth,
    traffic: &TrafficCounters,
) {
    let updates = match update {
        WireUpdate::Gap => return feed.put_gap(),
        WireUpdate::Rejected { code, message } => {
            let error = TelegramError::from(WireError::Rpc { code, message });
            if verdict(&error).reaction != Reaction::Keep {
                // What is wrong with the key the next dial finds out.
                health.mark_broken();
                let error = display_safely(&error);
                tracing::info!(%error, "a call that nobody waited for was refused");
            }
            return;
        }
        _ if !feed.0.is_attached() => return,
        WireUpdate::Pushed(bytes) => pushed(&bytes),
        WireUpdate::Own { request, answer } => match own(&request, &answer) {
            Some(updates) => updates,
            // It has changed something, and what cannot be told: the lane asks the server.
            None => return feed.put_gap(),
        },
    };
    if feed.put(updates) {
        traffic.count_update();
    }
}

fn pushed(bytes: &[u8]) -> UpdatesLike {
    enums::Updates::from_bytes(bytes).map_or(UpdatesLike::MalformedUpdates, UpdatesLike::Updates)
}

/// What the answer of a call tells of the order of things.
fn own(request: &[u8], answer: &[u8]) -> Option<UpdatesLike> {
    if let Ok(updates) = enums::Updates::from_bytes(answer) {
        return Some(match updates {
            enums::Updates::UpdateShortSentMessage(update) => {
                // It does not repeat what was sent.
                let request = called::<functions::messages::SendMessage>(request)?;
                UpdatesLike::ShortSentMessage { request, update }
            }
            updates => UpdatesLike::Updates(updates),
        });
    }
    if let Ok(invited) = enums::messages::InvitedUsers::from_bytes(answer) {
        let enums::messages::InvitedUsers::Users(invited) = invited;
        return Some(UpdatesLike::InvitedUsers(invited));
    }
    if let Ok(joined) = enums::messages::ChatInviteJoinResult::from_bytes(answer) {
        return match joined {
            enums::messages::ChatInviteJoinResult::Ok(joined) => {
                Some(UpdatesLike::ChatInviteJoinResult(joined))
            }
            // Nothing has happened yet.
            _ => None,
        };
    }
    let affected = enums::messages::AffectedMessages::from_bytes(answer).ok()?;
    let enums::messages::AffectedMessages::Messages(affected) = affected;
    let channel = called::<functions::channels::DeleteMessages>(request).and_then(|request| {
        let enums::InputChannel::Channel(channel) = request.channel else { return None };
        Some((channel.channel_id, request.id))
    });
    Some(match channel {
        Some((channel_id, message_ids)) => {
            UpdatesLike::AffectedChannelMessages { affected, channel_id, message_ids }
        }
        None => UpdatesLike::AffectedMessages(affected),
    })
}

/// The request, if it is of this method.
fn called<R: Identifiable + Deserializable>(request: &[u8]) -> Option<R> {
    if method(request) != R::CONSTRUCTOR_ID {
        return None;
    }
    R::from_bytes(&unwrapped(request)[4..]).ok()
}
