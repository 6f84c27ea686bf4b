//! Text out of XML or HTML: tags away, a new line per block, entities decoded. Deliberately simple; it reads
//! any text without failing, also when the markup is broken.

/// Elements within a line. Every other element begins and ends a line.
const INLINE: &[&str] = &[
    "a",
    "abbr",
    "b",
    "begrotingshoofdstuk",
    "cur",
    "datum",
    "dossiernr",
    "dossierref",
    "em",
    "extref",
    "font",
    "halfvet",
    "i",
    "inf",
    "intref",
    "nadruk",
    "onderlijnd",
    "ondernummer",
    "ovl",
    "raadnr",
    "rijkswetnr",
    "romein",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "u",
    "vet",
];

/// Elements whose content is no text.
const NO_TEXT: &[&str] = &["script", "style"];

const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("euro", '€'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("hellip", '…'),
    ("bull", '•'),
    ("shy", '\u{ad}'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("aacute", 'á'),
    ("agrave", 'à'),
    ("acirc", 'â'),
    ("auml", 'ä'),
    ("ccedil", 'ç'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("ecirc", 'ê'),
    ("euml", 'ë'),
    ("iacute", 'í'),
    ("iuml", 'ï'),
    ("oacute", 'ó'),
    ("ouml", 'ö'),
    ("uacute", 'ú'),
    ("uuml", 'ü'),
    ("szlig", 'ß'),
    ("Eacute", 'É'),
    ("Euml", 'Ë'),
    ("sect", '§'),
    ("deg", '°'),
    ("frac12", '½'),
    ("sup2", '²'),
    ("middot", '·'),
];

/// The text of a document.
pub(crate) fn text(markup: &str) -> String {
    let mut lines = Lines::default();
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        lines.decoded(&rest[..at]);
        rest = &rest[at..];
        rest = if let Some(inner) = rest.strip_prefix("<!--") {
            after(inner, "-->")
        } else if let Some(inner) = rest.strip_prefix("<![CDATA[") {
            let end = inner.find("]]>").unwrap_or(inner.len());
            lines.plain(&inner[..end]);
            after(inner, "]]>")
        } else if let Some(inner) = rest.strip_prefix("<?") {
            after(inner, "?>")
        } else if rest.starts_with("<!") {
            after(rest, ">")
        } else {
            tag(rest, &mut lines)
        };
    }
    lines.decoded(rest);
    lines.finish()
}

/// Handles the tag at the start and returns what comes after it.
fn tag<'a>(rest: &'a str, lines: &mut Lines) -> &'a str {
    let inner = rest[1..].strip_prefix('/').unwrap_or(&rest[1..]);
    let name_end = inner.find(|char: char| !(char.is_alphanumeric() || "-_:.".contains(char)));
    let name = &inner[..name_end.unwrap_or(inner.len())];
    let Some(end) = tag_end(rest).filter(|_| name.starts_with(char::is_alphabetic)) else {
        // "x < 5", or a tag that never ends: text.
        lines.plain("<");
        return &rest[1..];
    };
    let name = name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase();
    if !INLINE.contains(&name.as_str()) {
        lines.end();
    }
    let closed = rest.starts_with("</") || rest[..end].ends_with('/');
    let rest = &rest[end + 1..];
    if NO_TEXT.contains(&name.as_str()) && !closed {
        let close = format!("</{name}");
        let end = rest.to_ascii_lowercase().find(&close).unwrap_or(rest.len());
        return &rest[end..];
    }
    rest
}

/// Where the tag ends: the first `>` outside a quoted attribute.
fn tag_end(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).map_or("", |at| &text[at + mark.len()..])
}

/// Lines with white space made single. A no-break space is no white space here: it is part of the text.
#[derive(Default)]
struct Lines {
    out: String,
    line: String,
    space: bool,
}

impl Lines {
    fn char(&mut self, char: char) {
        if char.is_ascii_whitespace() {
            self.space = true;
            return;
        }
        if self.space && !self.line.is_empty() {
            self.line.push(' ');
        }
        self.space = false;
        self.line.push(char);
    }

    fn plain(&mut self, text: &str) {
        text.chars().for_each(|char| self.char(char));
    }

    fn decoded(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find('&') {
            self.plain(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.find(';').and_then(|end| Some((end, entity(&rest[..end])?))) {
                Some((end, char)) => {
                    self.char(char);
                    rest = &rest[end + 1..];
                }
                None => self.char('&'),
            }
        }
        self.plain(rest);
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            if !self.out.is_empty() {
                self.out.push('\n');
            }
            self.out.push_str(&self.line);
            self.line.clear();
        }
        self.space = false;
    }

    fn finish(mut self) -> String {
        self.end();
        self.out
    }
}

fn entity(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, char)| *char);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    code.ok().and_then(char::from_u32).filter(|char| *char != '\0')
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn blocks_become_lines() {
        let markup = "<?xml version='1.0'?>\n<stuk>\n  <dossier><dossiernr>36 410</dossiernr>\n  \
            <begrotingshoofdstuk>XIV</begrotingshoofdstuk></dossier>\n\
            <stuknr>Nr. <ondernummer kamer='2'>7</ondernummer></stuknr><!-- <al>no</al> -->\n\
            <al>De  Kamer,</al><al/><al>gehoord\n   de <b>beraadslaging</b>,</al></stuk>";
        assert_eq!(text(markup), "36 410 XIV\nNr. 7\nDe Kamer,\ngehoord de beraadslaging,");
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(text("5 &lt; 6 &amp;amp; &euro;&nbsp;3 &#233;&#xEB;"), "5 < 6 &amp; €\u{a0}3 éë");
        assert_eq!(text("R&D; A&B &onbekend; &#0; &#xD800;"), "R&D; A&B &onbekend; &#0; &#xD800;");
        assert_eq!(text("<![CDATA[a &amp; <b>]]>"), "a &amp; <b>");
    }

    #[test]
    fn broken_markup_is_read_all_the_same() {
        for (markup, expected) in [
            ("", ""),
            ("1 < 2", "1 < 2"),
            ("<p>open", "open"),
            ("a <b", "a <b"),
            ("<!-- open", ""),
            ("<![CDATA[open", "open"),
            ("<p title='a > b'>x</p>", "x"),
            ("<STYLE>p { }</Style><P>x", "x"),
            ("<script>open", ""),
            ("ë<é>ü", "ë\nü"),
        ] {
            assert_eq!(text(markup), expected, "{markup}");
        }
    }
}
