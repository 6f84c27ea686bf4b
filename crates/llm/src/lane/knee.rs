//! Servers that queue: where more requests in flight bring no more work done.
//!
//! They refuse nothing, so nothing is told by refusals. But by Little's law the work done a second is the number
//! in flight over the time of an answer. So the time of answers that left at different levels tells how much
//! each level does, without waiting for a steady state at any of them: while a doubling of the level does at
//! least 1.2 times as much, it is worth while.

use super::constants::{BLIND, KNEE_HOLD, KNEE_LESS, KNEE_MARGIN, KNEE_SAME, KNEE_SAMPLES, KNEE_TRIAL, OVERRUN, WORTH};

/// Work done by level, in octaves.
#[derive(Clone, Debug)]
pub(super) struct Knee {
    levels: [Level; 13],
    held: Option<Held>,
    hold: f64,
    /// The level up to which growth is approved.
    reach: f64,
}

/// The level that is enough.
#[derive(Clone, Copy, Debug)]
struct Held {
    level: f64,
    /// When more is tried again.
    until: f64,
    /// Work done at this level and at the one before it, measured side by side.
    now: Level,
    before: Option<Level>,
    /// Whether less was tried and does less.
    tight: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    samples: f64,
    level: f64,
    /// Mean of the logarithms: one answer that takes ten times as long is not the level's fault.
    log_seconds: f64,
    /// The same over the last few answers alone.
    log_lately: f64,
}

impl Level {
    fn observe(&mut self, level: f64, seconds: f64) {
        self.samples += 1.0;
        let weight = (1.0 / self.samples).max(0.02);
        self.level += weight * (level - self.level);
        let log_seconds = seconds.max(1e-6).ln();
        self.log_seconds += weight * (log_seconds - self.log_seconds);
        self.log_lately += (1.0 / self.samples).max(0.1) * (log_seconds - self.log_lately);
    }

    /// Requests' worth of work a second.
    fn work(&self) -> f64 {
        self.level / self.log_seconds.exp()
    }
}

impl Knee {
    pub(super) fn new() -> Self {
        Self { levels: [Level::default(); 13], held: None, hold: KNEE_HOLD.0, reach: BLIND }
    }

    fn octave(level: f64) -> usize {
        (level.max(1.0).log2().round() as usize).min(12)
    }

    /// An answer to a request that left at this level, with its time for a mean size.
    pub(super) fn observe(&mut self, level: f64, seconds: f64) {
        self.levels[Self::octave(level)].observe(level, seconds);
        if let Some(held) = &mut self.held
            && (level - held.level).abs() <= 1.5
        {
            held.now.observe(level, seconds);
        }
    }

    /// The level up to which more may be in flight.
    pub(super) fn permitted(&self) -> f64 {
        self.held.map_or(self.reach, |held| held.level)
    }

    /// Looks whether the present level is worth it, and says where to go if it is not. `refusing` is whether the
    /// server speaks by refusals, which say more.
    pub(super) fn judge(&mut self, now: f64, refusing: bool) -> Option<f64> {
        if let Some(held) = &mut self.held {
            if now >= held.until {
                self.reach = 2.0 * held.level;
                let above = Self::octave(held.level) + 1;
                self.held = None;
                self.levels[above..].fill(Level::default());
                return None;
            }
            return held.tighten();
        }
        if refusing {
            return None;
        }
        let known = |slot: &Level| slot.samples >= KNEE_SAMPLES;
        let top = self.levels.iter().rposition(known)?;
        let (below, top) = (self.levels[..top].iter().rev().find(|slot| known(slot)), &self.levels[top]);
        let worth = |below: &Level| {
            let doublings = (top.level / below.level).log2();
            doublings < 0.5 || top.work() >= below.work() * WORTH.powf(doublings)
        };
        if below.is_none_or(worth) {
            self.reach = self.reach.max(2.0 * top.level);
            return None;
        }
        let best = self.levels.iter().filter(|slot| known(slot)).map(Level::work).fold(0.0, f64::max);
        let enough = self.levels.iter().find(|slot| known(slot) && slot.work() >= 0.9 * best)?;
        let level = (KNEE_MARGIN * enough.level).ceil();
        self.held = Some(Held { level, until: now + self.hold, now: Level::default(), before: None, tight: false });
        self.hold = (2.0 * self.hold).min(KNEE_HOLD.1);
        Some(level)
    }
}

impl Held {
    /// Tries whether less in flight does as much: what only queues is better kept at home.
    fn tighten(&mut self) -> Option<f64> {
        if self.now.samples < KNEE_TRIAL {
            return None;
        }
        if self.tight {
            // It has become slower by far: what was learned holds no more.
            let overrun = self.now.samples >= 2.0 * KNEE_TRIAL && self.now.log_lately > OVERRUN.ln() + self.now.log_seconds;
            if overrun {
                (self.tight, self.before, self.now) = (false, None, Level::default());
            }
            return None;
        }
        if let Some(before) = self.before.filter(|before| self.now.work() < KNEE_SAME * before.work()) {
            self.level = before.level.ceil();
            self.tight = true;
        } else {
            self.before = Some(self.now);
            self.level = (KNEE_LESS * self.level).floor().max(1.0);
            self.tight = self.level <= 1.0;
        }
        self.now = Level::default();
        Some(self.level)
    }
}
