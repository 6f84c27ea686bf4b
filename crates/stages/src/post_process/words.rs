//! Cuts a text into words for counting: quick, and knowing just enough about how a word stands to tell a
//! function word from a name or a part of a compound. Replacing needs exact boundaries, and has them from
//! `phrases`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
    Words { text, at: 0, starts_sentence: true, after_hyphen: false }
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

/// FNV-1a.
#[derive(Debug)]
pub(super) struct WordHasher(u64);

impl Default for WordHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The words of a list file: white space between them, `#` comments to the end of the line.
pub(super) fn list(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
}

struct Words<'t> {
    text: &'t str,
    at: usize,
    starts_sentence: bool,
    after_hyphen: bool,
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        loop {
            let c = self.peek()?;
            if c.is_alphanumeric() {
                break;
            }
            self.starts_sentence |= matches!(c, '.' | '!' | '?' | ':' | '\n' | '…' | '•' | '*');
            self.after_hyphen = is_hyphen(c);
            self.at += c.len_utf8();
        }
        let start = self.at;
        let (mut has_digit, mut has_lower, mut letters) = (false, false, 0);
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || is_mark(*c)) {
            has_digit |= c.is_numeric();
            has_lower |= c.is_lowercase();
            letters += 1;
            self.at += c.len_utf8();
        }
        let text = &self.text[start..self.at];
        let starts_sentence = std::mem::take(&mut self.starts_sentence);
        let capital = text.starts_with(char::is_uppercase);
        let mut rest = self.text[self.at..].chars();
        let before_hyphen = self.peek().is_some_and(is_hyphen) && rest.next().and_then(|_| rest.next()).is_some_and(char::is_alphanumeric);
        Some(Word {
            text,
            start,
            in_compound: std::mem::take(&mut self.after_hyphen) || before_hyphen,
            has_digit,
            is_name: capital && !starts_sentence,
            is_acronym: capital && !has_lower && letters > 1,
        })
    }
}

impl Words<'_> {
    /// The next character. Most are ASCII, and this is where the time goes.
    #[inline]
    fn peek(&self) -> Option<char> {
        match self.text.as_bytes().get(self.at)? {
            byte if byte.is_ascii() => Some(char::from(*byte)),
            _ => self.text[self.at..].chars().next(),
        }
    }
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}')
}

/// Accents that are written apart from their letter.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
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
