//! The lane: how many requests to one model may be in flight, and how fast they may leave.
//!
//! One lane serves everybody in this process who uses the same base URL, key and model. [`Lane`] is a pure
//! state machine: it is told the time and what happened, and answers whether the next request may leave.
//! [`Gate`] puts it behind a lock and lets waiting callers know when to ask again. How many rows share a
//! request is decided beside it, in [`rows`].
//!
//! Raw latency is no signal here: it grows with the length of answers and with the server's own batching.
//! Refusals and announced limits are.

pub mod rows;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::RateLimits;

/// Between two changes of the limit, so that one burst of refusals counts once.
const EPISODE: Duration = Duration::from_secs(1);
/// What a refusal leaves of the limit: it is near the right level already.
const CUT: f64 = 0.9;
/// Growth a second once the first refusal has shown where the limit is about.
const PROBE: f64 = 1.03;
/// What is used of a rate that is known, so that clock differences do not become refusals.
const USE_OF_RATE: f64 = 0.99;
/// How much of a second's allowance may leave in one burst.
const BURST_SECONDS: f64 = 0.25;
/// Failures in a row after which the server counts as down.
const BREAKER: u32 = 5;
/// Between two probes of a server that is down: doubled from the first to the second of these.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));
/// A shorter wait binds only the refused request, not the lane: pausing for each would cost more than it saves.
const LANE_PAUSE: Duration = Duration::from_secs(5);

/// How many requests may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At the start.
    pub start: usize,
    /// At the least.
    pub min: usize,
    /// At the most.
    pub max: usize,
}

/// How a request ended, as far as the lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The server answered, whatever it said.
    Answered,
    /// A limit turned it away.
    Limited {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server failed, or nothing came back.
    Failed,
}

/// The controller of one lane. Times are measured from any fixed moment.
#[derive(Debug)]
pub struct Lane {
    bounds: Bounds,
    limit: f64,
    in_flight: usize,
    /// Whether the limit kept a request back since it last changed.
    binding: bool,
    /// Whether no refusal has been met yet: the limit doubles each second.
    ramping: bool,
    changed: Duration,
    paused_until: Duration,
    failures: u32,
    requests: Bucket,
    tokens: Bucket,
}

impl Lane {
    /// A lane with these bounds, and the rates a minute that the pipeline file states.
    pub fn new(bounds: Bounds, rpm: Option<u32>, tpm: Option<u64>) -> Self {
        Self {
            bounds,
            limit: bounds.start.clamp(bounds.min, bounds.max) as f64,
            in_flight: 0,
            binding: false,
            ramping: true,
            changed: Duration::ZERO,
            paused_until: Duration::ZERO,
            failures: 0,
            requests: Bucket::new(rpm.map(f64::from)),
            tokens: Bucket::new(tpm.map(|tpm| tpm as f64)),
        }
    }

    /// Lets a request of so many tokens leave, or says when to ask again: at a time, or (`None`) when one has
    /// landed.
    ///
    /// # Errors
    /// When it may not leave now.
    pub fn admit(&mut self, now: Duration, tokens: u64) -> Result<(), Option<Duration>> {
        if now < self.paused_until {
            return Err(Some(self.paused_until));
        }
        if !self.has_room(now) {
            return Err(None);
        }
        self.requests.ready(now, 1.0)?;
        self.tokens.ready(now, tokens as f64)?;
        self.requests.level -= 1.0;
        self.tokens.level -= tokens as f64;
        self.in_flight += 1;
        Ok(())
    }

    /// Whether one more may be in flight; if not, takes note that the limit keeps one back.
    pub fn has_room(&mut self, now: Duration) -> bool {
        self.grow(now);
        let room = self.in_flight < self.open_limit();
        self.binding |= !room;
        room
    }

    /// The limit, or a single probe while the server is down.
    fn open_limit(&self) -> usize {
        if self.failures >= BREAKER { 1 } else { self.limit() }
    }

    /// Takes note of how a request ended.
    pub fn landed(&mut self, now: Duration, outcome: Outcome, limits: &RateLimits) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.requests.announced(limits.requests.limit);
        self.tokens.announced(limits.tokens.limit);
        match outcome {
            Outcome::Answered => self.failures = 0,
            Outcome::Limited { retry_after } => {
                self.failures = 0;
                if let Some(wait) = retry_after.filter(|wait| *wait >= LANE_PAUSE) {
                    self.paused_until = self.paused_until.max(now + wait);
                }
                self.ramping = false;
                if now >= self.changed + EPISODE || self.changed == Duration::ZERO {
                    self.limit = (self.limit.min(self.in_flight as f64 + 1.0) * CUT).max(self.bounds.min as f64);
                    self.changed = now;
                    self.binding = false;
                }
            }
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= BREAKER {
                    let (first, last) = PROBE_EVERY;
                    let wait = first.saturating_mul(1 << (self.failures - BREAKER).min(8)).min(last);
                    self.paused_until = self.paused_until.max(now + wait);
                }
            }
        }
    }

    /// Raises the limit if it was what kept requests back.
    fn grow(&mut self, now: Duration) {
        if !self.binding || now < self.changed + EPISODE || self.failures > 0 {
            return;
        }
        self.limit = if self.ramping { self.limit * 2.0 } else { (self.limit * PROBE).max(self.limit + 1.0) };
        self.limit = self.limit.min(self.bounds.max as f64);
        self.changed = now;
        self.binding = false;
    }

    /// How many requests may be in flight now.
    pub fn limit(&self) -> usize {
        (self.limit as usize).max(1)
    }

    /// How many are.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// A rate a minute, if one is known, with the allowance that has gathered.
#[derive(Debug)]
struct Bucket {
    /// What the pipeline file says; it stands whatever a header announces above it.
    configured: Option<f64>,
    per_second: Option<f64>,
    level: f64,
    at: Duration,
}

impl Bucket {
    fn new(per_minute: Option<f64>) -> Self {
        let per_second = per_minute.map(|rate| rate * USE_OF_RATE / 60.0);
        Self { configured: per_second, per_second, level: 1.0, at: Duration::ZERO }
    }

    fn announced(&mut self, per_minute: Option<u64>) {
        if let Some(limit) = per_minute {
            let announced = limit as f64 * USE_OF_RATE / 60.0;
            self.per_second = Some(self.configured.map_or(announced, |configured| configured.min(announced)));
        }
    }

    /// Whether so much may leave now; if not, when.
    fn ready(&mut self, now: Duration, weight: f64) -> Result<(), Option<Duration>> {
        let Some(rate) = self.per_second else {
            self.level = 0.0;
            self.at = now;
            return Ok(());
        };
        let burst = (rate * BURST_SECONDS).max(1.0);
        self.level = (self.level + now.saturating_sub(self.at).as_secs_f64() * rate).min(burst);
        self.at = now;
        // A request heavier than the burst leaves when the bucket is full, and is paid off afterwards.
        let missing = weight.min(burst) - self.level;
        if missing <= 1e-9 {
            return Ok(());
        }
        Err(Some(now + Duration::from_secs_f64((missing / rate).min(3_600.0)) + Duration::from_micros(1)))
    }
}

/// A lane behind a lock.
#[derive(Debug)]
pub struct Gate {
    lane: Mutex<Lane>,
    epoch: Instant,
    landed: Notify,
}

impl Gate {
    /// A gate in front of this lane.
    pub fn new(lane: Lane) -> Self {
        Self { lane: Mutex::new(lane), epoch: Instant::now(), landed: Notify::new() }
    }

    /// Lets a request leave, or says when to ask again; see [`Lane::admit`].
    ///
    /// # Errors
    /// When it may not leave now.
    pub fn enter(&self, tokens: u64) -> Result<(), Option<Instant>> {
        let now = self.epoch.elapsed();
        self.lane().admit(now, tokens).map_err(|again| again.map(|at| self.epoch + at))
    }

    /// Whether one more may be in flight; see [`Lane::has_room`].
    pub fn has_room(&self) -> bool {
        let now = self.epoch.elapsed();
        self.lane().has_room(now)
    }

    /// Takes note of how a request ended.
    pub fn leave(&self, outcome: Outcome, limits: &RateLimits) {
        let now = self.epoch.elapsed();
        self.lane().landed(now, outcome, limits);
        self.landed.notify_waiters();
    }

    /// Returns when a request has landed, of whoever shares the lane.
    pub async fn landed(&self) {
        self.landed.notified().await;
    }

    /// How many requests may be in flight now, and how many are.
    pub fn level(&self) -> (usize, usize) {
        let lane = self.lane();
        (lane.limit(), lane.in_flight())
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIXED: Bounds = Bounds { start: 3, min: 3, max: 3 };
    const WIDE: Bounds = Bounds { start: 4, min: 1, max: 64 };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_fixed_limit_holds() {
        let mut lane = Lane::new(FIXED, None, None);
        for _ in 0..3 {
            assert_eq!(lane.admit(at(0.0), 10), Ok(()));
        }
        assert_eq!(lane.admit(at(9.0), 10), Err(None));
        lane.landed(at(9.0), Outcome::Limited { retry_after: None }, &RateLimits::default());
        assert_eq!(lane.admit(at(9.0), 10), Ok(()));
        assert_eq!(lane.limit(), 3);
    }

    #[test]
    fn the_limit_doubles_until_it_is_refused_and_then_probes() {
        let mut lane = Lane::new(WIDE, None, None);
        let mut now = 1.0;
        while lane.limit() < 32 {
            while lane.admit(at(now), 1).is_ok() {}
            now += 1.0;
            assert!(now < 10.0);
        }
        while lane.admit(at(now), 1).is_ok() {}
        let reached = lane.limit();
        now += 1.0;
        lane.landed(at(now), Outcome::Limited { retry_after: None }, &RateLimits::default());
        let cut = lane.limit();
        assert!((reached * 8 / 10..reached).contains(&cut), "{reached} -> {cut}");
        for _ in 0..5 {
            lane.landed(at(now), Outcome::Limited { retry_after: None }, &RateLimits::default());
        }
        assert_eq!(lane.limit(), cut, "one burst of refusals counts once");
    }

    #[test]
    fn stated_and_announced_rates_are_kept() {
        let leave_in = |lane: &mut Lane, seconds: u32, tokens: u64| {
            let (mut count, end) = (0, f64::from(seconds));
            let mut now = at(0.0);
            while now < at(end) {
                match lane.admit(now, tokens) {
                    Ok(()) => {
                        count += 1;
                        lane.landed(now, Outcome::Answered, &RateLimits::default());
                    }
                    Err(again) => now = again.unwrap_or(now + at(0.1)),
                }
            }
            count
        };
        let stated = leave_in(&mut Lane::new(WIDE, Some(600), None), 60, 1);
        assert!((585..=600).contains(&stated), "{stated}");
        let by_tokens = leave_in(&mut Lane::new(WIDE, None, Some(60_000)), 60, 1_000);
        assert!((57..=61).contains(&by_tokens), "{by_tokens}");
        let mut lane = Lane::new(WIDE, Some(600), None);
        lane.admit(at(0.0), 1).expect("the first leaves");
        let limits = RateLimits { requests: crate::Window { limit: Some(60), ..Default::default() }, ..Default::default() };
        lane.landed(at(0.0), Outcome::Answered, &limits);
        let announced = leave_in(&mut lane, 60, 1);
        assert!((57..=60).contains(&announced), "{announced}");
    }

    #[test]
    fn a_dead_server_is_probed_by_one_request_at_a_time() {
        let mut lane = Lane::new(WIDE, None, None);
        for _ in 0..4 {
            lane.admit(at(0.0), 1).expect("leaves");
        }
        for _ in 0..4 {
            lane.landed(at(1.0), Outcome::Failed, &RateLimits::default());
        }
        lane.admit(at(1.0), 1).expect("four failures are not yet an outage");
        lane.landed(at(1.0), Outcome::Failed, &RateLimits::default());
        assert!(matches!(lane.admit(at(1.1), 1), Err(Some(_))));
        lane.admit(at(2.0), 1).expect("a probe");
        assert_eq!(lane.admit(at(2.0), 1), Err(None));
        lane.landed(at(2.1), Outcome::Answered, &RateLimits::default());
        lane.admit(at(2.1), 1).expect("it is back");
        lane.admit(at(2.1), 1).expect("it is back");
    }

    #[test]
    fn a_long_retry_after_pauses_the_lane() {
        let mut lane = Lane::new(WIDE, None, None);
        lane.admit(at(0.0), 1).expect("leaves");
        lane.landed(at(1.0), Outcome::Limited { retry_after: Some(at(30.0)) }, &RateLimits::default());
        assert_eq!(lane.admit(at(5.0), 1), Err(Some(at(31.0))));
        assert_eq!(lane.admit(at(31.0), 1), Ok(()));
    }

    proptest! {
        #[test]
        fn in_flight_never_exceeds_the_limit(steps in prop::collection::vec((0_u8..4, 0.0_f64..3.0), 1..300)) {
            let mut lane = Lane::new(WIDE, Some(6_000), None);
            let (mut now, mut in_flight) = (0.0, 0_usize);
            for (action, pause) in steps {
                now += pause;
                match action {
                    0 => in_flight += usize::from(lane.admit(at(now), 5).is_ok()),
                    _ if in_flight == 0 => {}
                    1 => { in_flight -= 1; lane.landed(at(now), Outcome::Answered, &RateLimits::default()); }
                    2 => { in_flight -= 1; lane.landed(at(now), Outcome::Limited { retry_after: None }, &RateLimits::default()); }
                    _ => { in_flight -= 1; lane.landed(at(now), Outcome::Failed, &RateLimits::default()); }
                }
                prop_assert_eq!(lane.in_flight(), in_flight);
                prop_assert!((WIDE.min..=WIDE.max).contains(&lane.limit()));
                prop_assert!(in_flight <= WIDE.max);
            }
        }
    }
}
