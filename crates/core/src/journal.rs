//! The durable record of every attempt, and what is asked of whoever keeps it.
//!
//! Every received response is durable before anything downstream sees it, and it is stored as it was said,
//! not as we judged it: acceptance is applied anew whenever a journalled response is read. Resuming,
//! replaying and "only what changed" are then one thing: run again, and pay only for questions that have no
//! journalled answer.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Money, Result, Usage};

/// An attempt that is about to be sent, with the most it can cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Unique over all runs; sorts by time.
    pub attempt_id: String,
    /// The run that sends it.
    pub run_id: String,
    /// The model's name in the pipeline file.
    pub model: String,
    /// The provider's name in the pipeline file; `builtin` for those in this process.
    pub provider: String,
    /// The keys of the rows of the pack, in the order of their ids: the first is `r1`.
    pub keys: Vec<String>,
    /// What is asked about each of them.
    pub questions: Vec<Fingerprint>,
    /// When, in microseconds since 1970.
    pub started_at: i64,
    /// The most that it can cost. Counts as spent until the attempt has ended, also if the process dies.
    pub reserved: Money,
}

/// Where an attempt's cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostSource {
    /// The provider said so.
    Provider,
    /// Tokens times price.
    Price,
}

/// An attempt that has ended, well or badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was sent.
    pub begun: Begun,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// `ok`, or the class of what went wrong: `rate-limited`, `timeout`, `malformed`, …
    pub status: String,
    /// What went wrong, in the provider's words.
    pub error: Option<String>,
    /// Why the model stopped, in the provider's word.
    pub finish_reason: Option<String>,
    /// Tokens, as reported or estimated; `None` if nothing was generated.
    pub usage: Option<Usage>,
    /// What it cost; `None` if the model has no known price.
    pub cost: Option<Money>,
    /// Where `cost` comes from.
    pub cost_source: Option<CostSource>,
    /// How many rows got an answer that was accepted at the time.
    pub answered: u32,
    /// The response's body as received, or what there was of it.
    pub raw_response: Option<String>,
}

/// An earlier attempt that bears on a row: it asked about that row, or the same question about another one.
#[derive(Clone, Debug)]
pub struct Past {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// The place in its pack of what bears on the row.
    pub position: usize,
    /// Whether the row itself stood there: then it bears its share of the cost.
    pub is_own: bool,
    /// Whether what was asked there is what is asked now: then the answer will do.
    pub is_same_question: bool,
}

/// Keeps the attempts of a pipeline.
#[async_trait]
pub trait Journal: Debug + Send + Sync + 'static {
    /// Returns when it is durable that this attempt is about to be sent.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing may be sent then.
    async fn begin(&self, begun: &Begun) -> Result<()>;

    /// Returns when it is durable how the attempt ended.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing downstream may see the response then.
    async fn end(&self, attempt: &Attempt) -> Result<()>;

    /// The earlier attempts that bear on each of these rows, oldest first, those of this run included. A row is its key
    /// and what is asked about it now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    async fn past(&self, rows: &[(&str, Fingerprint)]) -> Result<Vec<Vec<Past>>>;

    /// What all attempts of earlier runs cost, with those of unknown outcome at the most they can have cost.
    fn spent(&self) -> Money;

    /// What each model has billed in earlier runs, by its name in the pipeline file.
    fn experience(&self) -> Vec<(String, Experience)> {
        Vec::new()
    }
}

/// Where nothing is asked, nothing is journalled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn begin(&self, _begun: &Begun) -> Result<()> {
        Ok(())
    }

    async fn end(&self, _attempt: &Attempt) -> Result<()> {
        Ok(())
    }

    async fn past(&self, rows: &[(&str, Fingerprint)]) -> Result<Vec<Vec<Past>>> {
        Ok(vec![Vec::new(); rows.len()])
    }

    fn spent(&self) -> Money {
        Money::ZERO
    }
}

/// What a model has billed, beside what had been set aside for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Experience {
    /// Bills.
    pub bills: u64,
    /// In thousandths of what was set aside the most that a bill has come to; 0 if none was higher.
    pub excess: u64,
    /// The most by which a bill was higher: a fee, or thinking, does not grow with the rows.
    pub over: Money,
    /// The most that a row has cost in such a bill: what is known where nothing had been set aside.
    pub per_row: Money,
}

impl Experience {
    /// Takes note of a bill for so many rows.
    pub fn note(&mut self, reserved: Money, cost: Money, rows: usize) {
        self.bills += 1;
        if cost <= reserved {
            return;
        }
        self.over = self.over.max(cost - reserved);
        let up = |part: i128, whole: i128| (part + whole - 1) / whole;
        if reserved > Money::ZERO {
            let times = up(i128::from(cost.nano()) * 1_000, i128::from(reserved.nano()));
            self.excess = self.excess.max(u64::try_from(times).unwrap_or(u64::MAX));
        }
        let a_row = up(i128::from(cost.nano()), rows.max(1) as i128);
        self.per_row = self.per_row.max(Money::from_nano(i64::try_from(a_row).unwrap_or(i64::MAX)));
    }

    /// The most that a request about so many rows is to be expected to cost, where its price says `bound`.
    pub fn bound(&self, bound: Money, rows: usize) -> Money {
        let saturated = |amount: i128| Money::from_nano(i64::try_from(amount).unwrap_or(i64::MAX));
        // What the price says is scaled; where it says nothing, rows are counted.
        let grown = match bound > Money::ZERO {
            true => saturated((i128::from(bound.nano()) * i128::from(self.excess) + 999) / 1_000),
            false => saturated(i128::from(self.per_row.nano()) * rows as i128),
        };
        grown.max(bound + self.over)
    }

    /// Adds what was seen elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.bills += other.bills;
        self.excess = self.excess.max(other.excess);
        self.over = self.over.max(other.over);
        self.per_row = self.per_row.max(other.per_row);
    }
}

/// Says which rows are already in the results or in the dead letters.
pub trait Answered: Debug + Send + Sync + 'static {
    /// Whether the row with this key has been settled with this very question.
    ///
    /// # Errors
    /// When what was settled cannot be read.
    fn contains(&self, key: &str, question: Fingerprint) -> Result<bool>;

    /// Whether surely no row has been settled, so that nobody need work out what to ask for.
    fn is_empty(&self) -> bool {
        false
    }
}

/// The first run: nothing has been answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingAnswered;

impl Answered for NothingAnswered {
    fn contains(&self, _key: &str, _question: Fingerprint) -> Result<bool> {
        Ok(false)
    }

    fn is_empty(&self) -> bool {
        true
    }
}
