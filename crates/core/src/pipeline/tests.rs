use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use proptest::prelude::*;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::*;
use crate::{
    AskSpec, BatchStream, BuiltinModel, CallError, Declaration, NamedModel, Place, Predicate, Provider, ProviderKind, Request, Response,
    StageConfig, StageContext, StageKind,
};

/// Keeps the rows that meet a condition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// An SQL predicate.
    #[serde(rename = "where")]
    predicate: String,
}

/// Shows rows to a model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct PromptPack {
    #[serde(default)]
    system: Option<String>,
    /// Once a request.
    prompt: String,
    item: String,
    #[serde(default)]
    rows: Option<Adaptive>,
    answer: Answer,
}

/// A plain number, or bounds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read")]
enum Adaptive {
    Fixed(u32),
    Bounds(Bounds),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Bounds {
    start: Option<u32>,
    #[schemars(range(min = 1))]
    min: Option<u32>,
    max: u32,
}

impl JsonSchema for Adaptive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Adaptive".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bounds = generator.subschema_for::<Bounds>();
        schemars::json_schema!({"oneOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, bounds]})
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read")]
enum Answer {
    Text(String),
    Fields(BTreeMap<String, Field>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read")]
enum Field {
    Named(FieldName),
    Words {
        #[serde(rename = "enum")]
        words: Vec<String>,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
enum FieldName {
    #[serde(rename = "string")]
    String,
    #[serde(rename = "int")]
    Int,
    #[serde(rename = "list<string>")]
    Strings,
}

/// Calls a model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Llm {
    /// A name under `[models]`.
    model: String,
    #[serde(default)]
    fallback: Vec<String>,
    #[serde(default)]
    concurrency: Option<Adaptive>,
    #[serde(default)]
    timeout: Option<Period>,
    #[serde(default)]
    attempts: Option<u8>,
    #[serde(default)]
    max_tokens_per_row: Option<u32>,
    #[serde(default)]
    #[schemars(range(min = 0, max = 2))]
    temperature: Option<f64>,
    #[serde(default)]
    cache: bool,
}

/// Checks answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct PostProcess {
    column: String,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    on_reject: OnReject,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "use", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
enum Step {
    DropLinesInOtherScripts { scripts: Vec<String> },
    ReplaceWords { words: BTreeMap<String, String> },
    RemovePattern { pattern: String },
    NormalizeText,
    RejectWords { list: String, more_than: Option<u32> },
    RejectLanguage,
    RejectLength { min_chars: Option<u32>, max_chars: Option<u32> },
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnReject {
    /// Ask again.
    #[default]
    Retry,
    /// Give up.
    DeadLetter,
    /// Let it pass.
    Keep,
}

/// Counts the money.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Cost {
    budget_usd: Option<f64>,
}

macro_rules! stage {
    ($stage:ty, $name:literal, |$this:ident| $declares:expr) => {
        impl Stage for $stage {
            fn schema(&self, input: &SchemaRef, _: &Place) -> Result<SchemaRef, Vec<Mistake>> {
                Ok(input.clone())
            }

            fn run(self: Arc<Self>, input: BatchStream, _: StageContext) -> BatchStream {
                input
            }

            fn declares(&self) -> Vec<Declaration> {
                let $this = self;
                $declares
            }
        }

        impl StageConfig for $stage {
            const NAME: &'static str = $name;
            const EXAMPLE: &'static str = "";
        }
    };
}

stage!(Filter, "filter", |this| vec![Declaration::Filter(Predicate { setting: "where", sql: this.predicate.clone() })]);
stage!(PromptPack, "prompt-pack", |_this| Vec::new());
stage!(PostProcess, "post-process", |_this| Vec::new());
stage!(Cost, "cost", |_this| Vec::new());
stage!(Llm, "llm", |this| {
    let named = |setting: String, name: &String| NamedModel { setting, name: name.clone() };
    let fallback = this.fallback.iter().enumerate().map(|(index, model)| named(format!("fallback.{index}"), model));
    vec![Declaration::Ask(AskSpec {
        models: std::iter::once(named("model".to_owned(), &this.model)).chain(fallback).collect(),
        temperature: None,
        concurrency: crate::Bounds::default(),
        attempts: 1,
        max_tokens_per_row: 1,
        canary: 0.0,
        timeout: std::time::Duration::from_secs(1),
        pace: &[],
    })]
});

/// Answers nothing.
#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Provider for Nobody {
    async fn complete(&self, _: &Request) -> Result<Response, CallError> {
        unreachable!("nothing is asked here")
    }

    fn read(&self, _: &str) -> Result<Response, CallError> {
        unreachable!("nothing is read here")
    }
}

fn registry() -> Registry {
    Registry {
        stages: vec![
            StageKind::of::<Filter>(),
            StageKind::of::<PromptPack>(),
            StageKind::of::<Llm>(),
            StageKind::of::<PostProcess>(),
            StageKind::of::<Cost>(),
        ],
        providers: ["openai", "anthropic"].map(|name| ProviderKind::new(name, |_| Err(Error::failed("nobody is there")))).into(),
        models: vec![BuiltinModel { name: "builtin/extractive", provider: Arc::new(Nobody) }],
        ..Registry::default()
    }
}

fn env(name: &str) -> Option<String> {
    match name {
        "BUCKET" => Some("lake".to_owned()),
        "TOKEN" => Some("s3cr3t".to_owned()),
        _ => None,
    }
}

fn parse(text: &str, settings: &[&str]) -> Result<Pipeline, Diagnostics> {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Pipeline::parse("motions.toml", text, &settings, &env, &registry())
}

/// The mistakes, each as `line:column: message | hint`.
fn mistakes(text: &str, settings: &[&str]) -> Vec<String> {
    let Err(diagnostics) = parse(text, settings) else { return Vec::new() };
    let line = |diagnostic: &Diagnostic| {
        let place = match &diagnostic.origin {
            Origin::File(range) => {
                let (line, column) = diagnostics.line_column(range.start);
                format!("{line}:{column}")
            }
            Origin::Set(setting) => format!("--set {setting}"),
            Origin::Whole => "file".to_owned(),
        };
        let hint = diagnostic.hint.as_ref().map_or_else(String::new, |hint| format!(" | {hint}"));
        format!("{place}: {}{hint}", diagnostic.message)
    };
    diagnostics.list.iter().map(line).collect()
}

/// The file of section 2 of the contract.
const CONTRACT: &str = include_str!("contract.toml");

/// The shortest useful file.
const SHORT: &str = r#"
[source]
path = "in.parquet"
key = "id"

[[stages]]
use = "prompt-pack"
prompt = "Explain."
item = "{{ title }}"
answer = "summary"

[[stages]]
use = "llm"
model = "small"

[sink]
path = "out"

[models.small]
provider = "local"
model = "m"

[providers.local]
kind = "openai"
base_url = "http://127.0.0.1/v1"
"#;

/// Cases: what stands in the short file, what is put there, and the mistakes that makes.
fn check(cases: &[(&str, &str, &[&str])]) {
    for (from, to, expected) in cases {
        assert!(SHORT.contains(from), "`{from}` is not in the file");
        assert_eq!(mistakes(&SHORT.replacen(from, to, 1), &[]), *expected, "{to}");
    }
}

const MODEL: &str = "model = \"small\"\n";

/// The one mistake that a line more in the table of `llm` makes.
fn check_llm(line: &str, expected: &str) {
    let text = SHORT.replacen(MODEL, &format!("{MODEL}{line}\n"), 1);
    assert_eq!(mistakes(&text, &[]), [expected], "{line}");
}

#[test]
fn the_short_file_and_the_contracts_file_are_right() {
    let short = parse(SHORT, &[]).expect("is right");
    assert_eq!(short.name, "motions");
    assert_eq!(short.max_dead_letters, MaxDeadLetters::Percent(50.0));
    assert_eq!(short.state.flush.to_string(), "2s");
    assert_eq!(short.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["prompt-pack", "llm"]);
    assert_eq!(short.stages[1].config, json!({"model": "small"}));
    assert_eq!(short.sink.target_file_mb, 128);

    // The file of the contract leaves the table of its second model to the reader.
    assert_eq!(
        mistakes(CONTRACT, &[]),
        ["27:13: unknown model `gemma` in stage `llm` | add `[models.gemma]`, or write `mistral-small` or `builtin/extractive`"]
    );
    let whole = format!("{CONTRACT}\n[models.gemma]\nprovider = \"openrouter\"\nmodel = \"google/gemma\"\n");
    let contract = parse(&whole, &[]).expect("is right");
    assert_eq!(contract.max_dead_letters, MaxDeadLetters::Rows(500));
    assert_eq!(contract.providers["openrouter"].tpm, Some(2_000_000));
    assert_eq!(contract.models["mistral-small"].price.as_ref().expect("has a price").cached_input, Some(0.015));
    assert_eq!(contract.stages.len(), 5);
    assert_eq!(contract.stages[3].config["steps"][3]["pattern"], r"\(\d+-\d+\)");
}

#[test]
fn toml_is_read_in_all_its_forms() {
    let windows = format!("\u{feff}{}", SHORT.replace('\n', "\r\n"));
    assert_eq!(mistakes(&windows, &[]), [""; 0]);
    let header = SHORT.replace("[sink]", "[stages.concurrency]\nstart = 1\nmax = 0x10\n[sink]");
    assert_eq!(parse(&header, &[]).expect("is right").stages[1].config["concurrency"]["max"], 16);
    let inline = r#"
        source = { path = "a", key = "b" }
        stages = [{ use = "filter", where = """x
            > 1""" }]
        sink.path = "out"
    "#;
    assert_eq!(mistakes(inline, &[]), [""; 0]);
}

#[test]
fn unknown_keys_name_the_nearest_or_all() {
    check(&[
        (
            MODEL,
            "model = \"small\"\nmax-tokns = 300\n",
            &["15:1: unknown key `max-tokns` in stage `llm` | did you mean `max_tokens_per_row`?"],
        ),
        (
            MODEL,
            "model = \"small\"\nzzz = 300\n",
            &["15:1: unknown key `zzz` in stage `llm` | known keys: `name`, `fallback`, `concurrency`, `timeout`, \
                `attempts`, `max_tokens_per_row`, `temperature` and `cache`"],
        ),
        // The key that was meant is not missing as well.
        (MODEL, "modle = \"small\"\n", &["14:1: unknown key `modle` in stage `llm` | did you mean `model`?"]),
        (
            MODEL,
            "model = \"small\"\nconcurrency = { mx = 4, min = 0 }\n",
            &[
                "15:17: unknown key `mx` in `concurrency` of stage `llm` | did you mean `max`?",
                "15:31: `min` must be at least 1, found 0 | write `min = 1`",
            ],
        ),
        ("[source]\n", "sorce = 1\n[source]\n", &["2:1: unknown key `sorce` | did you mean `source`?"]),
        (
            "path = \"out\"",
            "path = \"out\"\nmax_dead_letters = 3",
            &["18:1: unknown key `max_dead_letters` in `sink` | `max_dead_letters` belongs at the top of the file, \
                before the first `[table]`"],
        ),
        (
            "provider = \"local\"",
            "provider = \"local\"\nprice = { input = 1, output = 1, \"z\\nz\" = 2 }",
            &[
                "21:34: unknown key `z\\nz` in `price` of model `small` | known keys: `cached_input`, `cache_write`, `request`, `above` and `tiers`",
            ],
        ),
        (
            "kind = \"openai\"",
            "kind = \"openai\"\nbase-ur = 1",
            &["25:1: unknown key `base-ur` in provider `local` | did you mean `base_url`?"],
        ),
    ]);
}

#[test]
fn missing_keys_stand_at_their_table() {
    check(&[
        (MODEL, "", &["12:1: missing key `model` in stage `llm` | add `model = \"…\"`"]),
        (
            MODEL,
            "model = \"small\"\nconcurrency = { start = 1 }\n",
            &["15:15: missing key `max` in `concurrency` of stage `llm` | add `max = 1`"],
        ),
        (MODEL, "model = \"small\"\nconcurrency.min = 1\n", &["15:1: missing key `max` in `concurrency` of stage `llm` | add `max = 1`"]),
        (
            "use = \"llm\"\n",
            "",
            &["12:1: missing key `use` in stage 2 | add `use = \"…\"`: one of `filter`, `prompt-pack`, `llm`, \
                `post-process` or `cost`"],
        ),
        ("key = \"id\"\n", "", &["2:1: missing key `key` in `source` | add `key = \"id\"`"]),
        (
            "provider = \"local\"\nmodel = \"m\"\n",
            "",
            &[
                "19:1: missing key `provider` in model `small` | add `provider = \"…\"`",
                "19:1: missing key `model` in model `small` | add `model = \"…\"`",
            ],
        ),
        ("[sink]\npath = \"out\"\n", "", &["file: missing table `[sink]` | add `[sink]` with `path`"]),
    ]);
    assert_eq!(
        mistakes("", &[]),
        [
            "file: missing table `[source]` | add `[source]` with `path` and `key`",
            "file: the pipeline has no stages | add `[[stages]]` with `use = \"…\"`",
            "file: missing table `[sink]` | add `[sink]` with `path`",
        ]
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_how_to_write_it() {
    check_llm("attempts = \"20\"", "15:12: wrong type for `attempts`: expected a whole number, found a string | write `attempts = 20`");
    check_llm("attempts = 1.5", "15:12: wrong type for `attempts`: expected a whole number, found the fraction 1.5");
    check_llm("temperature = \"hot\"", "15:15: wrong type for `temperature`: expected a number, found a string");
    check_llm("cache = \"true\"", "15:9: wrong type for `cache`: expected `true` or `false`, found a string | write `cache = true`");
    check_llm("fallback = \"small\"", "15:12: wrong type for `fallback`: expected a list, found a string | write `fallback = [\"small\"]`");
    check_llm("fallback = [true]", "15:13: wrong type for `fallback.0`: expected a string, found `true` | write `\"true\"`");
    check_llm("timeout = 120", "15:11: wrong type for `timeout`: expected a string, found a whole number | write `timeout = \"120s\"`");
    check_llm(
        "concurrency = \"4\"",
        "15:15: wrong type for `concurrency`: expected a whole number or a table, found a string | write `concurrency = 4`",
    );
    check(&[
        (
            MODEL,
            "model = 2024-01-01\n",
            &["14:9: wrong type for `model`: expected a string, found a date | write `model = \"2024-01-01\"`"],
        ),
        (
            "use = \"llm\"",
            "use = 3",
            &["13:7: wrong type for `use`: expected a string, found a whole number | one of `filter`, `prompt-pack`, \
                `llm`, `post-process` or `cost`"],
        ),
        ("[source]", "[[source]]", &["2:1: wrong type for `source`: expected a table, found a list | write `[source]`"]),
        (
            "kind = \"openai\"",
            "kind = \"openai\"\nheaders = { A = 1 }",
            &["25:17: wrong type for `A`: expected a string, found a whole number | write `A = \"1\"`"],
        ),
    ]);
    let rest = |text: &str, expected: &str| {
        let text = format!("source = {{ path = \"a\", key = \"b\" }}\nsink = {{ path = \"c\" }}\n{text}");
        assert_eq!(mistakes(&text, &[]), [expected], "{text}");
    };
    rest("[stages]", "3:1: wrong type for `stages`: expected a list of tables, found a table | write `[[stages]]`");
    rest("stages = [1]", "3:11: wrong type for `stages.0`: expected a table, found a whole number");
    rest("stages = []", "3:10: the pipeline has no stages | add `[[stages]]` with `use = \"…\"`");
    rest("stages = [{ use = \"cost\" }]\n[models]\nx = 3", "5:5: wrong type for `x`: expected a table, found a whole number");
}

#[test]
fn values_out_of_bounds_say_the_bounds() {
    check_llm("attempts = 300", "15:12: `attempts` must be from 0 to 255, found 300 | write `attempts = 255`");
    check_llm("temperature = 2.5", "15:15: `temperature` must be from 0 to 2, found 2.5 | write `temperature = 2`");
    check_llm("temperature = -inf", "15:15: `-inf` is not a finite number");
    check_llm("concurrency = 0", "15:15: `concurrency` must be from 1 to 1000, found 0 | write `concurrency = 1`");
    check_llm("max_tokens_per_row = -1", "15:22: `max_tokens_per_row` must be at least 0, found -1 | write `max_tokens_per_row = 0`");
    check_llm(
        "max_tokens_per_row = 5_000_000_000",
        "15:22: `max_tokens_per_row` must be at most 4294967295, found 5000000000 | write `max_tokens_per_row = 4294967295`",
    );
    check_llm("attempts = 99999999999999999999", "15:12: `99999999999999999999` is too large a number");
    check_llm("timeout = \"2 min\"", "15:11: `2 min` is not a valid `timeout` | for example `500ms`, `30s`, `2m` or `1h`");
    // What only the type itself knows is found when it is read, and has its place as well.
    check_llm("timeout = \"0s\"", "15:11: `0s` is not a length of time such as `500ms`, `30s`, `2m` or `1h`");
    check(&[
        (
            "path = \"out\"",
            "path = \"\"\ntarget_file_mb = 9000\nformat = \"csv\"",
            &[
                "17:8: `path` is empty | write `path = \"out/results\"`",
                "18:18: `target_file_mb` must be from 1 to 4096, found 9000 | write `target_file_mb = 4096`",
                "19:10: unknown value `csv` for `format` | one of `parquet` or `delta`",
            ],
        ),
        (
            "path = \"out\"",
            "path = \"out\"\ncommit_every = \"0s\"",
            &["18:16: `0s` is not a length of time such as `500ms`, `30s`, `2m` or `1h`"],
        ),
        (
            "base_url = \"http://127.0.0.1/v1\"",
            "base_url = \"localhost\"\nrpm = 0",
            &[
                "25:12: `localhost` is not a valid `base_url` | for example `https://openrouter.ai/api/v1`",
                "26:7: `rpm` must be at least 1, found 0 | write `rpm = 1`",
            ],
        ),
        // What a variable holds, and what stands here by mistake, may be the key itself.
        (
            "base_url = \"http://127.0.0.1/v1\"",
            "base_url = \"${TOKEN}\"",
            &["25:12: `${TOKEN}` is not a valid `base_url` | for example `https://openrouter.ai/api/v1`"],
        ),
        (
            "kind = \"openai\"",
            "kind = \"openai\"\napi_key_env = \"sk-or-123\"",
            &["25:15: the value of `api_key_env` is not one that it can have | for example `OPENROUTER_API_KEY`"],
        ),
    ]);
}

#[test]
fn alternatives_are_told_apart_by_type_and_by_their_word() {
    let steps = r#"[[stages]]
use = "post-process"
column = "summary"
steps = [
  { use = "reject-lenght" },
  { use = "reject-length", min_chrs = 1 },
  { scripts = [] },
  { use = "replace-words", words = { a = 1 } },
  7,
  { use = "remove-pattern" },
  { use = "reject-words", list = "x", more_than = -1 },
]
on_reject = "retri"
[sink]"#;
    check(&[
        (
            "[sink]",
            steps,
            &[
                "20:11: unknown step `reject-lenght` | did you mean `reject-length`?",
                "21:28: unknown key `min_chrs` in step `reject-length` of stage `post-process` | did you mean `min_chars`?",
                "22:3: missing key `use` in `steps.2` of stage `post-process` | add `use = \"…\"`: one of \
                    `drop-lines-in-other-scripts`, `replace-words`, `remove-pattern`, `normalize-text`, `reject-words`, \
                    `reject-language` or `reject-length`",
                "23:42: wrong type for `a`: expected a string, found a whole number | write `a = \"1\"`",
                "24:3: wrong type for `steps.4`: expected a table, found a whole number",
                "25:3: missing key `pattern` in step `remove-pattern` of stage `post-process` | add `pattern = \"…\"`",
                "26:51: `more_than` must be at least 0, found -1 | write `more_than = 0`",
                "28:13: unknown value `retri` for `on_reject` | did you mean `retry`?",
            ],
        ),
        (
            "answer = \"summary\"",
            "answer = { a = \"strin\", b = { enum = \"x\" }, c = { enm = [] }, d = 4 }",
            &[
                "10:16: unknown value `strin` for `a` | did you mean `string`?",
                "10:38: wrong type for `enum`: expected a list, found a string | write `enum = [\"x\"]`",
                "10:51: unknown key `enm` in `answer.c` of stage `prompt-pack` | did you mean `enum`?",
                "10:67: wrong type for `d`: expected a string or a table, found a whole number",
            ],
        ),
        ("answer = \"summary\"", "answer = { a = \"int\", b = { enum = [\"x\"] }, c = \"list<string>\" }", &[]),
    ]);
}

#[test]
fn references_lead_somewhere() {
    check(&[
        (MODEL, "model = \"smal\"\n", &["14:9: unknown model `smal` in stage `llm` | did you mean `small`?"]),
        (
            MODEL,
            "model = \"builtin/extractive\"\nfallback = [\"small\", \"x.y\"]\n",
            &["15:22: unknown model `x.y` in stage `llm` | add `[models.\"x.y\"]`, or write `small` or \
                `builtin/extractive`"],
        ),
        ("provider = \"local\"", "provider = \"locla\"", &["20:12: unknown provider `locla` in model `small` | did you mean `local`?"]),
        ("provider = \"local\"", "provider = \"zz\"", &["20:12: unknown provider `zz` in model `small` | add `[providers.zz]`"]),
        ("kind = \"openai\"", "kind = \"opnai\"", &["24:8: unknown provider kind `opnai` | did you mean `openai`?"]),
        ("use = \"llm\"", "use = \"lllm\"", &["13:7: unknown stage `lllm` | did you mean `llm`?"]),
        (
            "use = \"llm\"",
            "use = \"qqq\"",
            &["13:7: unknown stage `qqq` | one of `filter`, `prompt-pack`, `llm`, `post-process` or `cost`"],
        ),
        (
            "[sink]",
            "[[stages]]\nuse = \"llm\"\nmodel = \"smal\"\n[sink]",
            &[
                "17:7: two stages are named `llm` | add `name = \"llm-2\"`",
                "18:9: unknown model `smal` in stage `llm` | did you mean `small`?",
            ],
        ),
        (
            MODEL,
            "model = \"small\"\nname = \"prompt-pack\"\n",
            &["15:8: two stages are named `prompt-pack` | write `name = \"prompt-pack-2\"`"],
        ),
        (
            MODEL,
            "model = \"small\"\nname = \"../up\"\n",
            &["15:8: `../up` cannot be a name: only letters, digits, `-`, `_` and `.` can | write `name = \"up\"`"],
        ),
    ]);
    let named = Pipeline::parse("p/_a--b.v2.toml", SHORT, &[], &env, &registry());
    assert_eq!(named.expect("is right").name, "_a--b.v2");
    let named = Pipeline::parse("p/my file.toml", SHORT, &[], &env, &registry());
    assert_eq!(
        named.expect_err("has no name").to_string(),
        "p/my file.toml: `my file` cannot be a name: only letters, digits, `-`, `_` and `.` can \
         (hint: add `name = \"my-file\"`)"
    );
}

#[test]
fn syntax_mistakes_are_reported_together() {
    check(&[
        (
            "\"in.parquet\"\nkey = \"id\"",
            "in.parquet # data\nkey = id",
            &[
                "3:8: string values must be quoted | write `path = \"in.parquet\"`",
                "4:7: string values must be quoted | write `key = \"id\"`",
            ],
        ),
        ("\"in.parquet\"", "\"in.parquet", &["3:19: invalid basic string, expected `\"`"]),
        ("key = \"id\"", "path = \"b\"", &["4:1: duplicate key `path`"]),
        ("[sink]", "[sink", &["16:6: unclosed table, expected `]`"]),
    ]);
}

#[test]
fn several_mistakes_come_in_the_order_of_the_file_each_once() {
    let text = r#"
max_dead_letters = "many"
[source]
path = "${NOPE}/in"
[[stages]]
use = "promptpack"
prompt = 1
[[stages]]
use = "llm"
model = "smal"
fallback = 3
[sink]
path = "out"
colums = ["a"]
[models.small]
provider = "remote"
context = 0
"#;
    assert_eq!(
        mistakes(text, &["sink.format=csv", "stages.lm.model=x"]),
        [
            "2:20: `many` is not a valid `max_dead_letters` | for example `5%`",
            "3:1: missing key `key` in `source` | add `key = \"id\"`",
            "4:9: the environment variable `NOPE` is not set | `export NOPE=…`, or write `${NOPE:-default}`",
            "6:7: unknown stage `promptpack` | did you mean `prompt-pack`?",
            "11:12: wrong type for `fallback`: expected a list, found a whole number",
            "14:1: unknown key `colums` in `sink` | did you mean `columns`?",
            "15:1: missing key `model` in model `small` | add `model = \"…\"`",
            "16:12: unknown provider `remote` in model `small` | add `[providers.remote]`",
            "17:11: `context` must be at least 1, found 0 | write `context = 1`",
            "--set stages.lm.model=x: no stage is named `lm` | did you mean `stages.llm`?",
            "--set sink.format=csv: unknown value `csv` for `format` | one of `parquet` or `delta`",
        ]
    );
}

#[test]
fn settings_replace_and_add_values() {
    let set = |settings: &[&str]| parse(SHORT, settings).expect("is right");
    assert_eq!(set(&["source.path=s3://b/in?x=1"]).source.path.all(), ["s3://b/in?x=1"]);
    assert_eq!(set(&["source.path=s3://${BUCKET}/in"]).source.path.all(), ["s3://lake/in"]);
    assert_eq!(set(&["name=a", "name=b"]).name, "b");
    assert_eq!(set(&["name=\"2024\""]).name, "2024");
    assert_eq!(set(&["state.flush=5s"]).state.flush.to_string(), "5s");
    assert_eq!(set(&["stages.prompt-pack.system="]).stages[0].config["system"], "");
    assert_eq!(set(&["stages.prompt-pack.system=# One\nTwo"]).stages[0].config["system"], "# One\nTwo");
    assert_eq!(set(&["stages.llm.concurrency.max=64"]).stages[1].config["concurrency"], json!({"max": 64}));
    assert_eq!(set(&["stages.1.temperature=0.5"]).stages[1].config["temperature"], 0.5);
    assert_eq!(set(&["stages.llm.name=v1.2", "stages.v1.2.attempts=3"]).stages[1].config["attempts"], 3);
    let both = set(&["stages.llm.fallback.0=small", "stages.llm.fallback.1=builtin/extractive"]);
    assert_eq!(both.stages[1].config["fallback"], json!(["small", "builtin/extractive"]));
    assert_eq!(set(&["sink.columns=[\"a\", \"b\"]"]).sink.columns, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(set(&["models.small.extra_body.a.b=true"]).models["small"].extra_body["a"], json!({"b": true}));
    let dots = set(&["models.\"gpt-4.1\".provider=local", "models.gpt-4.1.model=x"]);
    assert_eq!(dots.models["gpt-4.1"].model, "x");
    assert_eq!(set(&["models.small={ provider = \"local\", model = \"n\" }"]).models["small"].model, "n");
    let text = SHORT.replacen(MODEL, "model = \"small\"\nfallback = []\n", 1);
    assert_eq!(
        mistakes(&text, &["stages.llm.fallback.1=small"]),
        ["--set stages.llm.fallback.1=small: a list has no entry `1` | entries go by number, from 0; `0` appends one"]
    );
    // A value that is replaced needs no variable any more.
    let replaced = SHORT.replace("in.parquet", "${NOPE}");
    assert_eq!(parse(&replaced, &["source.path=x"]).expect("is right").source.path.all(), ["x"]);
}

#[test]
fn settings_that_lead_nowhere_are_mistakes() {
    let set = |setting: &str, expected: &str| {
        assert_eq!(mistakes(SHORT, &[setting]), [format!("--set {setting}: {expected}")]);
    };
    set("name", "expected a key and a value | write `--set name=VALUE`");
    set("", "expected a key and a value | write `--set KEY=VALUE`");
    set("=x", "expected a key and a value | write `--set KEY=VALUE`");
    set("a..b=1", "`a..b` is not the path of a setting | write it as `--set source.path=VALUE`");
    set("sorce.path=1", "unknown key `sorce` | did you mean `source`?");
    set("stages.llm.modle=x", "unknown key `modle` in stage `llm` | did you mean `model`?");
    set("stages.lm.model=x", "no stage is named `lm` | did you mean `stages.llm`?");
    set("stages.9.model=x", "no stage is named `9` | the stages are `prompt-pack` and `llm`");
    set("stages.llm.model=smal", "unknown model `smal` in stage `llm` | did you mean `small`?");
    set("stages.llm.model.x=1", "`stages.llm.model` is not a table, so it has no `x` | write `--set 'stages.llm.model={ x = … }'`");
    set("name=2024", "wrong type for `name`: expected a string, found a whole number | write `--set 'name=\"2024\"'`");
    set(
        "stages.llm.timeout=5",
        "wrong type for `timeout`: expected a string, found a whole number | write `--set 'stages.llm.timeout=\"5s\"'`",
    );
    set("models.new.model=m", "missing key `provider` in model `new` | add `provider = \"…\"`");
    set(
        "stages.prompt-pack.answer.x=int",
        "`stages.prompt-pack.answer` is not a table, so it has no `x` | write `--set 'stages.prompt-pack.answer={ x = … }'`",
    );
    set("sink.columns.1=a", "wrong type for `columns`: expected a list, found a table");
}

#[test]
fn variables_come_from_the_environment() {
    let path = |path: &str| parse(&SHORT.replace("in.parquet", path), &[]).expect("is right").source.path;
    assert_eq!(path("s3://${BUCKET}/${FOLDER:-in}/$${x}").all(), ["s3://lake/in/${x}"]);
    check(&[(
        "\"in.parquet\"",
        "\"\\u00e9${BUCKT}/${BUCKET}${\"",
        &[
            "3:15: the environment variable `BUCKT` is not set | `export BUCKT=…`, or write `${BUCKT:-default}`",
            "3:33: `${` is not a variable | write `${NAME}` or `${NAME:-default}`, or `$${` for the characters themselves",
        ],
    )]);
}

#[test]
fn mistakes_found_later_get_their_place() {
    let text = SHORT
        .replace("{{ title }}", r"é\n{{ bdy }}")
        .replace("prompt = \"Explain.\"", "prompt = '''\nExplain {{ x }}.'''")
        .replace(MODEL, "model = \"small\"\nconcurrency = { start = 1, max = 4 }\n");
    let pipeline = parse(&text, &["sink.format=parquet"]).expect("is right");
    let place = |path: &[&str], mistake: Mistake| match pipeline.diagnostic(path, mistake).origin {
        Origin::File(range) => text[range].to_owned(),
        origin => format!("{origin:?}"),
    };
    let bdy = "é\n{{ bdy }}".find("bdy").expect("is there");
    assert_eq!(place(&["stages", "0"], Mistake::new("item", "").range(Some(bdy..bdy + 3))), "bdy");
    assert_eq!(place(&["stages", "0"], Mistake::new("prompt", "").range(Some(11..12))), "x");
    assert_eq!(place(&["stages", "0"], Mistake::new("item", "").range(Some(5..99))), r#""é\n{{ bdy }}""#);
    assert_eq!(place(&["stages", "1"], Mistake::new("concurrency.max", "")), "4");
    assert_eq!(place(&["stages", "1"], Mistake::new("concurrency.min", "")), "{ start = 1, max = 4 }");
    assert_eq!(place(&["stages", "1", "timeout"], Mistake::new("", "")), "[[stages]]");
    assert_eq!(place(&["stages", "7"], Mistake::new("x", "")), "[[stages]]");
    assert_eq!(place(&["sink"], Mistake::new("format", "")), "Set(\"sink.format=parquet\")");
    assert_eq!(place(&["state"], Mistake::new("path", "")), "Whole");
    assert_eq!(place(&[], Mistake::new("", "")), "Whole");

    let later = pipeline.diagnostic(&["sink", "path"], Mistake::new("", "later"));
    let earlier = pipeline.diagnostic(&["source", "key"], Mistake::new("", "earlier"));
    let sorted = pipeline.diagnostics(vec![later, earlier]);
    assert_eq!(sorted.to_string(), "motions.toml:4:7: earlier\nmotions.toml:19:8: later");
}

#[test]
fn labels_say_what_belongs_under_the_caret() {
    let label = |from: &str, to: &str| {
        let diagnostics = parse(&SHORT.replacen(from, to, 1), &[]).expect_err(to);
        diagnostics.list[0].label.clone().unwrap_or_default()
    };
    assert_eq!(label("[sink]", "[state]\npaht = \"x\"\n\n[sink]"), "expected `path`, `flush` or `access`");
    assert_eq!(label("key = \"id\"\n", "kye = \"id\"\n"), "", "too many to be listed");
    assert_eq!(label(MODEL, ""), "a name under `[models]`");
    assert_eq!(label("key = \"id\"\n", ""), "the column that identifies a row: unique, not null, of any type that casts to text");
}

#[test]
fn what_is_recorded_has_the_defaults_and_no_credentials() {
    let provider = r#"base_url = "http://me:pass@127.0.0.1/v1"
headers = { X-Title = "t", X-Api-Key = "k3y", Cookie = "a=${TOKEN}" }"#;
    let text = SHORT
        .replace("base_url = \"http://127.0.0.1/v1\"", provider)
        .replace("model = \"m\"", "model = \"m\"\nextra_body = { user = \"${TOKEN}\" }");
    let pipeline = parse(&text, &["source.path=s3://${BUCKET}/in"]).expect("is right");
    assert_eq!(pipeline.providers["local"].headers["Cookie"], "a=s3cr3t");
    assert_eq!(pipeline.models["small"].extra_body["user"], "s3cr3t");
    let (pack, llm) = (&pipeline.config()["stages"][0], &pipeline.config()["stages"][1]);
    assert_eq!(
        *pipeline.config(),
        json!({
            "name": "motions",
            "max_dead_letters": "50%",
            "state": {"flush": "2s", "access": "owner"},
            "source": {"path": "s3://lake/in", "key": "id"},
            "stages": [pack, llm],
            "sink": {"path": "out", "partition_by": [], "prefix": "", "commit_every": "30s", "format": "parquet", "target_file_mb": 128},
            "models": {"small": {
                "provider": "local", "model": "m", "structured": "json_schema", "extra_body": {"user": "${TOKEN}"},
            }},
            "providers": {"local": {
                "kind": "openai",
                "base_url": "http://***@127.0.0.1/v1",
                "allow_http": false,
                "headers": {"X-Title": "t", "X-Api-Key": "***", "Cookie": "a=${TOKEN}"},
                "shared": false,
            }},
        })
    );
    assert_eq!(*llm, json!({"use": "llm", "name": "llm", "model": "small"}));
    for secret in ["s3cr3t", "k3y", "me:pass"] {
        assert!(!format!("{pipeline:?}").contains(secret), "{secret}");
    }
}

#[test]
fn the_schema_is_of_the_whole_file() {
    let schema = json_schema(&registry());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "promptmill pipeline");
    assert_eq!(schema["required"], json!(["source", "stages", "sink"]));
    assert_eq!(schema["properties"]["source"]["description"], "Where the rows come from.");
    let provider = &schema["properties"]["providers"]["additionalProperties"];
    assert_eq!(provider["properties"]["kind"]["enum"], json!(["openai", "anthropic"]));
    let stages = schema["properties"]["stages"]["items"]["oneOf"].as_array().expect("alternatives");
    let uses: Vec<&Value> = stages.iter().map(|stage| &stage["properties"]["use"]["const"]).collect();
    assert_eq!(uses, ["filter", "prompt-pack", "llm", "post-process", "cost"]);
    assert_eq!(stages[2]["title"], "llm");
    assert_eq!(stages[2]["description"], "Calls a model.");
    assert_eq!(stages[2]["required"], json!(["use", "model"]));
    // The one that is the name of a setting.
    let text = schema.to_string().replace("\"null\":{", "");
    assert!(!text.contains("$ref") && !text.contains("\"null\"") && !text.contains(":null"), "{text}");
    let tables = ["state", "source", "sink"].map(|name| &schema["properties"][name]);
    for table in tables.into_iter().chain(stages).chain([&schema, provider]) {
        assert_eq!(table["additionalProperties"], false);
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = std::env::temp_dir().join(format!("promptmill-pipeline-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("reviews.toml");
    fs::write(&file, SHORT).expect("a file");
    fs::write(folder.join("latin1.toml"), b"name = \"a\"\nx = \"\xe9\"").expect("a file");
    assert_eq!(Pipeline::read(&file, &[], &registry()).expect("is right").name, "reviews");

    let check = |path: &Path, expected: &str| {
        let error = Pipeline::read(path, &[], &registry()).expect_err(expected);
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert_eq!(error.to_string().replace(&folder.display().to_string(), "DIR"), expected);
    };
    check(&folder.join("review.toml"), "DIR/review.toml: there is no such pipeline file (hint: did you mean `DIR/reviews.toml`?)");
    check(&folder, "DIR: a folder, where a pipeline file was expected (hint: did you mean `DIR/latin1.toml`?)");
    check(&folder.join("latin1.toml"), "DIR/latin1.toml: line 2 is not UTF-8 text (hint: iconv -f latin1 -t utf-8 DIR/latin1.toml)");
    fs::remove_dir_all(&folder).expect("is removed");
}

/// Whatever is read, every mistake has a place that can be drawn, and is reported once.
fn is_well_reported(text: &str, settings: &[&str]) {
    let Err(diagnostics) = parse(text, settings) else { return };
    assert!(!diagnostics.list.is_empty());
    for (index, diagnostic) in diagnostics.list.iter().enumerate() {
        if let Origin::File(range) = &diagnostic.origin {
            assert!(text.get(range.clone()).is_some(), "{diagnostic:?}");
        }
        assert!(!diagnostic.message.is_empty() && !diagnostic.message.ends_with('.'), "{diagnostic:?}");
        assert!(!diagnostics.list[..index].contains(diagnostic), "{diagnostic:?}");
    }
}

const PIECES: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "#",
    "\\",
    "${",
    "}",
    "0",
    "-1",
    "1e400",
    "99999999999999999999",
    "nan",
    "2024-01-01",
    "true",
    "[]",
    "{}",
    "é",
    "\u{2028}",
    "\r",
    "\t",
    "use",
    "name",
    "stages",
    "[[stages]]\n",
    "[models.x]\n",
    "a.b.c = 1\n",
    "stages.0 = 1\n",
    "\u{0}",
];

const KEYS: &[&str] = &[
    "stages",
    "stages.llm",
    "stages.llm.concurrency",
    "stages.3.steps.0",
    "models.mistral-small",
    "name",
    "a.b",
    "sink",
    "stages.post-process.steps.0.use",
    "providers.openrouter.headers.X-Title",
    "stages.0.use",
    "models",
    "\"a",
    "..",
];

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}", setting in "\\PC{0,40}") {
        is_well_reported(&text, &[]);
        is_well_reported(SHORT, &[&setting]);
    }

    #[test]
    fn any_change_of_a_right_file_is_read_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize, 0..PIECES.len()), 1..6),
        key in prop::sample::select(KEYS),
        value in prop::sample::select(PIECES),
    ) {
        let mut text = CONTRACT.to_owned();
        for (place, length, piece) in changes {
            let boundary = |text: &str, from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at));
            let start = boundary(&text, place.index(text.len())).unwrap_or(text.len());
            let end = boundary(&text, start + length).unwrap_or(text.len());
            text.replace_range(start..end, PIECES[piece]);
        }
        let setting = format!("{key}={value}");
        is_well_reported(&text, &[]);
        is_well_reported(&text, &[&setting]);
        is_well_reported(CONTRACT, &[&setting]);
    }
}

#[test]
fn dead_letters_are_bounded_by_number_or_share() {
    let most = |value: &str| parse(SHORT, &[&format!("max_dead_letters={value}")]).map(|pipeline| pipeline.max_dead_letters);
    assert_eq!(most("0").expect("is right"), MaxDeadLetters::Rows(0));
    assert_eq!(most("2.5%").expect("is right").to_string(), "2.5%");
    for wrong in ["101%", "-1", "5 %", "%", "half"] {
        assert!(most(wrong).is_err(), "{wrong}");
    }
    let allows = |value: &str, dead: u64, settled: u64| most(value).expect("is right").allows(dead, settled);
    assert!(allows("3", 3, 3) && !allows("3", 4, 400));
    assert!(allows("5%", 5, 100) && !allows("5%", 6, 100) && allows("0%", 0, 0) && !allows("0%", 1, 1_000));
    assert!(allows("100%", 7, 7), "all of them may be");
}
