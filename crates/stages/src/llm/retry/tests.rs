use proptest::prelude::*;

use super::*;

const ATTEMPTS: u32 = 4;

/// The model answers others, and another one is left.
const ALIVE: Others = Others {
    are_answered: true,
    is_down: false,
    silent_for: Duration::ZERO,
    is_gone: false,
    is_passed_over: false,
    is_another_left: false,
    has_worked: true,
    has_answered: true,
    left: Left::Fresh,
};

/// Nobody is answered for so many seconds.
fn down(seconds: u64) -> Others {
    Others { are_answered: false, is_down: true, silent_for: Duration::from_secs(seconds), ..ALIVE }
}

fn met(class: Class, pack: usize) -> Met {
    Met { class: Some(class), ..Met::answer(pack) }
}

fn tried(tries: u32) -> Tried {
    Tried { tries, ..Tried::NOTHING }
}

#[test]
fn each_kind_of_trouble_sends_the_row_where_it_belongs() {
    use Class::*;
    let second = Duration::from_secs(1);
    let page = Met { is_page: true, ..met(Filtered, 1) };
    #[rustfmt::skip]
    let table: &[(&str, u32, Met, Others, Next)] = &[
        ("no answer about the row", 0, Met::answer(5), ALIVE, Next::Now),
        ("no answer the last time", 3, Met::answer(1), ALIVE, Next::OtherModel),
        ("a rejection that is final", 0, Met { retry: false, ..Met::answer(5) }, ALIVE, Next::Dead),
        ("a wrong key leaves the row as it was", 0, met(Auth, 5), ALIVE, Next::Now),
        ("a model that is not there", 0, met(ModelMissing, 5), Others { is_gone: true, is_passed_over: true, is_another_left: true, ..ALIVE }, Next::PassOver),
        ("a model that is not there, and no other", 0, met(ModelMissing, 5), Others { is_gone: true, is_passed_over: true, ..ALIVE }, Next::OtherModel),
        ("a model that is away for a moment", 0, met(ModelMissing, 5), ALIVE, Next::Backoff(1)),
        ("a limit", 3, met(RateLimited, 5), ALIVE, Next::Backoff(0)),
        ("a limit that names its end", 3, Met { retry_after: Some(second), ..met(RateLimited, 5) }, ALIVE, Next::Sleep(second)),
        ("no capacity", 3, met(NoCapacity, 5), ALIVE, Next::Sleep(NO_CAPACITY_PAUSE)),
        ("a limit that lasts, with a fallback", 0, met(RateLimited, 5), Others { is_passed_over: true, is_another_left: true, ..ALIVE }, Next::PassOver),
        ("too long, in company", 0, met(ContextTooLong, 5), ALIVE, Next::Split),
        ("too long, alone", 0, met(ContextTooLong, 1), ALIVE, Next::OtherModel),
        ("refused, in company", 0, met(Filtered, 5), ALIVE, Next::Split),
        ("refused, alone", 0, met(Filtered, 1), ALIVE, Next::Now),
        ("refused, alone, again", 2, met(Filtered, 1), ALIVE, Next::OtherModel),
        ("a page about one row", 0, page, ALIVE, Next::Now),
        ("a page, and nobody was answered since", 0, page, Others { are_answered: false, ..ALIVE }, Next::Backoff(1)),
        ("a page about the last few, for a moment", 0, page, Others { left: Left::FewSuspects, ..down(29) }, Next::Backoff(1)),
        ("a page about the last few", 0, page, Others { left: Left::FewSuspects, ..down(30) }, Next::Now),
        ("a page about a row that was refused before, and others are left", 2, page, Others { are_answered: false, ..ALIVE }, Next::Backoff(1)),
        ("a page about the last row, which was refused before", 2, page, Others { left: Left::FewSuspects, ..down(1) }, Next::OtherModel),
        ("a model that has gone for everybody", 1, met(ModelMissing, 1), Others { are_answered: false, ..ALIVE }, Next::Backoff(0)),
        ("malformed request, in company", 0, met(BadRequest, 5), ALIVE, Next::Split),
        ("malformed request, alone", 0, met(BadRequest, 1), ALIVE, Next::Now),
        ("malformed request, alone, again", 2, met(BadRequest, 1), ALIVE, Next::OtherModel),
        ("forbidden, in company", 0, met(Forbidden, 5), ALIVE, Next::Split),
        ("forbidden, alone, while others are answered", 0, met(Forbidden, 1), ALIVE, Next::Now),
        ("forbidden, alone, again", 2, met(Forbidden, 1), ALIVE, Next::OtherModel),
        ("forbidden, and nobody was answered since", 2, met(Forbidden, 1), Others { are_answered: false, ..ALIVE }, Next::Backoff(0)),
        ("forbidden, the last few", 2, met(Forbidden, 1), Others { are_answered: false, left: Left::FewSuspects, ..ALIVE }, Next::OtherModel),
        ("malformed request, nothing answered yet", 2, met(BadRequest, 1), Others { has_answered: false, ..ALIVE }, Next::Backoff(0)),
        ("malformed request, nothing answered, nobody else", 2, met(BadRequest, 1), Others { has_answered: false, left: Left::FewSuspects, ..ALIVE }, Next::OtherModel),
        ("a fault while others are answered", 0, met(Overloaded, 5), ALIVE, Next::Backoff(1)),
        ("a fault that names its end", 0, Met { retry_after: Some(second), ..met(Overloaded, 5) }, ALIVE, Next::Sleep(second)),
        ("the last fault", 3, met(Timeout, 1), ALIVE, Next::OtherModel),
        ("the last fault, though the lane takes it for an outage", 3, met(Timeout, 1), Others { is_down: true, ..ALIVE }, Next::OtherModel),
        ("an outage", 3, met(Overloaded, 5), down(3_600), Next::Backoff(3)),
        ("an outage, with a fallback", 0, met(Overloaded, 5), Others { is_passed_over: true, is_another_left: true, ..down(20) }, Next::PassOver),
        ("out of reach", 3, met(Unreachable, 5), down(3_600), Next::Backoff(3)),
        ("the last few, for a moment", 3, met(Overloaded, 1), Others { left: Left::FewSuspects, ..down(29) }, Next::Backoff(3)),
        ("the last few", 3, met(Overloaded, 1), Others { left: Left::FewSuspects, ..down(30) }, Next::OtherModel),
        ("the last few, and a server that says it is away", 3, Met { is_away: true, ..met(Overloaded, 1) }, Others { left: Left::FewSuspects, ..down(119) }, Next::Backoff(3)),
        ("the last few, and a server that says so for long", 3, Met { is_away: true, ..met(Overloaded, 1) }, Others { left: Left::FewSuspects, ..down(120) }, Next::OtherModel),
        ("the last few of a service that never worked", 3, met(Overloaded, 1), Others { left: Left::FewSuspects, has_worked: false, ..down(3_600) }, Next::Backoff(3)),
        ("all that are left, many", 3, met(Timeout, 1), Others { left: Left::ManySuspects, ..down(599) }, Next::Backoff(3)),
        ("all that are left, many, for long", 3, met(Timeout, 1), Others { left: Left::ManySuspects, ..down(600) }, Next::OtherModel),
    ];
    for (name, tries, met, others, expected) in table {
        assert_eq!(next(tried(*tries), *met, *others, ATTEMPTS).1, *expected, "{name}");
    }
}

#[test]
fn failed_rows_get_less_company_and_none_the_last_time() {
    let caps = |met: Met| {
        let mut row = Tried::NOTHING;
        let mut caps = Vec::new();
        while row.tries + 1 < ATTEMPTS {
            row = next(row, met, ALIVE, ATTEMPTS).0;
            caps.push(row.cap);
        }
        caps
    };
    assert_eq!(caps(Met::answer(12)), [usize::MAX, 6, 1]);
    assert_eq!(caps(met(Class::Overloaded, 12)), [usize::MAX, usize::MAX, 1], "a fault of the service says nothing about packs");
    assert_eq!(next(Tried::NOTHING, met(Class::PackTooLarge, 13), ALIVE, ATTEMPTS).0.cap, 6);
}

#[test]
fn a_limit_that_lets_others_pass_is_a_failure_in_the_end_and_one_for_all_never() {
    let limit = met(Class::RateLimited, 1);
    let mut row = Tried::NOTHING;
    let last = Others { left: Left::FewSuspects, are_answered: false, silent_for: SUSPECT_AFTER.many, ..ALIVE };
    assert_eq!(next(row, limit, last, ATTEMPTS).0.refusals, REFUSALS_OF_SUSPECTS, "nobody else is left, and it lasts");
    assert_eq!(next(row, Met { retry_after: Some(Duration::from_secs(9)), ..limit }, last, ATTEMPTS).0.refusals, 0, "it has an end");
    for _ in 0..10_000 {
        row = next(row, limit, Others { are_answered: false, ..ALIVE }, ATTEMPTS).0;
    }
    assert_eq!(row, Tried::NOTHING);
    let mut refusals = 0;
    while next(row, limit, ALIVE, ATTEMPTS).1 != Next::OtherModel {
        row = next(row, limit, ALIVE, ATTEMPTS).0;
        refusals += 1;
    }
    assert_eq!(refusals + 1, ATTEMPTS * REFUSALS);
}

#[test]
fn while_nobody_is_answered_packs_become_smaller_too() {
    let (mut row, mut pack, mut caps) = (Tried::NOTHING, 12, Vec::new());
    while pack > 1 {
        row = next(row, met(Class::Overloaded, pack), down(5), ATTEMPTS).0;
        pack = pack.min(row.cap);
        caps.push(pack);
    }
    assert_eq!(caps, [12, 12, 6, 6, 6, 3, 3, 3, 1]);
}

#[test]
fn what_was_excused_counts_once_the_rows_are_to_blame() {
    let mut row = tried(1);
    for seconds in [1, 5, 12] {
        row = next(row, met(Class::Timeout, 1), Others { left: Left::FewSuspects, ..down(seconds) }, ATTEMPTS).0;
    }
    assert_eq!((row.tries, row.excused), (1, 3));
    assert_eq!(next(row, met(Class::Timeout, 1), Others { left: Left::FewSuspects, ..down(31) }, ATTEMPTS).1, Next::OtherModel);
    let in_company = next(row, met(Class::Timeout, 2), Others { left: Left::FewSuspects, ..down(31) }, ATTEMPTS);
    assert_eq!((in_company.0.tries, in_company.0.cap, in_company.1), (3, 1, Next::Backoff(3)), "a neighbour may be to blame");
    // If somebody was answered in between, it was an outage.
    let after = next(row, met(Class::Timeout, 1), ALIVE, ATTEMPTS);
    assert_eq!((after.0.tries, after.1), (2, Next::Backoff(2)));
}

/// Everything that can go wrong, and everything that can be so of the model, but that it never worked.
fn trouble() -> impl Strategy<Value = (Met, Others)> {
    use Class::*;
    let classes = prop::sample::select(vec![
        None,
        Some(ModelMissing),
        Some(BadRequest),
        Some(ContextTooLong),
        Some(RateLimited),
        Some(NoCapacity),
        Some(Overloaded),
        Some(Timeout),
        Some(Filtered),
        Some(Forbidden),
        Some(Malformed),
    ]);
    let left = prop::sample::select(vec![Left::FewSuspects, Left::ManySuspects]);
    (classes, 1_usize..40, any::<[bool; 2]>(), any::<bool>(), any::<bool>(), left).prop_map(
        |(class, pack, [away, is_page], answered, is_down, left)| {
            let is_away = away && left == Left::FewSuspects;
            let others = Others { are_answered: answered, is_down: is_down && !answered, left, ..ALIVE };
            (Met { class, is_away, is_page, ..Met::answer(pack) }, others)
        },
    )
}

proptest! {
    /// The bound of the module: whatever a row meets, in whatever order, it leaves after so many answers to others and so much
    /// silence.
    #[test]
    fn while_a_row_waits_something_that_ends_the_waiting_moves(troubles in prop::collection::vec(trouble(), 1..400), attempts in 1_u32..=20) {
        let (mut row, mut silent_for, mut pack) = (Tried::NOTHING, Duration::ZERO, usize::MAX);
        // What can still happen to it: each step has to use up some of it.
        let potential = |row: Tried, pack: usize, silent_for: Duration| {
            let tries = u64::from(attempts.saturating_sub(row.tries)) * 1_000_000_000;
            let refusals = u64::from(REFUSALS - row.refusals) * 1_000_000;
            let silence = SUSPECT_AFTER.many.saturating_sub(silent_for).as_secs() * 1_000;
            tries + refusals + silence + u64::from(pack.min(1 << 20).ilog2())
        };
        for (met, others) in troubles {
            pack = met.pack.min(row.cap).min(pack).max(1);
            let met = Met { pack, ..met };
            // A limit that is for everybody is no failure of anybody; but then the model is silent, as in an outage.
            silent_for = if others.are_answered { Duration::ZERO } else { silent_for + Duration::from_secs(1) };
            let before = potential(row, pack, silent_for.saturating_sub(Duration::from_secs(1)));
            let (after, next) = next(row, met, Others { silent_for, ..others }, attempts);
            match next {
                Next::OtherModel | Next::PassOver | Next::Dead => return Ok(()),
                Next::Split => pack = after.cap,
                Next::Now | Next::Backoff(_) | Next::Sleep(_) => {}
            }
            // The one wait without an end: a limit that lets nobody pass, with nobody else to ask.
            let is_for_all = met.class.is_some_and(Class::is_limit) && !others.are_answered && silent_for > SUSPECT_AFTER.many;
            prop_assert!(is_for_all || potential(after, pack, silent_for) < before, "{row:?} met {met:?} of {others:?}: {after:?}");
            prop_assert!(after.tries < attempts, "{after:?} still waits");
            row = after;
        }
    }

    /// The same for a row that has nothing but bad luck: it leaves within a bounded number of steps.
    #[test]
    fn a_row_that_always_fails_leaves(class in prop::sample::select(vec![Class::Overloaded, Class::Timeout, Class::RateLimited, Class::BadRequest, Class::Forbidden, Class::Malformed, Class::ModelMissing, Class::NoCapacity]), seconds in 1_u64..60, attempts in 1_u32..=20, few in any::<bool>(), others_live in any::<bool>()) {
        let others_live = others_live || class.is_limit();
        let mut row = Tried::NOTHING;
        let most = u64::from(attempts * REFUSALS) + 600 + 20;
        let left = if few { Left::FewSuspects } else { Left::ManySuspects };
        for step in 0.. {
            prop_assert!(step <= most, "it waits for ever");
            let others = if others_live { ALIVE } else { Others { left, ..down(step * seconds) } };
            let (after, next) = next(row, Met { class: Some(class), ..Met::answer(1) }, others, attempts);
            if matches!(next, Next::OtherModel | Next::PassOver | Next::Dead) {
                break;
            }
            row = after;
        }
    }
}
