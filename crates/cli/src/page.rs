//! Pages that stand alone: one HTML file, nothing loaded from anywhere, readable from a disk and years later.
//!
//! Models write much of what stands on them, so nothing reaches a page but through [`Element`]: names of elements and
//! attributes are literals of this program, and every text and value is escaped on its way in. A content security policy
//! stands behind that: scripts and styles run only if they carry the page's own nonce.

pub(crate) mod chart;

use std::fmt::{Display, Write};

const STYLE: &str = include_str!("page/page.css");

/// An element with what is in it, as HTML that is safe to join.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    name: &'static str,
    attributes: String,
    inner: String,
}

/// An empty element.
pub(crate) fn el(name: &'static str) -> Element {
    Element { name, attributes: String::new(), inner: String::new() }
}

impl Element {
    /// With an attribute.
    pub(crate) fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.attributes, " {name}=\"{}\"", escaped(&value.to_string()));
        self
    }

    /// With a class of the style sheet.
    pub(crate) fn class(self, class: &'static str) -> Self {
        self.attr("class", class)
    }

    /// With a text behind what is there.
    pub(crate) fn text(mut self, text: impl Display) -> Self {
        self.inner.push_str(&escaped(&text.to_string()));
        self
    }

    /// With an element behind what is there.
    pub(crate) fn with(mut self, child: Element) -> Self {
        child.push_to(&mut self.inner);
        self
    }

    /// With several elements behind what is there.
    pub(crate) fn all(self, children: impl IntoIterator<Item = Element>) -> Self {
        children.into_iter().fold(self, Self::with)
    }

    fn push_to(self, out: &mut String) {
        let Self { name, attributes, inner } = self;
        let _ = match name {
            // These have no end.
            "input" | "br" => write!(out, "<{name}{attributes}>"),
            _ => write!(out, "<{name}{attributes}>{inner}</{name}>"),
        };
    }
}

/// A whole page. `script` is this program's own.
pub(crate) fn page(title: &str, body: Element, script: &'static str) -> String {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style nonce=\"{nonce}\">\n{STYLE}</style>\n</head>\n<body>\n",
        escaped(title)
    );
    body.push_to(&mut html);
    if !script.is_empty() {
        let _ = write!(html, "\n<script nonce=\"{nonce}\">\n{script}</script>");
    }
    html.push_str("\n</body>\n</html>\n");
    html
}

/// A section with a heading.
pub(crate) fn section(heading: &str) -> Element {
    el("section").with(el("h2").text(heading))
}

/// A table; columns whose heading ends in `#` hold numbers.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<Element>>) -> Element {
    let numeric: Vec<bool> = headings.iter().map(|heading| heading.ends_with('#')).collect();
    let is_numeric = |column: usize| numeric.get(column).copied().unwrap_or_default();
    let cell = |name: &'static str, column: usize| if is_numeric(column) { el(name).class("number") } else { el(name) };
    let head = headings.iter().enumerate().map(|(column, heading)| cell("th", column).text(heading.trim_end_matches('#')));
    let body = rows.into_iter().map(|row| el("tr").all(row.into_iter().enumerate().map(|(column, inner)| cell("td", column).with(inner))));
    let table = el("table").with(el("thead").with(el("tr").all(head))).with(el("tbody").all(body));
    el("div").class("scroll").with(table)
}

/// A text as it is, in a box of its own whatever direction it is written in.
pub(crate) fn text(text: impl Display) -> Element {
    el("bdi").text(text)
}

/// A headline figure.
pub(crate) fn tile(name: &str, value: impl Display, note: impl Display) -> Element {
    el("div")
        .class("tile")
        .with(el("span").class("name").text(name))
        .with(el("strong").text(value))
        .with(el("span").class("note").text(note))
}

/// A number for people: thousands apart, few decimals.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size == 0.0 || size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 1.0 => 1,
        size if size >= 0.01 => 3,
        _ => 6,
    };
    let text = format!("{value:.digits$}");
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, ""), |(whole, fraction)| (whole, fraction.trim_end_matches('0')));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// A share in percent.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1}%", 100.0 * part / whole) } else { "–".to_owned() }
}

/// The text with everything that means something to a reader of HTML spelled out; what no page may hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for next in text.chars() {
        match next {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(next),
            _ if next.is_control() => out.push('\u{fffd}'),
            _ => out.push(next),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_says_stays_text() {
        let evil = "</td><script>alert(1)</script><img src=x onerror='a' \u{0}\r>\"";
        let html = page(evil, el("p").attr("title", evil).text(evil), "");
        assert_eq!(html.matches("<script").count() + html.matches("<img").count(), 0, "{html}");
        assert!(html.contains("&lt;script&gt;alert(1)") && !html.contains(['\u{0}', '\r']));
        assert!(html.contains(" title=\"&lt;/td&gt;"), "{html}");
    }

    #[test]
    fn a_page_runs_its_own_script_only_and_loads_nothing() {
        let html = page("t", el("p").text("x"), "let a = 1;\n");
        let nonce = html.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        assert_eq!(nonce.len(), 32);
        assert!(html.contains(&format!("<script nonce=\"{nonce}\">")) && html.contains("default-src 'none'"));
        assert_ne!(html, page("t", el("p").text("x"), "let a = 1;\n"), "a nonce is used once");
        assert!(!html.contains("http://") && !html.contains("https://") && !STYLE.contains("url("));
    }

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (1234567.0, "1,234,567"),
            (-1234.5, "-1,234"),
            (3.25, "3.2"),
            (0.1234, "0.123"),
            (0.00021, "0.00021"),
            (12.0, "12"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((percent(1.0, 8.0).as_str(), percent(1.0, 0.0).as_str()), ("12.5%", "–"));
    }
}
