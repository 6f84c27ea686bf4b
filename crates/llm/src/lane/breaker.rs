//! Outages: a server that fails again and again, or that falls silent, is asked by one request at a time.

use super::constants::{DOWN_LONG, DOWN_PROBES, FAILURES, FAILURES_TOLD, SILENCE};

/// Whether the server is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// When the first of these failures happened.
    failing_since: f64,
    down: Option<Down>,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    since: f64,
    next: f64,
    wait: f64,
    probe: Option<u64>,
    /// Whether it fell silent instead of failing.
    silent: bool,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.down.is_some()
    }

    /// Whether a request may leave, and whether it leaves as a probe; else when to ask again.
    pub(super) fn gate(&self, now: f64) -> Result<bool, f64> {
        match self.down {
            None => Ok(false),
            Some(Down { probe: Some(_), .. }) => Err(now + 0.25),
            Some(Down { next, .. }) if now < next => Err(next),
            Some(_) => Ok(true),
        }
    }

    pub(super) fn probes(&mut self, request: u64) {
        if let Some(down) = &mut self.down {
            down.probe = Some(request);
        }
    }

    /// The probe did not leave after all.
    pub(super) fn withdraw(&mut self, request: u64) {
        if let Some(down) = self.down.as_mut().filter(|down| down.probe == Some(request)) {
            down.probe = None;
        }
    }

    /// A request failed, and the server asks to be left alone for `told` seconds. Others that left since the first of the
    /// failures in this row, and have not failed `others_stand` by now, will be answered: then this is no outage. Returns
    /// whether the server counts as down from now on.
    pub(super) fn failed(&mut self, now: f64, request: u64, told: f64, others_stand: impl Fn(f64) -> bool) -> bool {
        if let Some(down) = &mut self.down {
            if down.probe == Some(request) {
                let longest = if now - down.since > DOWN_LONG { DOWN_PROBES.2 } else { DOWN_PROBES.1 };
                down.wait = (2.0 * down.wait).min(longest);
                down.next = now + down.wait;
                down.probe = None;
            }
            down.next = down.next.max(now + told);
            return false;
        }
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures += 1;
        let enough = if told > 0.0 { FAILURES_TOLD } else { FAILURES };
        if self.failures >= enough && !others_stand(self.failing_since) {
            self.open(now, false, told);
            return true;
        }
        false
    }

    /// The probe that is under way to a server that used to fail at once: that it has not failed yet says something.
    pub(super) fn telling_probe(&self) -> Option<u64> {
        self.down.filter(|down| !down.silent)?.probe
    }

    /// A request that left at `sent` got a response, whatever it said. Returns whether the server is back.
    pub(super) fn responded(&mut self, sent: f64) -> bool {
        match self.down {
            Some(down) if sent >= down.since => {
                *self = Self::default();
                true
            }
            // What had been admitted before it went down says nothing about now.
            Some(_) => false,
            None => {
                if sent >= self.failing_since {
                    self.failures = 0;
                }
                false
            }
        }
    }

    /// Nothing has come back since `last`, though answers usually take `usual`. Returns whether the server counts
    /// as down from now on.
    pub(super) fn silent(&mut self, now: f64, last: f64, usual: f64) -> bool {
        let (times, least) = SILENCE;
        if self.down.is_some() || now - last < (times * usual).max(least) {
            return false;
        }
        self.open(now, true, 0.0);
        true
    }

    /// A probe of a silent server that has not come back by now is lost as well.
    pub(super) fn lose_probe(&mut self, now: f64, sent: impl Fn(u64) -> Option<f64>, usual: f64) -> Option<u64> {
        let down = self.down.as_mut()?;
        let probe = down.probe?;
        let wait = (2.0 * usual).max(DOWN_PROBES.1);
        if sent(probe).is_some_and(|sent| now - sent < wait) {
            return None;
        }
        down.probe = None;
        down.next = now;
        Some(probe)
    }

    fn open(&mut self, now: f64, silent: bool, told: f64) {
        let (first, ..) = DOWN_PROBES;
        self.failures = 0;
        self.down = Some(Down { since: now, next: now + first.max(told), wait: first, probe: None, silent });
    }
}
