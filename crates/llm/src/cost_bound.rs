//! The most that a request can cost: the one place from which the reservation, the forecast and the run record know it.
//!
//! Tokens of a prompt are bounded by its bytes, tokens of the answer by the limit that the request really grants: what
//! `extra_body` says goes before the stage's settings, and several answers to one request are several times as many.

use promptmill_core::{AnswerShape, Money, Price, Tier, Usage};
use serde_json::{Map, Value};

use crate::prompt::{pack_schema, rejections, user_message};
use crate::{Request, Tokens};

/// Bytes around each item: its id and its quotes and, in the instruction and the schema, its id again.
pub const AROUND_ITEM: usize = 80;
/// Bytes around all items: the instruction.
pub const AROUND_ITEMS: usize = 400;
/// Tokens that a request may take beyond those of its rows, for the JSON around them.
pub const ENVELOPE_TOKENS: usize = 64;
/// System and user.
const MESSAGES: usize = 2;

/// Fields of a body that limit the answer; the first two are those that we send ourselves, and only if neither is given.
const LIMITS: [&str; 8] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "max_tokens_to_sample",
    "num_predict",
    "n_predict",
    "options/num_predict",
];
/// Fields that ask for so many answers at once.
const ANSWERS: [&str; 4] = ["n", "best_of", "num_generations", "candidate_count"];
/// Fields that grant thinking, which some servers count beside the answer.
const THINKING: [&str; 5] = [
    "thinking/budget_tokens",
    "reasoning/max_tokens",
    "thinking_budget",
    "thinking_config/thinking_budget",
    "chat_template_kwargs/thinking_budget",
];
/// Fields that let the server do what is billed besides tokens.
const TOOLS: [&str; 3] = ["plugins", "web_search_options", "tools"];
/// Fields that let the server choose another model, of another price.
const MODELS: [&str; 2] = ["models", "fallbacks"];

/// What a request grants, as far as `extra_body` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The largest limit in it.
    limit: Option<u64>,
    /// Whether our own limit is not sent, because it names another.
    replaces: bool,
    /// Answers to each request.
    answers: u64,
    /// Tokens of thinking that may come on top.
    thinking: u64,
}

impl Grant {
    /// What `extra_body` grants of a model with such a context.
    ///
    /// # Errors
    /// The words for what makes the answer one without a bound.
    pub fn of(extra_body: &Map<String, Value>, context: Option<u32>) -> Result<Self, String> {
        let field = |path: &str| match path.split_once('/') {
            Some((outer, inner)) => extra_body.get(outer).and_then(|outer| outer.get(inner)),
            None => extra_body.get(path),
        };
        let mut grant = Self { limit: None, replaces: false, answers: 1, thinking: 0 };
        for (index, name) in LIMITS.into_iter().enumerate() {
            let Some(limit) = field(name) else { continue };
            let limit = match whole(limit).filter(|limit| *limit > 0).or(context.map(u64::from)) {
                Some(limit) => limit,
                None => return Err(format!("`{}` = {limit} is no limit", name.replace('/', "."))),
            };
            grant.limit = grant.limit.max(Some(limit));
            grant.replaces |= index < 2;
        }
        for name in ANSWERS {
            let Some(answers) = field(name) else { continue };
            let answers = whole(answers).ok_or_else(|| format!("`{name}` = {answers} is no number of answers"))?;
            grant.answers = grant.answers.max(answers);
        }
        for name in THINKING {
            let Some(thinking) = field(name) else { continue };
            // A negative budget lets the model choose; its limit then bounds it, where thinking counts inside.
            grant.thinking = grant.thinking.max(whole(thinking).unwrap_or(0));
        }
        Ok(grant)
    }

    /// The answer tokens of so many requests for which the stage's settings grant `own` together.
    pub fn tokens(&self, own: u64, requests: u64) -> u64 {
        let stated = self.limit.map(|limit| limit.saturating_mul(requests));
        let limit = match stated {
            Some(stated) if self.replaces => stated,
            Some(stated) => stated.max(own),
            None => own,
        };
        limit.saturating_add(self.thinking.saturating_mul(requests)).saturating_mul(self.answers)
    }

    /// The tokens of one answer to a request for which the stage's settings grant `own`.
    pub fn of_one_answer(&self, own: u64) -> u64 {
        self.tokens(own, 1) / self.answers.max(1)
    }
}

/// A whole number, also where it is written as a float.
fn whole(number: &Value) -> Option<u64> {
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number)).map(|number| number as u64))
}

/// Why what requests with this `extra_body` can cost has no bound, if it has none.
pub fn unbounded(extra_body: &Map<String, Value>, context: Option<u32>, price: &Price) -> Option<String> {
    let given = |name: &&str| extra_body.get(*name).is_some_and(|value| !is_empty(value));
    if let Err(words) = Grant::of(extra_body, context) {
        return Some(words);
    }
    if let Some(name) = MODELS.iter().find(|name| given(name)) {
        return Some(format!("`{name}` lets the server choose a model of another price"));
    }
    let tool = TOOLS.iter().find(|name| given(name)).filter(|_| price.request == Money::ZERO && *price != Price::FREE)?;
    Some(format!("`{tool}` may be billed by the request, and the price has no fee for one"))
}

/// What to do about a model that cannot be asked under a budget.
pub const BUDGET_HINT: &str =
    "add `price = { input = …, output = … }`, in US dollars per million tokens, and a limit of tokens that is a number";

/// Why no budget can be kept with this model, if so.
pub fn not_under_budget(price: Option<&Price>, extra_body: &Map<String, Value>, context: Option<u32>) -> Option<String> {
    let Some(price) = price else { return Some("it has no known price, and a budget cannot be kept without one".to_owned()) };
    unbounded(extra_body, context, price)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// The most answer tokens that a request grants; `None` if there is no bound.
pub fn granted(request: &Request, context: Option<u32>) -> Option<u64> {
    let own = request.max_tokens.map(u64::from).or(context.map(u64::from));
    let grant = Grant::of(&request.extra_body, context).ok()?;
    if own.is_none() && !grant.replaces {
        return None;
    }
    Some(grant.tokens(own.unwrap_or(0), 1))
}

/// Bytes of everything that the model reads.
pub fn prompt_bytes(request: &Request) -> usize {
    let items: usize = request.items.iter().map(|item| escaped_len(&item.text) + AROUND_ITEM).sum();
    let shape = match &*request.shape {
        AnswerShape::Text(_) => 0,
        AnswerShape::Fields(_) => request.shape.schema().to_string().len() * (request.items.len() + 1),
    };
    let system = request.system.as_ref().map_or(0, |system| system.len());
    let own = request.instructions.as_ref().map_or(0, |own| own.len());
    system + request.prompt.len() + own + AROUND_ITEMS + shape + items + rejections(request).len() + words_of(&request.extra_body)
}

/// Bytes of `extra_body` that a model may read: whatever is not a plain setting.
pub fn words_of(extra_body: &Map<String, Value>) -> usize {
    let is_read = |value: &&Value| matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_));
    extra_body.values().filter(is_read).map(|value| value.to_string().len()).sum()
}

/// The length of a text inside JSON quotes, or a little more.
fn escaped_len(text: &str) -> usize {
    text.len() + escapes(text)
}

/// Bytes that a text gains inside JSON quotes, or a few more: without branches and in sums that are one byte wide, since
/// it looks at every byte that is asked about.
pub fn escapes(text: &str) -> usize {
    let extra = |byte: u8| u8::from(byte == b'"') + u8::from(byte == b'\\') + 5 * u8::from(byte < 32);
    // 32 bytes that take 5 more each are 160: no sum overflows.
    text.as_bytes().chunks(32).map(|chunk| usize::from(chunk.iter().map(|byte| extra(*byte)).sum::<u8>())).sum()
}

/// The most tokens that a request has, and so the most that it can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostBound {
    /// Tokens of the prompt and of the answer.
    pub usage: Usage,
    /// What they cost at most; zero without a price.
    pub cost: Money,
}

impl CostBound {
    /// The bound of a request whose prompt has so many bytes.
    pub fn by_bytes(price: Option<&Price>, request: &Request, context: Option<u32>, prompt_bytes: usize) -> Self {
        Self::new(price, request, context, Tokens::bound(prompt_bytes, MESSAGES))
    }

    /// The same by a real tokenizer, for models whose tokenizer is known: slow, for where the budget is near its end.
    pub fn counted(price: Option<&Price>, request: &Request, context: Option<u32>) -> Option<Self> {
        let user = user_message(request);
        // How a schema is put before the model is the provider's secret: its bytes are more than its tokens.
        let uncounted = pack_schema(request).to_string().len() + words_of(&request.extra_body);
        let texts = [request.system.as_deref().unwrap_or_default(), user.as_str()];
        Some(Self::new(price, request, context, Tokens::exact_bound(&request.model, &texts, uncounted)?))
    }

    fn new(price: Option<&Price>, request: &Request, context: Option<u32>, input_tokens: u64) -> Self {
        let output_tokens = granted(request, context).unwrap_or(u64::from(u32::MAX));
        let tier = request.extra_body.get("service_tier").and_then(Value::as_str).map_or(Tier::Standard, Tier::named);
        let usage = Usage { input_tokens, output_tokens, tier, ..Usage::default() };
        Self { usage, cost: price.map_or(Money::ZERO, |price| price.most(usage)) }
    }

    /// Whether tokens that a response reports can be those of this request. What a server adds to a prompt (a file, the
    /// pages that it searched) or thinks beside the answer may be many times what was bounded, and is billed; a count out
    /// of all proportion is a mistake, and tells nothing.
    pub fn allows(&self, reported: Usage) -> bool {
        const ADDED: u64 = 2_000_000;
        const TIMES: u64 = 64;
        let most = |bound: u64| bound.saturating_mul(TIMES).min(bound.saturating_add(ADDED));
        reported.input_tokens <= most(self.usage.input_tokens).max(ADDED / 2)
            && reported.output_tokens <= most(self.usage.output_tokens).max(ADDED / 8)
    }
}

#[cfg(test)]
mod tests;
