//! The tables of a pipeline file, apart from the stages'. The doc comment of a field is its reference text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// Where the rows come from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// A file, a folder, a glob (`*`, `**`, `?`, `[ab]`, `{a,b}`, `\\` before a letter that means itself), an `s3://` URL or a
    /// list of them. Hive partitions (`year=2024/`) become columns. The folder of a Delta table is read through its log.
    #[schemars(example = &"data/in.parquet")]
    pub path: Paths,
    /// The column that identifies a row: unique, not null, of any type that casts to text. Or a list of columns that do so
    /// together: the key of a list is known as `["a","b"]` wherever one text stands for it.
    pub key: Key,
    /// What lies there; left out: a Delta table where there is the log of one, else Parquet files, else CSV, JSON or Arrow files
    /// by their names. `parquet` reads the files of a Delta table past its log. CSV and JSON files may end in `.gz` or `.zst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SourceFormat>,
    /// The version of a Delta table; left out: the newest. The run record names the one that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The version of a Delta table that was the newest at this time, such as `2026-11-30T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Of CSV files: what stands between two values; left out: a comma, or a tab in files named `.tsv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &";")]
    pub delimiter: Option<String>,
    /// Of CSV files: whether the first line has the names of the columns; or the names, where no line has them. With neither
    /// they are called `column0`, `column1`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// Of CSV files: what stands around a value that has delimiters or line breaks; left out: `"`. Twice inside of it, it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"'")]
    pub quote: Option<String>,
    /// Of CSV files: what stands before a quote inside of a value, where it is not written twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"\\")]
    pub escape: Option<String>,
    /// Of CSV files: what lines begin with that are left out; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"#")]
    pub comment: Option<String>,
    /// Of CSV files: the text, or texts, of a value that is not there; left out: nothing at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null: Option<Nulls>,
    /// Of CSV files: the types of columns, where they are not what all their values are: `string`, `int`, `float`, `bool`, `date`,
    /// `timestamp`, `timestamptz`, `decimal(18, 2)`. A value that is none is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<BTreeMap<String, String>>,
}

/// What the first line of a CSV file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Header {
    /// Whether it has the names of the columns.
    Has(bool),
    /// The names of the columns: it has values.
    Names(#[schemars(length(min = 1))] Vec<String>),
}

impl Default for Header {
    fn default() -> Self {
        Self::Has(true)
    }
}

/// The texts of values that are not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Nulls {
    /// One text.
    One(String),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

impl Nulls {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

/// A path, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Paths {
    /// One path.
    One(#[schemars(length(min = 1))] String),
    /// Several, whose rows are one source.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

impl Paths {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// The columns that identify a row. Their order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Vec<String>);

impl Key {
    /// A key of these columns.
    pub fn of(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }

    /// Its columns.
    pub fn columns(&self) -> &[String] {
        &self.0
    }

    /// Whether a column is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|column| column == name)
    }

    /// Whether several columns make it.
    pub fn is_composite(&self) -> bool {
        self.0.len() > 1
    }

    /// The key of these values as one text: of one column its value, of several a JSON array, which no two keys share.
    pub fn text(values: &[&str]) -> String {
        match values {
            [value] => (*value).to_owned(),
            values => serde_json::json!(values).to_string(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_composite() { "columns " } else { "column " })?;
        write!(f, "`{}`", self.0.join("`, `"))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [column] => serializer.serialize_str(column),
            columns => columns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let columns = match Value::deserialize(deserializer)? {
            Value::String(column) => vec![column],
            other => serde_json::from_value(other).map_err(de::Error::custom)?,
        };
        let mut seen = std::collections::BTreeSet::new();
        if columns.is_empty() || !columns.iter().all(|column| seen.insert(column)) {
            return Err(de::Error::custom("a key is one column, or several, each once"));
        }
        Ok(Self(columns))
    }
}

impl JsonSchema for Key {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Key".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "string", "minLength": 1, "description": "One column."},
                {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string", "minLength": 1}, "description": "Several columns, together."},
            ],
            "examples": ["id", ["year", "number"]],
        })
    }
}

/// What lies at a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// Parquet files.
    Parquet,
    /// A Delta table.
    Delta,
    /// CSV files.
    Csv,
    /// JSON lines: one object a line.
    Jsonl,
    /// The same.
    Ndjson,
    /// Arrow files: Feather, IPC files and streams.
    Arrow,
}

/// How many dead letters a pipeline may have: a number, or a share of the rows that are settled, such as `5%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDeadLetters {
    /// So many.
    Rows(u64),
    /// So many of every hundred settled rows.
    Percent(f64),
}

impl Default for MaxDeadLetters {
    fn default() -> Self {
        Self::Percent(50.0)
    }
}

impl MaxDeadLetters {
    /// What stands in the file: a whole number, or a text such as `5%`.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => {
                let percent = text.strip_suffix('%')?.trim().parse::<f64>().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Percent(percent))
            }
            value => value.as_u64().map(Self::Rows),
        }
    }

    /// Whether so many dead letters of so many settled rows are within it.
    pub fn allows(self, dead_letters: u64, settled: u64) -> bool {
        match self {
            Self::Rows(most) => dead_letters <= most,
            Self::Percent(percent) => dead_letters as f64 <= percent / 100.0 * settled as f64,
        }
    }
}

impl fmt::Display for MaxDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MaxDeadLetters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rows(rows) => serializer.serialize_u64(*rows),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl JsonSchema for MaxDeadLetters {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxDeadLetters".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "integer", "minimum": 0, "description": "So many."},
                {"type": "string", "pattern": r"^(100|[0-9]{1,2}(\.[0-9]+)?)%$", "examples": ["5%"], "description": "A share of the rows that are settled."},
            ],
        })
    }
}

/// Where the results go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkSpec {
    /// The folder of the results, local or `s3://`.
    #[schemars(length(min = 1), example = &"out/results")]
    pub path: String,
    /// Columns whose values become folders (`year=2024/`), outermost first.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// The source's and the answer's columns that are kept; left out: every column.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// What stands before the names of the columns that promptmill adds to results and dead letters (`llm_model`,
    /// `cost_usd`, `reason`, …), where the source has columns of the same names.
    #[serde(default)]
    #[schemars(regex(pattern = r"^([A-Za-z][A-Za-z0-9_]*)?$"), example = &"pm_")]
    pub prefix: String,
    /// The longest that an answered row waits before it is in the results.
    #[serde(default = "thirty_seconds")]
    pub commit_every: Period,
    /// The results' format.
    #[serde(default)]
    pub format: SinkFormat,
    /// Small files of a partition are merged up to this size, in megabytes, when a run ends.
    #[serde(default = "default_target_file_mb")]
    #[schemars(range(min = 1, max = 4096))]
    pub target_file_mb: u32,
}

impl SinkSpec {
    /// A sink at a path, with every default.
    pub(crate) fn at(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            partition_by: Vec::new(),
            columns: None,
            prefix: String::new(),
            commit_every: thirty_seconds(),
            format: SinkFormat::default(),
            target_file_mb: default_target_file_mb(),
        }
    }
}

/// A format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkFormat {
    /// Parquet files in Hive partitions.
    #[default]
    Parquet,
    /// The same files as a Delta Lake table, with a transaction for each commit.
    Delta,
}

/// Where the journal, the commits, the dead letters and the run records are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The folder; left out: `_promptmill/<name>` beside the sink.
    #[serde(default)]
    pub path: Option<String>,
    /// On S3: the longest that a received response waits to be durable. A local journal is durable at once.
    #[serde(default = "two_seconds")]
    pub flush: Period,
    /// Who may read the local files of journal, state and results that the command line makes.
    #[serde(default)]
    pub access: Access,
}

/// Who may read files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Their owner alone: rows and answers may be confidential.
    #[default]
    Owner,
    /// Whoever the umask of the process lets.
    Umask,
}

/// A model, as stages name it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The provider's name under `[providers]`.
    pub provider: String,
    /// The model's name at the provider.
    pub model: String,
    /// What its tokens cost; left out: the shipped price list, if the model is in it. A cost that the provider states in a
    /// response goes before it, except for a cost of 0: gateways without a price of their own for a model state that,
    /// so the price written here counts.
    #[serde(default)]
    pub price: Option<PriceSpec>,
    /// The most tokens that prompt and answer may have together.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub context: Option<u32>,
    /// How the answer's shape is asked for.
    #[serde(default)]
    pub structured: Structured,
    /// The field that bounds the answer's tokens in a request; left out: what the model's family takes, and the other
    /// one once the server says that it takes that.
    #[serde(default)]
    pub max_tokens_field: Option<MaxTokensField>,
    /// Merged into the body of every request as it stands.
    #[serde(default)]
    pub extra_body: Map<String, Value>,
}

/// Prices in US dollars per million tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSpec {
    /// Prompt tokens.
    #[schemars(range(min = 0))]
    pub input: f64,
    /// Prompt tokens that came from the provider's cache; left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cached_input: Option<f64>,
    /// Prompt tokens that the provider wrote to its cache; left out: 1.25 times `input` for the families that bill it
    /// (Claude, and GPT from 5.6 on), else as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cache_write: Option<f64>,
    /// Answer tokens.
    #[schemars(range(min = 0))]
    pub output: f64,
    /// A fee for each request, in US dollars; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub request: Option<f64>,
    /// Other prices for the whole of a request whose prompt has more than so many tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<AboveSpec>,
    /// What a service tier is billed at, as a factor of the price, by the name that responses give it; left out: what the
    /// makers of GPT and Gemini bill, for their models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<TierSpec>,
}

/// Prices of requests with long prompts, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AboveSpec {
    /// The prompt tokens that a request has to exceed.
    #[schemars(range(min = 1))]
    pub tokens: u64,
    /// Prompt tokens.
    #[schemars(range(min = 0))]
    pub input: f64,
    /// Prompt tokens from the cache; left out: dearer by as much as `input` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cached_input: Option<f64>,
    /// Prompt tokens written to the cache; left out: dearer by as much as `input` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cache_write: Option<f64>,
    /// Answer tokens; left out: as below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub output: Option<f64>,
}

/// Factors of the price by service tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierSpec {
    /// Of the tier `flex`.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub flex: f64,
    /// Of the tier `priority`.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub priority: f64,
    /// Of the tier `batch`.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub batch: f64,
}

fn one() -> f64 {
    1.0
}

/// How the answer's shape is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// By a JSON Schema that names the ids of the pack; for servers that enforce one.
    #[default]
    JsonSchema,
    /// By JSON mode and an instruction in the prompt.
    JsonObject,
    /// By an instruction in the prompt alone.
    Text,
}

/// A name of the field that bounds the tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// What nearly every server reads.
    MaxTokens,
    /// What OpenAI's own models read from the o series and GPT-5 on.
    MaxCompletionTokens,
}

/// A server that models are called on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// The interface it speaks: `openai` is any server with the chat completions API.
    pub kind: String,
    /// The URL in front of `/chat/completions`.
    #[schemars(regex(pattern = r"^https?://[^/]"), example = &"https://openrouter.ai/api/v1")]
    pub base_url: String,
    /// Whether a server on another machine may be asked without TLS: the rows, and the key, then travel in clear.
    #[serde(default)]
    pub allow_http: bool,
    /// The environment variable that holds the key; left out: no key is sent.
    // Somebody will put the key itself here. What it is must not come back in a message.
    #[serde(default)]
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"), extend("writeOnly" = true), example = &"OPENROUTER_API_KEY")]
    pub api_key_env: Option<String>,
    /// Headers sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Requests a minute that the server allows; limits that it announces are honoured without.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub rpm: Option<u32>,
    /// Tokens a minute that the server allows.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub tpm: Option<u64>,
    /// Whether clients on other machines use the same key, on a server that announces no limits: the pace is
    /// then found in a way that leads to equal shares, at some cost in throughput.
    #[serde(default)]
    pub shared: bool,
}

/// A length of time, written as `500ms`, `30s`, `2m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

fn thirty_seconds() -> Period {
    Period(Duration::from_secs(30))
}

fn two_seconds() -> Period {
    Period(Duration::from_secs(2))
}

fn default_target_file_mb() -> u32 {
    128
}

impl Default for Period {
    fn default() -> Self {
        two_seconds()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let (size, unit) = units.into_iter().find(|(size, _)| millis.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(f, "{}{unit}", millis / size)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)) {
            Some(millis) if millis > 0 => Ok(Self(Duration::from_millis(millis))),
            _ => Err(de::Error::custom(format!("`{text}` is not a length of time such as `500ms`, `30s`, `2m` or `1h`"))),
        }
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "examples": ["500ms", "30s", "2m", "1h"],
        })
    }
}
