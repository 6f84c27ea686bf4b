//! Makes packs: which rows share a request, and what it says.

use std::sync::Arc;
use std::time::Duration;

use minijinja::value::Value;
use minijinja::{Environment, context};
use promptmill_core::{AnswerShape, Error, Result};
use promptmill_llm::cost_bound::{AROUND_ITEM, ENVELOPE_TOKENS};
use promptmill_llm::lane::Load;
use promptmill_llm::{Item, Request, Tokens, row_id};
use tokio::time::Instant;

use super::desk::Desk;
use super::queue::Order;
use super::row::Row;
use crate::prompt_pack::environment;

/// Of a prompt without its items, for estimates.
const PROMPT_BYTES: usize = 1024;
/// The share of the context that is used: estimates are not exact.
const USE_OF_CONTEXT: f64 = 0.9;
/// From this share of the context on, tokens are counted and not estimated.
const NEAR: f64 = 0.7;
/// Of the tokens of a minute: a larger request would hold up all others.
const USE_OF_MINUTE: f64 = 0.25;
/// Rows that are too few for a whole pack wait for others no longer than this.
pub(super) const LONGEST_FOR_COMPANY: Duration = Duration::from_secs(10);

impl Desk {
    /// Rows for the next pack. At the end of the input the last rows are spread over all free slots.
    pub(super) fn size(&self, model: usize) -> usize {
        let rows = &self.sizes[model];
        let size = rows.within(self.models[model].tokens.high_per_row());
        if self.input_open || rows.is_fixed() {
            return size;
        }
        let (limit, in_flight) = self.models[model].gate.level();
        let free = limit.saturating_sub(in_flight).max(1);
        size.min(self.queues[model].awake().div_ceil(free)).max(1)
    }

    /// What a request of so many rows is expected to weigh.
    pub(super) fn expected_load(&self, model: usize, rows: usize) -> Load {
        let tokens = &self.models[model].tokens;
        let output = tokens.of_rows(rows).min(u64::from(self.stage.max_tokens_per_row) * rows as u64);
        let prompt = PROMPT_BYTES + rows * (self.item_bytes as usize + AROUND_ITEM);
        Load { tokens: tokens.of_prompt(prompt) + output, output }
    }

    /// Whether a pack leaves although it could have more rows: because none are to come, there is no room for them, or it has
    /// waited for them long enough.
    fn is_last_company(&self, model: usize) -> bool {
        let waited = |since: Instant| since.elapsed() >= LONGEST_FOR_COMPANY;
        !self.input_open || self.held.is_full() || self.queues[model].fresh_since().is_some_and(waited)
    }

    /// Who goes first.
    fn order(&self, model: usize) -> Order {
        let standing = &self.standings[model];
        if standing.is_failing(Instant::now()) || self.models[model].gate.reading().down {
            Order::UnfailedFirst(standing.answers)
        } else {
            Order::Usual
        }
    }

    /// Takes the next pack: rows until their tokens are what so many usual rows have, and `at_most` so many.
    pub(super) fn take_pack(&mut self, model: usize, size: usize, at_most: usize) -> Vec<Row> {
        let (tokens, name) = (&self.models[model].tokens, Arc::clone(&self.models[model].model));
        let rows = &self.sizes[model];
        let per_row = u64::from(self.stage.max_tokens_per_row);
        let context = self.models[model].context.map_or(u64::MAX, |context| (f64::from(context) * USE_OF_CONTEXT) as u64);
        let minute = self.models[model].gate.reading().tpm.map_or(u64::MAX, |tpm| (USE_OF_MINUTE * tpm) as u64);
        let target = (size as f64 * (self.item_bytes + AROUND_ITEM as f64)) as usize;
        let most = if rows.is_fixed() { size } else { (2 * size).min(rows.most()) }.min(at_most);
        let (mut used, mut bytes) = (tokens.of_prompt(PROMPT_BYTES) + ENVELOPE_TOKENS as u64, 0);
        let order = self.order(model);
        let partly = self.is_last_company(model);
        let per_name = |row: &Row| Tokens::counted(&name, &row.item);
        self.queues[model].take(order, (size, most), partly, |row| {
            let weight = row.item.len() + AROUND_ITEM;
            bytes += weight;
            // Near the end of the context an estimate is not enough, where there is better.
            let near = used as f64 > NEAR * context as f64;
            let counted = near.then(|| per_name(row)).flatten().map(|counted| counted + AROUND_ITEM as u64 / 2);
            // Why a row is asked again takes room, but makes it no more than one row to answer.
            let told = row.rejections.words().map_or(0, |words| tokens.of_prompt(words.len() + AROUND_ITEM));
            used += per_row + told + counted.unwrap_or_else(|| tokens.of_prompt(weight));
            // To the nearest row: in the mean a pack has as many as are in force.
            used <= context && (rows.is_fixed() || (bytes <= target + weight / 2 && used <= minute))
        })
    }

    pub(super) fn request(&self, model: usize, pack: &[Row]) -> Result<Request> {
        let asking = self.asking()?;
        let item =
            |(position, row): (usize, &Row)| Item { id: row_id(position), text: Arc::clone(&row.item), rejected: row.rejections.words() };
        let items: Vec<Item> = pack.iter().enumerate().map(item).collect();
        let prompt = asking.prompt.of(&items, &asking.shape)?;
        let instructions = asking.instructions.as_ref().map(|own| own.of(&items, &asking.shape)).transpose()?;
        let tokens = self.stage.max_tokens_per_row as usize * pack.len() + ENVELOPE_TOKENS;
        let model = &self.models[model];
        Ok(Request {
            model: Arc::clone(&model.model),
            system: asking.system.clone(),
            prompt,
            items,
            shape: Arc::clone(&asking.shape),
            language: asking.language,
            instructions: instructions.map(Into::into),
            structured: model.structured,
            max_tokens: Some(u32::try_from(tokens).unwrap_or(u32::MAX)),
            temperature: self.stage.temperature,
            extra_body: Arc::clone(&model.extra_body),
            timeout: self.stage.timeout.0,
        })
    }
}

/// What is asked of each pack.
#[derive(Debug)]
pub(super) enum Prompt {
    /// The same of every pack: the usual case, and nothing to render.
    Same(String),
    /// A template that names something of the pack, and the setting that it stands in.
    Template(&'static str, Box<Environment<'static>>),
}

impl Prompt {
    /// The template that stands in the setting `name`.
    pub(super) fn new(name: &'static str, source: String) -> Result<Self> {
        let failed = |error| Error::failed(format!("the template `{name}` cannot be used")).because(error);
        let mut environment = environment();
        environment.add_template_owned(name, source).map_err(failed)?;
        let template = environment.get_template(name).map_err(failed)?;
        if template.undeclared_variables(false).is_empty() {
            return template.render(()).map(Self::Same).map_err(failed);
        }
        Ok(Self::Template(name, Box::new(environment)))
    }

    pub(super) fn of(&self, items: &[Item], shape: &AnswerShape) -> Result<String> {
        let (name, environment) = match self {
            Self::Same(prompt) => return Ok(prompt.clone()),
            Self::Template(name, environment) => (name, environment),
        };
        let ids: Value = items.iter().map(|item| Value::from(item.id.as_str())).collect();
        let texts: Value = items.iter().map(|item| Value::from(&*item.text)).collect();
        let fields: Value = match shape {
            AnswerShape::Text(_) => Value::from(Vec::<Value>::new()),
            AnswerShape::Fields(fields) => {
                fields.iter().map(|field| context! { name => field.name.clone(), schema => field.schema().to_string() }).collect()
            }
        };
        let answer = shape.columns().join(", ");
        let rendered = environment
            .get_template(name)
            .and_then(|template| template.render(context! { count => items.len(), ids, items => texts, answer, fields }));
        rendered.map_err(|error| Error::failed(format!("the template `{name}` cannot be rendered")).because(error))
    }
}
