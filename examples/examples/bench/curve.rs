//! What a provider's ledger says about a method over time, and what the best possible method would have done.
//!
//! Nothing here knows who asked: every method is measured by the same books.

use promptmill_sim::{TICK_MS, Tick};

use crate::provider::Books;

const TICK: f64 = TICK_MS as f64 / 1e3;
/// Convergence is looked for in windows of so many seconds …
const WINDOW: f64 = 3.0;
/// … that do so much of the ideal …
const CONVERGED: f64 = 0.9;
/// … and have no larger share of refusals.
const FEW_REFUSALS: f64 = 0.05;

/// One method over time, in seconds from its first request.
#[derive(Debug)]
pub(crate) struct Curve {
    ticks: Vec<Tick>,
    /// Where the first request lies in the ticks.
    origin: f64,
    /// The last answer.
    pub(crate) end: f64,
    /// The last request.
    pub(crate) last_request: f64,
}

impl Curve {
    pub(crate) fn new(books: &Books) -> Self {
        let ledger = &books.ledger;
        let origin = ledger.first_request_seconds.unwrap_or_default();
        let since = |moment: Option<f64>| (moment.unwrap_or(origin) - origin).max(0.0);
        let (end, last_request) = (since(ledger.last_answer_seconds), since(ledger.last_request_seconds));
        Self { ticks: books.timeline.clone(), origin, end, last_request }
    }

    /// The ticks between two moments, each with the part of it that lies between them.
    fn between(&self, from: f64, to: f64) -> impl Iterator<Item = (&Tick, f64)> {
        let (from, to) = (from + self.origin, to + self.origin);
        let part = move |index: usize| {
            let start = index as f64 * TICK;
            ((to.min(start + TICK) - from.max(start)) / TICK).clamp(0.0, 1.0)
        };
        self.ticks.iter().enumerate().map(move |(index, tick)| (tick, part(index))).filter(|(_, part)| *part > 0.0)
    }

    fn sum(&self, from: f64, to: f64, count: impl Fn(&Tick) -> u64) -> f64 {
        self.between(from, to).map(|(tick, part)| count(tick) as f64 * part).sum()
    }

    /// Motions answered between two moments.
    pub(crate) fn items(&self, from: f64, to: f64) -> f64 {
        self.sum(from, to, |tick| tick.items)
    }

    /// Motions answered a second.
    pub(crate) fn rate(&self, from: f64, to: f64) -> f64 {
        if to > from { self.items(from, to) / (to - from) } else { 0.0 }
    }

    /// The share of requests that a limit turned away.
    pub(crate) fn refused(&self, from: f64, to: f64) -> f64 {
        let arrived = self.sum(from, to, |tick| tick.arrived);
        if arrived > 0.0 { self.sum(from, to, |tick| tick.refused) / arrived } else { 0.0 }
    }

    /// Requests in flight in the mean, counting at most so many at a time: what is left over from a time with more
    /// places does not make up for an empty one.
    pub(crate) fn in_flight(&self, from: f64, to: f64, most: f64) -> f64 {
        let (mut held, mut ticks) = (0.0, 0.0);
        for (tick, part) in self.between(from, to) {
            held += (tick.held_ms / TICK_MS as f64).min(most) * part;
            ticks += part;
        }
        if ticks > 0.0 { held / ticks } else { 0.0 }
    }

    /// The start of the first window from `from` on of which `is_good` holds, of those that end before `to`.
    pub(crate) fn first_window(&self, from: f64, to: f64, is_good: impl Fn(f64, f64) -> bool) -> Option<f64> {
        let windows = ((to - from - WINDOW) / TICK).floor() as i64;
        (0..=windows).map(|index| from + index as f64 * TICK).find(|start| is_good(*start, start + WINDOW))
    }

    /// When this share of all motions had been answered.
    pub(crate) fn answered(&self, share: f64) -> f64 {
        let total: u64 = self.ticks.iter().map(|tick| tick.items).sum();
        let mut sum = 0.0;
        let tick = self.ticks.iter().position(|tick| {
            sum += tick.items as f64;
            sum >= share * total as f64
        });
        tick.map_or(self.end, |tick| ((tick + 1) as f64 * TICK - self.origin).min(self.end))
    }

    /// When the method had converged: the start of the first window with nearly the ideal throughput and hardly a refusal.
    pub(crate) fn converged(&self, ideal: &Ideal) -> Option<f64> {
        self.first_window(0.0, self.end, |from, to| {
            self.items(from, to) >= CONVERGED * ideal.items(from, to) && self.refused(from, to) <= FEW_REFUSALS
        })
    }
}

/// Motions a second that were possible: from each moment on another number.
#[derive(Debug, Clone)]
pub(crate) struct Ideal(pub(crate) Vec<(f64, f64)>);

impl Ideal {
    /// Motions that were possible between two moments.
    pub(crate) fn items(&self, from: f64, to: f64) -> f64 {
        let ends = self.0.iter().skip(1).map(|(start, _)| *start).chain([f64::INFINITY]);
        self.0.iter().zip(ends).map(|((start, rate), end)| (to.min(end) - from.max(*start)).max(0.0) * rate).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promptmill_sim::LedgerSnapshot;

    /// Ten seconds that begin after half a second: nothing for two of them, then ten motions a tick.
    fn curve() -> Curve {
        let tick = |index: usize| Tick {
            arrived: 2,
            refused: u64::from(index < 6),
            items: if index < 10 { 0 } else { 10 },
            held_ms: if index < 10 { 0.0 } else { 1_000.0 },
            ..Tick::default()
        };
        let ledger = LedgerSnapshot { first_request_seconds: Some(0.5), last_answer_seconds: Some(10.5), ..LedgerSnapshot::default() };
        Curve::new(&Books { ledger, timeline: (0..42).map(tick).collect() })
    }

    #[test]
    fn rates_count_from_the_first_request() {
        let curve = curve();
        assert_eq!((curve.end, curve.items(0.0, 2.0), curve.rate(2.0, 10.0)), (10.0, 0.0, 40.0));
        assert!((curve.items(1.9, 2.125) - 5.0).abs() < 1e-9, "half a tick");
        assert!((curve.refused(0.0, 2.0) - 0.25).abs() < 1e-9, "of the first two ticks nobody speaks");
        assert_eq!((curve.answered(0.5), curve.answered(1.0)), (6.0, 10.0));
        assert_eq!((curve.in_flight(3.0, 9.0, 64.0), curve.in_flight(3.0, 9.0, 3.0)), (4.0, 3.0));
    }

    #[test]
    fn convergence_is_where_the_first_good_window_starts() {
        let curve = curve();
        let ideal = Ideal(vec![(0.0, 40.0)]);
        assert_eq!(curve.converged(&ideal), Some(1.75), "nine tenths of a window are enough");
        assert_eq!(curve.converged(&Ideal(vec![(0.0, 50.0)])), None);
        assert_eq!(curve.first_window(8.0, 10.0, |_, _| true), None, "too short for a window");
    }

    #[test]
    fn the_ideal_follows_the_limits() {
        let ideal = Ideal(vec![(0.0, 10.0), (60.0, 0.0), (120.0, 5.0)]);
        assert_eq!((ideal.items(50.0, 130.0), ideal.items(70.0, 80.0), ideal.items(200.0, 201.0)), (150.0, 0.0, 5.0));
    }
}
