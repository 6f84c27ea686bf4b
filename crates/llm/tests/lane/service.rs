//! A simulated provider on virtual time: limits, latency, outages, and changes of all of them.

mod says;

use std::collections::VecDeque;

use self::says::Says;
use promptmill_llm::{RateLimits, Window};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use serde::Deserialize;

/// What the provider does; every field may change during a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServiceConfig {
    /// Requests a minute; 0: no limit.
    pub(crate) rpm: f64,
    /// Tokens a minute; 0: no limit.
    pub(crate) tpm: f64,
    /// Tokens of prompts, and of answers, a minute; 0: no limit.
    pub(crate) itpm: f64,
    pub(crate) otpm: f64,
    /// Seconds' worth of a rate that may be used at once.
    pub(crate) burst: f64,
    /// Counts in fixed windows of so many seconds instead of a bucket; 0: a bucket.
    pub(crate) window: f64,
    /// Counts over the last so many seconds at every moment instead; 0: it does not.
    pub(crate) sliding: f64,
    /// Counts, and says so, but refuses nothing.
    pub(crate) lenient: bool,
    /// Requests in flight; more are refused. 0: no cap.
    pub(crate) cap: usize,
    /// Seconds for which the place of a request may stay taken after its answer has left, as on a busy machine.
    pub(crate) lag: f64,
    /// Requests worked on at once; more wait. 0: no bound.
    pub(crate) slots: usize,
    /// Seconds that every answer takes, and for each thousand tokens of it.
    pub(crate) base: f64,
    pub(crate) per_1k: f64,
    /// Spread of the log-normal noise on it.
    pub(crate) cv: f64,
    /// Share of answers that take `tail_factor` times as long.
    pub(crate) tail: f64,
    pub(crate) tail_factor: f64,
    /// Share of requests that never come back; the client gives up after its timeout.
    pub(crate) stuck: f64,
    /// Share of requests that are refused whatever the load, and of those that fail soon after they arrive.
    pub(crate) overloaded: f64,
    pub(crate) failing: f64,
    /// How answers grow.
    pub(crate) output_factor: f64,
    /// Whether headers tell the limits: `none`, `right`, `stale`, `wrong`.
    pub(crate) headers: Headers,
    /// What headers say instead, where it is not what `headers` has a word for.
    pub(crate) says: Option<Says>,
    /// Whether refusals name the limit.
    pub(crate) named: bool,
    /// Seconds that a refusal asks to wait; 0: it does not say.
    pub(crate) retry_after: f64,
    /// A long window: requests a day, refused with the time until the next one; 0: none.
    pub(crate) day_limit: f64,
    pub(crate) outage: Outage,
    /// Share of the rate that other clients use.
    pub(crate) foreign: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Headers {
    None,
    Right,
    Stale,
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outage {
    None,
    Unavailable,
    Refused,
    Hang,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            rpm: 0.0,
            tpm: 0.0,
            itpm: 0.0,
            otpm: 0.0,
            burst: 1.0,
            window: 0.0,
            sliding: 0.0,
            lenient: false,
            cap: 0,
            lag: 0.0,
            slots: 0,
            base: 1.0,
            per_1k: 0.0,
            cv: 0.3,
            tail: 0.0,
            tail_factor: 10.0,
            stuck: 0.0,
            overloaded: 0.0,
            failing: 0.0,
            output_factor: 1.0,
            headers: Headers::None,
            says: None,
            named: false,
            retry_after: 0.0,
            day_limit: 0.0,
            outage: Outage::None,
            foreign: 0.0,
        }
    }
}

/// What becomes of a request, and how long after its arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Answered {
        after: f64,
    },
    Waits,
    Refused {
        which: Limit,
        retry_after: Option<f64>,
    },
    Failed {
        after: f64,
    },
    /// Nothing ever comes back.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    Requests,
    Tokens,
    InFlight,
}

/// The provider's state.
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    random: StdRng,
    levels: [f64; KINDS],
    /// What was admitted of late, where it counts over a sliding window.
    admitted: VecDeque<(f64, [f64; KINDS])>,
    at: f64,
    window: f64,
    day: f64,
    active: usize,
    waiting: VecDeque<(u64, f64)>,
    foreign_next: f64,
    stale: Option<RateLimits>,
    /// What headers said of what is left, and at the response before.
    said: [[f64; 2]; KINDS],
}

/// Requests, tokens, tokens of prompts, tokens of answers.
pub(crate) const KINDS: usize = 4;

/// The days of the simulated provider are short.
const DAY: f64 = 300.0;

impl Service {
    pub(crate) fn new(config: ServiceConfig, seed: u64) -> Self {
        let mut service = Self {
            random: StdRng::seed_from_u64(seed),
            levels: [0.0; KINDS],
            admitted: VecDeque::new(),
            said: [[f64::INFINITY; 2]; KINDS],
            at: 0.0,
            window: 0.0,
            day: config.day_limit,
            active: 0,
            waiting: VecDeque::new(),
            foreign_next: 0.0,
            stale: None,
            config,
        };
        service.levels = service.capacities();
        service
    }

    pub(crate) fn change(&mut self, config: ServiceConfig, now: f64) {
        self.refill(now);
        self.config = config;
        let capacities = self.capacities();
        for (level, capacity) in self.levels.iter_mut().zip(capacities) {
            *level = level.min(capacity);
        }
    }

    pub(crate) fn rates(&self) -> [f64; KINDS] {
        [self.config.rpm, self.config.tpm, self.config.itpm, self.config.otpm].map(|a_minute| a_minute / 60.0)
    }

    /// Seconds' worth of a rate that may be used at once.
    pub(crate) fn span(&self) -> f64 {
        let ServiceConfig { window, sliding, burst, .. } = self.config;
        [window, sliding].into_iter().find(|span| *span > 0.0).unwrap_or(burst)
    }

    pub(crate) fn capacities(&self) -> [f64; KINDS] {
        let seconds = self.span();
        self.rates().map(|rate| (rate * seconds).max(1.0))
    }

    fn refill(&mut self, now: f64) {
        let (rates, capacities) = (self.rates(), self.capacities());
        if self.config.window > 0.0 {
            let window = (now / self.config.window).floor();
            if window > self.window {
                self.window = window;
                self.levels = capacities;
            }
        } else if self.config.sliding > 0.0 {
            while self.admitted.front().is_some_and(|(at, _)| *at <= now - self.config.sliding) {
                let Some((_, weights)) = self.admitted.pop_front() else { break };
                for (level, weight) in self.levels.iter_mut().zip(weights) {
                    *level += weight;
                }
            }
        } else {
            for ((level, rate), capacity) in self.levels.iter_mut().zip(rates).zip(capacities) {
                *level = (*level + (now - self.at) * rate).min(capacity);
            }
        }
        if (now / DAY).floor() > (self.at / DAY).floor() {
            self.day = self.config.day_limit;
        }
        self.at = now;
        let foreign = self.config.foreign * rates[0];
        while foreign > 0.0 && self.foreign_next <= now {
            self.levels[0] = (self.levels[0] - 1.0).max(0.0);
            self.foreign_next += -(1.0 - self.random.random::<f64>()).ln() / foreign;
        }
    }

    /// A request of so many tokens, of which so many are the answer's, arrives.
    pub(crate) fn arrive(&mut self, now: f64, id: u64, tokens: f64, output: f64) -> Fate {
        self.refill(now);
        match self.config.outage {
            Outage::None => {}
            Outage::Unavailable => return Fate::Failed { after: 0.02 },
            Outage::Refused => return Fate::Failed { after: 0.0 },
            Outage::Hang => return Fate::Lost,
        }
        let accident = if self.config.overloaded + self.config.failing > 0.0 { self.random.random::<f64>() } else { 1.0 };
        if accident < self.config.overloaded {
            let retry_after = (self.config.retry_after > 0.0).then_some(self.config.retry_after);
            return Fate::Refused { which: Limit::Requests, retry_after };
        }
        if accident < self.config.overloaded + self.config.failing {
            return Fate::Failed { after: 0.05 };
        }
        let (capacities, rates) = (self.capacities(), self.rates());
        let weights = [1.0, tokens, tokens - output, output];
        for (which, weight) in weights.into_iter().enumerate() {
            if rates[which] > 0.0 && !self.config.lenient && self.levels[which] < weight.min(capacities[which]) {
                let retry_after = (self.config.retry_after > 0.0).then_some(self.config.retry_after);
                return Fate::Refused { which: if which == 0 { Limit::Requests } else { Limit::Tokens }, retry_after };
            }
        }
        if self.config.day_limit > 0.0 && self.day < 1.0 {
            return Fate::Refused { which: Limit::Requests, retry_after: Some(DAY - now % DAY) };
        }
        if self.config.cap > 0 && self.active >= self.config.cap {
            let retry_after = (self.config.retry_after > 0.0).then_some(self.config.retry_after);
            return Fate::Refused { which: Limit::InFlight, retry_after };
        }
        self.day -= 1.0;
        for ((level, rate), weight) in self.levels.iter_mut().zip(rates).zip(weights) {
            *level -= if rate > 0.0 { weight } else { 0.0 };
        }
        if self.config.sliding > 0.0 {
            self.admitted.push_back((now, weights));
        }
        if self.random.random::<f64>() < self.config.stuck {
            return Fate::Lost;
        }
        let after = self.service_time(output);
        if self.config.slots > 0 && self.active >= self.config.slots {
            self.waiting.push_back((id, after));
            return Fate::Waits;
        }
        self.active += 1;
        Fate::Answered { after }
    }

    /// Whether its rates would let a request of so many tokens pass now.
    pub(crate) fn has_room(&mut self, now: f64, tokens: f64, output: f64) -> bool {
        // Strangers come by chance, and looking must not change when.
        if self.config.foreign == 0.0 {
            self.refill(now);
        }
        let (capacities, rates) = (self.capacities(), self.rates());
        let weights = [1.0, tokens, tokens - output, output];
        let is_used_up = |which: usize| rates[which] > 0.0 && self.levels[which] < weights[which].min(capacities[which]);
        self.config.lenient || !(0..KINDS).any(is_used_up)
    }

    fn service_time(&mut self, output: f64) -> f64 {
        let mean = self.config.base + self.config.per_1k * output * self.config.output_factor / 1e3;
        let noise = if self.config.cv > 0.0 {
            let variance = (1.0 + self.config.cv * self.config.cv).ln();
            LogNormal::new(-variance / 2.0, variance.sqrt()).expect("a spread").sample(&mut self.random)
        } else {
            1.0
        };
        let tail = if self.random.random::<f64>() < self.config.tail { self.config.tail_factor } else { 1.0 };
        mean * noise * tail
    }

    /// How long the place of a request that is done stays taken.
    pub(crate) fn lag(&mut self) -> f64 {
        if self.config.lag > 0.0 { self.random.random_range(0.0..self.config.lag) } else { 0.0 }
    }

    /// A request is done; the next that waited begins, and ends after so long.
    pub(crate) fn leave(&mut self) -> Option<(u64, f64)> {
        self.active -= 1;
        let next = self.waiting.pop_front()?;
        self.active += 1;
        Some(next)
    }

    pub(crate) fn headers(&mut self, now: f64) -> RateLimits {
        if let Some(says) = self.config.says {
            self.refill(now);
            return self.said(now, says);
        }
        if self.config.headers == Headers::None {
            return RateLimits::default();
        }
        self.refill(now);
        let (rates, capacities) = (self.rates(), self.capacities());
        let window = |which: usize| {
            if rates[which] <= 0.0 {
                return Window::default();
            }
            let limit = 60.0 * rates[which];
            Window {
                limit: Some(limit as u64),
                remaining: Some((self.levels[which].max(0.0) / capacities[which] * limit) as u64),
                reset: None,
            }
        };
        let right = RateLimits { requests: window(0), tokens: window(1), ..RateLimits::default() };
        match self.config.headers {
            Headers::Stale => *self.stale.get_or_insert(right),
            // A reading of -1 is dropped by the parser of headers.
            Headers::Wrong => RateLimits { requests: Window { remaining: None, ..right.requests }, ..right },
            _ => right,
        }
    }

    /// Requests a second at the most, of this mean size.
    pub(crate) fn ideal(&self, tokens: f64, output: f64) -> f64 {
        if self.config.outage != Outage::None {
            return 0.0;
        }
        let tail = 1.0 + self.config.tail * (self.config.tail_factor - 1.0);
        let time = (self.config.base + self.config.per_1k * output * self.config.output_factor / 1e3) * tail;
        let [requests, by_tokens, by_input, by_output] = if self.config.lenient { [0.0; KINDS] } else { self.rates() };
        let limits = [
            (requests > 0.0).then_some(requests * (1.0 - self.config.foreign)),
            (by_tokens > 0.0).then_some(by_tokens / tokens),
            (by_input > 0.0).then_some(by_input / (tokens - output)),
            (by_output > 0.0).then_some(by_output / output),
            (self.config.cap > 0).then_some(self.config.cap as f64 / time),
            (self.config.slots > 0).then_some(self.config.slots as f64 / time),
            (self.config.day_limit > 0.0).then_some(self.config.day_limit / DAY),
        ];
        limits.into_iter().flatten().fold(f64::INFINITY, f64::min)
    }
}
