//! The engine: what the runs of a process share; and a run that goes.

use std::path::Path;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use promptmill_core::{Error, Extensions, Meter, Pipeline, Reading, Registry, Result, Stop, StopReason};
use promptmill_llm::Models;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::compare::{self, CompareOptions, Comparison};
use crate::plan::{self, Plan};
use crate::run::{Ended, RunOptions, run};
use crate::{Forecast, forecast, items, sql};

/// The stack of a run.
const STACK_BYTES: usize = 8 << 20;

/// Reads, checks, runs and queries pipelines. Pipelines that run in one engine at the same time share what they ask: one
/// limiter for each model at a provider, whoever asks it.
///
/// ```no_run
/// # async fn job(registry: promptmill_core::Registry) -> promptmill_core::Result<()> {
/// use std::sync::Arc;
///
/// use promptmill_engine::{Engine, RunOptions};
///
/// let engine = Engine::new(registry);
/// let pipeline = Arc::new(engine.read("pipelines/motions.toml".as_ref(), &[]).await?);
/// let run = engine.run(Arc::clone(&pipeline), RunOptions::default());
/// println!("{} answered so far", run.progress().answered);
/// let ended = run.wait().await?;
/// println!("{:?}, for ${}", ended.summary.status, ended.summary.cost_usd);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    registry: Arc<Registry>,
    services: Arc<Extensions>,
}

impl Engine {
    /// An engine for pipelines that name what is in this registry. It writes to where a pipeline says, and nowhere else.
    pub fn new(registry: Registry) -> Self {
        let services = Extensions::default();
        services.insert(Models::new(&registry));
        Self { registry: Arc::new(registry), services: Arc::new(services) }
    }

    /// The same, but its limiters agree with those of other processes of this machine that use the same provider, key and model:
    /// through small files under the user's state folder (`$XDG_STATE_HOME`, else `~/.local/state`). What the command line does.
    #[must_use]
    pub fn with_limits_of_this_machine(self) -> Self {
        self.services.insert(Models::new(&self.registry).with_limits_of_this_machine());
        self
    }

    /// What pipelines may name.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Reads a pipeline file; `settings` are `KEY=VALUE` as after `--set`. A file with mistakes is held against its source as far
    /// as it is right, so that whoever mends it hears of all of them at once.
    ///
    /// # Errors
    /// All its mistakes together, or that it cannot be read.
    pub async fn read(&self, path: &Path, settings: &[String]) -> Result<Pipeline> {
        plan::read(path, settings, &self.registry).await
    }

    /// Checks a pipeline against its source, without sending or writing anything; but for what the footers of many files said,
    /// which the state keeps for the next time.
    ///
    /// # Errors
    /// All its mistakes together.
    pub async fn check(&self, pipeline: &Pipeline) -> Result<Plan> {
        plan::check(pipeline, &self.registry).await
    }

    /// The physical plan of a pipeline, as text.
    ///
    /// # Errors
    /// The pipeline's mistakes, or that no plan can be made.
    pub async fn explain(&self, pipeline: &Pipeline) -> Result<String> {
        plan::explain(pipeline, &self.registry).await
    }

    /// Finds out what a run would do now, without sending or writing anything; but for what the footers of many files said.
    ///
    /// # Errors
    /// The pipeline's mistakes, or that its state cannot be read.
    pub async fn forecast(&self, pipeline: Arc<Pipeline>) -> Result<Forecast> {
        forecast::forecast(pipeline, &self.registry).await
    }

    /// Starts a run of a pipeline, or carries on where its last run stopped.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn run(&self, pipeline: Arc<Pipeline>, options: RunOptions) -> RunHandle {
        let (meter, stop) = (Arc::new(Meter::default()), Stop::default());
        let (engine, counted, stopped) = (self.clone(), Arc::clone(&meter), stop.clone());
        let (done, ended) = oneshot::channel();
        let runtime = Handle::current();
        // A thread of its own, with a stack like that of a main thread: planning goes deep, and writing files takes its time.
        let on_thread = move || {
            // Nobody listens any more if this fails.
            let _ = done.send(runtime.block_on(run(&engine, pipeline, options, counted, stopped)));
        };
        let started = std::thread::Builder::new().name("promptmill run".to_owned()).stack_size(STACK_BYTES).spawn(on_thread);
        RunHandle { meter, stop, ended, not_started: started.err() }
    }

    /// A session with the tables of a pipeline, as they are now: `source`, `results`, `dead_letters`, `attempts`, `runs` and
    /// `unassigned_costs`.
    ///
    /// A run that ends may replace files that the session names: who reads while runs go on uses [`reading`](Self::reading).
    ///
    /// # Errors
    /// If the pipeline is wrong or its state cannot be read.
    pub async fn sql(&self, pipeline: &Pipeline) -> Result<SessionContext> {
        sql::open(pipeline, &self.registry).await
    }

    /// Reads from the tables; and anew from a new session, if that failed and a run has meanwhile committed: it may have
    /// replaced the files that were being read.
    ///
    /// # Errors
    /// If the pipeline is wrong, its state cannot be read, or what `read` says.
    pub async fn reading<T>(&self, pipeline: &Pipeline, read: impl AsyncFnMut(&SessionContext) -> Result<T>) -> Result<T> {
        sql::reading(pipeline, &self.registry, read).await
    }

    /// What a model would be shown of these rows, by key; rows that the source does not have, or that its filters leave out, are
    /// not in it.
    ///
    /// # Errors
    /// The pipeline's mistakes, or that its source cannot be read.
    pub async fn items(&self, pipeline: Arc<Pipeline>, keys: &[String]) -> Result<std::collections::BTreeMap<String, String>> {
        items::items(pipeline, &self.registry, keys).await
    }

    /// Runs a comparison; `stop` ends it early.
    ///
    /// # Errors
    /// If the pipeline or a candidate is wrong, before anything is sent; what befalls one candidate later is among its figures.
    pub async fn compare(&self, options: &CompareOptions, stop: &Stop) -> Result<Comparison> {
        compare::compare(options, self, stop).await
    }

    /// What outlives a run.
    pub(crate) fn services(&self) -> &Arc<Extensions> {
        &self.services
    }
}

/// A run that goes. Whoever drops it asks for the stop: what is in flight is settled and committed then, and nothing more is sent.
#[derive(Debug)]
pub struct RunHandle {
    meter: Arc<Meter>,
    stop: Stop,
    ended: oneshot::Receiver<Result<Ended>>,
    not_started: Option<std::io::Error>,
}

impl RunHandle {
    /// What the run has done so far.
    pub fn progress(&self) -> Reading {
        self.meter.read()
    }

    /// The counters of the run, for somebody who looks at them while others wait for its end.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Asks the run to stop: what is in flight is settled, what is answered is committed, the rest stays for the next run.
    pub fn stop(&self) {
        self.stop.request(StopReason::Asked);
    }

    /// What stops the run, for somebody who does so while others wait for its end; and why it stops.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// If the pipeline is wrong or the run could not begin; nothing has been sent then. What failed later is in what it returns.
    pub async fn wait(mut self) -> Result<Ended> {
        if let Some(error) = self.not_started.take() {
            return Err(Error::failed("the thread of the run cannot be started").because(error));
        }
        (&mut self.ended).await.unwrap_or_else(|_| Err(Error::failed("the run has ended in a panic")))
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        // Of a run that has ended nobody reads it any more.
        self.stop();
    }
}
