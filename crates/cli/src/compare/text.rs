//! A comparison for a terminal.

use promptmill_engine::compare::{Comparison, Figures, PackTrial, RANKING};

use crate::page::{number, percent};

/// A few tables.
pub(super) fn render(comparison: &Comparison) -> String {
    let budget = comparison.budget_usd.map(|budget| format!(" of ${}", number(budget))).unwrap_or_default();
    let mut text = format!("{} rows, ${}{budget}\n\n", comparison.keys.len(), number(comparison.cost_usd));
    let columns = columns(comparison);
    let mut rows = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()];
    rows.extend(comparison.candidates.iter().map(|figures| columns.iter().map(|(_, value)| value(figures)).collect()));
    text.push_str(&aligned(&rows));
    for candidate in comparison.candidates.iter().filter(|candidate| !trouble(candidate).is_empty()) {
        text.push_str(&format!("{}: {}\n", candidate.name, trouble(candidate)));
    }
    if let Some(packs) = &comparison.packs {
        text.push_str(&format!("\n{}\n{}\n\n{}", aligned(&sizes(packs)), packs_verdict(packs), packs.test));
        return text;
    }
    let name = |index: usize| comparison.candidates[index].name.as_str();
    if !comparison.agreement.is_empty() {
        text.push_str("\nagreement\n");
        for pair in &comparison.agreement {
            let share = |word: &str, value: Option<f64>| value.map(|value| format!("{word} {value:.2}"));
            let said: Vec<String> = [share("likeness", pair.likeness), share("equal", pair.equal)].into_iter().flatten().collect();
            text.push_str(&format!("  {} and {}: {} over {} rows\n", name(pair.a), name(pair.b), said.join(", "), pair.rows));
        }
    }
    if let Some(judgement) = &comparison.judgement {
        text.push_str(&format!("\njudged by {} (${})\n", judgement.model, number(judgement.cost_usd)));
        for pair in &judgement.pairs {
            let (low, high) = pair.interval;
            text.push_str(&format!(
                "  {} against {}: {} won, {} lost, {} equal; {:.0}% to {:.0}% of the decided\n",
                name(pair.a),
                name(pair.b),
                pair.wins,
                pair.losses,
                pair.ties,
                low * 100.0,
                high * 100.0
            ));
        }
    }
    text.push_str(&format!("\n{RANKING}"));
    text
}

/// What the pack-size trial comes to, in one sentence.
pub(super) fn packs_verdict(packs: &PackTrial) -> String {
    match (packs.chosen, packs.sizes.iter().find(|size| size.loses)) {
        (chosen, Some(loser)) => format!("Up to {chosen} rows a request nothing measurable is lost; at {} something is.", loser.rows),
        (chosen, None) => format!("Nothing measurable is lost up to {chosen} rows a request, the most that was tried."),
    }
}

type Column = (&'static str, fn(&Figures) -> String);

/// The columns that have something to say.
pub(super) fn columns(comparison: &Comparison) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![
        (if comparison.packs.is_some() { "size" } else { "model" }, |figures| figures.name.clone()),
        ("right at first", |figures| {
            let (low, high) = figures.first_interval;
            format!("{} ({:.0}–{:.0})", percent(figures.first as f64, figures.rows as f64), low * 100.0, high * 100.0)
        }),
        ("answered", |figures| percent(figures.answered as f64, figures.rows as f64)),
        ("requests", |figures| number(figures.requests as f64)),
        ("failed", |figures| number(figures.failed as f64)),
        ("rows each", |figures| number(figures.rows_per_request)),
        ("ms, median / 95th", |figures| format!("{} / {}", number(figures.latency_ms.0.round()), number(figures.latency_ms.1.round()))),
        ("tokens, in / out", |figures| format!("{} / {}", number(figures.input_tokens as f64), number(figures.output_tokens as f64))),
        ("$ per 1,000", |figures| figures.cost_per_1000_rows_usd.map_or_else(|| "–".to_owned(), number)),
        ("characters", |figures| number(figures.characters.round())),
        ("language", |figures| {
            let most = figures.languages.iter().max_by_key(|(_, count)| **count);
            most.map_or_else(
                || "–".to_owned(),
                |(language, count)| format!("{language} {}", percent(*count as f64, figures.answered as f64)),
            )
        }),
    ];
    if comparison.candidates.iter().all(|figures| figures.failed == 0) {
        columns.retain(|(name, _)| *name != "failed");
    }
    columns
}

/// What was turned away, what was lost, and what went wrong.
pub(super) fn trouble(figures: &Figures) -> String {
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    if !figures.rejections.is_empty() {
        parts.push(format!("turned away: {}", list(&figures.rejections)));
    }
    if !figures.dead_letters.is_empty() {
        parts.push(format!("dead letters: {}", list(&figures.dead_letters)));
    }
    if figures.not_reached > 0 {
        parts.push(format!("{} rows not reached", figures.not_reached));
    }
    parts.extend(figures.error.clone());
    parts.join("; ")
}

fn sizes(packs: &PackTrial) -> Vec<Vec<String>> {
    let mut rows = vec![["rows", "likeness", "loss", "95% interval", "p", "lost", "p", "loses"].map(str::to_owned).into()];
    for size in &packs.sizes {
        rows.push(vec![
            size.rows.to_string(),
            format!("{:.3}", size.likeness),
            format!("{:.3}", size.loss),
            format!("{:.3} to {:.3}", size.loss_interval.0, size.loss_interval.1),
            format!("{:.4}", size.p_differs),
            format!("{} of {}", size.lost.0, size.figures.rows),
            format!("{:.4}", size.p_lost),
            if size.loses { "yes" } else { "no" }.to_owned(),
        ]);
    }
    rows
}

/// Rows in columns, the first to the left and the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let gap = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if column == 0 { format!("{cell}{gap}") } else { format!("{gap}{cell}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
