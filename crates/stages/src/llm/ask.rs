//! One request: from the money set aside to the judgement of every row, durable before it is seen.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::Utc;
use promptmill_core::{Acceptance, Attempt, Begun, CostSource, Departure, Journal, Meter, Money, Result, Returned, Usage};
use promptmill_llm::cost_bound::{CostBound, ENVELOPE_TOKENS, granted};
use promptmill_llm::lane::{Named, Outcome, Pass};
use promptmill_llm::{
    CallError, Charge, Class, Dimension, Finish, LimitHint, Model, Per, RateLimits, Request, Reservation, Response, read_answers,
};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::judging::verdicts;
use super::row::{Answer, Fault};

/// Everything that one request needs.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) model: Arc<Model>,
    /// Where it is noted what leaves and what returns.
    pub(super) meter: Arc<Meter>,
    /// Rows that a request may have now.
    pub(super) rows_in_force: usize,
    /// How often one of its rows has been asked before.
    pub(super) tries: u32,
    pub(super) request: Request,
    /// Bytes of everything that the model reads.
    pub(super) prompt_bytes: usize,
    pub(super) begun: Begun,
    pub(super) reservation: Reservation,
    /// Its place in the lane.
    pub(super) pass: Pass,
    /// Where it is, for those who wait for it.
    pub(super) progress: Arc<Progress>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) acceptance: Arc<[Arc<dyn Acceptance>]>,
    /// Whether what is said answers no row.
    pub(super) is_canary: bool,
    /// Whether the model is taken for closed by a page in front of it.
    pub(super) is_walled: bool,
}

/// Where a request is on its way. Before it leaves and after it has come back it waits for the journal, which nobody can
/// speed up by asking again.
#[derive(Debug, Default)]
pub(super) struct Progress {
    left_at: OnceLock<Instant>,
    is_back: AtomicBool,
    /// Says that nobody waits for it any more.
    pub(super) given_up: Notify,
}

impl Progress {
    /// Whether it waits for the journal before it leaves.
    pub(super) fn is_to_leave(&self) -> bool {
        self.left_at.get().is_none()
    }

    /// When it left, if the model has it now.
    pub(super) fn with_the_model_since(&self) -> Option<Instant> {
        self.left_at.get().copied().filter(|_| !self.is_back.load(Relaxed))
    }
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) attempt: Attempt,
    /// One verdict a row, in the order of the pack.
    pub(super) verdicts: Vec<Result<Answer, Fault>>,
    /// What went wrong with the call as a whole.
    pub(super) error: Option<(Class, String)>,
    pub(super) retry_after: Option<Duration>,
    /// What its user can do about that, where it is known.
    pub(super) hint: Option<String>,
    /// Whether the server says, or shows, that it is away, so that no row is what it fails on.
    pub(super) is_away: bool,
    /// Whether it was refused by a web page, which a firewall or proxy sends and not the service.
    pub(super) is_page: bool,
    /// Whether the answer was cut off or unreadable.
    pub(super) broken: bool,
    /// Whether it was cut off, and not by the bound that the request states.
    pub(super) cut_off_at: Option<u64>,
    /// Rows without an answer of the right shape.
    pub(super) bad_rows: usize,
    /// Set aside for it, for the budget to replace by the real cost; released when it is dropped.
    pub(super) spent: Money,
    /// Whether the response says what it cost, in dollars or in tokens.
    is_billed: bool,
}

/// Asks, judges, settles.
///
/// # Errors
/// When the journal cannot make it durable. Whatever was received is lost to this run then; its cost stays
/// reserved.
pub(super) async fn ask(question: Question) -> Result<Asked> {
    let Question { model, meter, rows_in_force, tries, request, prompt_bytes, begun, reservation, pass, progress, .. } = question;
    let Question { journal, acceptance, is_canary, is_walled, .. } = question;
    journal.begin(&begun).await?;
    if let Some(wait) = pass.held() {
        // While it was written down, a refusal has asked everybody to wait.
        pass.withdraw();
        let asked = failed(&model, &request, prompt_bytes, held_back(wait), begun);
        journal.end(&asked.attempt).await?;
        reservation.settle(asked.spent, asked.is_billed);
        return Ok(asked);
    }
    let started = *progress.left_at.get_or_init(Instant::now);
    let flight = meter.depart(&model.name, departure(&model, &request, rows_in_force, tries));
    let result = tokio::select! {
        biased;
        result = model.provider.complete(&request) => result,
        () = progress.given_up.notified() => Err(superseded()),
    };
    progress.is_back.store(true, Relaxed);
    drop(flight);
    let latency = started.elapsed();
    let (limits, outcome, is_reported) = match &result {
        Ok(response) => (response.limits, Outcome::Answered(response.usage.map(|usage| usage.output_tokens)), response.usage.is_some()),
        Err(error) if is_walled && is_page(error) => (error.limits, Outcome::Failed { retry_after: error.retry_after }, false),
        Err(error) => (error.limits, outcome(error), false),
    };
    // The slot is free as soon as the response is here; judging it and writing it down are our own time.
    pass.leave(outcome, &limits);
    // What a canary is told is no answer of the run, and nothing that its steps have repaired.
    let uncounted = Meter::default();
    let judging = if is_canary { &uncounted } else { &*meter };
    let mut asked = match result {
        Ok(response) => answered(&model, judging, &request, prompt_bytes, response, begun, &acceptance),
        Err(error) => failed(&model, &request, prompt_bytes, error, begun),
    };
    if is_canary {
        asked.attempt.answered = 0;
    }
    asked.attempt.latency_ms = latency.as_secs_f64() * 1e3;
    meter.returned(&model.name, returned(&asked.attempt, &limits, is_reported.then_some(prompt_bytes)));
    journal.end(&asked.attempt).await?;
    asked.spent = asked.attempt.cost.unwrap_or_default();
    reservation.settle(asked.spent, asked.is_billed);
    Ok(asked)
}

/// What the run record is to say of a request that leaves. Of what it asks for the request itself has the word:
/// `extra_body` goes before the stage's settings.
fn departure(model: &Model, request: &Request, rows_in_force: usize, tries: u32) -> Departure {
    let rows = request.items.len() as u64;
    let extra = |name| request.extra_body.get(name);
    // Our own limit has room for the JSON around the answers; another one is what somebody has written.
    let is_own = |most: u64| request.max_tokens.is_some_and(|own| u64::from(own) == most);
    let granted = granted(request, model.context).map(|most| if is_own(most) { most.saturating_sub(ENVELOPE_TOKENS as u64) } else { most });
    Departure {
        rows,
        rows_in_force: rows_in_force as u64,
        concurrency_in_force: model.gate.level().0 as u64,
        attempt: tries + 1,
        max_tokens_per_row: granted.map(|most| most / rows.max(1)),
        temperature: extra("temperature").map_or(request.temperature, Value::as_f64),
        timeout: request.timeout,
        price: model.price.clone(),
    }
}

/// What the run record is to say of what has come back.
fn returned(attempt: &Attempt, limits: &RateLimits, reported_prompt_bytes: Option<usize>) -> Returned {
    Returned {
        announced_rpm: limits.requests.limit,
        announced_tpm: limits.tokens.limit,
        usage: attempt.usage,
        cost_source: attempt.cost_source,
        prompt_bytes: reported_prompt_bytes.map(|bytes| bytes as u64),
    }
}

fn outcome(error: &CallError) -> Outcome {
    match error.class {
        class if class.is_limit() => Outcome::Limited { retry_after: error.retry_after, named: error.limit_hint.and_then(named) },
        Class::Unreachable | Class::Overloaded | Class::Timeout => Outcome::Failed { retry_after: error.retry_after },
        Class::Superseded => Outcome::GivenUp,
        _ => Outcome::Answered(None),
    }
}

/// Whether a request was refused by a web page, which a firewall or proxy sends and not the service.
fn is_page(error: &CallError) -> bool {
    error.class == Class::Filtered
        && error.raw.as_deref().is_some_and(|raw| raw.trim_start_matches('\u{feff}').trim_start().starts_with('<'))
}

/// The limit that a refusal speaks of, if it is one that a pace can keep.
fn named(hint: LimitHint) -> Option<Named> {
    let limit = Some(hint.limit).filter(|limit| *limit > 0);
    match (hint.dimension, hint.per) {
        (Dimension::Requests, Some(Per::Minute)) => Some(Named::Requests(limit)),
        (Dimension::Tokens, Some(Per::Minute)) => Some(Named::Tokens(limit, hint.requested)),
        (Dimension::Concurrency, None) => Some(Named::InFlight),
        _ => None,
    }
}

fn superseded() -> CallError {
    of_our_own(Class::Superseded, "another request answered these rows first", Charge::Unknown)
}

fn held_back(wait: Duration) -> CallError {
    let message = "not sent: the service has asked to wait in the meantime";
    CallError { retry_after: Some(wait), ..of_our_own(Class::RateLimited, message, Charge::Nothing) }
}

/// What no service has said.
fn of_our_own(class: Class, message: &str, charge: Charge) -> CallError {
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

fn answered(
    model: &Model,
    meter: &Meter,
    request: &Request,
    prompt_bytes: usize,
    response: Response,
    begun: Begun,
    acceptance: &[Arc<dyn Acceptance>],
) -> Asked {
    let bound = CostBound::by_bytes(model.price.as_ref(), request, model.context, prompt_bytes);
    // Counts out of all proportion are a mistake of the server, and as good as none.
    let reported = response.usage.filter(|usage| bound.allows(*usage));
    let usage = reported.unwrap_or_else(|| Usage {
        input_tokens: model.tokens.of_prompt(prompt_bytes),
        cached_input_tokens: 0,
        output_tokens: model.tokens.of_output(response.content.len()),
        ..Usage::default()
    });
    if let Some(usage) = reported {
        model.tokens.observe(prompt_bytes, usage.input_tokens, response.content.len(), usage.output_tokens);
        if response.finish != Finish::Truncated {
            model.tokens.observe_rows(request.items.len(), usage.output_tokens);
        }
    }
    let stated = model.believed(response.cost);
    let (cost, cost_source) = cost(model, reported, stated, begun.reserved);
    let is_billed = reported.is_some() || stated.is_some();
    let reply = read_answers(&response.content, request.items.len(), &request.shape, request.structured);
    let truncated = response.finish == Finish::Truncated;
    let is_cut = truncated || response.finish == Finish::Broken;
    let reply = if is_cut { reply.cut_off() } else { reply };
    let (bad_rows, whole) = (reply.rows.len() - reply.given(), reply.whole);
    let verdicts = verdicts(&reply.rows, &response.content, request, is_cut, acceptance, meter);
    let accepted = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    let status = match whole {
        _ if truncated => "truncated",
        _ if is_cut => "malformed",
        false => "malformed",
        true if bad_rows > 0 => "incomplete",
        true => "ok",
    };
    let attempt = Attempt {
        begun,
        latency_ms: 0.0,
        status: status.to_owned(),
        error: None,
        finish_reason: response.finish_reason,
        usage: Some(usage),
        cost,
        cost_source,
        answered: accepted as u32,
        raw_response: Some(response.raw),
    };
    let within = u64::from(request.max_tokens.unwrap_or(u32::MAX)) * 95 / 100;
    let cut_off_at = Some(usage.output_tokens).filter(|tokens| truncated && *tokens < within);
    Asked {
        attempt,
        verdicts,
        error: None,
        retry_after: None,
        hint: None,
        is_away: false,
        is_page: false,
        broken: is_cut || !whole,
        cut_off_at,
        bad_rows,
        spent: Money::ZERO,
        is_billed,
    }
}

fn failed(model: &Model, request: &Request, prompt_bytes: usize, error: CallError, begun: Begun) -> Asked {
    let (usage, cost, cost_source) = match error.charge {
        Charge::Nothing => (None, Some(Money::ZERO), None),
        // A timeout is an unknown charge: it counts as the most that it can have been.
        Charge::Unknown => {
            let (cost, source) = cost(model, None, None, begun.reserved);
            (None, cost, source)
        }
        Charge::Known { usage, cost: stated } => {
            let bound = CostBound::by_bytes(model.price.as_ref(), request, model.context, prompt_bytes);
            // Where no tokens are named, nothing was used, and the 0 is meant.
            let stated = if usage.is_some() { model.believed(stated) } else { stated };
            let usage = usage.filter(|usage| bound.allows(*usage));
            let (cost, source) = cost(model, usage, stated, begun.reserved);
            (usage, cost, source)
        }
    };
    let is_billed = usage.is_some() || cost_source == Some(CostSource::Provider);
    let is_page = is_page(&error);
    let fault = Fault { reason: error.class.name().to_owned(), detail: error.message.clone(), text: None, retry: true };
    let rows = request.items.len();
    let attempt = Attempt {
        begun,
        latency_ms: 0.0,
        status: error.class.name().to_owned(),
        error: Some(error.message.clone()),
        finish_reason: None,
        usage,
        cost,
        cost_source,
        answered: 0,
        raw_response: error.raw,
    };
    Asked {
        attempt,
        verdicts: vec![Err(fault); rows],
        error: Some((error.class, error.message)),
        retry_after: error.retry_after,
        hint: error.hint,
        // A server that fails inside says 500; what stands before it, or no server at all, says anything else.
        is_away: error.class == Class::Overloaded && error.status != Some(500),
        is_page,
        broken: error.class == Class::Malformed,
        cut_off_at: None,
        bad_rows: if error.class == Class::Malformed { rows } else { 0 },
        spent: Money::ZERO,
        is_billed,
    }
}

/// What an attempt cost, and who says so: the provider in dollars, else its tokens, else nobody, and then it counts as
/// the most that was set aside for it. Nothing is known of a model without a price that states nothing.
fn cost(model: &Model, reported: Option<Usage>, stated: Option<Money>, reserved: Money) -> (Option<Money>, Option<CostSource>) {
    match (stated, reported, &model.price) {
        (Some(stated), ..) => (Some(stated), Some(CostSource::Provider)),
        (None, Some(usage), Some(price)) => (Some(price.cost(usage)), Some(CostSource::Price)),
        (None, None, Some(_)) => (Some(reserved), Some(CostSource::Price)),
        (None, _, None) => (None, None),
    }
}

/// Now, in microseconds since 1970.
pub(super) fn now_micros() -> i64 {
    Utc::now().timestamp_micros()
}
