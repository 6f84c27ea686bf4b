//! The settings of money: what tokens cost, by which rules they are billed, and how a response states it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What tokens cost, in USD per million. Amounts below a nano-dollar per million tokens are rounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens, USD per million.
    pub input: f64,
    /// Prompt tokens whose prefix was cached, USD per million; left out: as `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Prompt tokens that are written to the cache, USD per million; left out: as `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Output tokens, USD per million.
    pub output: f64,
    /// A fee for each request that is billed, in USD.
    pub request: f64,
    /// Other prices for the whole of a request with a long prompt.
    pub above: Vec<Above>,
    /// Factors of the price by service tier, such as `flex`; one that is not here is billed as usual. The fee is not of it.
    pub tiers: BTreeMap<String, f64>,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            input: 0.15,
            cached_input: Some(0.015),
            cache_write: None,
            output: 0.60,
            request: 0.0,
            above: Vec::new(),
            tiers: BTreeMap::new(),
        }
    }
}

/// Prices of requests whose prompt has more than so many tokens, in USD per million.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Above {
    /// So many are not yet enough.
    pub tokens: u64,
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens whose prefix was cached.
    pub cached_input: f64,
    /// Prompt tokens that are written to the cache.
    pub cache_write: f64,
    /// Output tokens.
    pub output: f64,
}

/// By which rules a request is billed, and under which names its `usage` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// Whether what was not read from the cache is written to it, unless the request asks for explicit marks alone
    /// (`prompt_cache_options`): then only a system message that bears one.
    pub cache_writes: bool,
    /// Tokens of thinking for each answer; a request's `thinking.budget_tokens` is a bound of them.
    pub thinking_tokens: u64,
    /// Whether they are counted in `completion_tokens`, within the output limit, or beside it.
    pub thinking: Thinking,
    /// The share of requests for a service tier that are served, and billed, at it; the others get the usual one.
    pub tier_kept: f64,
    /// The names in `usage`.
    pub names: UsageNames,
    /// The form of `usage.cost`, where it is stated.
    pub cost: CostForm,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            cache_writes: false,
            thinking_tokens: 0,
            thinking: Thinking::Inside,
            tier_kept: 1.0,
            names: UsageNames::OpenAi,
            cost: CostForm::Number,
        }
    }
}

/// Where tokens of thinking are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thinking {
    /// In `completion_tokens`, as part of what the output limit bounds.
    Inside,
    /// In `total_tokens` alone; the output limit does not bound them.
    Beside,
}

/// Whose names `usage` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageNames {
    /// `prompt_tokens`, of which `prompt_tokens_details` names parts.
    #[serde(rename = "openai")]
    OpenAi,
    /// `input_tokens`, `cache_read_input_tokens` and `cache_creation_input_tokens` exclude each other.
    Anthropic,
    /// `prompt_tokens`, of which `prompt_cache_hit_tokens` were cached.
    #[serde(rename = "deepseek")]
    DeepSeek,
}

/// The form of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostForm {
    /// A number of dollars.
    Number,
    /// A text, as `"$0.00012"`.
    Text,
    /// A table with a `total_cost`.
    Table,
}
