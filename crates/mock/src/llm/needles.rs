//! Which of many texts may be in another, told in one short pass: by whether the other has some of their pieces.

/// How long a piece is, in bytes.
const PIECE: usize = 4;
/// How many kinds of pieces are told apart, a power of two.
const KINDS: usize = 1 << 12;

/// A text to look for, as the kinds of its last, middle and first pieces.
#[derive(Debug)]
pub(super) struct Needle([u16; 3]);

/// The kinds of pieces that a text has.
pub(super) struct Pieces([u64; KINDS / 64]);

impl Needle {
    /// `None` is for a text without a piece, which may be anywhere.
    pub(super) fn new(text: &str) -> Option<Self> {
        let last = text.len().checked_sub(PIECE)?;
        Some(Self([last, last / 2, 0].map(|place| kind(&text.as_bytes()[place..]))))
    }
}

impl Pieces {
    pub(super) fn of(text: &str) -> Self {
        let mut pieces = Self([0; KINDS / 64]);
        for piece in text.as_bytes().windows(PIECE) {
            let kind = kind(piece);
            pieces.0[usize::from(kind / 64)] |= 1 << (kind % 64);
        }
        pieces
    }

    /// `false` only if the needle is not in the text.
    pub(super) fn may_hold(&self, needle: &Needle) -> bool {
        needle.0.iter().all(|kind| self.0[usize::from(kind / 64)] >> (kind % 64) & 1 == 1)
    }
}

/// The upper bits of a product, in which every bit of the piece has a part (Fibonacci hashing).
fn kind(piece: &[u8]) -> u16 {
    let bytes = piece.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let [.., low, high] = bytes.wrapping_mul(0x9E37_79B1).to_le_bytes();
    u16::from_le_bytes([low, high]) >> (16 - KINDS.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_in_a_text_may_be_in_it(before in ".{0,20}", needle in ".{0,20}", after in ".{0,20}") {
            let text = [&*before, &*needle, &*after].concat();
            let is_held = |needle| Pieces::of(&text).may_hold(&needle);
            prop_assert!(Needle::new(&needle).is_none_or(is_held));
        }
    }

    #[test]
    fn most_of_what_is_not_in_a_text_is_known_not_to_be() {
        let pieces =
            Pieces::of(&"Explain, step by step, how a reverse proxy reuses its connections. ".repeat(12));
        let needles = (0..100).filter_map(|n| Needle::new(&format!("a letter for customer {n}")));
        assert!(needles.filter(|needle| pieces.may_hold(needle)).count() < 5);
        for short in ["", "a", "é", "abc"] {
            assert!(Needle::new(short).is_none(), "{short:?} is too short to tell");
        }
    }
}
