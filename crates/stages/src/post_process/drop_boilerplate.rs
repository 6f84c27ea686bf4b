//! `drop-boilerplate`: what a model says to the person in front of it, and not about the row. Phrases that make an
//! answer worthless are `reject_words`'s.

use std::borrow::Cow;
use std::sync::LazyLock;

use promptmill_core::About;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::sentences::sentences;
use super::{Rejection, Step, StepConfig, StepContext};

/// Drops the opening that announces an answer (`Natuurlijk! Hier is de uitleg:`, `Sure, here is a summary:`,
/// `Samenvatting:`) and the closing that offers more (`Laat me weten als je nog vragen hebt.`, `I hope this
/// helps!`), in Dutch, English, German, French and Spanish. The first letter of what is left becomes a capital.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DropBoilerplate {}

impl StepConfig for DropBoilerplate {
    const NAME: &'static str = "drop-boilerplate";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Drops openings that announce an answer and closings that offer more.";

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Drop))
    }
}

/// What stands at the very start, in any case, with asterisks and quotes around it.
static OPENING: LazyLock<Regex> = LazyLock::new(|| {
    // An exclamation, which says nothing.
    let pleasantry = "(?:natuurlijk|uiteraard|zeker|prima|oké|graag gedaan|sure|sure thing|certainly|of course|absolutely|okay|ok|great|\
                      natürlich|gerne|selbstverständlich|sicher|bien sûr|certainement|d'accord|voici|claro|por supuesto|desde luego)";
    // An announcement: it ends with a colon on the same line, and names what is announced, if it says anything at all.
    let kinds = "(?:uitleg|samenvatting|antwoord|toelichting|tekst|versie|vertaling|resultaat|overzicht|lijst|(?:kern|hoofd)?punten|motie|taal|inhoud|zin|zinnen|json|\
                 explanation|summary|answer|response|text|version|translation|result|output|overview|list|motion|language|terms|words|content|\
                 sentences?|breakdown|paraphrase|rewrite|points|punkte|puntos|erklärung|zusammenfassung|antwort|fassung|übersetzung|ergebnis|übersicht|liste|antrag|\
                 sprache|inhalt|sätzen?|explication|résumé|réponse|texte|traduction|résultat|liste|langage|contenu|phrases?|\
                 explicación|resumen|respuesta|texto|versión|traducción|resultado|lista|moción|lenguaje|contenido|frases?)";
    let announcement = format!(
        "(?:hier (?:is|zijn|volgt|volgen|heb je|vind je|komt|ist|sind|kommt|finden sie)|hieronder (?:staat|staan|vind je|volgt|volgen)|\
         dit is (?:de|een) (?:uitleg|samenvatting)|here(?: is| are|'s|’s|s)|below (?:is|are)|this is (?:the|a) (?:summary|explanation)|\
         nachfolgend|im folgenden|voici|voilà|ci-dessous|aquí (?:está|están|tienes|tiene)|a continuación)(?-u:\\b)\
         (?:[^:.!?\\n]{{0,80}}[^:.!?\\n\\pL]{kinds}(?:[^:.!?\\n\\pL][^:.!?\\n]{{0,60}})?|[^:.!?\\n]{{0,5}}):"
    );
    // A heading that names the kind of text.
    let label = "(?:uitleg|samenvatting|antwoord|toelichting|explanation|summary|answer|response|output|erklärung|zusammenfassung|antwort|\
                 explication|résumé|réponse|explicación|resumen|respuesta) ?:";
    alternatives(&format!(r#"^[\s*"“#>]*(?:{pleasantry}\s*!|(?:{pleasantry}\s*[,.!:]?\s+)?{announcement}|{label})[*"“”]*\s*"#))
});

/// How a last sentence begins that offers more.
static CLOSING: LazyLock<Regex> = LazyLock::new(|| {
    // Somebody else may want to know something, too.
    let more =
        "[^.!?]{0,60}(?-u:\\b)(?:questions?|help|need|anything|else|more|changes?|adjust\\w*|think|like|want|further|clarif\\w*|prefer)";
    alternatives(&format!(
        "^(?:(?:laat (?:het )?(?:me|mij|ons)(?: het)? (?:gerust )?weten|heb je (?:nog|verder)|heeft u (?:nog|verder)|\
         (?:ik hoop|hopelijk) (?:dat )?(?:dit|deze)[^.!?]{{0,40}}(?:helpt|duidelijk|nuttig|geholpen)|als je (?:nog )?(?:meer )?vragen hebt|\
         mocht (?:je|u) (?:nog )?vragen|let me know{more}|i hope (?:this|that|it)[^.!?]{{0,20}}helps?|hope this helps|feel free to|please let me know{more}|\
         if you (?:have|need) any (?:more |further |other )?(?:questions|help)|would you like me to|\
         lass(?:en sie)? (?:es )?mich wissen|wenn (?:du|sie) (?:noch )?(?:weitere )?fragen|ich hoffe,? das hilft|\
         n'hésitez pas|j'espère que cela|faites-moi savoir|espero que (?:esto|te|le)|no dudes? en|si tienes (?:más|alguna)))(?-u:\\b)"
    ))
});

fn alternatives(pattern: &str) -> Regex {
    regex::RegexBuilder::new(pattern).case_insensitive(true).build().unwrap_or_else(|error| unreachable!("the pattern is tested: {error}"))
}

/// `Natuurlijk! Hier is de uitleg: Samenvatting:` is three of them, and more are a text made for it.
const ROUNDS: usize = 4;

#[derive(Debug)]
struct Drop;

impl Step for Drop {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let mut rest = text;
        for _ in 0..ROUNDS {
            let Some(opening) = OPENING.find(rest) else { break };
            rest = &rest[opening.end()..];
        }
        let was_opened = rest.len() < text.len();
        for _ in 0..ROUNDS {
            let Some(last) = last_sentence(rest).filter(|last| CLOSING.is_match(&rest[*last..])) else { break };
            rest = rest[..last].trim_end();
        }
        if !was_opened {
            return Ok(if rest.len() < text.len() { Cow::Owned(rest.to_owned()) } else { Cow::Borrowed(text) });
        }
        let mut chars = rest.chars();
        let first = chars.next().into_iter().flat_map(char::to_uppercase);
        Ok(Cow::Owned(first.chain(chars).collect()))
    }
}

/// Where the last sentence begins. Only the end of a text is cut into sentences: a closing is short.
fn last_sentence(text: &str) -> Option<usize> {
    const LONGEST: usize = 400;
    let mut from = text.len().saturating_sub(LONGEST);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    sentences(&text[from..]).last().map(|range| from + range.start)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, ENGLISH, FRENCH, GERMAN, SPANISH, answers};
    use super::*;

    fn bare(text: &str) -> String {
        Drop.apply(text, &About::NOTHING).expect("kept").into_owned()
    }

    #[test]
    fn openings_and_closings_go() {
        let table = [
            ("Hier is de uitleg: de motie vraagt geld.", "De motie vraagt geld."),
            ("Natuurlijk! Hier is een korte uitleg van de motie:\n\nDe motie vraagt geld.", "De motie vraagt geld."),
            ("Sure, here is the summary: The motion asks for money.", "The motion asks for money."),
            ("Certainly! The motion asks for money. I hope this helps!", "The motion asks for money."),
            ("**Samenvatting:** De motie vraagt geld.", "De motie vraagt geld."),
            ("Uitleg: de motie vraagt geld. Laat me weten als je nog vragen hebt.", "De motie vraagt geld."),
            ("Hier ist die Erklärung: Der Antrag fordert Geld. Ich hoffe, das hilft!", "Der Antrag fordert Geld."),
            ("Voici le résumé : la motion demande de l'argent.", "La motion demande de l'argent."),
            ("Aquí tienes el resumen: la moción pide dinero. Espero que esto te ayude.", "La moción pide dinero."),
            ("De motie vraagt geld. Heb je nog vragen? Laat het me gerust weten!", "De motie vraagt geld."),
            ("Hier is de uitleg:", ""),
            ("Here is the motion in simple words: the House asks for money.", "The House asks for money."),
            ("Hier is een overzicht van de context: de motie vraagt geld.", "De motie vraagt geld."),
            ("Here it is: the House asks for money.", "Here it is: the House asks for money."),
            ("Voici : la motion demande de l'argent.", "La motion demande de l'argent."),
            ("The motion asks for money. Let me know if you need anything else.", "The motion asks for money."),
        ];
        for (text, expected) in table {
            assert_eq!(bare(text), expected, "{text:?}");
        }
    }

    #[test]
    fn answers_are_not_taken_for_it() {
        for sentences in [DUTCH, ENGLISH, GERMAN, FRENCH, SPANISH] {
            for text in answers(sentences) {
                assert!(matches!(Drop.apply(&text, &About::NOTHING), Ok(Cow::Borrowed(_))), "{text} became {}", bare(&text));
            }
        }
        for text in [
            "Natuurlijk moet dit anders.",
            "Hier is veel over te doen. De motie vraagt: doe iets.",
            "Zeker mensen met weinig geld hebben hier last van.",
            "Summary judgement is a legal term.",
            "De indieners laten weten dat dit anders moet.",
            "Here is a village where nobody pays tax: the council ended it.",
            "Hier is een dorp waar niemand belasting betaalt: de raad heeft dat afgeschaft.",
            "Here is the context: the council has no money.",
            "Hier ist kein Platz mehr: die Stadt baut ein neues Haus.",
            "Let me know if you are there, says the letter to the mayor.",
        ] {
            assert_eq!(bare(text), text);
        }
    }
}
