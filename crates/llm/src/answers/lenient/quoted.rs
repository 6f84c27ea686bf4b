//! Texts in quotes of some kind, whose escapes may be missing: where they end, and what they say.
//!
//! In valid JSON the first quote without a backslash ends a text. Elsewhere a quote ends it only if what follows
//! can follow; quotes inside have to come in pairs, and apostrophes to stand before a letter. As soon as a text
//! seems to hold a key or the id of another row, it is given up.

use super::{Parser, Place, Stop};

/// Quotes of a kind: a text that one of them begins is ended by one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quotes {
    Double,
    Single,
    Curly,
    CurlySingle,
}

impl Quotes {
    /// The quote at the start of a text, and its length in bytes.
    pub(super) fn at(text: &str) -> Option<(Self, usize)> {
        let quote = text.chars().next()?;
        let quotes = match quote {
            '"' => Self::Double,
            '\'' => Self::Single,
            '“' | '”' | '„' | '‟' => Self::Curly,
            '‘' | '’' | '‚' => Self::CurlySingle,
            _ => return None,
        };
        Some((quotes, quote.len_utf8()))
    }

    fn may_close(self, quote: Self) -> bool {
        self == quote || (self == Self::Curly && quote == Self::Double)
    }

    /// Apostrophes stand alone; other quotes inside a text come in pairs.
    fn come_in_pairs(self) -> bool {
        matches!(self, Self::Double | Self::Curly)
    }
}

/// What a quote in a text turns out to be.
enum Ending {
    End,
    Inside,
    Broken,
}

/// A text with its escapes resolved, for JSON that was escaped as if it stood in quotes.
pub(in crate::answers) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parser = Parser::new(text);
    while parser.stopped.is_none() {
        let rest = &text[parser.at..];
        let run = rest.find('\\').unwrap_or(rest.len());
        out.push_str(&rest[..run]);
        parser.at += run;
        parser.escape(&mut out);
    }
    out
}

/// Whether a text holds an id of a row behind a quote.
fn holds_id(text: &str) -> bool {
    let mut quotes = text.match_indices(|sign: char| "\"'“”„‘’".contains(sign));
    quotes.any(|(at, quote)| begins_id(&text[at + quote.len()..]))
}

fn begins_id(text: &str) -> bool {
    matches!(text.as_bytes(), [b'r' | b'R', b'0'..=b'9', ..])
}

impl Parser<'_> {
    /// The rest of a text in quotes. A key (no place) ends at the first quote.
    pub(super) fn quoted(&mut self, quotes: Quotes, place: Option<Place>) -> Option<String> {
        let mut out = String::new();
        let mut inner = 0_usize;
        loop {
            let rest = &self.bytes[self.at..];
            let run = match quotes {
                Quotes::Double => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')),
                // Curly quotes begin with the last of these.
                _ => rest.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'\\' | 0xe2)),
            };
            let Some(run) = run else { return self.stop(Stop::End) };
            out.push_str(&self.text[self.at..self.at + run]);
            self.at += run;
            if self.peek() == Some(b'\\') {
                self.escape(&mut out);
                if self.stopped.is_some() {
                    return None;
                }
                continue;
            }
            let rest = &self.text[self.at..];
            let length = match Quotes::at(rest) {
                Some((quote, length)) if quotes.may_close(quote) => {
                    match place.map_or(Ending::End, |place| self.ending(self.at + length, quotes, inner, place)) {
                        // In quotes of another kind than the keys: the next row may stand in it.
                        Ending::End if place.is_some() && self.key_quotes.is_some_and(|keys| keys != quotes) && holds_id(&out) => {
                            return self.stop(Stop::Broken);
                        }
                        Ending::End => {
                            self.at += length;
                            return Some(out);
                        }
                        Ending::Inside => inner += 1,
                        Ending::Broken => return self.stop(Stop::Broken),
                    }
                    length
                }
                // A key inside a text that other quotes have begun: they belong to two texts.
                Some((_, length)) if self.begins_key(self.at + length) => return self.stop(Stop::Broken),
                Some((_, length)) => length,
                None => rest.chars().next().map_or(1, char::len_utf8),
            };
            out.push_str(&rest[..length]);
            self.at += length;
        }
    }

    /// What a quote in a text is, by what stands behind it.
    fn ending(&self, after: usize, quotes: Quotes, inner: usize, place: Place) -> Ending {
        let paired = !quotes.come_in_pairs() || inner.is_multiple_of(2);
        let next = self.after_blanks(after);
        let may_end = match (self.bytes.get(next), place) {
            // An apostrophe at the end, or a quote that opened inside: the text goes on where the answer was cut.
            (None, _) if !paired || !quotes.come_in_pairs() => return Ending::Inside,
            (None, _) | (Some(b'}'), Place::Object) | (Some(b']'), Place::List) => true,
            // This was a key: an earlier quote is missing, and what has been read is two things.
            (Some(b':'), _) => return Ending::Broken,
            (Some(b','), _) | (Some(b';'), Place::Object) => self.may_begin(self.after_blanks(next + 1), place),
            (Some(b'/'), _) => matches!(self.bytes.get(next + 1), Some(b'/' | b'*')),
            // Without a comma between them, but apart.
            (Some(_), _) => inner == 0 && next > after && quotes.come_in_pairs() && Quotes::at(&self.text[next..]).is_some(),
        };
        match (may_end, paired) {
            (true, true) => Ending::End,
            // It would end here, were all quotes in it escaped or none: somewhere one is missing.
            (true, false) => Ending::Broken,
            // The next row has begun.
            (false, _) if self.begins_key(after) => Ending::Broken,
            (false, _) if !quotes.come_in_pairs() && !self.is_apostrophe(after) => Ending::Broken,
            (false, _) => Ending::Inside,
        }
    }

    /// Whether a letter follows, as in `it's` and `'s-Gravenhage`.
    fn is_apostrophe(&self, after: usize) -> bool {
        self.text[after..].starts_with(char::is_alphanumeric)
    }

    /// Whether behind a quote at this place stands an id of a row, or the colon behind a key.
    fn begins_key(&self, after: usize) -> bool {
        begins_id(&self.text[after..]) || self.bytes.get(self.after_blanks(after)) == Some(&b':')
    }

    /// Whether a next key or value may begin here, or the end.
    fn may_begin(&self, at: usize, place: Place) -> bool {
        let Some(byte) = self.bytes.get(at) else { return true };
        let rest = &self.text[at..];
        if Quotes::at(rest).is_some() || rest.starts_with("...") || rest.starts_with('…') {
            return true;
        }
        match (byte, place) {
            (b',' | b'/', _) | (b'}', Place::Object) | (b']', Place::List) => true,
            (b'{' | b'[' | b'-' | b't' | b'f' | b'n' | b'T' | b'F' | b'N' | b'0'..=b'9', Place::List) => true,
            (_, Place::List) => false,
            (_, Place::Object) => {
                let length = rest.bytes().take(64).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
                length > 0 && self.bytes.get(self.after_blanks(at + length)) == Some(&b':')
            }
        }
    }

    /// Adds what the escape at this place stands for.
    fn escape(&mut self, out: &mut String) {
        let Some(letter) = self.text.get(self.at + 1..).and_then(|rest| rest.chars().next()) else {
            self.stopped = Some(Stop::End);
            return;
        };
        self.at += 1 + letter.len_utf8();
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            '"' | '\\' | '/' | '\'' => out.push(letter),
            'u' => {
                let first = self.unit();
                let pair = first.filter(|unit| (0xd800..0xdc00).contains(unit)).and_then(|high| {
                    let before = self.at;
                    let low = self.bytes[self.at..].starts_with(b"\\u").then(|| {
                        self.at += 2;
                        self.unit()
                    });
                    let low = low.flatten().filter(|low| (0xdc00..0xe000).contains(low));
                    if low.is_none() {
                        self.at = before;
                    }
                    Some(0x10000 + ((high - 0xd800) << 10) + (low? - 0xdc00))
                });
                // Half a character is a broken one.
                out.push(pair.or(first).and_then(char::from_u32).unwrap_or('\u{fffd}'));
            }
            other => out.extend(['\\', other]),
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
