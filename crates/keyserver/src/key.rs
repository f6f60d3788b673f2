//! The key that is handed out: 256 random bits that scanners recognise and that nobody can look up
//! without having it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SecureRandom;
use portunus_auth_core::BearerToken;
use serde::{Deserialize, Serialize};

use crate::jose::sha256;

/// What every key begins with.
pub const PREFIX: &str = "ptk_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of base 62 that 256 bits need, and 32 bits.
const BODY: usize = 43;
const CHECK: usize = 6;

/// A new key: `ptk_`, 32 random bytes in base 62, and a CRC-32 of all that in base 62.
///
/// Its text exists here and in the answer to whoever asked for it. What is kept is its [`KeyDigest`].
pub struct TempKey(BearerToken);

impl TempKey {
    /// A key that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn mint(random: &dyn SecureRandom) -> Result<Self, Unspecified> {
        let mut bytes = [0; 32];
        random.fill(&mut bytes)?;
        let mut text = String::with_capacity(PREFIX.len() + BODY + CHECK);
        text.push_str(PREFIX);
        push_base62::<BODY>(&mut text, bytes);
        let check = crc32fast::hash(text.as_bytes());
        push_base62::<CHECK>(&mut text, check.to_be_bytes());
        Ok(Self(BearerToken::new(text)))
    }

    /// What to keep of it.
    pub fn digest(&self, pepper: &Pepper) -> KeyDigest {
        pepper.sign(self.0.expose())
    }

    /// The key itself, to hand out once.
    pub fn into_token(self) -> BearerToken {
        self.0
    }
}

/// Whether the token looks like one of our keys, so that nobody else has to look at it.
pub(crate) fn is_ours(token: &BearerToken) -> bool {
    token.expose().starts_with(PREFIX)
}

/// Writes the token out, into the one answer that it is for.
#[cfg(feature = "axum")]
pub(crate) fn reveal<S: serde::Serializer>(token: &BearerToken, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(token.expose())
}

impl fmt::Debug for TempKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TempKey(***)")
    }
}

/// Appends the number in base 62, with as many digits as its largest value needs.
fn push_base62<const DIGITS: usize>(text: &mut String, mut number: impl AsMut<[u8]>) {
    let mut digits = ['0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in number.as_mut() {
            let dividend = rest << 8 | u32::from(*byte);
            // Both fit: the rest is below 62, so the quotient is below 256.
            (*byte, rest) = ((dividend / 62) as u8, dividend % 62);
        }
        *digit = char::from(ALPHABET[rest as usize]);
    }
    text.extend(digits);
}

/// Whether the text is of the form of a key and its checksum is right. Costs no digest and no look-up.
fn is_well_formed(text: &str) -> bool {
    let Some(check_at) = text.len().checked_sub(CHECK) else { return false };
    if check_at != PREFIX.len() + BODY
        || !text.starts_with(PREFIX)
        || !text.as_bytes()[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric)
    {
        return false;
    }
    let (signed, check) = text.split_at(check_at);
    let digit = |c: u8| ALPHABET.binary_search(&c).ok().and_then(|digit| u64::try_from(digit).ok());
    let stated = check.bytes().try_fold(0_u64, |sum, c| Some(sum * 62 + digit(c)?));
    stated == Some(u64::from(crc32fast::hash(signed.as_bytes())))
}

/// Why a configured secret is of no use.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("this secret is too short to resist guessing; use at least {0} characters")]
    TooShort(usize),
    #[error("nobody can present this as a bearer token; use letters and digits, without white space")]
    NotABearerToken,
}

fn long_enough(secret: &BearerToken, shortest: usize) -> Result<&[u8], Unfit> {
    let bytes = secret.expose().as_bytes();
    if bytes.len() < shortest { Err(Unfit::TooShort(shortest)) } else { Ok(bytes) }
}

/// A secret that somebody presents, as a digest: the administrator's token, or a client's secret.
#[derive(Debug)]
pub(crate) struct SecretDigest([u8; 32]);

impl SecretDigest {
    pub(crate) fn new(token: &BearerToken) -> Result<Self, Unfit> {
        let bytes = long_enough(token, 16)?;
        if bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(sha256(bytes)))
        } else {
            Err(Unfit::NotABearerToken)
        }
    }

    /// Compares digests, so that the time it takes does not say how much of a guess was right.
    pub(crate) fn is(&self, presented: &BearerToken) -> bool {
        verify_slices_are_equal(&self.0, &sha256(presented.expose().as_bytes())).is_ok()
    }
}

/// The secret without which a stored digest cannot be compared with a guess.
pub struct Pepper(hmac::Key);

impl Pepper {
    /// Of these bytes; at least 32 of them, and random.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    pub(crate) fn configured(secret: &BearerToken) -> Result<Self, Unfit> {
        long_enough(secret, 32).map(Self::new)
    }

    /// The digest under which the presented key would be kept; `None` when it cannot be one of ours.
    pub fn digest(&self, presented: &BearerToken) -> Option<KeyDigest> {
        let text = presented.expose();
        is_well_formed(text).then(|| self.sign(text))
    }

    fn sign(&self, text: &str) -> KeyDigest {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.0, text.as_bytes()).as_ref());
        KeyDigest(digest)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

/// HMAC-SHA-256 of a key under the pepper: what is stored and looked up in the key's place. Written
/// in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest(pub(crate) [u8; 32]);

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<KeyDigest> for String {
    fn from(digest: KeyDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for KeyDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "a digest has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(FORM);
        }
        let mut digest = [0; 32];
        for (place, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| FORM)?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use proptest::prelude::*;

    fn mint() -> BearerToken {
        TempKey::mint(&SystemRandom::new()).unwrap().into_token()
    }

    #[test]
    fn a_minted_key_is_well_formed_and_never_the_same() {
        let key = mint();
        assert_eq!(key.expose().len(), 53);
        assert!(is_well_formed(key.expose()));
        assert_ne!(key.expose(), mint().expose());
        assert_eq!(format!("{:?}", TempKey(BearerToken::new("canary"))), "TempKey(***)");
    }

    #[test]
    fn base62_is_positional_and_padded() {
        let mut text = String::new();
        push_base62::<CHECK>(&mut text, 0_u32.to_be_bytes());
        push_base62::<CHECK>(&mut text, 61_u32.to_be_bytes());
        push_base62::<CHECK>(&mut text, 62_u32.to_be_bytes());
        push_base62::<CHECK>(&mut text, u32::MAX.to_be_bytes());
        assert_eq!(text, "00000000000z0000104gfFC3");
        let mut text = String::new();
        push_base62::<BODY>(&mut text, [255; 32]);
        assert_eq!(text.len(), BODY);
        assert_ne!(&text[..1], "0");
    }

    #[test]
    fn the_pepper_decides_the_digest() {
        let (key, one, other) = (mint(), Pepper::new(&[1; 32]), Pepper::new(&[2; 32]));
        assert_eq!(one.digest(&key), one.digest(&key));
        assert_ne!(one.digest(&key), other.digest(&key));
        let digest = one.digest(&key).unwrap();
        assert_eq!(KeyDigest::try_from(digest.to_string()).unwrap(), digest);
    }

    proptest! {
        #[test]
        fn any_change_of_one_character_breaks_the_checksum(place in 0..53_usize, to in "[ -~]") {
            let key = mint();
            let mut changed = key.expose().to_owned();
            changed.replace_range(place..=place, &to);
            prop_assert_eq!(is_well_formed(&changed), changed == key.expose());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), tail in "ptk_[0-9A-Za-z]{40,60}") {
            prop_assert!(!is_well_formed(&text));
            is_well_formed(&tail);
        }
    }
}
