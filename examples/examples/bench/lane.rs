//! `bench lane`: limits that nobody told. promptmill at its defaults, beside the story's method and an ordinary client.
//!
//! Each method has a provider of its own, in a process of its own, with the same seed. They run at once unless told
//! otherwise: waiting is most of what they do.

use std::path::{Path, PathBuf};
use std::thread;

use clap::{Args, ValueEnum};
use promptmill_engine::RunRecord;
use promptmill_sim::motions::{Motions, Options, write_parquet};
use serde_json::json;

use crate::Result;
use crate::client::{Took, own_run};
use crate::curve::{Curve, Ideal};
use crate::peers::{Asyncio, Chunks};
use crate::pipelines::{PACK, Settings, asking};
use crate::provider::{Books, Provider};
use crate::scenario::{Capacity, Event, Form, Name, Scenario};

/// The seed of the motions.
const SEED: u64 = 1;
/// What promptmill allows a row by default, and so what the others ask for.
const TOKENS_PER_ROW: usize = 400;
/// The share of the motions after which only stragglers are left.
const NEARLY_ALL: f64 = 0.95;
/// Workers of the story's method.
const WORKERS: usize = 5;
/// What was in flight when the places became fewer, and what takes them when they are more, is let pass for so long,
/// or in a shortened scenario for a third of the trough.
const SETTLING: f64 = 10.0;

/// What the table says, in the help.
const COLUMNS: &str = "Columns:
  motions/s  from the first request to the last answer
  possible   motions a second that the limits allowed with full requests, given this method's luck with latencies or
             what its own requests weighed; in the mean of the whole run
  whole      the first as a share of the second. The last answers count in full: where 1 % take 8 times as long, a
             client that knows the places and splits no straggler comes to 77 % with 1,450 requests
  95 %       the same until 95 % of the motions were answered: there that client comes to 99 %
  middle     the same between a fifth and four fifths of the time in which requests left
  places     requests in flight in that time, as a share of the cap
  refused    requests that a limit turned away, of all
  converged  when the first 3 s began with 90 % of what was possible and at most 5 % refused
  CPU s/1k   processor time of the client for 1,000 requests
  lost       motions without an answer that are no dead letters either

Everything but the last three is read from the provider's ledger. What was measured is kept in out/bench.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = COLUMNS)]
pub(crate) struct Lane {
    /// Only these scenarios
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Name>,
    /// Motions in place of each scenario's own number; its phases become shorter by as much
    #[arg(long)]
    rows: Option<u64>,
    /// How the outage shows
    #[arg(long, value_enum, default_value = "503")]
    outage: Form,
    /// promptmill alone
    #[arg(long)]
    without_peers: bool,
    /// One method after the other instead of all at once
    #[arg(long)]
    apart: bool,
    /// A Python that has aiohttp
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

#[derive(Debug, Clone)]
enum Method {
    Promptmill,
    Story,
    Asyncio(Asyncio),
}

/// What came of one method.
struct Measured {
    name: String,
    took: Took,
    books: Books,
    record: Option<RunRecord>,
}

impl Lane {
    pub(crate) async fn measure(&self) -> Result<()> {
        let mut methods = vec![Method::Promptmill];
        if !self.without_peers {
            methods.push(Method::Story);
            match Asyncio::find(&self.python) {
                Ok(client) => methods.push(Method::Asyncio(client)),
                Err(why) => println!("the ordinary client is left out: {why}"),
            }
        }
        let names = if self.only.is_empty() { Name::value_variants() } else { &self.only };
        let mut missed = Vec::new();
        for name in names {
            let scenario = Scenario::new(*name, self.rows, self.outage);
            missed.extend(self.measure_one(&scenario, &methods).await?);
        }
        match missed.len() {
            0 => println!("\nevery aim is reached"),
            count => println!("\n{count} aims are missed: {}", missed.join("; ")),
        }
        Ok(())
    }

    async fn measure_one(&self, scenario: &Scenario, methods: &[Method]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let (motions, items) = (folder.path().join("motions.parquet"), folder.path().join("items.jsonl"));
        write_parquet(&motions, &Options { seed: SEED, rows: scenario.rows, ..Options::default() })?;
        let bytes = write_items(&items, scenario.rows)?;
        let latency = &scenario.config.latency;
        println!("\n{}: {}", scenario.name, scenario.about);
        println!(
            "{} motions of {:.2} kB, {} a request; {} ms + {} ms a token, noise {}, {} % take {} times as long",
            scenario.rows,
            bytes as f64 / scenario.rows as f64 / 1e3,
            scenario.pack,
            latency.base_ms,
            latency.per_output_token_ms,
            latency.noise,
            100.0 * latency.tail_probability,
            latency.tail_factor
        );
        let mut running = Vec::new();
        for method in methods {
            let provider = Provider::start(&scenario.config)?;
            let (method, scenario, url) = (method.clone(), scenario.clone(), provider.url.clone());
            let (folder, motions, items) = (folder.path().to_owned(), motions.clone(), items.clone());
            let thread = thread::spawn(move || method.run(&scenario, &url, &folder, &motions, &items));
            if self.apart {
                while !thread.is_finished() {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
            running.push((provider, thread));
        }
        let mut measured = Vec::new();
        for (provider, thread) in running {
            let (name, took, record) = thread.join().map_err(|_| "a method has panicked")??;
            measured.push(Measured { name, took, books: provider.books().await?, record });
        }
        table(scenario, &measured);
        keep(scenario, &measured)?;
        Ok(verdict(scenario, &measured))
    }
}

impl Method {
    fn run(
        &self,
        scenario: &Scenario,
        url: &str,
        folder: &Path,
        motions: &Path,
        items: &Path,
    ) -> Result<(String, Took, Option<RunRecord>)> {
        match self {
            Self::Promptmill => {
                let pipeline = folder.join("pipeline.toml");
                let settings = Settings { rows: scenario.pack, llm: "", priced: true };
                std::fs::write(&pipeline, asking(&folder.join("out"), motions, url, settings))?;
                let (record, took) = own_run(&pipeline)?;
                Ok(("promptmill, at its defaults".to_owned(), took, Some(record)))
            }
            Self::Story => {
                let seconds = scenario.story_seconds();
                let took = Chunks::own_process(url, items, WORKERS, PACK, TOKENS_PER_ROW, seconds)?;
                Ok((format!("{WORKERS} workers x {PACK}, for {seconds} s"), took, None))
            }
            Self::Asyncio(client) => {
                let in_flight = scenario.peer_in_flight;
                let took = client.run(url, items, in_flight, scenario.pack, TOKENS_PER_ROW)?;
                Ok((format!("asyncio + aiohttp, {in_flight} at once"), took, None))
            }
        }
    }
}

/// Writes what is asked about, a JSON string a line, for those who read no Parquet.
fn write_items(path: &Path, rows: u64) -> Result<usize> {
    let (mut text, mut bytes) = (String::new(), 0);
    for motion in Motions::new(SEED).range(0, rows) {
        let item = format!("{}\n\n{}", motion.title, motion.body.unwrap_or_default());
        bytes += item.len();
        text.push_str(&serde_json::to_string(&item)?);
        text.push('\n');
    }
    std::fs::write(path, text)?;
    Ok(bytes)
}

fn table(scenario: &Scenario, measured: &[Measured]) {
    println!(
        "{:<33} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>6}",
        "method", "motions/s", "possible", "whole", "95 %", "middle", "places", "refused", "converged", "CPU s/1k", "peak MB", "lost"
    );
    for method in measured {
        let seen = Seen::of(scenario, method);
        println!(
            "{:<33} {:>9.1} {:>8.1} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9.2} {:>8.0} {:>6}",
            method.name,
            seen.rate,
            seen.possible,
            percent(seen.whole),
            percent(seen.nearly_whole),
            percent(seen.middle),
            seen.places.map_or("-".to_owned(), percent),
            percent(seen.refused),
            seen.converged.map_or("never".to_owned(), |at| format!("{at:.1} s")),
            seen.cpu_per_thousand,
            method.took.peak_mb,
            method.took.lost
        );
    }
    for method in measured {
        let seen = Seen::of(scenario, method);
        if let Some((trough, recovery)) = seen.trough {
            for (what, part) in [("in the trough", Some(trough)), ("after it", recovery)] {
                let Some(part) = part else { continue };
                println!(
                    "{:<33} {what}: {:.1} motions/s, {} of the ideal; places used {}",
                    method.name,
                    part.rate,
                    percent(part.share),
                    percent(part.places)
                );
            }
        }
        if let Some(back) = &seen.back {
            let when = |at: Option<f64>| at.map_or("never".to_owned(), |at| format!("after {at:.1} s"));
            println!(
                "{:<33} before {:.1} motions/s ({} of the ideal); nine tenths of it again {}, nine tenths of the requests in flight again {}; an answer takes {:.1} s; {} requests met the outage",
                method.name,
                back.before,
                percent(back.before_share),
                when(back.throughput),
                when(back.in_flight),
                back.answer,
                back.met
            );
        }
        let twice = method.books.ledger.items.paid_more_than_once;
        if twice > 0 {
            println!("{:<33} {twice} motions were paid more than once", method.name);
        }
        if let Some(record) = &method.record {
            let rows = &record.summary.rows;
            println!(
                "{:<33} {} answered, {} dead letters; in flight {:.1} in the mean, {} at most",
                method.name,
                rows.answered,
                rows.dead_letters,
                record.summary.throughput.concurrency_mean,
                record.summary.throughput.concurrency_peak
            );
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What the books say about a method in a scenario.
struct Seen {
    /// Motions a second, from the first request to the last answer.
    rate: f64,
    /// What was possible in the mean of that time.
    possible: f64,
    whole: f64,
    /// The same until nearly all motions had been answered.
    nearly_whole: f64,
    middle: f64,
    /// The share of the places that was taken in the middle, where places are what is short.
    places: Option<f64>,
    refused: f64,
    converged: Option<f64>,
    cpu_per_thousand: f64,
    /// In the trough, and after it if the work lasted.
    trough: Option<(Part, Option<Part>)>,
    back: Option<Back>,
}

/// A part of a run.
struct Part {
    rate: f64,
    share: f64,
    places: f64,
}

/// How a method came back from an outage, in seconds after its end.
struct Back {
    before: f64,
    before_share: f64,
    throughput: Option<f64>,
    in_flight: Option<f64>,
    answer: f64,
    met: u64,
}

impl Seen {
    fn of(scenario: &Scenario, method: &Measured) -> Self {
        let ledger = &method.books.ledger;
        let (curve, ideal) = (Curve::new(&method.books), scenario.ideal(ledger));
        let end = curve.end;
        let share = |from: f64, to: f64| curve.items(from, to) / ideal.items(from, to).max(f64::MIN_POSITIVE);
        // Afterwards the last answers are waited for, and of them the slowest decides.
        let (from, to) = (0.2 * curve.last_request, 0.8 * curve.last_request);
        let nearly = curve.answered(NEARLY_ALL);
        let part = |from: f64, to: f64, places: usize| Part {
            rate: curve.rate(from, to),
            share: share(from, to),
            places: curve.in_flight(from, to, places as f64) / places as f64,
        };
        let most = match &scenario.capacity {
            Capacity::Places(steps) => steps.iter().map(|(_, places)| *places).max(),
            Capacity::Requests(_) | Capacity::Tokens(_) => None,
        };
        let places = most.filter(|_| matches!(scenario.event, Event::None)).map(|places| part(from, to, places).places);
        let trough = match (scenario.event, most) {
            (Event::Trough { from, to, places }, Some(most)) => {
                let settling = SETTLING.min((to - from) / 3.0);
                // What is asked last is answered alone: the end is measured up to the last request.
                let after = Some(to + settling).filter(|after| curve.last_request - after >= settling / 2.0);
                Some((part(from + settling, to, places), after.map(|after| part(after, curve.last_request, most))))
            }
            _ => None,
        };
        Self {
            rate: method.took.answered as f64 / end.max(f64::MIN_POSITIVE),
            possible: ideal.items(0.0, end) / end.max(f64::MIN_POSITIVE),
            whole: method.took.answered as f64 / ideal.items(0.0, end).max(f64::MIN_POSITIVE),
            nearly_whole: share(0.0, nearly),
            middle: share(from, to),
            places,
            refused: curve.refused(0.0, end.max(curve.last_request) + 1.0),
            converged: curve.converged(&ideal),
            cpu_per_thousand: 1e3 * method.took.cpu_seconds / ledger.requests.max(1) as f64,
            trough,
            back: back(scenario, method, &curve, &ideal),
        }
    }
}

fn back(scenario: &Scenario, method: &Measured, curve: &Curve, ideal: &Ideal) -> Option<Back> {
    let Event::Outage { from, to } = scenario.event else { return None };
    if curve.end < to {
        return None;
    }
    let ledger = &method.books.ledger;
    // The first third is left to convergence.
    let calm = (from / 3.0, from);
    let (before, busy) = (curve.rate(calm.0, calm.1), curve.in_flight(calm.0, calm.1, f64::INFINITY));
    let since = |at: f64| at - to;
    Some(Back {
        before,
        before_share: curve.items(calm.0, calm.1) / ideal.items(calm.0, calm.1).max(f64::MIN_POSITIVE),
        throughput: curve.first_window(to, curve.end, |from, until| curve.rate(from, until) >= 0.9 * before).map(since),
        in_flight: curve.first_window(to, curve.end, |from, until| curve.in_flight(from, until, f64::INFINITY) >= 0.9 * busy).map(since),
        answer: ledger.answer_seconds / ledger.ok.max(1) as f64,
        met: ledger.outage.values().sum::<u64>() + ledger.connections_refused,
    })
}

/// The aims that promptmill missed.
fn verdict(scenario: &Scenario, measured: &[Measured]) -> Vec<String> {
    let Some(own) = measured.iter().find(|method| method.record.is_some()) else { return Vec::new() };
    let (seen, aims) = (Seen::of(scenario, own), &scenario.aims);
    let mut judged: Vec<(String, bool)> = Vec::new();
    let mut at_least = |what: &str, aim: Option<f64>, got: Option<f64>| {
        if let Some(aim) = aim {
            let said = format!("{what} {} (at least {})", got.map_or("never".to_owned(), percent), percent(aim));
            judged.push((said, got.is_some_and(|got| got >= aim)));
        }
    };
    at_least("whole", aims.whole, Some(seen.whole));
    at_least("middle", aims.middle, Some(seen.middle));
    // Of few long answers chance decides when they end; the places say what was made of them.
    at_least("places in the trough", aims.trough, seen.trough.as_ref().map(|(trough, _)| trough.places));
    at_least("places after it", aims.recovery, seen.trough.as_ref().and_then(|(_, recovery)| Some(recovery.as_ref()?.places)));
    if let Some(aim) = aims.refused {
        judged.push((format!("refused {} (at most {})", percent(seen.refused), percent(aim)), seen.refused <= aim));
    }
    if let (Some(aim), Some(back)) = (aims.back, &seen.back) {
        // A method that did little before is soon back at that; requests in flight show whether it asks again at all.
        for (what, at, limit) in [("throughput", back.throughput, aim + back.answer), ("requests in flight", back.in_flight, aim)] {
            let said = at.map_or("never".to_owned(), |at| format!("after {at:.1} s"));
            judged.push((format!("{what} back {said} (at most {limit:.1} s)"), at.is_some_and(|at| at <= limit)));
        }
    }
    // The provider answers everything sooner or later, so whoever gives a row up gives up too early.
    let dead = own.record.as_ref().map_or(0, |record| record.summary.rows.dead_letters);
    for (what, count) in [("lost", own.took.lost), ("dead letters", dead)] {
        judged.push((format!("{what} {count} (none)"), count == 0));
    }
    for (said, reached) in &judged {
        println!("  {} {said}", if *reached { "reached" } else { "MISSED " });
    }
    judged.into_iter().filter(|(_, reached)| !reached).map(|(said, _)| format!("{}: {said}", scenario.name)).collect()
}

/// Keeps what was measured, for whoever wants to look closer.
fn keep(scenario: &Scenario, measured: &[Measured]) -> Result<()> {
    let folder = Path::new("out/bench");
    std::fs::create_dir_all(folder)?;
    let methods: Vec<_> = measured
        .iter()
        .map(|method| {
            json!({
                "method": method.name,
                "took": method.took,
                "ledger": method.books.ledger,
                "timeline": method.books.timeline,
                "record": method.record,
            })
        })
        .collect();
    std::fs::write(folder.join(format!("lane-{}.json", scenario.name)), serde_json::to_vec(&methods)?)?;
    Ok(())
}
