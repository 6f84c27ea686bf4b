//! A scenario: a provider, its clients, what happens when, and the bounds that must hold.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use promptmill_llm::RateLimits;
use promptmill_llm::lane::board::{BEAT, Board};
use promptmill_llm::lane::{Bounds, Lane, Load, Named, Outcome, Settings, Ticket, Without};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use crate::service::{Fate, Limit, Service, ServiceConfig};

/// Seeds that every scenario runs with. With ten, the mean of the noisier ones is off by a hundredth.
pub(crate) const SEEDS: u64 = 60;
/// One way to the provider.
const WIRE: f64 = 0.01;
/// From the arrival of a refused request to the refusal's.
const REFUSAL: f64 = 0.09;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(skip)]
    pub(crate) name: String,
    /// Why it is here. For the reader.
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    seconds: f64,
    /// What happens before is not measured.
    #[serde(default)]
    warmup: f64,
    /// Spans that are not measured either: what was in flight at a change has to land first.
    #[serde(default)]
    skip: Vec<(f64, f64)>,
    #[serde(default)]
    service: toml::Table,
    #[serde(default, rename = "change")]
    changes: Vec<Change>,
    #[serde(default)]
    client: ClientConfig,
    /// Several clients, each from and until a moment.
    #[serde(default)]
    clients: Vec<Stay>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    at: f64,
    service: toml::Table,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientConfig {
    start: usize,
    min: usize,
    max: usize,
    rpm: Option<u32>,
    tpm: Option<u64>,
    shared: bool,
    /// Tokens of a request, smallest and largest, and of its answer.
    tokens: (f64, f64),
    output: f64,
    /// How far the client's estimate of a request's tokens may be off.
    estimate_error: f64,
    timeout: f64,
    /// Whether the clients are processes of one host and share the lane.
    board: bool,
    /// How late they may be to look who else is there.
    late: f64,
    /// Whether a request that may not leave yet is the next to leave, not another one in its place.
    in_order: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            start: 4,
            min: 1,
            max: 4096,
            rpm: None,
            tpm: None,
            shared: false,
            tokens: (1_000.0, 1_000.0),
            output: 300.0,
            estimate_error: 0.0,
            timeout: 120.0,
            board: false,
            late: 0.0,
            in_order: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stay {
    from: f64,
    #[serde(default = "for_ever")]
    until: f64,
    /// Ends without a word.
    #[serde(default)]
    killed: bool,
}

fn for_ever() -> f64 {
    f64::INFINITY
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// Share of the ideal, in the mean over the seeds and in the worst of them.
    throughput: f64,
    #[serde(default)]
    worst: f64,
    /// Share of the requests refused, in the mean.
    refused: f64,
    /// Jain's index of the clients that stayed to the end.
    #[serde(default)]
    fair: f64,
    /// Requests in flight in the mean, at the most.
    #[serde(default)]
    in_flight: Option<usize>,
    /// Seconds after `recovery_from` until three seconds with 90 % of the ideal and 5 % refused begin.
    #[serde(default)]
    recovery: Option<f64>,
    #[serde(default)]
    recovery_from: f64,
}

/// What one run came to.
#[derive(Clone, Debug, Default)]
struct Outcomes {
    throughput: f64,
    refused: f64,
    fair: f64,
    converged: f64,
    in_flight: usize,
    /// When the lane was first seen to starve.
    starved: Option<usize>,
}

/// What all runs of a scenario came to.
pub(crate) struct Summary {
    pub(crate) name: String,
    mean: Outcomes,
    worst: f64,
    slowest: f64,
    pub(crate) missed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct At(f64, u64);
impl Eq for At {}
impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wake(usize),
    Arrive(u64),
    Done(u64),
    /// The place of a request that is done is free.
    Free,
    Refused(u64, Limit, Option<f64>),
    Failed(u64),
    Change(usize),
    Beat(usize),
    Leave(usize),
}

struct Client {
    lane: Lane,
    stay: Stay,
    gone: bool,
    wake: f64,
    done: f64,
    random: StdRng,
    /// The size of the request that leaves next, and the client's estimate of it.
    next: Option<(f64, Load)>,
}

struct Flight {
    client: usize,
    ticket: Ticket,
    tokens: f64,
    output: f64,
    sent: f64,
    holds_a_place: bool,
    /// What the response will say of limits, if it is written by now.
    limits: Option<RateLimits>,
}

impl Scenario {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a scenario");
        Self::parse(path.file_stem().expect("a name").to_string_lossy().into_owned(), &text)
    }

    pub(crate) fn parse(name: String, text: &str) -> Self {
        let scenario = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        Self { name, ..scenario }
    }

    fn service_config(&self, changes: usize) -> ServiceConfig {
        let mut table = self.service.clone();
        for change in &self.changes[..changes] {
            table.extend(change.service.clone());
        }
        table.try_into().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn measured(&self, at: f64) -> bool {
        at >= self.warmup && at < self.seconds && !self.skip.iter().any(|(from, until)| (*from..*until).contains(&at))
    }

    pub(crate) fn summary(&self, seeds: u64, without: Without) -> Summary {
        let runs: Vec<Outcomes> = (0..seeds).map(|seed| self.run(seed, without)).collect();
        let mean = |of: fn(&Outcomes) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let worst = runs.iter().map(|run| run.throughput).fold(f64::INFINITY, f64::min);
        let slowest = runs.iter().map(|run| run.converged).fold(0.0, f64::max);
        let mean = Outcomes {
            throughput: mean(|run| run.throughput),
            refused: mean(|run| run.refused),
            fair: mean(|run| run.fair),
            converged: mean(|run| run.converged),
            in_flight: runs.iter().map(|run| run.in_flight).sum::<usize>() / runs.len(),
            starved: runs.iter().find_map(|run| run.starved),
        };
        let expect = &self.expect;
        let mut missed = Vec::new();
        let mut want = |holds: bool, what: String| {
            if !holds {
                missed.push(format!("{}: {what}", self.name));
            }
        };
        want(mean.throughput >= expect.throughput, format!("throughput {:.3} of the ideal, not {}", mean.throughput, expect.throughput));
        want(worst >= expect.worst, format!("worst throughput {worst:.3} of the ideal, not {}", expect.worst));
        want(mean.refused <= expect.refused, format!("{:.4} refused, not {}", mean.refused, expect.refused));
        want(mean.fair >= expect.fair, format!("fairness {:.2}, not {}", mean.fair, expect.fair));
        if let Some(second) = mean.starved {
            want(false, format!("starves from second {second} on"));
        }
        if let Some(most) = expect.in_flight {
            want(mean.in_flight <= most, format!("{} in flight, not {most}", mean.in_flight));
        }
        if let Some(most) = expect.recovery {
            want(mean.converged <= most, format!("recovered after {:.1} s, not {most}", mean.converged));
        }
        Summary { name: self.name.clone(), mean, worst, slowest, missed }
    }

    #[expect(clippy::print_stdout, reason = "a trace for people, when they ask for it")]
    fn run(&self, seed: u64, without: Without) -> Outcomes {
        let mut service = Service::new(self.service_config(0), seed);
        let mut changed = 0;
        let stays =
            if self.clients.is_empty() { vec![Stay { from: 0.0, until: f64::INFINITY, killed: false }] } else { self.clients.clone() };
        let mut events = BinaryHeap::new();
        let mut number = 0;
        let mut push = |events: &mut BinaryHeap<_>, at: f64, event: Event| {
            number += 1;
            events.push(Reverse((At(at, number), Boxed(event))));
        };
        let config = &self.client;
        let mut clients: Vec<Client> = stays
            .iter()
            .enumerate()
            .map(|(index, stay)| Client {
                lane: Lane::new(Settings {
                    bounds: Bounds { start: config.start, min: config.min, max: config.max },
                    rpm: config.rpm,
                    tpm: config.tpm,
                    shared: config.shared,
                    seed: seed * 31 + index as u64,
                    without,
                }),
                stay: *stay,
                gone: false,
                wake: f64::INFINITY,
                done: 0.0,
                random: StdRng::seed_from_u64(seed * 977 + index as u64),
                next: None,
            })
            .collect();
        for (index, stay) in stays.iter().enumerate() {
            if config.board {
                push(&mut events, stay.from, Event::Beat(index));
            }
            clients[index].wake = stay.from;
            push(&mut events, stay.from, Event::Wake(index));
            if stay.until.is_finite() {
                push(&mut events, stay.until, Event::Leave(index));
            }
        }
        for (index, change) in self.changes.iter().enumerate() {
            push(&mut events, change.at, Event::Change(index));
        }
        let mut board = Board::default();
        let mut flights: HashMap<u64, Flight> = HashMap::new();
        let mut next_id = 0;
        let mean_tokens = (config.tokens.0 + config.tokens.1) / 2.0;
        let in_tokens = self.service_config(0).tpm > 0.0;
        let seconds = self.seconds as usize + 2;
        let (mut done, mut refused, mut sent, mut ideal) = (vec![0.0; seconds], vec![0.0; seconds], vec![0.0; seconds], vec![0.0; seconds]);
        let is_traced = std::env::var("PROMPTMILL_TRACE").is_ok_and(|traced| traced == seed.to_string());
        let traced_client = std::env::var("PROMPTMILL_TRACE_CLIENT").ok().and_then(|client| client.parse().ok()).unwrap_or(0);
        let mut readings = vec![String::new(); seconds];
        // Seconds of which the server has said that nothing will be admitted, and those at which something changes.
        let (mut flying, mut excused) = (vec![0.0; seconds], vec![false; seconds]);
        // Seconds in which the server would have turned away one request more at some moment.
        let mut used_up = vec![false; seconds];
        let mut last = 0.0_f64;
        let (mut in_flight_seconds, mut measured_seconds) = (0.0, 0.0);
        let mut in_flight = 0_usize;

        while let Some(Reverse((At(now, _), Boxed(event)))) = events.pop() {
            if now >= self.seconds {
                break;
            }
            // What was possible since the last event, by the second.
            let mut from = last;
            while from < now {
                let until = (from.floor() + 1.0).min(now);
                let possible = service.ideal(mean_tokens, config.output) * (until - from);
                flying[from as usize] += f64::from(in_flight as u32) * (until - from);
                used_up[from as usize] |= !service.has_room(from, mean_tokens, config.output);
                ideal[from as usize] += possible * if in_tokens { mean_tokens } else { 1.0 };
                from = until;
            }
            if self.measured(now) {
                in_flight_seconds += (now - last) * in_flight as f64;
                measured_seconds += now - last;
            }
            last = now;
            let second = now as usize;
            let client = match event {
                Event::Free => {
                    if let Some((next, after)) = service.leave() {
                        push(&mut events, now + after, Event::Done(next));
                    }
                    continue;
                }
                Event::Change(index) => {
                    changed = changed.max(index + 1);
                    service.change(self.service_config(changed), now);
                    continue;
                }
                Event::Beat(index) => {
                    let client = &mut clients[index];
                    if client.gone {
                        continue;
                    }
                    let memory = client.lane.memory();
                    let known = (now > client.stay.from).then_some(&memory);
                    let reading = client.lane.reading();
                    let part = board.beat(&index.to_string(), now, known, reading.refused, reading.in_flight);
                    client.lane.take_part(at(now), &part);
                    let late = if config.late > 0.0 { client.random.random_range(0.0..config.late) } else { 0.0 };
                    push(&mut events, now + BEAT + late, Event::Beat(index));
                    index
                }
                Event::Leave(index) => {
                    clients[index].gone = true;
                    if config.board && !clients[index].stay.killed {
                        board.leave(&index.to_string());
                    }
                    continue;
                }
                Event::Wake(index) => {
                    if clients[index].wake > now {
                        continue;
                    }
                    index
                }
                Event::Arrive(id) => {
                    let flight = &flights[&id];
                    let fate = service.arrive(now, id, flight.tokens, flight.output);
                    if service.config.says.is_some_and(|says| says.early) {
                        let limits = service.headers(now);
                        flights.get_mut(&id).expect("in flight").limits = Some(limits);
                    }
                    let flight = &flights[&id];
                    match fate {
                        Fate::Answered { after } => {
                            push(&mut events, now + after, Event::Done(id));
                            flights.get_mut(&id).expect("in flight").holds_a_place = true;
                        }
                        Fate::Waits => flights.get_mut(&id).expect("in flight").holds_a_place = true,
                        Fate::Refused { which, retry_after } => push(&mut events, now + REFUSAL, Event::Refused(id, which, retry_after)),
                        Fate::Failed { after } => push(&mut events, now + after, Event::Failed(id)),
                        Fate::Lost => push(&mut events, flight.sent + config.timeout, Event::Failed(id)),
                    }
                    continue;
                }
                Event::Done(id) => {
                    let flight = flights.remove(&id).expect("in flight");
                    if flight.holds_a_place {
                        push(&mut events, now + service.lag(), Event::Free);
                    }
                    let limits = flight.limits.unwrap_or_else(|| service.headers(now));
                    let client = &mut clients[flight.client];
                    let work = if in_tokens { flight.tokens } else { 1.0 };
                    done[second] += work;
                    if now > self.seconds / 2.0 {
                        client.done += work;
                    }
                    client.lane.landed(at(now), flight.ticket, Outcome::Answered(Some(flight.output as u64)), &limits);
                    flight.client
                }
                Event::Refused(id, which, retry_after) => {
                    let flight = flights.remove(&id).expect("in flight");
                    refused[second] += 1.0;
                    let named = service.config.named.then_some(match which {
                        Limit::Requests => Named::Requests(Some(service.config.rpm as u64)),
                        Limit::Tokens => Named::Tokens(Some(service.config.tpm as u64), None),
                        Limit::InFlight => Named::InFlight,
                    });
                    let limits = flight.limits.unwrap_or_else(|| service.headers(now));
                    let asked = retry_after.filter(|wait| *wait >= 5.0).or_else(|| limits.exhausted().map(|reset| reset.as_secs_f64()));
                    let until = (now + asked.unwrap_or_default()).min(self.seconds) as usize;
                    excused[second..=until].fill(asked.is_some());
                    let outcome = Outcome::Limited { retry_after: retry_after.map(at), named };
                    clients[flight.client].lane.landed(at(now), flight.ticket, outcome, &limits);
                    flight.client
                }
                Event::Failed(id) => {
                    let flight = flights.remove(&id).expect("in flight");
                    clients[flight.client].lane.landed(at(now), flight.ticket, Outcome::Failed { retry_after: None }, &Default::default());
                    flight.client
                }
            };
            // The client sends what it may.
            let index = client;
            let client = &mut clients[index];
            if client.gone {
                continue;
            }
            loop {
                let random = &mut client.random;
                let (tokens, load) = *client.next.get_or_insert_with(|| {
                    let tokens = random.random_range(config.tokens.0..=config.tokens.1);
                    let error = 1.0 + config.estimate_error * random.random_range(-1.0..=1.0);
                    (tokens, Load { tokens: (tokens * error) as u64, output: config.output as u64 })
                });
                match client.lane.admit(at(now), load) {
                    Ok(ticket) => {
                        client.next = None;
                        let id = next_id;
                        next_id += 1;
                        sent[second] += 1.0;
                        let flight =
                            Flight { client: index, ticket, tokens, output: config.output, sent: now, holds_a_place: false, limits: None };
                        flights.insert(id, flight);
                        push(&mut events, now + WIRE, Event::Arrive(id));
                    }
                    Err(again) => {
                        let again = again.as_secs_f64().max(now + 1e-3);
                        client.next = client.next.filter(|_| config.in_order);
                        if again < client.wake || client.wake <= now {
                            client.wake = again;
                            push(&mut events, again, Event::Wake(index));
                        }
                        break;
                    }
                }
            }
            if index == traced_client && is_traced {
                let reading = clients[index].lane.reading();
                readings[second] = format!(
                    "limit {} in flight {} rate {:.1} tokens {:.0} proven {:.1} cap {:?}{}",
                    reading.limit,
                    reading.in_flight,
                    reading.rpm.unwrap_or_default() / 60.0,
                    reading.tpm.unwrap_or_default() / 60.0,
                    reading.proven.unwrap_or_default() / 60.0,
                    reading.cap,
                    if reading.down { " down" } else { "" }
                );
            }
            in_flight = clients.iter().map(|client| client.lane.in_flight()).sum();
            assert!(clients.iter().all(|client| client.lane.in_flight() <= config.max), "{}: more in flight than allowed", self.name);
        }

        while last < self.seconds {
            let until = (last.floor() + 1.0).min(self.seconds);
            let possible = service.ideal(mean_tokens, config.output) * (until - last);
            ideal[last as usize] += possible * if in_tokens { mean_tokens } else { 1.0 };
            last = until;
        }
        let total = |values: &[f64]| (0..seconds).filter(|second| self.measured(*second as f64)).map(|second| values[second]).sum::<f64>();
        if is_traced {
            println!("{}", self.name);
            for second in 0..self.seconds as usize {
                println!(
                    "{second:5} ideal {:8.1} done {:8.1} sent {:6} refused {:4} {}",
                    ideal[second], done[second], sent[second], refused[second], readings[second]
                );
            }
        }
        let from = self.expect.recovery_from as usize;
        let converged = (from..self.seconds as usize - 3).find(|second| {
            let span = *second..*second + 3;
            let sum = |values: &[f64]| values[span.clone()].iter().sum::<f64>();
            let (target, sent) = (sum(&ideal), sum(&sent).max(1.0));
            target > 0.0 && sum(&done) >= 0.9 * target && sum(&refused) <= 0.05 * sent
        });
        let stayed: Vec<f64> = clients.iter().filter(|client| client.stay.until.is_infinite()).map(|client| client.done).collect();
        let squares = stayed.iter().map(|done| done * done).sum::<f64>() * stayed.len() as f64;
        for change in &self.changes {
            excused[change.at as usize] = true;
        }
        Outcomes {
            starved: starved(
                &flying,
                &done,
                &ideal,
                |second| refused[second] > 0.0 || excused[second],
                &used_up,
                if in_tokens { mean_tokens } else { 1.0 },
            ),
            throughput: total(&done) / total(&ideal).max(1e-9),
            refused: total(&refused) / total(&sent).max(1.0),
            fair: stayed.iter().sum::<f64>().powi(2) / squares.max(1e-9),
            converged: converged.map_or(f64::INFINITY, |second| (second - from) as f64),
            in_flight: (in_flight_seconds / f64::max(measured_seconds, 1e-9)).round() as usize,
        }
    }
}

/// The watchdog: nothing was refused for half a minute, at no moment of which the limit was used up, but less than half of what
/// was once in flight without a refusal is, and less than half of what the limit allows in the mean was done. Whatever the
/// server, this is the lane's failure. Only the end of a time in which nothing was admitted is nobody's to know: where nothing
/// tells of it, a third of that time may pass: who asks more often is refused more often. And where half a minute is worth a few
/// requests only, as many minutes are looked at as are worth ten.
fn starved(flying: &[f64], done: &[f64], ideal: &[f64], speaks: impl Fn(usize) -> bool, used_up: &[bool], request: f64) -> Option<usize> {
    let a_second = ideal.iter().copied().fold(0.0, f64::max).max(1e-9);
    let quiet = (10.0 * request / a_second).max(30.0) as usize;
    let mut excused = used_up.to_vec();
    let mut first = 0;
    for stretch in used_up.chunk_by(|a, b| a == b) {
        let end = first + stretch.len();
        if stretch[0] {
            excused[end..(end + stretch.len() / 3).min(used_up.len())].fill(true);
        }
        first = end;
    }
    let mut best = 0.0_f64;
    let spans = (0..flying.len().saturating_sub(quiet + 2)).map(|first| first..first + quiet);
    spans.filter(|span| !span.clone().any(&speaks)).map(|span| (span.start, span)).find_map(|(first, span)| {
        let sum = |values: &[f64]| values[span.clone()].iter().sum::<f64>();
        let (in_flight, done, possible) = (sum(flying), sum(done), sum(ideal));
        best = best.max(in_flight);
        let is_excused = excused[span.clone()].contains(&true);
        (!is_excused && in_flight < 0.5 * best && done < 0.5 * possible).then_some(first)
    })
}

/// Lets an event stand in a heap: only its time counts.
struct Boxed(Event);
impl PartialEq for Boxed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Boxed {}
impl PartialOrd for Boxed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Boxed {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

impl Summary {
    /// The share of the ideal and of refusals in the mean.
    pub(crate) fn means(&self) -> [f64; 2] {
        [self.mean.throughput, self.mean.refused]
    }

    pub(crate) const HEAD: &str = "scenario                          of ideal   worst   refused   fair   converged (slowest)  in flight";
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes { throughput, refused, fair, converged, in_flight, .. } = self.mean;
        write!(
            f,
            "{:<34} {:>6.1} % {:>6.1} % {:>7.2} % {fair:>6.2} {converged:>8.1} s ({:>5.1} s) {in_flight:>10}",
            self.name,
            100.0 * throughput,
            100.0 * self.worst,
            100.0 * refused,
            self.slowest
        )
    }
}
