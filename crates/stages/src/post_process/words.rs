//! Cuts a text into words for counting: quick, and knowing just enough about how a word stands to tell a
//! function word from a name or a part of a compound. Replacing needs exact boundaries, and has them from
//! `phrases`.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

/// A run of letters (and digits). Apostrophes and hyphens end a word: `l'eau` is two, `check-in` too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    /// Where in the text it begins.
    pub(super) start: usize,
    /// Touches a hyphen, like both parts of `check-in`.
    pub(super) in_compound: bool,
    /// Has a digit in it, like `CO2`.
    pub(super) has_digit: bool,
    /// Begins with a capital that no start of a sentence explains: a name, or a German noun.
    pub(super) is_name: bool,
    /// Longer than one letter, and all of them capitals.
    pub(super) is_acronym: bool,
}

/// The words of a text in order. Linear, without allocation.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    Words { text, kinds: &KINDS, at: 0, starts_sentence: true, after_hyphen: false }
}

/// A text in lower case, to look its words up with. The ASCII of it is done in one go, which is many times
/// faster than word by word.
#[derive(Debug)]
pub(super) struct Lowered {
    text: String,
    word: String,
}

impl Lowered {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_ascii_lowercase(), word: String::new() }
    }

    /// The lower case of a word of this text.
    pub(super) fn get(&mut self, word: &Word<'_>) -> &str {
        let lowered = &self.text[word.start..word.start + word.text.len()];
        if lowered.is_ascii() {
            return lowered;
        }
        self.word.clear();
        self.word.extend(lowered.chars().flat_map(char::to_lowercase));
        &self.word
    }
}

/// A map by words of a list, fast for short keys; none of them come from outside.
pub(super) type WordMap<V> = HashMap<&'static str, V, BuildHasherDefault<WordHasher>>;

/// Takes a word's two ends at once, which overlap in a short one: most words are looked up and not found, and a
/// hash that goes byte by byte is most of that.
#[derive(Debug, Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let ends = |start: Option<&[u8; 8]>, end: Option<&[u8; 8]>| Some((u64::from_le_bytes(*start?), u64::from_le_bytes(*end?)));
        let short = |start: Option<&[u8; 4]>, end: Option<&[u8; 4]>| Some((u32::from_le_bytes(*start?), u32::from_le_bytes(*end?)));
        let (start, end) = ends(bytes.first_chunk(), bytes.last_chunk())
            .or_else(|| short(bytes.first_chunk(), bytes.last_chunk()).map(|(start, end)| (start.into(), end.into())))
            .unwrap_or_else(|| (bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)), 0));
        let mixed = (start ^ end.rotate_left(27) ^ ((bytes.len() as u64) << 56) ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Ends a text, which its length has done already.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        // Maps look at the first and the last bits.
        self.0.wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}

/// Stands for a word where many are compared. Two words that share it are rare enough to be taken for one.
pub(super) fn hash(word: &str) -> u64 {
    // FNV-1a with a last stir, as its low bits alone are weak.
    let mixed = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (mixed ^ (mixed >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// The words of a text in their order, lower case, each by its hash.
pub(super) fn sounds(text: &str) -> Vec<u64> {
    let mut lowered = Lowered::new(text);
    let mut sounds = Vec::with_capacity(text.len() / 6);
    sounds.extend(words(text).map(|word| hash(lowered.get(&word))));
    sounds
}

/// Stands for words in their order.
pub(super) fn hash_of_run(sounds: &[u64]) -> u64 {
    sounds.iter().fold(sounds.len() as u64, |run, sound| (run.rotate_left(23) ^ sound).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A map by hashes, which need no second hashing to speak of.
pub(super) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<WordHasher>>;
/// The same as a set.
pub(super) type HashedSet = HashSet<u64, BuildHasherDefault<WordHasher>>;

/// The words of a list file: white space between them, `#` comments to the end of the line.
pub(super) fn list(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
}

struct Words<'t> {
    text: &'t str,
    kinds: &'static [Kind; 256],
    at: usize,
    starts_sentence: bool,
    after_hyphen: bool,
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        let (mut at, mut starts_sentence, mut after_hyphen) = (self.at, self.starts_sentence, self.after_hyphen);
        let first = loop {
            let (kind, length) = self.look(at)?;
            if kind & IN_WORD != 0 {
                break kind;
            }
            starts_sentence |= kind & BEFORE_SENTENCE != 0;
            after_hyphen = kind & HYPHEN != 0;
            at += length;
        };
        let start = at;
        let (mut kinds, mut letters) = (0, 0);
        let after = loop {
            match self.look(at) {
                Some((kind, length)) if kind & (IN_WORD | MARK) != 0 => {
                    kinds |= kind;
                    letters += 1;
                    at += length;
                }
                after => break after,
            }
        };
        let before_hyphen = after
            .is_some_and(|(kind, length)| kind & HYPHEN != 0 && self.text[at + length..].chars().next().is_some_and(char::is_alphanumeric));
        (self.at, self.starts_sentence, self.after_hyphen) = (at, false, false);
        let capital = first & UPPER != 0;
        Some(Word {
            text: &self.text[start..at],
            start,
            in_compound: after_hyphen || before_hyphen,
            has_digit: kinds & DIGIT != 0,
            is_name: capital && !starts_sentence,
            is_acronym: capital && kinds & LOWER == 0 && letters > 1,
        })
    }
}

/// What a character is, as bits.
type Kind = u8;

const IN_WORD: Kind = 1;
const DIGIT: Kind = 2;
const LOWER: Kind = 4;
const UPPER: Kind = 8;
/// An accent that is written apart from its letter.
const MARK: Kind = 16;
const HYPHEN: Kind = 32;
const BEFORE_SENTENCE: Kind = 64;

/// Not ASCII: what it is has to be looked up.
const OTHER: Kind = 128;

/// The kinds of bytes: those of ASCII are known, and are where the time goes.
static KINDS: LazyLock<[Kind; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| if byte < 128 { kind(char::from(byte as u8)) } else { OTHER }));

fn kind(c: char) -> Kind {
    let bit = |is: bool, bit: Kind| if is { bit } else { 0 };
    bit(c.is_alphanumeric(), IN_WORD)
        | bit(c.is_numeric(), DIGIT)
        | bit(c.is_lowercase(), LOWER)
        | bit(c.is_uppercase(), UPPER)
        | bit(matches!(c, '\u{300}'..='\u{36f}'), MARK)
        | bit(matches!(c, '-' | '\u{2010}' | '\u{2011}'), HYPHEN)
        | bit(matches!(c, '.' | '!' | '?' | ':' | '\n' | '…' | '•' | '*'), BEFORE_SENTENCE)
}

impl Words<'_> {
    /// What the character at a place is, and its length.
    #[inline(always)]
    fn look(&self, at: usize) -> Option<(Kind, usize)> {
        let kind = self.kinds[usize::from(*self.text.as_bytes().get(at)?)];
        if kind == OTHER { self.look_up(at) } else { Some((kind, 1)) }
    }

    #[cold]
    fn look_up(&self, at: usize) -> Option<(Kind, usize)> {
        self.text[at..].chars().next().map(|c| (kind(c), c.len_utf8()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_how_they_stand() {
        let shape = |text: &str| {
            words(text)
                .map(|word| {
                    let mut shape = word.text.to_owned();
                    for (is, mark) in [(word.in_compound, '-'), (word.has_digit, '#'), (word.is_name, 'n'), (word.is_acronym, 'A')] {
                        if is {
                            shape.push('/');
                            shape.push(mark);
                        }
                    }
                    shape
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shape("De heer Van Dijk. Over CO2"), "De heer Van/n Dijk/n Over CO2/#/n/A");
        assert_eq!(shape("d'où viennent-ils, “été” - ja"), "d où viennent/- ils/- été ja");
        assert_eq!(shape("foto's\nDe EU-lidstaten"), "foto s De EU/-/n/A lidstaten/-");
        assert_eq!(shape("… 'ge\u{308}nt' —"), "ge\u{308}nt");
        assert_eq!(shape(" \u{a0}--"), "");
    }

    #[test]
    fn words_are_looked_up_in_lower_case() {
        let text = "Één ÉÉN Een GROẞ İx";
        let mut lowered = Lowered::new(text);
        let found: Vec<_> = words(text).map(|word| lowered.get(&word).to_owned()).collect();
        assert_eq!(found, ["één", "één", "een", "groß", "i\u{307}x"]);
    }

    #[test]
    fn list_files_may_have_comments() {
        assert_eq!(list("een twee # drie\n# vier\nvijf").collect::<Vec<_>>(), ["een", "twee", "vijf"]);
    }
}
