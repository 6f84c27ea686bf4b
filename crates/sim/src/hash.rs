//! A small stable hash and the dice that are thrown from it.
//!
//! Answers, fault draws and item counts must come out the same on every machine and after every compiler
//! update, which the standard library's hasher does not promise. Nothing here is meant to withstand an
//! attacker.

/// An odd constant with well-spread bits (the golden ratio in 64 bits).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hashes `bytes` under `seed`, eight bytes a step.
pub(crate) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = mix(seed ^ SPREAD ^ bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(fold(state ^ u64::from_le_bytes(last)))
}

/// Multiplies into 128 bits and folds the halves, so that every input bit reaches both ends.
fn fold(word: u64) -> u64 {
    let wide = u128::from(word ^ SPREAD) * u128::from(0xd6e8_feb8_6659_fd93_u64);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Spreads the bits of one word (the finaliser of SplitMix64: Steele, Lea and Flood, 2014).
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A cheap sequence of choices that follow from one hash: for texts, where quality of randomness is no matter.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice whose throws are fixed by `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SPREAD);
        mix(self.0)
    }

    /// A number below `bound`; zero where `bound` is zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// One of `choices`; the empty text where there are none.
    pub(crate) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices.get(self.below(choices.len())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn values_are_fixed_for_ever() {
        // Recorded once: a change here changes every recorded run of every user.
        assert_eq!(hash(b"", 0), 17_703_510_283_246_122_001);
        assert_eq!(hash(b"motie", 1), 11_775_662_121_957_951_377);
        assert_ne!(hash(b"motie", 1), hash(b"motie", 2));
    }

    #[test]
    fn near_inputs_fall_apart() {
        let mut seen = HashSet::new();
        for length in 0..40_usize {
            for byte in 0..=255_u8 {
                assert!(seen.insert(hash(&vec![byte; length], 7)) || length == 0);
            }
        }
    }

    #[test]
    fn dice_stay_in_bounds() {
        let mut dice = Dice::new(3);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick(&[]), "");
        assert!((0..1_000).all(|_| dice.below(7) < 7));
    }
}
