//! How many tokens a text is, without counting them: bytes per token, learned from what providers report.
//!
//! A real tokenizer costs as much time as a whole request and its vocabulary takes tens of megabytes, so it is asked
//! only where a bound is near, and only for the family of models that it is exact for.
//!
//! Two figures are kept apart. The *mean* predicts (for pacing and for packing); the *bound* never falls
//! short (for money): byte-level tokenizers make at most one token of a byte.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tokens that a provider may add around a message.
const PER_MESSAGE: u64 = 16;
/// Tokens that a provider may add around a request.
const PER_REQUEST: u64 = 64;
/// Bytes per token before anything was reported: a little low for Dutch prose, so that estimates start high.
const PRIOR: f64 = 3.3;
/// Weight of a new observation in the moving average.
const WEIGHT: f64 = 0.1;

/// Models whose tokenizer is the one that counts.
const KNOWN: [&str; 6] = ["gpt-4o", "gpt-4.1", "gpt-5", "o1", "o3", "o4"];
/// Answer tokens a row before anything was reported: two or three sentences.
const PRIOR_PER_ROW: f64 = 100.0;
/// Requests whose tokens a row are remembered, and how many of them make a quantile.
const KEPT: usize = 128;
/// See [`KEPT`].
const ENOUGH: usize = 10;

/// Bytes per token of one model, learned from usage.
#[derive(Debug)]
pub struct Tokens {
    prompt: Ratio,
    output: Ratio,
    /// Answer tokens a row: a mean, and what almost every request stays below.
    per_row: Mutex<PerRow>,
}

#[derive(Debug)]
struct PerRow {
    mean: f64,
    /// Of the last requests, for the quantile.
    recent: VecDeque<f64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { prompt: Ratio::new(), output: Ratio::new(), per_row: Mutex::new(PerRow { mean: PRIOR_PER_ROW, recent: VecDeque::new() }) }
    }
}

impl Tokens {
    /// The expected tokens of a prompt of so many bytes.
    pub fn of_prompt(&self, bytes: usize) -> u64 {
        self.prompt.tokens(bytes)
    }

    /// The expected tokens of an answer of so many bytes.
    pub fn of_output(&self, bytes: usize) -> u64 {
        self.output.tokens(bytes)
    }

    /// More tokens than a prompt of so many bytes in so many messages can have.
    pub fn bound(bytes: usize, messages: usize) -> u64 {
        bytes as u64 + PER_MESSAGE * messages as u64 + PER_REQUEST
    }

    /// The tokens of a text for a model whose tokenizer is known; `None` for any other model, of which what it has
    /// reported says more. Slow: for where a bound is near.
    pub fn counted(model: &str, text: &str) -> Option<u64> {
        is_known(model).then(|| count(text))
    }

    /// More tokens than these texts can have for a model whose tokenizer is known; `None` for any other model. Counts
    /// of a known tokenizer are exact up to what a provider puts around messages.
    pub fn exact_bound(model: &str, texts: &[&str], uncounted_bytes: usize) -> Option<u64> {
        if !is_known(model) {
            return None;
        }
        let counted: u64 = texts.iter().map(|text| count(text)).sum();
        Some(counted + uncounted_bytes as u64 + PER_MESSAGE * texts.len() as u64 + PER_REQUEST)
    }

    /// The expected answer tokens of so many rows.
    pub fn of_rows(&self, rows: usize) -> u64 {
        (self.per_row().mean * rows as f64).ceil() as u64
    }

    /// Answer tokens a row that nineteen requests of twenty stay below; `None` until some were seen.
    pub fn high_per_row(&self) -> Option<f64> {
        let per_row = self.per_row();
        if per_row.recent.len() < ENOUGH {
            return None;
        }
        let mut recent: Vec<f64> = per_row.recent.iter().copied().collect();
        let index = recent.len() * 19 / 20;
        Some(*recent.select_nth_unstable_by(index.min(per_row.recent.len() - 1), f64::total_cmp).1)
    }

    /// Learns from a whole answer about so many rows.
    pub fn observe_rows(&self, rows: usize, output_tokens: u64) {
        if rows == 0 || output_tokens == 0 {
            return;
        }
        let mut per_row = self.per_row();
        let now = output_tokens as f64 / rows as f64;
        per_row.mean = if per_row.recent.is_empty() { now } else { per_row.mean + WEIGHT * (now - per_row.mean) };
        if per_row.recent.len() == KEPT {
            per_row.recent.pop_front();
        }
        per_row.recent.push_back(now);
    }

    fn per_row(&self) -> MutexGuard<'_, PerRow> {
        self.per_row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a response.
    pub fn observe(&self, prompt_bytes: usize, prompt_tokens: u64, output_bytes: usize, output_tokens: u64) {
        self.prompt.observe(prompt_bytes, prompt_tokens);
        self.output.observe(output_bytes, output_tokens);
    }
}

/// Whether the tokenizer at hand is this model's.
fn is_known(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    KNOWN.iter().any(|known| name.starts_with(known))
}

fn count(text: &str) -> u64 {
    tiktoken_rs::o200k_base_singleton().count_ordinary(text) as u64
}

/// A moving average in an atomic, as the bits of an `f64`.
#[derive(Debug)]
struct Ratio(AtomicU64);

impl Ratio {
    fn new() -> Self {
        Self(AtomicU64::new(PRIOR.to_bits()))
    }

    fn tokens(&self, bytes: usize) -> u64 {
        (bytes as f64 / f64::from_bits(self.0.load(Relaxed))).ceil() as u64
    }

    fn observe(&self, bytes: usize, tokens: u64) {
        if bytes < 40 || tokens == 0 {
            return;
        }
        // Two at a time may lose one observation; the next one makes up for it.
        let ratio = (bytes as f64 / tokens as f64).clamp(0.5, 20.0);
        let old = f64::from_bits(self.0.load(Relaxed));
        self.0.store((old + WEIGHT * (ratio - old)).to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_converge_to_what_is_reported() {
        let tokens = Tokens::default();
        assert_eq!(tokens.of_prompt(3300), 1000);
        for _ in 0..100 {
            tokens.observe(4_000, 1_000, 500, 100);
        }
        assert!(tokens.of_prompt(4_000).abs_diff(1_000) <= 2, "{}", tokens.of_prompt(4_000));
        assert!(tokens.of_output(500).abs_diff(100) <= 2);
    }

    #[test]
    fn a_real_tokenizer_counts_where_a_bound_is_near() {
        let text = "De motie verzoekt de regering om de wachttijden in de jeugdzorg te verkorten. ".repeat(20);
        let counted = Tokens::counted("gpt-4o-mini", &text).expect("is known");
        assert!((200..600).contains(&counted), "{counted}");
        assert_eq!(Tokens::counted("mistral-small-2603", &text), None);
        // A model whose tokenizer is known has a bound far below its bytes, and never below its count.
        let bound = Tokens::exact_bound("openai/gpt-4o-mini", &[&text], 0).expect("is known");
        assert!(bound > counted && bound < Tokens::bound(text.len(), 1) / 2, "{bound}");
        assert_eq!(Tokens::exact_bound("mistral-small-2603", &[&text], 0), None);
    }

    #[test]
    fn strange_reports_do_no_harm() {
        let tokens = Tokens::default();
        tokens.observe(0, 0, 1_000_000, 1);
        tokens.observe(1_000, u64::MAX, 0, 7);
        assert!((1..1_000_000).contains(&tokens.of_prompt(1_000)));
    }
}
