//! Time passes: what was not refused by now was admitted, a server that is silent is noticed, and at the end of each window
//! the rates decide whether to try more.

use std::collections::VecDeque;
use std::time::Duration;

use super::Lane;
use super::MEASURED_KINDS;
use super::constants::{ADMITTED_AFTER, ADMITTED_AFTER_REFUSALS, FAILS_AT_ONCE, SPEED_OVER, WINDOW};
use super::rate::{self, Mark, Rate};

impl Lane {
    /// Lets the time pass: what was not refused by now was admitted, and windows end.
    pub fn advance(&mut self, now: Duration) {
        self.advance_to(now.as_secs_f64());
    }

    pub(super) fn advance_to(&mut self, now: f64) {
        self.hear_the_probe(now);
        let patience = ADMITTED_AFTER.max(ADMITTED_AFTER_REFUSALS * self.cap.refusal_time);
        while let Some(id) = self.unseen.front() {
            let id = *id;
            let Some(flight) = self.flights.get(&id).copied() else {
                self.unseen.pop_front();
                continue;
            };
            if now - flight.at < patience {
                break;
            }
            // While the server is down, silence is no admission.
            if !self.breaker.is_open() {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.admitted = true;
                }
                self.scout_back(id);
                self.admitted(now, &flight);
            }
            self.unseen.pop_front();
        }
        self.listen(now);
        if now >= self.window_end {
            self.end_window(now);
        }
    }

    /// A server that failed at once and has not failed the probe for a while is back; its answer may take long.
    fn hear_the_probe(&mut self, now: f64) {
        let Some(flight) = self.breaker.telling_probe().and_then(|probe| self.flights.get(&probe)).copied() else { return };
        let quick = self.failure_time < FAILS_AT_ONCE;
        if quick && now - flight.at >= ADMITTED_AFTER.max(ADMITTED_AFTER_REFUSALS * self.failure_time) {
            self.responded(now, &flight);
        }
    }

    /// Notices when a server that used to answer has fallen silent.
    fn listen(&mut self, now: f64) {
        const ENOUGH_IN_FLIGHT: usize = 4;
        let Some(usual) = self.latency.usual_of_mean() else { return };
        if self.flights.len() >= ENOUGH_IN_FLIGHT && self.breaker.silent(now, self.last_response, usual) {
            self.went_down();
            for flight in self.flights.values_mut().filter(|flight| !flight.lost) {
                flight.lost = true;
                self.lost += 1;
            }
        }
        let flights = &self.flights;
        if let Some(probe) = self.breaker.lose_probe(now, |id| flights.get(&id).map(|flight| flight.at), usual)
            && let Some(flight) = self.flights.get_mut(&probe).filter(|flight| !flight.lost)
        {
            flight.lost = true;
            self.lost += 1;
        }
    }

    fn end_window(&mut self, now: f64) {
        let quiet = !std::mem::take(&mut self.refused_in_window);
        let binding = std::mem::take(&mut self.cap.binding);
        self.window_end = now + WINDOW;
        if let Some((at, before)) = self.recent.back() {
            let seconds = (now - at).max(WINDOW);
            self.speed += (1.0 - (-seconds / SPEED_OVER).exp()) * ((self.sent[0] - before[0]).max(0.0) / seconds - self.speed);
        }
        self.recent.push_back((now, self.sent));
        if self.recent.len() > 4 {
            self.recent.pop_front();
        }
        if self.breaker.is_open() {
            return;
        }
        if quiet {
            let announced = self.rates.iter().any(Rate::is_announced);
            let doubts = rate::Doubts { accidents: self.accidents.are_known(), announced };
            for (which, rate) in self.rates.iter_mut().enumerate() {
                let mark = Mark { at: now, work: self.sent[which], count: self.sent[0].max(0.0) as u64 };
                rate.window(mark, (self.good as f64 / self.share) as u64, self.cost, self.settings.shared, self.leads, doubts);
            }
            self.choose_rate(now);
        }
        let refusing = self.is_paced() || self.cap.is_held();
        if binding
            && !self.cap.is_fixed()
            && !self.settings.without.knee
            && let Some(level) = self.knee.judge(now, refusing)
        {
            self.cap.settle(level);
        }
    }

    /// A server counts requests or tokens: the true limit's measurements are the more alike.
    fn choose_rate(&mut self, now: f64) {
        const ENOUGH: usize = 3;
        const CLEARLY: f64 = 0.8;
        if self.settings.rpm.is_some()
            || self.settings.tpm.is_some()
            || self.rates[..MEASURED_KINDS].iter().any(|rate| rate.samples.len() < ENOUGH)
        {
            return;
        }
        let [requests, tokens] = [0, 1].map(|which| variation(&self.rates[which].samples));
        let lately = self.lately(now);
        self.rates[0].enforce(requests < tokens / CLEARLY, lately[0]);
        self.rates[1].enforce(tokens < requests / CLEARLY, lately[1]);
    }
}

/// Standard deviation over mean.
fn variation(samples: &VecDeque<f64>) -> f64 {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / n;
    variance.sqrt() / mean.max(1e-9)
}
