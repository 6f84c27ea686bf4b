//! What went over the wire to a model: noted where requests leave and where responses return.
//!
//! A setting can be read, accepted and recorded and still not reach a request. So nothing here comes from the
//! configuration: the run record sets it beside what was configured, and a difference is seen.

use std::time::{Duration, Instant};

use crate::{CostSource, Price, Usage};

/// A request as it leaves, and what was in force at that moment.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Rows in it.
    pub rows: u64,
    /// Rows that a request might have had.
    pub rows_in_force: u64,
    /// Requests that might have been in flight.
    pub concurrency_in_force: u64,
    /// How often one of its rows has been asked of this model, this time included.
    pub attempt: u32,
    /// The most answer tokens that it grants each row.
    pub max_tokens_per_row: Option<u64>,
    /// The sampling temperature that it asks for.
    pub temperature: Option<f64>,
    /// How long it is waited for.
    pub timeout: Duration,
    /// What the model's tokens cost.
    pub price: Option<Price>,
}

/// What a response, or a refusal, brought back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Returned {
    /// Requests a minute that its headers announce.
    pub announced_rpm: Option<u64>,
    /// Tokens a minute that its headers announce.
    pub announced_tpm: Option<u64>,
    /// Tokens, reported or estimated.
    pub usage: Option<Usage>,
    /// Where its cost comes from.
    pub cost_source: Option<CostSource>,
    /// The prompt's bytes, if its tokens were reported.
    pub prompt_bytes: Option<u64>,
}

/// Everything that went over the wire to one model so far.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Requests that left.
    pub sent: u64,
    /// Responses, refusals and failures.
    pub returned: u64,
    /// The last request that left, with what was in force then.
    pub last: Option<Departure>,
    /// Rows of the smallest request.
    pub rows_min: u64,
    /// Rows of the largest request.
    pub rows_max: u64,
    /// Rows of all requests.
    pub rows: u64,
    /// How often the row that was asked most was asked.
    pub attempts_max: u32,
    /// Milliseconds of all requests together.
    pub latency_ms: f64,
    /// Milliseconds of the longest one.
    pub latency_ms_max: f64,
    /// The last limit of requests a minute that was announced.
    pub announced_rpm: Option<u64>,
    /// The last limit of tokens a minute that was announced.
    pub announced_tpm: Option<u64>,
    /// Tokens of all responses.
    pub usage: Usage,
    /// Costs that the provider stated.
    pub costs_by_provider: u64,
    /// Costs that were counted from tokens and price.
    pub costs_by_price: u64,
    /// Bytes of the prompts whose tokens were reported …
    pub counted_bytes: u64,
    /// … and those tokens.
    pub counted_tokens: u64,
    /// Requests in flight.
    pub in_flight: InFlight,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    returned_at: Option<Instant>,
}

impl Traffic {
    pub(crate) fn depart(&mut self, departure: Departure) {
        let now = Instant::now();
        self.rows_min = if self.sent == 0 { departure.rows } else { self.rows_min.min(departure.rows) };
        self.rows_max = self.rows_max.max(departure.rows);
        self.rows += departure.rows;
        self.attempts_max = self.attempts_max.max(departure.attempt);
        self.sent += 1;
        self.last = Some(departure);
        self.first_at.get_or_insert(now);
        self.last_at = Some(now);
        self.in_flight.add(1);
    }

    pub(crate) fn land(&mut self, latency: Duration) {
        let millis = latency.as_secs_f64() * 1e3;
        self.latency_ms += millis;
        self.latency_ms_max = self.latency_ms_max.max(millis);
        self.returned += 1;
        self.returned_at = Some(Instant::now());
        self.in_flight.add(-1);
    }

    pub(crate) fn take_note(&mut self, returned: Returned) {
        let Returned { announced_rpm, announced_tpm, usage, cost_source, prompt_bytes } = returned;
        self.announced_rpm = announced_rpm.or(self.announced_rpm);
        self.announced_tpm = announced_tpm.or(self.announced_tpm);
        if let Some(usage) = usage {
            self.usage += usage;
            if let Some(bytes) = prompt_bytes {
                self.counted_bytes += bytes;
                self.counted_tokens += usage.input_tokens;
            }
        }
        match cost_source {
            Some(CostSource::Provider) => self.costs_by_provider += 1,
            Some(CostSource::Price) => self.costs_by_price += 1,
            None => {}
        }
    }

    /// Requests a minute, from the first that left to the last; `None` if that is one moment.
    pub fn rpm(&self) -> Option<f64> {
        per_minute(self.sent.saturating_sub(1), self.first_at, self.last_at)
    }

    /// Tokens a minute, input and output together, from the first departure to the last return.
    pub fn tpm(&self) -> Option<f64> {
        per_minute(self.usage.input_tokens + self.usage.output_tokens, self.first_at, self.returned_at)
    }
}

fn per_minute(count: u64, from: Option<Instant>, to: Option<Instant>) -> Option<f64> {
    let seconds = to?.duration_since(from?).as_secs_f64();
    (count > 0 && seconds > 0.0).then(|| count as f64 * 60.0 / seconds)
}

/// How many requests are in flight, over time.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    now: u64,
    peak: u64,
    changed: Option<Instant>,
    /// Request-seconds, and the seconds in which at least one request was in flight.
    integral: f64,
    busy: f64,
}

impl InFlight {
    pub(crate) fn add(&mut self, change: i64) {
        let instant = Instant::now();
        if let Some(changed) = self.changed {
            let seconds = instant.duration_since(changed).as_secs_f64();
            self.integral += seconds * self.now as f64;
            self.busy += if self.now > 0 { seconds } else { 0.0 };
        }
        self.changed = Some(instant);
        self.now = self.now.saturating_add_signed(change);
        self.peak = self.peak.max(self.now);
    }

    /// At this moment.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// At the most.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// In the mean, while any was.
    pub fn mean(&self) -> f64 {
        if self.busy > 0.0 { self.integral / self.busy } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure(rows: u64, attempt: u32) -> Departure {
        Departure {
            rows,
            rows_in_force: 15,
            concurrency_in_force: 4,
            attempt,
            max_tokens_per_row: Some(400),
            temperature: None,
            timeout: Duration::from_secs(1),
            price: None,
        }
    }

    #[test]
    fn what_left_and_what_came_back_is_kept() {
        let mut traffic = Traffic::default();
        for (rows, attempt) in [(5, 1), (2, 3), (9, 1)] {
            traffic.depart(departure(rows, attempt));
        }
        assert_eq!((traffic.in_flight.now(), traffic.in_flight.peak()), (3, 3));
        for _ in 0..3 {
            traffic.land(Duration::from_millis(20));
            let usage = Usage { input_tokens: 100, cached_input_tokens: 40, output_tokens: 10, ..Usage::default() };
            traffic.take_note(Returned { usage: Some(usage), prompt_bytes: Some(330), ..Returned::default() });
        }
        traffic.take_note(Returned { announced_rpm: Some(60), cost_source: Some(CostSource::Provider), ..Returned::default() });
        traffic.take_note(Returned::default());
        assert_eq!((traffic.sent, traffic.returned, traffic.in_flight.now(), traffic.in_flight.peak()), (3, 3, 0, 3));
        assert_eq!((traffic.rows_min, traffic.rows_max, traffic.rows, traffic.attempts_max), (2, 9, 16, 3));
        assert_eq!((traffic.usage.cached_input_tokens, traffic.counted_bytes, traffic.counted_tokens), (120, 990, 300));
        let announced = (traffic.announced_rpm, traffic.announced_tpm);
        assert_eq!((announced, traffic.costs_by_provider), ((Some(60), None), 1), "an announcement stands until the next one");
        assert!(traffic.rpm().is_some() && traffic.tpm().is_some());
    }

    #[test]
    fn one_request_has_no_rate() {
        let mut traffic = Traffic::default();
        traffic.depart(departure(1, 1));
        assert_eq!((traffic.rpm(), traffic.tpm()), (None, None));
    }
}
