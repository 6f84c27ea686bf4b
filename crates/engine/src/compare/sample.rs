//! Which rows a comparison asks about: a seeded draw, the same one every time, in one pass and little memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use datafusion::arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use promptmill_core::{Error, Pipeline, Result, nearest};

use crate::key;
use crate::node::from_datafusion;
use crate::sql::quoted;

/// Values of a column that a sample can be spread over.
const MOST_STRATA: usize = 1000;

/// Draws the keys of `rows` rows that pass the pipeline's filters, in the order of the draw. With a column to stratify
/// by, each of its values has its share of the rows, and at least one where there is room.
pub(super) async fn draw(
    session: &SessionContext,
    pipeline: &Pipeline,
    rows: usize,
    stratify: Option<&str>,
    seed: u64,
) -> Result<Vec<String>> {
    let source = session.table_provider("source").await.map_err(from_datafusion)?.schema();
    if let Some(column) = stratify.filter(|column| source.field_with_name(column).is_err()) {
        let known: Vec<&str> = crate::source::visible(&source);
        let hint = match nearest(column, known.iter().copied()) {
            Some(near) => format!("did you mean `--stratify {near}`?"),
            None => format!("columns: {}", known.join(", ")),
        };
        return Err(Error::failed(format!("the source has no column `{column}`")).hint(hint));
    }
    let stratum = stratify.map_or_else(|| "''".to_owned(), |column| format!("coalesce(CAST({} AS VARCHAR), '')", quoted(column)));
    let predicates: Vec<String> = pipeline
        .blueprint()
        .filters()
        // On lines of their own, so that a comment at a predicate's end stays there.
        .map(|(_, predicate)| format!("(\n{}\n)", predicate.sql))
        .collect();
    let filter = if predicates.is_empty() { String::new() } else { format!(" WHERE {}", predicates.join(" AND ")) };
    let query = format!("SELECT {} AS key, {stratum} AS stratum FROM source{filter}", key::sql(&pipeline.source.key));
    let mut stream = session.sql(&query).await.map_err(from_datafusion)?.execute_stream().await.map_err(from_datafusion)?;
    let mut strata: BTreeMap<String, Stratum> = BTreeMap::new();
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        let (Some(keys), Some(values)) = (batch.column(0).as_string_opt::<i32>(), batch.column(1).as_string_opt::<i32>()) else {
            return Err(Error::failed("the key does not cast to text"));
        };
        for (key, value) in keys.iter().zip(values).filter_map(|(key, value)| Some((key?, value?))) {
            if !strata.contains_key(value) {
                if strata.len() == MOST_STRATA {
                    let message = format!("column `{}` has more than {MOST_STRATA} values", stratify.unwrap_or_default());
                    return Err(Error::failed(message).hint("stratify by a column of few values, such as a year or a category"));
                }
                strata.insert(value.to_owned(), Stratum::default());
            }
            strata.entry(value.to_owned()).or_default().see(key, rows, seed);
        }
    }
    let sizes: Vec<u64> = strata.values().map(|stratum| stratum.size).collect();
    let seats = seats(&sizes, rows);
    let mut drawn: Vec<(u64, String)> =
        strata.into_values().zip(seats).flat_map(|(stratum, seats)| stratum.kept.into_sorted_vec().into_iter().take(seats)).collect();
    drawn.sort_unstable();
    Ok(drawn.into_iter().map(|(_, key)| key).collect())
}

/// The rows of one value: how many there are, and those that the draw favours.
#[derive(Debug, Default)]
struct Stratum {
    size: u64,
    kept: BinaryHeap<(u64, String)>,
}

impl Stratum {
    fn see(&mut self, key: &str, keep: usize, seed: u64) {
        self.size += 1;
        let digest = blake3::Hasher::new().update(&seed.to_le_bytes()).update(key.as_bytes()).finalize();
        let lot = u64::from_le_bytes(std::array::from_fn(|index| digest.as_bytes()[index]));
        if self.kept.len() < keep {
            self.kept.push((lot, key.to_owned()));
        } else if self.kept.peek().is_some_and(|worst| lot < worst.0) {
            self.kept.pop();
            self.kept.push((lot, key.to_owned()));
        }
    }
}

/// How many of `rows` seats each stratum has: one each as far as they reach, the largest first, then in proportion to the
/// sizes, by the method of Sainte-Laguë (each next seat to the largest of size / (2 · seats + 1)).
fn seats(sizes: &[u64], rows: usize) -> Vec<usize> {
    let mut seats = vec![0_usize; sizes.len()];
    let mut by_size: Vec<usize> = (0..sizes.len()).collect();
    by_size.sort_by_key(|index| (Reverse(sizes[*index]), *index));
    by_size.iter().take(rows).for_each(|index| seats[*index] = 1);
    for _ in seats.iter().sum()..rows {
        let open = (0..sizes.len()).filter(|index| (seats[*index] as u64) < sizes[*index]);
        let quotient = |index: usize| sizes[index] as f64 / (2 * seats[index] + 1) as f64;
        let Some(next) = open.max_by(|a, b| quotient(*a).total_cmp(&quotient(*b)).then(b.cmp(a))) else { break };
        seats[next] += 1;
    }
    seats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_follow_the_sizes_and_leave_nobody_out_who_has_room() {
        assert_eq!(seats(&[800, 150, 50], 20), [16, 3, 1]);
        assert_eq!(seats(&[1000, 1, 1], 10), [8, 1, 1]);
        assert_eq!(seats(&[5, 9, 7], 2), [0, 1, 1], "the largest first");
        assert_eq!(seats(&[2, 2], 10), [2, 2], "no more than there are");
        assert_eq!(seats(&[], 10), Vec::<usize>::new());
    }

    #[test]
    fn a_draw_depends_on_seed_and_keys_alone() {
        let drawn = |keys: &mut dyn Iterator<Item = usize>, seed| {
            let mut stratum = Stratum::default();
            keys.for_each(|key| stratum.see(&format!("k{key}"), 10, seed));
            (stratum.size, stratum.kept.into_sorted_vec())
        };
        let forward = drawn(&mut (0..1000), 1);
        assert_eq!(forward, drawn(&mut (0..1000).rev(), 1));
        assert_eq!((forward.0, forward.1.len()), (1000, 10));
        assert_ne!(forward.1, drawn(&mut (0..1000), 2).1);
    }
}
