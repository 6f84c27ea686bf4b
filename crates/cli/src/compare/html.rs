//! A comparison as a page: the figures, and the texts side by side.

use promptmill_engine::compare::{Comparison, PackTrial, RANKING};

use super::text::{columns, packs_verdict, trouble};
use crate::page::chart::bars;
use crate::page::{Element, el, number, page, section, table, text, tile};

/// Hides the rows that do not hold the words; `#q=…` behind the address searches at once, so that a search can be sent.
const SEARCH: &str = include_str!("search.js");

/// The page.
pub(super) fn render(comparison: &Comparison) -> String {
    let kind = if comparison.packs.is_some() { "rows a request" } else { "models" };
    let mut main = el("main")
        .with(el("h1").text(&comparison.pipeline).with(el("span").class("badge").text(format!("{kind} compared"))))
        .with(el("p").class("lead").text(format!("the same {} rows each · comparison {}", comparison.keys.len(), comparison.id)));
    main = main.with(headline(comparison)).with(figures(comparison));
    if let Some(packs) = &comparison.packs {
        main = main.with(sizes(packs));
    }
    if !comparison.agreement.is_empty() && comparison.packs.is_none() {
        main = main.with(agreement(comparison));
    }
    if let Some(judged) = judged(comparison) {
        main = main.with(judged);
    }
    page(&format!("{}: {kind} compared", comparison.pipeline), main.with(side_by_side(comparison)), SEARCH)
}

fn headline(comparison: &Comparison) -> Element {
    let budget = comparison.budget_usd.map_or_else(|| "no budget".to_owned(), |budget| format!("of a budget of ${}", number(budget)));
    let best = match (&comparison.packs, comparison.candidates.first()) {
        (Some(packs), _) => tile("rows a request", packs.chosen, "the most that lose nothing measurable"),
        (None, Some(best)) => tile("first", &best.name, "by the ranking below"),
        (None, None) => tile("first", "–", "nobody was asked"),
    };
    let cost = tile("cost", format!("${}", number(comparison.cost_usd)), budget);
    let asked = tile("candidates", comparison.candidates.len(), format!("over {} rows", comparison.keys.len()));
    el("div").class("tiles").all([best, asked, cost])
}

fn figures(comparison: &Comparison) -> Element {
    let columns = columns(comparison);
    let headings: Vec<String> =
        columns.iter().enumerate().map(|(place, (name, _))| if place == 0 { (*name).to_owned() } else { format!("{name}#") }).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows = comparison.candidates.iter().map(|figures| columns.iter().map(|(_, value)| text(value(figures))).collect());
    let mut section = section("Figures").with(table(&headings, rows));
    for candidate in comparison.candidates.iter().filter(|candidate| !trouble(candidate).is_empty()) {
        section = section.with(el("p").class("note").text(format!("{}: {}", candidate.name, trouble(candidate))));
    }
    if comparison.packs.is_none() {
        section = section.with(el("p").class("note").text(RANKING));
    }
    section
}

fn sizes(packs: &PackTrial) -> Element {
    let headings = ["rows", "likeness to one row#", "less than by chance#", "95% interval (bootstrap)#", "p#", "rows lost#", "p#", "loses"];
    let rows = packs.sizes.iter().map(|size| {
        let (low, high) = size.loss_interval;
        let verdict = if size.loses { el("span").class("bad").text("yes") } else { el("span").class("good").text("no") };
        vec![
            text(size.rows),
            text(format!("{:.3}", size.likeness)),
            text(format!("{:.3}", size.loss)),
            text(format!("{low:.3} to {high:.3}")),
            text(format!("{:.4}", size.p_differs)),
            text(format!("{} (won {})", size.lost.0, size.lost.1)),
            text(format!("{:.4}", size.p_lost)),
            verdict,
        ]
    });
    let charts = packs.sizes.iter().filter(|size| size.rows > 1).map(|size| {
        let bar = |place: &promptmill_engine::compare::Place| {
            let places = if place.from == place.to { place.from.to_string() } else { format!("{}–{}", place.from, place.to) };
            (places, place.likeness)
        };
        bars(&format!("{} rows: likeness by place in the pack", size.rows), &size.places.iter().map(bar).collect::<Vec<_>>())
    });
    section("Rows a request")
        .with(table(&headings, rows))
        .with(el("p").text(packs_verdict(packs)))
        .with(el("p").class("note").text(format!("Two askings with one row a request are {:.3} alike. {}", packs.baseline, packs.test)))
        .with(el("div").class("charts").all(charts))
}

fn agreement(comparison: &Comparison) -> Element {
    let share = |value: Option<f64>| text(value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}")));
    let rows = comparison.agreement.iter().map(|pair| {
        let name = |index: usize| text(&comparison.candidates[index].name);
        vec![name(pair.a), name(pair.b), text(pair.rows), share(pair.likeness), share(pair.equal)]
    });
    section("Agreement").with(table(&["one", "other", "rows#", "likeness of texts#", "other fields equal#"], rows)).with(
        el("p")
            .class("note")
            .text("Likeness is the Sørensen–Dice coefficient over words, from 0 to 1; it tells how alike texts are, not how right."),
    )
}

fn judged(comparison: &Comparison) -> Option<Element> {
    let judgement = comparison.judgement.as_ref()?;
    let rows = judgement.pairs.iter().map(|pair| {
        let name = |index: usize| text(&comparison.candidates[index].name);
        let (low, high) = pair.interval;
        let interval = format!("{:.0}% to {:.0}%", low * 100.0, high * 100.0);
        vec![name(pair.a), name(pair.b), text(pair.wins), text(pair.losses), text(pair.ties), text(interval)]
    });
    let mut section = section(&format!("Judged by {}", judgement.model))
        .with(table(&["one", "other", "one won#", "other won#", "equal#", "share of the one (Wilson, 95%)#"], rows))
        .with(el("p").class("note").text("Each pair was shown in both orders; what the judge did not say both times counts as equal."));
    if let Some(error) = &judgement.error {
        section = section.with(el("p").class("bad").text(error));
    }
    Some(section)
}

fn side_by_side(comparison: &Comparison) -> Element {
    let search = el("input")
        .attr("type", "search")
        .attr("id", "search")
        .attr("placeholder", "search in items and answers")
        .attr("autocomplete", "off");
    let rows = comparison.keys.iter().map(|key| {
        let item = comparison.items.get(key).map_or("", String::as_str);
        let answers = comparison.candidates.iter().zip(&comparison.answers).map(|(candidate, answers)| {
            let mut said = el("div").with(el("div").class("who").text(&candidate.name));
            match answers.get(key) {
                None => said = said.with(el("p").class("bad").text("no accepted answer")),
                Some(answer) => {
                    for (name, value) in comparison.columns.iter().zip(&answer.values) {
                        if comparison.columns.len() > 1 {
                            said = said.with(el("div").class("who").text(name));
                        }
                        said = said.with(text(value));
                    }
                }
            }
            said
        });
        el("article")
            .class("card row")
            .with(el("div").class("who key").text(key))
            .with(el("div").class("item").with(text(item)))
            .with(el("div").class("side").all(answers))
    });
    section("Side by side").with(el("div").class("search").with(search).with(el("span").class("note").attr("id", "found"))).all(rows)
}
