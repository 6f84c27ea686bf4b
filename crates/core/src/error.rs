//! What can go wrong, for the person who has to act on it and for the program that has to decide.

use std::fmt;

use crate::Diagnostics;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong, for a program that treats kinds differently: try again later, ask a person, give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The pipeline file or the command line is wrong; nothing was sent or written.
    Invalid,
    /// Another run works on the pipeline, or has taken it over.
    Locked,
    /// A disk or a store cannot be reached, read or written.
    Storage,
    /// Credentials are missing, or a store or a provider does not take them.
    Credentials,
    /// Credit or quota at a provider is exhausted.
    QuotaExhausted,
    /// A provider cannot be reached.
    ProviderUnreachable,
    /// A provider refuses what is asked, or nothing of what it says can be used.
    ProviderRefused,
    /// What a model costs has no bound that a budget could be kept by.
    Unbounded,
    /// The state is damaged, of a later version, or not that of this pipeline.
    State,
    /// The source is not what it was, or cannot be read.
    Source,
    /// A stage does what a stage may not do.
    Stage,
    /// A query failed.
    Query,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The exit code of a command that fails in this way.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 2,
            _ => 1,
        }
    }
}

/// Why a command could not do its work.
pub enum Error {
    /// The pipeline file or the command line is wrong (exit code 2); nothing was sent or written.
    Invalid(Box<Diagnostics>),
    /// It was right and still failed (exit code 1).
    Failed(Box<Failure>),
}

/// What failed, what to try, and what lay beneath.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of thing failed.
    pub kind: ErrorKind,
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
        Self::Failed(Box::new(Failure { kind: ErrorKind::Other, message: message.into(), hint: None, source: None }))
    }

    /// The same failure, as one of this kind.
    #[must_use]
    pub fn of(mut self, kind: ErrorKind) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.kind = kind;
        }
        self
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

    /// What kind of thing went wrong: where it is nothing more precise, what lay beneath.
    ///
    /// ```
    /// use promptmill_core::{Error, ErrorKind};
    ///
    /// let beneath = Error::failed("bucket `b` cannot be read").of(ErrorKind::Storage);
    /// let error = Error::failed("the journal could not be opened").because(beneath);
    /// match error.kind() {
    ///     ErrorKind::Locked => println!("try again when the other run has ended"),
    ///     ErrorKind::Storage => println!("try again in a minute"),
    ///     _ => println!("ask a person: {error}"),
    /// }
    /// assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Storage, 1));
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Failed(failure) if failure.kind != ErrorKind::Other => failure.kind,
            Self::Failed(failure) => {
                let beneath = failure.source.as_ref().and_then(|source| source.downcast_ref::<Self>());
                beneath.map_or(ErrorKind::Other, Self::kind)
            }
        }
    }
}

/// Short: its kind and its words. A pipeline's mistakes bring the whole file along, which nobody wants to see here.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self {
            Self::Invalid(_) => None,
            Self::Failed(failure) => failure.hint.as_deref(),
        };
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.kind()).field("message", &format_args!("{self}"));
        if let Some(hint) = hint {
            shown.field("hint", &hint);
        }
        shown.finish()
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
