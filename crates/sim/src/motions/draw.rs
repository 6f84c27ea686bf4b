//! The random numbers behind the motions.

/// A SplitMix64 sequence. Written out here and not taken from a crate, because the shipped sample and every
/// recorded measurement depend on these exact numbers: they may not change with a library's next version.
/// It also starts in a few nanoseconds, which counts when every row has a sequence of its own.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

/// What a sequence is for. Separate sequences keep the texts the same when an option is switched on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Text = 1,
    Blank = 2,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// The sequence of row `n` under `seed`.
    pub(super) fn new(seed: u64, n: u64, stream: Stream) -> Self {
        let stream = (stream as u64).wrapping_mul(STEP);
        // Not symmetric in seed and row, and different for every row: `mix` maps no two numbers to one.
        Self(mix(mix(seed.wrapping_add(stream)).wrapping_add(n)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `limit`, which must not be 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        debug_assert!(limit > 0, "nothing to draw from");
        // The high half of the product: no division, and no bias worth naming at these limits.
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// A number from `from` up to and including `to`.
    pub(super) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A number from 0 up to but not including 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index, by weight.
    pub(super) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        weights.len() - 1
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_streams_differ() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..20 {
            for n in 0..200 {
                for stream in [Stream::Text, Stream::Blank] {
                    assert!(seen.insert(Draw::new(seed, n, stream).next()));
                }
            }
        }
    }

    #[test]
    fn weights_are_kept() {
        let mut draw = Draw::new(1, 1, Stream::Text);
        let mut counts = [0_usize; 3];
        for _ in 0..10_000 {
            counts[draw.weighted(&[70, 30, 0])] += 1;
        }
        assert!((6_700..7_300).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
    }
}
