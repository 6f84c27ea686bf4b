//! The sink: answered rows into partitioned Parquet, dead letters beside the state, both by commit.
//!
//! Rows gather in one open file per partition. A commit closes the files, makes them durable and records
//! them; a file that grows to its target size is closed earlier and waits for the next commit.
//!
//! A row that has an older answer in the results cannot simply be added: readers would see it twice. Such rows are
//! staged in the state folder, and take the place of the older ones in one commit when the run ends ([`swap`]); until
//! then the older ones stay. Then small files are merged ([`compact`]). Where the sink is a Delta table, its log follows the
//! commits ([`delta`]).

mod compact;
mod delta;
mod layout;
mod mend;
mod reshape;
mod stored;
mod swap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::compute::{cast, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::DataType;
use promptmill_core::pipeline::SinkFormat;
use promptmill_core::{Error, Fingerprint, Result, columns};

use crate::commit::{Commit, CommitLog, DataFile, Outcome, RowChange, Settled, Settlement, index_file, key_digest, writer_properties};
use crate::owner::{Owner, hidden, shown};
use crate::plan::names::named;
use crate::sorted::Sorted;
use crate::storage::Folder;
pub(crate) use delta::{in_table, log_store, storable, storable_as_partition};
pub(crate) use layout::{Layout, dead_letters_of, decode, unnameable};
use layout::{OpenFile, column, folders};
pub(crate) use stored::columns_of_each;
use stored::{Alike, Leaves};

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

/// Files that commits name and that are not there, by their paths.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    results: BTreeSet<String>,
    dead_letters: BTreeSet<String>,
    /// Whether no file of results is there at all.
    is_all_gone: bool,
}

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Results,
    DeadLetters,
    Index,
}

/// Where files go and what they are called.
pub(crate) struct Files {
    results: Folder,
    dead: Folder,
    index: Folder,
    /// `results/` and `dead_letters/` of what is staged.
    staging: Folder,
    owner: Owner,
    /// Whether readers learn from the log of a Delta table which files there are, and need no others hidden.
    is_table: bool,
    generation: u64,
    next: u64,
    target_bytes: usize,
    layout: Layout,
}

/// Files that have become fewer.
#[derive(Default)]
struct Merged {
    added: Vec<DataFile>,
    /// Their paths, relative to their folder.
    removed: Vec<String>,
}

/// Where files lie until their commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Where readers look.
    #[default]
    Shown,
    /// Beside it: they take the place of others.
    Hidden,
    /// In the state, until the run ends.
    Staged,
}

/// Rows that become part of the results together.
#[derive(Default)]
struct Bundle {
    place: Place,
    open: BTreeMap<Vec<Option<String>>, OpenFile>,
    open_dead: Option<OpenFile>,
    /// Written, but not yet committed.
    added: Vec<DataFile>,
    dead_letters: Vec<DataFile>,
    index: Vec<DataFile>,
    /// Rows that are in no index yet.
    settlements: Vec<Settlement>,
    /// By how many rows the bundle changes what counts, by those that it settles.
    settles: RowChange,
    /// Whether something of it could not be written: its rows are not settled then, and nothing of it is committed. The
    /// journal has their answers for the next run.
    is_broken: bool,
}

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
}

impl Sink {
    /// Opens the sink behind a commit log, sweeps what no commit names, and mends what lacks rows.
    pub(crate) async fn open(state: &Folder, opening: Opening) -> Result<Self> {
        let Opening { results, owner, mut log, with_dead_letters, layout, run_id, format, name, target_file_mb, mode, question } = opening;
        // A file with a lower number has been named by a commit.
        let unnamed = log.next_file();
        if state.local().is_none() {
            log.claim(&run_id, now()).await?;
        }
        let files = Files {
            generation: if mode == Mode::Add { log.generation() } else { log.generation() + 1 },
            next: log.next_file(),
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
        let (now, staged) = (Bundle::default(), Bundle { place: Place::Staged, ..Bundle::default() });
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
            sink.mend(&missing, with_dead_letters).await?;
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
            self.files.results.delete_all(removed.results).await?;
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

impl Bundle {
    /// Begins to write something, which may fail: then the bundle is broken, until somebody says otherwise.
    fn risk(&mut self) -> Result<()> {
        if self.is_broken {
            return Err(Error::failed("nothing more is committed after a file of the same rows could not be written").hint(KEPT));
        }
        self.is_broken = true;
        Ok(())
    }

    /// Takes in rows.
    fn write(&mut self, files: &mut Files, batch: &RecordBatch) -> Result<()> {
        self.risk()?;
        let keys = cast(internal(batch, columns::KEY)?, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let questions = internal(batch, columns::QUESTION)?.as_fixed_size_binary();
        let reasons = internal(batch, columns::REASON)?.as_string::<i32>();
        for row in 0..batch.num_rows() {
            let question: [u8; 16] = questions.value(row).try_into().map_err(|_| Error::failed("a question is not 16 bytes long"))?;
            let outcome = if reasons.is_valid(row) { Outcome::Dead } else { Outcome::Answered };
            self.settles.settles(outcome);
            let question = Fingerprint::from_bytes(question);
            self.settlements.push(Settlement { key: keys.value(row).to_owned(), question, outcome });
        }
        if reasons.null_count() < batch.num_rows() {
            let dead: BooleanArray = reasons.iter().map(|reason| Some(reason.is_some())).collect();
            let letters = dead_letters(&files.layout, &filter_record_batch(batch, &dead)?)?;
            let file = match &mut self.open_dead {
                Some(file) => file,
                None => self.open_dead.insert(OpenFile::new(&files.layout.dead, writer_properties().build())?),
            };
            file.write(&letters)?;
        }
        if reasons.null_count() > 0 {
            let good: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
            self.write_results(&files.layout, &filter_record_batch(batch, &good)?)?;
        }
        self.is_broken = false;
        Ok(())
    }

    fn write_results(&mut self, layout: &Layout, batch: &RecordBatch) -> Result<()> {
        let project = |batch: &RecordBatch| -> Result<RecordBatch> {
            let columns = layout.file.fields().iter().map(|field| column(batch, field)).collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&layout.file), columns)?)
        };
        let partitions = layout.shape.partitions();
        let values: Vec<StringArray> = partitions
            .iter()
            .map(|field| Ok(cast(&column(batch, field)?, &DataType::Utf8)?.as_string::<i32>().clone()))
            .collect::<Result<_>>()?;
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<u64>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let partition = values.iter().map(|values| values.is_valid(row).then(|| values.value(row).to_owned())).collect();
            groups.entry(partition).or_default().push(row as u64);
        }
        let one = groups.len() == 1;
        for (partition, rows) in groups {
            let part = if one { project(batch)? } else { project(&take_record_batch(batch, &UInt64Array::from(rows))?)? };
            let file = match self.open.entry(partition) {
                btree_map::Entry::Occupied(open) => open.into_mut(),
                btree_map::Entry::Vacant(free) => free.insert(OpenFile::new(&layout.file, layout.properties.clone())?),
            };
            file.write(&part)?;
        }
        Ok(())
    }

    fn open_bytes(&self) -> usize {
        self.open.values().map(OpenFile::bytes).sum()
    }

    fn largest(&self) -> Option<(usize, Vec<Option<String>>)> {
        let largest = self.open.iter().map(|(partition, file)| (file.bytes(), partition)).max();
        largest.map(|(bytes, partition)| (bytes, partition.clone()))
    }

    async fn close(&mut self, files: &mut Files, partition: Vec<Option<String>>) -> Result<()> {
        let Some(file) = self.open.remove(&partition) else { return Ok(()) };
        self.risk()?;
        let (rows, bytes) = file.finish()?;
        let added = files.store(partition, rows, bytes, self.place).await?;
        self.added.push(added);
        self.is_broken = false;
        Ok(())
    }

    /// Writes out everything that was taken in.
    async fn finish(&mut self, files: &mut Files) -> Result<()> {
        let partitions: Vec<_> = self.open.keys().cloned().collect();
        for partition in partitions {
            self.close(files, partition).await?;
        }
        self.close_dead(files).await?;
        self.write_index(files).await?;
        // Also where nothing was left to be written now.
        self.risk()?;
        self.is_broken = false;
        Ok(())
    }

    async fn close_dead(&mut self, files: &mut Files) -> Result<()> {
        let Some(file) = self.open_dead.take() else { return Ok(()) };
        self.risk()?;
        let (rows, bytes) = file.finish()?;
        self.dead_letters.push(files.store_dead(rows, bytes, self.place).await?);
        self.is_broken = false;
        Ok(())
    }

    async fn write_index(&mut self, files: &mut Files) -> Result<()> {
        if !self.settlements.is_empty() {
            self.risk()?;
            self.index.push(files.store_index(&std::mem::take(&mut self.settlements)).await?);
            self.is_broken = false;
        }
        Ok(())
    }
}

impl Files {
    fn name(&mut self) -> String {
        let number = self.next;
        self.next += 1;
        self.owner.file_name(self.generation, number)
    }

    fn folder(&self, kind: Kind) -> &Folder {
        match kind {
            Kind::Results => &self.results,
            Kind::DeadLetters => &self.dead,
            Kind::Index => &self.index,
        }
    }

    /// Of each row why no folder can be called after its partition, if none can.
    fn unnameable(&self, batch: &RecordBatch) -> Result<Vec<Option<String>>> {
        let partitions = self.layout.shape.partitions();
        let values = partitions.iter().map(|field| Ok((field.name().as_str(), cast(&column(batch, field)?, &DataType::Utf8)?)));
        Ok(unnameable(&values.collect::<Result<Vec<_>>>()?, batch.num_rows(), self.results.longest_name()))
    }

    /// Writes files of one kind, and of one partition, as one; without the rows whose keys leave.
    async fn merge(&mut self, kind: Kind, files: &[&DataFile], leaves: Option<Leaves<'_>>) -> Result<DataFile> {
        let mut alike = Alike::among(self.folder(kind), files).await?;
        match (alike.pop(), alike.is_empty()) {
            (Some(alike), true) => self.write_alike(kind, files, alike, leaves).await,
            _ => Err(Error::failed("files of other columns cannot be written as one")),
        }
    }

    /// Writes those of these files as one that have the same columns; one that has a company of its own stays as it is.
    async fn merge_alike(&mut self, kind: Kind, files: &[&DataFile]) -> Result<Merged> {
        let mut merged = Merged::default();
        for alike in Alike::among(self.folder(kind), files).await? {
            if alike.len() > 1 {
                merged.removed.extend(alike.paths().map(str::to_owned));
                merged.added.push(self.write_alike(kind, files, alike, None).await?);
            }
        }
        Ok(merged)
    }

    async fn write_alike(&mut self, kind: Kind, files: &[&DataFile], alike: Alike<'_>, leaves: Option<Leaves<'_>>) -> Result<DataFile> {
        // The folder that one of them is in is that of them all.
        let partition = files.first().map(|file| file.partition.clone()).unwrap_or_default();
        let beside = files.first().and_then(|file| file.path.rsplit_once('/')).map(|(folders, _)| format!("{folders}/"));
        let mut path = beside.unwrap_or_default() + &self.name();
        if kind == Kind::Results && !self.is_table {
            // Its rows are still in those that it is made of.
            path = hidden(&path);
        }
        let folder = self.folder(kind);
        let properties = if kind == Kind::Results { self.layout.properties.clone() } else { writer_properties().build() };
        let leaves = leaves.map(|leaves| (&self.layout.shape.key, leaves));
        let mut upload = folder.upload(&path);
        match alike.write(folder, leaves, properties, &mut upload).await {
            Ok((rows, bytes)) => upload.finish().await.map(|()| DataFile { path, rows, bytes, partition }),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Writes one file of results.
    async fn store(&mut self, partition: Vec<Option<String>>, rows: u64, bytes: Vec<u8>, place: Place) -> Result<DataFile> {
        let path = folders(&self.layout.shape.partition_by, &partition) + &self.name();
        let path = if place == Place::Hidden { hidden(&path) } else { path };
        let file = DataFile { path, rows, bytes: bytes.len() as u64, partition };
        match place {
            Place::Staged => self.staging.folder("results").put(&file.path, bytes).await?,
            Place::Shown | Place::Hidden => self.results.put(&file.path, bytes).await?,
        }
        Ok(file)
    }

    /// Writes one file of dead letters.
    async fn store_dead(&mut self, rows: u64, bytes: Vec<u8>, place: Place) -> Result<DataFile> {
        let file = DataFile { path: self.name(), rows, bytes: bytes.len() as u64, partition: vec![] };
        if place == Place::Staged {
            self.staging.folder("dead_letters").put(&file.path, bytes).await?;
        } else {
            self.dead.put(&file.path, bytes).await?;
        }
        Ok(file)
    }

    /// Writes one file of the index of settled rows.
    async fn store_index(&mut self, settlements: &[Settlement]) -> Result<DataFile> {
        let bytes = index_file(settlements)?;
        let file = DataFile { path: self.name(), rows: settlements.len() as u64, bytes: bytes.len() as u64, partition: vec![] };
        self.index.put(&file.path, bytes).await?;
        Ok(file)
    }

    /// Removes our own files that no commit names: a run died before it could record them. Files with later numbers
    /// than ours belong to a run that has taken over, and files of results with earlier numbers than `from` to older
    /// versions of a table. Returns the files that commits name and that are not there, or not whole.
    async fn sweep(&self, log: &CommitLog, from: u64) -> Result<Missing> {
        let staged = self.staging.list().await?;
        self.staging.delete_all(staged.iter().map(String::as_str)).await?;
        let folders = [(Kind::Results, log.results(), from), (Kind::DeadLetters, log.dead_letters(), 0), (Kind::Index, log.index(), 0)];
        let mut missing = Missing::default();
        for (kind, files, from) in folders {
            let folder = self.folder(kind);
            let live: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            folder.remove_unfinished(|name| self.owner.number(name).is_some()).await?;
            let sizes = folder.sizes().await?;
            // Files of a Delta table may have names that are escaped in another way, and its log tells what is missing.
            if kind == Kind::DeadLetters || kind == Kind::Results && !self.owner.has_table() {
                // One that is not as long as it was written is as good as gone.
                let gone = files.iter().filter(|file| sizes.get(&file.path) != Some(&file.bytes));
                let gone: BTreeSet<String> = gone.map(|file| file.path.clone()).collect();
                if kind == Kind::Results {
                    missing.is_all_gone = !gone.is_empty() && !sizes.keys().any(|name| self.owner.number(name).is_some());
                }
                if kind == Kind::Results { missing.results = gone } else { missing.dead_letters = gone }
            }
            if kind == Kind::Results && !files.is_empty() {
                self.look_at_others(&sizes).await?;
            }
            let orphans = sizes.keys().map(String::as_str).filter(|name| {
                let is_ours =
                    self.owner.number(name).is_some_and(|number| number >= from && (folder.local().is_some() || number < self.next));
                is_ours && !live.contains(name)
            });
            let orphans: Vec<&str> = orphans.collect();
            if !orphans.is_empty() {
                tracing::info!(files = orphans.len(), %folder, "sweeping files that no commit names");
                folder.delete_all(orphans).await?;
            }
        }
        Ok(missing)
    }

    /// Takes back a claim that a run died before it could, and says which files of others lie among the results.
    async fn look_at_others(&self, there: &BTreeMap<String, u64>) -> Result<()> {
        if there.keys().any(|name| Owner::is_claim(name)) {
            Owner::release(&self.results).await?;
        }
        let mut others = self.owner.others(there.keys());
        if let (Some(file), false) = (others.next(), self.owner.has_table()) {
            let more = others.count();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            tracing::warn!(
                "`{}` holds files that this pipeline has not written (`{file}`{more}): who reads the folder reads them too",
                self.results
            );
        }
        Ok(())
    }
}

fn internal<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")))
}

/// The rows with those as dead letters whose partition no folder can be called after, and how many they are.
fn unnameable_as_dead(files: &Files, batch: &RecordBatch) -> Result<(RecordBatch, u64)> {
    let reasons = internal(batch, columns::REASON)?.as_string::<i32>();
    let details = files.unnameable(batch)?;
    let count = (0..batch.num_rows()).filter(|row| details[*row].is_some() && reasons.is_null(*row)).count();
    if count == 0 {
        return Ok((batch.clone(), 0));
    }
    let mut arrays = batch.columns().to_vec();
    let (reason, detail) = (batch.schema().index_of(columns::REASON)?, batch.schema().index_of(columns::DETAIL)?);
    let before = internal(batch, columns::DETAIL)?.as_string::<i32>();
    let is_new = |row: usize| details[row].is_some() && reasons.is_null(row);
    let rows = 0..batch.num_rows();
    let why = |row: usize| if is_new(row) { Some(columns::UNSTORABLE_REASON) } else { reasons.is_valid(row).then(|| reasons.value(row)) };
    arrays[reason] = Arc::new(rows.clone().map(why).collect::<StringArray>());
    let what = |row: usize| if is_new(row) { details[row].as_deref() } else { before.is_valid(row).then(|| before.value(row)) };
    arrays[detail] = Arc::new(rows.map(what).collect::<StringArray>());
    Ok((RecordBatch::try_new(batch.schema(), arrays)?, count as u64))
}

/// Rows with a reason, as dead letters.
fn dead_letters(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch> {
    let (at, keys) = (Utc::now().timestamp_micros(), layout.shape.key.columns().len());
    let arrays = layout
        .dead
        .fields()
        .iter()
        .enumerate()
        // The first ones are the key.
        .map(|(place, field)| match field.name().strip_prefix(&layout.shape.prefix).filter(|_| place >= keys).unwrap_or_default() {
            "reason" => column(batch, &field.as_ref().clone().with_name(columns::REASON)),
            "detail" => column(batch, &field.as_ref().clone().with_name(columns::DETAIL)),
            "last_text" => column(batch, &field.as_ref().clone().with_name(columns::LAST_TEXT)),
            "at" => Ok(Arc::new(TimestampMicrosecondArray::from(vec![at; batch.num_rows()]).with_timezone("UTC")) as ArrayRef),
            _ => column(batch, field),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&layout.dead), arrays)?)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
