//! What becomes of a row that got no answer.
//!
//! [`next`] decides it from what the row has been through ([`Tried`]), what it met ([`Met`]) and what the model does for
//! others ([`Others`]): no clock, no queue. It keeps one bound, from which it follows that every run ends: **while a row
//! waits, something that ends the waiting moves.** Each call either
//!
//! * sends the row away (to the next model, or as a dead letter), or
//! * counts a failure (`tries`, of which there are `attempts` for each model), or
//! * halves the pack that the row may be in (`cap`), or
//! * counts a refusal by a limit that lets others pass (`refusals`; so many of them are a failure), or
//! * excuses the row, because nobody was answered since its last trouble: from time to time that, too, halves its pack. Then it is the model's silence that grows, or the
//!   number of different rows that it finds fault with ([`super::standing`]): with
//!   another model left it ends at [`SILENT_AT_MOST`] or [`LIMITED_AT_MOST`]; where the model has worked and only rows are left that it has failed
//!   on, at one of [`SUSPECT_AFTER`], and what was excused counts.
//!
//! What remains is a service that is down for everybody, with nobody else to ask. If it has answered before, it is waited for
//! without an end, and the progress line says so; if it never has, until [`NEVER_ANSWERED_AT_MOST`].

use std::time::Duration;

use promptmill_llm::Class;

/// A model that has been silent for so long is passed over, if another one is left.
pub(super) const SILENT_AT_MOST: Duration = Duration::from_secs(20);
/// One that is kept back by a limit, and by nothing else, has longer: most limits are of a minute.
pub(super) const LIMITED_AT_MOST: Duration = Duration::from_secs(120);
/// A service that cannot be reached and never has been is known for that sooner.
pub(super) const UNREACHABLE_AT_MOST: Duration = Duration::from_secs(3);
/// The run ends if no model has answered anything for so long: its address, its key or its time limit may be wrong as well.
pub(super) const NEVER_ANSWERED_AT_MOST: Duration = Duration::from_secs(600);
/// It may have nothing but a limit to say: others may be using it up.
pub(super) const NEVER_LET_IN_AT_MOST: Duration = Duration::from_secs(3_600);
/// Nobody is answered for so long, and all rows that are left have failed: then the rows are to blame.
const SUSPECT_AFTER: SuspectAfter = SuspectAfter {
    // No accident takes just the last few rows of many, and keeps the model busy with each of them.
    few: Duration::from_secs(30),
    // A server that says it is away usually is, also to the last few rows.
    few_and_away: Duration::from_secs(120),
    // Many rows are hardly all bad.
    many: Duration::from_secs(600),
};
/// Refusals by a limit, each although others were answered since the one before, that count as a failure. Where a third of
/// all requests is refused by chance, one row in seven hundred has so many, and hardly any has that `attempts` times.
const REFUSALS: u32 = 6;
/// How many of them one refusal stands for where only a few rows are left that have been refused for long.
const REFUSALS_OF_SUSPECTS: u32 = 3;
/// Excused failures of a row after which it is asked in smaller packs.
const EXCUSED: u32 = 3;
/// Refusals of a row as forbidden, or for a model that is not there, that are excused while nobody else was answered.
const EXCUSED_ALONE: u32 = 20;
/// Doublings of the wait after a page, at the most: the last few rows are to have their verdict soon.
const PAGE_BACKOFF: u32 = 3;
/// A provider without capacity does not have it back at once.
const NO_CAPACITY_PAUSE: Duration = Duration::from_secs(5);
/// A server that failed may ask for patience, but not for more than this.
const LONGEST_REST: Duration = Duration::from_secs(60);

struct SuspectAfter {
    few: Duration,
    few_and_away: Duration,
    many: Duration,
}

/// What a row has been through with the model whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    /// Failures that count.
    pub(super) tries: u32,
    /// Failures that were excused since the last one that counted.
    pub(super) excused: u32,
    /// Refusals by a limit although others were answered, since the last one that counted as a failure.
    pub(super) refusals: u32,
    /// The most rows that may share its next request: halved by every failure, so that it ends alone.
    pub(super) cap: usize,
    /// How many requests the model had answered when the row was in trouble last.
    pub(super) seen: Option<u64>,
}

impl Tried {
    /// Nothing yet.
    pub(super) const NOTHING: Self = Self { tries: 0, excused: 0, refusals: 0, cap: usize::MAX, seen: None };
}

/// The trouble that a row met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Met {
    /// What went wrong with the call; nothing if there was a response, but no acceptable answer about the row.
    pub(super) class: Option<Class>,
    /// Rows in the request.
    pub(super) pack: usize,
    /// Whether asking again may help.
    pub(super) retry: bool,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether the server says, or shows, that it is away; otherwise the row may be what it fails on.
    pub(super) is_away: bool,
    /// Whether it was refused by a web page, which a firewall or proxy sends and not the service.
    pub(super) is_page: bool,
}

impl Met {
    /// There was a response to so many rows, but no acceptable answer about this one.
    pub(super) fn answer(pack: usize) -> Self {
        Self { class: None, pack, retry: true, retry_after: None, is_away: false, is_page: false }
    }
}

/// What the model does for other rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Others {
    /// Whether others were answered since the row's last trouble, or since it was asked.
    pub(super) are_answered: bool,
    /// Whether the lane takes the server for down.
    pub(super) is_down: bool,
    /// Since when there has been trouble and no answer.
    pub(super) silent_for: Duration,
    /// Whether it is not asked any more.
    pub(super) is_gone: bool,
    /// Whether it is passed over: it is gone, or silent for too long.
    pub(super) is_passed_over: bool,
    /// Whether another model of the chain is left for the row that is not passed over.
    pub(super) is_another_left: bool,
    /// Whether anything was ever answered, by whichever model, in this run or an earlier one.
    pub(super) has_worked: bool,
    /// Whether this model has answered anything in this run.
    pub(super) has_answered: bool,
    /// The rows that are left for it.
    pub(super) left: Left,
}

/// The rows that are left for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Some have not failed since the last answer, or more are to come.
    Fresh,
    /// All have failed since the last answer, and they are few beside those that were answered.
    FewSuspects,
    /// All have failed since the last answer.
    ManySuspects,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is asked again, with the next pack that it may be in.
    Now,
    /// It is asked again after a random wait, which doubles with this number.
    Backoff(u32),
    /// It is asked again after this time.
    Sleep(Duration),
    /// It is asked again in a pack of half the size.
    Split,
    /// The model has had its chance: the next one of the chain, if there is one, or a dead letter.
    OtherModel,
    /// Another model takes its place while this one is not there.
    PassOver,
    /// Asking again helps no more.
    Dead,
}

/// Decides what becomes of a row that may be asked `attempts` times of each model.
pub(super) fn next(before: Tried, met: Met, others: Others, attempts: u32) -> (Tried, Next) {
    let mut row = before;
    let Some(class) = met.class else { return failed(row, met, attempts) };
    if matches!(class, Class::Auth | Class::MoneyGone) {
        // The run ends, and the row is as it was for the next one.
        return (row, Next::Now);
    }
    if others.is_passed_over && others.is_another_left && is_of_the_service(class) {
        return (Tried::NOTHING, Next::PassOver);
    }
    match class {
        Class::ModelMissing if others.is_gone => (row, Next::OtherModel),
        // It may have gone for all rows: then no row is to blame, and the next run asks about it.
        Class::ModelMissing if !others.are_answered && row.excused < EXCUSED_ALONE => {
            row.excused += 1;
            (row, Next::Backoff(0))
        }
        class if class.is_limit() => {
            let is_suspect = others.has_worked
                && others.left == Left::FewSuspects
                && met.retry_after.is_none()
                && others.silent_for >= SUSPECT_AFTER.many;
            // Nobody else keeps the model busy by then, and the lane asks seldom.
            row.refusals += if is_suspect { REFUSALS_OF_SUSPECTS } else { u32::from(others.are_answered) };
            if row.refusals >= REFUSALS {
                row.refusals = 0;
                return failed(row, met, attempts);
            }
            let least = if class == Class::NoCapacity { NO_CAPACITY_PAUSE } else { Duration::ZERO };
            let next = match met.retry_after.map_or(least, |wait| wait.max(least)) {
                Duration::ZERO => Next::Backoff(0),
                wait => Next::Sleep(wait),
            };
            (row, next)
        }
        class if met.pack > 1 && (class.wants_split() || matches!(class, Class::BadRequest | Class::Forbidden)) => {
            row.cap = met.pack / 2;
            (row, Next::Split)
        }
        // It may be the form that all requests have: others tell.
        Class::BadRequest if !others.has_answered && others.left == Left::Fresh => {
            row.excused += 1;
            (row, Next::Backoff(0))
        }
        // It may be the key: others tell, and if nobody does, it is the number of different rows that grows.
        Class::Forbidden if !others.are_answered && others.left == Left::Fresh && row.excused < EXCUSED_ALONE => {
            row.excused += 1;
            (row, Next::Backoff(0))
        }
        // It may be closed for all rows: others tell.
        Class::Filtered if met.is_page && !others.are_answered && may_be_closed(row, others) => {
            row.excused += 1;
            (row, Next::Backoff(row.excused.min(PAGE_BACKOFF)))
        }
        // Who refuses a row may change its mind, once.
        Class::Filtered | Class::BadRequest | Class::Forbidden => {
            row.tries += attempts.div_ceil(2) - 1;
            failed(row, met, attempts)
        }
        // A length does not.
        class if class.wants_split() => {
            row.tries = attempts;
            failed(row, met, attempts)
        }
        Class::Unreachable | Class::Overloaded | Class::Timeout => {
            if is_excused(met, others) {
                row.excused += 1;
                if met.pack > 1 && row.excused.is_multiple_of(EXCUSED) {
                    // One bad row in each pack, or packs that take too long, look like an outage, too.
                    row.cap = met.pack / 2;
                }
                return (row, rest(row, met));
            }
            if !others.are_answered {
                row.tries += std::mem::take(&mut row.excused);
            }
            if met.pack > 1 {
                // A neighbour may be to blame: the last try is alone.
                row.tries = row.tries.min(attempts.saturating_sub(2));
            }
            failed(row, met, attempts)
        }
        _ => failed(row, met, attempts),
    }
}

/// Whether it is too soon to say that a row is what a page is about. The last few are given some time, unless one of them was
/// refused while others were answered.
fn may_be_closed(row: Tried, others: Others) -> bool {
    others.left == Left::Fresh || (row.tries == 0 && others.silent_for < SUSPECT_AFTER.few)
}

/// Whether this is trouble of the service, which another model may not have.
pub(super) fn is_of_the_service(class: Class) -> bool {
    class.is_limit() || matches!(class, Class::ModelMissing | Class::Unreachable | Class::Overloaded | Class::Timeout)
}

/// While the server is down for everybody, no row is to blame.
fn is_excused(met: Met, others: Others) -> bool {
    let is_down = others.is_down || met.is_page || met.class == Some(Class::Unreachable);
    if !is_down || others.are_answered {
        return false;
    }
    let suspect_after = match others.left {
        _ if !others.has_worked || met.class == Some(Class::Unreachable) => None,
        Left::Fresh => None,
        Left::FewSuspects if met.is_away => Some(SUSPECT_AFTER.few_and_away),
        Left::FewSuspects => Some(SUSPECT_AFTER.few),
        Left::ManySuspects if met.is_away => None,
        Left::ManySuspects => Some(SUSPECT_AFTER.many),
    };
    suspect_after.is_none_or(|after| others.silent_for < after)
}

/// A failure that counts.
pub(super) fn failed(mut row: Tried, met: Met, attempts: u32) -> (Tried, Next) {
    row.tries += 1;
    if !met.retry {
        return (row, Next::Dead);
    }
    if row.tries >= attempts {
        return (row, Next::OtherModel);
    }
    let is_of_the_service = met.class.is_some_and(is_of_the_service);
    // Twice is no accident: from then on in smaller company, and alone the last time.
    if row.tries + 1 == attempts {
        row.cap = 1;
    } else if row.tries > 1 && !is_of_the_service {
        row.cap = (met.pack / 2).max(1);
    }
    (row, if is_of_the_service { rest(row, met) } else { Next::Now })
}

/// The wait after a fault of the service.
fn rest(row: Tried, met: Met) -> Next {
    match met.retry_after {
        Some(wait) if wait > Duration::ZERO => Next::Sleep(wait.min(LONGEST_REST)),
        _ => Next::Backoff(row.tries),
    }
}

#[cfg(test)]
mod tests;
