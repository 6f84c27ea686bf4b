//! The official form of a motion: what stands around its text, and how to tell it from text.

use super::leads::starts_with_folded;

/// The formula that opens a motion, in the two languages, and the name of who speaks before it.
const FORMULAS: &[(&str, &str)] = &[("gehoord de beraadslaging", "De Kamer"), ("having heard the debate", "The House")];

/// What stands before and behind the opening formula, and whether there is one.
pub(super) fn split_at_opening(text: &str) -> (&str, &str, bool) {
    for (formula, speaker) in FORMULAS {
        let Some((head, body)) = text.split_once(formula) else { continue };
        let spoken = head.trim_end().trim_end_matches(',').strip_suffix(speaker);
        // Inside a sentence the same words open nothing.
        if let Some(head) = spoken.or_else(|| (head.is_empty() || head.ends_with('\n')).then_some(head)) {
            return (head, body.trim_start_matches([',', ';', ':', '.', ' ']), true);
        }
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if matches!(line.trim().trim_end_matches(','), "De Kamer" | "The House") {
            return (&text[..start], &text[end..], true);
        }
        start = end;
    }
    ("", text, false)
}

/// Whether a line is official form, or furniture of a page, and not text.
pub(super) fn is_form(line: &str) -> bool {
    const FORMS: &[&str] = &[
        "Vergaderjaar 2",
        "Vergaderjaar 1",
        "Tweede Kamer der Staten-Generaal",
        "Eerste Kamer der Staten-Generaal",
        "Tweede Kamer, vergaderjaar",
        "Eerste Kamer, vergaderjaar",
        "Voorgesteld 1",
        "Voorgesteld 2",
        "Voorgesteld 3",
        "Voorgesteld tijdens",
        "Ter vervanging van de motie",
        "Ter vervanging van die gedrukt",
        "ISSN 0",
        "kst-",
        "’s-Gravenhage 2",
        "'s-Gravenhage 2",
        "gehoord de beraadslaging",
    ];
    match line.as_bytes() {
        [] => false,
        [b'0'..=b'9', ..] => is_number(line),
        [b'#', ..] => line.trim_start_matches('#').starts_with(' '),
        [b'N', b'r', b'.', rest @ ..] => !rest.is_empty() && rest.len() < 8,
        _ => {
            matches!(line, "Kamerstukken" | "Kamerstuk" | "De Kamer,")
                || FORMS.iter().any(|form| line.starts_with(form))
                || is_capital_heading(line)
        }
    }
}

/// A page number, or a dossier number as `36 410 XVI` and `21 501-32`.
fn is_number(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (digits == line.len() && digits <= 3)
        || (digits == 2
            && line.len() < 20
            && line.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b' ' | b'-' | 0xC2 | 0xA0 | b'A'..=b'Z'))
            && line.bytes().filter(u8::is_ascii_digit).count() >= 5)
}

/// `MOTIE VAN HET LID …`, `GEWIJZIGDE MOTIE VAN …`, `AMENDEMENT VAN …`
fn is_capital_heading(line: &str) -> bool {
    const HEADINGS: &[&str] = &["MOTIE ", "GEWIJZIGDE ", "NADER ", "TWEEDE ", "DERDE ", "AMENDEMENT "];
    HEADINGS.iter().any(|heading| line.starts_with(heading)) && !line.contains(|c: char| c.is_ascii_lowercase())
}

/// Whether `text` starts with the formula that closes a motion.
pub(super) fn closes(text: &str) -> bool {
    const FORMULAS: &[&str] = &[
        "en gaat over tot",
        "en gaan over tot",
        "gaat over tot de orde",
        "gaat over tot orde",
        "en gaat over naar de orde",
        "and proceeds to",
        "and passes to",
        "proceeds to the order",
    ];
    FORMULAS.iter().any(|formula| starts_with_folded(text, formula))
}

/// Whether a line is a name: capitalised words and the small words between them.
pub(super) fn is_name(line: &str) -> bool {
    const SMALL: &[&str] = &["van", "de", "der", "den", "het", "ter", "ten", "el", "’t", "'t", "van’t", "c.s."];
    line.split(' ').count() <= 5
        && (!line.ends_with([',', ';', '.', ':']) || line.ends_with(" c.s."))
        && line.split(' ').all(|word| SMALL.contains(&word) || word.starts_with(char::is_uppercase))
}

/// The mark of a list item that `line` starts with, in bytes, with the space behind it.
pub(super) fn bullet(line: &str) -> Option<usize> {
    let mut chars = line.char_indices();
    let (_, first) = chars.next()?;
    let mark = match first {
        '•' | '·' | '▪' | '◦' | '‣' | '●' | '–' | '—' | '-' | '*' | '\u{f0b7}' => first.len_utf8(),
        '0'..='9' | 'a'..='z' => {
            let digits = line.bytes().take(2).take_while(u8::is_ascii_digit).count().max(1);
            match line.as_bytes().get(digits)? {
                b')' | b'.' => digits + 1,
                _ => return None,
            }
        }
        _ => return None,
    };
    let rest = &line[mark..];
    let item = rest.trim_start();
    (item.len() < rest.len() && !item.is_empty()).then_some(line.len() - item.len())
}

/// Whether a line is nothing but the mark of a list item, as where markup had it in an element of its own.
pub(super) fn is_lone_mark(line: &str) -> bool {
    line.len() <= 3 && bullet(&[line, " x"].concat()).is_some_and(|mark| mark == line.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_is_told_from_text() {
        let form = [
            "Vergaderjaar 2024-2025",
            "Tweede Kamer der Staten-Generaal",
            "2",
            "Kamerstukken",
            "36 410 XVI",
            "21 501-32",
            "36\u{a0}410",
            "Nr. 35",
            "MOTIE VAN HET LID DE VRIES C.S.",
            "GEWIJZIGDE MOTIE VAN DE LEDEN EL ABASSI EN KOSTIĆ",
            "Voorgesteld 18\u{a0}september 2025",
            "Voorgesteld tijdens het notaoverleg van 16 juni 2025",
            "kst-32034-48",
            "ISSN 0921 - 7371",
            "’s-Gravenhage 2023",
            "Tweede Kamer, vergaderjaar 2022–2023, 32 034, nr. 48",
            "## Kop",
        ];
        let text = [
            "",
            "Voorgesteld wordt om te fietsen",
            "2025 was een goed jaar",
            "2025",
            "MOTIEven",
            "MOTIE of geen MOTIE, dat is de vraag",
            "Nr. 35 van de lijst is gekozen",
            "Ter vervanging van de brug",
            "#fietsen",
        ];
        assert_eq!(form.iter().filter(|line| !is_form(line)).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert_eq!(text.iter().filter(|line| is_form(line)).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn the_opening_formula_divides_a_text() {
        let cases = [
            ("Kop\nDe Kamer,\ngehoord de beraadslaging,\nrest", "Kop\n", "\nrest", true),
            ("Kop De Kamer, gehoord de beraadslaging, rest", "Kop ", "rest", true),
            ("gehoord de beraadslaging;\nrest", "", "\nrest", true),
            ("De Kamer,\nconstaterende dat", "", "constaterende dat", true),
            ("The House, having heard the debate, rest", "", "rest", true),
            ("wij, gehoord de beraadslaging, gaan", "", "wij, gehoord de beraadslaging, gaan", false),
            ("De Kamer, die veel weet, zwijgt", "", "De Kamer, die veel weet, zwijgt", false),
        ];
        for (text, head, body, official) in cases {
            assert_eq!(split_at_opening(text), (head, body, official), "{text}");
        }
    }

    #[test]
    fn names_and_list_marks() {
        for name in ["Van der Plas", "El Abassi", "Inge van Dijk", "Kostić", "De Vos c.s."] {
            assert!(is_name(name), "{name}");
        }
        for text in ["en de Kamer te informeren", "De trein rijdt", "Van der Plas,", "Een Twee Drie Vier Vijf Zes"] {
            assert!(!is_name(text), "{text}");
        }
        let marks = [
            ("• een", Some(4)),
            ("–  een", Some(5)),
            ("1. een", Some(3)),
            ("12) een", Some(4)),
            ("a) een", Some(3)),
            ("- ", None),
            ("-een", None),
            ("1.500 euro", None),
            ("a een", None),
        ];
        for (line, mark) in marks {
            assert_eq!(bullet(line), mark, "{line}");
        }
        assert!(is_lone_mark("•") && is_lone_mark("1.") && !is_lone_mark("12") && !is_lone_mark("ja"));
    }
}
