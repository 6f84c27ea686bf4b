//! How many tokens a text is, without counting them: bytes per token, learned from what providers report.
//!
//! Two figures are kept apart. The *mean* predicts (for pacing and for packing); the *bound* never falls
//! short (for money): byte-level tokenizers make at most one token of a byte.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Tokens that a provider may add around a message.
const PER_MESSAGE: u64 = 16;
/// Tokens that a provider may add around a request.
const PER_REQUEST: u64 = 64;
/// Bytes per token before anything was reported: a little low for Dutch prose, so that estimates start high.
const PRIOR: f64 = 3.3;
/// Weight of a new observation in the moving average.
const WEIGHT: f64 = 0.1;

/// Bytes per token of one model, learned from usage.
#[derive(Debug)]
pub struct Tokens {
    prompt: Ratio,
    output: Ratio,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { prompt: Ratio::new(), output: Ratio::new() }
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

    /// Learns from a response.
    pub fn observe(&self, prompt_bytes: usize, prompt_tokens: u64, output_bytes: usize, output_tokens: u64) {
        self.prompt.observe(prompt_bytes, prompt_tokens);
        self.output.observe(output_bytes, output_tokens);
    }
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
    fn strange_reports_do_no_harm() {
        let tokens = Tokens::default();
        tokens.observe(0, 0, 1_000_000, 1);
        tokens.observe(1_000, u64::MAX, 0, 7);
        assert!((1..1_000_000).contains(&tokens.of_prompt(1_000)));
    }
}
