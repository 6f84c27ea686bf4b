//! A model as the judge of two answers to the same row, asked twice: once in each order.
//!
//! It is one more trial: a pipeline over the pairs, in a folder of its own, journalled and paid for once.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use promptmill_core::{AnswerField, AnswerShape, Error, FieldType, Money, OtherQuestion, Pipeline, Result, Setting, Stop, Variation};
use serde::Serialize;

use super::figures::{self, Outcome, spent};
use super::trial::{Bench, run_all};
use crate::stats::wilson;
use crate::storage::Folder;

/// The judgements of all pairs of candidates.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// The model that judged.
    pub model: String,
    /// What judging cost, in US dollars.
    pub cost_usd: f64,
    /// The pairs.
    pub pairs: Vec<Judged>,
    /// What went wrong, if it did not end by itself.
    pub error: Option<String>,
}

/// Two candidates, judged over the rows that both of them answered.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// The one candidate, by its place.
    pub a: usize,
    /// The other one.
    pub b: usize,
    /// Rows on which the judge preferred `a` in both orders.
    pub wins: u64,
    /// Rows on which it preferred `b` in both orders.
    pub losses: u64,
    /// Rows that it called equal, or judged by the order.
    pub ties: u64,
    /// The 95% interval of the share of `a` among the rows that were decided, after Wilson.
    pub interval: (f64, f64),
}

const SYSTEM: &str = "You compare two answers to the same task. Say which one does the task better: right, complete, clear, in the language \
that was asked for. Neither length nor the order in which they stand counts. If neither is better, say `equal`.";

/// Judges every pair of candidates.
pub(super) async fn judge(
    bench: &Bench<'_>,
    model: &str,
    outcomes: &[Outcome],
    items: &BTreeMap<String, String>,
    budget: Option<Money>,
    stop: &Stop,
) -> Result<Judgement> {
    let mut rows: Vec<[String; 4]> = Vec::new();
    for (a, b) in couples(outcomes.len()) {
        for (key, one) in &outcomes[a].answers {
            let (Some(two), Some(item)) = (outcomes[b].answers.get(key), items.get(key)) else { continue };
            let (one, two) = (one.values.join("\n"), two.values.join("\n"));
            // What is the same needs no judge.
            if one != two {
                rows.push([format!("{a}>{b}|{key}"), item.clone(), one.clone(), two.clone()]);
                rows.push([format!("{b}>{a}|{key}"), item.clone(), two, one]);
            }
        }
    }
    let mut judgement = Judgement { model: model.to_owned(), cost_usd: 0.0, pairs: Vec::new(), error: None };
    let mut verdicts = BTreeMap::new();
    if !rows.is_empty() {
        let keys: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
        // The names of the candidates are in the file's, so that other candidates have other pairs.
        let names: String = outcomes.iter().map(|outcome| outcome.figures.name.as_str()).collect::<Vec<_>>().join("\n");
        let name = format!("pairs-{}.parquet", &blake3::hash(names.as_bytes()).to_hex()[..8]);
        write(bench.folder, &name, &rows).await?;
        let path = format!("{}/{name}", bench.folder);
        let bench = Bench { sample: &path, ..*bench };
        let trial = bench.trial("judge".to_owned(), model, question(bench.pipeline, model), &names)?;
        let trials = [trial];
        judgement.error = run_all(&trials, bench.engine, budget, stop).await?.pop().flatten();
        let outcome = figures::read(&trials[0], bench.engine.registry(), &keys, None).await?;
        judgement.cost_usd = spent(&trials[0].pipeline, bench.engine.registry()).await?.usd();
        verdicts.extend(outcome.answers.into_iter().filter_map(|(key, answer)| Some((key, answer.values.into_iter().next()?))));
    }
    for (a, b) in couples(outcomes.len()) {
        judgement.pairs.push(counted(a, b, outcomes[a].answers.keys(), &verdicts, |key| {
            let value = |outcome: &Outcome| outcome.answers.get(key).map(|answer| answer.values.clone());
            value(&outcomes[a]).is_some() && value(&outcomes[a]) == value(&outcomes[b])
        }));
    }
    Ok(judgement)
}

fn couples(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// Counts the verdicts about a pair. A row without both verdicts counts for nothing.
fn counted<'k>(
    a: usize,
    b: usize,
    keys: impl Iterator<Item = &'k String>,
    verdicts: &BTreeMap<String, String>,
    same: impl Fn(&String) -> bool,
) -> Judged {
    let (mut wins, mut losses, mut ties) = (0, 0, 0);
    for key in keys {
        if same(key) {
            ties += 1;
            continue;
        }
        let said = |one: usize, two: usize| verdicts.get(&format!("{one}>{two}|{key}")).map(String::as_str);
        match (said(a, b), said(b, a)) {
            (Some("A"), Some("B")) => wins += 1,
            (Some("B"), Some("A")) => losses += 1,
            (Some(_), Some(_)) => ties += 1,
            _ => {}
        }
    }
    Judged { a, b, wins, losses, ties, interval: wilson(wins, wins + losses) }
}

/// The judge's question, as settings: one pair a request, so that no pair stands in another's light.
fn question(base: &Pipeline, model: &str) -> Vec<Setting> {
    let pack = base.blueprint().question().map(|question| &question.pack);
    let task = [pack.and_then(|pack| pack.system.as_deref()), pack.map(|pack| pack.prompt.as_str())].map(Option::unwrap_or_default);
    let better = AnswerField::new("better", FieldType::Enum(["A", "B", "equal"].map(str::to_owned).to_vec()));
    let other = OtherQuestion {
        system: &format!("{SYSTEM}\n\nThe task was:\n{}", task.join("\n")),
        prompt: "Which answer is better?",
        item: "{{ item }}\n\nAnswer A:\n{{ a }}\n\nAnswer B:\n{{ b }}",
        shape: &AnswerShape::Fields(vec![better]),
        model,
        max_tokens_per_row: 100,
    };
    let key = (["source", "key"].map(str::to_owned).to_vec(), "pair".into());
    [key].into_iter().chain(base.varied(&Variation::Question(&other))).collect()
}

async fn write(folder: &Folder, name: &str, rows: &[[String; 4]]) -> Result<()> {
    let column = |index: usize| std::sync::Arc::new(rows.iter().map(|row| Some(row[index].as_str())).collect::<StringArray>()) as ArrayRef;
    let names = ["pair", "item", "a", "b"];
    let batch = RecordBatch::try_from_iter(names.into_iter().enumerate().map(|(index, name)| (name, column(index))))?;
    let unwritable = |error: parquet::errors::ParquetError| Error::failed("the pairs cannot be written").because(error);
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&batch.schema()), None).map_err(unwritable)?;
    writer.write(&batch).map_err(unwritable)?;
    folder.put(name, writer.into_inner().map_err(unwritable)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_in_both_orders_counts() {
        let verdicts: BTreeMap<String, String> = [
            ("0>1|k1", "A"),
            ("1>0|k1", "B"),
            ("0>1|k2", "B"),
            ("1>0|k2", "A"),
            // Always the first one: the order, not the answer.
            ("0>1|k3", "A"),
            ("1>0|k3", "A"),
            ("0>1|k4", "A"),
        ]
        .map(|(key, said)| (key.to_owned(), said.to_owned()))
        .into();
        let keys: Vec<String> = ["k1", "k2", "k3", "k4", "k5"].map(str::to_owned).into();
        let judged = counted(0, 1, keys.iter(), &verdicts, |key| key == "k5");
        assert_eq!((judged.wins, judged.losses, judged.ties), (1, 1, 2));
    }
}
