//! The pipelines that the benches run.

use std::path::Path;

/// Motions that share a request.
pub(crate) const PACK: usize = 20;

pub(crate) const POST_PROCESS: &str = r#"
[[stages]]
use = "post-process"
column = "summary"
language = "nl"
steps = [
  { use = "drop-lines-in-other-scripts" },
  { use = "replace-words", words = { "filthy" = "vuile", "lageinkomen" = "laag inkomen" } },
  { use = "remove-pattern", pattern = '\(\d+-\d+\)' },
  { use = "normalize-text" },
  { use = "reject-words", list = "english-common", more_than = 10 },
  { use = "reject-language" },
  { use = "reject-length", min_chars = 20, max_chars = 3000 },
]

[[stages]]
use = "cost"
"#;

/// What a pipeline says beside the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// Rows a request.
    pub(crate) rows: usize,
    /// Lines of the `llm` stage.
    pub(crate) llm: &'a str,
    /// Whether the model has a price: then money is set aside, durably, before a request leaves.
    pub(crate) priced: bool,
}

/// A pipeline that asks a simulated provider. What `settings` leaves out is the default.
pub(crate) fn asking(out: &Path, motions: &Path, url: &str, settings: Settings<'_>) -> String {
    let Settings { rows, llm, priced } = settings;
    let price = if priced { "price = { input = 0.15, cached_input = 0.015, output = 0.60 }" } else { "" };
    format!(
        r#"
[source]
path = "{}"
key = "motion_id"

[[stages]]
use = "prompt-pack"
prompt = "{PROMPT}"
item = "{{{{ title }}}}\n\n{{{{ body }}}}"
rows = {rows}
answer = "summary"

[[stages]]
use = "llm"
model = "simulated"
{llm}
{POST_PROCESS}
[sink]
path = "{}/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]

[models.simulated]
provider = "simulator"
model = "simulated"
{price}

[providers.simulator]
kind = "openai"
base_url = "{url}"
"#,
        motions.display(),
        out.display()
    )
}

/// What is asked, by every method.
pub(crate) const PROMPT: &str = "Schrijf voor elke motie twee tot drie zinnen uitleg.";

/// A pipeline that asks the model in this process.
pub(crate) fn extractive(out: &Path, motions: &Path) -> String {
    format!(
        r#"
[source]
path = "{}"
key = "motion_id"

[[stages]]
use = "filter"
where = "body IS NOT NULL AND length(trim(body)) > 0"

[[stages]]
use = "prompt-pack"
item = "{{{{ title }}}}\n\n{{{{ body }}}}"
rows = {PACK}
answer = "summary"

[[stages]]
use = "llm"
model = "builtin/extractive"
concurrency = 32
{POST_PROCESS}
[sink]
path = "{}/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]
"#,
        motions.display(),
        out.display()
    )
}
