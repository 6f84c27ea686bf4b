//! How alike two answers are: the one measure of `compare` and of canary rows.

use std::collections::HashMap;

use crate::{AnswerField, AnswerShape};

/// How alike two texts are, from 0 to 1: the Sørensen–Dice coefficient over their words, each as often as it occurs,
/// without regard to case and punctuation. Two texts without words are alike.
pub fn likeness(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    let (a, b) = (words(a), words(b));
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let mut counts: HashMap<&str, i64> = HashMap::new();
    a.iter().for_each(|word| *counts.entry(word).or_default() += 1);
    let shared = b.iter().filter(|word| counts.get_mut(word.as_str()).is_some_and(|left| std::mem::replace(left, *left - 1) > 0)).count();
    2.0 * shared as f64 / (a.len() + b.len()) as f64
}

impl AnswerShape {
    /// Whether a column of the answer is free text.
    pub fn is_text(&self, column: usize) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Fields(fields) => fields.get(column).is_some_and(AnswerField::is_text),
        }
    }

    /// How alike two answers are, from 0 to 1, given as texts: the mean over the columns of the likeness of texts and of
    /// whether other fields are equal.
    pub fn likeness<S: AsRef<str>>(&self, a: &[S], b: &[S]) -> f64 {
        let column = |(index, (a, b)): (usize, (&S, &S))| {
            let (a, b) = (a.as_ref(), b.as_ref());
            if self.is_text(index) { likeness(a, b) } else { f64::from(u8::from(a == b)) }
        };
        let columns = a.len().min(b.len()).max(1);
        a.iter().zip(b).enumerate().map(column).sum::<f64>() / columns as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldType;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn likeness_counts_words() {
        assert!(near(likeness("De kat zit.", "de KAT zit"), 1.0));
        assert!(near(likeness("een twee drie", "vier vijf zes"), 0.0));
        assert!(near(likeness("a a b", "a b b"), 2.0 * 2.0 / 6.0), "each word as often as it occurs");
        assert!(near(likeness("", ""), 1.0) && near(likeness("a", ""), 0.0));
    }

    #[test]
    fn texts_are_alike_and_other_fields_equal_or_not() {
        let shape = AnswerShape::Fields(vec![AnswerField::new("why", FieldType::String), AnswerField::new("score", FieldType::Int)]);
        assert!(near(shape.likeness(&["een twee", "3"], &["een drie", "3"]), 0.75));
        assert!(near(shape.likeness(&["een twee", "3"], &["een twee", "4"]), 0.5));
        assert!(near(AnswerShape::Text("a".to_owned()).likeness(&["een twee"], &["een drie"]), 0.5));
    }
}
