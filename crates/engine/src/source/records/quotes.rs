//! Quotes of a CSV file that do not stand as they should: the reader takes a file with one that is never closed, and all lines
//! behind it as one value.

/// Goes through the bytes of a file as its reader does.
#[derive(Debug)]
pub(super) struct Quotes {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    comment: Option<u8>,
    at: At,
    line: u64,
    /// The line in which the last quote was opened.
    opened: u64,
    wrong: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Line,
    Value,
    InValue,
    InQuotes,
    /// Behind a quote in quotes: they have ended, or one quote is meant.
    Quote,
    Escaped,
    Comment,
}

impl Quotes {
    pub(super) fn new(delimiter: u8, quote: Option<u8>, escape: Option<u8>, comment: Option<u8>) -> Self {
        Self { delimiter, quote: quote.unwrap_or(b'"'), escape, comment, at: At::Line, line: 1, opened: 0, wrong: None }
    }

    /// Goes on through these bytes.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line += u64::from(*byte == b'\n');
            self.at = match (self.at, *byte) {
                (At::Comment, byte) if byte != b'\n' => At::Comment,
                (At::InQuotes, byte) if Some(byte) == self.escape => At::Escaped,
                (At::InQuotes, byte) if byte == self.quote => At::Quote,
                (At::InQuotes | At::Escaped, _) => At::InQuotes,
                (At::Quote, byte) if byte == self.quote => At::InQuotes,
                (_, b'\n' | b'\r') => At::Line,
                (_, byte) if byte == self.delimiter => At::Value,
                (At::Line, byte) if Some(byte) == self.comment => At::Comment,
                (At::Line | At::Value, byte) if byte == self.quote => {
                    self.opened = self.line;
                    At::InQuotes
                }
                (At::Quote, _) => {
                    let line = self.line;
                    self.wrong.get_or_insert_with(|| format!("has a quote in line {line} behind which its value goes on"));
                    At::InValue
                }
                _ => At::InValue,
            };
        }
    }

    /// What is wrong with the quotes, at the end of the file.
    pub(super) fn wrong(self) -> Option<String> {
        let is_open = matches!(self.at, At::InQuotes | At::Escaped);
        self.wrong.or_else(|| is_open.then(|| format!("has a quote in line {} that is never closed", self.opened)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quotes_that_do_not_close_are_wrong() {
        for (text, wrong) in [
            ("a,b\n1,\"x\ny\"\n\"2\",\"say \"\"so\"\"\"\n", None),
            ("a,b\n1,it's 5\" long\n", None),
            ("# it's a \" comment\r\na\r\n\"b\"\r\n", None),
            ("a\n\"b\\\"c\"\n", None),
            ("a,b\n1,\"x\n2,y\n", Some("has a quote in line 2 that is never closed")),
            ("a,b\n1,\"x\n2,\"y\"\n", Some("has a quote in line 3 behind which its value goes on")),
        ] {
            let mut quotes = Quotes::new(b',', None, Some(b'\\'), Some(b'#'));
            text.as_bytes().chunks(3).for_each(|bytes| quotes.see(bytes));
            assert_eq!(quotes.wrong().as_deref(), wrong, "{text:?}");
        }
    }
}
