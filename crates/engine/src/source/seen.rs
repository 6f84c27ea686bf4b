//! The files of a source, as they were when it was opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use promptmill_core::pipeline::SourceFormat;
use promptmill_core::{Error, Result};

use super::place::Place;
use super::summary::SourceSummary;
use super::wrong::{Wrong, what_is_wrong};
use super::{formats, shown};
use crate::files::paged;
use crate::storage::{Folder, StoredFile};

/// The files of a source, as they were when it was opened.
#[derive(Debug)]
pub(crate) struct SourceFiles {
    pub(super) places: Vec<Place>,
    pub(super) folder: Folder,
    pub(super) seen: Vec<ObjectMeta>,
    pub(crate) summary: SourceSummary,
    /// Columns that are not in the table because their types do not go together, each with the words to say so.
    pub(crate) conflicts: BTreeMap<String, String>,
    /// Rows that may be in memory together.
    pub(super) rows_at_once: usize,
}

impl SourceFiles {
    /// Lets a session read the source, as many rows at a time as its rows allow: whatever gathers rows on their way goes by
    /// their number.
    pub(crate) fn register(&self, session: &SessionContext) {
        self.folder.register(session);
        let state = session.state_ref();
        let mut state = state.write();
        let config = state.config_mut();
        *config = config.clone().with_batch_size(self.rows_at_once);
    }

    /// Fails if a file has changed or gone since. New ones are no part of this run.
    pub(crate) async fn unchanged(&self) -> Result<()> {
        // The files of a Delta table are never changed, and its log says which version was read.
        if self.summary.version.is_some() {
            return Ok(());
        }
        let mut now: BTreeMap<Path, ObjectMeta> = BTreeMap::new();
        for place in &self.places {
            now.extend(place.list().await?.into_iter().map(|found| (found.meta.location.clone(), found.meta)));
        }
        for file in &self.seen {
            let what = match now.get(&file.location) {
                None => "disappeared",
                Some(found) if found.size != file.size || found.last_modified != file.last_modified => "changed",
                Some(_) => continue,
            };
            return Err(Error::failed(format!("source file `{}` {what} during the run", shown(&self.folder, file)))
                .hint("what was answered is kept; run again to ask about what has changed"));
        }
        Ok(())
    }

    /// The failure of a query over the source, with the file that is to blame if there is one: they are read one by one.
    pub(crate) async fn blame(&self, error: Error, whole: bool) -> Error {
        // What reads other files names them itself.
        let are_parquet =
            [formats::named(SourceFormat::Parquet), formats::named(SourceFormat::Delta)].contains(&self.summary.format.as_str());
        for file in self.seen.iter().filter(|_| are_parquet) {
            let Err(found) = read_through(&self.folder, file, whole).await else { continue };
            let Wrong { what, hint } = what_is_wrong(&found);
            let column = if whole { paged::unreadable_column(&self.folder, file).await.ok().flatten() } else { None };
            let column = column.map_or_else(String::new, |column| format!(" (column `{column}`)"));
            return Error::failed(format!("source file `{}` {what}{column}", shown(&self.folder, file)))
                .hint(format!("{hint}; what was answered is kept"))
                .because(found);
        }
        error
    }

    /// The path of the source that would hold what is written into a folder.
    pub(crate) fn holding(&self, folder: &Folder) -> Option<&str> {
        self.places.iter().find(|place| place.would_hold(folder)).map(|place| place.written.as_str())
    }
}

async fn read_through(folder: &Folder, file: &ObjectMeta, whole: bool) -> Result<(), ParquetError> {
    if whole {
        return paged::read_through(folder, file).await;
    }
    let mut stored = StoredFile { store: Arc::clone(folder.store()), path: file.location.clone(), size: Some(file.size) };
    stored.get_metadata(None).await.map(drop)
}
