//! `drop-lines-in-other-scripts`: a model that slips into Arabic or Chinese for a line, or for a word. Looks
//! at writing systems only; a foreign language in the same letters is `reject_language`'s.

use std::borrow::Cow;
use std::ops::Range;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;
use unicode_script::{Script, UnicodeScript};

use super::cut::{Seam, cut};
use super::excerpt::excerpt;
use super::{Rejection, Step, StepConfig, StepContext};

/// Drops every line most of whose letters are of another script than the allowed ones. From a line that is
/// mostly allowed only the foreign words go, with the spaces and marks between them. Digits, punctuation,
/// emoji and other characters that scripts share count for nothing.
///
/// Two things stay: Greek letters that stand alone, as in `β-blokker` and `5 Ω`, and words with a Cyrillic
/// letter that looks like a Latin one, which is replaced by its Latin twin. An answer that has no letters left
/// is rejected for `other-script`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DropLinesInOtherScripts {
    /// The allowed scripts by their Unicode names (`Latin`, `Greek`, `Cyrillic`, `Arabic`, `Han`, …) or
    /// four-letter codes (`Latn`).
    #[serde(default = "latin")]
    scripts: Vec<String>,
}

impl StepConfig for DropLinesInOtherScripts {
    const NAME: &'static str = "drop-lines-in-other-scripts";
    const EXAMPLE: &'static str = r#"scripts = ["Latin"]"#;
    const SUMMARY: &'static str = "Drops lines, and words within lines, that are written in another script.";
    const REASONS: &'static [&'static str] = &["other-script"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        let allowed = self.scripts.iter().map(|name| script(name)).collect::<Result<Vec<_>, _>>()?;
        if allowed.is_empty() {
            return Err("`scripts` is empty, so every line would go; give at least one, such as `Latin`".to_owned());
        }
        Ok(Box::new(DropLines { latin: allowed.contains(&Script::Latin), allowed }))
    }
}

#[derive(Debug)]
struct DropLines {
    allowed: Vec<Script>,
    /// Whether Latin is allowed: then nearly every answer is done with at a glance.
    latin: bool,
}

impl Step for DropLines {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        if !text.chars().any(|c| !(self.latin && is_low(c)) && self.kind(c) == Kind::Foreign) {
            return Ok(Cow::Borrowed(text));
        }
        let spelled = self.with_latin_twins(text);
        let mut spans = Vec::new();
        let mut start = 0;
        for line in spelled.split_inclusive('\n') {
            self.mark_foreign(start, line.trim_end_matches(['\n', '\r']), &mut spans);
            start += line.len();
        }
        if spans.is_empty() {
            return Ok(spelled);
        }
        let out = cut(&spelled, &spans, Seam::Spaced);
        if !out.chars().any(|c| self.kind(c) == Kind::Allowed) {
            return Err(Rejection::new("other-script", format!("nothing but other scripts: `{}`", excerpt(text))));
        }
        Ok(Cow::Owned(out))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A letter of an allowed script.
    Allowed,
    /// A letter of another script.
    Foreign,
    /// What belongs to the letter before it: accents, and marks that only other scripts use, like the Arabic
    /// comma. Never counted.
    Attached,
    /// Everything else.
    Shared,
}

impl DropLines {
    fn kind(&self, c: char) -> Kind {
        if self.latin && is_low(c) {
            return if c.is_alphabetic() { Kind::Allowed } else { Kind::Shared };
        }
        let extension = c.script_extension();
        let allowed = self.allowed.iter().any(|script| extension.contains_script(*script));
        match c.script() {
            Script::Unknown => Kind::Shared,
            Script::Inherited => Kind::Attached,
            Script::Common if allowed || extension.is_common() => Kind::Shared,
            Script::Common => Kind::Attached,
            _ if allowed => Kind::Allowed,
            _ => Kind::Foreign,
        }
    }

    /// Notes what has to go from one line that begins at `start`: all of it, or the foreign runs in it.
    fn mark_foreign(&self, start: usize, line: &str, spans: &mut Vec<Range<usize>>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut allowed = 0;
        let mut in_run = false;
        for (at, c) in line.char_indices() {
            let end = at + c.len_utf8();
            match (self.kind(c), runs.last_mut().filter(|_| in_run)) {
                (Kind::Foreign, Some(run)) => {
                    run.is_symbols &= is_greek(c) && run.range.end < at;
                    run.letters += 1;
                    run.range.end = end;
                }
                (Kind::Foreign, None) => {
                    runs.push(Run { range: at..end, letters: 1, is_symbols: is_greek(c) });
                    in_run = true;
                }
                (Kind::Attached, Some(run)) if run.range.end == at => run.range.end = end,
                (Kind::Allowed, _) => {
                    allowed += 1;
                    in_run = false;
                }
                _ => {}
            }
        }
        runs.retain(|run| !run.is_symbols);
        let foreign: usize = runs.iter().map(|run| run.letters).sum();
        if foreign > allowed {
            spans.push(start..start + line.len());
        } else {
            spans.extend(runs.into_iter().map(|run| start + run.range.start..start + run.range.end));
        }
    }

    /// Replaces the Cyrillic look-alikes in Latin words: taking them out would leave holes in the words.
    fn with_latin_twins<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.latin || self.kind('\u{430}') == Kind::Allowed {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        let mut copied = 0;
        let mut chars = text.char_indices().peekable();
        let mut before = ' ';
        while let Some((start, first)) = chars.next() {
            if first.script() != Script::Cyrillic {
                before = first;
                continue;
            }
            let mut twins: Option<String> = latin_twin(first).map(String::from);
            let mut last = first;
            while let Some((_, next)) = chars.next_if(|(_, c)| c.script() == Script::Cyrillic) {
                twins = twins.zip(latin_twin(next)).map(|(twins, twin)| twins + twin.encode_utf8(&mut [0; 4]));
                last = next;
            }
            let end = chars.peek().map_or(text.len(), |(at, _)| *at);
            let is_latin = |c: char| c.is_alphabetic() && c.script() == Script::Latin;
            let in_latin_word = is_latin(before) || chars.peek().is_some_and(|(_, c)| is_latin(*c));
            if let Some(twins) = twins.filter(|_| in_latin_word) {
                out.push_str(&text[copied..start]);
                out.push_str(&twins);
                copied = end;
            }
            before = last;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }
}

/// Foreign letters of a line with no allowed letter between them.
#[derive(Debug)]
struct Run {
    /// From the first of them to the last, with what is attached to it.
    range: Range<usize>,
    letters: usize,
    /// Nothing but Greek letters, each by itself.
    is_symbols: bool,
}

/// Every letter down here is Latin; the rest is shared.
fn is_low(c: char) -> bool {
    c < '\u{2b0}'
}

fn is_greek(c: char) -> bool {
    c.script() == Script::Greek
}

/// The Latin letter that a Cyrillic one is drawn like.
fn latin_twin(cyrillic: char) -> Option<char> {
    const CYRILLIC: &str = "аеорсухіјѕһкАВЕКМНОРСТУХІЈЅ";
    const LATIN: &str = "aeopcyxijshkABEKMHOPCTYXIJS";
    CYRILLIC.chars().zip(LATIN.chars()).find_map(|(twin, latin)| (twin == cyrillic).then_some(latin))
}

fn latin() -> Vec<String> {
    vec!["Latin".to_owned()]
}

fn script(name: &str) -> Result<Script, String> {
    // The tables spell them `Old_Italic` and `Latn`, and know no other way.
    let spelled = name
        .split([' ', '_', '-'])
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect())
        })
        .collect::<Vec<_>>()
        .join("_");
    let shared = [Script::Common, Script::Inherited, Script::Unknown];
    Script::from_full_name(&spelled).or_else(|| Script::from_short_name(&spelled)).filter(|script| !shared.contains(script)).ok_or_else(
        || format!("`{name}` is no script that Unicode names; examples are `Latin`, `Greek`, `Cyrillic`, `Arabic`, `Hebrew`, `Han`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(scripts: &[&str], text: &str) -> Result<String, Rejection> {
        let config = DropLinesInOtherScripts { scripts: scripts.iter().map(|name| (*name).to_owned()).collect() };
        let step = config.compile(&StepContext::default()).expect("compiles");
        step.apply(text, &About::NOTHING).map(Cow::into_owned)
    }

    #[test]
    fn lines_go_and_so_do_words_in_a_good_line() {
        let table = [
            ("De motie vraagt geld.\nيطلب هذا الاقتراح المال.\nVoor scholen.", "De motie vraagt geld.\nVoor scholen."),
            ("De motie vraagt geld.\n\nيطلب 45 مال!\n\nVoor scholen.", "De motie vraagt geld.\n\nVoor scholen."),
            ("De motie vraagt geld.\r\nيطلب\r\n", "De motie vraagt geld.\r\n"),
            ("De motie vraagt geld.\nКабинет", "De motie vraagt geld."),
            ("De motie (الاقتراح) vraagt geld.", "De motie vraagt geld."),
            ("De motie 你好，世界。 vraagt geld.", "De motie vraagt geld."),
            ("De motie vraagt geld. 你好 世界. Dus.", "De motie vraagt geld. Dus."),
            ("De regeringالحكومةmoet dit doen.", "De regering moet dit doen."),
            ("De minister سَ، moet dit doen.", "De minister moet dit doen."),
            ("De кабинет wil dit", "De wil dit"),
            // Borderline: as many foreign letters as allowed ones, and one more.
            ("ja да", "ja"),
            // Look-alikes.
            ("De mоtiе vraagt gеld аan Кamer", "De motie vraagt geld aan Kamer"),
            ("De mдtie", "De m tie"),
            // Symbols stay.
            ("Een β-blokker van 5 Ω, α/β en Δ.", "Een β-blokker van 5 Ω, α/β en Δ."),
            ("Een αβγ-blokker", "Een -blokker"),
            ("π", "π"),
            // Nothing foreign in it.
            ("Curaçao, Kostić, Yeşilgöz, Đà Nẵng: “50 €” … ½ № 3 👍🏽 ﬁ", "Curaçao, Kostić, Yeşilgöz, Đà Nẵng: “50 €” … ½ № 3 👍🏽 ﬁ"),
            ("12 345", "12 345"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(apply(&["Latin"], text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn nothing_left_is_a_rejection() {
        for text in ["هذا نص", "مرحبا\n(45-102)\n", "ja, да: даже"] {
            assert_eq!(apply(&["Latin"], text).expect_err("rejected").reason, "other-script", "{text:?}");
        }
        assert_eq!(apply(&["Latin"], "هذا نص").expect_err("rejected").to_string(), "other-script: nothing but other scripts: `هذا نص`");
    }

    #[test]
    fn other_scripts_can_be_allowed() {
        assert_eq!(apply(&["Latin", "Cyrillic"], "Het Кремль 你").as_deref(), Ok("Het Кремль"));
        assert_eq!(apply(&["Arabic"], "هذا نص، ٤٥\nDutch").as_deref(), Ok("هذا نص، ٤٥"));
        assert_eq!(apply(&["cyrl"], "да\nja").as_deref(), Ok("да"));
    }

    #[test]
    fn twins_are_what_they_seem() {
        for cyrillic in '\u{400}'..='\u{52f}' {
            assert!(
                latin_twin(cyrillic).is_none_or(|latin| latin.is_ascii_alphabetic() && latin.is_uppercase() == cyrillic.is_uppercase())
            );
        }
        assert_eq!(
            (latin_twin('\u{455}'), latin_twin('\u{422}'), latin_twin('\u{442}'), latin_twin('a')),
            (Some('s'), Some('T'), None, None)
        );
    }

    #[test]
    fn scripts_are_checked() {
        let compile = |scripts: &[&str]| {
            let config = DropLinesInOtherScripts { scripts: scripts.iter().map(|name| (*name).to_owned()).collect() };
            config.compile(&StepContext::default()).map(drop).expect_err("refused")
        };
        assert!(compile(&["Latijn"]).starts_with("`Latijn` is no script that Unicode names; examples are `Latin`"));
        assert!(compile(&["Common"]).starts_with("`Common` is no script"));
        assert!(compile(&[]).contains("`scripts` is empty"));
        assert!(script("old italic").is_ok());
    }
}
