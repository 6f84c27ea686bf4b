//! A path as somebody wrote it, and the files that it stands for: the same on a disk and in a bucket.

use futures::TryStreamExt;
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use promptmill_core::{Mistake, Result};

use super::hive::percent_decode;
use super::pattern::{self, Pattern};
use super::told;
use crate::storage::{Action, Folder, is_known_cloud};

/// What one path stands for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// As it was written.
    pub(super) written: String,
    /// A folder, or a file.
    pub(super) folder: Folder,
    kind: Kind,
    /// The folders in front of what is listed, as written: they may be partitions too.
    above: Vec<String>,
}

#[derive(Clone, Debug)]
enum Kind {
    File,
    Folder,
    Pattern(Pattern),
}

/// A file of a place.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) meta: ObjectMeta,
    /// The names from the place down to the file, its own last.
    pub(super) inside: Vec<String>,
    /// What the store says of its content, as a number; 0 if it says nothing.
    pub(super) tag: u64,
}

/// The tag of a file in its store, as a number: as texts the tags of a hundred thousand files are a third of their list.
fn tag_of(meta: &ObjectMeta) -> u64 {
    let Some(tag) = meta.e_tag.as_ref().or(meta.version.as_ref()) else { return 0 };
    u64::from_le_bytes(*blake3::hash(tag.as_bytes()).as_bytes().first_chunk().unwrap_or(&[0; 8]))
}

impl Place {
    /// Finds out what a path stands for: what is there by exactly this name goes before what it means as a pattern.
    pub(super) async fn of(written: &str) -> Result<Self, Mistake> {
        let text = with_known_scheme(written)?;
        let bucket_end = bucket_end(&text);
        if pattern::is_pattern(&text[..bucket_end]) {
            let hint = "a pattern may stand behind the bucket, as in `s3://bucket/folder/*.parquet`";
            return Err(Mistake::new("path", format!("`{written}` has a wildcard in the name of the bucket")).hint(Some(hint)));
        }
        let literal = Folder::open(if text.is_empty() { "." } else { &text }).map_err(|error| told(&error))?;
        let above = |text: &str| {
            let names = text.get(bucket_end..).unwrap_or_default().split('/');
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        if !pattern::is_pattern(&text) {
            let plain = pattern::unescaped(&text);
            if plain != text && !is_there(&literal).await? && is_there(&Folder::open(&plain).map_err(|error| told(&error))?).await? {
                return Ok(Self { written: written.to_owned(), ..Box::pin(Self::of(&plain)).await? });
            }
            let is_file = match literal.local() {
                Some(local) if !local.exists() => {
                    let hint = format!(
                        "`{}` is not there; check the path, which is relative to the folder that the command runs in",
                        local.display()
                    );
                    return Err(Mistake::new("path", format!("source `{written}` does not exist")).hint(Some(hint)));
                }
                Some(local) => local.is_file(),
                None => !text.ends_with('/') && literal.is_file().await.map_err(|error| told(&error))?,
            };
            let kind = if is_file { Kind::File } else { Kind::Folder };
            return Ok(Self { written: written.to_owned(), folder: literal, kind, above: above(&text) });
        }
        if is_there(&literal).await? {
            let is_file = match literal.local() {
                Some(local) => local.is_file(),
                None => literal.is_file().await.map_err(|error| told(&error))?,
            };
            let kind = if is_file { Kind::File } else { Kind::Folder };
            return Ok(Self { written: written.to_owned(), folder: literal, kind, above: above(&text) });
        }
        let (before, pattern) = pattern::split(&text[bucket_end..]);
        let pattern = Pattern::new(pattern).map_err(|message| Mistake::new("path", format!("`{written}` is no pattern: {message}")))?;
        let before = format!("{}{before}", &text[..bucket_end]);
        let folder = Folder::open(if before.is_empty() { "." } else { &before }).map_err(|error| told(&error))?;
        Ok(Self { written: written.to_owned(), folder, kind: Kind::Pattern(pattern), above: above(&before) })
    }

    /// Whether it is one file.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Whether it is a whole folder.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder)
    }

    /// Every file that lies there, hidden ones included.
    pub(super) async fn list(&self) -> Result<Vec<Found>> {
        let root = self.folder.path("");
        if self.is_file() {
            return match self.folder.store().head(&root).await {
                Ok(meta) => {
                    let tag = tag_of(&meta);
                    Ok(vec![Found { meta, inside: Vec::new(), tag }])
                }
                // It was there when the place was opened.
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(self.folder.failed(Action::Read, "", error)),
            };
        }
        let prefix = (!root.as_ref().is_empty()).then_some(&root);
        let listed: Vec<ObjectMeta> = match self.folder.store().list(prefix).try_collect().await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) if self.folder.local().is_some() => Vec::new(),
            Err(error) => return Err(self.folder.failed(Action::List, "", error)),
        };
        let (mut found, mut logs) = (Vec::new(), Vec::new());
        for mut meta in listed {
            let tag = tag_of(&meta);
            (meta.e_tag, meta.version) = (None, None);
            let Some(inside) = below(&meta.location, &root) else { continue };
            let inside: Vec<String> = inside.map(|part| part.as_ref().to_owned()).collect();
            let names: Vec<&str> = inside.iter().map(String::as_str).collect();
            let is_meant = match &self.kind {
                Kind::Pattern(pattern) => pattern.matches(&names),
                Kind::File | Kind::Folder => !names.is_empty(),
            };
            match table_above(&names) {
                _ if is_meant => found.push(Found { meta, inside, tag }),
                Some(depth) => logs.push((depth, Found { meta, inside, tag })),
                None => {}
            }
        }
        // A pattern for files means no log, but what is read of a table has one all the same.
        logs.dedup_by(|(depth, one), (other_depth, other)| depth == other_depth && one.inside[..*depth] == other.inside[..*depth]);
        logs.retain(|(depth, log)| found.iter().any(|file: &Found| file.inside.starts_with(&log.inside[..*depth])));
        found.extend(logs.into_iter().map(|(_, log)| log));
        Ok(found)
    }

    /// Whether part of a path is hidden, as writers of folders leave `_SUCCESS`, `.crc` files and folders of their own behind.
    pub(super) fn is_hidden(&self, inside: &[String]) -> bool {
        inside.iter().enumerate().any(|(depth, name)| {
            let first = name.chars().next().filter(|first| *first == '.' || (*first == '_' && !name.contains('=')));
            first.is_some_and(|first| !matches!(&self.kind, Kind::Pattern(pattern) if pattern.names_hidden(depth, first)))
        })
    }

    /// The folders that a file of this place lies in, the outermost first.
    pub(super) fn folders_of(&self, found: &Found) -> Vec<String> {
        let above = if self.is_file() { &self.above[..self.above.len().saturating_sub(1)] } else { &self.above[..] };
        let inside = &found.inside[..found.inside.len().saturating_sub(1)];
        above.iter().chain(inside).cloned().collect()
    }

    /// Whether files that are written into a folder would be files of this place.
    pub(super) fn would_hold(&self, folder: &Folder) -> bool {
        let (root, other) = (self.folder.path(""), folder.path(""));
        if self.is_file() || self.folder.store_url() != folder.store_url() || root == other {
            return false;
        }
        let Some(inside) = below(&other, &root) else { return false };
        let mut inside: Vec<String> = inside.map(|part| part.as_ref().to_owned()).collect();
        if self.is_hidden(&inside) {
            return false;
        }
        inside.push("00000001-0.parquet".to_owned());
        match &self.kind {
            Kind::Pattern(pattern) => pattern.matches(&inside.iter().map(String::as_str).collect::<Vec<_>>()),
            Kind::File | Kind::Folder => true,
        }
    }
}

/// Whether a file or a folder is there.
async fn is_there(folder: &Folder) -> Result<bool, Mistake> {
    match folder.local() {
        Some(local) => Ok(local.exists()),
        None => Ok(folder.is_file().await.map_err(|error| told(&error))? || holds_anything(folder).await?),
    }
}

/// How many folders stand above a table, if this is a file of its log.
fn table_above(names: &[&str]) -> Option<usize> {
    let of_log = names.iter().position(|name| ["_delta_log", ".hoodie"].contains(name));
    let is_iceberg = names.len() > 1 && names[names.len() - 2] == "metadata" && names[names.len() - 1].ends_with(".metadata.json");
    of_log.or(is_iceberg.then(|| names.len() - 2))
}

/// The store that a path is in: the URL of its bucket, or nothing for this machine.
pub(super) fn store_of(written: &str) -> Result<String, Mistake> {
    let text = with_known_scheme(written)?;
    Ok(text[..bucket_end(&text)].to_owned())
}

/// Where the store's part of a URL ends; of a local path there is none.
fn bucket_end(text: &str) -> usize {
    let Some(start) = text.find("://").map(|scheme| scheme + 3) else { return 0 };
    text[start..].find('/').map_or(text.len(), |slash| start + slash)
}

fn below<'p>(path: &'p Path, root: &Path) -> Option<Box<dyn Iterator<Item = PathPart<'p>> + 'p>> {
    if root.as_ref().is_empty() {
        return Some(Box::new(path.parts()));
    }
    let depth = root.parts().count();
    let is_below = path.parts().zip(root.parts()).all(|(one, other)| one == other) && path.parts().count() >= depth;
    is_below.then(|| Box::new(path.parts().skip(depth)) as _)
}

/// Whether a folder is called as those inside of tables are: a partition, or the place of an Iceberg table's files.
pub(super) fn is_part_of_table(folder: &Folder) -> bool {
    folder.path("").filename().is_some_and(|name| name.contains('=') || name == "data")
}

/// Whether something lies in a folder.
pub(super) async fn holds_anything(folder: &Folder) -> Result<bool, Mistake> {
    let root = folder.path("");
    let first = folder.store().list(Some(&root)).try_next().await;
    first.map(|first| first.is_some()).map_err(|error| told(&folder.failed(Action::List, "", error)))
}

/// A path or an `s3://` URL, whatever way it was written in.
fn with_known_scheme(written: &str) -> Result<String, Mistake> {
    let Some((scheme, rest)) = written.split_once("://") else { return Ok(written.to_owned()) };
    match scheme {
        "s3" => Ok(written.to_owned()),
        scheme if is_known_cloud(scheme) => Ok(written.to_owned()),
        "s3a" | "s3n" => Ok(format!("s3://{rest}")),
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            // As it stands, if that is there; a URL writes a space as `%20`.
            let is_there = std::path::Path::new(path).exists();
            Ok(if is_there { path.to_owned() } else { percent_decode(path) })
        }
        _ => Err(Mistake::new("path", format!("`{written}` lies in a kind of store that promptmill does not read"))
            .hint(Some("write it as a local path, or as `s3://bucket/folder`"))),
    }
}
