//! What the footers of a source said, kept in the state, so that the next plan reads only those that are new.
//!
//! A file is known again by its path, size, age and tag together; whatever differs, its footer is read. What is kept is that
//! of the files of now and no others. A cache that cannot be read is none, and one that cannot be written is no loss.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::arrow::datatypes::Schema;
use object_store::ObjectMeta;

use super::OfFile;
use crate::files::weight::Weight;
use crate::storage::Folder;

/// The file in the state.
const NAME: &str = "footers.cache";
/// What it begins with. Whoever changes what is kept of a file, or what its columns are taken to mean, changes this too.
const MAGIC: &[u8; 8] = b"PMFOOT03";
/// Of fewer files nothing is kept: they are looked at in no time.
const FEW_FILES: usize = 64;
/// Of more files than these nothing is kept …
const MOST_FILES: usize = 1 << 20;
/// … nor where they have more different schemas.
const MOST_SCHEMAS: usize = 1_000;
/// Bytes of a file in it.
const ENTRY_BYTES: usize = 31;
/// A file that has changed since so long may change once more without looking older or larger.
const SETTLES_IN: TimeDelta = TimeDelta::seconds(2);

/// A file, as it was when it was listed.
pub(crate) type Key = u128;

/// What a file is known by. The tag is one of its store.
pub(crate) fn key(folder: &Folder, meta: &ObjectMeta, tag: u64) -> Key {
    let mut hash = blake3::Hasher::new();
    let age = meta.last_modified.timestamp_nanos_opt().unwrap_or_default();
    for part in [folder.store_url().as_str().as_bytes(), b"\n", meta.location.as_ref().as_bytes(), b"\n"] {
        hash.update(part);
    }
    hash.update(&meta.size.to_le_bytes()).update(&age.to_le_bytes()).update(&tag.to_le_bytes());
    Key::from_le_bytes(*hash.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]))
}

/// Where the cache is, and what the files are known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'c> {
    pub(crate) state: &'c Folder,
    pub(crate) keys: &'c [Key],
    /// Whether each of these has a tag that says what is in the file. One that goes by its age may change once more before
    /// that tells.
    pub(crate) has_tags: bool,
}

/// What is known of files.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Known {
    pub(super) schemas: Vec<Schema>,
    pub(super) files: HashMap<Key, OfFile>,
}

impl Cache<'_> {
    /// Whether it is worth it.
    fn is_used(&self) -> bool {
        (FEW_FILES..=MOST_FILES).contains(&self.keys.len())
    }

    /// What was kept the last time.
    pub(super) async fn load(&self) -> Known {
        if !self.is_used() {
            return Known::default();
        }
        match self.state.get(NAME).await {
            Ok(Some(bytes)) => decode(&bytes).unwrap_or_default(),
            _ => Known::default(),
        }
    }

    /// Keeps what is known of the files of now. Those that have changed a moment ago are looked at once more.
    pub(super) async fn save(&self, metas: &[ObjectMeta], schemas: &[Schema], files: &[OfFile], now: DateTime<Utc>) {
        if !self.is_used() || schemas.len() > MOST_SCHEMAS {
            return;
        }
        let is_settled = |meta: &ObjectMeta| self.has_tags || now - meta.last_modified > SETTLES_IN;
        let settled = self.keys.iter().zip(files).zip(metas).filter(|(_, meta)| is_settled(meta));
        let Some(bytes) = encode(schemas, settled.map(|((key, file), _)| (*key, *file))) else { return };
        if let Err(error) = self.state.put(NAME, bytes).await {
            tracing::debug!("what the footers said is not kept: {error}");
        }
    }
}

fn encode(schemas: &[Schema], files: impl Iterator<Item = (Key, OfFile)>) -> Option<Bytes> {
    let schemas = serde_json::to_vec(schemas).ok()?;
    let mut body = u32::try_from(schemas.len()).ok()?.to_le_bytes().to_vec();
    body.extend(schemas);
    for (key, OfFile { schema, rows, weight }) in files {
        body.extend(key.to_le_bytes());
        body.extend(rows.to_le_bytes());
        body.extend(u32::try_from(schema).ok()?.to_le_bytes());
        body.extend(u16::try_from(weight.rows_at_once).ok()?.to_le_bytes());
        body.push(u8::from(weight.by_page));
    }
    Some([MAGIC.as_slice(), blake3::hash(&body).as_bytes(), &body].concat().into())
}

/// What was written, if all of it is there as it was.
fn decode(bytes: &[u8]) -> Option<Known> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (schemas, entries) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let schemas: Vec<Schema> = serde_json::from_slice(schemas).ok()?;
    let mut files = HashMap::with_capacity(entries.len() / ENTRY_BYTES);
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let (key, entry) = entry.split_first_chunk::<16>()?;
        let (rows, entry) = entry.split_first_chunk::<8>()?;
        let (schema, entry) = entry.split_first_chunk::<4>()?;
        let (rows_at_once, by_page) = entry.split_first_chunk::<2>()?;
        let weight = Weight { rows_at_once: u16::from_le_bytes(*rows_at_once).max(1).into(), by_page: by_page == [1] };
        let schema = u32::from_le_bytes(*schema) as usize;
        if schema >= schemas.len() {
            return None;
        }
        files.insert(Key::from_le_bytes(*key), OfFile { schema, rows: u64::from_le_bytes(*rows), weight });
    }
    Some(Known { schemas, files })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field};
    use object_store::path::Path;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_whole_is_nothing() {
        let metadata = [("PARQUET:field_id".to_owned(), "1".to_owned())].into();
        let schemas = vec![
            Schema::new(vec![Field::new("id", DataType::Utf8, false).with_metadata(metadata)]),
            Schema::new(vec![Field::new_list("more", Field::new_list_field(DataType::Decimal128(9, 2), true), true)]),
        ];
        let heavy = Weight { rows_at_once: 3, by_page: true };
        let files =
            [(7, OfFile { schema: 0, rows: 12, weight: Weight::LIGHT }), (Key::MAX, OfFile { schema: 1, rows: u64::MAX, weight: heavy })];
        let bytes = encode(&schemas, files.into_iter()).expect("bytes");
        assert_eq!(decode(&bytes), Some(Known { schemas, files: files.into() }));
        for at in 0..bytes.len() {
            let mut torn = bytes.to_vec();
            torn[at] ^= 0x10;
            assert_eq!(decode(&torn), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_file_is_known_again_only_if_nothing_about_it_differs() {
        let folder = Folder::in_memory();
        let meta = ObjectMeta {
            location: Path::from("in/a.parquet"),
            last_modified: DateTime::<Utc>::UNIX_EPOCH,
            size: 9,
            e_tag: None,
            version: None,
        };
        let same = key(&folder, &meta, 1);
        assert_eq!(key(&folder, &meta, 1), same);
        let later = meta.last_modified + TimeDelta::microseconds(1);
        for other in [
            key(&folder, &meta, 2),
            key(&folder, &ObjectMeta { size: 10, ..meta.clone() }, 1),
            key(&folder, &ObjectMeta { last_modified: later, ..meta.clone() }, 1),
            key(&folder, &ObjectMeta { location: Path::from("in/b.parquet"), ..meta.clone() }, 1),
        ] {
            assert_ne!(other, same);
        }
    }
}
