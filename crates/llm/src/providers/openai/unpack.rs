//! Bodies that are packed, by what they are and not by what their header says: gateways forget the header, or leave it
//! on what they have unpacked themselves.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// How every file and stream of gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A body as it was before it was packed, up to `most` bytes of it; and whether there was more.
///
/// # Errors
/// If it begins as a packed one and is none.
pub(super) fn unpacked(bytes: Vec<u8>, most: usize) -> io::Result<(Vec<u8>, bool)> {
    if !bytes.starts_with(&GZIP) {
        return Ok((bytes, false));
    }
    let mut body = Vec::with_capacity((4 * bytes.len()).min(most));
    MultiGzDecoder::new(&*bytes).take(most as u64 + 1).read_to_end(&mut body)?;
    let is_more = body.len() > most;
    body.truncate(most);
    Ok((body, is_more))
}
