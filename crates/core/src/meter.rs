//! What a run has done so far: counted by the stages, read by the progress line and the run record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::traffic::{Departure, InFlight, Returned, Traffic};
use crate::{Canaries, Money, Tally, Usage};

/// Counters of one run. All of them may be read at any moment by anybody.
#[derive(Debug, Default)]
pub struct Meter {
    /// Rows of the source.
    pub source: AtomicU64,
    /// Rows that the filters left out.
    pub filtered_out: AtomicU64,
    /// The rows that this run is about, where that are not all.
    limit_rows: Mutex<Option<u64>>,
    /// Rows that were settled before this run and ask nothing new.
    pub unchanged: AtomicU64,
    /// Rows answered from the journal, without asking again.
    pub from_journal: AtomicU64,
    /// Rows that got an answer in this run, those from the journal included.
    pub answered: AtomicU64,
    /// Rows that became dead letters in this run.
    pub dead_letters: AtomicU64,
    /// Rows that left the results because they have left the source.
    pub pruned: AtomicU64,
    /// Requests that left.
    pub sent: AtomicU64,
    /// Requests that brought a usable response.
    pub ok: AtomicU64,
    /// Requests that a limit refused.
    pub rate_limited: AtomicU64,
    /// Requests that failed in another way.
    pub failed: AtomicU64,
    /// Requests that asked at least one row again.
    pub retried: AtomicU64,
    /// Rows in all the requests that left.
    pub rows_sent: AtomicU64,
    input_tokens: AtomicU64,
    cached_input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    cost: AtomicI64,
    reserved: AtomicI64,
    rejections: Mutex<BTreeMap<String, u64>>,
    steps: Mutex<Tally>,
    in_flight: Mutex<InFlight>,
    limit: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
    traffic: Mutex<BTreeMap<String, Traffic>>,
    canaries: Mutex<Canaries>,
}

/// Why a run waits: what went wrong last, with no answer since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The model, by its name in the pipeline file.
    pub model: String,
    /// What happened, in the provider's words.
    pub what: String,
    /// Since when nothing was answered.
    pub since: Instant,
    /// Until when the provider asks to wait.
    pub until: Option<Instant>,
}

/// A request in flight; landed when this is dropped.
#[derive(Debug)]
pub struct Flight<'m> {
    meter: &'m Meter,
    model: String,
    since: Instant,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.meter.in_flight().add(-1);
        let latency = self.since.elapsed();
        self.meter.with_traffic(&self.model, |traffic| traffic.land(latency));
    }
}

impl Meter {
    /// Adds to one of the counters.
    pub fn add(&self, counter: impl FnOnce(&Self) -> &AtomicU64, count: u64) {
        counter(self).fetch_add(count, Relaxed);
    }

    /// Rows that had been counted as answered become dead letters after all.
    pub fn dies(&self, rows: u64) {
        let fewer = |answered: u64| Some(answered.saturating_sub(rows));
        let _ = self.answered.fetch_update(Relaxed, Relaxed, fewer);
        self.dead_letters.fetch_add(rows, Relaxed);
    }

    /// Counts tokens and money of one attempt.
    pub fn spend(&self, usage: Usage, cost: Money) {
        let add = |counter: &AtomicU64, count: u64| counter.update(Relaxed, Relaxed, |sum| sum.saturating_add(count));
        add(&self.input_tokens, usage.input_tokens);
        add(&self.cached_input_tokens, usage.cached_input_tokens);
        add(&self.output_tokens, usage.output_tokens);
        self.cost.update(Relaxed, Relaxed, |sum| sum.saturating_add(cost.nano()));
    }

    /// Says how much is set aside now for requests in flight.
    pub fn set_reserved(&self, reserved: Money) {
        self.reserved.store(reserved.nano(), Relaxed);
    }

    /// Says that this run is about the first so many rows.
    pub fn set_limit_rows(&self, rows: Option<u64>) {
        *self.limit_rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    /// Rows that this run has to settle, those that were settled before not counted, as far as is known.
    pub fn rows_of_this_run(&self) -> u64 {
        let reading = self.read();
        let limit = *self.limit_rows.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = reading.source.saturating_sub(reading.filtered_out);
        let settled = reading.answered + reading.dead_letters;
        limit.unwrap_or(u64::MAX).min(passing).saturating_sub(reading.unchanged).max(settled)
    }

    /// Says how many requests may be in flight now.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    /// Says what went wrong last, or that there has been an answer since. What is said first keeps its time.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut current = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = current.as_ref().map(|current| current.since);
        *current = trouble.map(|trouble| Trouble { since: since.unwrap_or(trouble.since), ..trouble });
    }

    /// What went wrong last, if nothing was answered since.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a rejected answer under its reason.
    pub fn reject(&self, reason: &str) {
        let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        match rejections.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                rejections.insert(reason.to_owned(), 1);
            }
        }
    }

    /// Counts what the steps did about some answers.
    pub fn tally(&self, tally: &Tally) {
        if !tally.is_empty() {
            self.steps.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
        }
    }

    /// What the steps have done about the answers of this run, those from the journal included.
    pub fn steps(&self) -> Tally {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a canary row.
    pub fn canary(&self, note: impl FnOnce(&mut Canaries)) {
        note(&mut self.canaries.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What the canary rows came to.
    pub fn canaries(&self) -> Canaries {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request leaves for a model. It is in flight until what this returns is dropped.
    pub fn depart(&self, model: &str, departure: Departure) -> Flight<'_> {
        self.in_flight().add(1);
        self.with_traffic(model, |traffic| traffic.depart(departure));
        Flight { meter: self, model: model.to_owned(), since: Instant::now() }
    }

    /// Takes note of what has come back from a model.
    pub fn returned(&self, model: &str, returned: Returned) {
        self.with_traffic(model, |traffic| traffic.take_note(returned));
    }

    /// What went over the wire to each model, by its name in the pipeline file.
    pub fn traffic(&self) -> BTreeMap<String, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with_traffic(&self, model: &str, note: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        match traffic.get_mut(model) {
            Some(traffic) => note(traffic),
            None => note(traffic.entry(model.to_owned()).or_default()),
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counters at this moment.
    pub fn read(&self) -> Reading {
        let in_flight = {
            let mut in_flight = self.in_flight();
            in_flight.add(0);
            in_flight.clone()
        };
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Reading {
            source: get(&self.source),
            filtered_out: get(&self.filtered_out),
            unchanged: get(&self.unchanged),
            from_journal: get(&self.from_journal),
            answered: get(&self.answered),
            dead_letters: get(&self.dead_letters),
            pruned: get(&self.pruned),
            sent: get(&self.sent),
            ok: get(&self.ok),
            rate_limited: get(&self.rate_limited),
            failed: get(&self.failed),
            retried: get(&self.retried),
            rows_sent: get(&self.rows_sent),
            usage: Usage {
                input_tokens: get(&self.input_tokens),
                cached_input_tokens: get(&self.cached_input_tokens),
                output_tokens: get(&self.output_tokens),
                ..Usage::default()
            },
            cost: Money::from_nano(self.cost.load(Relaxed)),
            reserved: Money::from_nano(self.reserved.load(Relaxed)),
            in_flight: in_flight.now(),
            in_flight_peak: in_flight.peak(),
            in_flight_mean: in_flight.mean(),
            limit: get(&self.limit),
            rejections: self.rejections.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The counters of a [`Meter`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named and described as the counters of `Meter`")]
pub struct Reading {
    pub source: u64,
    pub filtered_out: u64,
    pub unchanged: u64,
    pub from_journal: u64,
    pub answered: u64,
    pub dead_letters: u64,
    pub pruned: u64,
    pub sent: u64,
    pub ok: u64,
    pub rate_limited: u64,
    pub failed: u64,
    pub retried: u64,
    pub rows_sent: u64,
    pub usage: Usage,
    pub cost: Money,
    pub reserved: Money,
    pub in_flight: u64,
    pub in_flight_peak: u64,
    pub in_flight_mean: f64,
    pub limit: u64,
    pub rejections: BTreeMap<String, u64>,
}

impl Reading {
    /// Rows of the source that are neither filtered out nor settled, now or before.
    pub fn remaining(&self) -> u64 {
        self.source.saturating_sub(self.filtered_out + self.unchanged + self.answered + self.dead_letters)
    }
}
