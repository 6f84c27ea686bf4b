//! How many rows may share a request before the answers suffer: the pack-size trial.
//!
//! The same sample is asked one row a request, twice, and then in packs of each size. The second asking with one row
//! shows how much answers differ by chance alone; what a size does beyond that is its doing.

use promptmill_core::AnswerShape;
use serde::Serialize;

use super::figures::{Figures, Outcome, mean};
use crate::stats::{bootstrap, holm, mcnemar, sign_flips};

/// Groups that the places of a pack are put into.
const GROUPS: usize = 4;

/// What the trial says.
#[derive(Clone, Debug, Serialize)]
pub struct PackTrial {
    /// Likeness of the two answers with one row a request, in the mean: what chance does.
    pub baseline: f64,
    /// The sizes, the smallest first.
    pub sizes: Vec<PackSize>,
    /// The largest size up to which nothing measurable is lost.
    pub chosen: usize,
    /// The test, in words.
    pub test: &'static str,
}

/// One size.
#[derive(Clone, Debug, Serialize)]
pub struct PackSize {
    /// Rows a request.
    pub rows: usize,
    /// Failures, cost, latency.
    pub figures: Figures,
    /// Likeness to the answer with one row a request, in the mean.
    pub likeness: f64,
    /// How much less that is than by chance alone, with its 95% bootstrap interval.
    pub loss: f64,
    /// That interval.
    pub loss_interval: (f64, f64),
    /// p-value: no answers differ more than by chance.
    pub p_differs: f64,
    /// Rows answered with one row a request and not at this size, and the reverse.
    pub lost: (u64, u64),
    /// p-value: no more rows are lost than by chance.
    pub p_lost: f64,
    /// Whether one of the two is significant.
    pub loses: bool,
    /// The same by where in the pack a row stood.
    pub places: Vec<Place>,
}

/// A group of places of a pack.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// First and last place, from 1.
    pub from: usize,
    /// The last one.
    pub to: usize,
    /// Rows that stood there.
    pub rows: u64,
    /// Likeness to the answer with one row a request, in the mean.
    pub likeness: f64,
    /// Share of rows that had no accepted answer when they were first asked.
    pub failed: f64,
}

/// The test, as it is shown.
pub(super) const TEST: &str = "A size loses something if its answers are less like those of one row a request than a second asking with one row a \
request is (paired sign-flip permutation test of the likeness, one-sided), or if rows lose their answer (exact McNemar test, one-sided); \
95% confidence over all sizes and both tests together, after Holm. Likeness is the Sørensen–Dice coefficient over words for texts, \
equality for other fields. Chosen is the largest size up to which no size loses.";

/// Judges the outcomes: the first two with one row a request, then one for each size, the smallest first.
pub(super) fn judge(single: &Outcome, again: &Outcome, sizes: Vec<(usize, Outcome)>, shape: &AnswerShape) -> PackTrial {
    let by_chance = |key: &String| alike(single, again, key, shape);
    let baseline = mean(single.answers.keys().filter_map(by_chance));
    let mut judged: Vec<PackSize> = Vec::new();
    for (rows, outcome) in sizes {
        let pairs: Vec<(&String, f64)> =
            single.answers.keys().filter_map(|key| Some((key, alike(single, &outcome, key, shape)?))).collect();
        let losses: Vec<f64> = pairs.iter().filter_map(|(key, likeness)| Some(by_chance(key)? - likeness)).collect();
        let lost = single.answers.keys().filter(|key| !outcome.answers.contains_key(*key)).count() as u64;
        let won = outcome.answers.keys().filter(|key| !single.answers.contains_key(*key)).count() as u64;
        let places = places(&outcome, &pairs, rows);
        judged.push(PackSize {
            rows,
            likeness: mean(pairs.iter().map(|pair| pair.1)),
            loss: mean(losses.iter().copied()),
            loss_interval: bootstrap(&losses),
            p_differs: sign_flips(&losses),
            lost: (lost, won),
            p_lost: mcnemar(lost, won),
            loses: false,
            places,
            figures: outcome.figures,
        });
    }
    let p_values: Vec<f64> = judged.iter().flat_map(|size| [size.p_differs, size.p_lost]).collect();
    for (size, significant) in judged.iter_mut().zip(holm(&p_values).chunks(2)) {
        size.loses = significant.contains(&true);
    }
    let chosen = judged.iter().take_while(|size| !size.loses).last().map_or(1, |size| size.rows);
    PackTrial { baseline, sizes: judged, chosen, test: TEST }
}

/// How alike two answers about a row are; `None` where one of them is missing.
pub(super) fn alike(a: &Outcome, b: &Outcome, key: &str, shape: &AnswerShape) -> Option<f64> {
    Some(shape.likeness(&a.answers.get(key)?.values, &b.answers.get(key)?.values))
}

fn places(outcome: &Outcome, pairs: &[(&String, f64)], rows: usize) -> Vec<Place> {
    let width = rows.div_ceil(GROUPS).max(1);
    let mut places = Vec::new();
    for from in (0..rows).step_by(width) {
        let to = (from + width).min(rows);
        let stood = |key: &str| outcome.places.get(key).is_some_and(|(place, _)| (from..to).contains(place));
        let here: Vec<&String> = outcome.places.keys().filter(|key| stood(key)).collect();
        let at_first = |key: &&&String| outcome.answers.get(**key).is_some_and(|answer| answer.attempts <= 1);
        let good = here.iter().filter(at_first).count();
        places.push(Place {
            from: from + 1,
            to,
            rows: here.len() as u64,
            likeness: mean(pairs.iter().filter(|(key, _)| stood(key)).map(|pair| pair.1)),
            failed: if here.is_empty() { 0.0 } else { 1.0 - good as f64 / here.len() as f64 },
        });
    }
    places
}
