//! Who comes first, and how far candidates agree. Pure functions over what the trials came to.

use std::collections::BTreeSet;

use promptmill_core::{AnswerShape, likeness};
use serde::Serialize;

use super::figures::{Outcome, mean};
use super::judge::Judgement;
use crate::stats::mcnemar;

/// How candidates are ranked, as it is shown.
pub const RANKING: &str = "Ranked by the rows that were right when asked for the first time; who is not measurably behind (exact McNemar \
test, one-sided, 95%) stands on the same level, and there the cheapest comes first. Where a judge was asked, who loses to another of the \
level in more than half of the decided rows (Wilson interval, 95%) comes behind it.";

/// How far two candidates agree over the rows that both answered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Agreement {
    /// The one candidate, by its place.
    pub a: usize,
    /// The other one.
    pub b: usize,
    /// Rows that both answered.
    pub rows: u64,
    /// Likeness of texts in the mean: Sørensen–Dice over words. `None`: no texts.
    pub likeness: Option<f64>,
    /// The share of other fields that are equal. `None`: no other fields.
    pub equal: Option<f64>,
}

/// The places of the candidates, the best one first. See [`RANKING`].
pub(super) fn ranked(outcomes: &[Outcome], judgement: Option<&Judgement>) -> Vec<usize> {
    let right = |index: usize, key: &String| outcomes[index].answers.get(key).is_some_and(|answer| answer.attempts <= 1);
    let behind = |one: usize, best: usize| {
        let keys: BTreeSet<&String> = outcomes[one].answers.keys().chain(outcomes[best].answers.keys()).collect();
        let count = |wins: usize, loses: usize| keys.iter().filter(|key| right(wins, key) && !right(loses, key)).count() as u64;
        mcnemar(count(best, one), count(one, best)) < 0.05
    };
    let beaten = |one: usize, level: &[usize]| {
        judgement.is_some_and(|judgement| {
            judgement.pairs.iter().any(|pair| {
                (pair.a == one && level.contains(&pair.b) && pair.interval.1 < 0.5)
                    || (pair.b == one && level.contains(&pair.a) && pair.interval.0 > 0.5)
            })
        })
    };
    let cost = |index: usize| outcomes[index].figures.cost_per_1000_rows_usd.unwrap_or(f64::INFINITY);
    let mut left: Vec<usize> = (0..outcomes.len()).collect();
    let mut order = Vec::new();
    while let Some(best) = left.iter().copied().max_by_key(|index| (outcomes[*index].figures.first, usize::MAX - index)) {
        let mut level: Vec<usize> = left.iter().copied().filter(|index| *index == best || !behind(*index, best)).collect();
        left.retain(|index| !level.contains(index));
        while !level.is_empty() {
            let unbeaten: Vec<usize> = level.iter().copied().filter(|index| !beaten(*index, &level)).collect();
            // Whoever beats one and is beaten by another goes round in a circle; then the price decides.
            let among = if unbeaten.is_empty() { &level } else { &unbeaten };
            let Some(next) = among.iter().copied().min_by(|a, b| cost(*a).total_cmp(&cost(*b)).then(a.cmp(b))) else { break };
            order.push(next);
            level.retain(|index| *index != next);
        }
    }
    order
}

/// The judgement with the candidates' new places.
pub(super) fn replaced(mut judgement: Judgement, order: &[usize]) -> Judgement {
    let place = |index: usize| order.iter().position(|old| *old == index).unwrap_or(index);
    for pair in &mut judgement.pairs {
        (pair.a, pair.b) = (place(pair.a), place(pair.b));
        if pair.a > pair.b {
            std::mem::swap(&mut pair.a, &mut pair.b);
            std::mem::swap(&mut pair.wins, &mut pair.losses);
            pair.interval = (1.0 - pair.interval.1, 1.0 - pair.interval.0);
        }
    }
    judgement
}

/// How far each two candidates agree.
pub(super) fn agreements(outcomes: &[Outcome], shape: &AnswerShape) -> Vec<Agreement> {
    let mut agreements = Vec::new();
    for a in 0..outcomes.len() {
        for b in a + 1..outcomes.len() {
            let (mut texts, mut others) = (Vec::new(), Vec::new());
            let mut rows = 0;
            for (key, one) in &outcomes[a].answers {
                let Some(two) = outcomes[b].answers.get(key) else { continue };
                rows += 1;
                for (column, (one, two)) in one.values.iter().zip(&two.values).enumerate() {
                    if shape.is_text(column) {
                        texts.push(likeness(one, two));
                    } else {
                        others.push(f64::from(u8::from(one == two)));
                    }
                }
            }
            let of = |values: Vec<f64>| (!values.is_empty()).then(|| mean(values));
            agreements.push(Agreement { a, b, rows, likeness: of(texts), equal: of(others) });
        }
    }
    agreements
}

#[cfg(test)]
mod tests {
    use promptmill_core::{AnswerField, FieldType};

    use super::super::figures::Answer;
    use super::super::judge::Judged;
    use super::*;

    /// A candidate with so many rows right at first, so many right later, at a price.
    fn candidate(first: usize, later: usize, cost: f64) -> Outcome {
        let mut outcome = Outcome::default();
        for row in 0..first + later {
            let attempts = if row < first { 1 } else { 2 };
            outcome.answers.insert(format!("k{row:03}"), Answer { values: vec!["x".to_owned()], attempts });
        }
        outcome.figures.first = first as u64;
        outcome.figures.cost_per_1000_rows_usd = Some(cost);
        outcome
    }

    #[test]
    fn what_is_measurably_better_goes_first_and_what_is_not_goes_by_price() {
        let order = |outcomes: &[Outcome]| ranked(outcomes, None);
        // Five rows more can be no accident (p = 1/32), four can (p = 1/16).
        assert_eq!(order(&[candidate(45, 5, 0.1), candidate(50, 0, 9.0)]), [1, 0]);
        assert_eq!(order(&[candidate(46, 4, 0.1), candidate(50, 0, 9.0)]), [0, 1]);
        assert_eq!(order(&[candidate(0, 0, 0.0), candidate(10, 40, 5.0), candidate(49, 1, 2.0), candidate(50, 0, 3.0)]), [2, 3, 1, 0]);
        assert_eq!(order(&[]), Vec::<usize>::new());
    }

    #[test]
    fn a_judge_decides_among_equals_and_a_circle_is_left_to_the_price() {
        let three = [candidate(50, 0, 1.0), candidate(50, 0, 2.0), candidate(20, 0, 0.1)];
        let pair = |a, b, interval| Judged { a, b, wins: 0, losses: 0, ties: 0, interval };
        let judgement = |pairs| Judgement { model: "j".to_owned(), cost_usd: 0.0, pairs, error: None };
        // The third one is liked best, and stays where its failures have put it.
        let second_wins = judgement(vec![pair(0, 1, (0.1, 0.4)), pair(1, 2, (0.1, 0.3)), pair(0, 2, (0.1, 0.3))]);
        assert_eq!(ranked(&three, Some(&second_wins)), [1, 0, 2]);
        let undecided = judgement(vec![pair(0, 1, (0.3, 0.6))]);
        assert_eq!(ranked(&three, Some(&undecided)), [0, 1, 2]);
        let equals = [candidate(50, 0, 3.0), candidate(50, 0, 2.0), candidate(50, 0, 1.0)];
        let circle = judgement(vec![pair(0, 1, (0.6, 0.9)), pair(1, 2, (0.6, 0.9)), pair(0, 2, (0.1, 0.4))]);
        assert_eq!(ranked(&equals, Some(&circle))[0], 2);
        // Places change with the order, and with them who is meant by a win.
        let turned = replaced(judgement(vec![Judged { wins: 3, losses: 1, ..pair(0, 1, (0.2, 0.7)) }]), &[1, 0]);
        let turned = &turned.pairs[0];
        assert_eq!((turned.a, turned.b, turned.wins, turned.losses), (0, 1, 1, 3));
        assert!((turned.interval.0 - 0.3).abs() < 1e-9 && (turned.interval.1 - 0.8).abs() < 1e-9);
    }

    #[test]
    fn texts_are_alike_and_other_fields_equal_or_not() {
        let field = |name: &str, kind| AnswerField { name: name.to_owned(), kind, nullable: false, description: None };
        let fields = vec![field("why", FieldType::String), field("score", FieldType::Int)];
        let (mut one, mut two) = (Outcome::default(), Outcome::default());
        for (key, a, b) in [("k1", ["een twee", "3"], ["een twee", "3"]), ("k2", ["een twee", "3"], ["een drie", "4"])] {
            let answer = |values: [&str; 2]| Answer { values: values.map(str::to_owned).into(), attempts: 1 };
            one.answers.insert(key.to_owned(), answer(a));
            two.answers.insert(key.to_owned(), answer(b));
        }
        one.answers.insert("k3".to_owned(), Answer { values: vec![String::new(); 2], attempts: 1 });
        let agreement = agreements(&[one, two], &AnswerShape::Fields(fields))[0];
        assert_eq!((agreement.rows, agreement.likeness, agreement.equal), (2, Some(0.75), Some(0.5)));
    }
}
