//! Texts to judge, in packs as a model would have been asked about them.

use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use promptmill_core::About;
use promptmill_sim::explanation;
use promptmill_sim::motions::Motions;

use crate::Result;

/// An answer and what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) item: String,
}

/// Rows of a request.
const PACK: usize = 15;

/// Answers as the simulated provider gives them about generated motions.
pub(crate) fn generated(count: usize) -> Vec<Answer> {
    let motions = Motions::new(7);
    let item = |n| {
        let motion = motions.motion(n);
        format!("{}\n\n{}", motion.title, motion.body.unwrap_or_default())
    };
    (0..count as u64).map(item).map(|item| Answer { text: explanation(&item, 7), item }).collect()
}

/// Pieces of real motions, as long as answers are. Those of one motion stand far apart: no two share a pack.
pub(crate) fn real(path: &Path, count: usize) -> Result<Vec<Answer>> {
    let mut rounds: Vec<Vec<Answer>> = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
        let batch = batch?;
        let column = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or("no text column");
        for (title, body) in column("title")?.iter().zip(column("body")?) {
            let item = format!("{}\n\n{}", title.unwrap_or_default(), body.unwrap_or_default());
            for (round, text) in pieces(body.unwrap_or_default()).into_iter().enumerate() {
                if rounds.len() == round {
                    rounds.push(Vec::new());
                }
                rounds[round].push(Answer { text, item: item.clone() });
            }
        }
    }
    Ok(rounds.into_iter().flatten().take(count).collect())
}

/// Consecutive lines, joined until they are as long as a short answer and say clearly more than the longest of them: what is
/// hardly more than one line of its motion is an echo, however good the line is.
fn pieces(body: &str) -> Vec<String> {
    const SHORTEST: usize = 160;
    const LONGEST: usize = 1_200;
    let (mut pieces, mut joined) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        joined.push(line);
        let piece = joined.join(" ");
        let longest = joined.iter().map(|line| line.len()).max().unwrap_or(0);
        if piece.len() >= SHORTEST && 3 * longest <= 2 * piece.len() {
            pieces.push(piece);
            joined.clear();
        }
    }
    pieces.retain(|piece| piece.chars().count() <= LONGEST);
    pieces
}

/// Calls `judge` with every answer, its number and what it is about, pack by pack.
pub(crate) fn for_each(answers: &[Answer], mut judge: impl FnMut(usize, &Answer, &About<'_>)) {
    for (number, pack) in answers.chunks(PACK).enumerate() {
        for (position, answer) in pack.iter().enumerate() {
            let others = || pack.iter().enumerate().filter(|(other, _)| *other != position).map(|(_, other)| other);
            let neighbours: Vec<&str> = others().map(|other| other.item.as_str()).collect();
            let said: Vec<&str> = others().map(|other| other.text.as_str()).collect();
            let about = About { item: Some(&answer.item), neighbours: &neighbours, others: &said, instructions: &[] };
            judge(number * PACK + position, answer, &about);
        }
    }
}
