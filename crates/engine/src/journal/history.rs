//! What was journalled before: what it cost, and which of it bears on a row.
//!
//! Of every attempt two numbers are kept for each of its rows, one of the key and one of the question: sixteen bytes, in
//! memory while they are few ([`crate::sorted`]). They say where to look; what is read there has the last word, so that
//! a collision costs a look and nothing else. What was said stays in the segments until somebody asks for it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use promptmill_core::{Attempt, Class, Error, Experience, Fingerprint, Money, Past, Result};

use super::names::Segment;
use super::segment;
use crate::commit::key_hash;
use crate::sorted::{Record, Sorted};
use crate::storage::Folder;

/// Segments that are read at once when a journal is opened: on S3 most of the time is waiting.
const SEGMENTS_AT_ONCE: usize = 4;
/// Attempts with other rows that are looked at for an answer to the same question, the latest ones: who has an answer asks no
/// more, so the last one usually has it.
const OF_OTHERS: usize = 8;
/// What an attempt came to that a model has said something in.
const SPOKEN: [&str; 4] = ["ok", "incomplete", "truncated", "malformed"];

/// The sealed attempts of a pipeline.
#[derive(Debug)]
pub(super) struct History {
    /// The journal's folder.
    folder: Folder,
    spent: Money,
    /// What each model has billed.
    experience: BTreeMap<String, Experience>,
    /// The segments with the number of their first attempt, in order.
    segments: Vec<(u32, Segment)>,
    attempts: u32,
    /// The start of a question's fingerprint, and the attempt in which a model has said something about it.
    by_question: Sorted<(u32, u32)>,
    /// The start of a key's hash, and the attempt that it was in.
    by_key: Sorted<(u32, u32)>,
    /// Whether something could not be taken in. Who looked up the rest would pay anew for what is missing.
    has_holes: bool,
}

/// What is kept of one segment.
#[derive(Default)]
struct Scanned {
    spent: Money,
    experience: BTreeMap<String, Experience>,
    attempts: u32,
    /// Question, key, attempt; no question where nothing was said.
    rows: Vec<(Option<u32>, u32, u32)>,
}

impl History {
    /// Reads what these segments are about.
    pub(super) async fn read(folder: Folder, segments: Vec<Segment>) -> Result<Self> {
        let (by_question, by_key) = (Sorted::default(), Sorted::default());
        let experience = BTreeMap::new();
        let mut history =
            Self { folder, spent: Money::ZERO, experience, segments: Vec::new(), attempts: 0, by_question, by_key, has_holes: false };
        history.add(segments).await?;
        Ok(history)
    }

    /// Takes in segments that were sealed since.
    pub(super) async fn add(&mut self, segments: Vec<Segment>) -> Result<()> {
        let folder = &self.folder;
        let new = segments.into_iter().filter(|segment| self.segments.iter().all(|(_, known)| known != segment));
        let mut scans = futures::stream::iter(new.collect::<Vec<_>>())
            .map(|segment| async move { scan(folder, &segment).await.map(|scanned| (segment, scanned)) })
            .buffered(SEGMENTS_AT_ONCE);
        self.has_holes = true;
        while let Some((segment, scanned)) = scans.try_next().await? {
            let first = self.attempts;
            self.spent = self.spent.saturating_add(scanned.spent);
            for (model, experience) in scanned.experience {
                self.experience.entry(model).or_default().merge(experience);
            }
            self.attempts += scanned.attempts;
            self.segments.push((first, segment));
            for (question, key, attempt) in scanned.rows {
                if let Some(question) = question {
                    self.by_question.push((question, first + attempt))?;
                }
                self.by_key.push((key, first + attempt))?;
            }
        }
        self.by_question.settle()?;
        self.by_key.settle()?;
        self.has_holes = false;
        Ok(())
    }

    /// What all attempts cost.
    pub(super) fn spent(&self) -> Money {
        self.spent
    }

    /// What each model has billed.
    pub(super) fn experience(&self) -> impl Iterator<Item = (String, Experience)> + '_ {
        self.experience.iter().map(|(model, experience)| (model.clone(), *experience))
    }

    /// How many attempts there are.
    #[cfg(test)]
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether there is nothing to look up.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && !self.has_holes
    }

    /// The attempts that bear on each of these rows, oldest first.
    pub(super) async fn past(&self, rows: &[(&str, Fingerprint)]) -> Result<Vec<Vec<Past>>> {
        if self.has_holes {
            return Err(Error::failed("what was journalled cannot be looked up").hint("run again: nothing that was journalled is lost"));
        }
        let mut past: Vec<Vec<(u32, Past)>> = rows.iter().map(|_| Vec::new()).collect();
        let mut wanted: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, (key, question)) in rows.iter().enumerate() {
            let own = found(&self.by_key, of_key(key), usize::MAX)?;
            let same = found(&self.by_question, of_question(*question), OF_OTHERS)?;
            for attempt in own.into_iter().chain(same) {
                let rows = wanted.entry(attempt).or_default();
                if rows.last() != Some(&index) {
                    rows.push(index);
                }
            }
        }
        let mut wanted = wanted.into_iter().peekable();
        while let Some((attempt, _)) = wanted.peek() {
            let place = self.segments.partition_point(|(first, _)| first <= attempt) - 1;
            let (first, end) = (self.segments[place].0, self.segments.get(place + 1).map_or(u32::MAX, |(first, _)| *first));
            let mut here = Vec::new();
            while let Some((attempt, rows)) = wanted.next_if(|(attempt, _)| *attempt < end) {
                here.push(((attempt - first) as usize, rows));
            }
            let found = self.look(&self.segments[place].1.name(), &here, rows).await?;
            found.into_iter().for_each(|(row, line, found)| past[row].push((first + line as u32, found)));
        }
        for past in &mut past {
            past.sort_by_key(|(attempt, past)| (*attempt, past.position));
        }
        Ok(past.into_iter().map(|past| past.into_iter().map(|(_, past)| past).collect()).collect())
    }

    /// What stands in these lines of a segment about the rows that were found there by number; texts only where an
    /// answer may be.
    async fn look(&self, name: &str, lines: &[(usize, Vec<usize>)], rows: &[(&str, Fingerprint)]) -> Result<Vec<(usize, usize, Past)>> {
        let numbers: Vec<usize> = lines.iter().map(|(line, _)| *line).collect();
        let mut attempts = Vec::with_capacity(lines.len());
        let mut batches = Box::pin(segment::read(&self.folder, name, Some(&segment::WITHOUT_TEXTS), Some(&numbers)).await?);
        while let Some(batch) = batches.try_next().await? {
            attempts.extend(segment::from_batch(&batch)?);
        }
        let mut bearing: Vec<Vec<(usize, usize, bool, bool)>> = Vec::with_capacity(lines.len());
        for (attempt, (_, candidates)) in attempts.iter().zip(lines) {
            bearing.push(candidates.iter().flat_map(|row| bears(attempt, *row, rows[*row])).collect());
        }
        let is_answer = |bearing: &Vec<(usize, usize, bool, bool)>| bearing.iter().any(|(.., is_same_question)| *is_same_question);
        let spoken: Vec<usize> = (0..lines.len()).filter(|line| bearing.get(*line).is_some_and(is_answer)).collect();
        if !spoken.is_empty() {
            let numbers: Vec<usize> = spoken.iter().map(|line| numbers[*line]).collect();
            let mut texts = Box::pin(segment::read(&self.folder, name, Some(&segment::TEXTS), Some(&numbers)).await?);
            let mut spoken = spoken.into_iter();
            while let Some(batch) = texts.try_next().await? {
                for (row, line) in (0..batch.num_rows()).zip(&mut spoken) {
                    segment::add_texts(&mut attempts[line], &batch, row)?;
                }
            }
        }
        let attempts = attempts.into_iter().zip(lines).zip(bearing);
        Ok(attempts
            .flat_map(|((attempt, (line, _)), bearing)| {
                let attempt = Arc::new(attempt);
                bearing.into_iter().map(move |(row, position, is_own, is_same_question)| {
                    (row, *line, Past { attempt: Arc::clone(&attempt), position, is_own, is_same_question })
                })
            })
            .collect())
    }
}

/// How an attempt bears on a row: at which places, as its own, with the same question. Of the same question about
/// other rows one place is enough.
fn bears(attempt: &Attempt, row: usize, (key, question): (&str, Fingerprint)) -> Vec<(usize, usize, bool, bool)> {
    let places = attempt.begun.keys.iter().zip(&attempt.begun.questions).enumerate();
    let mut bearing: Vec<_> = places
        .filter(|(_, (its_key, asked))| *its_key == key || **asked == question)
        .map(|(position, (its_key, asked))| (row, position, its_key == key, *asked == question))
        .collect();
    if bearing.iter().any(|(_, _, is_own, _)| *is_own) {
        bearing.retain(|(_, _, is_own, _)| *is_own);
    } else {
        bearing.truncate(1);
    }
    bearing
}

/// How an attempt that is no part of the history yet bears on a row.
pub(super) fn bearing_of(attempt: &Arc<Attempt>, row: (&str, Fingerprint)) -> Vec<Past> {
    let places = bears(attempt, 0, row).into_iter();
    places
        .map(|(_, position, is_own, is_same_question)| Past { attempt: Arc::clone(attempt), position, is_own, is_same_question })
        .collect()
}

async fn scan(folder: &Folder, segment: &Segment) -> Result<Scanned> {
    let columns = ["model", "cost_usd", "reserved", "answered", "status", "keys", "questions"];
    let limits = [Class::RateLimited.name(), Class::NoCapacity.name()];
    let mut scanned = Scanned::default();
    let mut batches = Box::pin(segment::read(folder, &segment.name(), Some(&columns), None).await?);
    while let Some(batch) = batches.try_next().await? {
        let asked = segment::Asked::of(&batch)?;
        for row in 0..batch.num_rows() {
            let cost = segment::amount(&batch, "cost_usd", row)?.unwrap_or_default();
            scanned.spent = scanned.spent.saturating_add(cost);
            let attempt = scanned.attempts;
            scanned.attempts += 1;
            let status = segment::status(&batch, row)?;
            let reserved = segment::amount(&batch, "reserved", row)?.unwrap_or_default();
            // What is not known is never taken to be more than was set aside.
            if cost > reserved || segment::answered(&batch, row)? > 0 {
                let model = segment::model(&batch, row)?;
                if !scanned.experience.contains_key(model) {
                    scanned.experience.insert(model.to_owned(), Experience::default());
                }
                let rows = asked.in_row(row).count();
                if let Some(experience) = scanned.experience.get_mut(model) {
                    experience.note(reserved, cost, rows);
                }
            }
            // A refusal by a limit says nothing about the rows.
            if cost == Money::ZERO && limits.contains(&status) {
                continue;
            }
            let is_spoken = SPOKEN.contains(&status);
            for asked in asked.in_row(row) {
                let (key, question) = asked?;
                scanned.rows.push((is_spoken.then(|| of_question(question)), of_key(key), attempt));
            }
        }
    }
    Ok(scanned)
}

/// The latest attempts under a number, oldest first.
fn found(list: &Sorted<(u32, u32)>, number: u32, at_most: usize) -> Result<Vec<u32>> {
    let mut attempts = Vec::new();
    list.each((number, 0).place(), |(_, attempt)| {
        attempts.push(attempt);
        ControlFlow::Continue(())
    })?;
    attempts.drain(..attempts.len().saturating_sub(at_most));
    Ok(attempts)
}

fn of_key(key: &str) -> u32 {
    key_hash(key) as u32
}

/// The number that stands for a question.
pub(super) fn of_question(question: Fingerprint) -> u32 {
    let [a, b, c, d, ..] = *question.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}
