//! What a server has said, in words that tell nothing of the key: names, lengths, codes and counts.
//!
//! Owns what is told of each message. Never tells an id, a salt, or what an answer says.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use telepool::telegram::client::tl::{
    Deserializable, Identifiable as _, enums, name_for_id, types,
};

const CONTAINER: u32 = 0x73f1_f8dc;
const RPC_RESULT: u32 = 0xf35c_6d01;
const GZIP_PACKED: u32 = 0x3072_cfa1;
const COPY: u32 = 0xe060_46b2;

/// How many bytes of a compressed answer are unpacked to tell its length.
const UNPACKED_LEN_MAX: u64 = 16 << 20;

fn word(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The name of the constructor that a body begins with, or its number.
pub(super) fn name_of(body: &[u8]) -> String {
    let Some(id) = word(body, 0) else { return "nothing".to_owned() };
    match id {
        CONTAINER => "msg_container".to_owned(),
        RPC_RESULT => "rpc_result".to_owned(),
        GZIP_PACKED => "gzip_packed".to_owned(),
        COPY => "msg_copy".to_owned(),
        id => match name_for_id(id) {
            name if name.starts_with('(') => format!("{id:#010x}"),
            name => name.to_owned(),
        },
    }
}

/// What is told of a message that came at this second of the clock here.
pub(super) fn describe(body: &[u8], now: i64) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("said".to_owned(), name_of(body).into());
    told.insert("len".to_owned(), body.len().into());
    let fields = match word(body, 0) {
        Some(RPC_RESULT) => Some(result(body.get(12..).unwrap_or_default())),
        Some(CONTAINER) => word(body, 4).map(|count| json!({ "messages": count })),
        _ => service(body, now),
    };
    if let Some(Value::Object(fields)) = fields {
        told.extend(fields);
    }
    told
}

/// An answer: what kind of object it is, or the error word for word.
fn result(answer: &[u8]) -> Value {
    if let Ok(enums::RpcError::Error(error)) = enums::RpcError::from_bytes(answer) {
        return json!({ "error": { "code": error.error_code, "text": error.error_message } });
    }
    if word(answer, 0) != Some(GZIP_PACKED) {
        return json!({ "answer": name_of(answer), "answer_len": answer.len() });
    }
    let packed = Vec::<u8>::from_bytes(answer.get(4..).unwrap_or_default()).unwrap_or_default();
    let mut plain = Vec::new();
    match GzDecoder::new(&packed[..]).take(UNPACKED_LEN_MAX).read_to_end(&mut plain) {
        Ok(_) => json!({
            "answer": name_of(&plain), "answer_len": plain.len(), "packed_len": packed.len()
        }),
        Err(_) => json!({ "answer": "damaged", "packed_len": packed.len() }),
    }
}

/// A message about messages.
fn service(body: &[u8], now: i64) -> Option<Value> {
    fn read<T: Deserializable>(body: &[u8]) -> Option<T> {
        T::from_bytes(body).ok()
    }
    Some(match word(body, 0)? {
        types::BadMsgNotification::CONSTRUCTOR_ID | types::BadServerSalt::CONSTRUCTOR_ID => {
            match read(body)? {
                enums::BadMsgNotification::Notification(it) => json!({ "code": it.error_code }),
                enums::BadMsgNotification::BadServerSalt(it) => json!({ "code": it.error_code }),
            }
        }
        types::MsgsAck::CONSTRUCTOR_ID => {
            let enums::MsgsAck::Ack(it) = read(body)?;
            json!({ "ids": it.msg_ids.len() })
        }
        types::FutureSalts::CONSTRUCTOR_ID => {
            let enums::FutureSalts::Salts(it) = read(body)?;
            let seconds = |at: i32| i64::from(at) - now;
            let salts = it.salts.0.iter();
            let valid = salts.map(|it| json!([seconds(it.valid_since), seconds(it.valid_until)]));
            json!({ "clock_s": seconds(it.now), "valid_s": valid.collect::<Vec<_>>() })
        }
        types::MsgDetailedInfo::CONSTRUCTOR_ID | types::MsgNewDetailedInfo::CONSTRUCTOR_ID => {
            match read(body)? {
                enums::MsgDetailedInfo::Info(it) => {
                    json!({ "bytes": it.bytes, "status": it.status })
                }
                enums::MsgDetailedInfo::MsgNewDetailedInfo(it) => {
                    json!({ "bytes": it.bytes, "status": it.status })
                }
            }
        }
        types::MsgsStateInfo::CONSTRUCTOR_ID => {
            let enums::MsgsStateInfo::Info(it) = read(body)?;
            json!({ "states": it.info })
        }
        types::MsgsStateReq::CONSTRUCTOR_ID => {
            let enums::MsgsStateReq::Req(it) = read(body)?;
            json!({ "ids": it.msg_ids.len() })
        }
        types::MsgResendReq::CONSTRUCTOR_ID => match read(body)? {
            enums::MsgResendReq::Req(it) => json!({ "ids": it.msg_ids.len() }),
            enums::MsgResendReq::MsgResendAnsReq(it) => json!({ "ids": it.msg_ids.len() }),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use telepool::telegram::client::tl::{RawVec, Serializable};

    use super::*;

    const SECRET: i64 = 0x1234_5678_9abc_def0;

    fn told(body: &[u8]) -> String {
        let text = Value::Object(describe(body, 1_000)).to_string();
        assert!(!text.contains(&SECRET.to_string()), "{text}");
        text
    }

    fn result_of(answer: &[u8]) -> Vec<u8> {
        [&RPC_RESULT.to_le_bytes()[..], &SECRET.to_le_bytes(), answer].concat()
    }

    #[test]
    fn codes_counts_and_lengths_are_told_and_no_id_and_no_salt() {
        let (bad_msg_id, new_server_salt) = (SECRET, SECRET);
        let salt =
            types::BadServerSalt { bad_msg_id, bad_msg_seqno: 1, error_code: 48, new_server_salt };
        let salt = enums::BadMsgNotification::BadServerSalt(salt).to_bytes();
        assert_eq!(told(&salt), r#"{"code":48,"len":28,"said":"bad_server_salt"}"#);
        let bad = types::BadMsgNotification { bad_msg_id, bad_msg_seqno: 1, error_code: 17 };
        let bad = enums::BadMsgNotification::Notification(bad).to_bytes();
        assert_eq!(told(&bad), r#"{"code":17,"len":20,"said":"bad_msg_notification"}"#);
        let created = types::NewSessionCreated {
            first_msg_id: SECRET,
            unique_id: SECRET,
            server_salt: SECRET,
        };
        let created = enums::NewSession::Created(created).to_bytes();
        assert_eq!(told(&created), r#"{"len":28,"said":"new_session_created"}"#);
        let acks = enums::MsgsAck::Ack(types::MsgsAck { msg_ids: vec![SECRET; 3] }).to_bytes();
        assert_eq!(told(&acks), r#"{"ids":3,"len":36,"said":"msgs_ack"}"#);
        let salt = types::FutureSalt { valid_since: 900, valid_until: 2_700, salt: SECRET };
        let salts = RawVec(vec![salt]);
        let salts = types::FutureSalts { req_msg_id: SECRET, now: 1_001, salts };
        let salts = told(&enums::FutureSalts::Salts(salts).to_bytes());
        assert!(salts.contains(r#""clock_s":1"#), "{salts}");
        assert!(salts.contains(r#""valid_s":[[-100,1700]]"#), "{salts}");
    }

    #[test]
    fn of_an_answer_its_kind_is_told_and_of_an_error_every_word() {
        let error = types::RpcError { error_code: 401, error_message: "NO".to_owned() };
        let error = told(&result_of(&enums::RpcError::Error(error).to_bytes()));
        assert!(error.contains(r#""error":{"code":401,"text":"NO"}"#), "{error}");
        let nearest = types::NearestDc { country: "XX".to_owned(), this_dc: 2, nearest_dc: 4 };
        let nearest = enums::NearestDc::Dc(nearest).to_bytes();
        let plain = told(&result_of(&nearest));
        assert!(plain.contains(r#""answer":"nearestDc""#) && !plain.contains("XX"), "{plain}");
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&nearest).unwrap();
        let packed = packer.finish().unwrap().to_bytes();
        let packed = told(&result_of(&[&GZIP_PACKED.to_le_bytes()[..], &packed].concat()));
        assert!(packed.contains(r#""answer":"nearestDc","answer_len":16"#), "{packed}");
        assert!(packed.contains(r#""packed_len":"#), "{packed}");
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_told_by_its_number() {
        assert_eq!(told(&[]), r#"{"len":0,"said":"nothing"}"#);
        assert_eq!(told(&[1, 2, 3, 4]), r#"{"len":4,"said":"0x04030201"}"#);
        let cut = types::FutureSalts::CONSTRUCTOR_ID.to_le_bytes();
        assert_eq!(told(&cut), r#"{"len":4,"said":"future_salts"}"#);
        assert_eq!(
            told(&result_of(&[])),
            r#"{"answer":"nothing","answer_len":0,"len":12,"said":"rpc_result"}"#
        );
    }
}
