//! The sink: answered rows into partitioned Parquet, dead letters beside the state, both by commit.
//!
//! Rows gather in one open file per partition. A commit closes the files, makes them durable and records
//! them; a file that grows to its target size is closed earlier and waits for the next commit. When a run
//! ends, small files are merged, and answers that newer ones have replaced are taken out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::compute::{cast, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use promptmill_core::{Error, Fingerprint, Result, columns};

use crate::commit::{Commit, CommitLog, DataFile, Settled, Settlement, writer_properties};
use crate::owner::Owner;
use crate::storage::Folder;

/// Encoded bytes in all open files together beyond which the largest is closed: the sink's share of memory.
const OPEN_BYTES: usize = 96 << 20;
/// Bytes of a file's open row group beyond which it is encoded.
const ROW_GROUP_BYTES: usize = 24 << 20;
/// The name that Hive gives to the partition of nulls.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Writes results and dead letters, and commits them.
pub(crate) struct Sink {
    results: Folder,
    dead: Folder,
    log: CommitLog,
    settled: Arc<Settled>,
    owner: Owner,
    run_id: String,
    generation: u64,
    next_file: u64,
    target_bytes: usize,
    layout: Layout,
    open: BTreeMap<Vec<Option<String>>, OpenFile>,
    open_dead: Option<OpenFile>,
    /// Written but not yet committed.
    added: Vec<DataFile>,
    dead_added: Vec<DataFile>,
    settlements: Vec<Settlement>,
}

/// Which columns go where.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The columns inside a file of results.
    pub(crate) file: SchemaRef,
    /// The columns that are folders.
    pub(crate) partition_by: Vec<String>,
    /// The columns of dead letters.
    dead: SchemaRef,
    key: String,
    /// How files of results are written.
    properties: WriterProperties,
}

impl Layout {
    /// The layout of results with these columns, the partitions last.
    pub(crate) fn new(results: &SchemaRef, partition_by: &[String], key: &str, output: &SchemaRef) -> Result<Self> {
        let inside = results.fields().len() - partition_by.len();
        let mut dead = vec![output.field_with_name(key)?.clone().with_nullable(true)];
        dead.extend(["reason", "detail", "last_text", "llm_model"].map(|name| Field::new(name, DataType::Utf8, true)));
        dead.extend([
            Field::new("llm_attempts", DataType::Int32, true),
            Field::new("input_tokens", DataType::Int64, true),
            Field::new("output_tokens", DataType::Int64, true),
            Field::new("cost_usd", DataType::Decimal128(18, 9), true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ]);
        // Hardly any value occurs twice in these: a dictionary of them would be a second copy, searched for each row,
        // and some 70 kB a column before the first one.
        let mut unique = vec![key, "input_tokens", "output_tokens", "cost_usd"];
        // Free texts are the answers that can be repaired; those of a fixed set are not.
        let is_text = |field: &Field| {
            field.metadata().contains_key(columns::ANSWER) && output.column_with_name(&format!("{}_flags", field.name())).is_some()
        };
        unique.extend(output.fields().iter().filter(|field| is_text(field)).map(|field| field.name().as_str()));
        let properties = unique
            .into_iter()
            .fold(writer_properties(), |properties, column| properties.set_column_dictionary_enabled(ColumnPath::from(column), false));
        Ok(Self {
            file: Arc::new(Schema::new(results.fields()[..inside].to_vec())),
            partition_by: partition_by.to_vec(),
            dead: Arc::new(Schema::new(dead)),
            key: key.to_owned(),
            properties: properties.build(),
        })
    }

    /// The columns of dead letters.
    pub(crate) fn dead(&self) -> &SchemaRef {
        &self.dead
    }
}

struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl OpenFile {
    fn new(schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(not_written)?;
        Ok(Self { writer, rows: 0 })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(not_written)?;
        self.rows += batch.num_rows() as u64;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(not_written)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }
}

fn not_written(error: parquet::errors::ParquetError) -> Error {
    Error::failed("results cannot be written as Parquet").because(error)
}

impl Sink {
    /// Opens the sink behind a commit log, and sweeps what no commit names.
    pub(crate) async fn open(
        results: Folder,
        state: &Folder,
        log: CommitLog,
        settled: Arc<Settled>,
        layout: Layout,
        run_id: &str,
        target_file_mb: u32,
    ) -> Result<Self> {
        let sink = Self {
            dead: state.folder("dead_letters"),
            generation: log.generation(),
            next_file: log.next_file(),
            log,
            settled,
            owner: Owner::claim(state, &results).await?,
            results,
            run_id: run_id.to_owned(),
            target_bytes: (target_file_mb as usize) << 20,
            layout,
            open: BTreeMap::new(),
            open_dead: None,
            added: Vec::new(),
            dead_added: Vec::new(),
            settlements: Vec::new(),
        };
        sweep(&sink.owner, &sink.results, &sink.log.results()).await?;
        sweep(&sink.owner, &sink.dead, &sink.log.dead_letters()).await?;
        Ok(sink)
    }

    /// Rows taken in since the last commit.
    pub(crate) fn uncommitted(&self) -> usize {
        self.settlements.len()
    }

    /// Dead letters that are committed now.
    pub(crate) fn dead_letters_now(&self) -> u64 {
        self.log.dead_letters().iter().map(|file| file.rows).sum()
    }

    /// Takes in rows from behind the last stage.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let internal = |name: &str| batch.column_by_name(name).ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")));
        let keys = cast(internal(columns::KEY)?, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let questions = internal(columns::QUESTION)?.as_fixed_size_binary();
        let reasons = internal(columns::REASON)?.as_string::<i32>();
        for row in 0..batch.num_rows() {
            let question: [u8; 16] = questions.value(row).try_into().map_err(|_| Error::failed("a question is not 16 bytes long"))?;
            self.settlements.push(Settlement {
                key: keys.value(row).to_owned(),
                question: Fingerprint::from_bytes(question),
                is_dead: reasons.is_valid(row),
                supersedes: self.settled.has_key(keys.value(row)),
            });
        }
        if reasons.null_count() < batch.num_rows() {
            let dead: BooleanArray = reasons.iter().map(|reason| Some(reason.is_some())).collect();
            let letters = self.dead_letters(&filter_record_batch(batch, &dead)?)?;
            let file = match &mut self.open_dead {
                Some(file) => file,
                None => self.open_dead.insert(OpenFile::new(&self.layout.dead, writer_properties().build())?),
            };
            file.write(&letters)?;
        }
        if reasons.null_count() > 0 {
            let good: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
            self.write_results(&filter_record_batch(batch, &good)?)?;
        }
        self.roll().await
    }

    fn write_results(&mut self, batch: &RecordBatch) -> Result<()> {
        let project = |batch: &RecordBatch| -> Result<RecordBatch> {
            let columns = self.layout.file.fields().iter().map(|field| column(batch, field)).collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&self.layout.file), columns)?)
        };
        let values: Vec<StringArray> = self
            .layout
            .partition_by
            .iter()
            .map(|name| {
                let values = batch.column_by_name(name).ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")))?;
                Ok(cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
            })
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
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(OpenFile::new(&self.layout.file, self.layout.properties.clone())?)
                }
            };
            file.write(&part)?;
        }
        Ok(())
    }

    /// Rows with a reason, as dead letters.
    fn dead_letters(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let at = Utc::now().timestamp_micros();
        let arrays = self
            .layout
            .dead
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "reason" => column(batch, &field.as_ref().clone().with_name(columns::REASON)),
                "detail" => column(batch, &field.as_ref().clone().with_name(columns::DETAIL)),
                "last_text" => column(batch, &field.as_ref().clone().with_name(columns::LAST_TEXT)),
                "at" => Ok(Arc::new(TimestampMicrosecondArray::from(vec![at; batch.num_rows()]).with_timezone("UTC")) as ArrayRef),
                _ => column(batch, field),
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.layout.dead), arrays)?)
    }

    /// Closes files that have reached their size, and the largest ones while too much is open.
    async fn roll(&mut self) -> Result<()> {
        loop {
            let largest = self.open.iter().map(|(partition, file)| (file.bytes(), partition)).max();
            let total: usize = self.open.values().map(OpenFile::bytes).sum();
            match largest {
                Some((bytes, partition)) if bytes >= self.target_bytes || total > OPEN_BYTES => {
                    let partition = partition.clone();
                    self.close(partition).await?;
                }
                _ => return Ok(()),
            }
        }
    }

    async fn close(&mut self, partition: Vec<Option<String>>) -> Result<()> {
        let Some(file) = self.open.remove(&partition) else { return Ok(()) };
        let bytes = file.writer.into_inner().map_err(not_written)?;
        let added = self.store(partition, file.rows, bytes).await?;
        self.added.push(added);
        Ok(())
    }

    /// Writes one file of results.
    async fn store(&mut self, partition: Vec<Option<String>>, rows: u64, bytes: Vec<u8>) -> Result<DataFile> {
        let mut path: String = self
            .layout
            .partition_by
            .iter()
            .zip(&partition)
            .map(|(name, value)| format!("{}={}/", encode(name), value.as_deref().map_or_else(|| NULL_PARTITION.to_owned(), encode)))
            .collect();
        path.push_str(&self.file_name());
        let file = DataFile { path, rows, bytes: bytes.len() as u64, partition };
        self.results.put(&file.path, bytes).await?;
        Ok(file)
    }

    fn file_name(&mut self) -> String {
        let number = self.next_file;
        self.next_file += 1;
        self.owner.file_name(self.generation, number)
    }

    /// Makes everything that was taken in a part of the results.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let partitions: Vec<_> = self.open.keys().cloned().collect();
        for partition in partitions {
            self.close(partition).await?;
        }
        if let Some(file) = self.open_dead.take() {
            let bytes = file.writer.into_inner().map_err(not_written)?;
            let letters = DataFile { path: self.file_name(), rows: file.rows, bytes: bytes.len() as u64, partition: vec![] };
            self.dead.put(&letters.path, bytes).await?;
            self.dead_added.push(letters);
        }
        if self.settlements.is_empty() {
            return Ok(());
        }
        let commit = Commit { added: std::mem::take(&mut self.added), dead_letters: std::mem::take(&mut self.dead_added), ..self.record() };
        let settlements = std::mem::take(&mut self.settlements);
        self.log.append(commit, &settlements).await
    }

    fn record(&self) -> Commit {
        Commit {
            run_id: self.run_id.clone(),
            generation: self.generation,
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            next_file: self.next_file,
            ..Commit::default()
        }
    }

    /// Merges small files and takes replaced answers out, in one commit; then removes the files it replaced.
    pub(crate) async fn tidy(&mut self) -> Result<()> {
        let untidy = self.log.untidy().await?;
        let mut commit = Commit { tidied: !untidy.is_empty(), ..Commit::default() };
        for file in self.log.dead_letters() {
            let path = format!("dead_letters/{}", file.path);
            let replaced = replaced(&untidy, self.log.commit_of(&path));
            if replaced.is_empty() {
                continue;
            }
            let bytes = self.read(&self.dead, &file.path).await?;
            if !holds(&bytes, &self.layout.key, &replaced)? {
                continue;
            }
            let (rows, bytes) = merge(vec![(bytes, replaced)], &self.layout.key, writer_properties().build())?;
            commit.removed.push(path);
            if rows > 0 {
                let letters = DataFile { path: self.file_name(), rows, bytes: bytes.len() as u64, partition: vec![] };
                self.dead.put(&letters.path, bytes).await?;
                commit.dead_letters.push(letters);
            }
        }
        let mut partitions: BTreeMap<Vec<Option<String>>, Vec<DataFile>> = BTreeMap::new();
        for file in self.log.results() {
            partitions.entry(file.partition.clone()).or_default().push(file);
        }
        for (partition, files) in partitions {
            for group in self.groups(&files, &untidy).await? {
                let mut parts = Vec::new();
                for file in &group {
                    parts.push((self.read(&self.results, &file.path).await?, replaced(&untidy, self.log.commit_of(&file.path))));
                }
                let (rows, bytes) = merge(parts, &self.layout.key, self.layout.properties.clone())?;
                commit.removed.extend(group.iter().map(|file| file.path.clone()));
                if rows > 0 {
                    let added = self.store(partition.clone(), rows, bytes).await?;
                    commit.added.push(added);
                }
            }
        }
        if commit.removed.is_empty() && !commit.tidied {
            return Ok(());
        }
        let removed = commit.removed.clone();
        let record = Commit {
            added: commit.added,
            dead_letters: commit.dead_letters,
            removed: commit.removed,
            tidied: commit.tidied,
            ..self.record()
        };
        self.log.append(record, &[]).await?;
        for path in removed {
            match path.strip_prefix("dead_letters/") {
                Some(letters) => self.dead.delete(letters).await?,
                None => self.results.delete(&path).await?,
            }
        }
        Ok(())
    }

    /// The files of one partition that are worth rewriting, those to be merged together.
    async fn groups<'f>(&self, files: &'f [DataFile], untidy: &HashMap<String, u64>) -> Result<Vec<Vec<&'f DataFile>>> {
        let mut groups: Vec<Vec<&DataFile>> = Vec::new();
        let (mut group, mut bytes): (Vec<&DataFile>, u64) = (Vec::new(), 0);
        for file in files {
            let is_small = file.bytes * 2 < self.target_bytes as u64;
            if is_small {
                if bytes + file.bytes > self.target_bytes as u64 {
                    groups.push(std::mem::take(&mut group));
                    bytes = 0;
                }
                bytes += file.bytes;
                group.push(file);
            } else if !untidy.is_empty() {
                groups.push(vec![file]);
            }
        }
        groups.push(group);
        let mut worth = Vec::new();
        for group in groups {
            let mut rewrite = group.len() > 1;
            for file in &group {
                let replaced = replaced(untidy, self.log.commit_of(&file.path));
                rewrite =
                    rewrite || (!replaced.is_empty() && holds(&self.read(&self.results, &file.path).await?, &self.layout.key, &replaced)?);
            }
            if rewrite {
                worth.push(group);
            }
        }
        Ok(worth)
    }

    async fn read(&self, folder: &Folder, path: &str) -> Result<Bytes> {
        let found = folder.get(path).await?;
        found.ok_or_else(|| {
            Error::failed(format!("`{folder}/{path}` is missing, though a commit names it"))
                .hint("restore it, or start anew with another sink and state path")
        })
    }
}

/// The keys whose answers in a file of this commit have been replaced since.
fn replaced(untidy: &HashMap<String, u64>, commit: u64) -> Vec<&str> {
    untidy.iter().filter(|(_, by)| **by > commit).map(|(key, _)| key.as_str()).collect()
}

fn keep_mask(batch: &RecordBatch, key: &str, replaced: &std::collections::HashSet<&str>) -> Result<BooleanArray> {
    let keys = batch.column_by_name(key).ok_or_else(|| Error::failed(format!("a file of results has no column `{key}`")))?;
    let keys = cast(keys, &DataType::Utf8)?;
    Ok(keys.as_string::<i32>().iter().map(|key| Some(key.is_none_or(|key| !replaced.contains(key)))).collect())
}

fn not_read(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::failed("a file of results cannot be read").because(error)
}

/// Whether a file holds one of these keys.
fn holds(file: &Bytes, key: &str, replaced: &[&str]) -> Result<bool> {
    if replaced.is_empty() {
        return Ok(false);
    }
    let replaced = replaced.iter().copied().collect();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(not_read)?;
    let mask = parquet::arrow::ProjectionMask::columns(builder.parquet_schema(), [key]);
    for batch in builder.with_projection(mask).build().map_err(not_read)? {
        if keep_mask(&batch.map_err(not_read)?, key, &replaced)?.has_false() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows of several files in one, without those of the keys named beside each.
fn merge(parts: Vec<(Bytes, Vec<&str>)>, key: &str, properties: WriterProperties) -> Result<(u64, Vec<u8>)> {
    // Files of different runs may have different columns: the newest run's come first, older ones fill in nulls.
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for (file, _) in parts.iter().rev() {
        let schema = Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(not_read)?.schema());
        for field in schema.fields() {
            if !fields.iter().any(|known| known.name() == field.name()) {
                fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let mut output = OpenFile::new(&schema, properties)?;
    for (file, replaced) in parts {
        let replaced = replaced.into_iter().collect();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).map_err(not_read)?.build().map_err(not_read)? {
            let batch = batch.map_err(not_read)?;
            let kept = filter_record_batch(&batch, &keep_mask(&batch, key, &replaced)?)?;
            let arrays = schema.fields().iter().map(|field| column(&kept, field)).collect::<Result<Vec<_>>>()?;
            output.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?)?;
        }
    }
    Ok((output.rows, output.writer.into_inner().map_err(not_written)?))
}

/// A column of a batch in the type of `field`; nulls if it is not there.
fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    match batch.column_by_name(field.name()) {
        Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
        Some(array) => Ok(cast(array, field.data_type())?),
        None => Ok(datafusion::arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    }
}

/// Removes our own files that no commit names: a run died before it could record them.
async fn sweep(owner: &Owner, folder: &Folder, live: &[DataFile]) -> Result<()> {
    for name in folder.list().await? {
        if owner.owns(&name) && !live.iter().any(|file| file.path == name) {
            tracing::info!(file = %name, "sweeping a file that no commit names");
            folder.delete(&name).await?;
        }
    }
    Ok(())
}

/// A partition's value as a part of a path, as Hive writes it.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\u{1}'..='\u{1f}'
            | '\u{7f}'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '}'
            | '['
            | ']'
            | '^'
            | '<'
            | '>'
            | '|'
            | '`'
            | '~'
            | '\0' => {
                encoded.push_str(&format!("%{:02X}", c as u32));
            }
            _ => encoded.push(c),
        }
    }
    if encoded.is_empty() { NULL_PARTITION.to_owned() } else { encoded }
}
