//! What this run knows of each model of the chain: whether it answers, and if not, since when and how it fails.

use std::collections::HashSet;
use std::time::Duration;

use promptmill_core::Fingerprint;
use promptmill_llm::Class;
use tokio::time::Instant;

use super::retry::{LIMITED_AT_MOST, NEVER_ANSWERED_AT_MOST, NEVER_LET_IN_AT_MOST, SILENT_AT_MOST, UNREACHABLE_AT_MOST};

/// Failures in a row that show more than bad luck.
const FAILURES: u32 = 3;
/// Refusals by a limit are more than that if nothing is answered for so long.
const LASTING: Duration = Duration::from_secs(5);
/// Failures in a row to reach a service that has never been reached.
const UNREACHABLE: u32 = 4;
/// Different rows that were turned away alone for the form of the request, before anything was answered: with so many of
/// them it is the form. A few less will do if no others are left.
const BAD_REQUESTS: (usize, usize) = (8, 3);
/// Requests whose form was refused in words that name a field, before anything was answered: the first may be a mistake.
const NAMED: u32 = 2;
/// Different rows that were forbidden alone since the last answer: with so many of them it is the key. A few less will do if
/// it was an earlier run that had answers.
const FORBIDDEN: (usize, usize) = (8, 3);
/// Different requests that a page turned away, with nothing answered in between: with so many of them it is not what the rows
/// hold, but a wall. A few less will do where nothing has ever been answered.
const WALLED: (usize, usize) = (10, 3);

/// A model of the chain, as this run has met it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Requests that it has answered.
    pub(super) answers: u64,
    trouble: Option<Trouble>,
    /// Why it is not asked any more.
    gone: Option<String>,
    missing_in_a_row: u32,
    /// Rows that were turned away alone, for the form of the request or as forbidden, since the last answer.
    turned_away: HashSet<Fingerprint>,
    /// The first rows of requests that a page turned away since the last answer.
    pages: HashSet<Fingerprint>,
    /// Refusals of a named field of the request.
    named: u32,
    /// Requests that were in flight when the first one was forbidden and that may yet be answered.
    forbidden_left: Option<usize>,
    /// Until when its lane lets nothing leave.
    pub(super) blocked_until: Option<Instant>,
}

/// What has happened since the last answer.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    since: Instant,
    failures: u32,
    unreachable: u32,
    /// Whether nothing but limits was met.
    is_limited: bool,
}

impl Trouble {
    fn patience(self) -> Duration {
        if self.is_limited { LIMITED_AT_MOST } else { SILENT_AT_MOST }
    }
}

impl Standing {
    /// A request was answered.
    pub(super) fn answered(&mut self) {
        self.answers += 1;
        self.trouble = None;
        self.missing_in_a_row = 0;
        self.turned_away = HashSet::new();
        self.pages = HashSet::new();
    }

    /// A web page refused a request whose first row is this one. The cause may be the row's content, or every request may be
    /// refused: as long as none is answered, the time counts.
    pub(super) fn met_page(&mut self, first: Fingerprint, now: Instant) {
        self.pages.insert(first);
        self.trouble(now).is_limited = false;
    }

    /// Whether a page turns everybody away.
    pub(super) fn is_walled(&self, has_worked_before: bool) -> bool {
        let (many, some) = WALLED;
        self.pages.len() >= if self.answers > 0 || has_worked_before { many } else { some }
    }

    fn trouble(&mut self, now: Instant) -> &mut Trouble {
        self.trouble.get_or_insert(Trouble { since: now, failures: 0, unreachable: 0, is_limited: true })
    }

    /// A request was refused or failed.
    pub(super) fn failed(&mut self, class: Class, message: &str, now: Instant) {
        if class == Class::ModelMissing {
            self.missing_in_a_row += 1;
            // What has answered may be missing for a moment, while a service is moved.
            if self.answers == 0 || self.missing_in_a_row >= FAILURES {
                self.leave(message);
            }
            return;
        }
        if class.is_limit() || matches!(class, Class::Unreachable | Class::Overloaded | Class::Timeout) {
            let trouble = self.trouble(now);
            trouble.failures += 1;
            trouble.is_limited &= class.is_limit();
            trouble.unreachable = if class == Class::Unreachable { trouble.unreachable + 1 } else { 0 };
        }
    }

    /// A row was turned away alone for the form of the request. Returns whether that is the form's fault; `is_last` if no
    /// rows are left but those that were.
    pub(super) fn bad_request(&mut self, question: Fingerprint, is_last: bool) -> bool {
        let (many, some) = BAD_REQUESTS;
        if self.answers > 0 {
            return false;
        }
        self.turned_away.insert(question);
        self.turned_away.len() >= many || (is_last && self.turned_away.len() >= some)
    }

    /// A request, about whichever rows, was turned away for a field that is named. Returns whether it is known by now that
    /// the field is not taken.
    pub(super) fn refused_field(&mut self) -> bool {
        self.named += 1;
        self.answers == 0 && self.named >= NAMED
    }

    /// A request was forbidden, about `alone` if about one row only, with so many others in flight. Returns whether that is
    /// the key's fault: where nothing was ever answered it is, if those in flight meet it as well; else only if different rows
    /// meet it and nobody is answered between them.
    pub(super) fn forbidden(&mut self, alone: Option<Fingerprint>, has_worked_before: bool, in_flight: usize) -> bool {
        if self.answers == 0 && !has_worked_before {
            let left = self.forbidden_left.get_or_insert(in_flight);
            let is_last = *left == 0;
            *left = left.saturating_sub(1);
            return is_last;
        }
        self.turned_away.extend(alone);
        let (many, some) = FORBIDDEN;
        self.turned_away.len() >= if self.answers > 0 { many } else { some }
    }

    /// Whether so much has gone wrong since the last answer that other rows are to be tried than those it went wrong with.
    pub(super) fn is_failing(&self, now: Instant) -> bool {
        // Whoever goes too fast is refused a few times in a row.
        let lasts = |trouble: &Trouble| !trouble.is_limited || now - trouble.since >= LASTING;
        self.turned_away.len() >= BAD_REQUESTS.1
            || self.pages.len() >= BAD_REQUESTS.1
            || self.trouble.as_ref().is_some_and(|trouble| trouble.failures >= FAILURES && lasts(trouble))
    }

    /// It is not asked any more.
    pub(super) fn leave(&mut self, why: &str) {
        self.gone.get_or_insert_with(|| why.to_owned());
    }

    /// Whether something went wrong since its last answer.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Why it is not asked any more.
    pub(super) fn why_gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Whether it is not asked any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// How long there has been trouble and no answer.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        self.trouble.map_or(Duration::ZERO, |trouble| now - trouble.since)
    }

    /// Whether the service has never been reached, and that is no accident.
    pub(super) fn is_out_of_reach(&self, now: Instant) -> bool {
        let is_long = |trouble: Trouble| trouble.unreachable >= UNREACHABLE && now - trouble.since >= UNREACHABLE_AT_MOST;
        self.answers == 0 && self.trouble.is_some_and(is_long)
    }

    /// Whether it has answered nothing for so long that it is in vain to wait.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        let is_long = |trouble: Trouble| {
            let most = if trouble.is_limited { NEVER_LET_IN_AT_MOST } else { NEVER_ANSWERED_AT_MOST };
            trouble.failures >= FAILURES && now - trouble.since >= most
        };
        self.answers == 0 && (self.is_out_of_reach(now) || self.trouble.is_some_and(is_long))
    }

    /// Whether others should take its place. `is_idle` if nothing is under way to it that may yet be answered.
    pub(super) fn is_silent(&self, now: Instant, is_idle: bool) -> bool {
        let Some(trouble) = self.trouble else { return false };
        let is_blocked = self.blocked_until.is_some_and(|until| until > now + trouble.patience());
        let is_long = now - trouble.since >= trouble.patience() && trouble.failures >= FAILURES && is_idle;
        is_blocked || is_long || self.is_out_of_reach(now)
    }

    /// When it will be, if nothing is answered until then.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.trouble.map(|trouble| {
            let is_out_of_reach = self.answers == 0 && trouble.unreachable > 0;
            trouble.since + if is_out_of_reach { UNREACHABLE_AT_MOST } else { trouble.patience() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_an_hour(classes: &[Class], answers: u64) -> Vec<bool> {
        let began = Instant::now();
        let mut standing = Standing { answers, ..Standing::default() };
        let minutes = (0..=60).step_by(3).map(|minute| began + Duration::from_secs(minute * 60));
        let mut given_up = Vec::new();
        for (at, class) in minutes.zip(classes.iter().cycle()) {
            standing.failed(*class, "no", at);
            given_up.push(standing.is_given_up(at));
        }
        given_up
    }

    #[test]
    fn a_model_that_never_answers_is_given_up_and_one_that_did_is_waited_for() {
        let first = |given_up: &[bool]| given_up.iter().position(|given_up| *given_up).map(|place| place * 3);
        for class in [Class::Timeout, Class::Overloaded] {
            assert_eq!(first(&after_an_hour(&[class], 0)), Some(12), "{class:?}");
            assert_eq!(first(&after_an_hour(&[class, Class::RateLimited], 0)), Some(12), "{class:?}");
            assert_eq!(first(&after_an_hour(&[class], 1)), None, "{class:?}");
        }
        // Others may have used up what there is.
        assert_eq!(first(&after_an_hour(&[Class::RateLimited], 0)), Some(60));
    }

    #[test]
    fn a_page_is_a_wall_if_different_rows_meet_it_and_nobody_is_answered_between() {
        let (now, row) = (Instant::now(), |number: u64| Fingerprint::of([&number.to_le_bytes()[..]]));
        let mut standing = Standing::default();
        let met = |standing: &mut Standing, rows: std::ops::Range<u64>| rows.for_each(|number| standing.met_page(row(number), now));
        met(&mut standing, 0..2);
        met(&mut standing, 0..2);
        assert!(!standing.is_walled(false), "two rows, over and over");
        met(&mut standing, 2..3);
        assert!(standing.is_walled(false) && !standing.is_walled(true));
        standing.answered();
        met(&mut standing, 0..9);
        assert!(!standing.is_walled(false));
        met(&mut standing, 9..10);
        assert!(standing.is_walled(false));
        standing.answered();
        assert!(!standing.is_walled(false));
        assert_eq!(standing.silent_for(now + Duration::from_secs(9)), Duration::ZERO);
    }
}
