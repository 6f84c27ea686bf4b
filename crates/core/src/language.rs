//! The languages that an answer can be expected in.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A language by its ISO 639-1 code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Language {
    /// Dutch.
    Nl,
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Italian.
    It,
    /// Portuguese.
    Pt,
    /// Swedish.
    Sv,
    /// Danish.
    Da,
    /// Norwegian.
    No,
    /// Polish.
    Pl,
    /// Afrikaans.
    Af,
}

impl Language {
    /// Every language, in the order of the documentation.
    pub const ALL: [Self; 12] =
        [Self::Nl, Self::En, Self::De, Self::Fr, Self::Es, Self::It, Self::Pt, Self::Sv, Self::Da, Self::No, Self::Pl, Self::Af];

    /// The ISO 639-1 code, as in the pipeline file.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nl => "nl",
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::It => "it",
            Self::Pt => "pt",
            Self::Sv => "sv",
            Self::Da => "da",
            Self::No => "no",
            Self::Pl => "pl",
            Self::Af => "af",
        }
    }

    /// The English name, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nl => "Dutch",
            Self::En => "English",
            Self::De => "German",
            Self::Fr => "French",
            Self::Es => "Spanish",
            Self::It => "Italian",
            Self::Pt => "Portuguese",
            Self::Sv => "Swedish",
            Self::Da => "Danish",
            Self::No => "Norwegian",
            Self::Pl => "Polish",
            Self::Af => "Afrikaans",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        if let Some(language) = Self::ALL.into_iter().find(|language| language.code() == code) {
            return Ok(language);
        }
        let known: Vec<_> = Self::ALL.iter().map(|language| format!("`{}` ({language})", language.code())).collect();
        // `NL`, `nl-NL` and `Dutch` are what people write when they do not know that a code is wanted.
        let meant = Self::ALL.into_iter().find(|language| {
            let start = code.split(['-', '_']).next().unwrap_or_default();
            start.eq_ignore_ascii_case(language.code()) || start.eq_ignore_ascii_case(language.name())
        });
        let hint = meant.map(|language| format!(", did you mean `{}`", language.code())).unwrap_or_default();
        Err(format!("unknown language `{code}`{hint}: the known codes are {}", known.join(", ")))
    }
}

// By hand for the sake of the message: serde's own lists the codes without saying what they stand for.
impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_parse_and_unknown_ones_say_what_is_known() {
        for language in Language::ALL {
            assert_eq!(language.code().parse(), Ok(language));
        }
        let message = "xx".parse::<Language>().expect_err("refused");
        assert!(message.starts_with("unknown language `xx`: the known codes are `nl` (Dutch), `en` (English)"), "{message}");
        for meant in ["NL", "nl-NL", "Dutch", "dutch"] {
            let message = meant.parse::<Language>().expect_err("refused");
            assert!(message.contains(", did you mean `nl`: the known"), "{message}");
        }
    }
}
