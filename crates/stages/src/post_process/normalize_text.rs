//! `normalize-text`: the small untidiness that a reader sees and no one means, such as odd spaces, a space
//! before a comma, `,,`. Never the words themselves: those are `replace_words`'s.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::{Language, Rejection, Step, StepConfig, StepContext};

/// Tidies characters, spaces and punctuation, and changes nothing when done twice:
///
/// - Unicode is composed (NFC); zero-width, control and other invisible characters go; every kind of space
///   becomes a plain one, every kind of line break a plain one.
/// - Spaces at the ends of lines, doubled spaces, and blank lines beyond the first go; the whole is trimmed.
/// - No space before `, . ; : ! ? )` and after `(`; `,,` and `..` become one, four dots and more become `...`.
///   In French the space before `; : ! ?` stays.
/// - A space comes after a comma between letters, and after the end of a sentence (`zin.Daarna`). Numbers,
///   times, abbreviations (`o.a.`), domain names, e-mail and web addresses are left alone.
///
/// Typographic quotes, dashes and `…` are kept as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NormalizeText {}

impl StepConfig for NormalizeText {
    const NAME: &'static str = "normalize-text";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Tidies Unicode, invisible characters, spaces, blank lines and punctuation.";

    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Normalize { spaced_marks: context.language == Some(Language::Fr) }))
    }
}

#[derive(Debug)]
struct Normalize {
    /// Whether `; : ! ?` have a space before them, as in French.
    spaced_marks: bool,
}

impl Step for Normalize {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        if is_plainly_normal(text) {
            return Ok(Cow::Borrowed(text));
        }
        let characters = visible(text);
        let out = lines(&characters, |line, out| Marks { line, spaced_marks: self.spaced_marks }.tidy(out));
        Ok(if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) })
    }
}

/// A look at the text that says yes only when there is surely nothing to do: most answers are fine, and this
/// is many times faster than finding that out by doing the work.
fn is_plainly_normal(text: &str) -> bool {
    if text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']) {
        return false;
    }
    let mut before = (' ', ' ');
    for c in text.chars() {
        let fine = match c {
            ' ' => !matches!(before.1, ' ' | '\n' | '(' | '['),
            '\n' => before.1 != ' ' && before != ('\n', '\n'),
            ',' | ';' => !matches!(before.1, ' ' | ',' | ';'),
            '.' => !matches!(before.1, ' ' | '.'),
            ':' | '!' | '?' | ')' | ']' => before.1 != ' ',
            c if c.is_ascii_lowercase() => !matches!(before.1, ',' | ';'),
            c if c.is_ascii_uppercase() => !matches!(before.1, ',' | ';' | '.' | '!' | '?'),
            c if c.is_ascii() => !c.is_ascii_control(),
            '\u{c0}'..='\u{24f}' => !matches!(before.1, ',' | ';' | '.' | '!' | '?'),
            '“' | '”' | '„' | '‘' | '’' | '–' | '—' | '…' | '•' | '€' => true,
            _ => false,
        };
        if !fine {
            return false;
        }
        before = (before.1, c);
    }
    true
}

/// The text in NFC with plain spaces and line breaks, and without what cannot be seen.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut carriage_return = false;
    for c in composed(text).chars() {
        let after_return = std::mem::replace(&mut carriage_return, c == '\r');
        let c = match c {
            ' '..='~' => c,
            '\n' if after_return => continue,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            // The Braille blank and the Hangul fillers are spaces in all but name.
            '\u{2800}' | '\u{3164}' | '\u{ffa0}' => ' ',
            c if c.is_whitespace() => ' ',
            // Joiners hold emoji and some scripts together. In a Latin word they are only in the way.
            '\u{200c}' | '\u{200d}' if is_joined(before) => c,
            c if is_invisible(c) => continue,
            c => c,
        };
        out.push(c);
        before = c;
    }
    // What was taken out may have stood between a letter and its accent.
    match composed(&out) {
        Cow::Borrowed(_) => out,
        Cow::Owned(composed) => composed,
    }
}

fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc_quick(text.chars()) == IsNormalized::Yes { text.into() } else { text.nfc().collect::<String>().into() }
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

fn is_joined(before: char) -> bool {
    before >= '\u{590}' && !matches!(before, '\u{1e00}'..='\u{206f}')
}

/// Tidies spaces and blank lines, and lets `tidy` write each line that is left.
fn lines(text: &str, tidy: impl Fn(&[char], &mut String)) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut line: Vec<char> = Vec::new();
    let mut blank_lines = 0;
    for raw in text.split('\n') {
        line.clear();
        for word in raw.split(' ').filter(|word| !word.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word.chars());
        }
        if line.is_empty() {
            blank_lines += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if blank_lines > 0 { "\n\n" } else { "\n" });
        }
        blank_lines = 0;
        tidy(&line, &mut out);
    }
    out
}

/// One line with single spaces, and the rules for marks in it.
struct Marks<'l> {
    line: &'l [char],
    spaced_marks: bool,
}

impl Marks<'_> {
    fn tidy(&self, out: &mut String) {
        let line = self.line;
        let mut token = Token::starting_at(0);
        let mut at = 0;
        // The last character written on this line.
        let mut before = None;
        while let Some(&c) = line.get(at) {
            let rest = &line[at + 1..];
            match c {
                ' ' => {
                    token = Token::starting_at(at + 1);
                    let repeats = doubled_marks(before, rest);
                    let after = rest.get(repeats).copied();
                    if repeats > 0 && !after.is_some_and(char::is_alphanumeric) {
                        at += 1 + repeats;
                        continue;
                    }
                    if repeats > 0 {
                        // `geld, ,maar` lacks a space after the second comma, so the first one's stays.
                        at += repeats;
                    } else if self.drops_space(before, rest) {
                        at += 1;
                        continue;
                    }
                    out.push(' ');
                }
                ',' | ';' => {
                    out.push(c);
                    let repeats = rest.iter().take_while(|next| **next == c).count();
                    at += repeats;
                    let next = line.get(at + 1).is_some_and(|next| next.is_alphabetic());
                    if next && before.is_some_and(char::is_alphabetic) && !token.is_address(line) {
                        out.push(' ');
                    }
                }
                '.' => {
                    let dots = 1 + rest.iter().take_while(|next| **next == '.').count();
                    let after = line.get(at + dots).copied();
                    let kept = match dots {
                        2 if before.is_some_and(|c| c != ' ') && after.is_none_or(|c| c == ' ' || is_closing(c)) => 1,
                        1..=3 => dots,
                        _ => 3,
                    };
                    out.extend(std::iter::repeat_n('.', kept));
                    at += dots - 1;
                    if dots == 1 && self.ends_sentence(at) && !token.is_address(line) {
                        out.push(' ');
                    }
                }
                '!' | '?' => {
                    out.push(c);
                    if self.ends_sentence(at) && !token.is_address(line) {
                        out.push(' ');
                    }
                }
                c => out.push(c),
            }
            before = Some(c);
            at += 1;
        }
    }

    /// Whether the space between `before` and `rest` is one that nobody would write.
    fn drops_space(&self, before: Option<char>, rest: &[char]) -> bool {
        let (Some(before), Some(&mark)) = (before, rest.first()) else { return false };
        let opens = matches!(before, '(' | '[');
        let closes = matches!(mark, ')' | ']');
        // `( )` and `[ ]` are boxes to tick.
        if opens || closes {
            return opens != closes;
        }
        if !matches!(mark, ',' | '.' | ';' | ':' | '!' | '?') || (self.spaced_marks && !matches!(mark, ',' | '.')) {
            return false;
        }
        let marks = rest.iter().take_while(|c| matches!(c, ',' | '.' | ';' | ':' | '!' | '?')).count();
        // `en toen ...` is a matter of taste.
        let is_ellipsis = rest.starts_with(&['.', '.']);
        let after = rest.get(marks).copied();
        let is_smiley = matches!(mark, ':' | ';') && after.is_some_and(|c| matches!(c, ')' | ']'));
        // `3 : 1`
        let is_ratio = before.is_numeric() && rest.get(marks + 1).is_some_and(|c| c.is_numeric());
        if is_ellipsis || is_smiley || is_ratio {
            return false;
        }
        match after {
            None | Some(' ') => true,
            Some(c) if is_closing(c) => true,
            // A comma on the wrong side of its space: `geld ,maar`.
            Some(c) => {
                c.is_alphabetic()
                    && before.is_alphabetic()
                    && matches!(mark, ',' | ';')
                    && rest[..marks].iter().all(|c| *c == mark)
                    && !is_address(rest.split(|c| *c == ' ').next().unwrap_or_default())
            }
        }
    }

    /// Whether the mark at `at` ends one sentence and the next begins right after it: a word that ends in a
    /// small letter before, a word with a capital after. That leaves out `o.a.`, `B.V.`, `nu.nl` and `1.5`.
    fn ends_sentence(&self, at: usize) -> bool {
        let back = |n: usize| at.checked_sub(n).map(|at| self.line[at]);
        let ahead = |n: usize| self.line.get(at + n).copied();
        back(1).is_some_and(char::is_lowercase)
            && back(2).is_some_and(char::is_alphabetic)
            && ahead(1).is_some_and(char::is_uppercase)
            && ahead(2).is_some_and(|c| c.is_lowercase() || (c == 'J' && ahead(1) == Some('I')))
    }
}

/// How many marks after a space only repeat the one before it: `, ,` and `. .`, but not `. ...`.
fn doubled_marks(before: Option<char>, rest: &[char]) -> usize {
    let Some(mark) = before.filter(|mark| matches!(mark, ',' | ';' | '.')) else { return 0 };
    let repeats = rest.iter().take_while(|next| **next == mark).count();
    // An ellipsis, `.5`, `.NET`
    let means_something = mark == '.' && (repeats > 1 || rest.get(1).is_some_and(|c| c.is_alphanumeric()));
    if means_something { 0 } else { repeats }
}

/// What stands between two spaces, looked at when it matters and once only.
struct Token {
    start: usize,
    known: Option<bool>,
}

impl Token {
    fn starting_at(start: usize) -> Self {
        Self { start, known: None }
    }

    fn is_address(&mut self, line: &[char]) -> bool {
        let token = || line[self.start..].split(|c| *c == ' ').next().unwrap_or_default();
        *self.known.get_or_insert_with(|| is_address(token()))
    }
}

/// A web or e-mail address, a path, an HTML entity: nothing to put spaces into.
fn is_address(token: &[char]) -> bool {
    token.iter().any(|c| matches!(c, '@' | '/' | '\\' | '&' | '=' | '_'))
        || token.windows(4).any(|part| part.iter().map(char::to_ascii_lowercase).eq("www.".chars()))
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | ']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> String {
        in_language(None, text)
    }

    fn in_language(language: Option<Language>, text: &str) -> String {
        let step = NormalizeText {}.compile(&StepContext { language }).expect("compiles");
        step.apply(text, &About::NOTHING).expect("kept").into_owned()
    }

    #[test]
    fn characters() {
        let table = [
            ("gei\u{308}nd cafe\u{301}", "geïnd café"),
            ("e\u{200b}\u{301}\u{feff}n", "én"),
            ("la\u{ad}ge\u{200d}inkomen\u{202e}", "lageinkomen"),
            ("50\u{a0}miljoen\u{202f}euro\u{2003}\tmeer", "50 miljoen euro meer"),
            ("a\u{0}\u{7}\u{7f}b", "ab"),
            ("een\r\ntwee\rdrie\u{2028}vier", "een\ntwee\ndrie\nvier"),
            ("👩\u{200d}👧 en ☺\u{fe0f}", "👩\u{200d}👧 en ☺\u{fe0f}"),
            ("“Nee”, ‘ja’ – «goed»… ‹3 €›", "“Nee”, ‘ja’ – «goed»… ‹3 €›"),
        ];
        for (text, expected) in table {
            assert_eq!(normal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn spaces_and_lines() {
        let table =
            [("  een   twee \n  drie  ", "een twee\ndrie"), ("een\n\n\n \ntwee\n\ndrie\n", "een\n\ntwee\n\ndrie"), (" \n\t", ""), ("", "")];
        for (text, expected) in table {
            assert_eq!(normal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn marks() {
        let table = [
            ("geld , maar ; dus : ja ! nee ?", "geld, maar; dus: ja! nee?"),
            ("geld ,maar geld,maar geld,,maar", "geld, maar geld, maar geld, maar"),
            ("geld,, maar.. En , , zo .", "geld, maar. En, zo."),
            ("geld, ,maar, ,, zo", "geld, maar, zo"),
            ("geld. . Dus .", "geld. Dus."),
            ("en toen... ja ... nee.... zo …", "en toen... ja ... nee... zo …"),
            ("( ja ) en [ nee ] en [ ] en ( )", "(ja) en [nee] en [ ] en ( )"),
            ("de “motie” .", "de “motie”."),
            ("zei hij .” Dus", "zei hij.” Dus"),
            ("Een zin.Daarna nog een!Echt waar?Ja,zeker.IJs", "Een zin. Daarna nog een! Echt waar? Ja, zeker. IJs"),
            ("zin.”Daarna", "zin.”Daarna"),
        ];
        for (text, expected) in table {
            assert_eq!(normal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_wrong_is_left_alone() {
        let texts = [
            "1.000,50 euro, 3.5% en 1,5 °C om 12:30 op 1-2-2024",
            "o.a. de B.V., d.w.z. m.b.t. A.B.C. Dijk c.s.; art. 3.1.a, lid 2",
            "nu.nl, www.rijksoverheid.nl/a,b?c=D.Ef!Gh en https://x.nl/Een.Twee,drie",
            "jan.Jansen@tk.nl, C:\\Map.Twee, rapport_eind.Def, R&D,enzo",
            "ASP.NET, Node.js, .NET en .nl kosten .5 miljoen",
            "3 : 1, 1..5 en ../pad en ;-) en :) en ‘s ochtends en 't",
            "J.Jansen en drs.P",
            "twee\n- een, twee\n- drie\n\n* vier",
        ];
        for text in texts {
            assert_eq!(normal(text), text);
        }
    }

    #[test]
    fn french_keeps_its_spaces() {
        let fr = |text| in_language(Some(Language::Fr), text);
        assert_eq!(fr("Quoi\u{202f}? Non\u{a0}: rien , dit-il ."), "Quoi ? Non : rien, dit-il.");
    }

    #[test]
    fn no_change_is_no_repair() {
        let step = NormalizeText {}.compile(&StepContext::default()).expect("compiles");
        for text in ["De motie vraagt geld.", "… ☺ ... en zo"] {
            assert!(matches!(step.apply(text, &About::NOTHING).expect("kept"), Cow::Borrowed(_)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn twice_is_once(text in prop_oneof![
            any::<String>(),
            "[a1A ,;.:!?()\"/’]{0,14}",
            "([aEe \n\r,.\u{a0}\u{200d}\u{200b}\u{301}\u{338}K\u{212a}👩<\u{37e}\u{1e00}\u{2126}\u{3164}]|www.){0,12}",
        ], french in any::<bool>()) {
            let normal = |text: &str| in_language(french.then_some(Language::Fr), text);
            let once = normal(&text);
            prop_assert_eq!(normal(&once), once);
        }

        /// The quick look must never keep what the work would change.
        #[test]
        fn plainly_normal_is_normal(text in "[aEé1 ,;.:!?()\n“-]{0,12}", french in any::<bool>()) {
            if is_plainly_normal(&text) {
                let worked = lines(&visible(&text), |line, out| Marks { line, spaced_marks: french }.tidy(out));
                prop_assert_eq!(worked, text);
            }
        }

        #[test]
        fn letters_and_digits_stay(text in "[a-zA-Z0-9é ,;.:!?()\n]{0,60}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&normal(&text)), letters(&text));
        }
    }
}
