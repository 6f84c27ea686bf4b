//! Random histories: rows come, change, go and come back, prompts change and are taken back, runs are killed, stopped by
//! signals and budgets, told to prune, to ask afresh, to ask about dead letters again, to replay, while the server has bad
//! weather. Whatever was done, one undisturbed run in the end makes it right, and a model that knows nothing of files says
//! what right is.
//!
//! `PROMPTMILL_HISTORIES` says how many there are, `PROMPTMILL_HISTORIES_SEED` where their seeds begin; a history that
//! fails is made as short as it goes, and `PROMPTMILL_HISTORY` runs that one seed.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

use crate::as_tried::Job;
use crate::fault_points::scene::{self, Expected, Row, Trial, command, first_lines, wrong};
use crate::fault_points::shim::{self, Mode};
use crate::spy::{Asked, Reply, Spy};
use crate::support::{Project, Ran};

const USUAL_HISTORIES: u64 = 24;
const WORKERS: u64 = 2;
const MOST_STEPS: usize = 6;
/// Tries to make a history shorter; each takes as long as the history.
const SHRINKS: u32 = 80;
/// What the disk does.
const DISK_FAULTS: &[Mode] = &[Mode::Kill, Mode::Cut, Mode::Zero, Mode::Torn, Mode::Once, Mode::Full, Mode::Dead, Mode::Unread];

/// What is changed, and the run that follows.
#[derive(Clone, Debug)]
struct Step {
    change: Change,
    run: Run,
    end: End,
    weather: Weather,
    rows_per_request: u8,
    canary: bool,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// So many rows come.
    More(i64),
    /// Every third row has another text, or its first one again.
    Edit(i64),
    /// A row leaves.
    Gone(i64),
    /// Every row that has left is back.
    Back,
    /// The other one of two prompts.
    Prompt,
    /// Answers are processed in the other one of two ways.
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    Plain,
    Prune,
    Fresh,
    RetryDeadLetters,
    Replay,
    /// In millionths of a dollar.
    Budget(u32),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Undisturbed,
    /// At a request that the server sees, before it answers or right after.
    Killed(u64),
    Interrupted(u64),
    /// At an operation on files.
    Disk(Mode, u64),
}

/// What the server does: a share of requests goes wrong, each by chance of this seed.
#[derive(Clone, Copy, Debug)]
struct Weather {
    seed: u64,
    share: f64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        3 => Just(Change::Nothing),
        2 => (1..6i64).prop_map(Change::More),
        2 => (0..3i64).prop_map(Change::Edit),
        1 => (0..12i64).prop_map(Change::Gone),
        1 => Just(Change::Back),
        2 => Just(Change::Prompt),
        1 => Just(Change::Process),
    ];
    let run = prop_oneof![
        4 => Just(Run::Plain),
        1 => Just(Run::Prune),
        1 => Just(Run::Fresh),
        1 => Just(Run::RetryDeadLetters),
        1 => Just(Run::Replay),
        1 => (0..4_000u32).prop_map(Run::Budget),
    ];
    let end = prop_oneof![
        3 => Just(End::Undisturbed),
        2 => (1..12u64).prop_map(End::Killed),
        1 => (1..12u64).prop_map(End::Interrupted),
        5 => (prop::sample::select(DISK_FAULTS), 1..120u64).prop_map(|(mode, at)| End::Disk(mode, at)),
    ];
    let weather = (any::<u64>(), prop_oneof![Just(0.0), Just(0.25)]).prop_map(|(seed, share)| Weather { seed, share });
    let step = (change, run, end, weather, 1..5u8, prop::bool::weighted(0.2))
        .prop_map(|(change, run, end, weather, rows_per_request, canary)| Step { change, run, end, weather, rows_per_request, canary });
    prop::collection::vec(step, 1..=MOST_STEPS)
}

/// What has to be there, without any idea of how it is stored.
struct Model {
    /// Every row that ever was: its version, and whether it is in the source.
    rows: BTreeMap<i64, (bool, bool)>,
    rhymes: bool,
    is_processed: bool,
    /// Whether there may be answers that were processed in another way.
    was_processed_otherwise: bool,
    /// So many answers about one text may have been paid for.
    answers: usize,
}

impl Model {
    fn new() -> Self {
        Self {
            rows: (0..8).map(|id| (id, (false, true))).collect(),
            rhymes: false,
            is_processed: false,
            was_processed_otherwise: false,
            answers: 1,
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::More(count) => {
                let next = self.rows.len() as i64;
                self.rows.extend((next..next + count).map(|id| (id, (false, true))));
            }
            Change::Edit(which) => {
                self.rows.iter_mut().filter(|(id, _)| *id % 3 == which).for_each(|(_, (version, _))| *version = !*version);
            }
            Change::Gone(id) => {
                if let Some((_, is_there)) = self.rows.get_mut(&id) {
                    *is_there = false;
                }
            }
            Change::Back => self.rows.values_mut().for_each(|(_, is_there)| *is_there = true),
            Change::Prompt => self.rhymes = !self.rhymes,
            Change::Process => (self.is_processed, self.was_processed_otherwise) = (!self.is_processed, true),
        }
    }

    /// The source. Some rows ask the same, some get no answer.
    fn source(&self) -> Vec<Row> {
        let text = |id: i64, version: bool| {
            let text = if id % 5 == 4 { "the same".to_owned() } else { format!("text {id}") };
            format!("{text}{}{}", if version { " anew" } else { "" }, if id % 11 == 3 { " dead" } else { "" })
        };
        let rows = self.rows.iter().filter(|(_, (_, is_there))| *is_there);
        rows.map(|(id, (version, _))| Row { id: *id, body: text(*id, *version) }).collect()
    }

    fn expected(&self) -> Expected {
        let said = if self.rhymes { "B " } else { "A " };
        Expected {
            rows: self.source(),
            says: if self.is_processed { "" } else { said },
            said,
            answers_dead: false,
            answers: self.answers,
            rows_bear_all: false,
            bare: true,
        }
    }
}

/// What the server has been told to do.
#[derive(Default)]
struct Orders {
    weather: Option<Weather>,
    /// Requests since the run began.
    requests: u64,
    signal: Option<(u64, Signal, Pid)>,
}

fn serve(orders: &Mutex<Orders>, asked: &Asked) -> Reply {
    let (kind, signalled) = {
        let mut orders = orders.lock().expect("orders");
        orders.requests += 1;
        let signalled = orders.signal.is_some_and(|(at, signal, pid)| at == orders.requests && kill_process(pid, signal).is_ok());
        let kind = orders.weather.map_or(0, |weather| {
            let mut dice = ChaCha8Rng::seed_from_u64(weather.seed.wrapping_add(orders.requests));
            if dice.random_bool(weather.share) { dice.random_range(1..8) } else { 0 }
        });
        (kind, signalled)
    };
    let prompt = asked.body["messages"].to_string();
    let word = if prompt.contains("in rhyme") { "B" } else { "A" };
    let say = |text: &str| if text.contains("dead") { String::new() } else { format!("{word} {text}.") };
    let reply = match kind {
        1 => Reply::error(500, "an accident"),
        2 => Reply::error(429, "too many requests").header("retry-after", "0.02"),
        3 => Reply::error(504, "gateway time-out"),
        4 => Reply::drops(),
        5 => Reply::content("{ no JSON"),
        6 => Reply::content("{\"r1\": \"A te"),
        7 if asked.items().len() > 1 => {
            let answers = asked.items().into_iter().skip(1).map(|(id, text)| (id, say(&text).into()));
            Reply::content(&Value::Object(answers.collect::<Map<_, _>>()).to_string())
        }
        _ => Reply::says(asked, say),
    };
    if signalled { reply } else { reply.after(Duration::from_millis(2)) }
}

/// A history as it happens.
struct Stage {
    trial: Trial<'static>,
    url: String,
    _server: Spy,
    orders: Arc<Mutex<Orders>>,
    model: Model,
}

impl Stage {
    fn new() -> Self {
        let orders = Arc::new(Mutex::new(Orders::default()));
        let heard = Arc::clone(&orders);
        let server = Spy::scripted(move |asked, _| serve(&heard, asked));
        let trial = Trial { project: Project::new(), bucket: None };
        Self { trial, url: server.url.clone(), _server: server, orders, model: Model::new() }
    }

    fn write(&self, rows_per_request: u8, canary: bool) {
        let mut job = Job::new(&self.url);
        job.rows = rows_per_request.to_string();
        job.llm = format!("concurrency = 3\nattempts = 3\ncanary = {}", if canary { 0.3 } else { 0.0 });
        job.sink = "partition_by = [\"place\"]\ncommit_every = \"5ms\"".to_owned();
        if self.model.is_processed {
            job.stages = "[[stages]]\nuse = \"post-process\"\ncolumn = \"summary\"\n\
                          steps = [{ use = \"remove-pattern\", pattern = \"^[AB] \" }]"
                .to_owned();
        }
        let prompt = if self.model.rhymes { "Explain in rhyme." } else { "Explain." };
        self.trial.project.write("pipeline.toml", &job.toml().replace("Explain.", prompt));
        scene::write_rows(&self.trial.project, &self.model.source());
    }

    /// Runs a command in some weather, and does to it what is to be done.
    fn run(&self, arguments: &[&str], weather: Option<Weather>, end: End) -> Ran {
        let project = &self.trial.project;
        let mut command: Command = command(project, arguments);
        if let End::Disk(mode, at) = end
            && shim::shim().is_some()
        {
            shim::load(&mut command, &project.path("out"), mode, at, &project.path("fault.log"));
        }
        scene::run_when(command, |pid| {
            let pid = Pid::from_raw(pid as i32).expect("a number");
            let signal = match end {
                End::Killed(at) => Some((at, Signal::KILL, pid)),
                End::Interrupted(at) => Some((at, Signal::INT, pid)),
                End::Undisturbed | End::Disk(..) => None,
            };
            *self.orders.lock().expect("orders") = Orders { weather, requests: 0, signal };
        })
    }

    /// One step; what is wrong right after it.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.model.change(step.change);
        self.write(step.rows_per_request, step.canary);
        self.model.answers += usize::from(step.run == Run::Fresh) + usize::from(step.canary);
        let budget;
        let arguments: &[&str] = match step.run {
            Run::Plain => &["run"],
            Run::Prune => &["run", "--prune"],
            Run::Fresh => &["run", "--fresh"],
            Run::RetryDeadLetters => &["run", "--retry-dead-letters"],
            Run::Replay => &["replay"],
            Run::Budget(millionths) => {
                budget = format!("{:.6}", f64::from(millionths) / 1e6);
                &["run", "--budget-usd", &budget]
            }
        };
        let weather = Some(step.weather).filter(|weather| weather.share > 0.0);
        let ran = self.run(arguments, weather, step.end);
        let is_disturbed = matches!(step.end, End::Disk(..));
        match ran.code {
            0 | 3 | 4 => Ok(()),
            130 if matches!(step.end, End::Interrupted(_)) => Ok(()),
            -1 if matches!(step.end, End::Killed(_) | End::Interrupted(_)) || is_disturbed => Ok(()),
            1 if is_disturbed => Ok(()),
            code => Err(format!("{arguments:?}: exit {code}: {}", first_lines(&ran.stderr))),
        }
    }

    /// The undisturbed end, and what is wrong then.
    fn end(&mut self) -> Result<(), String> {
        self.write(2, false);
        let undisturbed = |arguments: &[&str]| {
            let ran = self.run(arguments, None, End::Undisturbed);
            if matches!(ran.code, 0 | 4) { Ok(ran) } else { Err(format!("{arguments:?}: exit {}: {}", ran.code, first_lines(&ran.stderr))) }
        };
        undisturbed(&["run", "--prune", "--retry-dead-letters"])?;
        // Which would also make right what is wrong.
        if self.model.was_processed_otherwise {
            undisturbed(&["replay"])?;
        }
        let wrong = wrong(&self.trial, &self.model.expected());
        if !wrong.is_empty() {
            return Err(format!("{wrong:#?}"));
        }
        undisturbed(&["run"])?;
        match self.orders.lock().expect("orders").requests {
            0 => Ok(()),
            requests => Err(format!("once more sends {requests} requests")),
        }
    }
}

fn happens(history: &[Step]) -> Result<(), String> {
    let mut stage = Stage::new();
    for (number, step) in history.iter().enumerate() {
        stage.step(step).map_err(|error| format!("step {}: {error}", number + 1))?;
    }
    stage.end()
}

#[test]
fn whatever_has_happened_one_undisturbed_run_makes_it_right() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, count) = match number("PROMPTMILL_HISTORY") {
        Some(seed) => (seed, 1),
        None => (number("PROMPTMILL_HISTORIES_SEED").unwrap_or(1), number("PROMPTMILL_HISTORIES").unwrap_or(USUAL_HISTORIES)),
    };
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= first + count {
            return;
        }
        let config = Config { cases: 1, max_shrink_iters: SHRINKS, failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(&steps(), |history| happens(&history).map_err(TestCaseError::fail));
        if let Err(TestError::Fail(why, history)) = outcome {
            eprintln!("PROMPTMILL_HISTORY={seed}: {history:#?}\n{why}");
            failed.lock().expect("a list").push(seed);
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().expect("a list");
    eprintln!("{count} histories, {} with something wrong", failed.len());
    let repeat = "PROMPTMILL_HISTORY=SEED cargo test --workspace --test suite -- histories";
    assert!(failed.is_empty(), "{} of {count} histories; to repeat one: {repeat}\n{failed:?}", failed.len());
}
