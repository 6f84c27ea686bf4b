//! The identity of a question: what was asked, by content.
//!
//! Blake3 rather than a faster hash, because rows come from outside: nobody may be able to craft two items
//! that share an answer.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 128 bits of a blake3 hash over everything that is asked about one row: the rendered item, the prompt, the
/// model chain with its sampling parameters, and the answer's shape. Not over the row's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a list of parts; `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }

    /// The fingerprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its 32 hexadecimal digits, written into `digits`: every request writes some of them twice.
    fn hex<'d>(&self, digits: &'d mut [u8; 32]) -> &'d str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 32]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex(&mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        let value = value.ok_or_else(|| de::Error::custom(format!("`{text}` is not a fingerprint of 32 hexadecimal digits")))?;
        Ok(Self(value.to_be_bytes()))
    }
}

/// One row with one question: the identity under which an answer is looked up. Two rows may ask the same
/// thing; they are still two rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowId(Fingerprint);

impl RowId {
    /// The identity of the row with this key that asks this question.
    pub fn new(key: &str, question: Fingerprint) -> Self {
        Self(Fingerprint::of([key.as_bytes(), question.as_bytes().as_slice()]))
    }

    /// As a number, for compact sorted sets.
    pub fn to_u128(self) -> u128 {
        u128::from_be_bytes(*self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: &[&str]| Fingerprint::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["abc"]), of(&["abc", ""]));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    }

    #[test]
    fn text_form_is_read_back() {
        let fingerprint = Fingerprint::of([b"motie".as_slice()]);
        let text = serde_json::to_string(&fingerprint).expect("serialises");
        assert_eq!(text, format!("\"{:032x}\"", u128::from_be_bytes(*fingerprint.as_bytes())));
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).expect("reads"), fingerprint);
        assert!(serde_json::from_str::<Fingerprint>("\"zz\"").is_err());
    }
}
