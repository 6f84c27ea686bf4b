//! The bytes of a file, unpacked, near or far.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::File;

/// Bytes that are asked for at once.
const CHUNK: usize = 1 << 20;

/// How a file is compressed, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).as_deref() {
            Some("gz") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The text of a file from its beginning, without a byte order mark. Blocks while it waits for a store.
pub(super) fn text(file: &File<'_>) -> io::Result<Box<dyn BufRead + Send>> {
    let bytes: Box<dyn Read + Send> = match file.folder.local() {
        Some(_) => Box::new(std::fs::File::open(local_path(file))?),
        None => Box::new(Remote::open(file)?),
    };
    let packing = Packing::of(file.meta.location.filename().unwrap_or_default());
    let mut text: Box<dyn BufRead + Send> = match packing {
        Packing::None => Box::new(BufReader::with_capacity(CHUNK, bytes)),
        Packing::Gzip => Box::new(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(BufReader::with_capacity(CHUNK, bytes)))),
        Packing::Zstd => Box::new(BufReader::with_capacity(CHUNK, zstd::Decoder::new(bytes)?)),
    };
    let mut mark = Vec::with_capacity(3);
    text.by_ref().take(3).read_to_end(&mut mark)?;
    if mark == b"\xef\xbb\xbf" {
        mark.clear();
    }
    if mark.starts_with(&[0xff, 0xfe]) || mark.starts_with(&[0xfe, 0xff]) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is written in UTF-16; write it in UTF-8"));
    }
    Ok(Box::new(Read::chain(io::Cursor::new(mark), text)))
}

/// A file to be read here and there.
pub(super) trait Pieces: Read + Seek + Send {}
impl<R: Read + Seek + Send> Pieces for R {}

/// The bytes of a file, at any place.
pub(super) fn pieces(file: &File<'_>) -> io::Result<Box<dyn Pieces>> {
    Ok(match file.folder.local() {
        Some(_) => Box::new(BufReader::with_capacity(CHUNK, std::fs::File::open(local_path(file))?)),
        None => {
            let ranges = Ranges {
                store: Arc::clone(file.folder.store()),
                path: file.meta.location.clone(),
                size: file.meta.size,
                at: 0,
                handle: Handle::current(),
            };
            Box::new(BufReader::with_capacity(CHUNK, ranges))
        }
    })
}

fn local_path(file: &File<'_>) -> String {
    if cfg!(windows) { file.meta.location.to_string() } else { format!("/{}", file.meta.location) }
}

/// A file in a store on the network, as it comes.
struct Remote {
    chunks: BoxStream<'static, object_store::Result<Bytes>>,
    here: Bytes,
    handle: Handle,
}

impl Remote {
    fn open(file: &File<'_>) -> io::Result<Self> {
        let handle = Handle::current();
        let found = handle.block_on(file.folder.store().get(&file.meta.location)).map_err(io::Error::other)?;
        Ok(Self { chunks: found.into_stream(), here: Bytes::new(), handle })
    }
}

impl Read for Remote {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.here.is_empty() {
            match self.handle.block_on(self.chunks.next()) {
                Some(chunk) => self.here = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.here.len());
        self.here.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// A file in a store on the network, piece by piece.
struct Ranges {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    at: u64,
    handle: Handle,
}

impl Read for Ranges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let end = self.size.min(self.at + into.len() as u64);
        if self.at >= end {
            return Ok(0);
        }
        let read = self.handle.block_on(self.store.get_range(&self.path, self.at..end)).map_err(io::Error::other)?;
        into[..read.len()].copy_from_slice(&read);
        self.at += read.len() as u64;
        Ok(read.len())
    }
}

impl Seek for Ranges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => i128::from(at),
            SeekFrom::End(by) => i128::from(self.size) + i128::from(by),
            SeekFrom::Current(by) => i128::from(self.at) + i128::from(by),
        };
        self.at = u64::try_from(at).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.at)
    }
}
