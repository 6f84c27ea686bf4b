//! The sink: answered rows into partitioned Parquet, dead letters beside the state, both by commit.
//!
//! Rows gather in one open file per partition. A commit closes the files, makes them durable and records
//! them; a file that grows to its target size is closed earlier and waits for the next commit.
//!
//! A row that has an older answer in the results cannot simply be added: readers would see it twice. Such rows are
//! staged in the state folder, and take the place of the older ones in one commit when the run ends ([`swap`]); until
//! then the older ones stay. Then small files are merged ([`compact`]). Where the sink is a Delta table, its log follows the
//! commits ([`delta`]).

mod bundle;
mod compact;
mod delta;
mod files;
mod layout;
mod mend;
mod reshape;
mod stored;
mod swap;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::DataType;
use promptmill_core::pipeline::SinkFormat;
use promptmill_core::{Error, Fingerprint, Result, columns};

use crate::commit::{Commit, CommitLog, DataFile, RowChange, Settled, key_digest};
use crate::journal::RunJournal;
use crate::owner::{Owner, shown};
use crate::plan::names::named;
use crate::sorted::Sorted;
use crate::storage::Folder;
use bundle::{Bundle, internal};
pub(crate) use delta::{in_table, log_store, storable, storable_as_partition};
pub(crate) use files::Files;
use files::{Kind, Merged, Place, unnameable_as_dead};
pub(crate) use layout::{Layout, dead_letters_of, decode, partition_texts, unnameable};
pub(crate) use stored::columns_of_each;
use sweep::Missing;

/// Encoded bytes in all open files together beyond which the largest is closed: the sink's share of memory.
const OPEN_BYTES: usize = 96 << 20;
/// The same of a file of dead letters, whose last texts may be long.
const DEAD_BYTES: usize = 24 << 20;
/// Files that are open at the most: one that is empty takes a quarter of a megabyte, which its bytes do not tell.
const OPEN_FILES: usize = 256;
/// Staged rows that are remembered one by one before their index is written.
const INDEX_ROWS: usize = 250_000;

/// What becomes of the rows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// New rows are added as they come; changed ones take the place of older ones when the run ends.
    Add,
    /// All rows take the place of older ones when the run ends, as a new generation.
    Replay,
    /// All rows, and only they, are the results when the run ends, as a new generation with this salt.
    Fresh(String),
}

/// Writes results and dead letters, and commits them.
pub(crate) struct Sink {
    files: Files,
    log: CommitLog,
    /// What readers of Delta see, if the sink is such a table.
    table: Option<delta::Table>,
    settled: Arc<Settled>,
    run_id: String,
    mode: Mode,
    /// What all rows are asked in common.
    question: Fingerprint,
    /// What the next commit adds.
    now: Bundle,
    /// What is staged until the run ends.
    staged: Bundle,
    /// The keys of what is staged, if it takes the place of the same rows and not of all.
    replaced: Sorted<u128>,
    /// Whether the sink says by a claim whose it is, since there are no results yet.
    is_claimed: bool,
    /// Whether a record could not be appended: nobody knows then what the log holds, and nothing more is committed.
    is_broken: bool,
}

/// What becomes of answers that could not be committed.
const KEPT: &str = "run again: what has been answered is in the journal";

/// What a sink is opened with.
pub(crate) struct Opening {
    pub(crate) results: Folder,
    /// Who has claimed them.
    pub(crate) owner: Owner,
    pub(crate) log: CommitLog,
    /// Whether dead letters are settled; if not, they are to be asked again.
    pub(crate) with_dead_letters: bool,
    pub(crate) layout: Layout,
    pub(crate) run_id: String,
    pub(crate) format: SinkFormat,
    /// What a table is called.
    pub(crate) name: String,
    pub(crate) target_file_mb: u32,
    pub(crate) mode: Mode,
    pub(crate) question: Fingerprint,
    /// Who holds the state's lock.
    pub(crate) journal: Option<Arc<RunJournal>>,
}

impl Sink {
    /// Opens the sink behind a commit log, sweeps what no commit names, and mends what lacks rows.
    pub(crate) async fn open(state: &Folder, opening: Opening) -> Result<Self> {
        let Opening { results, owner, mut log, with_dead_letters, layout, run_id, format, name, target_file_mb, mode, question, journal } =
            opening;
        // A file with a lower number has been named by a commit.
        let unnamed = log.next_file();
        if state.local().is_none() {
            log.claim(&run_id, now()).await?;
        }
        let files = Files {
            generation: if mode == Mode::Add { log.generation() } else { log.generation() + 1 },
            // Each run that writes begins behind all numbers that were given out, so that no other state has the same.
            next: log.next_file().max(owner.reserved().unwrap_or(0)),
            state: state.clone(),
            journal,
            target_bytes: (target_file_mb as usize) << 20,
            dead: state.folder("dead_letters"),
            index: state.folder("index"),
            staging: state.folder("staging"),
            is_table: format == SinkFormat::Delta,
            results,
            owner,
            layout,
        };
        for folder in ["commits", "runs", "staging"] {
            state.folder(folder).remove_unfinished(|_| true).await?;
        }
        let missing = files.sweep(&log, if files.is_table { unnamed } else { 0 }).await?;
        let settled = Arc::new(log.settled(with_dead_letters).await?);
        let (now, staged) = (Bundle::new(Place::Shown), Bundle::new(Place::Staged));
        let (replaced, is_claimed) = (Sorted::default(), log.results().is_empty());
        let mut sink =
            Self { files, log, table: None, settled, run_id, mode, question, now, staged, replaced, is_claimed, is_broken: false };
        // Others may have rearranged the files of a table: it is asked first.
        let was_table = sink.files.owner.has_table();
        if !was_table {
            sink.mend(&missing, with_dead_letters).await?;
            sink.show(&missing).await?;
        }
        if sink.files.is_table {
            sink.open_table(state, name).await?;
        }
        if was_table {
            sink.mend(&missing.of_table(&sink.log), with_dead_letters).await?;
        }
        sink.reshape().await?;
        Ok(sink)
    }

    async fn open_table(&mut self, state: &Folder, name: String) -> Result<()> {
        let record = self.plain_record();
        let files = &mut self.files;
        let known = files.owner.table(state).await?;
        let shape = delta::Shape { layout: &files.layout, name, is_replaced: matches!(self.mode, Mode::Fresh(_)) };
        self.table = Some(delta::Table::open(&files.results, known, shape, &mut self.log, record).await?);
        Ok(())
    }

    /// What is settled as the run begins.
    pub(crate) fn settled(&self) -> Arc<Settled> {
        Arc::clone(&self.settled)
    }

    /// Rows taken in since the last commit.
    pub(crate) fn uncommitted(&self) -> usize {
        self.now.settlements.len()
    }

    /// Rows that are staged until the run ends.
    pub(crate) fn staged(&self) -> u64 {
        self.staged.settlements.len() as u64 + self.staged.index.iter().map(|file| file.rows).sum::<u64>()
    }

    /// Dead letters that are committed now.
    pub(crate) fn dead_letters_now(&self) -> u64 {
        self.log.dead_letters().iter().map(|file| file.rows).sum()
    }

    /// Takes in rows from behind the last stage. Returns how many answers became dead letters, because there can be no
    /// folder for their partition.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<u64> {
        let batch = named(batch, &self.files.layout.shape.prefix)?;
        let (batch, unnameable) = &unnameable_as_dead(&self.files, &batch)?;
        let keys = cast(internal(batch, columns::KEY)?, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let is_staged: Vec<bool> = match self.mode {
            Mode::Add => (0..batch.num_rows()).map(|row| self.settled.has_key(keys.value(row))).collect::<Result<_>>()?,
            Mode::Replay | Mode::Fresh(_) => vec![true; batch.num_rows()],
        };
        if !matches!(self.mode, Mode::Fresh(_)) {
            let mut staged = (0..batch.num_rows()).filter(|row| is_staged[*row]);
            staged.try_for_each(|row| self.replaced.push(key_digest(keys.value(row))))?;
        }
        let staged = is_staged.iter().filter(|staged| **staged).count();
        if staged == 0 {
            self.now.write(&mut self.files, batch)?;
        } else if staged == batch.num_rows() {
            self.staged.write(&mut self.files, batch)?;
        } else {
            let mask = BooleanArray::from(is_staged);
            self.staged.write(&mut self.files, &filter_record_batch(batch, &mask)?)?;
            self.now.write(&mut self.files, &filter_record_batch(batch, &datafusion::arrow::compute::not(&mask)?)?)?;
        }
        for bundle in [&mut self.now, &mut self.staged] {
            if bundle.open_dead.as_ref().is_some_and(|file| file.bytes() > DEAD_BYTES) {
                bundle.close_dead(&mut self.files).await?;
            }
        }
        if self.staged.settlements.len() > INDEX_ROWS {
            self.staged.write_index(&mut self.files).await?;
        }
        self.roll().await?;
        Ok(*unnameable)
    }

    /// Closes files that have reached their size, and the largest ones while too much is open.
    async fn roll(&mut self) -> Result<()> {
        loop {
            let total = self.now.open_bytes() + self.staged.open_bytes();
            let files = self.now.open.len() + self.staged.open.len();
            let bundle = if self.now.largest().map(|(bytes, _)| bytes) >= self.staged.largest().map(|(bytes, _)| bytes) {
                &mut self.now
            } else {
                &mut self.staged
            };
            match bundle.largest() {
                Some((bytes, partition)) if bytes >= self.files.target_bytes || total > OPEN_BYTES || files > OPEN_FILES => {
                    bundle.close(&mut self.files, partition).await?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Makes everything that was taken in, and is not staged, a part of the results.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.now.finish(&mut self.files).await?;
        if self.now.index.is_empty() {
            return Ok(());
        }
        let settles = std::mem::take(&mut self.now.settles);
        let commit = Commit {
            added: std::mem::take(&mut self.now.added),
            dead_letters: std::mem::take(&mut self.now.dead_letters),
            index: std::mem::take(&mut self.now.index),
            question: Some(self.question),
            ..self.record()
        };
        self.settle(commit, settles).await
    }

    /// Appends a record that changes no rows.
    async fn append(&mut self, record: Commit) -> Result<()> {
        self.settle(record, RowChange::default()).await
    }

    /// Appends a record that changes what counts by so many rows; a Delta table follows. Then the files go that the record
    /// takes out, and those that were hidden until then are shown.
    async fn settle(&mut self, record: Commit, by: RowChange) -> Result<()> {
        self.record_and_remove(record, by).await?;
        self.show(&Missing::default()).await
    }

    async fn record_and_remove(&mut self, record: Commit, by: RowChange) -> Result<()> {
        if self.is_broken {
            return Err(Error::failed("nothing more is committed after a commit that failed").hint(KEPT));
        }
        self.is_broken = true;
        self.log.append(record.clone(), by).await?;
        self.is_broken = false;
        let record = Commit { commit: self.log.len(), ..record };
        if let Some(table) = &mut self.table {
            table.follow(record.clone(), self.log.results()).await?;
        }
        let removed = record.removes();
        self.files.dead.delete_all(removed.dead_letters).await?;
        self.files.index.delete_all(removed.index).await?;
        // Older versions of a table still name them; its owner's VACUUM takes them away.
        if self.table.is_none() {
            // One that is named anew stays.
            let stays = |path: &&str| record.added.iter().any(|file| file.path == **path);
            self.files.results.delete_all(removed.results.iter().copied().filter(|path| !stays(path))).await?;
        }
        if self.is_claimed && !self.log.results().is_empty() {
            Owner::release(&self.files.results).await?;
            self.is_claimed = false;
        }
        Ok(())
    }

    /// Gives files their names that were hidden until a commit, but for those that are missing. Each has two names until
    /// the record that says so is written, so that whoever reads what commits name always finds it.
    async fn show(&mut self, missing: &Missing) -> Result<()> {
        let mut record = self.plain_record();
        for file in self.log.results() {
            let Some(path) = shown(&file.path).filter(|_| !missing.results.contains(&file.path)) else { continue };
            self.files.results.copy_as(path, &self.files.results, &file.path, file.bytes).await?;
            record.removed.push(file.path.clone());
            record.added.push(DataFile { path: path.to_owned(), ..file.clone() });
        }
        if record.removed.is_empty() { Ok(()) } else { self.record_and_remove(record, RowChange::default()).await }
    }

    /// Takes over what others have done to the files of a Delta table without changing a row, before they are rewritten.
    async fn adopt(&mut self) -> Result<()> {
        let record = self.record();
        match &mut self.table {
            Some(table) if !matches!(self.mode, Mode::Fresh(_)) => table.adopt(&mut self.log, record).await,
            _ => Ok(()),
        }
    }

    /// A record of this run that changes nothing yet, but for what the results look like from now on.
    fn record(&self) -> Commit {
        // A new generation looks as it does once it takes the place of the old one.
        let shape = Some(&self.files.layout.shape).filter(|shape| !matches!(self.mode, Mode::Fresh(_)) && self.log.shape() != Some(*shape));
        Commit { shape: shape.cloned(), ..self.plain_record() }
    }

    /// A record of this run that changes nothing yet.
    fn plain_record(&self) -> Commit {
        Commit { run_id: self.run_id.clone(), at: now(), next_file: self.files.next, ..self.log.unchanged() }
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
