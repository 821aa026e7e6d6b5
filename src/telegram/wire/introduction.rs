//! Introduction of a connection: what stands in front of its first calls.
//!
//! Owns its form. Never decides who introduces himself as what.

use std::sync::Arc;

use grammers_client::tl::{self, Serializable as _, functions};

use crate::session::ClientIdentity;

/// `invokeWithLayer(initConnection(.., X))` without `X`, for [`WireOptions::introduction`](super::WireOptions).
#[must_use]
pub fn introduction(api_id: i32, identity: ClientIdentity) -> Arc<[u8]> {
    let query = functions::InitConnection {
        api_id,
        device_model: identity.device_model,
        system_version: identity.system_version,
        app_version: identity.app_version,
        system_lang_code: identity.system_lang_code,
        lang_pack: String::new(),
        lang_code: identity.lang_code,
        proxy: None,
        params: None,
        query: functions::help::GetConfig {},
    };
    let mut bytes = functions::InvokeWithLayer { layer: tl::LAYER, query }.to_bytes();
    // What has no arguments is as long as its name.
    bytes.truncate(bytes.len() - 4);
    bytes.into()
}
