//! The books over time: what arrived, what was answered and what was turned away, quarter second by quarter second.
//!
//! It is the same for every client, so that methods which know nothing of each other can be compared.

use serde::{Deserialize, Serialize};

/// Length of a tick in milliseconds.
pub const TICK_MS: u64 = 250;

/// About seven hours; whatever comes later is booked in the last tick, so that a service may run for ever.
const MOST_TICKS: usize = 100_000;

const TICK_MICROS: u64 = TICK_MS * 1_000;

/// What happened in one tick of [`TICK_MS`]; the first begins when the books were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Requests that arrived.
    pub arrived: u64,
    /// Answers that were handed over in full.
    pub answers: u64,
    /// Clean answers about items in them.
    pub items: u64,
    /// Requests refused by a limit: `in-flight`, `rpm`, `tpm`, `too-large`.
    pub refused: u64,
    /// Requests that met an outage.
    pub outage: u64,
    /// How long requests held places, taken together, in milliseconds; divided by [`TICK_MS`] it is the mean number of
    /// requests in flight. Booked when a request ends.
    pub held_ms: f64,
}

/// The ticks so far.
#[derive(Debug, Default)]
pub(crate) struct Timeline(Vec<Tick>);

impl Timeline {
    /// The tick of a moment in microseconds.
    pub(crate) fn at(&mut self, micros: u64) -> &mut Tick {
        let index = index(micros);
        if self.0.len() <= index {
            self.0.resize(index + 1, Tick::default());
        }
        &mut self.0[index]
    }

    /// Books that a request held a place between two moments.
    pub(crate) fn held(&mut self, from: u64, to: u64) {
        for tick in index(from)..=index(to) {
            let start = tick as u64 * TICK_MICROS;
            let end = if tick + 1 == MOST_TICKS { u64::MAX } else { start + TICK_MICROS };
            let part = to.min(end).saturating_sub(from.max(start));
            self.at(start).held_ms += part as f64 / 1e3;
        }
    }

    pub(crate) fn ticks(&self) -> Vec<Tick> {
        self.0.clone()
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

fn index(micros: u64) -> usize {
    usize::try_from(micros / TICK_MICROS).map_or(MOST_TICKS - 1, |index| index.min(MOST_TICKS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_booked_where_it_was_held() {
        let mut timeline = Timeline::default();
        timeline.held(200_000, 600_000);
        timeline.held(510_000, 520_000);
        let held: Vec<f64> = timeline.ticks().iter().map(|tick| tick.held_ms).collect();
        assert_eq!(held, [50.0, 250.0, 110.0]);
    }

    #[test]
    fn a_service_that_runs_for_ever_keeps_a_bounded_timeline() {
        let mut timeline = Timeline::default();
        timeline.at(u64::MAX).arrived += 1;
        timeline.at(u64::MAX / 2).arrived += 1;
        let late = MOST_TICKS as u64 * TICK_MICROS + 5_000;
        timeline.held(late, late + 2_000);
        let ticks = timeline.ticks();
        assert_eq!((ticks.len(), ticks[MOST_TICKS - 1].arrived, ticks[MOST_TICKS - 1].held_ms), (MOST_TICKS, 2, 2.0));
    }
}
