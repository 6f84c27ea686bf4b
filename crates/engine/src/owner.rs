//! Which sink a state belongs to, and which files there are its own.
//!
//! A commit names files of one sink. Another sink with the same state, or a sink that another pipeline has filled,
//! would have files mixed up, swept or written over; so a state is bound to its sink before the first file is
//! written, and its files carry a mark by which they are known.

use object_store::path::Path;
use promptmill_core::{Error, ErrorKind, Mistake, Pipeline, Result};
use serde::{Deserialize, Serialize};

use crate::commit::CommitLog;
use crate::format::{self, Version};
use crate::storage::Folder;

/// The file in the state folder that says so.
const FILE: &str = "sink.json";
/// Characters of a mark.
const MARK: usize = 4;

/// The folder of files of results that nobody is to see yet: Spark and pyarrow pass over names that begin with `_` …
const HIDDEN: &str = "_staging/";
/// … and DuckDB over those that do not end in `.parquet`.
const HIDDEN_END: &str = ".staged";

/// The file in the sink that says whose it is, while there are no files of results yet whose names say it. No reader of
/// Parquet takes it for data.
const CLAIM: &str = "_staging/claim.json";

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    #[serde(default)]
    v: Version<{ format::CLAIM.version }>,
    mark: String,
    /// Where the state is, to be told to others.
    state: String,
}

impl Claim {
    async fn read(sink: &Folder) -> Result<Option<Self>> {
        let Some(bytes) = sink.get(CLAIM).await? else { return Ok(None) };
        format::CLAIM.check_json(&format!("{sink}/{CLAIM}"), &bytes)?;
        // One that a power cut emptied was never told to be written.
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// Where a file of results lies until it may be seen.
pub(crate) fn hidden(path: &str) -> String {
    format!("{HIDDEN}{path}{HIDDEN_END}")
}

/// Whether a file of results lies hidden.
pub(crate) fn is_hidden(path: &str) -> bool {
    shown(path).is_some()
}

/// Where a file of results that lies hidden belongs; `None` if it does not.
pub(crate) fn shown(path: &str) -> Option<&str> {
    path.strip_prefix(HIDDEN)?.strip_suffix(HIDDEN_END)
}

/// The bond between a state and its sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    #[serde(default)]
    v: Version<{ format::SINK.version }>,
    /// The sink, as seen from the state: both can be moved together.
    sink: String,
    /// Part of the name of every file that is written with this state.
    mark: String,
    /// Under what name this state's transactions are known in the log of a Delta table, once the sink is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// The end of the numbers of files that this state has given out; `None` in one that was written before they were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserved: Option<u64>,
}

/// Why a state and a sink do not go together.
#[derive(Debug)]
pub(crate) enum Unbound {
    /// The pipeline file names others than it should.
    Mistaken(Mistake),
    /// It cannot be told.
    Failed(Error),
}

impl Unbound {
    /// The same, as an error of the pipeline.
    pub(crate) fn of(self, pipeline: &Pipeline) -> Error {
        match self {
            Self::Mistaken(mistake) => pipeline.diagnostics(vec![pipeline.diagnostic(&["sink"], mistake)]).into(),
            Self::Failed(error) => error,
        }
    }

    fn mistaken(message: String, hint: &str) -> Self {
        Self::Mistaken(Mistake::new("path", message).hint(Some(hint)))
    }
}

impl From<Error> for Unbound {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unbound> for Error {
    fn from(unbound: Unbound) -> Self {
        match unbound {
            Unbound::Mistaken(Mistake { message, hint, .. }) => Self::failed(message).of(ErrorKind::State).hint(hint.unwrap_or_default()),
            Unbound::Failed(error) => error,
        }
    }
}

impl Owner {
    /// The bond of a state that has been used; an error if it is bound to another sink.
    pub(crate) async fn find(state: &Folder, sink: &Folder) -> Result<Option<Self>, Unbound> {
        Ok(Self::read(state, sink).await?.map(|(owner, _)| owner))
    }

    /// The bond, and whether it has to be written anew, because what was written cannot be read.
    async fn read(state: &Folder, sink: &Folder) -> Result<Option<(Self, bool)>, Unbound> {
        let Some(bytes) = state.get(FILE).await? else { return Ok(None) };
        format::SINK.check_json(&format!("{state}/{FILE}"), &bytes)?;
        let owner: Self = match serde_json::from_slice(&bytes) {
            Ok(owner) => owner,
            Err(error) => return Ok(Self::from_files(state, sink, error).await?.map(|owner| (owner, true))),
        };
        if owner.sink != as_seen_from(state, sink) {
            return Err(Unbound::mistaken(
                format!("the state in `{state}` belongs to another sink than `{sink}`"),
                "give this sink a state of its own with `--set name=…` or `--set state.path=…`, or a parent folder of its own",
            ));
        }
        Ok(Some((owner, false)))
    }

    /// The bond as the files tell that commits name; `None` if there are none yet, as after a power cut in the first run.
    async fn from_files(state: &Folder, sink: &Folder, error: serde_json::Error) -> Result<Option<Self>> {
        let log = CommitLog::open(state).await?;
        let there = sink.list().await?;
        let named = log.results().iter().chain(log.dead_letters()).chain(log.index());
        let mark = named.filter_map(|file| mark_of(&file.path)).next();
        let is_here = log.results().is_empty() || log.results().iter().any(|file| there.binary_search(&file.path).is_ok());
        let is_table = there.iter().any(|name| name.starts_with("_delta_log/"));
        match mark {
            None if log.results().is_empty() && !is_table => Ok(None),
            Some(mark) if is_here && !is_table => {
                Ok(Some(Self { v: Version, sink: as_seen_from(state, sink), mark: mark.to_owned(), table: None, reserved: None }))
            }
            _ => Err(Error::failed(format!("`{state}/{FILE}` cannot be read, and the files in `{sink}` do not tell what it said"))
                .of(ErrorKind::State)
                .hint("restore it from a backup, or check `sink.path`")
                .because(error)),
        }
    }

    /// The bond of a state, made if it is used for the first time. As long as the state has no results its claim stands in the
    /// sink, so that no other pipeline begins to write there at the same time.
    pub(crate) async fn claim(state: &Folder, sink: &Folder, has_results: bool) -> Result<Self, Unbound> {
        let known = Self::read(state, sink).await?;
        if let Some((owner, is_torn)) = &known {
            if *is_torn {
                tracing::warn!("`{state}/{FILE}` could not be read: it was written anew from what commits name");
                owner.store(state).await?;
            }
            if has_results || owner.has_table() {
                return Ok(owner.clone());
            }
        }
        let is_new = known.is_none();
        let owner = match known {
            Some((owner, _)) => owner,
            None => {
                // A claim of this very state outlives a bond that a power cut has emptied.
                let claimed = Claim::read(sink).await?.filter(|claim| claim.state == state.to_string()).map(|claim| claim.mark);
                let unique = || uuid::Uuid::new_v4().simple().to_string()[..MARK].to_owned();
                Self { v: Version, sink: as_seen_from(state, sink), mark: claimed.unwrap_or_else(unique), table: None, reserved: None }
            }
        };
        // What is there already is known without a claim, which would have to be taken back.
        refuse_others(Some(&owner), sink).await?;
        // The bond first: a claim whose mark no state knows would keep everybody out.
        owner.store(state).await?;
        let claim = Claim { v: Version, mark: owner.mark.clone(), state: state.to_string() };
        let json = serde_json::to_vec_pretty(&claim).map_err(|error| Error::failed("a claim cannot be written as JSON").because(error))?;
        if !sink.create(CLAIM, json.clone()).await? && Claim::read(sink).await?.is_none() {
            // What a power cut has left of one.
            sink.put(CLAIM, json).await?;
        }
        // Whoever was quicker has written a claim, or files and taken the claim back.
        if let Err(others) = refuse_others(Some(&owner), sink).await {
            if is_new {
                state.delete(FILE).await?;
            }
            return Err(others);
        }
        Ok(owner)
    }

    /// Why a run could not claim this sink for a state that has never been used, if it could not.
    pub(crate) async fn check_unclaimed(sink: &Folder) -> Result<(), Unbound> {
        refuse_others(None, sink).await
    }

    /// The Parquet files among these that were not written with this state.
    pub(crate) fn others<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> impl Iterator<Item = &'n String> {
        names.into_iter().filter(|name| name.ends_with(".parquet") && self.number(name).is_none())
    }

    /// Takes the claim back: the names of the files of results say it now.
    pub(crate) async fn release(sink: &Folder) -> Result<()> {
        sink.delete(CLAIM).await
    }

    /// Whether a file of the sink is a claim.
    pub(crate) fn is_claim(name: &str) -> bool {
        name == CLAIM
    }

    async fn store(&self, state: &Folder) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(self).map_err(|error| Error::failed("the sink's bond cannot be written as JSON").because(error))?;
        state.put(FILE, json).await
    }

    /// Whether the sink has become a Delta table.
    pub(crate) fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// Under what name this state's transactions are known there.
    pub(crate) fn known(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// Under what name this state's transactions are known in the log of its Delta table, which the sink is from now on.
    pub(crate) async fn table(&mut self, state: &Folder) -> Result<String> {
        if let Some(table) = &self.table {
            return Ok(table.clone());
        }
        let table = format!("promptmill-{}", uuid::Uuid::new_v4().simple());
        self.table = Some(table.clone());
        self.store(state).await?;
        Ok(table)
    }

    /// The end of the numbers of files that this state has given out, as far as it is known.
    pub(crate) fn reserved(&self) -> Option<u64> {
        self.reserved
    }

    /// Notes in the state that files may have numbers up to this one.
    pub(crate) async fn reserve(&mut self, state: &Folder, end: u64) -> Result<()> {
        self.reserved = Some(end);
        self.store(state).await
    }

    /// The name of a file: the generation with the mark, then a number.
    pub(crate) fn file_name(&self, generation: u64, number: u64) -> String {
        format!("{generation:04}{}-{number:06}.parquet", self.mark)
    }

    /// The number of a file that was written with this state; `None` if it was not.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(HIDDEN_END).unwrap_or(name);
        let digits = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let (generation, number) = name.strip_suffix(".parquet")?.split_once('-')?;
        let is_ours = generation.strip_suffix(&self.mark).is_some_and(digits) && digits(number);
        is_ours.then(|| number.parse().ok()).flatten()
    }
}

/// An error if a sink holds files, or a claim, of another pipeline than its own; whose it is, if it is anybody's yet.
async fn refuse_others(own: Option<&Owner>, sink: &Folder) -> Result<(), Unbound> {
    let names = sink.list().await?;
    let other = match own {
        Some(own) => own.others(&names).next(),
        None => names.iter().find(|name| name.ends_with(".parquet")),
    };
    if let Some(file) = other {
        return Err(Unbound::mistaken(
            format!("sink `{sink}` holds files that this pipeline has not written, such as `{file}`"),
            "choose another `sink.path`; or, if the pipeline's name has changed, point `state.path` at its old state",
        ));
    }
    let is_own = |claim: &Claim| own.is_some_and(|own| own.mark == claim.mark);
    let Some(claim) = Claim::read(sink).await?.filter(|claim| !is_own(claim)) else { return Ok(()) };
    Err(Unbound::mistaken(
        format!("sink `{sink}` is about to be filled by another pipeline, whose state is in `{}`", claim.state),
        &format!("choose another `sink.path`; or, if that pipeline has been given up, remove `{sink}/{CLAIM}`"),
    ))
}

/// The mark in the name of a file that some state has written.
fn mark_of(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (generation, _) = name.strip_suffix(".parquet")?.split_once('-')?;
    let mark = generation.get(generation.len().checked_sub(MARK)?..)?;
    let owner = Owner { v: Version, sink: String::new(), mark: mark.to_owned(), table: None, reserved: None };
    owner.number(path).map(|_| mark)
}

/// The path from one folder to another in the same store; the whole path if they share nothing.
fn as_seen_from(state: &Folder, sink: &Folder) -> String {
    if state.store_url() != sink.store_url() {
        return sink.to_string();
    }
    let (from, to) = (parts(&state.path("")), parts(&sink.path("")));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - shared).map(str::to_owned);
    up.chain(to[shared..].iter().cloned()).collect::<Vec<_>>().join("/")
}

fn parts(path: &Path) -> Vec<String> {
    path.parts().map(|part| part.as_ref().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(root: &std::path::Path, state: &str, sink: &str) -> (Folder, Folder) {
        let open = |name: &str| Folder::open(&root.join(name).to_string_lossy()).expect("opens");
        (open(state), open(sink))
    }

    #[tokio::test]
    async fn a_state_stays_with_its_sink_and_moves_with_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let (state, sink) = folders(temp.path(), "a/_promptmill/m", "a/out");
        assert!(Owner::find(&state, &sink).await.expect("nothing there").is_none());
        let owner = Owner::claim(&state, &sink, false).await.expect("claims");
        assert_eq!(owner.sink, "../../out");
        assert_eq!(Owner::claim(&state, &sink, false).await.expect("has it"), owner);
        let (_, other) = folders(temp.path(), "a/_promptmill/m", "a/other");
        Owner::find(&state, &other).await.expect_err("another sink");
        std::fs::rename(temp.path().join("a"), temp.path().join("b")).expect("moves");
        let (state, sink) = folders(temp.path(), "b/_promptmill/m", "b/out");
        assert_eq!(Owner::find(&state, &sink).await.expect("moved together"), Some(owner));
    }

    #[tokio::test]
    async fn a_bond_that_cannot_be_read_is_told_by_the_files() {
        use crate::commit::{Commit, DataFile, RowChange};
        let temp = tempfile::tempdir().expect("a folder");
        let (state, sink) = folders(temp.path(), "_promptmill/m", "out");
        state.put(FILE, "").await.expect("torn in the first run");
        assert_eq!(Owner::find(&state, &sink).await.expect("as if it was never written"), None);
        let owner = Owner::claim(&state, &sink, false).await.expect("claims");
        let path = format!("year=2024/{}", owner.file_name(12, 7));
        sink.put(&path, "x").await.expect("writes");
        let file = DataFile { path: path.clone(), rows: 1, bytes: 1, partition: vec![] };
        let mut log = CommitLog::open(&state).await.expect("opens");
        let record = Commit { added: vec![file], ..log.unchanged() };
        log.append(record, RowChange { results: 1, dead_letters: 0 }).await.expect("commits");
        state.put(FILE, "{\"sink\": \"..").await.expect("torn");
        assert_eq!(Owner::find(&state, &sink).await.expect("told by the files"), Some(owner.clone()));
        assert_eq!(Owner::claim(&state, &sink, false).await.expect("written anew"), owner);
        assert!(state.get(FILE).await.expect("reads").is_some_and(|bytes| bytes.len() > 20));
        state.put(FILE, "").await.expect("torn");
        let (_, other) = folders(temp.path(), "_promptmill/m", "other");
        Owner::find(&state, &other).await.expect_err("its files are not there");
        sink.put("_delta_log/00000000000000000000.json", "{}").await.expect("writes");
        Owner::find(&state, &sink).await.expect_err("nobody knows what the table knows us by");
    }

    #[tokio::test]
    async fn a_bond_is_written_as_ever_and_one_of_a_later_version_is_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        let (state, sink) = folders(temp.path(), "_promptmill/m", "out");
        let owner =
            Owner { v: Version, sink: "../../out".into(), mark: "a3f2".into(), table: Some("promptmill-a3f2".into()), reserved: None };
        let written = serde_json::to_vec_pretty(&owner).expect("JSON");
        format::golden::check(format::SINK, &written, |bytes| serde_json::from_slice::<Owner>(bytes).is_ok_and(|read| read == owner));
        let claim = serde_json::to_vec_pretty(&Claim { v: Version, mark: "a3f2".into(), state: "out/_promptmill/m".into() }).expect("JSON");
        format::golden::check(format::CLAIM, &claim, |bytes| serde_json::from_slice::<Claim>(bytes).is_ok_and(|read| read.mark == "a3f2"));
        sink.put(CLAIM, r#"{"v":2}"#).await.expect("written");
        let error = Error::from(refuse_others(Some(&owner), &sink).await.expect_err("a later version")).to_string();
        assert!(error.contains(CLAIM) && sink.get(CLAIM).await.expect("reads").is_some(), "{error}");
        state.put(FILE, r#"{"v":2,"sinks":[]}"#).await.expect("written");
        let error = Error::from(Owner::claim(&state, &sink, false).await.expect_err("a later version")).to_string();
        assert!(error.contains(FILE) && error.contains("later version"), "{error}");
        assert_eq!(state.get(FILE).await.expect("reads").expect("is there"), r#"{"v":2,"sinks":[]}"#.as_bytes(), "it stays");
    }

    #[tokio::test]
    async fn a_claim_is_known_again_and_keeps_others_out() {
        let temp = tempfile::tempdir().expect("a folder");
        let (state, sink) = folders(temp.path(), "_promptmill/m", "out");
        let owner = Owner::claim(&state, &sink, false).await.expect("claims");
        // A power cut has emptied the bond, or came before it.
        state.put(FILE, "").await.expect("torn");
        assert_eq!(Owner::claim(&state, &sink, false).await.expect("knows its claim"), owner);
        let (other, _) = folders(temp.path(), "_promptmill/n", "out");
        let error = Error::from(Owner::claim(&other, &sink, false).await.expect_err("claimed by another"));
        assert!(error.to_string().contains("another pipeline"), "{error}");
        let (_, elsewhere) = folders(temp.path(), "_promptmill/n", "elsewhere");
        Owner::claim(&other, &elsewhere, false).await.expect("who was refused is bound to nothing");
        Owner::release(&sink).await.expect("released");
        sink.put(CLAIM, "").await.expect("torn");
        Owner::check_unclaimed(&sink).await.expect("as if it was never written");
        assert_eq!(sink.get(CLAIM).await.expect("reads").as_deref(), Some(b"".as_slice()), "who only looks writes nothing");
        let (other, _) = folders(temp.path(), "_promptmill/o", "out");
        let owner = Owner::claim(&other, &sink, false).await.expect("free again");
        let claim = Claim::read(&sink).await.expect("reads").expect("whole");
        assert_eq!(claim.mark, owner.mark);
    }

    #[tokio::test]
    async fn files_of_others_are_neither_taken_nor_touched() {
        let temp = tempfile::tempdir().expect("a folder");
        let (state, sink) = folders(temp.path(), "_promptmill/m", "out");
        sink.put("year=2024/somebody.parquet", "x").await.expect("writes");
        let error = Error::from(Owner::claim(&state, &sink, false).await.expect_err("not ours"));
        assert!(error.to_string().contains("somebody.parquet"), "{error}");
        let owner = Owner { v: Version, sink: String::new(), mark: "a3f2".into(), table: None, reserved: None };
        let own = owner.file_name(1, 7);
        assert_eq!(own, "0001a3f2-000007.parquet");
        assert!(owner.number(&own).is_some() && owner.number(&format!("year=2024/{own}")).is_some());
        let away = hidden(&format!("year=2024/{own}"));
        assert_eq!((owner.number(&away), shown(&away)), (Some(7), Some(format!("year=2024/{own}").as_str())));
        assert_eq!(shown(&own), None);
        for foreign in ["0001-000007.parquet", "0001beef-000007.parquet", "part-0.parquet", "xa3f2-000007.parquet"] {
            assert!(owner.number(foreign).is_none(), "{foreign}");
        }
    }
}
