//! Understanding a request: its items, and the shape in which the answer is wanted.
//!
//! Leaves the forms of a message to `message`, the writing of the answer to `content` and the texts themselves to `answer`.

use crate::hash::{hash, mix};
use crate::message::Message;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ops::Range;

/// The part of a chat-completions body that matters here; the rest is read over.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest<'a> {
    #[serde(borrow, default)]
    pub(crate) model: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) messages: Vec<Message<'a>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    response_format: Option<ResponseFormat>,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(borrow, default)]
    service_tier: Option<Cow<'a, str>>,
    #[serde(default)]
    prompt_cache_options: Option<Value>,
    #[serde(default)]
    thinking: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    #[serde(default)]
    json_schema: Option<JsonSchema>,
    /// llama.cpp takes the schema without the name around it.
    #[serde(default)]
    schema: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct JsonSchema {
    #[serde(default)]
    schema: Option<Map<String, Value>>,
}

/// One thing to be answered.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// The id under which the answer is wanted; none where the whole prompt is the item.
    pub(crate) id: Option<Cow<'a, str>>,
    text: Cow<'a, str>,
    marker: Option<Range<usize>>,
    /// Stands for the marker, or without one for the text.
    pub(crate) hash: u64,
    text_hash: u64,
}

/// How the answer is to be laid out.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// Plain text about the one item.
    Plain,
    /// An object keyed by id; where a schema names the ids, only those, each value by its own schema.
    ByIds(Option<&'a Map<String, Value>>),
    /// An object with one array of rows that carry their id: the array's name and the fields of a row.
    Rows(&'a str, &'a Map<String, Value>),
    /// One object of these fields, without ids.
    Fields(&'a Map<String, Value>),
}

/// The line that packs one item.
#[derive(Deserialize)]
struct Packed<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

impl<'a> ChatRequest<'a> {
    /// Reads a body.
    pub(crate) fn read(body: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }

    /// Tokens of the prompt, by the rule of four bytes each and four more a message.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let bytes: usize = self.messages.iter().map(|message| message.text().len()).sum();
        tokens_of(bytes) + 4 * self.messages.len() as u64
    }

    /// Most tokens that the answer may have.
    pub(crate) fn max_tokens(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// The service tier that is asked for.
    pub(crate) fn tier(&self) -> Option<&str> {
        self.service_tier.as_deref()
    }

    /// The most tokens of thinking that are asked for.
    pub(crate) fn thinking_budget(&self) -> Option<u64> {
        self.thinking.as_ref()?.get("budget_tokens")?.as_u64()
    }

    /// Tokens of the prompt that a cache which writes by itself is to keep.
    pub(crate) fn kept_tokens(&self) -> u64 {
        let mode = self.prompt_cache_options.as_ref().and_then(|options| options.get("mode")?.as_str());
        if mode != Some("explicit") {
            return self.prompt_tokens();
        }
        let marked = self.messages.iter().filter(|message| message.is_marked());
        tokens_of(marked.map(|message| message.text().len()).sum())
    }

    /// The items: every line, of any message, that is an object with the strings `id` and `text`; failing that an
    /// array of such objects; failing that the last user message as one item.
    pub(crate) fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        for message in &self.messages {
            let lines = message.text().split('\n').map(|line| line.trim().trim_end_matches(','));
            for line in lines.filter(|line| line.starts_with('{') && line.ends_with('}')) {
                if let Ok(packed) = serde_json::from_str::<Packed<'_>>(line) {
                    items.push(Item::new(Some(packed.id), packed.text));
                }
            }
        }
        if items.is_empty() {
            let users = self.messages.iter().filter(|message| message.is_from("user"));
            items.extend(users.flat_map(|message| array_of_items(message.text())));
        }
        if items.is_empty() {
            let user = self.messages.iter().rev().find(|message| message.is_from("user"));
            let text = user.or(self.messages.last()).map_or("", |message| message.text());
            items.push(Item::new(None, Cow::Borrowed(text)));
        }
        items
    }

    /// The shape of the answer about `items`.
    pub(crate) fn shape(&self, items: &[Item<'_>]) -> Shape<'_> {
        let has_ids = items.iter().any(|item| item.id.is_some());
        let unshaped = if has_ids { Shape::ByIds(None) } else { Shape::Plain };
        let Some(root) = self.schema() else { return unshaped };
        let Some(fields) = root.get("properties").and_then(Value::as_object) else { return unshaped };
        if !has_ids {
            return Shape::Fields(fields);
        }
        if items.iter().filter_map(|item| item.id.as_deref()).any(|id| fields.contains_key(id)) {
            return Shape::ByIds(Some(fields));
        }
        let rows = fields.iter().find_map(|(name, field)| {
            let row = self.resolve(self.resolve(field).get("items")?);
            Some((name.as_str(), row.get("properties")?.as_object()?))
        });
        rows.map_or(unshaped, |(name, row)| Shape::Rows(name, row))
    }

    /// `schema`, or what it refers to within the schema of this request.
    pub(crate) fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let target = || {
            let path = schema.get("$ref")?.as_str()?.strip_prefix("#/")?;
            let (group, name) = path.split_once('/')?;
            self.schema()?.get(group)?.get(name)
        };
        target().unwrap_or(schema)
    }

    fn schema(&self) -> Option<&Map<String, Value>> {
        let format = self.response_format.as_ref()?;
        format.json_schema.as_ref().and_then(|named| named.schema.as_ref()).or(format.schema.as_ref())
    }

    /// The prefixes that a prompt cache could know, shorter first: their hashes and how many tokens they hold. They
    /// end behind the system message, before the first item, and after 1,024 bytes of the user's message.
    pub(crate) fn prefixes(&self) -> [(u64, u64); 3] {
        let of_role = |role: &'static str| {
            let messages = self.messages.iter().filter(move |message| message.is_from(role));
            messages.map(|message| message.text())
        };
        let (mut state, mut bytes) = (0, 0);
        for system in of_role("system") {
            state = hash(system.as_bytes(), state);
            bytes += system.len();
        }
        let user = of_role("user").next().unwrap_or_default();
        let mut ends = [0, user.find("\n{").unwrap_or(0), user.len().min(1_024)];
        ends.sort_unstable();
        // Whole tokens only: a token that is half in the prefix is not in it.
        ends.map(|end| (hash(&user.as_bytes()[..end], mix(state)), (bytes + end) as u64 / 4))
    }
}

impl<'a> Item<'a> {
    fn new(id: Option<Cow<'a, str>>, text: Cow<'a, str>) -> Self {
        let marker = find_marker(&text);
        let text_hash = hash(text.as_bytes(), 0);
        let hash = marker.clone().map_or(text_hash, |marker| hash(&text.as_bytes()[marker], 1));
        Self { id, text, marker, hash, text_hash }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What stands between the first `[[` and `]]` of the text.
    pub(crate) fn marker(&self) -> Option<&str> {
        self.marker.clone().map(|marker| &self.text[marker])
    }

    /// The name under which the ledger counts it: its marker, or `#` and the hash of its text.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        self.marker().map_or_else(|| Cow::Owned(format!("#{:016x}", self.hash)), Cow::Borrowed)
    }
}

/// A hash of the set of `items`, whatever their order and their ids.
pub(crate) fn pack_hash(items: &[Item<'_>]) -> u64 {
    items.iter().fold(items.len() as u64, |sum, item| sum.wrapping_add(mix(item.text_hash)))
}

/// Tokens of a text of so many bytes.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

fn find_marker(text: &str) -> Option<Range<usize>> {
    // By single characters: a search for the pair is several times slower over a text that has neither.
    let start = text.match_indices('[').find_map(|(at, _)| text[at + 1..].starts_with('[').then_some(at + 2))?;
    let length = text[start..].find("]]")?;
    let marker = &text[start..start + length];
    let plain = !marker.is_empty() && length <= 200 && !marker.contains('\n');
    plain.then_some(start..start + length)
}

/// The first JSON array in `text` that consists of items.
fn array_of_items(text: &str) -> Vec<Item<'_>> {
    for (start, _) in text.match_indices('[') {
        if !text[start + 1..].trim_start().starts_with('{') {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Vec<Packed<'_>>>();
        if let Some(Ok(packed)) = values.next() {
            return packed.into_iter().map(|packed| Item::new(Some(packed.id), packed.text)).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_request<R>(body: &Value, check: impl FnOnce(&ChatRequest<'_>) -> R) -> R {
        let body = body.to_string();
        check(&ChatRequest::read(body.as_bytes()).expect("valid"))
    }

    fn user(content: &str) -> Value {
        json!({"model": "m", "messages": [{"role": "system", "content": "Leg uit."}, {"role": "user", "content": content}]})
    }

    fn ids(items: &[Item<'_>]) -> Vec<String> {
        items.iter().map(|item| item.id.as_deref().unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn lines_are_items() {
        let content = "Leg uit:\n{\"id\":\"r1\",\"text\":\"Regel\\néén [[m-1]]\"}\n  {\"id\":\"r2\",\"text\":\"twee\",\"x\":1},\r\n{\"id\":3,\"text\":\"geen\"}\n{niets}";
        with_request(&user(content), |request| {
            let items = request.items();
            assert_eq!(ids(&items), ["r1", "r2"]);
            assert_eq!((items[0].marker(), items[1].marker()), (Some("m-1"), None));
            assert_eq!(items[0].text(), "Regel\néén [[m-1]]");
            assert_eq!(items[0].name(), "m-1");
            assert!(items[1].name().starts_with('#') && items[1].name().len() == 17);
        });
    }

    #[test]
    fn an_array_or_the_whole_text_is_the_fall_back() {
        let array = "De moties [1] volgen.\n[\n {\"id\":\"a\",\n\"text\":\"x\"}, {\"id\":\"b\",\"text\":\"y\"}] Einde.";
        with_request(&user(array), |request| assert_eq!(ids(&request.items()), ["a", "b"]));
        with_request(&user("Vat samen: [[m-9]] een motie."), |request| {
            let items = request.items();
            assert_eq!((ids(&items), items[0].marker()), (vec!["-".to_owned()], Some("m-9")));
            assert!(matches!(request.shape(&items), Shape::Plain));
        });
    }

    #[test]
    fn contents_may_be_parts_or_null() {
        let body = json!({"messages": [
            {"role": "assistant", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "één "}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "twee"}]},
        ]});
        with_request(&body, |request| {
            assert_eq!(request.items()[0].text(), "één twee");
            assert_eq!(request.prompt_tokens(), 3 + 8);
        });
    }

    #[test]
    fn shapes_follow_the_schema() {
        let content = "{\"id\":\"r1\",\"text\":\"x\"}";
        let with = |schema: Value| {
            let mut body = user(content);
            body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
            body
        };
        let row = json!({"type": "object", "properties": {"id": {"type": "string"}, "uitleg": {"type": "string"}}});
        with_request(&with(json!({"type": "object", "properties": {"r1": {"type": "string"}}})), |request| {
            assert!(matches!(request.shape(&request.items()), Shape::ByIds(Some(fields)) if fields.len() == 1));
        });
        with_request(&with(json!({"type": "object", "properties": {"rows": {"type": "array", "items": row}}})), |request| {
            assert!(matches!(request.shape(&request.items()), Shape::Rows("rows", fields) if fields.len() == 2));
        });
        let referring = json!({"properties": {"rows": {"items": {"$ref": "#/$defs/row"}}}, "$defs": {"row": row}});
        with_request(&with(referring), |request| {
            assert!(matches!(request.shape(&request.items()), Shape::Rows("rows", fields) if fields.len() == 2));
        });
        let mut plain = user(content);
        plain["response_format"] = json!({"type": "json_object"});
        with_request(&plain, |request| assert!(matches!(request.shape(&request.items()), Shape::ByIds(None))));
    }

    #[test]
    fn a_pack_is_a_set() {
        let (one, two) = ("{\"id\":\"r1\",\"text\":\"x\"}", "{\"id\":\"r2\",\"text\":\"y\"}");
        let hash_of = |content: &str| with_request(&user(content), |request| pack_hash(&request.items()));
        assert_eq!(hash_of(&format!("{one}\n{two}")), hash_of(&format!("{two}\n{one}")));
        assert_ne!(hash_of(one), hash_of(two));
        assert_ne!(hash_of(one), hash_of(&format!("{one}\n{one}")));
    }

    #[test]
    fn tokens_and_output_limits_are_read() {
        let mut body = user("abcde");
        body["max_tokens"] = json!(7);
        with_request(&body, |request| {
            assert_eq!(request.prompt_tokens(), (8_u64 + 5).div_ceil(4) + 8);
            assert_eq!(request.max_tokens(), Some(7));
        });
        body["max_completion_tokens"] = json!(9);
        with_request(&body, |request| assert_eq!(request.max_tokens(), Some(9)));
    }

    #[test]
    fn odd_brackets_are_no_marker() {
        for text in ["", "[[", "[[]]", "[[a\nb]]", "]] [[", "[a]"] {
            assert_eq!(find_marker(text), None, "{text}");
        }
        assert_eq!(find_marker("x [[a]] [[b]]"), Some(4..5));
    }
}
