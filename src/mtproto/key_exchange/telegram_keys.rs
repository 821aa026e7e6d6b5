//! Public keys of Telegram's own servers.
//!
//! Owns their text, which Telegram publishes and every client has. Never chooses between them: which servers are
//! meant is for whoever dials.

use super::ServerPublicKey;

/// Of the servers that everybody's accounts are on.
const PRODUCTION: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIIBCgKCAQEA6LszBcC1LGzyr992NzE0ieY+BSaOW622Aa9Bd4ZHLl+TuFQ4lo4g\n\
5nKaMBwK/BIb9xUfg0Q29/2mgIR6Zr9krM7HjuIcCzFvDtr+L0GQjae9H0pRB2OO\n\
62cECs5HKhT5DZ98K33vmWiLowc621dQuwKWSQKjWf50XYFw42h21P2KXUGyp2y/\n\
+aEyZ+uVgLLQbRA1dEjSDZ2iGRy12Mk5gpYc397aYp438fsJoHIgJ2lgMv5h7WY9\n\
t6N/byY9Nw9p21Og3AoXSL2q/2IJ1WRUhebgAdGVMlV1fkuOQoEzR7EdpqtQD9Cs\n\
5+bfo3Nhmcyvk5ftB0WkJ9z6bNZ7yxrP8wIDAQAB\n\
-----END RSA PUBLIC KEY-----";
/// Of those on which clients are tried.
const TEST: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIIBCgKCAQEAyMEdY1aR+sCR3ZSJrtztKTKqigvO/vBfqACJLZtS7QMgCGXJ6XIR\n\
yy7mx66W0/sOFa7/1mAZtEoIokDP3ShoqF4fVNb6XeqgQfaUHd8wJpDWHcR2OFwv\n\
plUUI1PLTktZ9uW2WE23b+ixNwJjJGwBDJPQEQFBE+vfmH0JP503wr5INS1poWg/\n\
j25sIWeYPHYeOrFp/eXaqhISP6G+q2IeTaWTXpwZj4LzXq5YOpk4bYEQ6mvRq7D1\n\
aHWfYmlEGepfaYR8Q0YqvvhYtMte3ITnuSJs171+GDqpdKcSwHnd6FudwGO4pcCO\n\
j4WcDuXc2CTHgH8gFTNhp/Y8/SpDOhvn9QIDAQAB\n\
-----END RSA PUBLIC KEY-----";

impl ServerPublicKey {
    /// That of Telegram's servers, or of its test servers.
    ///
    /// # Panics
    /// Never: both are written here, and read by a test.
    #[must_use]
    pub fn of_telegram(test: bool) -> Self {
        let text = if test { TEST } else { PRODUCTION };
        Self::from_pem(text).expect("BUG: it is written here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_known_by_the_fingerprints_that_servers_send() {
        let fingerprint = |test| ServerPublicKey::of_telegram(test).fingerprint();
        assert_eq!(fingerprint(false), -3_414_540_481_677_951_611);
        assert_eq!(fingerprint(true), -5_595_554_452_916_591_101);
    }
}
