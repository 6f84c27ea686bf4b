//! What can become of a request, and the names under which that is counted.

use crate::faults::Fault;

/// What became of one request; each has exactly one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    CutByMaxTokens,
    Abandoned,
    RefusedInFlight,
    RefusedRpm,
    RefusedTpm,
    RefusedTooLarge,
    RefusedKey,
    RefusedRequest,
    RefusedContext,
    OutageUnavailable,
    OutageReset,
    OutageHang,
    Fault(Fault),
}

pub(crate) const REFUSALS: [(Outcome, &str); 7] = [
    (Outcome::RefusedInFlight, "in-flight"),
    (Outcome::RefusedRpm, "rpm"),
    (Outcome::RefusedTpm, "tpm"),
    (Outcome::RefusedTooLarge, "too-large"),
    (Outcome::RefusedKey, "key"),
    (Outcome::RefusedRequest, "request"),
    (Outcome::RefusedContext, "context"),
];
pub(crate) const OUTAGES: [(Outcome, &str); 3] =
    [(Outcome::OutageUnavailable, "503"), (Outcome::OutageReset, "refused"), (Outcome::OutageHang, "hang")];
pub(crate) const PLAIN_OUTCOMES: usize = 13;

impl Outcome {
    /// Whether a limit of the service turned the request away.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::RefusedInFlight | Self::RefusedRpm | Self::RefusedTpm | Self::RefusedTooLarge)
    }

    /// Whether the request met an outage.
    pub(crate) fn is_outage(self) -> bool {
        OUTAGES.iter().any(|(outage, _)| *outage == self)
    }

    /// Its place among the counters.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::CutByMaxTokens => 1,
            Self::Abandoned => 2,
            Self::RefusedInFlight => 3,
            Self::RefusedRpm => 4,
            Self::RefusedTpm => 5,
            Self::RefusedTooLarge => 6,
            Self::RefusedKey => 7,
            Self::RefusedRequest => 8,
            Self::RefusedContext => 9,
            Self::OutageUnavailable => 10,
            Self::OutageReset => 11,
            Self::OutageHang => 12,
            Self::Fault(fault) => PLAIN_OUTCOMES + fault as usize,
        }
    }
}
