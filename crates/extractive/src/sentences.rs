//! Where a sentence ends, and where a long one may be cut.

/// What joins two pieces of a paragraph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// A comma.
    Comma,
    /// A semicolon.
    Semicolon,
    /// The end of a sentence.
    Sentence,
}

/// Abbreviations behind which a sentence goes on, whatever follows.
const ABBREVIATIONS: &[&str] = &[
    "aant", "afd", "apr", "approx", "art", "artt", "aug", "blz", "bv", "bijv", "ca", "cf", "cie", "co", "dec", "dhr", "dir", "dr", "drs",
    "ds", "dep", "dept", "evt", "excl", "feb", "febr", "fig", "gem", "gen", "gov", "hon", "inc", "incl", "ing", "ir", "jan", "jhr", "jr",
    "kol", "lic", "ltd", "max", "mevr", "min", "mr", "mrs", "mrt", "ms", "mw", "nl", "nov", "nr", "nrs", "okt", "oct", "pag", "par", "pp",
    "prof", "red", "rep", "resp", "sen", "sep", "sept", "sr", "st", "stb", "stcrt", "tel", "trb", "vgl", "vol", "vs", "wnd", "zgn",
];

/// Abbreviations that may also be the last word of a sentence: a capital behind them decides.
const PERHAPS_LAST: &[&str] = &["mln", "mld", "enz", "etc", "jl", "e.d", "c.s", "a.u.b", "o.i.d", "al", "p.m", "a.m"];

/// The next joint of the paragraph from `from` on: what it is, where the piece before it ends and where the
/// piece behind it starts. The piece before started at `start`.
pub(super) fn next_joint(text: &str, start: usize, from: usize) -> Option<(Joint, usize, usize)> {
    let bytes = text.as_bytes();
    (from..bytes.len()).find_map(|at| match bytes[at] {
        b',' if bytes.get(at + 1) == Some(&b' ') => Some((Joint::Comma, at, at + 2)),
        b';' if bytes.get(at + 1) == Some(&b' ') => Some((Joint::Semicolon, at, at + 2)),
        b'.' | b'!' | b'?' => sentence_end(text, start, at).map(|end| (Joint::Sentence, end, end + 1)),
        _ => None,
    })
}

/// If the full stop, exclamation or question mark at `at` ends a sentence that started at `start` and another
/// one follows: the end of the first, with the quotes and brackets that it closes.
fn sentence_end(text: &str, start: usize, at: usize) -> Option<usize> {
    const CLOSERS: &[char] = &['.', '!', '?', ')', ']', '"', '\'', '’', '”', '»'];
    // Not more than a sentence can have, so that a row of marks is not walked once for each.
    let closers = text[at + 1..].chars().take(8).take_while(|c| CLOSERS.contains(c));
    let end = at + 1 + closers.map(char::len_utf8).sum::<usize>();
    let behind = text[end..].strip_prefix(' ')?;
    let next = behind.trim_start_matches(['(', '[', '"', '\'', '‘', '“', '«']).chars().next()?;
    if next.is_lowercase() {
        return None;
    }
    if text.as_bytes()[at] == b'.' && !stop_ends(text, start, at, next) {
        return None;
    }
    Some(end)
}

/// Whether the full stop at `at` can end a sentence, by the word before it and the character that follows.
fn stop_ends(text: &str, start: usize, at: usize, next: char) -> bool {
    // No abbreviation is longer; and a "word" may be a megabyte.
    let from = start.max(at.saturating_sub(12));
    let before = &text.as_bytes()[from..at];
    let length = before.iter().rev().take_while(|byte| !matches!(byte, b' ' | b'(' | b'[' | b'/')).count();
    let word = &before[before.len() - length..];
    if word.iter().any(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b',')) {
        return true;
    }
    if !word.is_empty() && word.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b',')) {
        // The number of a list item, or of a day.
        return at - length > start && !(next.is_numeric() && length <= 2);
    }
    let is = |abbreviation: &&str| word.eq_ignore_ascii_case(abbreviation.as_bytes());
    if PERHAPS_LAST.iter().any(is) {
        return next.is_uppercase();
    }
    if word.eq_ignore_ascii_case(b"no") {
        return !next.is_numeric();
    }
    let initial = word.len() == 1 || word.contains(&b'.');
    !initial && !ABBREVIATIONS.iter().any(is)
}

/// The longest beginning of `text` of at most `most` characters that ends where a reader would pause: at a
/// semicolon or the end of a sentence, else at a comma, else between two words. Also says whether what was
/// left out was not the middle of anything.
pub(super) fn cut(text: &str, most: usize) -> (&str, bool) {
    let Some((limit, _)) = text.char_indices().nth(most) else { return (text, true) };
    let within = &text[..limit];
    let enough = limit / 3;
    if let Some(at) = within.rfind("; ").filter(|at| *at >= enough) {
        return (&text[..at], true);
    }
    let at = within.rfind(", ").filter(|at| *at >= enough);
    // A space right behind the limit means that the last word fits whole.
    let at = at.or_else(|| if text[limit..].starts_with(' ') { Some(limit) } else { within.rfind(' ') });
    match at.map(|at| text[..at].trim_end_matches([' ', ',', ';', ':'])) {
        Some(kept) if !kept.is_empty() => (kept, false),
        // One word that is too long by itself: there is no boundary to cut at.
        _ => (within, false),
    }
}

/// The length of `text` in characters.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        let (mut start, mut from, mut found) = (0, 0, Vec::new());
        while let Some((joint, end, next)) = next_joint(text, start, from) {
            from = next;
            if joint == Joint::Sentence {
                found.push(&text[start..end]);
                start = next;
            }
        }
        found.push(&text[start..]);
        found
    }

    #[test]
    fn abbreviations_numbers_and_initials_end_no_sentence() {
        let whole = [
            "Dat kost o.a. Nederland 5 mln. euro per jaar.",
            "Zie nr. 35 en art. 12 van de wet (Stb. 2023, nr. 4).",
            "Het lid J. P. de Vries c.s. vraagt dit.",
            "Dhr. Jansen en mevr. Bakker kwamen.",
            "Er is 1.500 of 1,5 miljoen nodig, d.w.z. Nederland betaalt.",
            "1. Een eerste punt",
            "Op 3. 4. en 5. mei",
            "See no. 5 and Fig. 3 of Dr. Smith.",
            "Hij zei «ja!» en ging.",
            "www.voorbeeld.nl is een adres.",
        ];
        for text in whole {
            assert_eq!(sentences(text), [text]);
        }
    }

    #[test]
    fn sentences_end_where_a_reader_says_so() {
        let cases: &[&[&str]] = &[
            &["Het regent.", "Morgen niet."],
            &["Regent het?", "Ja!", "Nee."],
            &["Dat kost 5 mln.", "Nederland betaalt."],
            &["Treinen, bussen enz.", "De rest loopt."],
            &["Dit gold in 2023.", "15 gemeenten doen mee."],
            &["Zie artikel 5.", "De wet is helder."],
            &["Hij zei: «Het regent.»", "Het was droog."],
            &["(Dat was zo.)", "«Nu» niet."],
            &["The answer is no.", "We asked again."],
            &["Wat nu?!...", "Élan!"],
        ];
        for expected in cases {
            assert_eq!(sentences(&expected.join(" ")), *expected);
        }
    }

    #[test]
    fn a_cut_falls_between_words() {
        assert_eq!(cut("kort", 10), ("kort", true));
        assert_eq!(cut("een twee; drie vier", 12), ("een twee", true));
        assert_eq!(cut("een twee, drie vier", 15), ("een twee", false));
        assert_eq!(cut("een twee drie", 8), ("een twee", false));
        assert_eq!(cut("een twee drie", 7), ("een", false));
        assert_eq!(cut("éééééééé", 3), ("ééé", false));
        assert_eq!(cut("a", 0), ("", false));
    }
}
