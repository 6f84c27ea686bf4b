//! What stands in a line of JSON that its values no longer say: how numbers are written, and fields that an object has twice.

/// The numbers of a line, as they are written, in their order.
pub(super) struct Tokens<'l>(std::vec::IntoIter<&'l str>);

impl<'l> Tokens<'l> {
    /// Goes through a line, which has been read as JSON; the error is a field that an object has twice.
    pub(super) fn of(line: &'l str) -> Result<Self, String> {
        let (mut numbers, mut objects, mut is_name): (_, Vec<Option<Vec<&str>>>, _) = (Vec::new(), Vec::new(), false);
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' => {
                    let length = text_length(rest);
                    if let (true, Some(Some(names))) = (is_name, objects.last_mut()) {
                        names.push(&rest[1..length.max(2) - 1]);
                    }
                    is_name = false;
                    length
                }
                '-' | '0'..='9' => {
                    let length = rest.find(|letter| !matches!(letter, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
                    numbers.push(&rest[..length]);
                    length
                }
                '{' | '[' => {
                    is_name = first == '{';
                    objects.push(is_name.then(Vec::new));
                    1
                }
                '}' | ']' => {
                    if let Some(name) = objects.pop().flatten().and_then(double) {
                        return Err(name);
                    }
                    1
                }
                ',' => {
                    is_name = matches!(objects.last(), Some(Some(_)));
                    1
                }
                other => other.len_utf8(),
            };
            rest = &rest[length..];
        }
        Ok(Self(numbers.into_iter()))
    }

    /// How the next number is written.
    pub(super) fn number(&mut self) -> &'l str {
        self.0.next().unwrap_or_default()
    }
}

/// The length of the text at the beginning, quotes included.
fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(rest.len(), |end| end + 2)
}

/// A name that stands twice among these.
fn double(names: Vec<&str>) -> Option<String> {
    let plain = |name: &str| match name.contains('\\') {
        true => serde_json::from_str(&format!("\"{name}\"")).unwrap_or_else(|_| name.to_owned()),
        false => name.to_owned(),
    };
    if names.len() < 2 {
        return None;
    }
    let mut names: Vec<String> = names.into_iter().map(plain).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_found_wherever_they_stand() {
        let line = r#"{"a": 1.50, "b \" 7": [-2, "3", {"c": 1E+2, "a": null}], "é": {"a": 0}}"#;
        let found: Vec<&str> = Tokens::of(line).expect("no name twice").0.collect();
        assert_eq!(found, ["1.50", "-2", "1E+2", "0"]);
        for (line, name) in [(r#"{"x":1,"x":2}"#, "x"), (r#"{"y":[{"x":1,"z":"}","\u0078":2}]}"#, "x")] {
            assert_eq!(Tokens::of(line).err().as_deref(), Some(name), "{line}");
        }
        assert!(Tokens::of(r#"{"x":{"x":1},"y":[{"x":1},{"x":"x"}]}"#).is_ok());
    }
}
