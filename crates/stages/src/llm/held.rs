//! How much is held: every row that has come in and is not handed out yet, wherever it waits.

use arrow::array::{Array, RecordBatch};

use super::row::Row;

/// Rows that are held at the most before reading goes on …
const ROWS: usize = 32 * 1024;
/// … and their bytes. What one batch of the source brings comes on top of both.
const BYTES: usize = 128 << 20;

/// The rows that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    rows: usize,
    bytes: usize,
}

impl Held {
    /// Whether nothing more should be read until something has been handed out.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.bytes += row.bytes;
    }

    pub(super) fn remove(&mut self, row: &Row) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.bytes);
    }

    /// What a batch takes for each of its rows: it stays while one of them does.
    pub(super) fn batch_bytes(batch: &RecordBatch) -> usize {
        let bytes = |column: &dyn Array| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
        batch.columns().iter().map(|column| bytes(&**column)).sum::<usize>() / batch.num_rows().max(1)
    }

    /// What a row takes.
    pub(super) fn row_bytes(item: &str, batch_bytes: usize) -> usize {
        size_of::<Row>() + item.len() + batch_bytes
    }
}
