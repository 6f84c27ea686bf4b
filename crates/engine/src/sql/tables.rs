//! The tables of a session by name. The source is opened when a query names it: whoever asks about results does not need
//! it, and it may be gone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;
use promptmill_core::pipeline::SourceSpec;
use promptmill_core::{Error, Mistake, Pipeline, Result};
use tokio::sync::OnceCell;

use crate::node::from_datafusion;
use crate::plan::session;
use crate::source;
use crate::storage::Folder;

/// The name of the table that is opened late.
const SOURCE: &str = "source";

/// Why a table that a query named could not be opened: what DataFusion makes of it has lost its place in the pipeline file.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Cause>>>);

#[derive(Debug)]
enum Cause {
    Source(Mistake),
    Other(Error),
}

impl Trouble {
    fn note(&self, cause: Cause) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }

    /// The cause of a failure: this one, if there was any.
    pub(super) fn behind(&self, error: Error, pipeline: &Pipeline) -> Error {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Cause::Source(mistake)) => pipeline.diagnostics(vec![pipeline.diagnostic(&["source"], mistake)]).into(),
            Some(Cause::Other(cause)) => cause,
            None => error,
        }
    }
}

/// Tables that cannot be opened, and why, until it has been said.
#[derive(Debug, Default)]
struct Failed {
    names: Vec<&'static str>,
    error: Option<Error>,
}

/// The tables.
pub(super) struct Tables {
    there: MemorySchemaProvider,
    spec: SourceSpec,
    state: Folder,
    source: OnceCell<Arc<dyn TableProvider>>,
    failed: Mutex<Failed>,
    trouble: Trouble,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("names", &self.table_names()).finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn new(pipeline: &Pipeline, state: &Folder, trouble: &Trouble) -> Self {
        Self {
            there: MemorySchemaProvider::new(),
            spec: pipeline.source.clone(),
            state: state.clone(),
            source: OnceCell::new(),
            failed: Mutex::default(),
            trouble: trouble.clone(),
        }
    }

    pub(super) fn add(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.there.register_table(name.to_owned(), table).map(|_| ()).map_err(from_datafusion)
    }

    /// Says what the source is, where it has been opened already.
    pub(super) fn opened(&mut self, source: Arc<dyn TableProvider>) {
        self.source = OnceCell::new_with(Some(source));
    }

    /// Queries that name one of these tables fail with this error; others do not.
    pub(super) fn fail(&mut self, names: &[&'static str], error: Error) {
        self.failed = Mutex::new(Failed { names: names.to_vec(), error: Some(error) });
    }

    /// Makes these the tables of a session.
    pub(super) fn register(self, session: &SessionContext) -> Result<()> {
        // A store that cannot be named is a mistake of the source, and is told when it is asked for.
        let _ = source::register(session, &self.spec);
        let options = session.copied_config();
        let options = options.options();
        let catalog = session.catalog(&options.catalog.default_catalog).ok_or_else(|| Error::failed("a session without a catalog"))?;
        catalog.register_schema(&options.catalog.default_schema, Arc::new(self)).map(|_| ()).map_err(from_datafusion)
    }

    /// Whether a table cannot be opened, and why if that has not been said.
    fn failed_because(&self, name: &str) -> Option<Option<Error>> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.names.contains(&name).then(|| failed.error.take())
    }

    async fn open_source(&self) -> Result<Arc<dyn TableProvider>, Mistake> {
        // A thread of its own: what opens a source borrows across its waits, and may not move from one to another.
        let (spec, state) = (self.spec.clone(), self.state.clone());
        let opening = move || tokio::runtime::Handle::current().block_on(async { source::open(&session(None), &spec, Some(&state)).await });
        let opened = tokio::task::spawn_blocking(opening).await;
        opened.map_err(|error| Mistake::new("path", format!("the source cannot be opened: {error}")))?.map(|(table, _)| table)
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.names.iter().map(|name| (*name).to_owned());
        self.there.table_names().into_iter().chain(failed).chain([SOURCE.to_owned()]).collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        if name == SOURCE {
            return match self.source.get_or_try_init(|| self.open_source()).await {
                Ok(source) => Ok(Some(Arc::clone(source))),
                Err(mistake) => {
                    let words = exec_datafusion_err!("{}", mistake.message);
                    self.trouble.note(Cause::Source(mistake));
                    Err(words)
                }
            };
        }
        if let Some(error) = self.failed_because(name) {
            error.into_iter().for_each(|error| self.trouble.note(Cause::Other(error)));
            return Err(exec_datafusion_err!("there are no {name} yet, and their columns cannot be told"));
        }
        self.there.table(name).await
    }

    async fn table_type(&self, name: &str) -> DataFusionResult<Option<TableType>> {
        // All of them can be listed without being opened.
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.there.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.there.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
