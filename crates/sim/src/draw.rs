//! What chance decides about a request: its faults and its place in the spread of latencies.

use crate::faults::{FAULTS, Fault, FaultRates, Scope};
use crate::hash::mix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Everything that chance decides about one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draw {
    /// The fault of the request, if one strikes that can.
    pub(crate) fault: Option<Fault>,
    /// Chooses among the forms of that fault.
    pub(crate) detail: u64,
    /// The fault of each item; empty where none is struck.
    pub(crate) items: Vec<Option<Fault>>,
    /// Uniform in 0 to 1: whether the latency is of the tail.
    pub(crate) tail: f64,
    /// Standard normal: the noise of the latency.
    pub(crate) noise: f64,
}

impl Draw {
    /// Draws for the `ask`th request for the pack of hash `pack`. The draws depend on nothing else, so a run comes
    /// out the same however its requests interleave; and each kind has its own place in the sequence, so turning one
    /// on or off leaves the others as they were.
    pub(crate) fn new(seed: u64, pack: u64, ask: u32, items: usize, json: bool, rates: &FaultRates) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(mix(seed) ^ pack ^ mix(u64::from(ask) + 1));
        let tail = rng.random();
        let noise = rng.sample(StandardNormal);
        // Normal sampling takes a varying number of words; a jump keeps what follows in place.
        rng.set_word_pos(32);
        let fault = rates.at(Scope::Request, rng.random()).filter(|fault| fault.applies(items, json));
        let detail = rng.random();
        let mut struck = Vec::new();
        if FAULTS.iter().any(|info| info.scope == Scope::Item && rates.get(info.fault) > 0.0) {
            struck.extend((0..items).map(|_| rates.at(Scope::Item, rng.random())));
        }
        Self { fault, detail, items: struck, tail, noise }
    }

    /// Whether the request is served at the tier that it asks for, if this share of them is.
    pub(crate) fn is_tier_kept(&self, share: f64) -> bool {
        const TIER: u64 = 0x7469_6572;
        share >= 1.0 || ((mix(self.detail ^ TIER) >> 11) as f64 / (1_u64 << 53) as f64) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn draws_meet_their_rates_and_repeat() {
        let rates: FaultRates = "all=0.02".parse().expect("valid");
        let mut counts = [0_u32; Fault::COUNT];
        for pack in 0..20_000_u64 {
            let draw = Draw::new(1, mix(pack), 0, 4, true, &rates);
            let again = Draw::new(1, mix(pack), 0, 4, true, &rates);
            assert_eq!((draw.fault, &draw.items, draw.detail), (again.fault, &again.items, again.detail));
            for fault in draw.fault.iter().chain(draw.items.iter().flatten()) {
                counts[*fault as usize] += 1;
            }
        }
        for info in FAULTS.iter().filter(|info| info.in_all) {
            let chances = if info.scope == Scope::Item { 80_000.0 } else { 20_000.0 };
            let share = f64::from(counts[info.fault as usize]) / chances;
            assert!((0.015..0.025).contains(&share), "{} {share}", info.name);
        }
        assert_eq!(counts[Fault::Auth as usize], 0);
    }

    #[test]
    fn asking_again_draws_anew() {
        let rates: FaultRates = "reset=0.5".parse().expect("valid");
        let struck = (0..1_000).filter(|ask| Draw::new(1, 9, *ask, 1, true, &rates).fault.is_some()).count();
        assert!((430..570).contains(&struck), "{struck}");
    }

    proptest! {
        #[test]
        fn a_fault_that_does_not_apply_never_strikes(pack: u64, ask in 0..5_u32, items in 1..4_usize, json: bool) {
            let mut rates = FaultRates::default();
            for info in &FAULTS {
                rates.set(info.name, 1.0).expect("own name");
            }
            if let Some(fault) = Draw::new(0, pack, ask, items, json, &rates).fault {
                prop_assert!(fault.applies(items, json));
            }
        }
    }
}
