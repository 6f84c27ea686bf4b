//! A message of a chat: who speaks, and its text in each of the forms that clients send.

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// One message.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow, default)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Content<'a>,
}

/// The text of a message: a string, or the text parts of a list; and whether one of them bears a mark of a cache.
#[derive(Debug, Default)]
struct Content<'a> {
    text: Cow<'a, str>,
    is_marked: bool,
}

impl<'a> From<Cow<'a, str>> for Content<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self { text, is_marked: false }
    }
}

impl Message<'_> {
    pub(crate) fn is_from(&self, role: &str) -> bool {
        self.role == role
    }

    pub(crate) fn text(&self) -> &str {
        &self.content.text
    }

    /// Whether a cache is to keep all that stands up to its end.
    pub(crate) fn is_marked(&self) -> bool {
        self.content.is_marked
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of parts or null")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Cow::Borrowed(text).into())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Cow::<'de, str>::Owned(text.to_owned()).into())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content<'de>, E> {
                Ok(Cow::<'de, str>::Owned(text).into())
            }

            fn visit_unit<E: de::Error>(self) -> Result<Content<'de>, E> {
                Ok(Content::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
                let (mut whole, mut is_marked) = (String::new(), false);
                while let Some(Part { text, is_marked: marked }) = parts.next_element()? {
                    whole.push_str(&text);
                    is_marked |= marked;
                }
                Ok(Content { text: Cow::Owned(whole), is_marked })
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// One part of a message: its text, empty for an image or a sound.
struct Part {
    text: String,
    is_marked: bool,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part of a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
                let mut part = Part { text: String::new(), is_marked: false };
                while let Some(name) = map.next_key::<Cow<'_, str>>()? {
                    if name == "text" {
                        part.text = map.next_value()?;
                        continue;
                    }
                    part.is_marked |= matches!(&*name, "prompt_cache_breakpoint" | "cache_control");
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(part)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
