//! A limit has turned a request away: which of them, and what is learned from it.
//!
//! In this order: what headers say is left may explain it, or a process that has just joined, or the last cut, which it did not
//! know of; it may be an accident; the refusal may name its limit. What remains is a cap on requests in flight or a limited
//! rate, which show themselves at different levels.

use super::accidents::{Cause, Learned, Pace};
use super::cap::Verdict;
use super::constants::{PAUSE_GATE, STREAK, WINDOW};
use super::rate::{self, Mark, Rate};
use super::{Flight, KINDS, Lane, MEASURED_KINDS, Named, Scout};

impl Lane {
    /// Takes note of a refusal. Returns whether what headers say is left explains it.
    pub(super) fn refuse(&mut self, now: f64, flight: &Flight, named: Option<Named>, pause: f64) -> bool {
        self.refused += 1;
        if let Some(Named::Tokens(_, Some(counted))) = named {
            // Some servers count the most that an answer may have instead of what it has.
            let scale = counted as f64 / (flight.load.tokens as f64 / self.token_scale).max(1.0);
            self.token_scale = scale.clamp(0.2, 20.0);
        }
        self.cap.refusal_time += 0.2 * (now - flight.at - self.cap.refusal_time);
        for (sent, weight) in self.sent.iter_mut().zip(flight.weights()) {
            *sent -= weight / self.share;
        }
        if self.is_explained(now, flight) {
            self.refused_in_window = true;
            if flight.test {
                self.cap.test_lost();
            }
            return true;
        }
        if self.share < 1.0 && now < self.unsettled {
            // There is room again as soon as everybody keeps to his share.
            const MOMENT: f64 = 0.25;
            self.refused_in_window = true;
            self.hush = self.hush.max(now + MOMENT);
            if flight.test {
                self.cap.test_lost();
            }
            return false;
        }
        // What left before the last cut does not count against what is in force since.
        if flight.at < self.cut {
            self.refused_in_window = true;
            self.accidents.crowd();
            self.cost += 1;
            if self.share < 1.0 && !self.leads {
                self.cap.give_way(flight.level);
            } else {
                self.cap.lower(flight.level);
            }
            if flight.test {
                self.cap.test_lost();
            }
            return false;
        }
        if self.is_accident(now, flight, named, pause) {
            return false;
        }
        self.stocks.iter_mut().for_each(|stock| stock.doubt(now));
        self.refused_in_window = true;
        let rapid = now - self.cut < STREAK + pause;
        self.cost = if rapid && !flight.test { self.cost + 1 } else { 1 };
        self.cut = now;
        let admitted = std::mem::take(&mut self.good);
        let same = flight.level.abs_diff(self.last_level) as f64 <= (0.03 * flight.level as f64).max(1.0);
        self.last_level = flight.level;
        match named {
            Some(Named::Requests(limit)) => self.cut_rates(now, flight, [true, false, false, false], limit, pause),
            Some(Named::Tokens(limit, _)) => self.cut_rates(now, flight, [false, true, true, true], limit, pause),
            Some(Named::InFlight) if !self.cap.is_fixed() => self.blame_cap(now, flight, pause),
            _ if self.cap.is_fixed() => self.cut_rates(now, flight, [true; KINDS], None, pause),
            _ => {
                let paced = self.is_paced();
                let stock = self.rates.iter().any(|rate| rate.has_stock(now));
                let expected = self.rates.iter().any(Rate::is_near_its_limit);
                if !paced || stock || flight.test || self.cap.is_held() {
                    self.blame_cap(now, flight, pause);
                } else if self.cap.is_topped(flight.level, admitted) || same && rapid && !expected && self.cap.may_suspect(now) {
                    self.cap.suspect(now, flight.level);
                } else {
                    self.cut_rates(now, flight, [true; KINDS], None, pause);
                }
            }
        }
        false
    }

    /// Whether nothing was left for a refused request, as headers say.
    fn is_explained(&mut self, now: f64, flight: &Flight) -> bool {
        let mut is_explained = false;
        let is_alone = self.share == 1.0 && !self.settings.shared;
        for ((stock, weight), covered) in self.stocks.iter_mut().zip(flight.weights()).zip(flight.covered) {
            is_explained |= is_alone && stock.refused(now, weight, covered);
        }
        is_explained
    }

    /// Whether the lane is not to blame for a refusal.
    fn is_accident(&mut self, now: f64, flight: &Flight, named: Option<Named>, pause: f64) -> bool {
        // A cap that is being looked for is tried one by one, at little cost.
        let tries_cap = flight.test || !self.is_paced() && self.cap.is_tried(flight.level);
        let elsewhere = self.settings.shared || self.share < 1.0;
        if named.is_some() || pause > 0.0 || elsewhere || tries_cap || self.settings.without.accidents {
            return false;
        }
        let is_test = self.cap.is_searched() || self.rates.iter().any(Rate::is_tested);
        let is_stated = self.settings.rpm.is_some() || self.settings.tpm.is_some();
        let pace = Pace { speed: self.speed, is_test, is_stated };
        match self.accidents.refused(now, flight.at, pace, || (self.cap.clone(), self.rates.clone())) {
            Cause::Limit => false,
            Cause::Accident => {
                // It has used nothing of what a rate allows.
                for (rate, weight) in self.rates.iter_mut().zip(flight.weights()) {
                    rate.take_more(-weight);
                }
                true
            }
            Cause::AllAccidents(before) => {
                self.unlearn(now, *before);
                true
            }
        }
    }

    /// What was learned from accidents never happened.
    pub(super) fn unlearn(&mut self, now: f64, (cap, rates): Learned) {
        (self.cap, self.rates) = (cap, rates);
        let level = self.level();
        self.cap.acquit(now, level);
        self.rates.iter_mut().for_each(|rate| rate.lift(now));
    }

    fn blame_cap(&mut self, now: f64, flight: &Flight, pause: f64) {
        if self.share < 1.0 && !self.leads {
            // What it means is for the one that leads to find out, who hears of it; we only make room until then.
            self.cap.give_way(flight.level);
            return;
        }
        let in_transit = self.flights.values().rev().take_while(|other| now - other.at < self.cap.refusal_time).count();
        let jitter = self.jitter();
        let confirmed = flight.test;
        match self.cap.refused(now, flight.level, in_transit, flight.test, PAUSE_GATE * pause, jitter) {
            Verdict::Cap => {
                if !confirmed {
                    self.ask_first(now, flight);
                }
                for (which, rate) in self.rates.iter_mut().enumerate() {
                    rate.excused(mark(flight, which), confirmed);
                    // A cap of one or two cannot be told from a slow rate.
                    if confirmed && flight.level > 2 {
                        rate.lift(now);
                    }
                }
            }
            Verdict::Rate => {
                self.cap.refute(now);
                self.cut_rates(now, flight, [true; KINDS], None, pause);
            }
        }
    }

    /// First hear what becomes of the requests that are on their way; then send one alone, and go on when it is
    /// admitted.
    fn ask_first(&mut self, now: f64, flight: &Flight) {
        self.hush = now + 1.5 * self.cap.refusal_time.max(now - flight.at);
        self.scout = Scout::Wanted;
    }

    pub(super) fn cut_rates(&mut self, now: f64, flight: &Flight, blamed: [bool; KINDS], told: Option<u64>, pause: f64) {
        if flight.test {
            self.cap.test_lost();
        }
        let lately = self.lately(now);
        let jitter = self.jitter();
        let tested = self.rates.iter().any(Rate::is_tested);
        for (which, rate) in self.rates.iter_mut().enumerate() {
            if !blamed[which] || which >= MEASURED_KINDS && !rate.is_set() {
                continue;
            }
            let refusal = rate::Refusal {
                mark: mark(flight, which),
                weight: flight.weights()[which],
                lately: lately[which],
                pause,
                told: told.filter(|_| which < MEASURED_KINDS).map(|limit| limit as f64 / 60.0),
                shared: self.settings.shared,
                tested,
                fixed: self.cap.is_fixed(),
                together: self.share < 1.0,
                jitter,
            };
            rate.refused(now, &refusal);
            if which >= MEASURED_KINDS && !rate.is_believed(now) {
                rate.lift(now);
            }
        }
        if self.rates.iter().any(Rate::is_dry) {
            self.ask_first(now, flight);
        }
    }

    /// Requests and tokens a second that left in the last two seconds.
    pub(super) fn lately(&self, now: f64) -> [f64; KINDS] {
        let (then, before) = self.recent.front().copied().unwrap_or((now - 1.0, [0.0; KINDS]));
        std::array::from_fn(|which| (self.sent[which] - before[which]).max(1.0) / (now - then).max(WINDOW))
    }

    /// Whether a limited rate is known or suspected.
    pub(super) fn is_paced(&self) -> bool {
        self.governed.contains(&true) || self.rates.iter().any(Rate::is_set)
    }
}

fn mark(flight: &Flight, which: usize) -> Mark {
    Mark { at: flight.at, work: flight.sent[which], count: flight.sent[0].max(0.0) as u64 }
}
