//! The scenarios of `bench lane`: what the provider does, what would be ideal, and what is aimed at.

use clap::ValueEnum;
use promptmill_sim::{LedgerSnapshot, Outage, ScheduledPatch, SimConfig};
use serde_json::json;

use crate::curve::Ideal;
use crate::pipelines::PACK;

/// What limits the provider.
#[derive(Debug, Clone)]
pub(crate) enum Capacity {
    /// So many requests at once, from each moment on.
    Places(Vec<(f64, usize)>),
    /// Requests a minute.
    Requests(u64),
    /// Tokens a minute.
    Tokens(u64),
}

/// What a scenario is about, beside what is measured in each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    None,
    /// Fewer places between two moments.
    Trough {
        from: f64,
        to: f64,
        places: usize,
    },
    /// No service between two moments.
    Outage {
        from: f64,
        to: f64,
    },
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) config: SimConfig,
    pub(crate) rows: u64,
    /// Motions that share a request of promptmill's and of the ordinary client's.
    pub(crate) pack: usize,
    /// Requests that the ordinary client has in flight: what somebody would choose who knows the service.
    pub(crate) peer_in_flight: usize,
    pub(crate) capacity: Capacity,
    pub(crate) event: Event,
    pub(crate) aims: Aims,
}

/// What promptmill is to reach, as shares; a scenario without a figure for something does not judge it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Aims {
    pub(crate) whole: Option<f64>,
    pub(crate) middle: Option<f64>,
    pub(crate) refused: Option<f64>,
    pub(crate) trough: Option<f64>,
    pub(crate) recovery: Option<f64>,
    /// Seconds after the end of an outage, beside the duration of an answer.
    pub(crate) back: Option<f64>,
}

/// Their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// A cap of 64 requests in flight, 429 above
    Cap,
    /// 3,000 requests a minute, one motion a request
    Rpm,
    /// A limit on tokens a minute
    Tpm,
    /// The cap falls from 64 to 16 and rises again
    Trough,
    /// Nothing is served for a minute
    Outage,
    /// As `rpm`, with the limits in headers
    Headers,
}

/// How an outage shows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    /// Every request gets a 503
    #[value(name = "503")]
    Unavailable,
    /// Requests are taken and never answered
    Hang,
    /// Connections are reset
    Refused,
}

impl From<Form> for Outage {
    fn from(form: Form) -> Self {
        match form {
            Form::Unavailable => Self::Unavailable,
            Form::Hang => Self::Hang,
            Form::Refused => Self::Refused,
        }
    }
}

const PLACES: usize = 64;
const RPM: u64 = 3_000;
/// So that 29,000 motions of about 1.1 kB, each with room for 400 tokens of answer, take some 100 seconds.
const TPM: u64 = 12_000_000;
const MOTIONS: u64 = 29_000;
const PHASE: f64 = 60.0;

impl Scenario {
    /// The scenario of a name; with fewer rows its phases are shorter by as much.
    pub(crate) fn new(name: Name, rows: Option<u64>, form: Form) -> Self {
        let usual = match name {
            Name::Rpm | Name::Headers => 6_000,
            Name::Outage => 22_000,
            Name::Cap | Name::Tpm | Name::Trough => MOTIONS,
        };
        let rows = rows.unwrap_or(usual);
        let phase = PHASE * (rows as f64 / usual as f64);
        let mut config = SimConfig::default();
        let places = |config: &mut SimConfig, tail: f64| {
            config.limits.max_in_flight = Some(PLACES);
            config.latency.tail_probability = tail;
        };
        let base = |name, about: String, config, pack, capacity, aims| Self {
            name,
            about,
            config,
            rows,
            pack,
            peer_in_flight: PLACES,
            capacity,
            event: Event::None,
            aims,
        };
        match name {
            Name::Cap => {
                places(&mut config, 0.01);
                let aims = Aims { middle: Some(0.97), whole: Some(0.92), refused: Some(0.01), ..Aims::default() };
                base("cap", format!("{PLACES} places, 429 above"), config, PACK, Capacity::Places(vec![(0.0, PLACES)]), aims)
            }
            Name::Rpm | Name::Headers => {
                config.limits.rpm = Some(RPM);
                config.limits.headers = name == Name::Headers;
                let (name, about, refused) = match name {
                    Name::Headers => ("headers", format!("{RPM} requests a minute, told in headers"), 0.001),
                    _ => ("rpm", format!("{RPM} requests a minute, not told"), 0.01),
                };
                let aims = Aims { middle: Some(0.98), refused: Some(refused), ..Aims::default() };
                base(name, about, config, 1, Capacity::Requests(RPM), aims)
            }
            Name::Tpm => {
                config.limits.tpm = Some(TPM);
                let aims = Aims { middle: Some(0.97), ..Aims::default() };
                let about = format!("{TPM} tokens a minute, not told");
                // With 64 in flight the limit would not bind.
                Self { peer_in_flight: 2 * PLACES, ..base("tpm", about, config, PACK, Capacity::Tokens(TPM), aims) }
            }
            Name::Trough => {
                places(&mut config, 0.01);
                let (from, to, low) = (phase, 2.0 * phase, PLACES / 4);
                config.schedule = vec![
                    ScheduledPatch { at_seconds: from, patch: json!({"limits": {"max_in_flight": low}}) },
                    ScheduledPatch { at_seconds: to, patch: json!({"limits": {"max_in_flight": PLACES}}) },
                ];
                let capacity = Capacity::Places(vec![(0.0, PLACES), (from, low), (to, PLACES)]);
                let aims = Aims { trough: Some(0.95), recovery: Some(0.95), refused: Some(0.02), ..Aims::default() };
                let about = format!("{PLACES} places, {low} from {from:.0} s to {to:.0} s");
                Self { event: Event::Trough { from, to, places: low }, ..base("trough", about, config, PACK, capacity, aims) }
            }
            Name::Outage => {
                places(&mut config, 0.0);
                let (from, to) = (phase, 2.0 * phase);
                config.schedule = vec![
                    ScheduledPatch { at_seconds: from, patch: json!({"outage": Outage::from(form)}) },
                    ScheduledPatch { at_seconds: to, patch: json!({"outage": Outage::None}) },
                ];
                let capacity = Capacity::Places(vec![(0.0, PLACES), (from, 0), (to, PLACES)]);
                let about = format!("{PLACES} places, {form:?} from {from:.0} s to {to:.0} s").to_lowercase();
                let aims = Aims { back: Some(5.0), ..Aims::default() };
                Self { event: Event::Outage { from, to }, ..base("outage", about, config, PACK, capacity, aims) }
            }
        }
    }

    /// How long the story's method can be measured at a rate that does not change.
    pub(crate) fn story_seconds(&self) -> u64 {
        match self.event {
            Event::Outage { from, .. } => (from - 10.0).max(5.0) as u64,
            _ => PHASE as u64,
        }
    }

    /// What was possible, given this method's luck with latencies and what its requests weighed. That it asks about
    /// fewer motions at once than it was told does not make less possible.
    pub(crate) fn ideal(&self, ledger: &LedgerSnapshot) -> Ideal {
        Ideal(match &self.capacity {
            Capacity::Places(steps) => {
                let per = |sum: u64, count: u64| sum as f64 / count.max(1) as f64;
                let latency = &self.config.latency;
                let expected = latency.mean_ms(per(ledger.completion_tokens, ledger.generations)) * ledger.ok as f64 / 1e3;
                let luck = if expected > 0.0 { ledger.answer_seconds / expected } else { 1.0 };
                let full = latency.mean_ms(per(ledger.completion_tokens, ledger.items.paid) * self.pack as f64) / 1e3;
                let a_place = self.pack as f64 / (full * luck).max(f64::MIN_POSITIVE);
                steps.iter().map(|(at, places)| (*at, *places as f64 * a_place)).collect()
            }
            Capacity::Requests(rpm) => vec![(0.0, *rpm as f64 / 60.0 * self.pack as f64)],
            Capacity::Tokens(tpm) => {
                vec![(0.0, *tpm as f64 / 60.0 * ledger.items.paid as f64 / (ledger.weighed_tokens as f64).max(1.0))]
            }
        })
    }
}
