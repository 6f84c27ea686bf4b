//! The formats of what lies in a state folder, each with a version of its own.
//!
//! Every file says which version it has: JSON in a field `v`, Parquet in the metadata of the file, a log in its first line.
//! Files from before there were versions say nothing and are of version 1. A file of a later version is refused by name,
//! before anything is made of it: what this version cannot read it must not take for torn, leave out or write over.
//!
//! The files in `golden/` are what each version looks like. A change of a format needs another version here and another
//! file there; those of before stay, since they have to be read for ever.

use parquet::file::metadata::KeyValue;
use promptmill_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind of file, and the version of it that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Its name, also that of its golden files.
    pub(crate) name: &'static str,
    pub(crate) version: u32,
}

/// `commits/<number>.json`.
pub(crate) const COMMIT: Format = Format { name: "commit", version: 1 };
/// `commits/<number>.checkpoint`.
pub(crate) const CHECKPOINT: Format = Format { name: "checkpoint", version: 1 };
/// `index/<name>.parquet`.
pub(crate) const INDEX: Format = Format { name: "index", version: 1 };
/// `journal/<number>.parquet`.
pub(crate) const SEGMENT: Format = Format { name: "segment", version: 1 };
/// `sink.json`.
pub(crate) const SINK: Format = Format { name: "sink", version: 1 };
/// The claim of a state on a sink that has no results yet.
pub(crate) const CLAIM: Format = Format { name: "claim", version: 1 };
/// `fresh.json`.
pub(crate) const FRESH: Format = Format { name: "fresh", version: 1 };
/// `runs/<run_id>.json`.
pub(crate) const RUN: Format = Format { name: "run", version: 1 };
/// `question.json`.
pub(crate) const QUESTION: Format = Format { name: "question", version: 1 };
/// `lock`.
pub(crate) const LOCK: Format = Format { name: "lock", version: 1 };

/// The key of the version in the metadata of a Parquet file.
const KEY: &str = "promptmill.format";

impl Format {
    /// Refuses a JSON file of a later version, whatever else it holds. What is no JSON is left to whoever reads it.
    pub(crate) fn check_json(self, file: &str, bytes: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Versioned {
            v: Option<u64>,
        }
        match serde_json::from_slice::<Versioned>(bytes) {
            Ok(Versioned { v: Some(version) }) if version > u64::from(self.version) => Err(self.later(file, version)),
            _ => Ok(()),
        }
    }

    /// What says the version in the metadata of a Parquet file.
    pub(crate) fn metadata(self) -> Vec<KeyValue> {
        vec![KeyValue::new(KEY.to_owned(), self.version.to_string())]
    }

    /// Refuses a Parquet file of a later version.
    pub(crate) fn check_metadata(self, file: &str, metadata: Option<&Vec<KeyValue>>) -> Result<()> {
        let said = metadata.into_iter().flatten().find(|pair| pair.key == KEY).and_then(|pair| pair.value.as_deref());
        match said.and_then(|version| version.parse().ok()) {
            Some(version) if version > u64::from(self.version) => Err(self.later(file, version)),
            _ => Ok(()),
        }
    }

    fn later(self, file: &str, version: u64) -> Error {
        Error::failed(format!(
            "`{file}` was written by a later version of promptmill: its format `{}` is {version}, and this one reads up to {}",
            self.name, self.version
        ))
        .of(ErrorKind::State)
        .hint("run the version that wrote it")
    }
}

/// The version of a JSON file, as its field `v`. What is read has been checked by [`Format::check_json`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version<const V: u32>;

impl<const V: u32> Serialize for Version<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(V)
    }
}

impl<'de, const V: u32> Deserialize<'de> for Version<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|_| Self)
    }
}

/// What the golden files are compared with. `PROMPTMILL_GOLDEN=write` writes those that are not there yet.
#[cfg(test)]
pub(crate) mod golden {
    use std::path::PathBuf;

    use super::Format;

    fn path(name: &str, version: u32, end: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.{version}.{end}"))
    }

    /// The golden file of this version.
    pub(crate) fn file(name: &str, version: u32, end: &str, now: &[u8]) -> Vec<u8> {
        let path = path(name, version, end);
        if std::env::var("PROMPTMILL_GOLDEN").is_ok_and(|what| what == "write") && !path.exists() {
            std::fs::write(&path, now).expect("a golden file");
        }
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Checks that a JSON format is written as its golden file has it, and that every version of it is read: `read` says
    /// whether a file holds what the sample does.
    pub(crate) fn check(format: Format, written: &[u8], read: impl Fn(&[u8]) -> bool) {
        check_as(format, "json", written, |bytes| String::from_utf8_lossy(bytes).into_owned(), read);
    }

    /// The same of a Parquet format, whose columns, rows and metadata count: how they are packed may change.
    pub(crate) fn check_parquet(format: Format, written: &[u8], read: impl Fn(&[u8]) -> bool) {
        check_as(format, "parquet", written, contents, read);
    }

    fn contents(bytes: &[u8]) -> String {
        let file = bytes::Bytes::copy_from_slice(bytes);
        let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let metadata = file.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let said: Vec<_> = metadata.into_iter().filter(|pair| pair.key == super::KEY).map(|pair| pair.value).collect();
        let schema = std::sync::Arc::clone(file.schema());
        let columns: Vec<String> =
            schema.fields().iter().map(|field| format!("{} {} {}", field.name(), field.data_type(), field.is_nullable())).collect();
        let rows: Vec<_> = file.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
        format!("{said:?}\n{columns:#?}\n{rows:#?}")
    }

    /// The same with what of a file counts.
    pub(crate) fn check_as(format: Format, end: &str, written: &[u8], counts: impl Fn(&[u8]) -> String, read: impl Fn(&[u8]) -> bool) {
        let golden = file(format.name, format.version, end, written);
        assert_eq!(
            counts(written),
            counts(&golden),
            "the format `{}` has changed: give it another version in `format.rs`, and a golden file of that version",
            format.name
        );
        for version in 1..=format.version {
            assert!(read(&file(format.name, version, end, written)), "version {version} of `{}` is not read", format.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_refused_by_name_whatever_it_holds() {
        for text in [r#"{"v":2}"#, r#"{"v": 2, "commit": {"of": ["another", "shape"]}}"#, r#"{"v":4294967296}"#] {
            let Err(Error::Failed(failure)) = COMMIT.check_json("commits/00000007.json", text.as_bytes()) else { panic!("{text}") };
            assert!(failure.message.contains("`commits/00000007.json` was written by a later version"), "{}", failure.message);
            assert_eq!(failure.hint.as_deref(), Some("run the version that wrote it"));
        }
        for text in [r#"{"v":1}"#, r#"{"v":0}"#, "{}", "", "[1", r#"{"v":"two"}"#, r#"{"commit":3}"#] {
            assert!(COMMIT.check_json("commits/00000007.json", text.as_bytes()).is_ok(), "{text}");
        }
        let metadata = |version: &str| vec![KeyValue::new(KEY.to_owned(), version.to_owned())];
        assert!(INDEX.check_metadata("index/a.parquet", Some(&metadata("2"))).is_err());
        for known in [Some(INDEX.metadata()), Some(metadata("x")), Some(Vec::new()), None] {
            assert!(INDEX.check_metadata("index/a.parquet", known.as_ref()).is_ok(), "{known:?}");
        }
    }
}
