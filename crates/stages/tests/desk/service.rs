//! A model provider in memory: what it answers, what it charges and what goes wrong, on tokio's clock.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use promptmill_core::Usage;
use promptmill_llm::{CallError, Charge, Class, Finish, Item, Provider, RateLimits, Request, Response, rejections};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// From the arrival of a request that is turned away to the refusal's.
const REFUSAL: Duration = Duration::from_millis(90);
/// Tokens of a prompt without its items.
const PROMPT_TOKENS: u64 = 150;
/// Tokens around an item.
const ITEM_TOKENS: u64 = 20;
/// Tokens around an answer.
const ENVELOPE_TOKENS: u64 = 4;
/// An item with this word in it is refused, or whatever `poison` says, and the whole pack with it.
pub(crate) const POISON: &str = "poison";
/// What an improper answer begins with.
pub(crate) const IMPROPER: &str = "improper";

/// What the provider does.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServiceConfig {
    /// Requests a minute; 0: no limit.
    rpm: f64,
    /// Tokens a minute; 0: no limit.
    tpm: f64,
    /// Seconds that a refusal asks to wait; 0: it does not say.
    retry_after: f64,
    /// Seconds that every answer takes, and for each thousand tokens of it.
    base: f64,
    per_1k: f64,
    /// Spread of the log-normal noise on it.
    cv: f64,
    /// Share of answers that take `tail_factor` times as long.
    tail: f64,
    tail_factor: f64,
    /// Share of requests that never come back; the caller gives up after its timeout.
    stuck: f64,
    /// Share of requests that are refused whatever the load, and of those that fail.
    overloaded: f64,
    failing: f64,
    /// Answer tokens a row.
    output: u64,
    /// The model ends every answer after so many tokens; 0: it does not.
    longest_output: u64,
    /// Packs of more rows than `garbled_above` come back unreadable, this share of them.
    garbled: f64,
    garbled_above: usize,
    /// Share of rows that an answer leaves out.
    missing: f64,
    /// Share of rows that get an improper answer until the model is told that one was rejected.
    improper: f64,
    /// When everything is answered with 503, in seconds.
    outage: Option<(f64, f64)>,
    /// What becomes of a pack with a poisonous item.
    poison: Poison,
    /// The model is not there.
    gone: bool,
}

/// What becomes of a pack with a poisonous item.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Poison {
    /// A filter refuses it.
    #[default]
    Filtered,
    /// The server fails on it.
    Failing,
    /// It is never answered.
    Stuck,
    /// It is turned away as one too many.
    Limited,
    /// It is called malformed.
    Malformed,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            rpm: 0.0,
            tpm: 0.0,
            retry_after: 0.0,
            base: 1.0,
            per_1k: 0.0,
            cv: 0.3,
            tail: 0.0,
            tail_factor: 8.0,
            stuck: 0.0,
            overloaded: 0.0,
            failing: 0.0,
            output: 40,
            longest_output: 0,
            garbled: 0.0,
            garbled_above: usize::MAX,
            missing: 0.0,
            improper: 0.0,
            outage: None,
            poison: Poison::default(),
            gone: false,
        }
    }
}

/// The provider.
#[derive(Debug)]
pub(crate) struct Service {
    config: ServiceConfig,
    seed: u64,
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What may be used at once of both rates, and since when.
    stock: Option<([f64; 2], Instant)>,
    /// How often an item was first in its pack, so that the same pack asked again has luck of its own.
    asked: HashMap<Arc<str>, u64>,
    /// Items that were told to wait, and until when.
    told: HashMap<Arc<str>, Instant>,
    /// Requests that came back before the time they were told.
    hasty: usize,
    refused: usize,
}

enum Fate {
    Answered(Duration),
    Limited,
    Unavailable,
    Failed,
    Filtered,
    BadRequest,
    Missing,
    Stuck,
}

impl Service {
    pub(crate) fn new(config: ServiceConfig, seed: u64) -> Self {
        Self { config, seed, opened: Instant::now(), state: Mutex::default() }
    }

    /// Requests that a limit turned away.
    pub(crate) fn refused(&self) -> usize {
        self.state().refused
    }

    /// Requests that came back before the time they were told.
    pub(crate) fn hasty(&self) -> usize {
        self.state().hasty
    }

    /// The end of the outage.
    pub(crate) fn outage(&self) -> Option<(f64, f64)> {
        self.config.outage
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// The same rows have the same luck in every run with this seed, whenever they are asked.
    fn luck(&self, request: &Request) -> StdRng {
        let first = &request.items[0].text;
        let mut state = self.state();
        let times = state.asked.entry(Arc::clone(first)).or_default();
        *times += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, first, *times).hash(&mut hasher);
        StdRng::seed_from_u64(hasher.finish())
    }

    fn fate(&self, request: &Request, usage: Usage, luck: &mut StdRng) -> Fate {
        let config = &self.config;
        let now = Instant::now();
        let at = (now - self.opened).as_secs_f64();
        if config.gone {
            return Fate::Missing;
        }
        if config.outage.is_some_and(|(from, until)| (from..until).contains(&at)) {
            return Fate::Unavailable;
        }
        if config.failing > 0.0 && luck.random_bool(config.failing) {
            return Fate::Unavailable;
        }
        let mut state = self.state();
        state.hasty += usize::from(request.items.iter().any(|item| state.told.get(&item.text).is_some_and(|until| now < *until)));
        let overloaded = config.overloaded > 0.0 && luck.random_bool(config.overloaded);
        if overloaded || !state.admits(config, now, usage) {
            state.refused += 1;
            let until = now + REFUSAL + Duration::from_secs_f64(config.retry_after);
            state.told.extend(request.items.iter().map(|item| (Arc::clone(&item.text), until)));
            return Fate::Limited;
        }
        drop(state);
        if request.items.iter().any(|item| item.text.contains(POISON)) {
            return match config.poison {
                Poison::Filtered => Fate::Filtered,
                Poison::Failing => Fate::Failed,
                Poison::Stuck => Fate::Stuck,
                Poison::Limited => Fate::Limited,
                Poison::Malformed => Fate::BadRequest,
            };
        }
        if luck.random_bool(config.stuck) {
            return Fate::Stuck;
        }
        let sigma = (1.0 + config.cv * config.cv).ln().sqrt();
        let noise = LogNormal::new(-sigma * sigma / 2.0, sigma).expect("a spread").sample(luck);
        let tail = if luck.random_bool(config.tail) { config.tail_factor } else { 1.0 };
        let usual = config.base + config.per_1k * usage.output_tokens as f64 / 1e3;
        Fate::Answered(Duration::from_secs_f64(usual * noise * tail))
    }

    /// Whether this item gets an improper answer: the same ones in every run with this seed, however often they are asked.
    fn is_improper(&self, item: &Item) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, &item.text, IMPROPER).hash(&mut hasher);
        item.rejected.is_none() && StdRng::seed_from_u64(hasher.finish()).random_bool(self.config.improper)
    }

    fn answer(&self, request: &Request, usage: Usage, luck: &mut StdRng) -> Response {
        let config = &self.config;
        let rows = request.items.len();
        let whole = config.output * rows as u64 + ENVELOPE_TOKENS;
        let truncated = usage.output_tokens < whole;
        let complete = if truncated { (usage.output_tokens / config.output) as usize } else { rows };
        let mut content = String::from("{");
        for item in &request.items[..complete] {
            if !luck.random_bool(config.missing) {
                let comma = if content.len() > 1 { "," } else { "" };
                let answer = if self.is_improper(item) { IMPROPER.to_owned() } else { answer_about(&item.text) };
                write!(content, "{comma}\"{}\":\"{answer}\"", item.id).expect("a string grows");
            }
        }
        content.push_str(if truncated { ",\"r" } else { "}" });
        if rows > config.garbled_above && luck.random_bool(config.garbled) {
            content = "Here are the answers: {{\"r1\" =".to_owned();
        }
        Response {
            raw: content.clone(),
            content,
            finish: if truncated { Finish::Truncated } else { Finish::Stop },
            finish_reason: None,
            usage: Some(usage),
            cost: None,
            limits: RateLimits::NONE,
        }
    }
}

/// What the model says about an item: enough to see that it was said about this one.
pub(crate) fn answer_about(text: &str) -> String {
    format!("about {}", text.split(' ').next().unwrap_or_default())
}

impl State {
    fn admits(&mut self, config: &ServiceConfig, now: Instant, usage: Usage) -> bool {
        let rates = [config.rpm / 60.0, config.tpm / 60.0];
        let weights = [1.0, (usage.input_tokens + usage.output_tokens) as f64];
        let (stock, since) = self.stock.get_or_insert((rates.map(|rate| rate.max(1.0)), now));
        let seconds = (now - *since).as_secs_f64();
        *since = now;
        for (stock, rate) in stock.iter_mut().zip(rates) {
            // A second's worth may be used at once, and one request always.
            *stock = (*stock + seconds * rate).min(rate.max(1.0));
        }
        let admitted = (0..2).all(|which| rates[which] == 0.0 || stock[which] >= weights[which].min(rates[which]).max(1.0));
        if admitted {
            stock.iter_mut().zip(weights).for_each(|(stock, weight)| *stock -= weight);
        }
        admitted
    }
}

#[async_trait]
impl Provider for Service {
    async fn complete(&self, request: &Request) -> Result<Response, CallError> {
        let mut luck = self.luck(request);
        let rows = request.items.len() as u64;
        let text: usize = request.items.iter().map(|item| item.text.len()).sum();
        let input_tokens = PROMPT_TOKENS + ITEM_TOKENS * rows + (text + rejections(request).len()) as u64 / 4;
        let longest = if self.config.longest_output == 0 { u64::MAX } else { self.config.longest_output };
        let output_tokens = (self.config.output * rows + ENVELOPE_TOKENS).min(longest);
        let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
        match self.fate(request, usage, &mut luck) {
            Fate::Answered(after) if after < request.timeout => {
                sleep(after).await;
                Ok(self.answer(request, usage, &mut luck))
            }
            Fate::Answered(_) | Fate::Stuck => {
                sleep(request.timeout).await;
                Err(failure(Class::Timeout, "no answer", Charge::Unknown))
            }
            Fate::Limited => {
                sleep(REFUSAL).await;
                let retry_after = Some(self.config.retry_after).filter(|wait| *wait > 0.0).map(Duration::from_secs_f64);
                Err(CallError { retry_after, ..failure(Class::RateLimited, "too many requests", Charge::Nothing) })
            }
            Fate::Unavailable => {
                sleep(REFUSAL).await;
                Err(failure(Class::Overloaded, "service unavailable", Charge::Nothing))
            }
            Fate::Failed => {
                sleep(REFUSAL).await;
                Err(CallError { status: Some(500), ..failure(Class::Overloaded, "internal error", Charge::Nothing) })
            }
            Fate::BadRequest => {
                sleep(REFUSAL).await;
                Err(failure(Class::BadRequest, "could not parse the messages", Charge::Nothing))
            }
            Fate::Missing => {
                sleep(REFUSAL).await;
                Err(failure(Class::ModelMissing, "no such model", Charge::Nothing))
            }
            Fate::Filtered => {
                sleep(Duration::from_secs_f64(self.config.base)).await;
                let usage = Usage { output_tokens: 0, ..usage };
                Err(failure(Class::Filtered, "content filter", Charge::Known { usage: Some(usage), cost: None }))
            }
        }
    }

    fn read(&self, _raw: &str) -> Result<Response, CallError> {
        Err(failure(Class::Malformed, "nothing is read again here", Charge::Nothing))
    }
}

fn failure(class: Class, message: &str, charge: Charge) -> CallError {
    CallError {
        class,
        message: message.to_owned(),
        hint: None,
        status: None,
        retry_after: None,
        charge,
        raw: None,
        limits: RateLimits::NONE,
        limit_hint: None,
    }
}
