//! A scenario: a provider, the settings of a pipeline, its rows, and the bounds that must hold.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Decimal128Type;
use futures::{StreamExt, TryStreamExt, stream};
use promptmill_core::{
    About, Acceptance, Accepted, BatchStream, Blueprint, Declaration, Extensions, Meter, Money, NothingAnswered, Pipeline, Rejected,
    RunContext, StageContext, Stop, StopReason, Tally, columns,
};
use promptmill_llm::Models;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tokio::time::Instant;
use toml::Table;

use crate::ledger::{Book, Ledger};
use crate::service::{IMPROPER, POISON, Service, ServiceConfig, answer_about};

/// Seeds that every scenario runs with.
const SEEDS: u64 = 10;
/// Rows of each batch of the source.
const BATCH: usize = 500;
/// No run of a few thousand rows takes longer than this, unless it stands still.
const STANDSTILL: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(skip)]
    pub(crate) name: String,
    /// Why it is here. For the reader.
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    rows: usize,
    /// One row in so many is refused by the provider; 0: none.
    #[serde(default)]
    poison_every: usize,
    /// Settings of `prompt-pack` and `llm`.
    #[serde(default)]
    pack: Table,
    #[serde(default)]
    llm: Table,
    /// Dollars.
    #[serde(default)]
    budget: Option<f64>,
    #[serde(default)]
    service: Table,
    /// Another provider, whose model is called `second`.
    #[serde(default)]
    second: Table,
    /// The run that it is compared with: the same but for this.
    #[serde(default)]
    against: Option<Against>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Against {
    pack: Table,
    llm: Table,
    service: Table,
}

/// Bounds of the mean over the seeds, unless they say something else.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expect {
    /// Row places that were paid for, for each row.
    paid_rows: Option<f64>,
    /// Rows of the packs that left when half to nine tenths of the requests had: the median.
    rows_at_most: Option<f64>,
    rows_at_least: Option<f64>,
    /// Rows answered a second in the last fifth of the rows, over those in the first.
    growth: Option<f64>,
    /// Requests beyond one for each full pack, for each refused row.
    extra_calls: Option<f64>,
    /// Time and cost, over those of the run that it is compared with.
    time: Option<f64>,
    cost: Option<f64>,
    /// Seconds after the outage until three seconds begin with 90 % of the rows a second of before; in the worst seed.
    recovery: Option<f64>,
    /// Seconds that it takes, in the worst seed.
    seconds: Option<f64>,
    /// The budget ends the run, after so much of it has been spent; in the worst seed.
    spends: Option<f64>,
}

/// What one run came to.
#[derive(Clone, Debug, Default)]
struct Outcomes {
    seconds: f64,
    calls: f64,
    refused: f64,
    paid_rows: f64,
    rows: f64,
    growth: f64,
    extra_calls: f64,
    cost: f64,
    recovery: f64,
    spent_share: f64,
    handed_out: f64,
    time_against: f64,
    cost_against: f64,
    /// What must never happen.
    broken: Vec<String>,
}

/// What all runs of a scenario came to.
pub(crate) struct Summary {
    name: String,
    mean: Outcomes,
    worst_time: f64,
    pub(crate) missed: Vec<String>,
}

/// Rejects improper answers.
#[derive(Debug)]
struct Proper;

impl Acceptance for Proper {
    fn column(&self) -> &'static str {
        "answer"
    }

    fn judge(&self, text: &str, _: &About<'_>, _: &mut Tally) -> Result<Accepted, Rejected> {
        if text.starts_with(IMPROPER) {
            return Err(Rejected { reason: IMPROPER.to_owned(), detail: format!("it says `{text}`"), retry: true });
        }
        Ok(Accepted { text: text.to_owned(), flags: Vec::new() })
    }
}

impl Scenario {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a scenario");
        let mut scenario: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        scenario.name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        scenario
    }

    pub(crate) fn summary(&self) -> Summary {
        let runs: Vec<Outcomes> = (0..SEEDS).map(|seed| self.compared(seed)).collect();
        let mean_of = |of: fn(&Outcomes) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let largest = |of: fn(&Outcomes) -> f64| runs.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let mean = Outcomes {
            seconds: mean_of(|run| run.seconds),
            calls: mean_of(|run| run.calls),
            refused: mean_of(|run| run.refused),
            paid_rows: mean_of(|run| run.paid_rows),
            rows: mean_of(|run| run.rows),
            growth: mean_of(|run| run.growth),
            extra_calls: mean_of(|run| run.extra_calls),
            cost: mean_of(|run| run.cost),
            recovery: largest(|run| run.recovery),
            spent_share: -largest(|run| -run.spent_share),
            handed_out: mean_of(|run| run.handed_out),
            time_against: mean_of(|run| run.time_against),
            cost_against: mean_of(|run| run.cost_against),
            broken: Vec::new(),
        };
        let mut missed: Vec<String> = runs.iter().flat_map(|run| run.broken.clone()).collect();
        let expect = &self.expect;
        let mut at_most = |what: &str, value: f64, most: Option<f64>| {
            // A value that is no number keeps no bound.
            if let Some(most) = most.filter(|most| !value.le(most)) {
                missed.push(format!("{}: {what} {value:.3}, not {most}", self.name));
            }
        };
        at_most("paid rows", mean.paid_rows, expect.paid_rows);
        at_most("rows a request", mean.rows, expect.rows_at_most);
        at_most("less rows a request", -mean.rows, expect.rows_at_least.map(|least| -least));
        at_most("less growth", -mean.growth, expect.growth.map(|least| -least));
        at_most("extra calls", mean.extra_calls, expect.extra_calls);
        at_most("time", mean.time_against, expect.time);
        at_most("cost", mean.cost_against, expect.cost);
        at_most("recovery", mean.recovery, expect.recovery);
        at_most("seconds", largest(|run| run.seconds), expect.seconds);
        at_most("less spent", -mean.spent_share, expect.spends.map(|least| -least));
        Summary { name: self.name.clone(), worst_time: largest(|run| run.time_against), mean, missed }
    }

    fn compared(&self, seed: u64) -> Outcomes {
        let mut outcomes = self.run(seed, &Against::default());
        if let Some(against) = &self.against {
            let other = self.run(seed, against);
            outcomes.time_against = outcomes.seconds / other.seconds;
            outcomes.cost_against = outcomes.cost / other.cost;
            outcomes.broken.extend(other.broken);
        }
        outcomes
    }

    fn run(&self, seed: u64, changes: &Against) -> Outcomes {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let result = runtime.block_on(async { tokio::time::timeout(STANDSTILL, self.play(seed, changes)).await });
        let mut outcomes = result.unwrap_or_else(|_| panic!("{}: seed {seed} stands still", self.name));
        outcomes.broken.iter_mut().for_each(|broken| *broken = format!("{}: seed {seed}: {broken}", self.name));
        outcomes
    }

    fn pipeline(&self, changes: &Against) -> Pipeline {
        let mut pack = self.pack.clone();
        pack.extend(changes.pack.clone());
        let mut llm = self.llm.clone();
        llm.extend(changes.llm.clone());
        pipeline_of(pack, llm)
    }

    /// Rows that the provider refuses.
    fn poisonous(&self) -> usize {
        self.rows.checked_div(self.poison_every).unwrap_or(0)
    }

    /// Texts by their keys.
    fn source(&self, seed: u64) -> BTreeMap<String, String> {
        let mut random = StdRng::seed_from_u64(seed);
        // One somewhere in each stretch.
        let stretch = |at: usize| at * self.poison_every + random.random_range(0..self.poison_every);
        let poisonous: HashSet<usize> = (0..self.poisonous()).map(stretch).collect();
        let row = |index: usize| {
            let key = format!("k{index:06}");
            let poison = if poisonous.contains(&index) { POISON } else { "text" };
            let text = format!("{key} {poison} {}", "x".repeat(random.random_range(80..240)));
            (key, text)
        };
        (0..self.rows).map(row).collect()
    }

    async fn play(&self, seed: u64, changes: &Against) -> Outcomes {
        let started = Instant::now();
        let rows = self.source(seed);
        let mut service = self.service.clone();
        service.extend(changes.service.clone());
        let config: ServiceConfig = service.try_into().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let service = Arc::new(Service::new(config, seed));
        let second: ServiceConfig = self.second.clone().try_into().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let second = Arc::new(Service::new(second, seed));
        let budget = self.budget.and_then(Money::from_usd);
        let ledger = Arc::new(Ledger::new(budget));
        let stop = Stop::default();
        let services = Extensions::default();
        services.insert(
            Models::default().with_seed(seed).with_provider("simulated", Arc::clone(&service) as _).with_provider("second", second),
        );
        let run = RunContext {
            id: "run".into(),
            question: "question".into(),
            answered: Arc::new(NothingAnswered),
            journal: Arc::clone(&ledger) as _,
            asks: true,
            counts_earlier: true,
            budget,
            shared: Extensions::default(),
        };
        let judged = vec![Declaration::Judge(Arc::new(Proper))];
        let mut flow = through(&self.pipeline(changes), judged, stream::iter(batches(&rows)).map(Ok).boxed(), run, services, &stop);
        let mut out = Handed::default();
        while let Some(batch) = flow.try_next().await.unwrap_or_else(|error| panic!("{}: {error}", self.name)) {
            out.take(&batch, &rows);
        }
        let seconds = started.elapsed().as_secs_f64();
        let book = ledger.close();
        if std::env::var("PROMPTMILL_TRACE").is_ok_and(|traced| traced == seed.to_string()) {
            book.packs.iter().for_each(|(at, rows)| eprintln!("{at:9.3} {rows} leave"));
            book.ended.iter().for_each(|(at, attempt)| eprintln!("{at:9.3} {} {} end", attempt.begun.keys.len(), attempt.status));
        }
        let mut outcomes = self.measure(&book, &service, seconds, budget);
        outcomes.broken = book.broken;
        let paid: Money = book.ended.iter().map(|(_, attempt)| attempt.cost.unwrap_or_default()).sum();
        let answered: usize = book.ended.iter().map(|(_, attempt)| attempt.answered as usize).sum();
        self.check(&mut outcomes, &out, &stop, (paid, answered));
        if service.hasty() > 0 {
            outcomes.broken.push(format!("{} requests came back before the time they were told", service.hasty()));
        }
        outcomes
    }

    /// What must hold of every run.
    fn check(&self, outcomes: &mut Outcomes, out: &Handed, stop: &Stop, (paid, answered): (Money, usize)) {
        outcomes.handed_out = out.keys.len() as f64;
        let mut want = |holds: bool, what: String| {
            if !holds {
                outcomes.broken.push(what);
            }
        };
        want(out.doubled == 0, format!("{} rows were handed out twice", out.doubled));
        want(out.wrong == 0, format!("{} answers are about other rows", out.wrong));
        want(out.unexpected_dead == 0, format!("{} dead letters: {:?}", out.unexpected_dead, out.reasons));
        let wrongly_charged = format!("the rows cost {}, the attempts {}", out.cost, paid.nano());
        if self.expect.spends.is_some() {
            // Rows that wait to be asked again are not handed out, nor is what they have cost so far.
            want(out.cost <= i128::from(paid.nano()), wrongly_charged);
            want(out.keys.len() - out.dead == answered, format!("{answered} rows were answered, {} handed out", out.keys.len() - out.dead));
            want(stop.reason() == Some(StopReason::Budget), format!("stopped for {:?}", stop.reason()));
        } else {
            want(out.cost == i128::from(paid.nano()), wrongly_charged);
            want(stop.reason().is_none(), format!("stopped for {:?}", stop.reason()));
            want(out.keys.len() == self.rows, format!("{} of {} rows were handed out", out.keys.len(), self.rows));
            want(out.dead == self.poisonous(), format!("{} dead letters, {} refused rows", out.dead, self.poisonous()));
        }
    }

    fn measure(&self, book: &Book, service: &Service, seconds: f64, budget: Option<Money>) -> Outcomes {
        let total = self.rows as f64;
        let paid = |attempt: &promptmill_core::Attempt| attempt.cost.is_some_and(|cost| cost > Money::ZERO);
        let paid_rows: usize = book.ended.iter().filter(|(_, attempt)| paid(attempt)).map(|(_, attempt)| attempt.begun.keys.len()).sum();
        let cost: Money = book.ended.iter().map(|(_, attempt)| attempt.cost.unwrap_or_default()).sum();
        let packs = &book.packs;
        let mut late: Vec<usize> = packs[packs.len() / 2..packs.len() * 9 / 10].iter().map(|(_, rows)| *rows).collect();
        late.sort_unstable();
        let median = late.get(late.len() / 2).copied().unwrap_or(0);
        // When each fifth of the answers was there.
        let mut answered = 0;
        let mut fifths = [0.0; 6];
        for (at, attempt) in &book.ended {
            answered += attempt.answered as usize;
            let fifth = answered * 5 / self.rows.max(1);
            fifths[1..=fifth.min(5)].iter_mut().filter(|mark| **mark == 0.0).for_each(|mark| *mark = *at);
        }
        let full = packs.iter().map(|(_, rows)| *rows).max().unwrap_or(1) as f64;
        let bad = self.poisonous();
        Outcomes {
            seconds,
            calls: packs.len() as f64,
            refused: service.refused() as f64,
            paid_rows: paid_rows as f64 / total,
            rows: median as f64,
            growth: if fifths[5] > fifths[4] { fifths[1] / (fifths[5] - fifths[4]) } else { 0.0 },
            extra_calls: if bad == 0 { 0.0 } else { (packs.len() as f64 - (total / full).ceil()) / bad as f64 },
            cost: cost.usd(),
            recovery: service.outage().map_or(0.0, |(from, until)| recovery(book, from, until)),
            spent_share: budget.map_or(0.0, |cap| cost.usd() / cap.usd()),
            ..Outcomes::default()
        }
    }
}

/// The rows on their way through the stages of a pipeline, behind which somebody declares this.
pub(crate) fn through(
    pipeline: &Pipeline,
    behind: Vec<Declaration>,
    rows: BatchStream,
    run: RunContext,
    services: Extensions,
    stop: &Stop,
) -> BatchStream {
    let declared = pipeline.stages.iter().map(|spec| spec.stage.declares()).chain([behind]).collect();
    let blueprint = Arc::new(Blueprint::new(declared, &pipeline.models, &pipeline.providers));
    let (run, services, meter) = (Arc::new(run), Arc::new(services), Arc::new(Meter::default()));
    let place = |index| {
        let (run, services, meter) = (Arc::clone(&run), Arc::clone(&services), Arc::clone(&meter));
        StageContext { place: blueprint.place(index), run, meter, stop: stop.clone(), services }
    };
    pipeline.stages.iter().enumerate().fold(rows, |rows, (index, spec)| Arc::clone(&spec.stage).run(rows, place(index)))
}

/// A pipeline with these settings of `prompt-pack` and `llm`.
pub(crate) fn pipeline_of(more_of_pack: Table, more_of_llm: Table) -> Pipeline {
    let mut pack: Table = toml::from_str("use = \"prompt-pack\"\nitem = \"{{ text }}\"\nprompt = \"Say it again.\"").expect("TOML");
    pack.extend(more_of_pack);
    let mut llm: Table = toml::from_str("use = \"llm\"\nmodel = \"simulated\"\nmax_tokens_per_row = 80").expect("TOML");
    llm.extend(more_of_llm);
    let mut file: Table = toml::from_str(
        "name = \"desk\"\nsource = { path = \"rows.parquet\", key = \"key\" }\nsink = { path = \"out\" }\n\
         [providers.simulated]\nkind = \"openai\"\nbase_url = \"http://localhost\"\n\
         [providers.second]\nkind = \"openai\"\nbase_url = \"http://localhost\"\n\
         [models.second]\nprovider = \"second\"\nmodel = \"second\"\nprice = { input = 1.0, output = 4.0 }\n\
         [models.simulated]\nprovider = \"simulated\"\nmodel = \"simulated\"\nprice = { input = 1.0, output = 4.0 }",
    )
    .expect("TOML");
    file.insert("stages".to_owned(), vec![pack, llm].into());
    let text = toml::to_string(&file).expect("TOML");
    Pipeline::parse("desk.toml", &text, &[], &|_| None, &promptmill_stages::registry()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Seconds after `until` when three seconds begin with 90 % of the rows a second that there were before `from`.
fn recovery(book: &Book, from: f64, until: f64) -> f64 {
    const WARMUP: f64 = 10.0;
    const STEP: f64 = 0.25;
    let answered = |begin: f64, end: f64| -> f64 {
        let within = book.ended.iter().filter(|(at, _)| (begin..end).contains(at));
        within.map(|(_, attempt)| f64::from(attempt.answered)).sum()
    };
    let before = answered(WARMUP, from) / (from - WARMUP);
    let steps = (0..400).map(|step| f64::from(step) * STEP);
    steps.into_iter().find(|after| answered(until + after, until + after + 3.0) >= 0.9 * 3.0 * before).unwrap_or(f64::INFINITY)
}

fn batches(rows: &BTreeMap<String, String>) -> Vec<RecordBatch> {
    let rows: Vec<_> = rows.iter().collect();
    let batch = |rows: &[(&String, &String)]| {
        let keys = Arc::new(StringArray::from_iter_values(rows.iter().map(|(key, _)| key))) as ArrayRef;
        let texts = Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, text)| text))) as ArrayRef;
        RecordBatch::try_from_iter([(columns::KEY, keys), ("text", texts)]).expect("a batch")
    };
    rows.chunks(BATCH).map(batch).collect()
}

/// What the stage has handed out.
#[derive(Default)]
struct Handed {
    keys: HashSet<String>,
    doubled: usize,
    wrong: usize,
    dead: usize,
    unexpected_dead: usize,
    reasons: BTreeMap<String, usize>,
    cost: i128,
}

impl Handed {
    fn take(&mut self, batch: &RecordBatch, rows: &BTreeMap<String, String>) {
        let text = |name: &str| batch.column_by_name(name).expect("a column").as_string::<i32>().clone();
        let (keys, answers, reasons) = (text(columns::KEY), text("answer"), text(columns::REASON));
        let costs = batch.column_by_name("cost_usd").expect("a column").as_primitive::<Decimal128Type>().clone();
        for row in 0..batch.num_rows() {
            let key = keys.value(row);
            let text = &rows[key];
            self.doubled += usize::from(!self.keys.insert(key.to_owned()));
            self.cost += costs.value(row);
            if reasons.is_valid(row) {
                self.dead += 1;
                self.unexpected_dead += usize::from(!text.contains(POISON));
                *self.reasons.entry(reasons.value(row).to_owned()).or_default() += 1;
            } else {
                self.wrong += usize::from(answers.value(row) != answer_about(text));
            }
        }
    }
}

impl Summary {
    pub(crate) const HEAD: &str = "scenario                           seconds   calls  refused  rows out  rows/call  paid rows  growth  extra   cost $  \
         against: time (worst)   cost";
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = &self.mean;
        write!(
            f,
            "{:<34} {:>7.1} {:>7.0} {:>8.1} {:>9.0} {:>10.1} {:>10.3} {:>7.1} {:>6.1} {:>8.4} {:>14.2} ({:>5.2}) {:>6.3}",
            self.name,
            mean.seconds,
            mean.calls,
            mean.refused,
            mean.handed_out,
            mean.rows,
            mean.paid_rows,
            mean.growth,
            mean.extra_calls,
            mean.cost,
            mean.time_against,
            self.worst_time,
            mean.cost_against
        )?;
        if self.mean.recovery > 0.0 {
            write!(f, "  back after {:.1} s", mean.recovery)?;
        }
        if mean.spent_share > 0.0 {
            write!(f, "  {:.1} % spent", 100.0 * mean.spent_share)?;
        }
        Ok(())
    }
}
