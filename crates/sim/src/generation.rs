//! Makes an answer and bills it.
//!
//! The bill is written when generation begins, so a client that leaves early has paid all the same, as with the
//! hosted services.

use crate::config::{SimConfig, Thinking};
use crate::content::{Content, Writer};
use crate::draw::Draw;
use crate::faults::Fault;
use crate::ledger::Generation;
use crate::outcome::Outcome;
use crate::price::{Tokens, nano_usd};
use crate::prompt::{ChatRequest, Item, Shape, tokens_of};
use crate::reply::{Frame, Message};
use crate::shared::Shared;
use std::time::Duration;

/// The name of the tier that nobody asks for.
const USUAL_TIER: &str = "default";

/// An answer that is ready, and what it takes to hand it over.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) fault: Option<Fault>,
    pub(crate) outcome: Outcome,
    /// Hashes of the items about which it holds a clean answer that a client can get at.
    pub(crate) clean: Vec<u64>,
    /// Items whose answers faults destroyed.
    pub(crate) destroyed: Vec<(Fault, u64)>,
    /// How long it takes.
    pub(crate) wait: Duration,
}

/// One request of a number, at the moment when its answer is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generating<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) config: &'a SimConfig,
    pub(crate) number: u64,
}

impl Generating<'_> {
    /// Makes the answer and bills it.
    pub(crate) fn answer(self, chat: &ChatRequest<'_>, items: &[Item<'_>], shape: &Shape<'_>, draw: &Draw) -> Answer {
        let config = self.config;
        let writer =
            Writer { request: chat, items, shape, draw, seed: config.seed, mean_tokens: config.answer_tokens, careless: &config.careless };
        let mut content = writer.write();
        let fault = draw.fault.filter(|_| content.struck);
        // Before the limit that the client asked for cuts the content: what that costs is not the faults' doing.
        let destroyed = destroyed(fault, draw, &content.usable(items.len()));
        let billing = &config.billing;
        let thought = chat.thinking_budget().map_or(billing.thinking_tokens, |most| billing.thinking_tokens.min(most));
        // Thinking that counts inside takes its part of the limit.
        let inside = if billing.thinking == Thinking::Inside { thought } else { 0 };
        let limit =
            chat.max_tokens().map(|most| most.saturating_sub(inside)).and_then(|tokens| usize::try_from(tokens.saturating_mul(4)).ok());
        let cut = limit.is_some_and(|limit| limit < content.text.len());
        if let Some(limit) = limit.filter(|_| cut) {
            content.cut(limit);
        }
        let (message, output) = Message::of(&content, fault, draw.detail);
        let thought = if inside > 0 { chat.max_tokens().map_or(thought, |most| thought.min(most)) } else { thought };
        let prompt = chat.prompt_tokens();
        let cached = if config.cached_prefix { self.shared.cached(&chat.prefixes()) } else { 0 };
        let written = if billing.cache_writes { chat.kept_tokens().saturating_sub(cached).min(prompt - cached) } else { 0 };
        let tokens = Tokens { prompt, cached, written, completion: tokens_of(output) + thought, thought };
        let tier = chat.tier().map(|tier| if draw.is_tier_kept(billing.tier_kept) { tier } else { USUAL_TIER });
        if chat.max_tokens().is_none() {
            self.shared.limiter.spend(tokens.completion);
        }
        let nano_usd = nano_usd(&config.price, tokens, tier.unwrap_or(USUAL_TIER));
        let frame = Frame {
            number: self.number,
            model: if chat.model.is_empty() { "simulated" } else { &chat.model },
            created: u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0),
            tokens,
            cost: config.report_cost.then_some(nano_usd),
            tier,
            billing,
            fault,
            detail: draw.detail,
            cut,
        };
        let generated = fault != Some(Fault::ErrorIn200);
        let (status, body) = match fault {
            Some(Fault::ErrorIn200) => (200, frame.error_body()),
            Some(Fault::BilledError) => frame.billed_error(),
            _ => (200, frame.body(&message)),
        };
        if generated {
            let names: Vec<_> = items.iter().map(|item| (item.hash, item.name())).collect();
            let named = names.iter().map(|(hash, name)| (*hash, &**name));
            self.shared.ledger.bill(self.number, Generation { tokens, nano_usd }, named);
            self.book_flaws(items, draw, &content);
        }
        if fault.is_some_and(loses_everything) {
            content.spoil();
        }
        let outcome = match fault {
            Some(fault) => Outcome::Fault(fault),
            None if cut => Outcome::CutByMaxTokens,
            None => Outcome::Ok,
        };
        Answer { status, body, fault, outcome, clean: content.clean(), destroyed, wait: self.latency(tokens.completion, draw) }
    }

    fn book_flaws(&self, items: &[Item<'_>], draw: &Draw, content: &Content) {
        for fault in draw.items.iter().flatten() {
            self.shared.ledger.item_fault(*fault);
        }
        if let Some((one, two)) = content.swapped {
            self.shared.ledger.swapped([one, two].map(|index| items[index].name().into_owned()));
        }
    }

    fn latency(&self, tokens: u64, draw: &Draw) -> Duration {
        let latency = &self.config.latency;
        if latency.instant {
            return Duration::ZERO;
        }
        let tail = if draw.tail < latency.tail_probability { latency.tail_factor } else { 1.0 };
        let ms = (latency.base_ms + latency.per_output_token_ms * tokens as f64) * (latency.noise * draw.noise).exp();
        milliseconds(ms * tail)
    }
}

/// How many answers each fault destroyed, given which of the items have one that a client can use.
fn destroyed(fault: Option<Fault>, draw: &Draw, usable: &[bool]) -> Vec<(Fault, u64)> {
    let at_least = match fault {
        // Nothing was generated, nothing is paid.
        Some(Fault::ErrorIn200) => return Vec::new(),
        // One byte, in one text.
        Some(Fault::InvalidUtf8) => 1,
        Some(Fault::MalformedJson) => 0,
        Some(fault) if loses_everything(fault) => return vec![(fault, usable.len() as u64)],
        _ => 0,
    };
    let is_english = |index: usize| draw.items.get(index).copied().flatten() == Some(Fault::English);
    let lost = || (0..usable.len()).filter(|index| !usable[*index]);
    let english = lost().filter(|index| is_english(*index)).count() as u64;
    let rest = (lost().count() as u64 - english).max(at_least);
    let counts = [(Some(Fault::English), english), (fault, rest)];
    counts.into_iter().filter_map(|(fault, count)| Some((fault?, count)).filter(|_| count > 0)).collect()
}

/// Whether a client gets none of the answers, though they were generated.
fn loses_everything(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Reset
            | Fault::Stall
            | Fault::HugeBody
            | Fault::ErrorIn200
            | Fault::NullContent
            | Fault::EmptyContent
            | Fault::Refusal
            | Fault::InvalidUtf8
            | Fault::MalformedJson
            | Fault::BilledError
    )
}

/// A time of so many milliseconds, a day at most.
pub(crate) fn milliseconds(ms: f64) -> Duration {
    // A day is longer than any test; the bound keeps an absurd tail from overflowing a timer.
    Duration::from_secs_f64(ms.clamp(0.0, 86_400_000.0) / 1_000.0)
}
