//! What can go wrong, for the person who has to act on it.

use std::fmt;

use crate::Diagnostics;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Error {
    /// The pipeline file or the command line is wrong (exit code 2); nothing was sent or written.
    Invalid(Box<Diagnostics>),
    /// It was right and still failed (exit code 1).
    Failed(Box<Failure>),
}

/// What failed, what to try, and what lay beneath.
#[derive(Debug)]
pub struct Failure {
    /// What happened, and to which thing, in lower case.
    pub message: String,
    /// Something that can be typed or done about it.
    pub hint: Option<String>,
    /// The error beneath.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure with this message.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure { message: message.into(), hint: None, source: None }))
    }

    /// The same failure, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// The same failure, with the error that lay beneath.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.source = Some(source.into());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(diagnostics) => diagnostics.fmt(f),
            Self::Failed(failure) => {
                f.write_str(&failure.message)?;
                if let Some(source) = &failure.source {
                    write!(f, ": {source}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(_) => None,
            Self::Failed(failure) => failure.source.as_deref().map(|source| source as _),
        }
    }
}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Invalid(Box::new(diagnostics))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::failed("a record batch could not be processed").because(error)
    }
}
