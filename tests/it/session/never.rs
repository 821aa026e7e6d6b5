//! What holds for all inputs: round trips, and no panic on hostile bytes.

use super::*;

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        (1u32..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
        (1u128..).prop_map(|ip| std::net::IpAddr::from(ip.to_be_bytes())),
    ];
    (ip, 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_key() -> impl Strategy<Value = AuthKey> {
    // Not the all-zero key, which stands for none.
    (1u8.., any::<u64>()).prop_map(|(first, seed)| {
        AuthKey::new(std::array::from_fn(|i| {
            if i == 0 {
                first
            } else {
                seed.rotate_left(u32::try_from(i).unwrap()).to_le_bytes()[i % 8]
            }
        }))
    })
}

fn any_record() -> impl Strategy<Value = SessionRecord> {
    let account = prop_oneof![
        // Of Great Britain and of Ivory Coast, where a zero may stand behind the code.
        (442_000_000_000u64..443_000_000_000).prop_map(|n| AccountId::phone(n).unwrap()),
        (2_250_000_000_000u64..2_260_000_000_000).prop_map(|n| AccountId::phone(n).unwrap()),
        (1u64..1 << 40).prop_map(|n| AccountId::bot(n).unwrap()),
    ];
    let group = proptest::option::of("[a-z\"\\\\é]{1,20}");
    (account, 0u16..64, 1i32..256, any_address(), 0i64..1 << 40, any_key(), group, any::<bool>())
        .prop_map(|(account, slot, dc, address, user_id, key, group, proxied)| {
            let mut record = SessionRecord::new(account, dc, address, key);
            (record.slot, record.user_id) = (slot, user_id);
            record.group = group.map(Into::into);
            let proxy = || "socks5://us\"er:pass@127.0.0.1:1080".parse().unwrap();
            record.proxy = proxied.then(|| std::sync::Arc::new(proxy()));
            record
        })
}

proptest! {
    #[test]
    fn a_telethon_string_reads_back(dc in 1i32..256, at in any_address(), key in any_key()) {
        let session: SessionString = telethon_string(dc, at, &key).unwrap().parse().unwrap();
        prop_assert_eq!((session.dc, session.address, &session.key), (dc, Some(at), &key));
    }

    #[test]
    fn a_written_line_reads_back(record in any_record()) {
        let mut text = Vec::new();
        write_line(&mut text, &record).unwrap();
        prop_assert!(text.len() <= LINE_LEN_MAX);
        let [back] = read_all(&text[..], &DataCentres::new()).unwrap().try_into().unwrap();
        prop_assert_eq!(
            (back.account, back.slot, back.dc, back.address, back.user_id, back.is_bot),
            (record.account, record.slot, record.dc, record.address, record.user_id, record.is_bot)
        );
        prop_assert_eq!((back.group, back.proxy, back.key), (record.group, record.proxy, record.key));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(SessionString::parse(&bytes));
        read(&bytes[..], &DataCentres::production()).for_each(drop);
    }

    #[test]
    fn a_mangled_string_never_panics(at in 0usize..351, byte in any::<u8>(), cut in 0usize..351) {
        for text in [TELETHON_V4, TELETHON_V6, PYROGRAM_2, PYROGRAM_1, PYROGRAM_1_NARROW] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = byte;
            drop(SessionString::parse(&bytes));
            bytes.truncate(cut);
            prop_assert!(SessionString::parse(&bytes).is_err());
        }
    }

    #[test]
    fn a_mangled_line_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut bytes = line(r#""phone": 442079460958"#, TELETHON_V4, r#", "slot": 1"#).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        read(&bytes[..], &DataCentres::production()).for_each(drop);
    }
}
