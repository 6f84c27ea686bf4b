//! Promise 4 under chance: random budgets, faults, limits, sizes and kills, and a provider that keeps its own books.
//!
//! Each case follows from its seed. `PROMPTMILL_MONEY_RUNS` sets how many there are, `PROMPTMILL_MONEY_SEED` runs
//! a single one.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use promptmill_sim::{Above, CostForm, FAULTS, SimConfig, Thinking, UsageNames};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::Project;

const USUAL_CASES: u64 = 12;
/// Cases at once: each waits for its provider most of the time.
const WORKERS: u64 = 3;
/// About what a motion costs, in nano-dollars.
const NANO_PER_ROW: f64 = 100_000.0;
/// Runs of a case at the most; faults that end a run take several.
const MOST_RUNS: usize = 40;

/// What one case does.
#[derive(Debug)]
struct Case {
    rows: u64,
    config: SimConfig,
    /// Lines of the `llm` stage.
    llm: String,
    /// The share of the rows that may be asked twice at the end.
    hedge: f64,
    canary: f64,
    /// The model's lines in the pipeline file.
    model: String,
    pack: String,
    commit_every: &'static str,
    budget: Option<i64>,
    /// Whether a budget that is used up is raised, so that the work gets done.
    raises: bool,
    stops: Vec<Stop>,
}

/// How one run is stopped from outside.
#[derive(Debug, Clone, Copy)]
struct Stop {
    signal: Signal,
    when: When,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// After the provider has seen so many more requests.
    Requests(u64),
    After(Duration),
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let rows = dice.random_range(30..160);
        let mut config = SimConfig { seed, huge_body_mb: 17, slow_body_ms: 200, ..SimConfig::default() };
        config.latency.base_ms = dice.random_range(5.0..150.0);
        config.latency.per_output_token_ms = 0.02;
        config.report_cost = dice.random();
        config.cached_prefix = dice.random();
        match dice.random_range(0..4) {
            0 => config.faults.set("all", dice.random_range(0.0..0.02)).expect("a fault"),
            1 => {
                for _ in 0..dice.random_range(1..5) {
                    let fault = &FAULTS[dice.random_range(0..FAULTS.len())];
                    if fault.name != "auth" {
                        let most = if fault.name == "quota" { 0.05 } else { 0.25 };
                        config.faults.set(fault.name, dice.random_range(0.0..most)).expect("a fault");
                    }
                }
            }
            _ => {}
        }
        match dice.random_range(0..5) {
            0 => config.limits.max_in_flight = Some(dice.random_range(1..8)),
            1 => config.limits.rpm = Some(dice.random_range(1_000..6_000)),
            2 => config.limits.tpm = Some(dice.random_range(3_000_000..20_000_000)),
            _ => {}
        }
        config.limits.headers = dice.random();
        let concurrency = match dice.random_range(0..3) {
            0 => String::new(),
            _ => format!("concurrency = {}", dice.random_range(1..17)),
        };
        let attempts: u32 = dice.random_range(1..6);
        let hedge = if dice.random_bool(0.4) { 0.2 } else { 0.0 };
        let llm = format!("{concurrency}\ntimeout = \"1s\"\nattempts = {attempts}\nhedge = {hedge:?}");
        let pack = match dice.random_range(0..4) {
            0 => "{ start = 5, min = 1, max = 20 }".to_owned(),
            _ => dice.random_range(1..21).to_string(),
        };
        let budget = dice.random_bool(0.75).then(|| (rows as f64 * NANO_PER_ROW * dice.random_range(0.05..3.0)) as i64);
        let stops = (0..dice.random_range(0..4))
            .map(|_| Stop {
                signal: if dice.random_bool(0.8) { Signal::KILL } else { Signal::TERM },
                when: if dice.random_bool(0.7) {
                    When::Requests(dice.random_range(1..30))
                } else {
                    When::After(Duration::from_millis(dice.random_range(50..2_500)))
                },
            })
            .collect();
        let commit_every = ["100ms", "500ms", "1h"][dice.random_range(0..3)];
        let raises = dice.random();
        let canary = if dice.random_bool(0.3) { 0.3 } else { 0.0 };
        let llm = format!("{llm}\ncanary = {canary:?}");
        let model = Self::rules(&mut config, &mut dice);
        Self { rows, config, llm, hedge, canary, model, pack, commit_every, budget, raises, stops }
    }

    /// Draws by which rules the provider bills; returns the lines of the model that say the same.
    fn rules(config: &mut SimConfig, dice: &mut ChaCha8Rng) -> String {
        if dice.random_bool(0.25) {
            return "model = \"simulated\"\nprice = { input = 0.15, cached_input = 0.015, output = 0.60 }".to_owned();
        }
        let mut price = String::from("input = 0.15, cached_input = 0.015, output = 0.60");
        let billing = &mut config.billing;
        billing.names = [UsageNames::OpenAi, UsageNames::Anthropic, UsageNames::DeepSeek][dice.random_range(0..3)];
        billing.cost = [CostForm::Number, CostForm::Text, CostForm::Table][dice.random_range(0..3)];
        if dice.random_bool(0.6) {
            billing.cache_writes = true;
            config.price.cache_write = Some(0.1875);
            price += ", cache_write = 0.1875";
        }
        if dice.random_bool(0.4) {
            config.price.request = 0.000_012_345;
            price += ", request = 0.000012345";
        }
        if dice.random_bool(0.5) {
            for (tokens, times) in [(dice.random_range(200..900), 2.0), (dice.random_range(900..4_000), 3.0)] {
                let of = |price: f64| (price * times * 1e6).round() / 1e6;
                let [input, cached_input, cache_write, output] = [0.15, 0.015, 0.1875, 0.60].map(of);
                config.price.above.push(Above { tokens, input, cached_input, cache_write, output });
            }
            let written = config.price.above.iter().map(|Above { tokens, input, cached_input, cache_write, output }| {
                format!("{{ tokens = {tokens}, input = {input:?}, cached_input = {cached_input:?}, cache_write = {cache_write:?}, output = {output:?} }}")
            });
            price += &format!(", above = [{}]", written.collect::<Vec<_>>().join(", "));
        }
        let mut extra = Vec::new();
        if dice.random_bool(0.5) {
            config.price.tiers = [("flex".to_owned(), 0.5), ("priority".to_owned(), 1.8)].into();
            price += ", tiers = { flex = 0.5, priority = 1.8 }";
            config.billing.tier_kept = dice.random_range(0.3..1.0);
            let tier = if dice.random() { "flex" } else { "priority" };
            extra.push(format!("service_tier = \"{tier}\""));
        }
        if dice.random_bool(0.5) {
            config.billing.thinking_tokens = dice.random_range(1..600);
            if dice.random() {
                config.billing.thinking = Thinking::Beside;
                // Only what a request grants can be set aside.
                extra.push(format!("thinking = {{ budget_tokens = {} }}", dice.random_range(1..600)));
            }
        }
        if dice.random_bool(0.3) {
            config.faults.set("billed-error", dice.random_range(0.0..0.2)).expect("a fault");
        }
        // A family that is told what to write to its cache, or one that is not.
        let name = if dice.random() { "gpt-6-simulated" } else { "simulated" };
        format!("model = \"{name}\"\nprice = {{ {price} }}\nextra_body = {{ {} }}", extra.join(", "))
    }

    fn project(&self) -> Project {
        let project = Project::simulated(self.rows, self.config.clone());
        let text = project
            .simulated_pipeline(&self.llm)
            .replace("rows = 10", &format!("rows = {}", self.pack))
            .replace("[sink]", &format!("[sink]\ncommit_every = \"{}\"", self.commit_every))
            .replace("model = \"simulated\"\nprice = { input = 0.15, cached_input = 0.015, output = 0.60 }", &self.model);
        assert!(text.contains(&self.model), "{text}");
        project.write("pipeline.toml", &text);
        project
    }

    fn run(&self, seen: &Seen) {
        let project = self.project();
        let mut budget = self.budget;
        let mut killed = false;
        seen.cases.fetch_add(1, Relaxed);
        for stop in &self.stops {
            let status = self.stopped(&project, *stop, budget);
            killed |= status == Some(Signal::KILL);
            seen.stopped.fetch_add(u64::from(status.is_some()), Relaxed);
            assert_within(&project, budget);
        }
        for _ in 0..MOST_RUNS {
            let ran = project.run_pipeline(&budget_arguments(budget).iter().map(String::as_str).collect::<Vec<_>>());
            assert_within(&project, budget);
            match ran.code {
                0 => {
                    seen.completed.fetch_add(1, Relaxed);
                    return self.assert_books(&project, budget, killed, true, seen);
                }
                3 => {
                    seen.exhausted.fetch_add(1, Relaxed);
                    self.assert_books(&project, budget, killed, false, seen);
                    if !self.raises {
                        return;
                    }
                    budget = budget.map(|budget| budget * 2 + 1_000_000);
                }
                // Exhausted credit ends a run, and the next one carries on.
                1 if ran.stderr.contains("quota") => self.assert_books(&project, budget, killed, false, seen),
                code => panic!("exit code {code}: {}\n{}", ran.stdout, ran.stderr),
            }
        }
        panic!("not at an end after {MOST_RUNS} runs");
    }

    /// Starts a run and stops it. Returns the signal that reached it, if it had not ended before.
    fn stopped(&self, project: &Project, stop: Stop, budget: Option<i64>) -> Option<Signal> {
        let mut arguments = vec!["run", "pipeline.toml", "--progress", "none"];
        let budget = budget_arguments(budget);
        arguments.extend(budget.iter().map(String::as_str));
        let before = project.simulator().ledger().requests;
        let mut command = project.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let started = Instant::now();
        let ended = |child: &mut Child| child.try_wait().expect("a child").is_some();
        let due = || match stop.when {
            When::Requests(count) => project.simulator().ledger().requests >= before + count,
            When::After(time) => started.elapsed() >= time,
        };
        while !due() && !ended(&mut child) {
            assert!(started.elapsed() < Duration::from_secs(60), "the run does not get going");
            std::thread::sleep(Duration::from_millis(3));
        }
        let reached = !ended(&mut child);
        if reached {
            // It may end by itself at this very moment.
            let _ = kill_process(Pid::from_child(&child), stop.signal);
        }
        child.wait().expect("is gone");
        reached.then_some(stop.signal)
    }

    /// Requests that ran into their time limit.
    fn timed_out(project: &Project) -> u64 {
        project.number("SELECT count(*) FROM attempts WHERE status = 'timeout'") as u64
    }

    /// Compares the journal with the provider's books, and the rows with the journal.
    fn assert_books(&self, project: &Project, budget: Option<i64>, killed: bool, completed: bool, seen: &Seen) {
        let ledger = project.simulator().ledger();
        let billed = ledger.billed_nano_usd as i64;
        let attempts = project.nano("attempts");
        for (seen, count) in [
            (&seen.written, ledger.cache_write_tokens),
            (&seen.thought, ledger.thinking_tokens),
            (&seen.billed_errors, ledger.faults.get("billed-error").copied().unwrap_or_default()),
        ] {
            seen.fetch_add(count, Relaxed);
        }
        let rows = project.nano("results") + project.nano("dead_letters");
        // What no row bears has a place of its own, at every moment.
        assert_eq!(rows + project.nano("unassigned_costs"), attempts, "rows {rows} and what no row bears are not all attempts");
        assert!(billed <= attempts, "billed {billed}, journalled {attempts}");
        seen.dearer.fetch_add(u64::from(billed < attempts), Relaxed);
        if let Some(cap) = budget {
            assert!(attempts <= cap, "journalled {attempts} of {cap}");
        }
        if self.hedge > 0.0 {
            // A late request that was given up counts for what was set aside for it.
            let superseded = project.number("SELECT count(*) FROM attempts WHERE status = 'superseded'");
            seen.superseded.fetch_add(superseded as u64, Relaxed);
        } else if !killed && Self::timed_out(project) <= project.simulator().ledger().faults.get("stall").copied().unwrap_or_default() {
            // Whatever a broken response cost can be looked up at this provider, and what it never answers it bills in full. On a
            // machine that has no time for it a request may also run into its time limit by itself, and then nobody knows.
            assert_eq!(billed, attempts, "nothing was lost, and yet the books differ");
        }
        if completed {
            assert_eq!(rows, attempts, "rows and attempts differ");
            project.assert_settled_once();
        } else {
            assert!(rows <= attempts, "rows {rows}, attempts {attempts}");
            let doubled: Vec<_> = project.settled_keys().into_iter().filter(|(_, count)| *count > 1).collect();
            assert!(doubled.is_empty(), "{doubled:?}");
        }
        // A canary is paid twice on purpose.
        if self.hedge == 0.0 && self.canary == 0.0 {
            assert_nothing_is_paid_twice(project);
        }
    }
}

/// What happened in all cases together: a test in which nothing happens proves nothing.
#[derive(Debug, Default)]
struct Seen {
    cases: AtomicU64,
    /// Runs that a signal reached.
    stopped: AtomicU64,
    completed: AtomicU64,
    exhausted: AtomicU64,
    /// Late requests that were given up.
    superseded: AtomicU64,
    /// Looks at the books that found attempts of unknown outcome, which count for more than was billed.
    dearer: AtomicU64,
    /// Tokens that were billed as written to a cache.
    written: AtomicU64,
    /// Tokens of thinking.
    thought: AtomicU64,
    /// Errors that were billed.
    billed_errors: AtomicU64,
}

fn budget_arguments(budget: Option<i64>) -> Vec<String> {
    let usd = |nano: i64| format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    budget.map_or_else(Vec::new, |nano| vec!["--budget-usd".to_owned(), usd(nano)])
}

/// The provider has never billed more than the budget, whatever was in flight.
fn assert_within(project: &Project, budget: Option<i64>) {
    let billed = project.simulator().ledger().billed_nano_usd as i64;
    if let Some(cap) = budget {
        assert!(billed <= cap, "billed {billed} of {cap}");
    }
}

/// Of the rows of an attempt, those are asked again that it gave no acceptable answer, and no others.
fn assert_nothing_is_paid_twice(project: &Project) {
    let attempts = project.query("SELECT attempt_id, keys, answered FROM attempts ORDER BY started_at, attempt_id");
    let keys = |attempt: &Value| -> Vec<String> {
        attempt["keys"].as_array().expect("keys").iter().map(|key| key.as_str().expect("a key").to_owned()).collect()
    };
    let mut asked_later: HashSet<String> = HashSet::new();
    for attempt in attempts.iter().rev() {
        let keys = keys(attempt);
        let again = keys.iter().filter(|key| asked_later.contains(*key)).count() as u64;
        let open = keys.len() as u64 - attempt["answered"].as_u64().expect("a count");
        assert!(again <= open, "{}: {again} rows asked again, where {open} were open", attempt["attempt_id"]);
        asked_later.extend(keys);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn money_agrees_whatever_happens() {
    let (first, count) = match number("PROMPTMILL_MONEY_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("PROMPTMILL_MONEY_RUNS").unwrap_or(USUAL_CASES)),
    };
    let (next, seen) = (AtomicU64::new(first), Seen::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(count) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let case = Case::new(seed);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case.run(&seen))) {
                        eprintln!("the case of PROMPTMILL_MONEY_SEED={seed}: {case:#?}");
                        resume_unwind(panic);
                    }
                }
            });
        }
    });
    eprintln!("{seen:?}");
    if count >= USUAL_CASES {
        let happened = [&seen.stopped, &seen.completed, &seen.exhausted, &seen.dearer, &seen.written, &seen.thought, &seen.billed_errors];
        assert!(happened.iter().all(|count| count.load(Relaxed) > 0), "{seen:?}");
    }
}
