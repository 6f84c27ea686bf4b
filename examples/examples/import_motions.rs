//! Imports motions from the open data of the Dutch parliament into one Parquet file.
//!
//! The input is what the OData service answers for cases (`Zaak`), page by page, as files. Fetching them
//! is left to other tools. Texts are not part of those answers: they come from a folder with a file per
//! motion, named after its number.
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

#[path = "import_motions/markup.rs"]
mod markup;
#[path = "import_motions/records.rs"]
mod records;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Builder, Int32Builder, RecordBatch, StringBuilder};
use clap::Parser;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use promptmill_sim::motions::schema;

use self::records::{Motion, Page};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rows in memory before they are written.
const BATCH: usize = 1_000;

/// Imports motions from the open data of the Dutch parliament into one Parquet file.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  One page, with texts from a folder:
    import_motions tk-zaken-sample.json --bodies bodies/ --out motions.parquet

  A folder of pages (every *.json in it, by name):
    import_motions pages/ --bodies texts/ --out motions.parquet

  Amendments:
    import_motions pages/ --kind Amendement --out amendments.parquet

A text is looked for as <number>.xml, .html, .htm and .txt, such as 2024Z21456.xml.")]
struct Args {
    /// Pages (JSON files), or folders of pages
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// The Parquet file to write
    #[arg(long, short)]
    out: PathBuf,
    /// Folder with a text per motion, named after its number
    #[arg(long)]
    bodies: Option<PathBuf>,
    /// The kind of case to take (Soort); records of other kinds are skipped
    #[arg(long, default_value = "Motie")]
    kind: String,
}

fn main() -> ExitCode {
    match import(&Args::parse()) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was read and written, and what was not.
#[derive(Debug, Default)]
struct Report {
    pages: usize,
    records: usize,
    written: usize,
    skipped: BTreeMap<&'static str, usize>,
    incomplete: BTreeMap<&'static str, usize>,
    /// Records and texts that could not be read, with the reason.
    problems: Vec<String>,
    /// No page was the last one of its answer.
    unfinished: bool,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "pages: {}, records: {}, written: {}", self.pages, self.records, self.written)?;
        let counts = [("skipped", &self.skipped), ("written", &self.incomplete)];
        for (what, counts) in counts {
            for (reason, count) in counts {
                writeln!(f, "  {what}, {reason}: {count}")?;
            }
        }
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        if self.unfinished {
            writeln!(f, "every page names a next one: the last page is not among them")?;
        }
        Ok(())
    }
}

fn import(args: &Args) -> Result<Report> {
    if let Some(folder) = args.bodies.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(format!("{}: no such folder with texts", folder.display()).into());
    }
    let pages = pages(&args.input)?;
    // Written beside its place, so that a failed run leaves no half file and spoils no earlier one.
    let mut partial = args.out.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let result = read_pages(&pages, args, &partial).and_then(|report| {
        fs::rename(&partial, &args.out).map_err(|error| at(&args.out, error))?;
        Ok(report)
    });
    if result.is_err() {
        // Best effort: the error that matters is already there.
        let _ = fs::remove_file(&partial);
    }
    result
}

fn read_pages(pages: &[PathBuf], args: &Args, out: &Path) -> Result<Report> {
    let file = File::create(out).map_err(|error| at(out, error))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(file, schema(), Some(properties)).map_err(|error| at(out, error))?;
    let mut report = Report { unfinished: true, ..Report::default() };
    let mut seen = HashSet::new();
    let mut columns = Columns::default();
    for path in pages {
        let page = Page::read(path)?;
        report.pages += 1;
        report.unfinished &= page.next_link;
        for (index, record) in page.records.into_iter().enumerate() {
            report.records += 1;
            let mut motion = match Motion::from_record(record, &args.kind) {
                Ok(motion) => motion,
                Err(skip) => {
                    *report.skipped.entry(skip.reason).or_default() += 1;
                    if let Some(detail) = skip.detail {
                        report.problems.push(format!("{}: record {}: {detail}", path.display(), index + 1));
                    }
                    continue;
                }
            };
            if !seen.insert(motion.number.clone()) {
                *report.skipped.entry("number seen before").or_default() += 1;
                continue;
            }
            if let Some(folder) = &args.bodies {
                match body(folder, &motion.number)? {
                    Body::Text(text) => motion.body = Some(text),
                    Body::Unreadable(problem) => report.problems.push(problem),
                    Body::Absent => {}
                }
            }
            for lack in motion.lacks() {
                *report.incomplete.entry(lack).or_default() += 1;
            }
            columns.push(&motion);
            report.written += 1;
            if columns.rows == BATCH {
                writer.write(&columns.batch()?).map_err(|error| at(out, error))?;
            }
        }
    }
    writer.write(&columns.batch()?).map_err(|error| at(out, error))?;
    writer.close().map_err(|error| at(out, error))?;
    Ok(report)
}

/// The pages to read: files as given, and of a folder every JSON file, by name.
fn pages(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            pages.push(input.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(input).map_err(|error| at(input, error))? {
            let path = entry.map_err(|error| at(input, error))?.path();
            if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err(format!("{}: no JSON file in this folder", input.display()).into());
        }
        found.sort();
        pages.append(&mut found);
    }
    Ok(pages)
}

enum Body {
    Text(String),
    Unreadable(String),
    Absent,
}

fn body(folder: &Path, number: &str) -> Result<Body> {
    // The number comes from the data: it may name a file in this folder and nothing else.
    if !number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(Body::Absent);
    }
    for extension in ["xml", "html", "htm", "txt"] {
        let path = folder.join(format!("{number}.{extension}"));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&path, error)),
        };
        return Ok(match String::from_utf8(bytes) {
            Ok(text) if extension == "txt" => Body::Text(text),
            Ok(text) => Body::Text(markup::text(&text)),
            Err(error) => {
                let position = error.utf8_error().valid_up_to();
                Body::Unreadable(format!("{}: not UTF-8 at byte {position}; left out", path.display()))
            }
        });
    }
    Ok(Body::Absent)
}

fn at(path: &Path, error: impl Error) -> Box<dyn Error> {
    format!("{}: {error}", path.display()).into()
}

#[derive(Default)]
struct Columns {
    rows: usize,
    motion_id: StringBuilder,
    title: StringBuilder,
    body: StringBuilder,
    date: Date32Builder,
    year: Int32Builder,
    submitter: StringBuilder,
    party: StringBuilder,
    vote_result: StringBuilder,
    source: StringBuilder,
}

impl Columns {
    fn push(&mut self, motion: &Motion) {
        self.rows += 1;
        self.motion_id.append_value(&motion.number);
        self.title.append_option(motion.title.as_deref());
        self.body.append_option(motion.body.as_deref());
        self.date.append_option(motion.date.map(|(days, _)| days));
        self.year.append_option(motion.date.map(|(_, year)| year));
        self.submitter.append_option(motion.submitter.as_deref());
        self.party.append_option(motion.party.as_deref());
        self.vote_result.append_option(motion.vote_result.as_deref());
        self.source.append_value("tk-zaak");
    }

    /// Takes the rows out.
    fn batch(&mut self) -> Result<RecordBatch> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.motion_id.finish()),
            Arc::new(self.title.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.date.finish()),
            Arc::new(self.year.finish()),
            Arc::new(self.submitter.finish()),
            Arc::new(self.party.finish()),
            Arc::new(self.vote_result.finish()),
            Arc::new(self.source.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn data(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(path)
    }

    fn args(folder: &Path, input: &Path) -> Args {
        Args { input: vec![input.to_owned()], out: folder.join("out.parquet"), bodies: None, kind: "Motie".to_owned() }
    }

    #[test]
    fn the_sample_is_imported() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = Args { bodies: Some(data("bodies")), ..args(folder.path(), &data("tk-zaken-sample.json")) };
        let report = import(&args).expect("imported");
        assert_eq!((report.records, report.written, report.problems.len()), (6, 5, 0), "{report}");
        assert_eq!(report.skipped, BTreeMap::from([("of another kind", 1)]));
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&args.out).expect("a file"))
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .expect("Parquet");
        let batches: Vec<_> = reader.map(|batch| batch.expect("a batch")).collect();
        assert_eq!(batches.len(), 1);
        let column = |name: &str| -> Vec<Option<String>> {
            let column = batches[0].column_by_name(name).expect("a column").as_string::<i32>();
            column.iter().map(|value| value.map(str::to_owned)).collect()
        };
        let votes = column("vote_result");
        let votes: Vec<_> = votes.iter().map(Option::as_deref).collect();
        assert_eq!(votes, [Some("aangenomen"), Some("verworpen"), None, Some("aangenomen"), Some("verworpen")]);
        let bodies = column("body");
        assert_eq!(bodies.iter().flatten().count(), 3);
        assert!(bodies.iter().flatten().all(|body| body.contains("gaat over tot de orde van de dag.")));
        assert!(!bodies.iter().flatten().any(|body| body.contains('<') || body.contains("&amp;")));
        assert!(bodies[3].as_deref().is_some_and(|body| body.contains("dat cafés & buurthuizen vaak")));
        assert_eq!(column("submitter")[0].as_deref(), Some("Haverdonk; Kwelderstra"));
    }

    #[test]
    fn errors_name_file_and_position() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("page.json");
        for (text, expected) in [
            ("{\n  \"value\": [}\n", "page.json:2:13:"),
            ("[1, 2", "page.json:1:5:"),
            ("{\"error\": {\"message\": \"x\"}}", "page.json: no list of records"),
        ] {
            fs::write(&page, text).expect("written");
            let error = import(&args(folder.path(), &page)).expect_err("no page").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 1, "no half file stays behind");
    }

    #[test]
    fn odd_records_do_not_stop_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("page.json");
        let text = r#"{"value": [
            {"Nummer": 5}, {"Soort": "Motie"}, 7, {"Nummer": "2024Z1", "Besluit": null, "GestartOp": "gisteren"},
            {"Nummer": "2024Z1"}, {"Nummer": "2024Z2", "Verwijderd": true}, {"Nummer": "../x"}
        ], "@odata.nextLink": "https://example.org/next"}"#;
        fs::write(&page, text).expect("written");
        let args = Args { bodies: Some(folder.path().to_owned()), ..args(folder.path(), &page) };
        let report = import(&args).expect("imported");
        assert_eq!((report.records, report.written), (7, 2), "{report}");
        let skipped = [("deleted", 1), ("not readable", 2), ("number seen before", 1), ("without a number", 1)];
        assert_eq!(report.skipped, BTreeMap::from(skipped));
        assert_eq!(report.problems.len(), 2);
        assert!(report.unfinished);
    }
}
