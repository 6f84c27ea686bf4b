//! Where the state and the results lie: neither may lie among the other's files.

use object_store::path::Path;
use promptmill_core::Mistake;
use promptmill_core::pipeline::SinkFormat;

use crate::storage::Folder;

/// The folders of a state, whose files are its own.
const OF_STATE: [&str; 7] = ["commits", "compare", "dead_letters", "index", "journal", "runs", "staging"];

/// What is wrong with these places, if anything is. Readers of a Delta table know by its log which files are results.
pub(super) fn nested(state: &Folder, sink: &Folder, format: SinkFormat) -> Option<Mistake> {
    if state.store_url() != sink.store_url() {
        return None;
    }
    let (state_path, sink_path) = (state.path(""), sink.path(""));
    if format == SinkFormat::Parquet && below(&state_path, &sink_path).is_some() {
        let message = format!("the state would lie in `{state}`, among the results: who reads the folder reads its files too");
        return Some(
            Mistake::new("path", message).hint(Some("choose a `sink.path` that does not hold the state, or another `state.path`")),
        );
    }
    let first = below(&sink_path, &state_path)?.split('/').next()?.to_owned();
    let message = format!("the results would lie in `{first}` of the state in `{state}`, among its own files");
    let hint = Some("choose a `sink.path` beside the state, or another `state.path`");
    OF_STATE.contains(&first.as_str()).then(|| Mistake::new("path", message).hint(hint))
}

/// The path from a folder down to one below it; empty for itself.
fn below(path: &Path, folder: &Path) -> Option<String> {
    let rest = path.prefix_match(folder)?;
    Some(rest.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_lies_among_the_files_of_the_other() {
        let temp = tempfile::tempdir().expect("a folder");
        let open = |name: &str| Folder::open(&temp.path().join(name).to_string_lossy()).expect("opens");
        for (state, sink, format, is_wrong) in [
            ("_promptmill/p", "out", SinkFormat::Parquet, false),
            ("out/_checkpoints", "out", SinkFormat::Parquet, true),
            ("out/_checkpoints", "out", SinkFormat::Delta, false),
            ("out", "out", SinkFormat::Parquet, true),
            ("out-state", "out", SinkFormat::Parquet, false),
            ("out", "out/results", SinkFormat::Parquet, false),
            ("out", "out/staging/results", SinkFormat::Parquet, true),
            ("out", "out/index", SinkFormat::Delta, true),
        ] {
            let found = nested(&open(state), &open(sink), format);
            assert_eq!(found.is_some(), is_wrong, "{state} and {sink}: {found:?}");
        }
    }
}
