//! The content of an answer: the items' texts laid out in the wanted shape, with the faults that lie in the text.
//!
//! Leaves the texts to `answer` and everything around the content (usage, finish reason, null content) to `reply`.

use crate::answer::Source;
use crate::config::Careless;
use crate::draw::Draw;
use crate::faults::Fault;
use crate::hash::{Dice, mix};
use crate::prompt::{ChatRequest, Item, Shape};
use crate::value::{ValueWriter, push_json_str};
use std::borrow::Cow;

/// Stands in a content for the byte that is no UTF-8, which a `String` cannot hold. A private-use character, so that
/// no answer has it.
pub(crate) const BAD_BYTE: char = '\u{f8ff}';

/// A content and what is known of it.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) text: String,
    /// The answers that a client can use.
    kept: Vec<Kept>,
    /// The two items whose answers were exchanged, by index.
    pub(crate) swapped: Option<(usize, usize)>,
    /// Whether the fault that was drawn could be put into the text.
    pub(crate) struck: bool,
}

/// An answer in a content that a client can use.
#[derive(Debug)]
struct Kept {
    /// Whose it is, by index, and the item's hash.
    item: usize,
    hash: u64,
    /// Where it ends.
    end: usize,
    /// Whether it is whole, clean and under its own id; others can be mended, or not be told from such.
    clean: bool,
}

/// One answer on its way into the content.
#[derive(Debug, Clone)]
struct Entry<'a> {
    key: Cow<'a, str>,
    /// Whose answer stands there, by index; none for an item that nobody asked about.
    item: Option<usize>,
    /// A second, different answer about the same item.
    again: bool,
    clean: bool,
    usable: bool,
}

/// Everything that a text is written from.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) request: &'a ChatRequest<'a>,
    pub(crate) items: &'a [Item<'a>],
    pub(crate) shape: &'a Shape<'a>,
    pub(crate) draw: &'a Draw,
    pub(crate) seed: u64,
    pub(crate) mean_tokens: u32,
    pub(crate) careless: &'a Careless,
}

impl Content {
    /// Cuts the text after `bytes` at most, and with it the claim to have answered what was behind.
    pub(crate) fn cut(&mut self, bytes: usize) {
        self.text.truncate(self.text.floor_char_boundary(bytes));
        self.kept.retain(|kept| kept.end <= self.text.len());
    }

    /// Hashes of the items whose clean answers it holds.
    pub(crate) fn clean(&self) -> Vec<u64> {
        self.kept.iter().filter(|kept| kept.clean).map(|kept| kept.hash).collect()
    }

    /// Which of so many items have an answer in it that a client can use, by index.
    pub(crate) fn usable(&self, items: usize) -> Vec<bool> {
        let mut usable = vec![false; items];
        self.kept.iter().for_each(|kept| usable[kept.item] = true);
        usable
    }

    /// Gives up the claim to have answered anything.
    pub(crate) fn spoil(&mut self) {
        self.kept.clear();
    }
}

impl<'a> Writer<'a> {
    /// Writes the whole content.
    pub(crate) fn write(&self) -> Content {
        let mut entries = self.entries();
        let mut dice = Dice::new(self.draw.detail);
        let mut content = Content { text: String::new(), kept: Vec::new(), swapped: None, struck: true };
        content.text.reserve(entries.len() * (self.mean_tokens as usize * 5 + 24) + 64);
        match self.draw.fault {
            Some(Fault::MissingIds) => {
                for _ in 0..=dice.below(entries.len() / 3) {
                    entries.remove(dice.below(entries.len()));
                }
            }
            Some(Fault::ExtraIds) => self.invent(&mut entries, &mut dice),
            Some(Fault::DuplicateIds) => {
                let doubled = dice.below(entries.len());
                (entries[doubled].clean, entries[doubled].usable) = (false, false);
                entries.push(Entry { again: true, ..entries[doubled].clone() });
            }
            Some(Fault::SwappedIds) => {
                content.swapped = self.swap(&mut entries, &mut dice);
                content.struck = content.swapped.is_some();
            }
            _ => {}
        }
        let starts = self.lay_out(&entries, &mut content);
        match self.draw.fault {
            Some(Fault::MalformedJson) => malform(&mut content, &starts, &mut dice),
            Some(Fault::Fences) => fence(&mut content, &mut dice),
            Some(Fault::Truncated) => content.cut((content.text.len() * (20 + dice.below(70)) / 100).max(1)),
            _ => {}
        }
        content
    }

    fn entries(&self) -> Vec<Entry<'a>> {
        let entry = |(index, item): (usize, &'a Item<'a>)| {
            let fault = self.draw.items.get(index).copied().flatten();
            let key = Cow::Borrowed(item.id.as_deref().unwrap_or(""));
            Entry { key, item: Some(index), again: false, clean: fault.is_none(), usable: fault != Some(Fault::English) }
        };
        let all = self.items.iter().enumerate().map(entry);
        match self.shape {
            Shape::ByIds(Some(fields)) => all.filter(|entry| fields.contains_key(&*entry.key)).collect(),
            _ => all.collect(),
        }
    }

    /// Adds one or two answers under ids that nobody asked about, in the manner of those that were.
    fn invent(&self, entries: &mut Vec<Entry<'a>>, dice: &mut Dice) {
        let stem = entries.first().map_or("r", |entry| entry.key.trim_end_matches(|digit: char| digit.is_ascii_digit())).to_owned();
        let mut number = self.items.len();
        for _ in 0..=dice.below(2) {
            let key = loop {
                number += 1;
                let key = format!("{stem}{number}");
                if self.items.iter().all(|item| item.id.as_deref() != Some(&key)) {
                    break key;
                }
            };
            entries.push(Entry { key: Cow::Owned(key), item: None, again: false, clean: false, usable: false });
        }
    }

    /// Exchanges the answers of two entries about different items.
    fn swap(&self, entries: &mut [Entry<'a>], dice: &mut Dice) -> Option<(usize, usize)> {
        let first = dice.below(entries.len());
        let one = entries.get(first)?.item?;
        let others = (1..entries.len()).map(|step| (first + step) % entries.len());
        let others: Vec<_> =
            others.filter(|other| entries[*other].item.is_some_and(|two| self.items[two].hash != self.items[one].hash)).collect();
        let second = *others.get(dice.below(others.len()))?;
        let two = entries[second].item?;
        for (place, item) in [(first, two), (second, one)] {
            entries[place].item = Some(item);
            entries[place].clean = false;
        }
        let (usable_one, usable_two) = (entries[first].usable, entries[second].usable);
        (entries[first].usable, entries[second].usable) = (usable_two, usable_one);
        Some((one, two))
    }

    fn source<'s>(&'s self, entry: &Entry<'_>) -> Source<'s> {
        let item = entry.item.map(|index| &self.items[index]);
        let mut hash = item.map_or(self.draw.detail, |item| item.hash) ^ mix(self.seed);
        let mut text = item.map_or("", |item| item.text());
        if entry.item.is_some_and(|index| self.is_careless(index, hash)) {
            // Somebody else's words, and nothing of the item's own.
            (hash, text) = (mix(hash ^ self.draw.detail), "");
        }
        Source {
            hash: mix(hash.wrapping_add(u64::from(entry.again))),
            text,
            marker: item.and_then(|item| item.marker()),
            mean_tokens: self.mean_tokens,
        }
    }

    fn is_careless(&self, index: usize, hash: u64) -> bool {
        let Careless { behind, share } = self.careless;
        // The same item is careless or not whatever its place, so that more than one share can be told apart.
        behind.is_some_and(|behind| index >= behind) && (mix(hash) >> 11) as f64 / ((1_u64 << 53) as f64) < *share
    }

    /// Writes the entries and tells where each begins.
    fn lay_out(&self, entries: &[Entry<'a>], content: &mut Content) -> Vec<usize> {
        let mut starts = Vec::with_capacity(entries.len());
        match self.shape {
            Shape::Plain => {}
            Shape::Rows(name, _) => {
                content.text.push('{');
                push_json_str(&mut content.text, name);
                content.text.push_str(":[");
            }
            Shape::ByIds(_) => content.text.push('{'),
            Shape::Fields(_) => {}
        }
        let mut scratch = String::new();
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                content.text.push(',');
            }
            starts.push(content.text.len());
            let fault = entry.item.and_then(|item| self.draw.items.get(item).copied().flatten());
            let mut value = ValueWriter::new(self.request, &entry.key, self.source(entry), fault, &mut scratch);
            match self.shape {
                Shape::Plain => value.plain(&mut content.text),
                Shape::Fields(fields) => value.object(&mut content.text, fields, 0),
                Shape::Rows(_, fields) => value.object(&mut content.text, fields, 0),
                Shape::ByIds(fields) => {
                    push_json_str(&mut content.text, &entry.key);
                    content.text.push(':');
                    // An invented id has no schema of its own and takes another's.
                    let schema = fields.and_then(|fields| fields.get(&*entry.key).or_else(|| fields.values().next()));
                    match schema {
                        Some(schema) => value.by_schema(&mut content.text, schema, 0),
                        None => value.string(&mut content.text),
                    }
                }
            }
            if let Some(item) = entry.item.filter(|_| entry.usable) {
                content.kept.push(Kept { item, hash: self.items[item].hash, end: content.text.len(), clean: entry.clean });
            }
        }
        match self.shape {
            Shape::ByIds(_) => content.text.push('}'),
            Shape::Rows(..) => content.text.push_str("]}"),
            Shape::Plain | Shape::Fields(_) => {}
        }
        starts
    }
}

/// Breaks the JSON of a content in one of three ways that models do.
fn malform(content: &mut Content, starts: &[usize], dice: &mut Dice) {
    // A lenient reader still finds the answers that the break does not touch.
    content.kept.iter_mut().for_each(|kept| kept.clean = false);
    let text = &mut content.text;
    let quote_at = starts.first().and_then(|start| text[*start..].find(' ').map(|space| start + space + 1));
    match (dice.below(3), starts.get(1), quote_at) {
        // A comma forgotten between two answers.
        (0, Some(second), _) => _ = text.remove(second - 1),
        // A quotation mark within a text, not escaped.
        (1, _, Some(at)) => {
            text.insert(at, '"');
            content.kept.retain(|kept| starts.get(1).is_some_and(|second| kept.end > *second));
        }
        // The end left off.
        _ => content.cut(content.text.len().saturating_sub(2)),
    }
}

fn fence(content: &mut Content, dice: &mut Dice) {
    let before = dice.pick(&["", "Hier is het gevraagde overzicht:\n\n", "Natuurlijk! Dit is de uitleg per motie.\n\n"]);
    let fence = dice.pick(&["```json\n", "```\n"]);
    let after = dice.pick(&["", "\n\nLaat het weten als er nog iets ontbreekt."]);
    content.text.insert_str(0, &[before, fence].concat());
    content.text.extend(["\n```", after]);
    content.kept.iter_mut().for_each(|kept| kept.end += before.len() + fence.len());
}
