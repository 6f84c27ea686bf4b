//! A setting that is accepted takes effect: shown for each setting that the schema has.
//!
//! The schema is walked down to its leaves. Each leaf has a case here, which runs the binary with and without a
//! change of that setting and says what has to differ on the wire, in the results or in how the run ended; that
//! the configuration is repeated in the run record does not count. A new setting without a case fails the walk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

use crate::spy::{Asked, Breaks, Manner, Spy};
use crate::support::Project;

/// Settings that cannot be shown to take effect, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("state.flush", "says how long a journal on S3 may wait; a local journal is durable at once, and there is no other yet"),
    ("providers.*.kind", "has one value"),
    ("state.access", "is no part of what files say: see `as_tried::security`"),
];

/// What every case starts from. Twelve rows in packs of five, one request at a time.
const PIPELINE: &str = r#"
[source]
path = "rows.parquet"
key = "id"

[[stages]]
use = "filter"
where = "year > 0"

[[stages]]
use = "prompt-pack"
system = "Je legt moties uit."
prompt = "Leg uit."
item = "{{ title }}"
rows = 5

[[stages]]
use = "llm"
model = "m"
concurrency = 1
attempts = 1

[[stages]]
use = "post-process"
column = "answer"
steps = []

[[stages]]
use = "cost"

[sink]
path = "out/results"

[models.m]
provider = "p"
model = "the-model"

[models.n]
provider = "q"
model = "the-other"

[providers.p]
kind = "openai"
base_url = "{url}"

[providers.q]
kind = "openai"
base_url = "{url}"
headers = { "X-From" = "q" }
"#;

/// Whether an effect is there, given what the runs without and with it left.
type IsSeen = Box<dyn Fn(&Seen, &Seen) -> bool + Send + Sync>;

/// A change of one setting, and what it has to change.
struct Case {
    /// The leaf of the schema.
    setting: String,
    /// `--set`s of both runs.
    base: Vec<String>,
    /// `--set`s of the second run alone.
    changed: Vec<String>,
    manner: Manner,
    is_seen: IsSeen,
}

impl Case {
    fn new(setting: &str, changed: &[&str], is_seen: impl Fn(&Seen, &Seen) -> bool + Send + Sync + 'static) -> Self {
        let changed = changed.iter().map(|set| (*set).to_owned()).collect();
        Self { setting: setting.to_owned(), base: Vec::new(), changed, manner: Manner::default(), is_seen: Box::new(is_seen) }
    }

    fn base(mut self, base: &[&str]) -> Self {
        self.base.extend(base.iter().map(|set| (*set).to_owned()));
        self
    }

    /// The settings of the second run. A name has to be there before anything goes by it; everything else is
    /// changed last.
    fn all_settings(&self) -> Vec<String> {
        let (base, changed) = (self.base.iter(), self.changed.iter());
        if self.setting.ends_with(".name") { changed.chain(base).cloned().collect() } else { base.chain(changed).cloned().collect() }
    }

    fn says(mut self, says: &'static str) -> Self {
        self.manner.says = says;
        self
    }

    fn usage(mut self, usage: &Value) -> Self {
        self.manner.usage = usage.as_object().expect("an object").clone();
        self
    }

    fn waits(mut self, milliseconds: u64) -> Self {
        self.manner.wait = Duration::from_millis(milliseconds);
        self
    }

    fn with_a_straggler(mut self, number: usize, milliseconds: u64) -> Self {
        self.manner.straggler = Some((number, Duration::from_millis(milliseconds)));
        self
    }

    fn refuses(mut self, first: usize) -> Self {
        self.manner.refuses = first;
        self
    }

    fn breaks(mut self, breaks: Breaks) -> Self {
        self.manner.breaks = breaks;
        self
    }
}

/// What a run has left behind.
#[derive(Clone, Debug)]
struct Seen {
    code: i32,
    stderr: String,
    asked: Vec<Asked>,
    /// Every file, by its path in the project.
    files: BTreeSet<String>,
    results: Vec<BTreeMap<String, String>>,
    dead_letters: Vec<BTreeMap<String, String>>,
}

impl Seen {
    fn body(&self) -> &Value {
        &self.asked[0].body
    }

    fn head(&self) -> &str {
        &self.asked[0].head
    }

    fn message(&self) -> &str {
        self.asked[0].message()
    }

    /// Rows of each request.
    fn packs(&self) -> Vec<usize> {
        self.asked.iter().map(|asked| asked.ids().len()).collect()
    }

    fn largest_pack(&self) -> usize {
        self.packs().into_iter().max().unwrap_or(0)
    }

    fn rows_asked(&self) -> usize {
        self.packs().into_iter().sum()
    }

    /// The most requests in flight at once.
    fn peak(&self) -> usize {
        self.asked.iter().map(|asked| asked.in_flight).max().unwrap_or(0)
    }

    /// Requests that left before the first one was answered.
    fn first_wave(&self) -> usize {
        self.asked.iter().filter(|asked| asked.after == 0).count()
    }

    /// From the first request to the last.
    fn spread(&self) -> f64 {
        let at = |asked: Option<&Asked>| asked.map_or(0.0, |asked| asked.at.as_secs_f64());
        at(self.asked.last()) - at(self.asked.first())
    }

    /// The one value that a column has in all the results.
    fn answer(&self, column: &str) -> &str {
        let first = self.results.first().and_then(|row| row.get(column)).map_or("(no results)", String::as_str);
        assert!(self.results.iter().all(|row| row.get(column).is_some_and(|value| value == first)), "{:?}", self.results);
        first
    }

    /// Whether every row is a dead letter, for this reason.
    fn rejects(&self, reason: &str) -> bool {
        self.results.is_empty() && self.dead_letters.len() == 12 && self.dead_letters.iter().all(|row| row["reason"] == reason)
    }

    /// Whether every row has its answer.
    fn accepts(&self) -> bool {
        self.dead_letters.is_empty() && self.results.len() == 12
    }

    fn has_file(&self, part: &str) -> bool {
        self.files.iter().any(|file| file.contains(part))
    }

    fn count_files(&self, part: &str) -> usize {
        self.files.iter().filter(|file| file.contains(part)).count()
    }

    /// What the results cost together, in nano-dollars.
    fn nano(&self) -> i64 {
        let usd = self.results.iter().map(|row| row["cost_usd"].parse::<f64>().expect("an amount"));
        usd.map(|usd| (usd * 1e9).round() as i64).sum()
    }
}

fn steps(step: &str) -> String {
    format!("stages.post-process.steps=[{step}]")
}

/// A case of a step's parameter: two tables of that step.
fn step(setting: &str, base: &str, changed: &str, is_seen: impl Fn(&Seen, &Seen) -> bool + Send + Sync + 'static) -> Case {
    Case::new(&format!("stages.post-process.steps.{setting}"), &[&steps(changed)], is_seen).base(&[&steps(base)])
}

/// What stands around the stages, and the stages that ask nothing.
fn frame() -> Vec<Case> {
    let too_short = steps("{ use = 'reject-length', min_chars = 1000 }");
    vec![
        Case::new("name", &["name=other"], |base, changed| {
            base.has_file("out/_promptmill/pipeline/commits/") && changed.has_file("out/_promptmill/other/commits/")
        }),
        Case::new("max_dead_letters", &["max_dead_letters=0"], |base, changed| (base.code, changed.code) == (0, 4))
            .base(&[&too_short, "max_dead_letters=100%"]),
        Case::new("state.path", &["state.path=kept/here"], |base, changed| {
            !base.has_file("kept/") && changed.has_file("kept/here/commits/") && !changed.has_file("_promptmill")
        }),
        Case::new("source.path", &["source.path=few.parquet"], |base, changed| (base.rows_asked(), changed.rows_asked()) == (12, 3)),
        Case::new("source.key", &["source.key=code"], |base, changed| {
            let keys = |seen: &Seen, key: &str| seen.dead_letters.iter().filter(|row| row.contains_key(key)).count();
            keys(base, "id") == 12 && keys(base, "code") == 0 && keys(changed, "code") == 12 && keys(changed, "id") == 0
        })
        .base(&[&too_short]),
        // What lies there is no table; that versions are read as such is seen in `as_tried::lakes`.
        refused_without_a_table("source.format", "source.format=delta"),
        refused_without_a_table("source.version", "source.version=0"),
        refused_without_a_table("source.timestamp", "source.timestamp='2026-11-30T12:00:00Z'"),
        Case::new("stages.filter.where", &["stages.filter.where=year = 2024"], |base, changed| {
            (base.rows_asked(), changed.rows_asked()) == (12, 6)
        }),
        Case::new("stages.cost.budget_usd", &["stages.cost.budget_usd=0.000001"], |base, changed| {
            (base.code, base.asked.len(), changed.code, changed.asked.len()) == (0, 3, 3, 0)
        })
        .base(&["models.m.price={ input = 1, output = 1 }"]),
        Case::new("sink.path", &["sink.path=elsewhere/results"], |base, changed| {
            base.has_file("out/results/") && changed.has_file("elsewhere/results/") && !changed.has_file("out/")
        }),
        Case::new("sink.partition_by", &["sink.partition_by=['year']"], |base, changed| {
            !base.has_file("year=") && changed.has_file("out/results/year=2023/") && changed.has_file("out/results/year=2024/")
        }),
        Case::new("sink.format", &["sink.format=delta"], |base, changed| {
            !base.has_file("out/results/_delta_log/") && changed.has_file("out/results/_delta_log/")
        }),
        Case::new("sink.columns", &["sink.columns=['id', 'answer']"], |base, changed| {
            base.results[0].contains_key("title") && !changed.results[0].contains_key("title") && changed.results[0].contains_key("answer")
        }),
        Case::new("sink.prefix", &["sink.prefix=pm_"], |base, changed| {
            let has = |seen: &Seen, name: &str| seen.results[0].contains_key(name);
            has(base, "cost_usd") && has(changed, "pm_cost_usd") && has(changed, "pm_llm_model") && !has(changed, "cost_usd")
        }),
        Case::new("sink.commit_every", &["sink.commit_every=200ms"], |base, changed| {
            (base.count_files("/index/"), changed.count_files("/index/") > 1) == (1, true)
        })
        .base(&["stages.prompt-pack.rows=2"])
        .waits(250),
        Case::new("sink.target_file_mb", &["sink.target_file_mb=1"], |base, changed| {
            base.count_files("out/results/") == 1 && changed.count_files("out/results/") > 1
        })
        .base(&["source.path=heavy.parquet", "stages.prompt-pack.rows=2", "sink.commit_every=200ms"])
        .waits(250),
    ]
}

/// How CSV files are written: with the setting a file is what it is, without it it is another one, or none.
fn of_csv_files() -> Vec<Case> {
    let case = |name: &str, file: &str, changed: &str, is_seen: fn(&Seen, &Seen) -> bool| {
        let path = format!("source.path={file}.csv");
        Case::new(&format!("source.{name}"), &[&format!("source.{changed}")], is_seen).base(&[&path])
    };
    let only_with_it = |base: &Seen, changed: &Seen| base.code == 2 && base.asked.is_empty() && changed.accepts();
    vec![
        case("delimiter", "semicolons", "delimiter=;", only_with_it),
        case("header", "nameless", "header=['id', 'year', 'title']", only_with_it),
        case("quote", "quoted", "quote=\"'\"", only_with_it),
        case("escape", "escaped", "escape='\\'", only_with_it),
        case("comment", "commented", "comment=\"#\"", only_with_it),
        case("null", "unknown", "null=NA", |base, changed| base.code != 0 && changed.rows_asked() == 11),
        case("types.*", "plain", "types.code=string", move |base, changed| {
            let shown = |seen: &Seen| seen.results.first().map(|row| row["code"].clone());
            (shown(base).as_deref(), shown(changed).as_deref()) == (Some("1.5"), Some("1.50"))
        }),
    ]
}

/// CSV files of twelve rows, each written in another way.
fn write_csv(project: &Project, name: &str) {
    let rows = |row: &dyn Fn(usize) -> String| (0..12).map(row).collect::<Vec<_>>().join("\n") + "\n";
    let year = |row: usize| 2023 + row % 2;
    let text = match name {
        "semicolons" => format!("id;year;title\n{}", rows(&|row| format!("m{row};{};Motie, {row}", year(row)))),
        "nameless" => rows(&|row| format!("m{row},{},Motie {row}", year(row))),
        "quoted" => format!("id,year,title\n{}", rows(&|row| format!("m{row},{},'Motie, {row}'", year(row)))),
        "escaped" => format!("id,year,title\n{}", rows(&|row| format!("m{row},{},\"Motie \\\", {row}\"", year(row)))),
        "commented" => format!("# of the council\nid,year,title\n{}", rows(&|row| format!("m{row},{},Motie {row}", year(row)))),
        "unknown" => {
            let year = |row: usize| if row == 3 { "NA".to_owned() } else { year(row).to_string() };
            format!("id,year,title\n{}", rows(&|row| format!("m{row},{},Motie {row}", year(row))))
        }
        _ => format!("id,year,title,code\n{}", rows(&|row| format!("m{row},{},Motie {row},1.50", year(row)))),
    };
    project.write(&format!("{name}.csv"), &text);
}

/// A setting that only Delta tables have, for a source that is none.
fn refused_without_a_table(name: &str, setting: &str) -> Case {
    Case::new(name, &[setting], |base, changed| {
        base.code == 0 && changed.code == 2 && changed.asked.is_empty() && changed.stderr.contains("Delta")
    })
}

/// A stage goes by its name: the same `--set` is wrong without it and has its effect with it.
fn names() -> Vec<Case> {
    let case = |stage: &str, setting: &str, is_seen: fn(&Seen) -> bool| {
        Case::new(&format!("stages.{stage}.name"), &[&format!("stages.{stage}.name=mine")], move |base, changed| {
            base.code == 2 && base.asked.is_empty() && base.stderr.contains("mine") && is_seen(changed)
        })
        .base(&[&format!("stages.mine.{setting}")])
    };
    vec![
        case("filter", "where=year = 2024", |seen| seen.rows_asked() == 6),
        case("prompt-pack", "rows=2", |seen| seen.packs() == [2; 6]),
        case("llm", "temperature=0.5", |seen| seen.body()["temperature"] == 0.5),
        case("post-process", "steps=[{ use = 'reject-length', max_chars = 3 }]", |seen| seen.rejects("too-long")),
        case("cost", "budget_usd=0", |seen| seen.code == 2 && seen.stderr.contains("price")),
    ]
}

/// What is asked, and how.
fn asking() -> Vec<Case> {
    vec![
        Case::new("stages.prompt-pack.system", &["stages.prompt-pack.system=Anders."], |base, changed| {
            base.body()["messages"][0]["content"] == "Je legt moties uit." && changed.body()["messages"][0]["content"] == "Anders."
        }),
        Case::new("stages.prompt-pack.prompt", &["stages.prompt-pack.prompt=Er zijn {{ count }} moties."], |base, changed| {
            base.message().starts_with("Leg uit.") && changed.message().starts_with("Er zijn 5 moties.")
        }),
        Case::new(
            "stages.prompt-pack.instructions",
            &["stages.prompt-pack.instructions=Geef {{ answer }} onder {{ ids | join(' en ') }}."],
            |base, changed| {
                !base.body().to_string().contains("onder r1 en r2")
                    && changed.body().to_string().contains("Geef answer onder r1 en r2")
                    && !changed.body().to_string().contains("Every line")
            },
        ),
        Case::new("stages.prompt-pack.item", &["stages.prompt-pack.item=nummer {{ code }}"], |base, changed| {
            !base.message().contains("\"text\":\"nummer 10") && changed.message().contains("\"text\":\"nummer 10")
        }),
        Case::new("stages.prompt-pack.rows", &["stages.prompt-pack.rows=2"], |base, changed| {
            base.packs() == [5, 5, 2] && changed.packs() == [2; 6]
        }),
        Case::new("stages.prompt-pack.rows.start", &["stages.prompt-pack.rows={ start = 7 }"], |base, changed| {
            (base.packs()[0], changed.packs()[0]) == (3, 7)
        })
        .base(&["stages.prompt-pack.rows={ start = 3 }"]),
        Case::new("stages.prompt-pack.rows.max", &["stages.prompt-pack.rows={ max = 4 }"], |base, changed| {
            (base.largest_pack(), changed.largest_pack()) == (10, 4)
        })
        .base(&["stages.prompt-pack.rows={ max = 10 }"]),
        // The least number holds from the start …
        Case::new("stages.prompt-pack.rows.min", &["stages.prompt-pack.rows={ min = 30 }"], |base, changed| {
            (base.packs()[0], changed.packs()[0]) == (15, 30)
        })
        .base(&["source.path=many.parquet", "stages.prompt-pack.rows={ min = 1 }"]),
        // … and when answers break.
        Case::new("stages.prompt-pack.rows.min", &["stages.prompt-pack.rows={ start = 12, min = 12, max = 12 }"], |base, changed| {
            let late = |seen: &Seen| seen.packs().split_off(6).into_iter().max().unwrap_or(0);
            late(base) < 12 && late(changed) == 12
        })
        .base(&["source.path=many.parquet", "stages.llm.attempts=20", "stages.prompt-pack.rows={ start = 12, min = 1, max = 12 }"])
        .breaks(Breaks::First(6)),
        Case::new(
            "stages.prompt-pack.answer",
            &["stages.prompt-pack.answer=uitleg", "stages.post-process.column=uitleg"],
            |base, changed| changed.message().contains("the uitleg of the item") && base.answer("answer") == changed.answer("uitleg"),
        ),
        Case::new("stages.prompt-pack.answer.*", &["stages.prompt-pack.answer={ answer = 'string', score = 'int' }"], |base, changed| {
            let schema = &changed.body()["response_format"]["json_schema"]["schema"];
            !base.results[0].contains_key("score")
                && schema["properties"]["r1"]["properties"]["score"]["type"] == "integer"
                && changed.answer("score") == "7"
        }),
        Case::new("stages.llm.model", &["stages.llm.model=n"], |base, changed| {
            base.body()["model"] == "the-model" && changed.body()["model"] == "the-other" && changed.answer("llm_model") == "n"
        }),
        Case::new("stages.llm.fallback", &["stages.llm.fallback=['n']"], |base, changed| {
            base.dead_letters.len() == 12 && changed.accepts() && changed.answer("llm_model") == "n"
        })
        .breaks(Breaks::Model("the-model")),
        Case::new("stages.llm.timeout", &["stages.llm.timeout=200ms"], |base, changed| base.accepts() && changed.rejects("timeout"))
            .base(&["stages.prompt-pack.rows=12"])
            .waits(1_000),
        Case::new("stages.llm.attempts", &["stages.llm.attempts=3"], |base, changed| {
            let attempts = |seen: &Seen, count: &str| seen.dead_letters.iter().all(|row| row["llm_attempts"] == count);
            base.asked.len() == 3 && attempts(base, "1") && changed.asked.len() > 3 && attempts(changed, "3")
        })
        .breaks(Breaks::All),
        Case::new("stages.llm.max_tokens_per_row", &["stages.llm.max_tokens_per_row=50"], |base, changed| {
            let most = |seen: &Seen| seen.body()["max_tokens"].as_u64().expect("a number");
            most(base) - most(changed) == 5 * (400 - 50)
        }),
        Case::new("stages.llm.temperature", &["stages.llm.temperature=0.7"], |base, changed| {
            base.body().get("temperature").is_none() && changed.body()["temperature"] == 0.7
        }),
    ]
}

/// How much is in flight, and how fast it leaves.
fn pace() -> Vec<Case> {
    let one_by_one = ["source.path=many.parquet", "stages.filter.where=code < '1036'", "stages.prompt-pack.rows=1"];
    let concurrency = |table: &str| format!("stages.llm.concurrency={{ {table} }}");
    vec![
        Case::new("stages.llm.concurrency", &["stages.llm.concurrency=3"], |base, changed| {
            (base.peak(), changed.peak(), changed.first_wave()) == (1, 3, 3)
        })
        .base(&["stages.prompt-pack.rows=1"])
        .waits(100),
        // The number grows with time even before the first answer, and more than usual on a machine that is busy.
        Case::new("stages.llm.concurrency.start", &[&concurrency("start = 12")], |base, changed| {
            base.first_wave() < 9 && changed.first_wave() == 12
        })
        .base(&["stages.prompt-pack.rows=1", &concurrency("start = 2")])
        .waits(60),
        Case::new("stages.llm.concurrency.min", &[&concurrency("min = 12")], |base, changed| {
            base.first_wave() < 9 && changed.first_wave() == 12
        })
        .base(&["stages.prompt-pack.rows=1", &concurrency("min = 1")])
        .waits(60),
        Case::new("stages.llm.concurrency.max", &[&concurrency("start = 2, max = 64")], |base, changed| {
            base.peak() == 2 && changed.peak() > 2
        })
        .base(&one_by_one)
        .base(&[&concurrency("start = 2, max = 2")])
        .waits(150),
        // Every row of every pack once more alone.
        Case::new("stages.llm.canary", &["stages.llm.canary=1"], |base, changed| {
            let alone = changed.packs().iter().filter(|rows| **rows == 1).count();
            base.packs() == [5, 5, 2] && (changed.rows_asked(), alone) == (24, 12) && changed.answer("llm_attempts") == "2"
        }),
        // One request is late at the end: who may, asks about its rows again.
        Case::new("stages.llm.hedge", &["stages.llm.hedge=0.2"], |base, changed| {
            base.rows_asked() == 36 && (37..=43).contains(&changed.rows_asked())
        })
        .base(&one_by_one)
        .base(&["stages.llm.concurrency=4", "stages.llm.hedge=0"])
        .waits(50)
        .with_a_straggler(30, 3_000),
        // After refusals, who shares a key with strangers grows by the same small steps as they do.
        Case::new("providers.*.shared", &["providers.p.shared=true"], |base, changed| base.spread() + 1.0 < changed.spread())
            .base(&one_by_one)
            .base(&["stages.llm.concurrency=4"])
            .refuses(4),
        Case::new("providers.*.rpm", &["providers.p.rpm=60"], |base, changed| base.spread() + 2.0 < changed.spread())
            .base(&["stages.prompt-pack.rows=3"]),
        Case::new("providers.*.tpm", &["providers.p.tpm=9000"], |base, changed| base.spread() + 1.0 < changed.spread()),
    ]
}

/// What is done with the answers.
fn repairs() -> Vec<Case> {
    let (dutch, english) = (
        "De motie verzoekt de regering om de wachttijden in de zorg te verkorten.",
        "This is what they said about it, and there would have been more of them if she had not been with us at the time.",
    );
    let long = "De motie verzoekt de regering om de wachttijden in de zorg te verkorten, want de motie verzoekt de regering om de wachttijden \
                in de zorg te verkorten.";
    let echoed = echoed_item();
    vec![
        Case::new("stages.post-process.column", &["stages.post-process.column=second"], |base, changed| {
            (base.answer("first"), base.answer("second")) == ("vuile lucht", "filthy lucht")
                && (changed.answer("first"), changed.answer("second")) == ("filthy lucht", "vuile lucht")
        })
        .base(&[
            "stages.prompt-pack.answer={ first = 'string', second = 'string' }",
            "stages.post-process.column=first",
            &steps("{ use = 'replace-words', words = { filthy = 'vuile' } }"),
        ])
        .says("filthy lucht"),
        Case::new("stages.post-process.language", &["stages.post-process.language=en"], |base, changed| {
            base.accepts() && changed.rejects("wrong-language")
        })
        .base(&[&steps("{ use = 'reject-language' }"), "stages.post-process.language=nl"])
        .says(dutch),
        Case::new("stages.post-process.on_reject", &["stages.post-process.on_reject=dead-letter"], |base, changed| {
            base.asked.len() > 3 && base.rejects("too-long") && changed.asked.len() == 3 && changed.rejects("too-long")
        })
        .base(&[&steps("{ use = 'reject-length', max_chars = 3 }"), "stages.llm.attempts=2"]),
        Case::new("stages.post-process.on_reject", &["stages.post-process.on_reject=keep"], |base, changed| {
            base.rejects("too-long") && changed.accepts() && changed.answer("answer_flags").contains("rejected:too-long")
        })
        .base(&[&steps("{ use = 'reject-length', max_chars = 3 }"), "stages.llm.attempts=2"]),
        step(
            "drop-lines-in-other-scripts.scripts",
            "{ use = 'drop-lines-in-other-scripts' }",
            "{ use = 'drop-lines-in-other-scripts', scripts = ['Latin', 'Cyrillic'] }",
            |base, changed| base.answer("answer") == "Een regel." && changed.answer("answer").contains("строка"),
        )
        .says("Een regel.\nЭто другая строка."),
        step(
            "replace-words.words.*",
            "{ use = 'replace-words', words = { other = 'anders' } }",
            "{ use = 'replace-words', words = { other = 'anders', filthy = 'vuile' } }",
            |base, changed| (base.answer("answer"), changed.answer("answer")) == ("filthy lucht", "vuile lucht"),
        )
        .says("filthy lucht"),
        step(
            "remove-pattern.pattern",
            "{ use = 'remove-pattern', pattern = 'zzz' }",
            r"{ use = 'remove-pattern', pattern = '\(\d+-\d+\)' }",
            |base, changed| base.answer("answer").contains("(12-34)") && !changed.answer("answer").contains("12"),
        )
        .says("De motie (12-34) verzoekt iets."),
        step("normalize-text", "", "{ use = 'normalize-text' }", |base, changed| {
            base.answer("answer").contains("  ") && !changed.answer("answer").contains("  ")
        })
        .says("De motie  verzoekt   iets ."),
        step("reject-words.list", "{ use = 'reject-words', words = ['zzz'] }", "{ use = 'reject-words', list = 'english-common' }", {
            |base, changed| base.accepts() && changed.rejects("english-words")
        })
        .says(english),
        step(
            "reject-words.words",
            "{ use = 'reject-words', words = ['zzz'] }",
            "{ use = 'reject-words', words = ['motie'] }",
            |base, changed| base.accepts() && changed.results.is_empty() && changed.dead_letters.len() == 12,
        )
        .says(dutch),
        step(
            "reject-words.more_than",
            "{ use = 'reject-words', words = ['motie'], more_than = 5 }",
            "{ use = 'reject-words', words = ['motie'], more_than = 0 }",
            |base, changed| base.accepts() && changed.results.is_empty() && changed.dead_letters.len() == 12,
        )
        .says(dutch),
        step(
            "reject-language.language",
            "{ use = 'reject-language', language = 'nl' }",
            "{ use = 'reject-language', language = 'en' }",
            |base, changed| base.accepts() && changed.rejects("wrong-language"),
        )
        .says(dutch),
        step(
            "reject-length.min_chars",
            "{ use = 'reject-length', min_chars = 10 }",
            "{ use = 'reject-length', min_chars = 500 }",
            |base, changed| base.accepts() && changed.rejects("too-short"),
        ),
        step(
            "reject-length.max_chars",
            "{ use = 'reject-length', max_chars = 500 }",
            "{ use = 'reject-length', max_chars = 10 }",
            |base, changed| base.accepts() && changed.rejects("too-long"),
        ),
        step("drop-boilerplate", "", "{ use = 'drop-boilerplate' }", |base, changed| {
            base.answer("answer").starts_with("Hier") && changed.answer("answer") == "De motie verzoekt iets."
        })
        .says("Hier is de uitleg: de motie verzoekt iets."),
        step("strip-markdown", "", "{ use = 'strip-markdown' }", |base, changed| {
            base.answer("answer").contains("**") && changed.answer("answer") == "De motie verzoekt iets."
        })
        .says("De **motie** verzoekt iets."),
        step("remove-metadata", "", "{ use = 'remove-metadata' }", |base, changed| {
            base.answer("answer").contains("36600") && changed.answer("answer") == "De motie verzoekt iets."
        })
        .says("De motie (36600-12) verzoekt iets."),
        step("drop-repeated-sentences", "", "{ use = 'drop-repeated-sentences' }", |base, changed| {
            base.answer("answer").len() > 40 && changed.answer("answer") == "De motie verzoekt iets."
        })
        .says("De motie verzoekt iets. De motie verzoekt iets."),
        step(
            "reject-pattern.pattern",
            "{ use = 'reject-pattern', pattern = 'zzz' }",
            "{ use = 'reject-pattern', pattern = 'wacht.*zorg' }",
            |base, changed| base.accepts() && changed.rejects("pattern"),
        ),
        step(
            "reject-repetition.share",
            "{ use = 'reject-repetition', share = 0.9 }",
            "{ use = 'reject-repetition', share = 0.1 }",
            |base, changed| base.accepts() && changed.rejects("repetition"),
        )
        .says(long),
        step(
            "reject-hard-to-read.min_score",
            "{ use = 'reject-hard-to-read', min_score = -50 }",
            "{ use = 'reject-hard-to-read', min_score = 100 }",
            |base, changed| base.accepts() && changed.rejects("hard-to-read"),
        )
        .base(&["stages.post-process.language=nl"])
        .says(long),
        step("reject-echo.share", "{ use = 'reject-echo', share = 1.0 }", "{ use = 'reject-echo', share = 0.5 }", |base, changed| {
            base.accepts() && changed.rejects("echo-of-input")
        })
        .base(&[&echoed])
        .says(dutch),
        step(
            "reject-unfounded.numbers",
            "{ use = 'reject-unfounded', numbers = false }",
            "{ use = 'reject-unfounded', numbers = true }",
            |base, changed| base.accepts() && changed.rejects("unfounded-number"),
        )
        .says("Het kost 2031 euro."),
        step(
            "reject-unfounded.names",
            "{ use = 'reject-unfounded', names = false }",
            "{ use = 'reject-unfounded', names = true }",
            |base, changed| base.accepts() && changed.rejects("unfounded-name"),
        )
        .says("Dat vindt mevrouw Janssen."),
        step(
            "reject-unfounded.known",
            "{ use = 'reject-unfounded' }",
            "{ use = 'reject-unfounded', known = ['Janssen'] }",
            |base, changed| base.rejects("unfounded-name") && changed.accepts(),
        )
        .says("Dat vindt mevrouw Janssen."),
        step(
            "reject-unfounded.more_than",
            "{ use = 'reject-unfounded' }",
            "{ use = 'reject-unfounded', more_than = 1 }",
            |base, changed| base.rejects("unfounded-name") && changed.accepts(),
        )
        .says("Dat vindt mevrouw Janssen."),
        // Beside the answer: another column is compared with a third.
        Case::new("stages.post-process.input", &["stages.post-process.input=title"], |base, changed| {
            base.accepts() && changed.rejects("unfounded-number")
        })
        .base(&["stages.post-process.column=code", "stages.post-process.input=code", &steps("{ use = 'reject-unfounded' }")]),
    ]
}

/// Every step that rejects may keep what it rejects, and says so on the row.
fn rejections_that_are_kept() -> Vec<Case> {
    let dutch = "De motie verzoekt de regering om de wachttijden in de zorg te verkorten.";
    let long = "De motie verzoekt de regering om de wachttijden in de zorg te verkorten, want de motie verzoekt de regering om de wachttijden \
                in de zorg te verkorten.";
    let steps_and_garbage = [
        ("drop-lines-in-other-scripts", "", "Это другая строка."),
        ("reject-blank", "", "n.v.t."),
        ("reject-length", "max_chars = 3", dutch),
        ("reject-words", "words = ['motie']", dutch),
        ("reject-pattern", "pattern = 'motie'", dutch),
        ("reject-markdown", "", "De **motie** verzoekt iets."),
        ("reject-language", "language = 'en'", dutch),
        ("reject-repetition", "", long),
        ("reject-hard-to-read", "min_score = 100", long),
        ("reject-echo", "", dutch),
        ("reject-unfounded", "", "Het kost 2031 euro."),
        (
            "reject-unrelated",
            "",
            "Betere fietspaden zorgen ervoor dat schoolkinderen veiliger thuiskomen uit drukke stadswijken, volgens gemeenten.",
        ),
        ("reject-refusal", "", "Het spijt me, maar ik kan niet helpen met dit verzoek."),
    ];
    let case = |(name, settings, garbage): (&str, &str, &'static str)| {
        let table = |rest: &str| {
            let settings: Vec<&str> = [settings, rest].into_iter().filter(|setting| !setting.is_empty()).collect();
            format!("{{ use = '{name}', {} }}", settings.join(", "))
        };
        step(&format!("{name}.on_reject"), &table("on_reject = 'retry'"), &table("on_reject = 'keep'"), |base, changed| {
            base.results.is_empty()
                && base.dead_letters.len() == 12
                && changed.accepts()
                && changed.answer("answer_flags").contains("rejected:")
        })
        .base(&["stages.post-process.language=nl", &echoed_item()])
        .says(garbage)
    };
    let mut cases: Vec<Case> = steps_and_garbage.into_iter().map(case).collect();
    // What is said about all the rows is about the second one: the four beside it in its request have it wrongly.
    cases.push(
        step(
            "reject-swapped.on_reject",
            "{ use = 'reject-swapped' }",
            "{ use = 'reject-swapped', on_reject = 'keep' }",
            |base, changed| {
                let flagged = changed.results.iter().filter(|row| row["answer_flags"].contains("rejected:fits-another-row")).count();
                let reasons = base.dead_letters.iter().filter(|row| row["reason"] == "fits-another-row").count();
                (base.results.len(), reasons, changed.results.len(), flagged) == (8, 4, 12, 4)
            },
        )
        .base(&["stages.prompt-pack.item={% if code == '1001' %}De motie verzoekt de regering om de wachttijden in de zorg te verkorten.{% else %}Heel iets anders over treinen en spoorlijnen, nummer {{ code }}.{% endif %}"])
        .says(dutch),
    );
    cases
}

/// The item that the usual answer repeats word for word.
fn echoed_item() -> String {
    "stages.prompt-pack.item=Nummer {{ code }}: de motie verzoekt de regering om de wachttijden in de zorg te verkorten.".to_owned()
}

/// Who is asked, and what it costs.
fn models() -> Vec<Case> {
    // Each of the three requests has 100 prompt tokens, 40 of them cached, and 10 answer tokens.
    let price = |changed: &str, nano: i64, setting: &str| {
        let base = "models.m.price={ input = 1, cached_input = 0.5, output = 2 }";
        Case::new(setting, &[changed], move |base, changed| (base.nano(), changed.nano()) == (3 * (60_000 + 20_000 + 20_000), 3 * nano))
            .base(&[base])
    };
    vec![
        Case::new("models.*.provider", &["models.m.provider=q"], |base, changed| {
            !base.head().contains("x-from: q") && changed.head().contains("x-from: q")
        }),
        Case::new("models.*.model", &["models.m.model=another"], |base, changed| {
            base.body()["model"] == "the-model" && changed.body()["model"] == "another"
        }),
        price("models.m.price.input=3", 180_000 + 20_000 + 20_000, "models.*.price.input"),
        price("models.m.price.cached_input=0.1", 60_000 + 4_000 + 20_000, "models.*.price.cached_input"),
        price("models.m.price.output=7", 60_000 + 20_000 + 70_000, "models.*.price.output"),
        price("models.m.price.cache_write=3", 40_000 + 60_000 + 20_000 + 20_000, "models.*.price.cache_write")
            .usage(&json!({"prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 20}})),
        price("models.m.price.request=0.001", 100_000 + 1_000_000, "models.*.price.request"),
        price("models.m.price.above=[{ tokens = 99, input = 2, output = 3 }]", 120_000 + 40_000 + 30_000, "models.*.price.above"),
        price("models.m.price.tiers={ flex = 0.5 }", 50_000, "models.*.price.tiers.flex").usage(&json!({"service_tier": "flex"})),
        price("models.m.price.tiers={ priority = 2 }", 200_000, "models.*.price.tiers.priority")
            .usage(&json!({"service_tier": "priority"})),
        price("models.m.price.tiers={ batch = 0.5 }", 50_000, "models.*.price.tiers.batch").usage(&json!({"service_tier": "batch"})),
        Case::new("models.*.context", &["models.m.context=1500"], |base, changed| {
            base.packs() == [12] && changed.largest_pack() < 12 && changed.accepts()
        })
        .base(&["stages.prompt-pack.rows=12", "stages.llm.max_tokens_per_row=100"]),
        Case::new("models.*.structured", &["models.m.structured=json_object"], |base, changed| {
            let asked = |seen: &Seen| seen.body()["response_format"]["type"].clone();
            asked(base) == "json_schema" && asked(changed) == "json_object"
        }),
        Case::new("models.*.structured", &["models.m.structured=text"], |base, changed| {
            base.body().get("response_format").is_some() && changed.body().get("response_format").is_none()
        }),
        Case::new("models.*.max_tokens_field", &["models.m.max_tokens_field=max_completion_tokens"], |base, changed| {
            let sent = |seen: &Seen| ["max_tokens", "max_completion_tokens"].map(|field| seen.body().get(field).is_some());
            sent(base) == [true, false] && sent(changed) == [false, true]
        }),
        Case::new("models.*.extra_body.*", &["models.m.extra_body={ seed = 5 }"], |base, changed| {
            base.body().get("seed").is_none() && changed.body()["seed"] == 5
        }),
        Case::new("providers.*.base_url", &["providers.p.base_url={url}/deeper"], |base, changed| {
            base.head().starts_with("post /v1/chat/completions") && changed.head().starts_with("post /v1/deeper/chat/completions")
        }),
        Case::new("providers.*.allow_http", &["providers.p.allow_http=true"], |base, changed| {
            base.code == 2 && base.stderr.contains("in clear") && base.asked.is_empty() && changed.code == 0 && !changed.asked.is_empty()
        })
        // Every address of this machine, which as a name is not this machine.
        .base(&["providers.p.base_url={open_url}"]),
        Case::new("providers.*.api_key_env", &["providers.p.api_key_env=SPY_KEY"], |base, changed| {
            !base.head().contains("authorization") && changed.head().contains("authorization: bearer a-key-for-the-spy")
        }),
        Case::new("providers.*.headers.*", &["providers.p.headers={ 'X-Title' = 'uitleg' }"], |base, changed| {
            !base.head().contains("x-title") && changed.head().contains("x-title: uitleg")
        }),
    ]
}

fn cases() -> Vec<Case> {
    [frame(), of_csv_files(), names(), asking(), pace(), repairs(), rejections_that_are_kept(), models()].into_iter().flatten().collect()
}

/// Writes a source of so many rows, with so much ballast in each that nothing can compress.
fn write_source(path: &Path, rows: i32, ballast: usize) {
    let text = |make: &dyn Fn(i32) -> String| Arc::new((0..rows).map(|row| Some(make(row))).collect::<StringArray>()) as ArrayRef;
    let mut state = 1_u64;
    let mut noise = |_: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 33) % 95) as u8)
    };
    let ballast: StringArray = (0..rows).map(|_| Some((0..ballast).map(&mut noise).collect::<String>())).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", text(&|row| format!("motie-{row}"))),
        ("code", text(&|row| format!("{}", 1_000 + row))),
        ("year", Arc::new((0..rows).map(|row| 2023 + row % 2).collect::<Int32Array>())),
        ("title", text(&|row| format!("Motie {row} over de wachttijden"))),
        ("ballast", Arc::new(ballast)),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// The rows of a Parquet file, as text.
fn read_rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
    let mut rows = Vec::new();
    for batch in reader.map(|batch| batch.expect("a batch")) {
        let options = FormatOptions::default();
        let schema = batch.schema();
        let columns: Vec<_> = (schema.fields().iter().zip(batch.columns()))
            .map(|(field, column)| (field.name(), ArrayFormatter::try_new(column, &options).expect("a type with a text form")))
            .collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| {
                columns.iter().map(|(name, column)| ((*name).clone(), column.value(row).to_string())).collect::<BTreeMap<_, _>>()
            }),
        );
    }
    rows
}

/// Runs the pipeline with these settings against a spy of its own.
fn run(settings: &[String], manner: &Manner) -> Seen {
    let spy = Spy::new(manner.clone());
    let project = Project::new();
    for (name, rows, ballast) in [("rows", 12, 1), ("few", 3, 1), ("many", 120, 1), ("heavy", 12, 200_000)] {
        let name = format!("{name}.parquet");
        if PIPELINE.contains(&name) || settings.iter().any(|set| set.contains(&name)) {
            write_source(&project.path(&name), rows, ballast);
        }
    }
    for name in ["semicolons", "nameless", "quoted", "escaped", "commented", "unknown", "plain"] {
        if settings.iter().any(|set| set.contains(&format!("{name}.csv"))) {
            write_csv(&project, name);
        }
    }
    project.write("pipeline.toml", &PIPELINE.replace("{url}", &spy.url));
    let settings: Vec<String> =
        settings.iter().map(|set| set.replace("{url}", &spy.url).replace("{open_url}", &spy.url.replace("127.0.0.1", "0.0.0.0"))).collect();
    let mut arguments = vec!["run", "pipeline.toml", "--progress", "none"];
    settings.iter().for_each(|set| arguments.extend(["--set", set]));
    let output = project.command(&arguments).env("SPY_KEY", "a-key-for-the-spy").output().expect("the binary runs");
    let files = project.files();
    let read = |is_one: &dyn Fn(&str) -> bool| {
        let found = files.iter().filter(|file| file.ends_with(".parquet") && is_one(file));
        found.flat_map(|file| read_rows(&project.path(file))).collect()
    };
    Seen {
        code: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        asked: spy.asked(),
        results: read(&|file| file.contains("/results/")),
        dead_letters: read(&|file| file.contains("/dead_letters/")),
        files,
    }
}

/// Runs that have been made: many cases start from the same one.
#[derive(Default)]
struct Runs(Mutex<HashMap<String, Arc<OnceLock<Seen>>>>);

impl Runs {
    fn get(&self, settings: &[String], manner: &Manner) -> Seen {
        let key = format!("{settings:?} {manner:?}");
        let run_once = Arc::clone(self.0.lock().expect("runs").entry(key).or_default());
        run_once.get_or_init(|| run(settings, manner)).clone()
    }
}

fn shown(seen: &Seen) -> String {
    let first = seen.asked.first().map(|asked| format!("\n  first request: {}\n  {}", asked.head.trim_end(), asked.body));
    let row = |rows: &[BTreeMap<String, String>]| format!("{} rows {:?}", rows.len(), rows.first());
    format!(
        "exit code {}, packs {:?}, peak {}, first wave {}, {:.2} s{}\n  results: {}\n  dead letters: {}\n  files: {:?}\n  {}",
        seen.code,
        seen.packs(),
        seen.peak(),
        seen.first_wave(),
        seen.spread(),
        first.unwrap_or_default(),
        row(&seen.results),
        row(&seen.dead_letters),
        seen.files,
        seen.stderr
    )
}

/// The leaves of a schema by their paths: `*` is any name, and what is chosen by `use` goes by that. What has no
/// settings of its own, as a step without parameters, is a leaf itself.
fn walk(path: &str, schema: &Value, leaves: &mut BTreeSet<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    assert!(schema.get("$ref").is_none() && schema.get("allOf").is_none(), "`{path}` is described in a way that is not walked: {schema}");
    let choices = ["oneOf", "anyOf"].iter().find_map(|word| schema[word].as_array());
    if let Some(choices) = choices {
        for choice in choices {
            match choice.pointer("/properties/use/const").and_then(Value::as_str) {
                Some(name) => walk(&below(name), choice, leaves),
                None => walk(path, choice, leaves),
            }
        }
        return;
    }
    if let Some(items) = schema.get("items").filter(|items| items["oneOf"].is_array()) {
        return walk(path, items, leaves);
    }
    let settings: Vec<(&String, &Value)> =
        schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| *name != "use").collect();
    for (name, setting) in &settings {
        walk(&below(name), setting, leaves);
    }
    match &schema["additionalProperties"] {
        Value::Object(_) => walk(&below("*"), &schema["additionalProperties"], leaves),
        Value::Bool(true) => {
            leaves.insert(below("*"));
        }
        _ if settings.is_empty() => {
            leaves.insert(path.to_owned());
        }
        _ => {}
    }
}

/// The settings that the schema has, as the binary prints it.
fn settings_of_the_schema() -> BTreeSet<String> {
    let schema = Project::new().run(&["schema"]).expect(0).json();
    let mut leaves = BTreeSet::new();
    walk("", &schema, &mut leaves);
    leaves
}

#[test]
fn every_setting_of_the_schema_has_a_case() {
    let schema = settings_of_the_schema();
    assert!(schema.len() > 60, "the walk finds too little: {schema:?}");
    let cases: BTreeSet<String> = cases().into_iter().map(|case| case.setting).collect();
    let excused: BTreeSet<String> = WITHOUT_EFFECT.iter().map(|(setting, _)| (*setting).to_owned()).collect();
    let shown: BTreeSet<String> = cases.union(&excused).cloned().collect();
    let without: Vec<_> = schema.difference(&shown).collect();
    assert!(without.is_empty(), "settings of which nothing shows that they take effect: {without:?}");
    let unknown: Vec<_> = shown.difference(&schema).collect();
    assert!(unknown.is_empty(), "cases of settings that the schema does not have: {unknown:?}");
    assert_eq!(cases.intersection(&excused).next(), None, "a setting that takes effect needs no excuse");
}

#[test]
fn a_new_setting_without_a_case_is_noticed() {
    let schema = json!({
        "properties": {
            "sink": {"properties": {"compression": {"type": "string"}}},
            "stages": {"items": {"oneOf": [{"properties": {"use": {"const": "dedupe"}}}, {"properties": {"use": {"const": "llm"}, "top_p": {}}}]}},
        },
    });
    let mut leaves = BTreeSet::new();
    walk("", &schema, &mut leaves);
    assert_eq!(leaves.into_iter().collect::<Vec<_>>(), ["sink.compression", "stages.dedupe", "stages.llm.top_p"]);
}

#[test]
fn every_setting_takes_effect() {
    let (cases, runs, next) = (cases(), Runs::default(), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let base = runs.get(&case.base, &case.manner);
            let changed = runs.get(&case.all_settings(), &case.manner);
            // What a case says may panic where a run has left nothing to look at.
            let is_seen = |changed| catch_unwind(AssertUnwindSafe(|| (case.is_seen)(&base, changed))).unwrap_or(false);
            // A case that sees a change where there is none shows nothing.
            if !is_seen(&changed) || is_seen(&base) {
                failures.lock().expect("failures").push(format!(
                    "`{}` has no effect\n before: {}\n after {:?}: {}",
                    case.setting,
                    shown(&base),
                    case.changed,
                    shown(&changed)
                ));
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n\n"));
}

#[test]
fn a_provider_that_reports_the_cost_is_believed() {
    for (usage, nano) in [(json!({"cost": 0.000_000_5}), 500), (json!({"cost": "4e-07"}), 400), (json!({}), 90_000)] {
        let usage: Map<String, Value> = usage.as_object().expect("an object").clone();
        let seen = run(&["models.m.price={ input = 0.5, output = 4 }".to_owned()], &Manner { usage, ..Manner::default() });
        assert_eq!(seen.nano(), 3 * nano, "{:?}", seen.results);
    }
}
