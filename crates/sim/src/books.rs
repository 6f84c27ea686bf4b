//! The books as they are read: what a client, a test or a person is shown of the ledger.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the service has seen and billed since its start or the last reset. Every request has exactly one outcome, so
/// `requests` is the sum of `ok`, `cut_by_max_tokens`, `abandoned` and the maps `refused`, `outage` and `faults`,
/// but for those still under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// When the books were opened, RFC 3339.
    pub started_at: String,
    /// Seconds since then.
    pub seconds: f64,
    /// Arrival of the first request, in seconds since then.
    pub first_request_seconds: Option<f64>,
    /// Arrival of the last request, in seconds since then.
    pub last_request_seconds: Option<f64>,
    /// The moment of the last answer, in seconds since then.
    pub last_answer_seconds: Option<f64>,
    /// Requests for a completion that arrived.
    pub requests: u64,
    /// Requests answered without a fault of the whole request.
    pub ok: u64,
    /// Requests answered, cut at the output limit that they asked for.
    pub cut_by_max_tokens: u64,
    /// Requests whose client left before there was an answer.
    pub abandoned: u64,
    /// Requests refused by a rule, by kind: `in-flight`, `rpm`, `tpm`, `too-large`, `key`, `request`, `context`.
    pub refused: BTreeMap<String, u64>,
    /// Requests that met an outage, by its form: `503`, `refused`, `hang`.
    pub outage: BTreeMap<String, u64>,
    /// Requests struck by a fault, by its name.
    pub faults: BTreeMap<String, u64>,
    /// Items struck by a fault, by its name.
    pub item_faults: BTreeMap<String, u64>,
    /// Connections reset on arrival by an outage; there was no request on them yet.
    pub connections_refused: u64,
    /// Requests that hold a place now.
    pub in_flight: u64,
    /// Most requests that held a place at once.
    pub in_flight_peak: u64,
    /// Requests that wait for a place now.
    pub queued: u64,
    /// Most requests that waited at once.
    pub queued_peak: u64,
    /// Seconds that the answers to `ok` requests took, taken together: what a place could do in its time.
    pub answer_seconds: f64,
    /// What admitted requests weighed against the limit on tokens: prompt tokens plus the output limit they asked for.
    pub weighed_tokens: u64,
    /// Requests billed.
    pub generations: u64,
    /// Prompt tokens billed, cached ones included.
    pub prompt_tokens: u64,
    /// Prompt tokens billed at the cached price.
    pub cached_tokens: u64,
    /// Prompt tokens billed as written to the cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Output tokens billed, those of thinking included.
    pub completion_tokens: u64,
    /// Tokens of thinking billed.
    #[serde(default)]
    pub thinking_tokens: u64,
    /// The bill in nano-dollars.
    pub billed_nano_usd: u64,
    /// The bill in USD, exactly.
    pub billed_usd: String,
    /// Items, taken together.
    pub items: ItemTotals,
    /// Items whose paid answers a fault destroyed, by its name: lost with the body, cut off, left out, given twice, or in
    /// English. Not those that a client can mend (`other-scripts`, `metadata-leak`) or find beside the break of a broken
    /// JSON, those that it cannot tell from good ones (`swapped-ids`), or those that it did not wait for.
    pub destroyed: BTreeMap<String, u64>,
    /// Pairs of markers whose answers were exchanged by `swapped-ids`.
    pub swapped: Vec<[String; 2]>,
}

/// Items, taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemTotals {
    /// Different items that were paid.
    pub distinct: u64,
    /// Items that were paid more than once.
    pub paid_more_than_once: u64,
    /// Times an item was paid.
    pub paid: u64,
    /// Clean answers that were delivered.
    pub good: u64,
}

/// How often one item was paid and answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCount {
    /// Billed generations that it was part of.
    pub paid: u32,
    /// Answers delivered for it that were whole, clean and under its own id.
    pub good: u32,
}
