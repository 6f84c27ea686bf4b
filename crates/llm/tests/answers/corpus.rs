//! What models said, and what it is: the files beside this one.

use std::path::Path;

use promptmill_core::AnswerShape;
use promptmill_core::pipeline::Structured;
use promptmill_llm::{RowAnswer, read_answers};
use serde::Deserialize;

/// A file of cases about one shape of answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Corpus {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) shape: AnswerShape,
    pub(crate) cases: Vec<Case>,
}

/// What was said, and what it is for each row asked about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) says: String,
    pub(crate) is: Vec<String>,
    #[serde(default)]
    pub(crate) broken: bool,
    #[serde(default)]
    pub(crate) unknown: usize,
    #[serde(default)]
    pub(crate) open: bool,
}

/// All files, in the order of their names.
pub(crate) fn read() -> Vec<Corpus> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let corpus = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a file");
        let corpus: Corpus = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Corpus { name: path.file_stem().expect("a name").to_string_lossy().into_owned(), ..corpus }
    };
    paths.iter().map(corpus).collect()
}

/// An answer in the notation of the files.
fn shown(row: &RowAnswer, shape: &AnswerShape) -> String {
    match (row, shape) {
        (RowAnswer::Given(values), AnswerShape::Text(_)) => values[0].as_str().expect("a text").to_owned(),
        (RowAnswer::Given(values), AnswerShape::Fields(fields)) => {
            // Objects in the order of the case, which says values only.
            assert_eq!(values.len(), fields.len());
            serde_json::to_string(values).expect("JSON")
        }
        (RowAnswer::Missing, _) => "-".to_owned(),
        (RowAnswer::Duplicate, _) => "2".to_owned(),
        (RowAnswer::Invalid { why, .. }, _) => format!("!{why}"),
    }
}

#[test]
fn every_answer_is_read_as_what_it_is() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for corpus in read() {
        for (index, case) in corpus.cases.iter().enumerate() {
            let reply = read_answers(&case.says, case.is.len(), &corpus.shape, Structured::Text);
            let is: Vec<String> = reply.rows.iter().map(|row| shown(row, &corpus.shape)).collect();
            if is != case.is || reply.whole == case.broken || reply.unknown_ids != case.unknown || (case.open && reply.open.is_empty()) {
                wrong.push(format!(
                    "{} {}: {}\n  is {is:?}, broken {}, unknown {}, open {:?}\n  should be {case:?}",
                    corpus.name,
                    index + 1,
                    case.says,
                    !reply.whole,
                    reply.unknown_ids,
                    reply.open
                ));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 300, "{count} cases");
}
