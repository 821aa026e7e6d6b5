//! Answers that need no login: which data centre is near, and the configuration of applications.
//!
//! Owns their bodies. The configuration is as large as the real one and comes compressed, so that clients have such an
//! answer to unpack.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use grammers_tl_types::{Serializable, enums, types};

const GZIP_PACKED: u32 = 0x3072_cfa1;
/// How many settings the configuration has.
const SETTINGS: u32 = 1_000;
/// By which a client knows whether it has changed: it never does.
const HASH: i32 = 1;

/// Whoever asks is near this data centre.
pub(super) fn nearest_dc(dc: i32) -> Vec<u8> {
    // No country has this code.
    let country = "ZZ".to_owned();
    enums::NearestDc::Dc(types::NearestDc { country, this_dc: dc, nearest_dc: dc }).to_bytes()
}

/// The configuration of applications, unless the client has it.
pub(super) fn app_config(hash: i32) -> Vec<u8> {
    if hash == HASH {
        return enums::help::AppConfig::NotModified.to_bytes();
    }
    let setting = |number: u32| {
        let value = enums::Jsonvalue::JsonNumber(types::JsonNumber { value: number.into() });
        let key = format!("sandbox_setting_{number}");
        enums::JsonobjectValue::JsonObjectValue(types::JsonObjectValue { key, value })
    };
    let value = (0..SETTINGS).map(setting).collect();
    let config = enums::Jsonvalue::JsonObject(types::JsonObject { value });
    packed(&enums::help::AppConfig::Config(types::help::AppConfig { hash: HASH, config }))
}

/// A compressed object, as the real servers send large answers.
fn packed(object: &impl Serializable) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let written = packer.write_all(&object.to_bytes()).and_then(|()| packer.finish());
    let mut body = GZIP_PACKED.to_bytes();
    written.expect("BUG: memory takes whatever is written").serialize(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use grammers_tl_types::Deserializable as _;

    use super::*;

    #[test]
    fn the_configuration_comes_compressed_and_only_to_whoever_lacks_it() {
        let body = app_config(0);
        assert_eq!(body[..4], GZIP_PACKED.to_bytes());
        let stream = Vec::<u8>::from_bytes(&body[4..]).unwrap();
        let mut plain = Vec::new();
        GzDecoder::new(&stream[..]).read_to_end(&mut plain).unwrap();
        assert!(plain.len() > 20_000 && stream.len() < plain.len() / 2, "{}", stream.len());
        let config = enums::help::AppConfig::from_bytes(&plain).unwrap();
        let enums::help::AppConfig::Config(config) = config else { panic!("it was not known") };
        let again = enums::help::AppConfig::from_bytes(&app_config(config.hash)).unwrap();
        assert_eq!(again, enums::help::AppConfig::NotModified);
        let enums::NearestDc::Dc(near) = enums::NearestDc::from_bytes(&nearest_dc(4)).unwrap();
        assert_eq!((near.this_dc, near.nearest_dc), (4, 4));
    }
}
