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
mod latency;
mod rate;
pub mod rows;
mod stock;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::accidents::{Accidents, Cause, Learned, Pace};
use self::breaker::Breaker;
use self::cap::{Cap, Verdict};
use self::constants::{
    ADMITTED_AFTER, ADMITTED_AFTER_REFUSALS, CAP_GATE, COMEBACK, DOUBLING, FAILS_AT_ONCE, LANE_PAUSE, LATE_AT_LEAST, LONG_PAUSE,
    LONGEST_TOLD, PAUSE_GATE, QUICK_START, SPEED_OVER, STREAK, WINDOW,
};
pub use self::gate::{Gate, Pass};
pub use self::host::{Identity, join};
use self::knee::Knee;
use self::latency::Latency;
use self::rate::{Mark, Rate};
use self::stock::{Covered, Heard, Stock};
use crate::RateLimits;

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

/// What the pipeline file says about a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Requests in flight.
    pub bounds: Bounds,
    /// Requests a minute, if stated: never exceeded.
    pub rpm: Option<u32>,
    /// Tokens a minute, if stated: never exceeded.
    pub tpm: Option<u64>,
    /// Whether clients that know nothing of this one use the same key: the pace is then found by rules that
    /// lead to equal shares, at some cost in throughput and refusals.
    pub shared: bool,
    /// Decides when tests happen, so that several lanes do not test at once.
    pub seed: u64,
    /// Parts of the controller that are left out.
    pub without: Without,
}

/// Parts of the controller that can be left out, to see what they are worth. Outside of that all are in force, but for the
/// knee of a model in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// The floor that admitted work has proved.
    pub floor: bool,
    /// The allowance withheld after a refusal.
    pub debt: bool,
    /// The requests that have to be admitted between two tests.
    pub gate: bool,
    /// Testing a cap by exactly one request: it is overrun by 5 % instead.
    pub single_test: bool,
    /// Telling refusals by accident from limits.
    pub accidents: bool,
    /// The level at which a server begins to queue.
    pub knee: bool,
}

/// What a request weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Tokens of prompt and answer together, as far as they can be estimated.
    pub tokens: u64,
    /// Tokens of the answer, as far as they can be estimated: its time goes by them.
    pub output: u64,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The limit that a refusal names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Named {
    /// Requests a minute; how many, if that is said too.
    Requests(Option<u64>),
    /// Tokens a minute; how many, if that is said too, and how many the server counted for the request.
    Tokens(Option<u64>, Option<u64>),
    /// Requests in flight.
    InFlight,
}

/// How a request ended, as far as the lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The server answered, whatever it said; with the tokens of the answer if they are known.
    Answered(Option<u64>),
    /// A limit turned it away.
    Limited {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// Which limit, if that is said.
        named: Option<Named>,
    },
    /// The server failed, or nothing came back.
    Failed {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// We no longer wanted to know.
    GivenUp,
}

/// What governs a lane at a moment: one line of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Requests that may be in flight.
    pub limit: usize,
    /// Requests that are.
    pub in_flight: usize,
    /// Requests a minute that may leave, where a limit is known.
    pub rpm: Option<f64>,
    /// Tokens a minute that may leave, where a limit is known.
    pub tpm: Option<f64>,
    /// Requests a minute that admitted work has proved.
    pub proven: Option<f64>,
    /// The suspected or known cap on requests in flight.
    pub cap: Option<usize>,
    /// Whether the server counts as down.
    pub down: bool,
    /// Refusals so far.
    pub refused: u64,
}

/// What is worth knowing at the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Requests in flight.
    pub limit: f64,
    /// Requests and tokens a second, where a limit is known.
    pub pace: [Option<f64>; 2],
    /// The same, as far as admitted work has proved it.
    pub proven: [Option<f64>; 2],
}

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

    /// Takes this process's part of a lane that several use: its share, whether it makes the tests, and, if it does
    /// not, what the one that does has learned. Everything that the lane knows is about the whole of it.
    pub fn take_part(&mut self, now: Duration, part: &board::Share) {
        const FULL: f64 = 0.75;
        let now = now.as_secs_f64();
        let share = part.share.clamp(1e-3, 1.0);
        if self.flights.is_empty() && share < 1.0 && share != self.share {
            // Who was here before learns of us at the next look.
            self.hush = now + 1.2 * board::BEAT;
        }
        if share < self.share && self.leads {
            self.joined(now);
        }
        if part.leads && !self.leads {
            // What refusals have cost so far was the price of another's tests.
            self.cost = 1;
        }
        (self.share, self.leads) = (share, part.leads);
        self.cap.set_share(self.share);
        let elsewhere = std::mem::replace(&mut self.refused_elsewhere, part.refused_elsewhere);
        self.full_elsewhere = part.in_flight_elsewhere as f64 >= FULL * (1.0 - share) * self.cap.limit - 1.0;
        match &part.memory {
            Some(memory) if !part.leads => self.adopt(memory),
            _ if part.leads && part.refused_elsewhere > elsewhere => self.refused_elsewhere(now),
            _ => {}
        }
        self.at_last_look = Some(((self.cap.clone(), self.rates.clone()), self.refused));
    }

    /// Another process has come since the last look. Refusals since then were his requests' doing, so nothing was learned from
    /// them; and whoever else is here may learn of him a little later than we.
    fn joined(&mut self, now: f64) {
        const LATE: f64 = 2.0;
        self.unsettled = now + LATE * board::BEAT;
        if let Some(((cap, rates), refused)) = self.at_last_look.take()
            && refused < self.refused
        {
            (self.cap, self.rates) = (cap, rates);
            self.cost = 1;
        }
    }

    /// Others were refused: as if one of ours had been.
    fn refused_elsewhere(&mut self, now: f64) {
        if now - self.cut < board::BEAT || now < self.unsettled || self.cap.is_fixed() {
            return;
        }
        let level = self.whole(self.level());
        let flight = Flight {
            at: now,
            level,
            load: Load::default(),
            sent: self.sent,
            covered: [Covered::Yes; KINDS],
            test: false,
            admitted: false,
            lost: false,
        };
        self.cut = now;
        self.good = 0;
        if self.is_paced() && !self.cap.is_held() {
            self.cut_rates(now, &flight, [true; KINDS], None, 0.0);
        } else if self.cap.is_held() {
            self.cap.ease(now, (self.cap.limit - 1.0 / self.share) as usize);
        } else {
            self.cap.suspect(now, level);
        }
    }

    /// A level of this process, as one of the whole lane.
    fn whole(&self, level: usize) -> usize {
        (level as f64 / self.share).round() as usize
    }

    fn adopt(&mut self, memory: &Memory) {
        self.cap.adopt(memory.limit);
        for (rate, (pace, proven)) in self.rates.iter_mut().zip(memory.pace.into_iter().zip(memory.proven)) {
            rate.adopt(pace, proven);
        }
    }

    /// Lets a request leave, or says when to ask again: then, or as soon as one has landed.
    ///
    /// # Errors
    /// When it may not leave now.
    pub fn admit(&mut self, now: Duration, load: Load) -> Result<Ticket, Duration> {
        self.try_admit(now.as_secs_f64(), load).map_err(seconds)
    }

    fn try_admit(&mut self, now: f64, load: Load) -> Result<Ticket, f64> {
        self.advance_to(now);
        if now < self.paused {
            return Err(self.paused);
        }
        if now < self.hush {
            return Err(self.hush);
        }
        if let Scout::Sent(_) = self.scout {
            return Err(now + 0.1);
        }
        let probe = self.breaker.gate(now)?;
        if self.flights.len() >= self.settings.bounds.max.max(1) {
            return Err(now + WINDOW);
        }
        let level = self.level();
        let mut test = false;
        if !probe {
            self.comeback_room(now, level)?;
            test = self.cap_room(now, level)?;
        }
        let dares = self.accidents.dares().is_some();
        let load = self.scaled(load);
        let weights = load.weights();
        let covered = match self.rates_room(now, weights, dares) {
            Ok(covered) => covered,
            Err(again) => {
                if test {
                    self.cap.test_lost();
                }
                return Err(again);
            }
        };
        let level = self.whole(level);
        let flight = Flight { at: now, level, load, sent: self.sent, covered, test, admitted: false, lost: false };
        for (which, weight) in weights.into_iter().enumerate() {
            self.rates[which].take(weight, !self.is_overruled(which));
            self.sent[which] += weight / self.share;
            self.stocks[which].take(now, weight, self.sent[which], covered[which]);
        }
        self.accidents.take(now);
        let id = self.next;
        self.next += 1;
        if self.flights.is_empty() {
            self.last_response = now;
        }
        if probe {
            self.breaker.probes(id);
        }
        if self.scout == Scout::Wanted {
            self.scout = Scout::Sent(id);
        }
        self.flights.insert(id, flight);
        self.unseen.push_back(id);
        Ok(Ticket(id))
    }

    /// Whether limited rates, and what headers say is left, let a request leave, and for what.
    fn rates_room(&mut self, now: f64, weights: [f64; KINDS], dares: bool) -> Result<[Covered; KINDS], f64> {
        self.accidents.ready(now)?;
        let is_alone = self.share == 1.0 && !self.settings.shared;
        let before = self.governed;
        self.governed = std::array::from_fn(|which| is_alone && self.stocks[which].governs(now));
        for which in (0..KINDS).filter(|which| before[*which] && !self.governed[*which]) {
            if let Some(slope) = self.stocks[which].slope() {
                self.rates[which].go_on(now, slope);
            }
        }
        let mut covered = [Covered::Yes; KINDS];
        if dares {
            return Ok(covered);
        }
        for (which, weight) in weights.into_iter().enumerate() {
            if !self.is_overruled(which) {
                self.rates[which].ready(now, weight, self.share)?;
            }
            if is_alone {
                covered[which] = self.stocks[which].ready(now, weight, self.sent[which])?;
            }
        }
        Ok(covered)
    }

    /// Whether what is left of this kind of work, or of another that explains all refusals, makes a rate that was learned
    /// unnecessary.
    fn is_overruled(&self, which: usize) -> bool {
        let rate = &self.rates[which];
        !rate.is_stated() && (self.governed[which] || self.governed.contains(&true) && !rate.is_announced())
    }

    /// Work a second that may leave, where a limit is known.
    fn pace(&self, which: usize) -> Option<f64> {
        if self.governed[which] { self.stocks[which].slope() } else { Some(self.rates[which].pace).filter(|pace| pace.is_finite()) }
    }

    /// A request's weight as the server counts it, as far as it has said.
    fn scaled(&self, load: Load) -> Load {
        Load { tokens: (load.tokens as f64 * self.token_scale) as u64, ..load }
    }

    /// The request turned out to weigh something else.
    pub fn amend(&mut self, ticket: Ticket, load: Load) {
        let load = self.scaled(load);
        let Some(flight) = self.flights.get_mut(&ticket.0) else { return };
        let before = std::mem::replace(&mut flight.load, load).weights();
        for (which, (now, before)) in load.weights().into_iter().zip(before).enumerate() {
            self.sent[which] += (now - before) / self.share;
            self.rates[which].take_more(now - before);
        }
    }

    /// The request did not leave after all.
    pub fn withdraw(&mut self, ticket: Ticket) {
        let Some(flight) = self.flights.remove(&ticket.0) else { return };
        self.lost -= usize::from(flight.lost);
        for ((rate, weight), sent) in self.rates.iter_mut().zip(flight.weights()).zip(&mut self.sent) {
            rate.take_more(-weight);
            *sent -= weight / self.share;
        }
        if flight.test {
            self.cap.test_lost();
        }
        if self.scout == Scout::Sent(ticket.0) {
            self.scout = Scout::Wanted;
        }
        self.breaker.withdraw(ticket.0);
    }

    fn cap_room(&mut self, now: f64, level: usize) -> Result<bool, f64> {
        if let Some(more) = self.accidents.dares() {
            return if (level as f64) < more * self.cap.limit { Ok(false) } else { Err(now + WINDOW) };
        }
        let permitted = if self.is_paced() || self.settings.without.knee { f64::INFINITY } else { self.knee.permitted() };
        let gate = self.settings.without.gate || self.good as f64 >= self.share * CAP_GATE * f64::from(self.cost.max(1));
        if self.settings.without.single_test && self.cap.overrun(now, level) {
            return Ok(false);
        }
        let tests = self.leads && (self.share == 1.0 || self.full_elsewhere);
        self.cap.room(now, level, permitted, gate, tests)
    }

    fn comeback_room(&mut self, now: f64, level: usize) -> Result<(), f64> {
        let Some((limit, due)) = self.comeback else { return Ok(()) };
        if limit >= self.cap.limit {
            self.comeback = None;
            return Ok(());
        }
        if (level as f64) < limit {
            return Ok(());
        }
        if now < due {
            return Err(due);
        }
        self.comeback = Some((limit + 1.0, due.max(now - 0.02) + DOUBLING / (limit.max(1.0) * std::f64::consts::LN_2)));
        Ok(())
    }

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

    fn scout_back(&mut self, id: u64) {
        if self.scout == Scout::Sent(id) {
            self.scout = Scout::None;
        }
    }

    fn responded(&mut self, now: f64, flight: &Flight) {
        self.last_response = now;
        if self.breaker.responded(flight.at) {
            self.comeback = Some(((COMEBACK * self.cap.limit).max(1.0), now));
        }
    }

    fn went_down(&mut self) {
        self.comeback = None;
        self.rates.iter_mut().for_each(Rate::forget_marks);
    }

    fn admitted(&mut self, now: f64, flight: &Flight) {
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

    /// Takes note of a refusal. Returns whether what headers say is left explains it.
    fn refuse(&mut self, now: f64, flight: &Flight, named: Option<Named>, pause: f64) -> bool {
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
    fn unlearn(&mut self, now: f64, (cap, rates): Learned) {
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

    fn cut_rates(&mut self, now: f64, flight: &Flight, blamed: [bool; KINDS], told: Option<u64>, pause: f64) {
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
    fn lately(&self, now: f64) -> [f64; KINDS] {
        let (then, before) = self.recent.front().copied().unwrap_or((now - 1.0, [0.0; KINDS]));
        std::array::from_fn(|which| (self.sent[which] - before[which]).max(1.0) / (now - then).max(WINDOW))
    }

    /// Whether a limited rate is known or suspected.
    fn is_paced(&self) -> bool {
        self.governed.contains(&true) || self.rates.iter().any(Rate::is_set)
    }

    /// Lets the time pass: what was not refused by now was admitted, and windows end.
    pub fn advance(&mut self, now: Duration) {
        self.advance_to(now.as_secs_f64());
    }

    fn advance_to(&mut self, now: f64) {
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

fn mark(flight: &Flight, which: usize) -> Mark {
    Mark { at: flight.at, work: flight.sent[which], count: flight.sent[0].max(0.0) as u64 }
}

fn seconds(at: f64) -> Duration {
    Duration::try_from_secs_f64(at.max(0.0)).unwrap_or(Duration::MAX)
}

/// Standard deviation over mean.
fn variation(samples: &VecDeque<f64>) -> f64 {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / n;
    variance.sqrt() / mean.max(1e-9)
}

#[cfg(test)]
mod tests;
