//! Numbers of the exchange: what may be asked of them before they are used.
//!
//! Owns the checks of what a server sends. They take from microseconds to a second, for a group that nobody knows.

#[cfg(feature = "telegram")]
use glass_pumpkin::{prime, safe_prime};
use num_bigint::BigUint;

#[cfg(feature = "telegram")]
use super::KeyExchangeError;

/// How long the numbers of the group are.
pub(super) const GROUP_LEN: usize = 256;
/// Telegram's own group, which is known to be safe: its prime, and what generates it.
pub(crate) const KNOWN_PRIME: [u8; GROUP_LEN] = hex(concat!(
    "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f",
    "48198a0aa7c14058229493d22530f4dbfa336f6e0ac925139543aed44cce7c37",
    "20fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64",
    "2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4",
    "a4a695811051907e162753b56b0f6b410dba74d8a84b2a14b3144e0ef1284754",
    "fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4",
    "e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f",
    "0d8115f635b105ee2e4e15d04b2454bf6f4fadf034b10403119cd8e3b92fcc5b",
));
#[cfg(feature = "sandbox")]
pub(crate) const KNOWN_GENERATOR: i32 = 3;

/// A factor of the server's product is at least this, or the product is none of a server's: both have 31 bits.
#[cfg(feature = "telegram")]
const FACTOR_MIN: u64 = 1 << 16;

/// The two factors of a product of eight bytes at most, the smaller one first.
///
/// The library's search ends, and ends soon, for a product of two primes that are not small and not the same. So
/// much is seen to first: a server in bad faith could keep it searching for hours, or make it panic.
#[cfg(feature = "telegram")]
pub(super) fn factors(product: &[u8]) -> Result<(u64, u64), KeyExchangeError> {
    let refused = KeyExchangeError::Protocol("its product is not one of two primes");
    let Some(product) = u64_of(product).filter(|it| *it < 1 << 63) else { return Err(refused) };
    let is_even_or_small = product.is_multiple_of(2) || product < FACTOR_MIN * FACTOR_MIN;
    let is_square = product.isqrt().pow(2) == product;
    let has_small = || (3..FACTOR_MIN).step_by(2).any(|it| product.is_multiple_of(it));
    let is_prime = |number: u64| prime::strong_check(&BigUint::from(number));
    if is_even_or_small || is_square || has_small() || is_prime(product) {
        return Err(refused);
    }
    let (p, q) = grammers_crypto::factorize(product);
    match p < q && is_prime(p) && is_prime(q) {
        true => Ok((p, q)),
        false => Err(refused),
    }
}

/// A number without its leading zeros, as these are written.
pub(super) fn big_endian(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(feature = "telegram")]
fn u64_of(bytes: &[u8]) -> Option<u64> {
    let mut number = [0; 8];
    number.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(number))
}

/// A group to make a key in: a safe prime of 2,048 bits, and what generates all of it or half.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    prime: BigUint,
    generator: BigUint,
}

impl Group {
    #[cfg(feature = "sandbox")]
    pub(crate) fn known() -> Self {
        let prime = BigUint::from_bytes_be(&KNOWN_PRIME);
        Self { prime, generator: BigUint::from(KNOWN_GENERATOR.unsigned_abs()) }
    }

    /// One that a server proposes.
    #[cfg(feature = "telegram")]
    pub(crate) fn checked(prime: &[u8], generator: i32) -> Result<Self, KeyExchangeError> {
        let refused = KeyExchangeError::Protocol("its group is not safe");
        let is_known = prime == KNOWN_PRIME;
        let prime = BigUint::from_bytes_be(prime);
        // Whether the generator makes the subgroup of prime order, by what that asks of the prime.
        let rest = |of: u32| u32::try_from(&prime % of).unwrap_or(0);
        let generates = match generator {
            2 => rest(8) == 7,
            3 => rest(3) == 2,
            4 => true,
            5 => matches!(rest(5), 1 | 4),
            6 => matches!(rest(24), 19 | 23),
            7 => matches!(rest(7), 3 | 5 | 6),
            _ => false,
        };
        if prime.bits() != 2048 || !generates || !(is_known || safe_prime::strong_check(&prime)) {
            return Err(refused);
        }
        Ok(Self { prime, generator: BigUint::from(generator.unsigned_abs()) })
    }

    /// The half that is sent, for a secret.
    pub(crate) fn public(&self, secret: &[u8; GROUP_LEN]) -> BigUint {
        self.generator.modpow(&BigUint::from_bytes_be(secret), &self.prime)
    }

    /// What both have in the end, from the other side's half.
    pub(super) fn shared(&self, public: &BigUint, secret: &[u8; GROUP_LEN]) -> [u8; GROUP_LEN] {
        padded(&public.modpow(&BigUint::from_bytes_be(secret), &self.prime))
    }

    /// Whether a half tells nothing: it lies 64 bits from either end, as the protocol has it.
    pub(crate) fn is_safe(&self, public: &BigUint) -> bool {
        let margin = BigUint::from(1_u8) << (2048 - 64);
        *public >= margin && *public <= &self.prime - margin
    }
}

/// A number at its full length.
pub(crate) fn padded(number: &BigUint) -> [u8; GROUP_LEN] {
    let bytes = number.to_bytes_be();
    let mut padded = [0; GROUP_LEN];
    let start = GROUP_LEN.saturating_sub(bytes.len());
    padded[start..].copy_from_slice(&bytes[..GROUP_LEN - start]);
    padded
}

/// Reads digits that are written here.
pub(super) const fn hex<const N: usize>(digits: &str) -> [u8; N] {
    const fn digit(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a digit"),
        }
    }
    let digits = digits.as_bytes();
    assert!(digits.len() == 2 * N, "another number of digits");
    let (mut bytes, mut at) = ([0; N], 0);
    while at < N {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

#[cfg(all(test, feature = "sandbox", feature = "telegram"))]
mod tests {
    use super::*;

    #[test]
    fn the_factors_of_a_product_of_two_primes_are_found_and_nothing_else_is_searched() {
        let found = |product: u64| factors(&product.to_be_bytes()).ok();
        assert_eq!(found(1_470_626_929_934_143_021), Some((1_206_429_347, 1_218_991_343)));
        assert_eq!(found(65_537 * 65_539), Some((65_537, 65_539)));
        let (prime, square) = (9_223_372_036_854_775_783, 2_147_483_647_u64.pow(2));
        let three = 65_537 * 65_539 * 65_543;
        for product in [0, 1, 6, prime, square, 3 * 1_206_429_347, three, u64::MAX, 1 << 62] {
            assert_eq!(found(product), None, "{product}");
        }
        assert!(factors(&[]).is_err() && factors(&[1; 9]).is_err());
        // It is sent back as it came, with what else has to fit into one block.
        let sound = big_endian(65_537 * 65_539);
        for zeros in [9 - sound.len(), 100] {
            assert!(factors(&[&vec![0; zeros], &sound[..]].concat()).is_err(), "{zeros}");
        }
    }

    #[test]
    fn a_group_is_known_or_looked_at() {
        let known = Group::checked(&KNOWN_PRIME, 3).unwrap();
        for generator in [0, 1, 2, 8, -3, i32::MIN] {
            assert!(Group::checked(&KNOWN_PRIME, generator).is_err(), "{generator}");
        }
        let mut composite = KNOWN_PRIME;
        composite[255] ^= 4;
        assert!(Group::checked(&composite, 4).is_err());
        assert!(Group::checked(&KNOWN_PRIME[1..], 4).is_err() && Group::checked(&[], 4).is_err());
        // That the known one is safe is looked at here, since it is not otherwise.
        assert!(safe_prime::strong_check(&known.prime));
        let one = BigUint::from(1_u8);
        for unsafe_half in [BigUint::ZERO, one.clone(), &known.prime - &one, known.prime.clone()] {
            assert!(!known.is_safe(&unsafe_half));
        }
        assert!(known.is_safe(&known.public(&[7; 256])));
    }
}
