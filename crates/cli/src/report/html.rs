//! A report as a page.

use promptmill_engine::{CanaryRows, Mean, Sample, Status, Summary};
use serde_json::Value;

use super::gather::{Gathered, Rows};
use crate::page::chart::{Line, bar, over_time};
use crate::page::{Element, el, number, page, percent, section, table, text, tile};
use crate::progress::duration;

/// The page.
pub(crate) fn render(gathered: &Gathered) -> String {
    let record = &gathered.record;
    let summary = &record.summary;
    let (status, mood) = match summary.status {
        Status::Completed => ("completed", "badge good"),
        Status::BudgetExhausted => ("stopped by the budget", "badge bad"),
        Status::Interrupted => ("interrupted", "badge"),
        Status::Failed => ("failed", "badge bad"),
    };
    let mut main = el("main").with(el("h1").text(&record.pipeline).with(el("span").class(mood).text(status))).with(
        el("p").class("lead").text(format!(
            "run {} · {} to {} · {}",
            summary.run_id,
            record.started_at,
            record.ended_at,
            duration(summary.seconds)
        )),
    );
    if let Some(error) = &record.error {
        main = main.with(el("p").class("bad").with(text(error)));
    }
    main = main.with(headline(summary)).with(money(gathered)).with(pace(&record.timeline)).with(trouble(gathered));
    if let Some(rows) = &record.canaries {
        main = main.with(canaries(rows));
    }
    main = main.with(attempts(&gathered.attempts)).with(settings(gathered)).with(answers(gathered)).with(configuration(gathered));
    let versions: Vec<String> = record.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    main = main.with(el("footer").text(format!("{} · results in {}", versions.join(" · "), summary.results)));
    page(&format!("{}: run {}", record.pipeline, summary.run_id), main, "")
}

fn headline(summary: &Summary) -> Element {
    let Summary { rows, requests, tokens, throughput, .. } = summary;
    let count = |value: u64| number(value as f64);
    let asked = rows.answered + rows.dead_letters + rows.remaining;
    let budget = match summary.budget_usd {
        Some(budget) => format!("of a budget of ${budget}"),
        None => "no budget".to_owned(),
    };
    el("div").class("tiles").all([
        tile("answered", count(rows.answered), format!("of {} rows; {} from the journal", count(asked), count(rows.from_journal))),
        tile("dead letters", count(rows.dead_letters), percent(rows.dead_letters as f64, asked as f64)),
        tile(
            "not reached",
            count(rows.remaining),
            format!("{} settled before, {} filtered out", count(rows.unchanged), count(rows.filtered_out)),
        ),
        tile("cost", dollars(summary.cost_usd.usd()), budget),
        tile("speed", format!("{}/s", number(summary.rows_per_second)), format!("rows, over {}", duration(summary.seconds))),
        tile(
            "requests",
            count(requests.sent),
            format!("{} ok, {} rate limited, {} failed", count(requests.ok), count(requests.rate_limited), count(requests.failed)),
        ),
        tile(
            "rows per request",
            number(throughput.rows_per_request),
            format!("{} in flight, at most {}", number(throughput.concurrency_mean), throughput.concurrency_peak),
        ),
        tile(
            "tokens",
            count(tokens.input + tokens.output),
            format!("{} in ({} cached), {} out", count(tokens.input), count(tokens.cached_input), count(tokens.output)),
        ),
    ])
}

/// Money as a headline; to the nano-dollar it stands below.
fn dollars(usd: f64) -> String {
    if usd >= 0.01 { format!("${usd:.2}") } else { format!("${}", number(usd)) }
}

fn money(gathered: &Gathered) -> Element {
    let summary = &gathered.record.summary;
    let usd = |name: &str| gathered.record.budget.get(name).and_then(Value::as_f64);
    let settled = (summary.rows.answered + summary.rows.dead_letters) as f64;
    let mut section = section("Cost").with(el("p").text(if settled > 0.0 {
        format!("${} in this run: ${} per 1,000 rows settled.", summary.cost_usd, number(summary.cost_usd.usd() / settled * 1e3))
    } else {
        format!("${} in this run.", summary.cost_usd)
    }));
    if let (Some(cap), Some(spent)) = (usd("in_force_usd"), usd("spent_usd")) {
        let label = format!("${} of ${} spent over all runs ({})", number(spent), number(cap), percent(spent, cap));
        section = section.with(bar(if cap > 0.0 { spent / cap } else { 0.0 }, &label)).with(el("p").class("note").text(label));
    }
    section
}

fn pace(timeline: &[Sample]) -> Element {
    let section = section("Over time");
    // Two moments make a line, one does not.
    if timeline.len() < 2 {
        return section.with(el("p").class("note").text("The run was too short for a curve."));
    }
    let line =
        |name, value: &dyn Fn(&Sample) -> f64| Line { name, points: timeline.iter().map(|sample| (sample.t, value(sample))).collect() };
    let rate = |name, value: &dyn Fn(&Sample) -> u64| Line { name, points: rates(timeline, value) };
    section.with(el("div").class("charts").all([
        over_time("Rows settled a second", &[rate("rows", &|sample| sample.rows)]),
        over_time(
            "Requests in flight",
            &[line("in flight", &|sample| sample.in_flight as f64), line("allowed", &|sample| sample.limit as f64)],
        ),
        over_time("Rows settled", &[line("rows", &|sample| sample.rows as f64)]),
        over_time("Requests sent a second", &[rate("sent", &|sample| sample.sent), rate("rate limited", &|sample| sample.rate_limited)]),
    ]))
}

/// A second's worth of a count that only grows, over windows wide enough to be calm.
fn rates(timeline: &[Sample], value: &dyn Fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let width = (timeline.len() / 60).max(1);
    let mut from = Sample { t: 0.0, rows: 0, sent: 0, rate_limited: 0, in_flight: 0, limit: 0, cost_usd: 0.0 };
    let mut points = vec![(0.0, 0.0)];
    for to in timeline.iter().skip(width - 1).step_by(width) {
        if to.t > from.t {
            points.push((to.t, value(to).saturating_sub(value(&from)) as f64 / (to.t - from.t)));
            from = *to;
        }
    }
    points
}

fn trouble(gathered: &Gathered) -> Element {
    let cell = |row: &[Option<String>], column: usize| text(row[column].as_deref().unwrap_or("–"));
    let mut section = section("Rejected and lost");
    let rejections = &gathered.record.summary.rejections;
    section = if rejections.is_empty() {
        section.with(el("p").class("note").text("No answer was turned away in this run."))
    } else {
        let mut reasons: Vec<_> = rejections.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let rows = reasons.into_iter().map(|(reason, count)| vec![text(reason), text(number(*count as f64))]);
        section.with(el("h3").text("Answers turned away, and asked again")).with(table(&["reason", "answers#"], rows))
    };
    if gathered.dead.is_empty() {
        return section.with(el("p").class("note").text("There are no dead letters."));
    }
    let reasons = gathered.dead.iter().map(|row| vec![cell(row, 0), cell(row, 1), cell(row, 2)]);
    let examples = gathered.examples.iter().map(|row| (0..5).map(|column| cell(row, column)).collect());
    section
        .with(el("h3").text("Dead letters that there are now, of all runs"))
        .with(table(&["reason", "rows#", "cost, $#"], reasons))
        .with(el("h3").text("Some of them"))
        .with(table(&["reason", "key", "detail", "last text", "model"], examples))
}

fn canaries(canaries: &CanaryRows) -> Element {
    let range = |(low, high): (f64, f64)| format!("{low:.2} to {high:.2}");
    let accepted = [("in their packs", canaries.accepted_in_packs), ("alone", canaries.accepted_alone)];
    let accepted = accepted.map(|(asked, share)| {
        vec![text(asked), text(number(share.rows as f64)), text(percent(share.share, 1.0)), text(range(share.interval))]
    });
    let mean = |rows: String, mean: &Mean| {
        vec![
            text(rows),
            text(number(mean.rows as f64)),
            text(format!("{:.2}", mean.mean)),
            text(mean.interval.map(range).unwrap_or_default()),
        ]
    };
    let halves = [("all", canaries.likeness), ("first half of the pack", canaries.first_half), ("second half", canaries.second_half)];
    let halves = halves.iter().filter_map(|(name, likeness)| Some(mean((*name).to_owned(), likeness.as_ref()?)));
    let by_rows = canaries.by_rows.iter().map(|(rows, likeness)| mean(format!("packs of up to {rows}"), likeness));
    let mut section = section("Canary rows").with(el("p").text(format!(
        "{} rows were asked in a pack and once more alone, for ${}; {} could be compared.",
        number(canaries.asked as f64),
        number(canaries.cost_usd),
        number(canaries.compared as f64)
    )));
    for warning in &canaries.warnings {
        section = section.with(el("p").class("bad").text(warning));
    }
    section
        .with(table(&["asked", "accepted#", "share#", "95% interval#"], accepted))
        .with(table(&["rows", "answered twice#", "likeness of the two#", "95% interval#"], halves.chain(by_rows)))
        .with(el("p").class("note").text(
            "Likeness is the Sørensen–Dice coefficient over words, from 0 to 1. How much two askings differ by chance is not known here; \
             the pack-size trial of compare asks alone twice and says so.",
        ))
}

fn attempts(rows: &Rows) -> Element {
    if rows.is_empty() {
        return section("Attempts").with(el("p").class("note").text("Nothing was sent in this run."));
    }
    let shown = rows.iter().map(|row| {
        let figure = |column: usize| match row[column].as_deref().and_then(|text| text.parse::<f64>().ok()) {
            Some(value) => text(number(value)),
            None => text("–"),
        };
        let word = |column: usize| text(row[column].as_deref().unwrap_or("–"));
        vec![word(0), word(1), figure(2), figure(3), figure(4), figure(5), figure(6), figure(7), word(8)]
    });
    let headings =
        ["model", "status", "attempts#", "rows answered#", "least, ms#", "median, ms#", "95th percentile, ms#", "most, ms#", "cost, $#"];
    section("Attempts").with(table(&headings, shown))
}

/// Of each setting what was configured, in force and observed, so that one that has had no effect is seen.
fn settings(gathered: &Gathered) -> Element {
    let mut section = section("Configured, in force, observed");
    for (model, settings) in &gathered.record.models {
        let Some(settings) = settings.as_object() else { continue };
        let three = settings.iter().filter(|(_, value)| value.get("configured").is_some());
        let rows = three.map(|(name, value)| {
            let observed = value.get("observed").map(plain).unwrap_or_default();
            let announced = value.get("announced").filter(|announced| !announced.is_null()).map(plain);
            let in_force = announced
                .map(|limit| format!("announced: {limit}"))
                .unwrap_or_else(|| value.get("in_force").map(plain).unwrap_or_default());
            vec![text(name.replace('_', " ")), text(plain(&value["configured"])), text(in_force), text(observed)]
        });
        let note = match settings.get("provider").and_then(Value::as_str) {
            Some(provider) => format!("at {provider}"),
            None => "in this process".to_owned(),
        };
        let requests = settings.get("requests").and_then(Value::as_f64).unwrap_or_default();
        section = section
            .with(el("h3").text(model).with(el("span").class("legend note").text(format!("  {note}, {} requests", number(requests)))))
            .with(table(&["setting", "configured", "in force", "observed"], rows));
    }
    section
}

/// A value of the record as people read it: `min 15, mean 15, max 15`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(value) => value.as_f64().map(number).unwrap_or_default(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn answers(gathered: &Gathered) -> Element {
    let section = section("Some answers");
    if gathered.answers.is_empty() {
        return section.with(el("p").class("note").text("There are no results yet."));
    }
    section.all(gathered.answers.iter().map(|row| {
        let word = |column: usize| row[column].clone().unwrap_or_default();
        let item = gathered.items.get(&word(0)).map_or("not in the source any more", String::as_str);
        let repairs = if word(3).is_empty() { String::new() } else { format!(" · repaired: {}", word(3)) };
        let mut said = el("div").with(el("div").class("who").text(format!("{} · ${}{repairs}", word(1), word(2))));
        for (index, name) in gathered.answer_columns.iter().enumerate() {
            if gathered.answer_columns.len() > 1 {
                said = said.with(el("div").class("who").text(name));
            }
            said = said.with(text(row.get(4 + index).and_then(Option::as_deref).unwrap_or("–")));
        }
        let asked = el("div").with(el("div").class("who key").text(word(0))).with(el("div").class("item").with(text(item)));
        el("article").class("card pair").with(asked).with(said)
    }))
}

fn configuration(gathered: &Gathered) -> Element {
    let json = serde_json::to_string_pretty(&gathered.record.configuration).unwrap_or_default();
    section("Configuration")
        .with(el("details").with(el("summary").text("The pipeline as it was in force, without secrets")).with(el("pre").text(json)))
}
