//! The model that is always there: `builtin/extractive`, in this process, free and the same every time.
//!
//! It understands nothing. It picks the sentences of a text that carry its request and its main reasons, so
//! that a pipeline can be run from end to end before there is a server to ask. Dutch parliamentary motions are
//! what it knows best ([`extract`]); of any other text it picks the most telling sentences. The other types of
//! an answer get a value that is honest rather than clever: see [`Extractive`].

mod clean;
mod document;
mod form;
mod leads;
mod markup;
mod sentences;
mod summary;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use promptmill_core::{
    AnswerField, AnswerShape, BuiltinModel, CallError, Charge, Class, FieldType, Finish, Money, Provider, RateLimits, Request, Response,
    Usage,
};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

pub use self::summary::extract;

use self::document::Document;
use self::sentences::cut;
use self::summary::summarize;
use self::words::{frequent, occurrences};

/// The name of the built-in model.
pub const EXTRACTIVE: &str = "builtin/extractive";

/// The most characters of a text that it answers.
const MOST_CHARS: usize = 600;
/// The least that it answers, if the text has that much, however few tokens it is allowed.
const LEAST_CHARS: usize = 40;
/// The characters of an answer that is a title.
const TITLE_CHARS: usize = 160;
/// The words of an answer that is a list.
const LIST_WORDS: usize = 5;
/// The bytes that it calls a token.
const BYTES_PER_TOKEN: usize = 4;

/// A model that answers with sentences of the text it is asked about.
///
/// The prompt is not read. By the type of a field, the answer is
///
/// * a text: what [`extract`] picks; for a field named `title` or `titel` the first line;
/// * one of several texts: the one that occurs most often in the item, else the first;
/// * a list: the words that occur most often;
/// * true or false: whether the item asks for something;
/// * a number: 0, because it cannot know one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extractive;

/// The model as a registry lists it.
pub fn model() -> BuiltinModel {
    BuiltinModel { name: EXTRACTIVE, provider: Arc::new(Extractive) }
}

#[async_trait]
impl Provider for Extractive {
    async fn complete(&self, request: &Request) -> Result<Response, CallError> {
        let content = answer(request);
        let usage = Usage { input_tokens: tokens(input_bytes(request)), output_tokens: tokens(content.len()), ..Usage::default() };
        Ok(response(content, Some(usage)))
    }

    fn read(&self, raw: &str) -> Result<Response, CallError> {
        match serde_json::from_str::<HashMap<String, IgnoredAny>>(raw) {
            Ok(_) => Ok(response(raw.to_owned(), None)),
            Err(error) => Err(CallError {
                class: Class::Malformed,
                message: format!("not an answer of `{EXTRACTIVE}`: {error}"),
                hint: None,
                status: None,
                retry_after: None,
                charge: Charge::Nothing,
                raw: Some(raw.to_owned()),
                limits: RateLimits::default(),
                limit_hint: None,
            }),
        }
    }
}

fn response(content: String, usage: Option<Usage>) -> Response {
    Response {
        raw: content.clone(),
        content,
        finish: Finish::Stop,
        finish_reason: Some("stop".to_owned()),
        usage,
        cost: Some(Money::ZERO),
        limits: RateLimits::default(),
    }
}

fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

fn input_bytes(request: &Request) -> usize {
    let system = request.system.as_deref().map_or(0, str::len);
    system + request.prompt.len() + request.items.iter().map(|item| item.text.len()).sum::<usize>()
}

/// The characters that each row may have: fewer than usual where the request allows few tokens, so that an
/// answer is short rather than broken off.
fn chars_per_row(request: &Request) -> usize {
    let allowed =
        request.max_tokens.map_or(MOST_CHARS, |tokens| (tokens as usize).saturating_mul(BYTES_PER_TOKEN) / request.items.len().max(1));
    // Id, quotes and comma.
    allowed.saturating_sub(12).clamp(LEAST_CHARS, MOST_CHARS)
}

fn answer(request: &Request) -> String {
    let most = chars_per_row(request);
    let mut content = String::with_capacity(request.items.len() * 512);
    content.push('{');
    for (index, item) in request.items.iter().enumerate() {
        if index > 0 {
            content.push(',');
        }
        push_json(&mut content, &item.id);
        content.push(':');
        match &*request.shape {
            AnswerShape::Text(_) => push_json(&mut content, &extract(&item.text, most)),
            AnswerShape::Fields(fields) => push_json(&mut content, &fields_of(&item.text, &Document::read(&item.text), fields, most)),
        }
    }
    content.push('}');
    content
}

fn push_json(out: &mut String, value: &impl Serialize) {
    // Writing JSON into memory cannot fail; `null` keeps the object whole if it ever did.
    out.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
}

fn fields_of(text: &str, document: &Document, fields: &[AnswerField], most: usize) -> Map<String, Value> {
    let value = |field: &AnswerField| match &field.kind {
        FieldType::String if is_title(&field.name) => title_of(text, document).into(),
        FieldType::String => summarize(text, document, most).into(),
        FieldType::Enum(values) => most_mentioned(document, values).into(),
        FieldType::List(items) if **items == FieldType::String => frequent(document.texts(), LIST_WORDS).into(),
        // Which other values belong into a list is not said by counting words.
        FieldType::List(_) => Value::Array(Vec::new()),
        FieldType::Struct(fields) => fields_of(text, document, fields, most).into(),
        FieldType::Bool => document.asks().into(),
        FieldType::Int | FieldType::Float if field.nullable => Value::Null,
        FieldType::Int => 0.into(),
        FieldType::Float => 0.0.into(),
    };
    fields.iter().map(|field| (field.name.clone(), value(field))).collect()
}

fn is_title(name: &str) -> bool {
    name.eq_ignore_ascii_case("title") || name.eq_ignore_ascii_case("titel")
}

/// The title of a document, or what comes closest: its first clause.
fn title_of(text: &str, document: &Document) -> String {
    let first = document.texts().find(|text| !text.is_empty()).unwrap_or(text.trim());
    cut(first, TITLE_CHARS).0.to_owned()
}

/// Of these texts the one that the document mentions most often, the first if it mentions none.
fn most_mentioned(document: &Document, values: &[String]) -> String {
    let texts: Vec<String> = document.texts().map(str::to_lowercase).collect();
    let mentions = |value: &str| {
        let value = value.to_lowercase();
        texts.iter().map(|text| occurrences(text, &value)).sum::<usize>()
    };
    let best = values.iter().map(|value| (mentions(value), value)).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or_else(String::new, |(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use promptmill_core::pipeline::Structured;
    use promptmill_core::{Item, Language};
    use serde_json::json;

    use super::*;

    fn request(texts: &[&str], shape: AnswerShape, max_tokens: Option<u32>) -> Request {
        let item = |(index, text): (usize, &&str)| Item::new(format!("r{}", index + 1), *text);
        Request {
            model: EXTRACTIVE.into(),
            system: Some("Kort.".into()),
            prompt: "Leg elke motie uit.".into(),
            items: texts.iter().enumerate().map(item).collect(),
            shape: Arc::new(shape),
            language: Language::default(),
            instructions: None,
            structured: Structured::JsonSchema,
            max_tokens,
            temperature: None,
            extra_body: Arc::default(),
            timeout: Duration::from_secs(1),
        }
    }

    async fn complete(request: &Request) -> (Response, Value) {
        let response = Extractive.complete(request).await.expect("never fails");
        let answers = serde_json::from_str(&response.content).expect("JSON");
        (response, answers)
    }

    const MOTION: &str = "Motie van het lid De Wit over groene bruggen\n\nDe Kamer,\noverwegende dat bruggen de zorg verdienen \
         die wegen krijgen;\nverzoekt de regering bruggen groen te verven,\nen gaat over tot de orde van de dag.\nDe Wit";

    #[tokio::test]
    async fn each_row_gets_its_text() {
        let (response, answers) =
            complete(&request(&[MOTION, "Een \"tweede\" tekst.", ""], AnswerShape::Text("summary".into()), None)).await;
        let expected = json!({
            "r1": "De motie verzoekt de regering bruggen groen te verven. De indiener wijst erop dat bruggen de zorg \
                   verdienen die wegen krijgen.",
            "r2": "Een \"tweede\" tekst.",
            "r3": "",
        });
        assert_eq!(answers, expected);
        assert_eq!(response.raw, response.content);
        assert_eq!((response.finish, response.finish_reason.as_deref()), (Finish::Stop, Some("stop")));
        assert_eq!(response.cost, Some(Money::ZERO));
        let bytes = "Kort.".len() + "Leg elke motie uit.".len() + MOTION.len() + "Een \"tweede\" tekst.".len();
        let usage = response.usage.expect("usage");
        assert_eq!(usage.input_tokens, bytes.div_ceil(4) as u64);
        assert_eq!(usage.output_tokens, response.content.len().div_ceil(4) as u64);
    }

    #[tokio::test]
    async fn each_type_gets_a_value_of_its_kind() {
        let list = |values: &[&str]| FieldType::Enum(values.iter().map(ToString::to_string).collect());
        let fields = [
            ("Title", FieldType::String),
            ("summary", FieldType::String),
            ("topic", list(&["Onderwijs", "Zorg"])),
            ("urgency", list(&["low", "high"])),
            ("nothing", list(&[])),
            ("words", FieldType::List(Box::new(FieldType::String))),
            ("years", FieldType::List(Box::new(FieldType::Int))),
            ("of", FieldType::Struct(vec![AnswerField { nullable: true, ..AnswerField::new("number", FieldType::Int) }])),
            ("asks", FieldType::Bool),
            ("count", FieldType::Int),
            ("score", FieldType::Float),
        ];
        let shape = AnswerShape::Fields(fields.map(|(name, kind)| AnswerField::new(name, kind)).to_vec());
        let (_, answers) = complete(&request(&[MOTION, "Het regent."], shape, None)).await;
        let expected = json!({
            "Title": "Motie van het lid De Wit over groene bruggen",
            "summary": "De motie verzoekt de regering bruggen groen te verven. De indiener wijst erop dat bruggen de zorg \
                        verdienen die wegen krijgen.",
            "topic": "Zorg",
            "urgency": "low",
            "nothing": "",
            "words": ["bruggen", "groene", "zorg", "verdienen", "wegen"],
            "years": [],
            "of": {"number": null},
            "asks": true,
            "count": 0,
            "score": 0.0,
        });
        assert_eq!(answers["r1"], expected);
        assert_eq!(answers["r2"]["asks"], false);
        assert_eq!(answers["r2"]["Title"], "Het regent.");
    }

    #[tokio::test]
    async fn few_tokens_make_short_answers() {
        let (response, answers) = complete(&request(&[MOTION; 2], AnswerShape::Text("summary".into()), Some(50))).await;
        assert_eq!(answers["r1"], "De motie verzoekt de regering bruggen groen te verven.");
        assert!(response.usage.expect("usage").output_tokens <= 50);
    }

    #[tokio::test]
    async fn what_was_said_can_be_read_again() {
        let (response, _) = complete(&request(&[MOTION], AnswerShape::Text("summary".into()), None)).await;
        let again = Extractive.read(&response.raw).expect("readable");
        assert_eq!((again.content, again.finish, again.cost), (response.content, response.finish, response.cost));
        for raw in ["", "tekst", "{\"r1\":\"af", "[]"] {
            assert_eq!(Extractive.read(raw).expect_err("unreadable").class, Class::Malformed, "{raw}");
        }
    }
}
