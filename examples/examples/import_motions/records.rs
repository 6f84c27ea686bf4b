//! Pages and records as the OData service gives them, and the motion in a record. Every field may be
//! missing or null: which ones there are depends on the query that made the page.

use std::path::Path;

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::Date32Type;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{Result, at, markup};

/// One page of an answer.
pub(crate) struct Page {
    pub(crate) records: Vec<Value>,
    /// Whether it names a next page.
    pub(crate) next_link: bool,
}

/// A motion, as far as its record tells.
pub(crate) struct Motion {
    pub(crate) number: String,
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    /// Days since 1970-01-01, and the year.
    pub(crate) date: Option<(i32, i32)>,
    pub(crate) submitter: Option<String>,
    pub(crate) party: Option<String>,
    pub(crate) vote_result: Option<String>,
}

/// Why a record is no motion to take.
pub(crate) struct Skip {
    pub(crate) reason: &'static str,
    /// For a record that is at fault.
    pub(crate) detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Zaak {
    nummer: Option<String>,
    soort: Option<String>,
    titel: Option<String>,
    onderwerp: Option<String>,
    gestart_op: Option<String>,
    verwijderd: Option<bool>,
    #[serde(default, deserialize_with = "list")]
    besluit: Vec<Besluit>,
    #[serde(default, deserialize_with = "list")]
    zaak_actor: Vec<ZaakActor>,
    #[serde(default, deserialize_with = "list")]
    document: Vec<Document>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Besluit {
    besluit_soort: Option<String>,
    besluit_tekst: Option<String>,
    verwijderd: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ZaakActor {
    naam: Option<String>,
    // The service has used both names.
    actor_naam: Option<String>,
    actor_fractie: Option<String>,
    relatie: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    tekst: Option<String>,
}

/// A list that may be null, or a single record where a query expanded only one.
fn list<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> std::result::Result<Vec<T>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.into_iter().map(|value| serde_json::from_value(value).map_err(serde::de::Error::custom)).collect(),
        value => serde_json::from_value(value).map(|one| vec![one]).map_err(serde::de::Error::custom),
    }
}

impl Page {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| at(path, error))?;
        // Some tools save an answer with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let page: Value = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = error.to_string();
            // The position moves to the front, where editors look for it.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            format!("{}:{line}:{column}: {message}", path.display())
        })?;
        match page {
            Value::Array(records) => Ok(Self { records, next_link: false }),
            Value::Object(mut page) => {
                let next_link = page.get("@odata.nextLink").is_some_and(|link| !link.is_null());
                match page.remove("value") {
                    Some(Value::Array(records)) => Ok(Self { records, next_link }),
                    _ => {
                        let message = page.get("error").map(|error| format!("; it says: {error}"));
                        let message = message.unwrap_or_default();
                        Err(format!("{}: no list of records in `value`{message}", path.display()).into())
                    }
                }
            }
            _ => Err(format!("{}: no list of records", path.display()).into()),
        }
    }
}

impl Motion {
    /// The motion in a record, if it is a case of this kind.
    pub(crate) fn from_record(record: Value, kind: &str) -> std::result::Result<Self, Skip> {
        let skip = |reason| Skip { reason, detail: None };
        let zaak: Zaak =
            serde_json::from_value(record).map_err(|error| Skip { reason: "not readable", detail: Some(error.to_string()) })?;
        if zaak.verwijderd == Some(true) {
            return Err(skip("deleted"));
        }
        // A page without this field comes from a query that asked for one kind only.
        if zaak.soort.as_deref().is_some_and(|soort| soort.trim() != kind) {
            return Err(skip("of another kind"));
        }
        let Some(number) = filled(zaak.nummer).map(|number| number.trim().to_owned()) else {
            return Err(skip("without a number"));
        };
        let (submitter, party) = submitters(&zaak.zaak_actor);
        Ok(Self {
            number,
            // Onderwerp is the subject line; Titel is mostly the name of the file it belongs to.
            title: filled(zaak.onderwerp).or_else(|| filled(zaak.titel)),
            body: zaak
                .document
                .into_iter()
                .find_map(|document| filled(document.tekst))
                .map(|text| if text.trim_start().starts_with('<') { markup::text(&text) } else { text }),
            date: zaak.gestart_op.as_deref().and_then(date),
            submitter,
            party,
            vote_result: decision(&zaak.besluit),
        })
    }

    /// What this motion does not have.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = &'static str> + use<> {
        let parts = [
            ("without a title", self.title.is_none()),
            ("without a text", self.body.is_none()),
            ("without a date", self.date.is_none()),
            ("without a submitter", self.submitter.is_none()),
            ("without a decision", self.vote_result.is_none()),
        ];
        parts.into_iter().filter_map(|(lack, lacks)| lacks.then_some(lack))
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// The day as written: a moment such as 2024-03-05T00:00:00+01:00 is a local one, and in UTC a day earlier.
fn date(moment: &str) -> Option<(i32, i32)> {
    let day = moment.get(..10)?;
    Some((Date32Type::parse(day)?, day[..4].parse().ok()?))
}

/// Names and parties, the first submitter in front and each party once.
fn submitters(actors: &[ZaakActor]) -> (Option<String>, Option<String>) {
    let mut names: Vec<&str> = Vec::new();
    let mut parties: Vec<&str> = Vec::new();
    for relation in ["Indiener", "Medeindiener"] {
        let related = |actor: &&ZaakActor| actor.relatie.as_deref().is_some_and(|name| name.trim() == relation);
        for actor in actors.iter().filter(related) {
            let name = actor.naam.as_deref().or(actor.actor_naam.as_deref());
            for (list, text) in [(&mut names, name), (&mut parties, actor.actor_fractie.as_deref())] {
                let text = text.unwrap_or_default().trim();
                if !text.is_empty() && !list.contains(&text) {
                    list.push(text);
                }
            }
        }
    }
    let joined = |list: &[&str]| (!list.is_empty()).then(|| list.join("; "));
    (joined(&names), joined(&parties))
}

/// The result of the vote. A motion can be put off first and decided later: the last clear result counts,
/// and only without one the last result of any sort.
fn decision(decisions: &[Besluit]) -> Option<String> {
    let results: Vec<String> = decisions
        .iter()
        .filter(|decision| decision.verwijderd != Some(true))
        .filter_map(|decision| {
            let sort = decision.besluit_soort.as_deref().unwrap_or_default().trim();
            let result = sort.strip_prefix("Stemmen")?.trim_start_matches([' ', '-', '–']);
            let result = if result.is_empty() { decision.besluit_tekst.as_deref()? } else { result };
            Some(result.trim().trim_end_matches('.').to_lowercase()).filter(|result| !result.is_empty())
        })
        .collect();
    let clear = |result: &&String| matches!(result.as_str(), "aangenomen" | "verworpen");
    results.iter().rev().find(clear).or(results.last()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(decisions: &str) -> Option<String> {
        decision(&serde_json::from_str::<Vec<Besluit>>(decisions).expect("decisions"))
    }

    #[test]
    fn the_last_clear_result_counts() {
        let off = r#"{"BesluitSoort": "Stemmen - aangehouden"}"#;
        let yes = r#"{"BesluitSoort": "Stemmen - aangenomen", "BesluitTekst": "Aangenomen."}"#;
        let no = r#"{"BesluitSoort": "Stemmen", "BesluitTekst": "Verworpen."}"#;
        let gone = r#"{"BesluitSoort": "Stemmen - verworpen", "Verwijderd": true}"#;
        assert_eq!(result("[]"), None);
        assert_eq!(result(r#"[{"BesluitSoort": "Ingediend"}, {}]"#), None);
        assert_eq!(result(&format!("[{off}]")).as_deref(), Some("aangehouden"));
        assert_eq!(result(&format!("[{yes}, {off}, {gone}]")).as_deref(), Some("aangenomen"));
        assert_eq!(result(&format!("[{off}, {no}]")).as_deref(), Some("verworpen"));
    }

    #[test]
    fn a_date_is_the_local_day() {
        assert_eq!(date("2024-03-05T00:00:00+01:00"), Some((19_787, 2024)));
        assert_eq!(date("1970-01-02"), Some((1, 1970)));
        for text in ["", "gisteren", "2024-13-01", "2024-03", "éééééééééé"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn submitters_come_in_order_and_once() {
        let actors: Vec<ZaakActor> = serde_json::from_str(
            r#"[{"Naam": "B", "ActorFractie": "P", "Relatie": "Medeindiener"},
                {"ActorNaam": "A", "ActorFractie": "P", "Relatie": "Indiener"},
                {"Naam": "C", "Relatie": "Medeindiener"}, {"Naam": "D", "Relatie": "Gericht aan"}, {}]"#,
        )
        .expect("actors");
        assert_eq!(submitters(&actors), (Some("A; B; C".to_owned()), Some("P".to_owned())));
        assert_eq!(submitters(&[]), (None, None));
    }
}
