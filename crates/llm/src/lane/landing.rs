//! A request has ended: what that says of the server, of its speed and of its limits.

use std::time::Duration;

use super::constants::{ADMITTED_AFTER_REFUSALS, COMEBACK, LANE_PAUSE, LONG_PAUSE, LONGEST_TOLD};
use super::rate::Rate;
use super::stock::Heard;
use super::{Flight, KINDS, Lane, Outcome, Scout, Ticket, seconds};
use crate::RateLimits;

impl Lane {
    /// Takes note of how a request ended.
    pub fn landed(&mut self, now: Duration, ticket: Ticket, outcome: Outcome, limits: &RateLimits) {
        let now = now.as_secs_f64();
        self.advance_to(now);
        let Some(flight) = self.flights.remove(&ticket.0) else { return };
        self.scout_back(ticket.0);
        self.lost -= usize::from(flight.lost);
        match outcome {
            Outcome::Answered(output) => {
                self.responded(now, &flight);
                if !flight.admitted {
                    self.admitted(now, &flight);
                }
                let flight = Flight { admitted: true, ..flight };
                self.answered(now, &flight, output);
                self.hear_of_empty(now, &flight, limits);
                self.read_limits(now, &flight, limits, [0.0; KINDS]);
            }
            Outcome::Limited { retry_after, named } => {
                self.responded(now, &flight);
                for (stock, weight) in self.stocks.iter_mut().zip(flight.weights()) {
                    stock.unsent(weight, flight.at);
                }
                self.read_limits(now, &flight, limits, flight.weights());
                let wait = retry_after.map_or(0.0, |wait| wait.as_secs_f64());
                let reset = limits.exhausted().map_or(0.0, |reset| reset.as_secs_f64());
                self.hear_of_empty(now, &flight, limits);
                // Whoever asks again sooner is refused again, and by some for longer.
                self.pause(now + wait);
                let is_explained = self.refuse(now, &flight, named, if wait >= LONG_PAUSE { wait } else { 0.0 });
                if wait == 0.0 && reset > LANE_PAUSE && !self.empty_lies && !is_explained {
                    // Nothing is left until a reset that is far. It may be the end of a window, or when all of it is there
                    // again; so it is tried once in a while, each time after twice as long.
                    self.pause(now + (now - self.last_admitted).clamp(LANE_PAUSE, reset));
                    self.scout = Scout::Wanted;
                }
            }
            Outcome::GivenUp => {
                if flight.test {
                    self.cap.test_lost();
                }
                self.breaker.withdraw(ticket.0);
            }
            Outcome::Failed { retry_after } => {
                if flight.test {
                    self.cap.test_lost();
                }
                self.failure_time += 0.2 * (now - flight.at - self.failure_time);
                // What was given up as lost has been counted.
                if !flight.lost {
                    let patience = ADMITTED_AFTER_REFUSALS * self.failure_time;
                    let flights = &self.flights;
                    let stands = |flight: &Flight, since: f64| flight.at >= since && now - flight.at > patience && !flight.lost;
                    let told = retry_after.map_or(0.0, |wait| wait.as_secs_f64().min(LONGEST_TOLD));
                    let down = self.breaker.failed(now, ticket.0, told, |since| flights.values().any(|flight| stands(flight, since)));
                    if down {
                        self.went_down();
                    }
                }
            }
        }
    }

    /// Nothing leaves until then.
    fn pause(&mut self, until: f64) {
        self.paused = self.paused.max(until);
    }

    /// Until when a request that has been let through is to wait all the same: a refusal has asked for it since.
    pub fn paused(&self, now: Duration) -> Option<Duration> {
        (now.as_secs_f64() < self.paused).then(|| seconds(self.paused))
    }

    pub(super) fn scout_back(&mut self, id: u64) {
        if self.scout == Scout::Sent(id) {
            self.scout = Scout::None;
        }
    }

    pub(super) fn responded(&mut self, now: f64, flight: &Flight) {
        self.last_response = now;
        if self.breaker.responded(flight.at) {
            self.comeback = Some(((COMEBACK * self.cap.limit).max(1.0), now));
        }
    }

    pub(super) fn went_down(&mut self) {
        self.comeback = None;
        self.rates.iter_mut().for_each(Rate::forget_marks);
    }

    pub(super) fn admitted(&mut self, now: f64, flight: &Flight) {
        self.good += 1;
        self.last_admitted = now;
        if let Some(before) = self.accidents.admitted(flight.at) {
            self.unlearn(now, *before);
        }
        for (stock, covered) in self.stocks.iter_mut().zip(flight.covered) {
            stock.admitted(now, covered);
        }
        let fresh = flight.at >= self.cut;
        self.cap.admitted(now, flight.level, flight.test, fresh);
        if flight.test && !self.cap.is_held() {
            // The cap is gone or has moved: what it cost to test it is no measure any more.
            self.cost = 1;
        }
    }

    fn answered(&mut self, now: f64, flight: &Flight, output: Option<u64>) {
        let tokens = output.unwrap_or(flight.load.output) as f64;
        let took = now - flight.at;
        let seconds = took / self.latency.size_factor(tokens);
        self.latency.observe(tokens, took);
        self.knee.observe(flight.level as f64 + 1.0, seconds);
    }

    /// Nothing is left, a response says, until a moment: true only if nothing that leaves meanwhile is admitted.
    fn hear_of_empty(&mut self, now: f64, flight: &Flight, limits: &RateLimits) {
        if let Some((said, until)) = self.empty {
            self.empty_lies |= flight.admitted && flight.at > said && flight.at < until - LANE_PAUSE;
        }
        self.empty = self.empty.filter(|(_, until)| now < *until);
        if let Some(reset) = limits.exhausted().map(|reset| reset.as_secs_f64()).filter(|reset| *reset > LANE_PAUSE)
            && self.empty.is_none()
        {
            self.empty = Some((now, now + reset));
        }
    }

    fn read_limits(&mut self, now: f64, flight: &Flight, limits: &RateLimits, refused: [f64; KINDS]) {
        // Headers were written when the response began; what left since is not in them.
        let later = self.left_within(now, 0.5 * (now - flight.at).min(2.0));
        // What left in the time of a round trip the server may not have counted.
        let unknown = self.left_within(now, (0.2 * self.cap.refusal_time).min(1.0));
        let weights = flight.weights();
        let windows = [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens];
        let is_alone = self.share == 1.0 && !self.settings.shared;
        let is_old = flight.at < self.last_heard_of;
        self.last_heard_of = self.last_heard_of.max(flight.at);
        for (which, (rate, stock)) in self.rates.iter_mut().zip(&mut self.stocks).enumerate() {
            if let Some(left) = windows[which].remaining {
                stock.hear(Heard {
                    at: now,
                    left: left as f64,
                    reset: windows[which].reset.map(|reset| reset.as_secs_f64()),
                    sent: self.sent[which] - refused[which],
                    unknown: unknown[which],
                    departed: flight.at,
                    sent_by_then: flight.sent[which] + weights[which] - refused[which],
                    weight: weights[which],
                });
            }
            let is_counted = is_alone && stock.keeps_account(now);
            // What was said to an earlier request may be older than what has been heard.
            if is_old && windows[which].remaining.is_some() {
                continue;
            }
            rate.announced(now, &windows[which], later[which], self.sent[which], is_counted);
        }
    }

    /// What is in flight and left within so many seconds.
    fn left_within(&self, now: f64, seconds: f64) -> [f64; KINDS] {
        let mut left = [0.0; KINDS];
        for flight in self.flights.values().rev().take_while(|flight| flight.at > now - seconds) {
            left.iter_mut().zip(flight.weights()).for_each(|(left, weight)| *left += weight);
        }
        left
    }
}
