//! Every format that a session string can have, written by its documented layout with every length
//! there is: each is read as itself and never as another.

use super::*;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

/// The 256 bytes of a key, as they stand in every format.
fn key_bytes(seed: u64) -> [u8; 256] {
    let mut state = seed | 1;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    })
}

/// `1` + base64 of `>BH`, the address as text, `>H256s`, padded, in the ordinary alphabet.
fn gramjs(dc: u8, host: &str, port: u16, key: &[u8; 256]) -> String {
    let len = u16::try_from(host.len()).unwrap();
    let parts: [&[u8]; 5] =
        [&[dc], &len.to_be_bytes(), host.as_bytes(), &port.to_be_bytes(), &key[..]];
    format!("1{}", STANDARD.encode(parts.concat()))
}

/// `1` + base64 of `>B4sH256s` or `>B16sH256s`, padded.
fn telethon(dc: u8, at: SocketAddr, key: &[u8; 256]) -> String {
    let ip = match at.ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let parts: [&[u8]; 4] = [&[dc], &ip, &at.port().to_be_bytes(), &key[..]];
    format!("1{}", URL_SAFE.encode(parts.concat()))
}

/// `>BI?256sQ?`, `>B?256sQ?` or `>B?256sI?`, not padded.
fn pyrogram(
    format: SessionFormat,
    dc: u8,
    test: bool,
    user: impl Into<u64>,
    bot: bool,
    key: &[u8; 256],
) -> String {
    let user = user.into();
    let api_id = if format == SessionFormat::Pyrogram2 { &[0, 0, 0x30, 0x39][..] } else { &[] };
    let user = if format == SessionFormat::Pyrogram1Narrow {
        u32::try_from(user).unwrap().to_be_bytes().to_vec()
    } else {
        user.to_be_bytes().to_vec()
    };
    let parts: [&[u8]; 6] = [&[dc], api_id, &[u8::from(test)], &key[..], &user, &[u8::from(bot)]];
    URL_SAFE_NO_PAD.encode(parts.concat())
}

/// Bytes as TL has them: their length in front, and zeros up to a multiple of four behind.
fn tl_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut text = match u8::try_from(bytes.len()) {
        Ok(len) if len < 254 => vec![len],
        _ => [&[254], &u32::try_from(bytes.len()).unwrap().to_le_bytes()[..3]].concat(),
    };
    text.extend(bytes);
    text.resize(text.len().next_multiple_of(4), 0);
    text
}

/// Whose session it is.
#[derive(Clone, Copy)]
struct Own {
    user: u32,
    is_bot: bool,
}

/// The string of a version of mtcute, not padded.
fn mtcute(
    version: u8,
    dc: u8,
    at: SocketAddr,
    test: bool,
    media: bool,
    own: Option<Own>,
    key: &[u8; 256],
) -> String {
    let option = |is_media: bool| {
        let is_v6 = u8::from(at.is_ipv6());
        let flags = is_v6 | u8::from(is_media) << 1;
        let (ip, port) = (tl_bytes(at.ip().to_string().as_bytes()), u32::from(at.port()));
        let port = port.to_le_bytes();
        match version {
            3 => {
                let flags = flags | u8::from(test) << 2;
                tl_bytes(&[&[2, dc, flags], &ip[..], &port[..]].concat())
            }
            _ => {
                let numbers = [0x18b7_a10d, u32::from(flags), u32::from(dc)];
                let numbers = numbers.map(u32::to_le_bytes).concat();
                [&numbers[..], &ip[..], &port[..]].concat()
            }
        }
    };
    let flags = u8::from(own.is_some())
        | u8::from(test && version < 3) << 1
        | u8::from(media && version > 1) << 2;
    let mut bytes = [&[version, flags, 0, 0, 0], &option(false)[..]].concat();
    if media && version > 1 {
        bytes.extend(option(true));
    }
    if let Some(Own { user, is_bot }) = own {
        let told: u32 = if is_bot { 0x9972_75b5 } else { 0xbc79_9737 };
        bytes.extend(u64::from(user).to_le_bytes());
        bytes.extend(told.to_le_bytes());
    }
    bytes.extend(tl_bytes(key));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The string of MTKruto, of late with the application and the user: runs of zeros are packed.
fn mtkruto(dc: u8, test: bool, own: Option<Own>, key: &[u8; 256]) -> String {
    let dc = format!("{dc}{}", if test { "-test" } else { "" });
    let mut bytes = [tl_bytes(dc.as_bytes()), tl_bytes(key)].concat();
    if let Some(Own { user, is_bot }) = own {
        bytes.extend(12345u32.to_le_bytes());
        bytes.push(u8::from(is_bot));
        bytes.extend(u64::from(user).to_le_bytes());
    }
    let mut packed = Vec::new();
    for run in bytes.chunk_by(|one, other| *one == 0 && *other == 0) {
        match run {
            [0, ..] => {
                let parts = run.chunks(255).map(|part| u8::try_from(part.len()).unwrap());
                packed.extend(parts.flat_map(|count| [0, count]));
            }
            _ => packed.extend(run),
        }
    }
    URL_SAFE_NO_PAD.encode(packed)
}

const FORMATS: [SessionFormat; 7] = [
    SessionFormat::Telethon,
    SessionFormat::GramJs,
    SessionFormat::Pyrogram2,
    SessionFormat::Pyrogram1,
    SessionFormat::Pyrogram1Narrow,
    SessionFormat::Mtcute,
    SessionFormat::MtKruto,
];

fn read_string(text: &str) -> SessionString {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn gramjs_strings_are_read_with_an_address_of_any_length() {
    let key = key_bytes(7);
    // 13 and 15 characters make as many as Telethon writes for IPv6, and 14 as many bytes.
    for host in [
        "1.2.3.4",
        "91.108.56.130",
        "149.154.167.91",
        "149.154.175.100",
        "::1",
        "2001:67c:4e8:f002::a",
    ] {
        let session = read_string(&gramjs(2, host, 443, &key));
        assert_eq!((session.format, session.dc), (SessionFormat::GramJs, 2), "{host}");
        let at = SocketAddr::new(host.parse().unwrap(), 443);
        assert_eq!(session.address, Some(at), "{host}");
        assert_eq!(session.key, AuthKey::new(key), "{host}");
    }
}

#[test]
fn a_gramjs_string_with_the_name_of_a_host_takes_its_address_from_the_table() {
    // The first of them has 14 characters too.
    for host in ["dc.example.org", "vesta.web.telegram.org", "localhost"] {
        let text = gramjs(4, host, 443, &key_bytes(7));
        assert_eq!(read_string(&text).address, None, "{host}");
        let text = line(r#""phone": "+442079460958""#, &text, "");
        let [record] =
            read_all(text.as_bytes(), &DataCentres::production()).unwrap().try_into().unwrap();
        assert_eq!(Some(record.address), DataCentres::production().address(4), "{host}");
    }
}

#[test]
fn a_gramjs_string_that_is_damaged_is_refused_without_contradiction() {
    let key = key_bytes(7);
    let whole = gramjs(2, "149.154.167.91", 443, &key);
    for (text, error) in [
        // Two characters are no address, and neither is what follows.
        (gramjs(2, "149-154_167 9", 443, &key), SessionStringError::Damaged),
        (gramjs(2, "0.0.0.0", 443, &key), SessionStringError::Damaged),
        (gramjs(2, "149.154.167.91", 0, &key), SessionStringError::Damaged),
        (gramjs(0, "149.154.167.91", 443, &key), SessionStringError::DataCentre),
        (gramjs(2, "149.154.167.91", 443, &[0; 256]), SessionStringError::NoKey),
        (whole[..whole.len() - 5].to_owned(), SessionStringError::Damaged),
        (whole[1..].to_owned(), SessionStringError::VersionMissing),
        (format!("2{}", &whole[1..]), SessionStringError::Version),
    ] {
        assert_eq!(text.parse::<SessionString>().unwrap_err(), error);
    }
}

fn any_host() -> impl Strategy<Value = String> {
    let label = "[a-z][a-z0-9]{0,20}";
    prop_oneof![
        (1u32..).prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        (1u128..).prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        proptest::collection::vec(label, 2..12).prop_map(|labels| labels.join(".")),
    ]
}

/// An address that a host can have: the block 0000::/8 is no host's.
fn any_host_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        (1u32 << 24..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
        (1u128 << 120..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
    ];
    (ip, 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn each_format_is_read_as_itself_and_never_as_another(
        (dc, seed, user) in (1u8.., any::<u64>(), 1u32..),
        (host, at) in (any_host(), any_host_address()),
        (test, bot, media, known, version) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 1u8..=3),
    ) {
        let key = key_bytes(seed);
        let own = known.then_some(Own { user, is_bot: bot });
        for format in FORMATS {
            let text = match format {
                SessionFormat::Telethon => telethon(dc, at, &key),
                SessionFormat::GramJs => gramjs(dc, &host, at.port(), &key),
                SessionFormat::Mtcute => mtcute(version, dc, at, test, media, own, &key),
                SessionFormat::MtKruto => mtkruto(dc, test, own, &key),
                _ => pyrogram(format, dc, test, user, bot, &key),
            };
            let session = read_string(&text);
            prop_assert_eq!((session.format, session.dc), (format, i32::from(dc)));
            prop_assert_eq!(&session.key, &AuthKey::new(key));
            let wanted = match format {
                SessionFormat::Telethon | SessionFormat::Mtcute => Some(at),
                SessionFormat::GramJs => {
                    host.parse().ok().map(|ip| SocketAddr::new(ip, at.port()))
                }
                _ => None,
            };
            prop_assert_eq!(session.address, wanted);
            let told = (session.user_id, session.is_bot, session.test_mode);
            if matches!(format, SessionFormat::Telethon | SessionFormat::GramJs) {
                prop_assert_eq!(told, (None, None, None));
            } else if matches!(format, SessionFormat::Mtcute | SessionFormat::MtKruto) {
                let own = own.map(|own| (i64::from(own.user), own.is_bot)).unzip();
                prop_assert_eq!(told, (own.0, own.1, Some(test)));
            } else {
                prop_assert_eq!(told, (Some(i64::from(user)), Some(bot), Some(test)));
            }
        }
    }

    /// Whatever is missing, at either end: nothing is read from what is left. (But for three lengths at
    /// which nothing can tell: any bytes are an address and a key to Telethon, and what Pyrogram 2 begins
    /// with is a string of the oldest Pyrogram.)
    #[test]
    fn a_part_of_a_string_is_none(
        (dc, seed, user) in (1u8..=5, any::<u64>(), 1u32..),
        (host, at) in (any_host(), any_host_address()),
        cut in 1usize..351,
    ) {
        // In the place of a flag and of a user's number, the end of this key is none, nor is its beginning
        // in that of a flag: a Pyrogram 2 without its first six characters would be one of Pyrogram 1.
        let mut key = key_bytes(seed);
        key[0] |= 0x20;
        key[252..].fill(0xff);
        for format in FORMATS {
            let text = match format {
                SessionFormat::Telethon => telethon(dc, at, &key),
                SessionFormat::GramJs => gramjs(dc, &host, at.port(), &key),
                SessionFormat::Mtcute => mtcute(3, dc, at, false, true, None, &key),
                // The later form of it without its end is the one of before.
                SessionFormat::MtKruto => mtkruto(dc, false, None, &key),
                _ => pyrogram(format, dc, false, user, false, &key),
            };
            let text = text.trim_end_matches('=');
            if matches!(text.len() - cut, 351 | 352 | 368) {
                continue;
            }
            prop_assert!(text[cut..].parse::<SessionString>().is_err(), "{:?}", format);
            prop_assert!(text[..text.len() - cut].parse::<SessionString>().is_err(), "{:?}", format);
        }
    }
}

#[test]
fn a_string_whose_user_no_user_can_be_is_damaged() {
    let of = |user: u64| {
        let text = pyrogram(SessionFormat::Pyrogram2, 2, false, user, true, &key_bytes(7));
        text.parse::<SessionString>().map(|session| session.user_id)
    };
    assert_eq!(of(1_099_511_627_775).unwrap(), Some(1_099_511_627_775));
    assert!(matches!(of(1_099_511_627_776), Err(SessionStringError::Damaged)));
}

#[test]
fn what_mtcute_or_mtkruto_wrote_and_is_of_no_use_is_told_apart_from_what_is_damaged() {
    let (at, key) = ("149.154.167.51:443".parse().unwrap(), key_bytes(7));
    for (text, error) in [
        (mtcute(3, 2, at, false, true, None, &[0; 256]), SessionStringError::NoKey),
        (mtcute(2, 0, at, false, false, None, &key), SessionStringError::DataCentre),
        (mtkruto(0, false, None, &key), SessionStringError::DataCentre),
        (mtkruto(2, true, None, &[0; 256]), SessionStringError::NoKey),
    ] {
        assert_eq!(text.parse::<SessionString>().unwrap_err(), error);
    }
    let text = mtcute(4, 2, at, false, true, None, &key);
    assert!(matches!(text.parse::<SessionString>(), Err(SessionStringError::Length { .. })));
}

#[test]
fn what_copying_puts_around_and_into_a_string_is_taken_away() {
    for text in
        [TELETHON_V4, TELETHON_V6, PYROGRAM_2, PYROGRAM_1, PYROGRAM_1_NARROW, MTCUTE_3, MTKRUTO]
    {
        let plain = read_string(text);
        let wrapped: Vec<String> = text
            .as_bytes()
            .chunks(76)
            .map(|part| String::from_utf8(part.to_vec()).unwrap())
            .collect();
        for pasted in [
            format!("\"{text}\""),
            format!("'{text}'"),
            format!("b'{text}'"),
            format!("b\"{text}\""),
            format!("“{text}”"),
            format!("SESSION={text}"),
            format!("export TG_SESSION=\"{text}\""),
            format!("session_string = '{text}',"),
            format!("StringSession('{text}')"),
            format!("StringSession(\"{text}\")"),
            format!("session = sessions.StringSession(b'{text}'),"),
            format!("const session = new StringSession(\"{text}\");"),
            format!("{text}."),
            format!("“{text}”."),
            format!("<{text}>"),
            text.replace('=', "%3D"),
            format!("session={}", text.replace('=', "%3d").replace('-', "%2B").replace('_', "%2f")),
            format!("{}%0A", text.replace('=', "%253D")),
            format!("\u{feff}{text}"),
            format!("\u{200b}{text}\u{200b}"),
            format!("\u{a0}{text}\u{202f}"),
            wrapped.join("\n"),
            wrapped.join("\r\n  "),
            wrapped.join("\u{200b}"),
        ] {
            assert_eq!(pasted.parse::<SessionString>(), Ok(plain.clone()), "{:?}", &pasted[..12]);
        }
    }
}

#[test]
fn a_token_in_the_place_of_a_session_is_named_and_not_repeated() {
    let secret = "AAE-x_0123456789abcdefghijABCDEFGHI";
    let token = format!("5000000000:{secret}");
    for pasted in [
        token.clone(),
        format!("\\\"{token}\\\""),
        format!("TOKEN={token}"),
        format!(" bot{token}."),
        token.replace(':', "%3A"),
    ] {
        let told = problem(&line(r#""bot_id": 5000000000"#, &pasted, ""));
        assert!(told.contains("`session`: this is a bot's token"), "{told}");
        assert!(told.contains("log the bot in with it"), "{told}");
        assert!(!told.contains(&secret[..8]), "{told}");
    }
}

#[test]
fn a_lost_first_character_is_named() {
    for text in [TELETHON_V4, TELETHON_V6] {
        let error = text[1..].parse::<SessionString>().unwrap_err();
        assert_eq!(error, SessionStringError::VersionMissing);
        assert!(error.to_string().contains("put the 1 in front"), "{error}");
    }
    for text in [PYROGRAM_2, PYROGRAM_1, PYROGRAM_1_NARROW] {
        let error = text[1..].parse::<SessionString>().unwrap_err().to_string();
        assert!(error.contains("copy it"), "{error}");
    }
}
