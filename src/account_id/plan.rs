//! Which country codes there are, and where a zero may follow one.
//!
//! Owns what of the world's numbering plans is needed to keep one account's number from being read as
//! another's (ITU-T E.164 and its list of assigned codes). How long the numbers of most countries are, it
//! does not know: that changes every few months.

/// The codes of one digit and of two. All others have three.
const SHORT: [&[u16]; 2] = [
    &[1, 7],
    &[
        20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55,
        56, 57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
    ],
];

/// Those of three digits, from the first to the last of each row of neighbours. 999 is nobody's:
/// Telegram's test numbers begin so.
const LONG: [(u16, u16); 34] = [
    (211, 213),
    (216, 216),
    (218, 218),
    (220, 258),
    (260, 269),
    (290, 291),
    (297, 299),
    (350, 359),
    (370, 378),
    (380, 383),
    (385, 387),
    (389, 389),
    (420, 421),
    (423, 423),
    (500, 509),
    (590, 599),
    (670, 670),
    (672, 683),
    (685, 692),
    (800, 800),
    (808, 808),
    (850, 850),
    (852, 853),
    (855, 856),
    (870, 870),
    (878, 878),
    (880, 883),
    (886, 886),
    (888, 888),
    (960, 968),
    (970, 977),
    (979, 979),
    (992, 996),
    (998, 999),
];

/// Where the number in international form may go on with a zero: there it is a part of the number and
/// no trunk prefix. Italy and San Marino; Ivory Coast, Burkina Faso, Benin, Gabon, Congo; Tajikistan;
/// freephone, satellites, and the anonymous numbers of Telegram (+888).
const KEEPS_ZERO: [u16; 11] = [39, 225, 226, 229, 241, 242, 378, 800, 881, 888, 992];

/// How many digits the country code has that a number begins with. `None` if there is no such code.
pub(super) fn code_len(digits: &str) -> Option<usize> {
    let code = |len: usize| digits.get(..len).and_then(|code| code.parse::<u16>().ok());
    let short =
        (1..).zip(SHORT).find(|(len, codes)| code(*len).is_some_and(|it| codes.contains(&it)));
    if let Some((len, _)) = short {
        return Some(len);
    }
    let code = code(3)?;
    LONG.iter().any(|(first, last)| (*first..=*last).contains(&code)).then_some(3)
}

/// Whether a zero may follow this country code.
pub(super) fn keeps_zero(code: &str) -> bool {
    code.parse().is_ok_and(|code: u16| KEEPS_ZERO.contains(&code))
}

/// How many digits follow a country code, where that is fixed for long: in North America and the
/// Caribbean, and in Russia and Kazakhstan, whose 8 and 1 of the trunk would otherwise be taken along.
pub(super) fn national_len(code: &str) -> Option<usize> {
    matches!(code, "1" | "7").then_some(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_begins_with_another() {
        let codes = (1_u16..1000).map(|code| code.to_string());
        let codes: Vec<_> = codes.filter(|code| code_len(code) == Some(code.len())).collect();
        // 215 of the ITU's list, and 999.
        assert_eq!(codes.len(), 216);
        for code in &codes {
            let longer = codes.iter().filter(|it| it.starts_with(code.as_str()));
            assert_eq!(longer.count(), 1, "{code}");
        }
    }

    #[test]
    fn where_a_zero_stays_is_a_country() {
        for code in KEEPS_ZERO.map(|code| code.to_string()) {
            assert!(code_len(&code) == Some(code.len()) && keeps_zero(&code), "{code}");
        }
    }
}
