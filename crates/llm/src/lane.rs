//! The lane: how many requests to one model may be in flight, and how fast they may leave.
//!
//! One lane serves everybody in this process who uses the same base URL, key and model. [`Lane`] is a pure
//! state machine: it is told the time and what happened, and answers whether the next request may leave. It
//! knows no clock and no socket. [`Gate`] puts it behind a lock and lets waiting callers know when to ask again;
//! [`board`] shares it among the processes of a host. How many rows share a request is decided in [`rows`].
//!
//! What it goes by, in the order of trust: limits that the provider names, in headers or in a refusal; refusals,
//! which a cap on requests in flight (`cap`) and a limited rate (`rate`) explain in different ways, and some of which
//! nothing explains (`accidents`); and the time
//! of answers only for servers that queue, where it tells how much work each level does (`knee`). Raw latency is
//! no signal: it grows with the length of answers and with the server's own batching.

mod accidents;
mod announced;
pub mod board;
mod breaker;
mod cap;
mod constants;
mod gate;
mod host;
mod knee;
mod landing;
mod latency;
mod leaving;
mod passing;
mod rate;
mod refusal;
pub mod rows;
mod stock;
mod terms;
mod together;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::accidents::{Accidents, Learned};
use self::breaker::Breaker;
use self::cap::Cap;
use self::constants::{LATE_AT_LEAST, QUICK_START};
pub use self::gate::{Gate, Pass};
pub use self::host::{Identity, join};
use self::knee::Knee;
use self::latency::Latency;
use self::rate::Rate;
use self::stock::{Covered, Stock};
pub use self::terms::{Bounds, Load, Memory, Named, Outcome, Reading, Settings, Ticket, Without};

/// The controller of one lane. Times are measured from any fixed moment.
#[derive(Clone, Debug)]
pub struct Lane {
    settings: Settings,
    flights: BTreeMap<u64, Flight>,
    /// Requests of which it is not known yet whether they were admitted, in the order of leaving.
    unseen: VecDeque<u64>,
    next: u64,
    /// Requests in flight that seem lost: they hold no place at the server.
    lost: usize,
    cap: Cap,
    /// By [`Flight::weights`].
    rates: [Rate; KINDS],
    /// What headers say is left, by [`Flight::weights`], and whether that alone says what may leave.
    stocks: [Stock; KINDS],
    governed: [bool; KINDS],
    accidents: Accidents,
    breaker: Breaker,
    knee: Knee,
    latency: Latency,
    /// What has left and was not refused, by [`Flight::weights`].
    sent: [f64; KINDS],
    /// [`Lane::sent`] at the last few window ends.
    recent: VecDeque<(f64, [f64; KINDS])>,
    /// Requests a second that leave, in the mean of some seconds.
    speed: f64,
    /// Admitted since the last cut.
    good: u64,
    /// Refusals that the last cut and its followers cost.
    cost: u32,
    /// When something was cut last: what left before says nothing about what is in force since.
    cut: f64,
    last_level: usize,
    paused: f64,
    /// Until when nothing leaves, so that a refusal is understood before the next.
    hush: f64,
    scout: Scout,
    window_end: f64,
    refused_in_window: bool,
    last_response: f64,
    last_admitted: f64,
    /// When the request left whose response said something of limits, and no later one has.
    last_heard_of: f64,
    /// When a response first said that nothing is left, and until when; and whether such words have been disproved.
    empty: Option<(f64, f64)>,
    empty_lies: bool,
    /// Mean time until a failure shows.
    failure_time: f64,
    /// After an outage: what may be in flight, until it meets the former level.
    comeback: Option<(f64, f64)>,
    refused: u64,
    refused_elsewhere: u64,
    /// Share of the lane that is this process's, and whether this process makes the tests.
    share: f64,
    leads: bool,
    /// What was known at the last look at the board, and the refusals by then.
    at_last_look: Option<(Learned, u64)>,
    /// Until when refusals are put down to a change of the shares that somebody has not seen yet.
    unsettled: f64,
    /// Whether the other processes use their share: only then a test shows what the limit is.
    full_elsewhere: bool,
    /// Tokens that the server counts for each that we do.
    token_scale: f64,
    random: u64,
}

/// A request that goes alone after a refusal, to see whether anything is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scout {
    None,
    Wanted,
    Sent(u64),
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    at: f64,
    /// Others in flight when it left.
    level: usize,
    load: Load,
    /// What had left before it.
    sent: [f64; KINDS],
    /// Whether anything was left for it, as headers say.
    covered: [Covered; KINDS],
    /// Whether it tests the cap.
    test: bool,
    admitted: bool,
    lost: bool,
}

/// Kinds of work that a provider may limit: requests, tokens, tokens of prompts, tokens of answers. The last two are paced
/// only while headers announce a limit of their own for them.
const KINDS: usize = 4;
/// How many of them are measured by refusals, too.
const MEASURED_KINDS: usize = 2;

impl Load {
    fn weights(&self) -> [f64; KINDS] {
        [1.0, self.tokens as f64, self.tokens.saturating_sub(self.output) as f64, self.output as f64]
    }
}

impl Flight {
    fn weights(&self) -> [f64; KINDS] {
        self.load.weights()
    }
}

impl Lane {
    /// A lane that knows nothing yet but its settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            flights: BTreeMap::new(),
            unseen: VecDeque::new(),
            next: 0,
            lost: 0,
            cap: Cap::new(settings.bounds),
            rates: [settings.rpm.map(f64::from), settings.tpm.map(|tpm| tpm as f64), None, None]
                .map(|stated| Rate::new(stated.map(|stated| stated / 60.0), settings.without)),
            stocks: Default::default(),
            governed: [false; KINDS],
            accidents: Accidents::default(),
            breaker: Breaker::default(),
            knee: Knee::new(),
            latency: Latency::default(),
            sent: [0.0; KINDS],
            recent: VecDeque::new(),
            speed: 0.0,
            good: 0,
            cost: 0,
            cut: f64::NEG_INFINITY,
            last_level: 0,
            paused: f64::NEG_INFINITY,
            hush: f64::NEG_INFINITY,
            scout: Scout::None,
            window_end: 0.0,
            refused_in_window: false,
            last_response: f64::NEG_INFINITY,
            last_admitted: f64::NEG_INFINITY,
            last_heard_of: f64::NEG_INFINITY,
            empty: None,
            empty_lies: false,
            failure_time: 0.1,
            comeback: None,
            refused: 0,
            refused_elsewhere: 0,
            share: 1.0,
            leads: true,
            at_last_look: None,
            unsettled: f64::NEG_INFINITY,
            full_elsewhere: true,
            token_scale: 1.0,
            random: settings.seed ^ 0x9E37_79B9_7F4A_7C15,
            settings,
        }
    }

    /// Starts from what was known a little while ago.
    pub fn resume(&mut self, memory: &Memory) {
        self.cap.resume(QUICK_START * memory.limit);
        for (rate, (pace, proven)) in self.rates.iter_mut().zip(memory.pace.into_iter().zip(memory.proven)) {
            if let Some(pace) = pace {
                rate.resume(QUICK_START * pace, proven);
            }
        }
    }

    /// What is worth knowing at the next start.
    pub fn memory(&self) -> Memory {
        Memory {
            limit: self.cap.limit,
            pace: [0, 1].map(|which| self.pace(which)),
            proven: [0, 1].map(|which| self.rates[which].proven.map(|(proven, _)| proven)),
        }
    }

    /// Requests in flight that hold a place at the server.
    fn level(&self) -> usize {
        self.flights.len() - self.lost
    }

    /// Between 0.75 and 1.25.
    fn jitter(&mut self) -> f64 {
        // A step of xorshift: tests only have to fall apart, not to be unpredictable.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        0.75 + 0.5 * (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many requests may be in flight now.
    pub fn limit(&self) -> usize {
        let limit = self.comeback.map_or(self.cap.limit, |(limit, _)| limit.min(self.cap.limit));
        if self.breaker.is_open() { 1 } else { ((limit * self.share) as usize).max(1) }
    }

    /// How many are.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What governs the lane now.
    pub fn reading(&self) -> Reading {
        let per_minute = |which: usize| self.pace(which).filter(|_| self.rates[which].enforced).map(|pace| 60.0 * pace);
        Reading {
            limit: self.limit(),
            in_flight: self.in_flight(),
            rpm: per_minute(0),
            tpm: per_minute(1),
            proven: self.rates[0].proven.map(|(proven, _)| 60.0 * proven),
            cap: self.cap.ceiling(),
            down: self.breaker.is_open(),
            refused: self.refused,
        }
    }

    /// How long an answer of so many tokens may take before it is late: so long that this share of answers comes
    /// sooner. `None` until some were seen.
    pub fn late(&self, output: u64, share: f64) -> Option<Duration> {
        let usual = self.latency.usual(output as f64)?;
        // Where answers hardly differ in time, the slower half is not late.
        Some(Duration::from_secs_f64((usual * self.latency.strain(share)?.max(LATE_AT_LEAST)).clamp(0.0, 1e6)))
    }

    /// Whether there is room to send something twice: no refusal lately, no rate in force that is nearly used up,
    /// no outage.
    pub fn is_calm(&self, now: Duration) -> bool {
        const QUIET: f64 = 5.0;
        let now = now.as_secs_f64();
        let lately = self.lately(now);
        let near =
            |which: usize| self.rates[which].enforced && self.pace(which).is_some_and(|pace| lately[which] > 0.9 * pace * self.share);
        !self.breaker.is_open() && now >= self.paused && now - self.cut > QUIET && !near(0) && !near(1)
    }
}

fn seconds(at: f64) -> Duration {
    Duration::try_from_secs_f64(at.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
