//! How people write phone numbers.
//!
//! Owns the spellings. What could be two numbers is refused and never guessed: the wrong one is another
//! person's account.

use super::ParseAccountError;
use super::plan::{code_len, keeps_zero, national_len};

/// E.164 allows fifteen digits; no number plan in use has fewer than seven.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Where reading ends: more digits than any number has, an access code of two and a bracketed zero.
const DIGITS_MAX: usize = 18;

/// The number in international form, of whatever is a spelling of it.
pub(super) fn number(text: &str) -> Result<u64, ParseAccountError> {
    let mut spelling = Spelling::default();
    let mut chars = without_scheme(text).chars().filter(|c| !is_invisible(*c));
    chars.try_for_each(|c| spelling.take(c))?;
    let digits = spelling.number()?;
    digits.parse().map_err(|_| ParseAccountError::PhoneLength)
}

/// Whether a character shows nothing and takes no place: marks that are copied along from web pages,
/// chats and address books.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// A link to a number says `tel:`.
fn without_scheme(text: &str) -> &str {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    match text.split_at_checked(4) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel:") => rest,
        _ => text,
    }
}

/// The digit that a character is, of the scripts that keyboards and spreadsheets put in its place:
/// full-width, Arabic, Persian and Devanagari.
fn digit(c: char) -> Option<char> {
    if c.is_ascii_digit() {
        return Some(c);
    }
    ['\u{ff10}', '\u{660}', '\u{6f0}', '\u{966}'].into_iter().find_map(|zero| {
        let value = u32::from(c).checked_sub(u32::from(zero))?;
        char::from_digit(value, 10)
    })
}

/// What has been read so far.
#[derive(Default)]
struct Spelling {
    digits: String,
    has_plus: bool,
    /// How many digits stand before the bracket that is open.
    bracket: Option<usize>,
    /// How many digits stand before the first point.
    point: Option<usize>,
    points: usize,
    /// Separators that are no points.
    others: usize,
}

impl Spelling {
    fn take(&mut self, c: char) -> Result<(), ParseAccountError> {
        if let Some(digit) = digit(c) {
            if self.digits.len() == DIGITS_MAX {
                return Err(ParseAccountError::PhoneLength);
            }
            self.digits.push(digit);
            return Ok(());
        }
        match c {
            '+' | '\u{ff0b}' => {
                if self.has_plus || !self.digits.is_empty() {
                    return Err(ParseAccountError::NotANumber);
                }
                self.has_plus = true;
                return Ok(());
            }
            ')' | '\u{ff09}' => return self.close_bracket(),
            '.' | '\u{ff0e}' => {
                self.point.get_or_insert(self.digits.len());
                self.points += 1;
            }
            '(' | '\u{ff08}' => {
                self.bracket = Some(self.digits.len());
                self.others += 1;
            }
            // In front it would be the sign of a quantity.
            '-' | '\u{2212}' if self.digits.is_empty() && !self.has_plus => {
                return Err(ParseAccountError::NotANumber);
            }
            '-'
            | '/'
            | '\u{2010}'..='\u{2015}'
            | '\u{2212}'
            | '\u{fe58}'
            | '\u{fe63}'
            | '\u{ff0d}' => {
                self.others += 1;
            }
            c if c.is_whitespace() => self.others += 1,
            _ => return Err(ParseAccountError::NotANumber),
        }
        // Russia's trunk prefix, apart from the rest: 8 (495) .. would be a number of Vietnam.
        if self.digits == "8" && !self.has_plus {
            return Err(ParseAccountError::NoSuchCountry);
        }
        Ok(())
    }

    /// A zero alone in brackets behind the country code is dialled within the country only.
    fn close_bracket(&mut self) -> Result<(), ParseAccountError> {
        let Some(before) = self.bracket.take() else { return Ok(()) };
        if &self.digits[before..] != "0" || before == 0 {
            return Ok(());
        }
        let code = international(&self.digits[..before], self.has_plus);
        if code_len(code) != Some(code.len()) || keeps_zero(code) {
            return Err(ParseAccountError::TrunkZero);
        }
        self.digits.truncate(before);
        // One within the brackets has gone with them.
        self.point = self.point.filter(|point| *point <= before);
        Ok(())
    }

    /// A number that a spreadsheet has taken for a quantity: with a part behind the point. With a plus,
    /// `+44.2079460958` is how registries of domains write it.
    fn is_decimal(&self) -> bool {
        let Some(point) = self.point.filter(|_| self.points == 1) else { return false };
        let part = &self.digits[point..];
        let is_zero = part.len() <= 2 && part.bytes().all(|digit| digit == b'0');
        is_zero || (self.others == 0 && !self.has_plus)
    }

    fn number(&self) -> Result<&str, ParseAccountError> {
        let digits = international(&self.digits, self.has_plus);
        if digits.is_empty() {
            return Err(ParseAccountError::NotANumber);
        }
        if self.is_decimal() {
            return Err(ParseAccountError::Decimal);
        }
        if digits.starts_with('0') {
            return Err(ParseAccountError::NoCountryCode);
        }
        if !PHONE_DIGITS.contains(&digits.len()) {
            return Err(ParseAccountError::PhoneLength);
        }
        let code = code_len(digits).ok_or(ParseAccountError::NoSuchCountry)?;
        let (code, rest) = digits.split_at(code);
        if rest.starts_with('0') && !keeps_zero(code) {
            return Err(ParseAccountError::TrunkZero);
        }
        if national_len(code).is_some_and(|len| rest.len() != len) {
            return Err(ParseAccountError::NationalLength);
        }
        Ok(digits)
    }
}

/// The digits without the code that most countries dial in place of the plus.
fn international(digits: &str, has_plus: bool) -> &str {
    digits.strip_prefix("00").filter(|_| !has_plus).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::ParseAccountError::{
        Decimal, NoCountryCode, NoSuchCountry, NotANumber, PhoneLength, TrunkZero,
    };
    use super::*;

    #[test]
    fn a_point_within_brackets_goes_with_them() {
        assert_eq!(number("/31   ()(0.)"), Err(PhoneLength));
        assert_eq!(number("+49 (0.) 151 23456789"), Ok(4_915_123_456_789));
    }

    #[test]
    fn what_is_dialled_within_the_country_is_not_taken_along() {
        for text in
            ["+7 8 912 345 67 89", "+7 (8) 912 345-67-89", "+1 1 202 555 0123", "+7 912 345"]
        {
            assert_eq!(number(text), Err(ParseAccountError::NationalLength), "{text}");
        }
        for text in ["-442079460958", "\u{2212}442079460958"] {
            assert_eq!(number(text), Err(NotANumber), "{text}");
        }
        assert_eq!(number("+7 912 345-67-89"), Ok(79_123_456_789));
        assert_eq!(number("1-202-555-0123"), Ok(12_025_550_123));
    }

    #[test]
    fn marks_and_characters_of_typesetting_are_taken() {
        for text in [
            "\u{202a}+44 20 7946 0958\u{202c}",
            "\u{202b}+44 20 7946 0958\u{202c}",
            "+44\u{200b}2079460958",
            "\u{feff}+442079460958",
            "+44\u{a0}20\u{a0}7946\u{a0}0958",
            "+44\u{202f}20\u{202f}7946\u{202f}0958",
            "+44 20\u{2011}7946\u{2011}0958",
            "+44 20 7946\u{2013}0958",
            "+44 20 7946\u{2212}0958",
            "+44/20/79460958",
            "tel:+442079460958",
            "TEL:+44-20-7946-0958",
            "＋４４２０７９４６０９５８",
            "٤٤٢٠٧٩٤٦٠٩٥٨",
            "(+44) 20 7946 0958",
            "(0044) 20 7946 0958",
            "+44 (20) 7946 0958",
            "+44.2079460958",
            "+44.20.79.46.09.58",
        ] {
            assert_eq!(number(text), Ok(442_079_460_958), "{text}");
        }
    }

    #[test]
    fn a_zero_in_brackets_behind_the_country_code_is_none_of_the_number() {
        for (text, wanted) in [
            ("+49 (0) 151 23456789", 4_915_123_456_789),
            ("+44(0)7547 533465", 447_547_533_465),
            ("0044 (0) 7547 533465", 447_547_533_465),
            ("44 ( 0 ) 7547 533465", 447_547_533_465),
            ("+380 (0) 44 123 45 67", 380_441_234_567),
        ] {
            assert_eq!(number(text), Ok(wanted), "{text}");
        }
        // There the zero would be dialled from abroad as well, or stands where no trunk prefix does.
        for text in ["+39 (0) 6 12345678", "+49 151 (0) 2345678", "+4 (0) 9 151 2345678"] {
            assert_eq!(number(text), Err(TrunkZero), "{text}");
        }
        assert_eq!(number("(0) 151 23456789"), Err(NoCountryCode));
    }

    #[test]
    fn a_zero_behind_the_country_code_is_refused_where_no_number_has_one() {
        for text in [
            "+33 06 10 10 10 10",
            "+330610101010",
            "330610101010",
            "0033 0610101010",
            "+44 (0207) 946 0958",
            "+7 0912 345 67 89",
            "+1 0415 555 2671",
        ] {
            assert_eq!(number(text), Err(TrunkZero), "{text}");
        }
        for (text, wanted) in [
            ("+39 06 1234 5678", 390_612_345_678),
            ("+225 07 12 34 56 78", 2_250_712_345_678),
            ("+226 01 23 45 67", 22_601_234_567),
            ("+229 01 23 45 67 89", 2_290_123_456_789),
            ("+241 06 12 34 56", 24_106_123_456),
            ("+242 06 123 4567", 242_061_234_567),
            ("+888 0513 1234", 88_805_131_234),
            ("+888 8 123", 8_888_123),
            ("9996621234", 9_996_621_234),
        ] {
            assert_eq!(number(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_no_country_has_is_refused() {
        for text in [
            "8 (912) 345-67-89",
            "8(912)345-67-89",
            "89123456789",
            "8 495 123 45 67",
            "8-495-1234567",
        ] {
            assert_eq!(number(text), Err(NoSuchCountry), "{text}");
        }
        // A number of Vietnam, and one of Russia.
        assert_eq!(number("84951234567"), Ok(84_951_234_567));
        assert_eq!(number("+7 (912) 345-67-89"), Ok(79_123_456_789));
    }

    #[test]
    fn what_a_spreadsheet_has_made_of_a_number_is_refused() {
        for text in ["442079460958.0", "442079460958.00", "+442079460958.0", "2.42079460958"] {
            assert_eq!(number(text), Err(Decimal), "{text}");
        }
        for text in ["4.42079460958E+11", "442079460958,0", "+44207946095x", "44+2079460958"] {
            assert_eq!(number(text), Err(NotANumber), "{text}");
        }
        assert_eq!(number("+44 20 7946 0958 1234 5678 9"), Err(PhoneLength));
        assert_eq!(number("+33.6.10.20.30.00"), Ok(33_610_203_000));
    }
}
