//! The books: what was asked, what became of it, what was billed, and how often each item was paid.
//!
//! The billing rule: whatever was generated is billed, also when it was then lost on the way (cut, null, reset,
//! stalled, malformed, or left by the client before it was ready); whatever failed before generation (4xx, 429, 5xx,
//! an error in a 200, an outage) costs nothing.

use crate::books::{ItemCount, ItemTotals, LedgerSnapshot};
use crate::faults::{FAULTS, Fault};
use crate::limits::Gauges;
use crate::outcome::{OUTAGES, Outcome, PLAIN_OUTCOMES, REFUSALS};
use crate::price::{Tokens, usd};
use crate::timeline::{Tick, Timeline};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Locks, also after a panic elsewhere: counters have no half-done state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one request was billed, for a look-up by its id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) tokens: Tokens,
    pub(crate) nano_usd: u64,
}

const SHARDS: usize = 64;
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct Item {
    name: Box<str>,
    count: ItemCount,
}

/// The running books.
#[derive(Debug)]
pub(crate) struct Ledger {
    opened: Mutex<Opened>,
    requests: AtomicU64,
    outcomes: [AtomicU64; PLAIN_OUTCOMES + Fault::COUNT],
    item_faults: [AtomicU64; Fault::COUNT],
    connections_refused: AtomicU64,
    first_request: AtomicU64,
    last_request: AtomicU64,
    last_answer: AtomicU64,
    billed: Mutex<Billed>,
    good: AtomicU64,
    items: [Mutex<HashMap<u64, Item>>; SHARDS],
    distinct: AtomicU64,
    repeated: AtomicU64,
    swapped: Mutex<Vec<[String; 2]>>,
    weighed: AtomicU64,
    answer_micros: AtomicU64,
    destroyed: [AtomicU64; Fault::COUNT],
    timeline: Mutex<Timeline>,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Opened {
    at: Instant,
    date: String,
}

#[derive(Debug, Default)]
struct Billed {
    generations: u64,
    tokens: Tokens,
    nano_usd: u64,
    items: u64,
}

#[derive(Debug, Default)]
struct Generations {
    /// Number of the first one kept; numbers are never given twice.
    first: u64,
    kept: Vec<Generation>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            opened: Mutex::new(Opened::now()),
            requests: zero(),
            outcomes: std::array::from_fn(|_| zero()),
            item_faults: std::array::from_fn(|_| zero()),
            connections_refused: zero(),
            first_request: AtomicU64::new(NEVER),
            last_request: AtomicU64::new(NEVER),
            last_answer: AtomicU64::new(NEVER),
            billed: Mutex::default(),
            good: zero(),
            items: std::array::from_fn(|_| Mutex::default()),
            distinct: zero(),
            repeated: zero(),
            swapped: Mutex::default(),
            weighed: zero(),
            answer_micros: zero(),
            destroyed: std::array::from_fn(|_| zero()),
            timeline: Mutex::default(),
            generations: Mutex::new(Generations { first: 1, kept: Vec::new() }),
        }
    }

    /// Books an arrival and gives it its number.
    pub(crate) fn arrive(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed);
        let now = self.micros();
        self.first_request.fetch_min(now, Relaxed);
        self.last_request.store(now, Relaxed);
        lock(&self.timeline).at(now).arrived += 1;
        let mut generations = lock(&self.generations);
        generations.kept.push(Generation::default());
        generations.first + generations.kept.len() as u64 - 1
    }

    /// Books a generation and each of its items, given as hash and name.
    pub(crate) fn bill<'a>(&self, number: u64, bill: Generation, items: impl Iterator<Item = (u64, &'a str)>) {
        let mut count = 0;
        for (hash, name) in items {
            count += 1;
            let mut shard = lock(&self.items[hash as usize % SHARDS]);
            let item = shard.entry(hash).or_insert_with(|| {
                self.distinct.fetch_add(1, Relaxed);
                Item { name: name.into(), count: ItemCount::default() }
            });
            item.count.paid += 1;
            if item.count.paid == 2 {
                self.repeated.fetch_add(1, Relaxed);
            }
        }
        let mut generations = lock(&self.generations);
        let index = number.checked_sub(generations.first).map(|index| index as usize);
        // A reset while the request was under way leaves it without a line.
        if let Some(kept) = index.and_then(|index| generations.kept.get_mut(index)) {
            *kept = bill;
        }
        drop(generations);
        let mut billed = lock(&self.billed);
        billed.generations += 1;
        billed.tokens.prompt += bill.tokens.prompt;
        billed.tokens.cached += bill.tokens.cached;
        billed.tokens.written += bill.tokens.written;
        billed.tokens.completion += bill.tokens.completion;
        billed.tokens.thought += bill.tokens.thought;
        billed.nano_usd += bill.nano_usd;
        billed.items += count;
    }

    pub(crate) fn settle(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Relaxed);
        let (refused, outage) = (outcome.is_limit(), outcome.is_outage());
        if refused || outage {
            let mut timeline = lock(&self.timeline);
            let tick = timeline.at(self.micros());
            tick.refused += u64::from(refused);
            tick.outage += u64::from(outage);
        }
    }

    /// Books a request that was admitted, with its weight against the limit on tokens.
    pub(crate) fn admit(&self, tokens: u64) {
        self.weighed.fetch_add(tokens, Relaxed);
    }

    /// Books that a request gives back its place, which it held since `from`, a moment of [`Ledger::micros`].
    pub(crate) fn release(&self, from: u64) {
        lock(&self.timeline).held(from, self.micros());
    }

    /// Books that an answer took since `from` to be ready, a moment of [`Ledger::micros`].
    pub(crate) fn took(&self, from: u64) {
        self.answer_micros.fetch_add(self.micros().saturating_sub(from), Relaxed);
    }

    /// Books items whose paid answers a fault destroyed.
    pub(crate) fn destroy(&self, fault: Fault, items: u64) {
        self.destroyed[fault as usize].fetch_add(items, Relaxed);
    }

    /// Books that the clean answers about the items of these hashes were delivered.
    pub(crate) fn deliver(&self, items: &[u64]) {
        let now = self.micros();
        self.last_answer.store(now, Relaxed);
        let mut timeline = lock(&self.timeline);
        let tick = timeline.at(now);
        tick.answers += 1;
        tick.items += items.len() as u64;
        drop(timeline);
        for hash in items {
            if let Some(item) = lock(&self.items[*hash as usize % SHARDS]).get_mut(hash) {
                item.count.good += 1;
            }
        }
        self.good.fetch_add(items.len() as u64, Relaxed);
    }

    pub(crate) fn item_fault(&self, fault: Fault) {
        self.item_faults[fault as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn swapped(&self, pair: [String; 2]) {
        lock(&self.swapped).push(pair);
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// What request `number` was billed, if it was seen.
    pub(crate) fn generation(&self, number: u64) -> Option<Generation> {
        let generations = lock(&self.generations);
        generations.kept.get(usize::try_from(number.checked_sub(generations.first)?).ok()?).copied()
    }

    pub(crate) fn timeline(&self) -> Vec<Tick> {
        lock(&self.timeline).ticks()
    }

    pub(crate) fn item_counts(&self) -> BTreeMap<String, ItemCount> {
        let mut counts = BTreeMap::new();
        for shard in &self.items {
            counts.extend(lock(shard).values().map(|item| (item.name.to_string(), item.count)));
        }
        counts
    }

    /// Opens new books. Numbers go on; a request under way is still booked, in the new ones.
    pub(crate) fn reset(&self) {
        *lock(&self.opened) = Opened::now();
        let mut generations = lock(&self.generations);
        generations.first += generations.kept.len() as u64;
        generations.kept = Vec::new();
        drop(generations);
        let counters =
            [&self.requests, &self.connections_refused, &self.good, &self.distinct, &self.repeated, &self.weighed, &self.answer_micros];
        for counter in self.outcomes.iter().chain(&self.item_faults).chain(&self.destroyed).chain(counters) {
            counter.store(0, Relaxed);
        }
        for moment in [&self.first_request, &self.last_request, &self.last_answer] {
            moment.store(NEVER, Relaxed);
        }
        for shard in &self.items {
            *lock(shard) = HashMap::new();
        }
        *lock(&self.billed) = Billed::default();
        lock(&self.swapped).clear();
        lock(&self.timeline).clear();
    }

    pub(crate) fn snapshot(&self, gauges: Gauges) -> LedgerSnapshot {
        let outcome = |outcome: Outcome| self.outcomes[outcome.index()].load(Relaxed);
        let named = |table: &[(Outcome, &str)]| {
            let counted = table.iter().map(|(kind, name)| ((*name).to_owned(), outcome(*kind)));
            counted.filter(|(_, count)| *count > 0).collect()
        };
        let faults = |count: &dyn Fn(Fault) -> u64| {
            let counted = FAULTS.iter().map(|info| (info.name.to_owned(), count(info.fault)));
            counted.filter(|(_, count)| *count > 0).collect()
        };
        let seconds = |moment: &AtomicU64| match moment.load(Relaxed) {
            NEVER => None,
            micros => Some(micros as f64 / 1e6),
        };
        let opened = lock(&self.opened);
        let billed = lock(&self.billed);
        LedgerSnapshot {
            started_at: opened.date.clone(),
            seconds: opened.at.elapsed().as_secs_f64(),
            first_request_seconds: seconds(&self.first_request),
            last_request_seconds: seconds(&self.last_request),
            last_answer_seconds: seconds(&self.last_answer),
            requests: self.requests.load(Relaxed),
            ok: outcome(Outcome::Ok),
            cut_by_max_tokens: outcome(Outcome::CutByMaxTokens),
            abandoned: outcome(Outcome::Abandoned),
            refused: named(&REFUSALS),
            outage: named(&OUTAGES),
            faults: faults(&|fault| outcome(Outcome::Fault(fault))),
            item_faults: faults(&|fault| self.item_faults[fault as usize].load(Relaxed)),
            connections_refused: self.connections_refused.load(Relaxed),
            in_flight: gauges.in_flight as u64,
            in_flight_peak: gauges.in_flight_peak as u64,
            queued: gauges.queued as u64,
            queued_peak: gauges.queued_peak as u64,
            answer_seconds: self.answer_micros.load(Relaxed) as f64 / 1e6,
            weighed_tokens: self.weighed.load(Relaxed),
            generations: billed.generations,
            prompt_tokens: billed.tokens.prompt,
            cached_tokens: billed.tokens.cached,
            cache_write_tokens: billed.tokens.written,
            completion_tokens: billed.tokens.completion,
            thinking_tokens: billed.tokens.thought,
            billed_nano_usd: billed.nano_usd,
            billed_usd: usd(billed.nano_usd),
            items: ItemTotals {
                distinct: self.distinct.load(Relaxed),
                paid_more_than_once: self.repeated.load(Relaxed),
                paid: billed.items,
                good: self.good.load(Relaxed),
            },
            destroyed: faults(&|fault| self.destroyed[fault as usize].load(Relaxed)),
            swapped: lock(&self.swapped).clone(),
        }
    }

    /// Microseconds since the books were opened.
    pub(crate) fn micros(&self) -> u64 {
        lock(&self.opened).at.elapsed().as_micros() as u64
    }
}

impl Opened {
    fn now() -> Self {
        Self { at: Instant::now(), date: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(prompt: u64, nano_usd: u64) -> Generation {
        Generation { tokens: Tokens { prompt, cached: 1, completion: 2, ..Tokens::default() }, nano_usd }
    }

    #[test]
    fn outcomes_have_places_of_their_own() {
        let plain = [Outcome::Ok, Outcome::CutByMaxTokens, Outcome::Abandoned];
        let tables = REFUSALS.iter().chain(&OUTAGES).map(|(outcome, _)| *outcome);
        let faults = FAULTS.iter().map(|info| Outcome::Fault(info.fault));
        let mut seen: Vec<_> = plain.into_iter().chain(tables).chain(faults).map(Outcome::index).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..PLAIN_OUTCOMES + Fault::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn bills_add_up_and_items_are_counted_once_each() {
        let ledger = Ledger::new();
        let first = ledger.arrive();
        let second = ledger.arrive();
        ledger.bill(first, bill(10, 100), [(1, "a"), (2, "b")].into_iter());
        ledger.bill(second, bill(5, 7), [(2, "b")].into_iter());
        ledger.deliver(&[2]);
        ledger.settle(Outcome::Ok);
        ledger.settle(Outcome::Fault(Fault::Reset));
        let books = ledger.snapshot(Gauges::default());
        assert_eq!((books.requests, books.ok, books.generations), (2, 1, 2));
        assert_eq!((books.prompt_tokens, books.cached_tokens, books.completion_tokens), (15, 2, 4));
        assert_eq!((books.billed_nano_usd, books.billed_usd.as_str()), (107, "0.000000107"));
        assert_eq!(books.faults, BTreeMap::from([("reset".to_owned(), 1)]));
        assert_eq!(books.items, ItemTotals { distinct: 2, paid_more_than_once: 1, paid: 3, good: 1 });
        assert_eq!(ledger.item_counts()["b"], ItemCount { paid: 2, good: 1 });
        assert_eq!(ledger.generation(second), Some(bill(5, 7)));
        assert_eq!(ledger.generation(3), None);
    }

    #[test]
    fn a_reset_opens_new_books_and_numbers_go_on() {
        let ledger = Ledger::new();
        let first = ledger.arrive();
        ledger.bill(first, bill(10, 100), [(1, "a")].into_iter());
        ledger.reset();
        let books = ledger.snapshot(Gauges::default());
        assert_eq!((books.requests, books.billed_nano_usd, books.items), (0, 0, ItemTotals::default()));
        assert_eq!((books.first_request_seconds, ledger.generation(first)), (None, None));
        assert_eq!(ledger.arrive(), first + 1);
        ledger.bill(first, bill(1, 1), std::iter::empty());
    }

    #[test]
    fn the_snapshot_survives_json() {
        let ledger = Ledger::new();
        ledger.arrive();
        ledger.swapped(["a".into(), "b".into()]);
        let books = ledger.snapshot(Gauges::default());
        let text = serde_json::to_string(&books).expect("serializes");
        let read: LedgerSnapshot = serde_json::from_str(&text).expect("reads back");
        assert_eq!((read.swapped, read.requests), (books.swapped, 1));
    }
}
