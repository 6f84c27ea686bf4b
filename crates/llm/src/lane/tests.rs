//! Invariants of the lane, whatever happens to it. How well it does is the scenarios' business (`tests/lane`).

use proptest::prelude::*;

use super::*;
use crate::{RateLimits, Window};

fn settings(start: usize, min: usize, max: usize) -> Settings {
    Settings { bounds: Bounds { start, min, max }, rpm: None, tpm: None, shared: false, seed: 1, without: Without::default() }
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

const LOAD: Load = Load { tokens: 100, output: 10 };
const REFUSED: Outcome = Outcome::Limited { retry_after: None, named: None };

#[test]
fn a_fixed_limit_holds() {
    let mut lane = Lane::new(settings(3, 3, 3));
    let tickets: Vec<Ticket> = (0..3).map(|_| lane.admit(at(1.0), LOAD).expect("a place")).collect();
    assert!(lane.admit(at(9.0), LOAD).is_err());
    lane.landed(at(9.0), tickets[0], Outcome::Answered(None), &RateLimits::default());
    lane.admit(at(9.0), LOAD).expect("a place");
    assert!(lane.admit(at(60.0), LOAD).is_err());
    assert_eq!(lane.limit(), 3);
}

#[test]
fn refusals_never_lead_below_the_least() {
    let mut lane = Lane::new(settings(32, 8, 64));
    let mut now = 0.0;
    for _ in 0..200 {
        let mut tickets = Vec::new();
        while let Ok(ticket) = lane.admit(at(now), LOAD) {
            tickets.push(ticket);
        }
        now += 1.0;
        for (index, ticket) in tickets.into_iter().enumerate() {
            let outcome = if index < 4 { Outcome::Answered(None) } else { REFUSED };
            lane.landed(at(now), ticket, outcome, &RateLimits::default());
        }
        assert!(lane.limit() >= 8, "{:?}", lane.reading());
    }
}

#[test]
fn a_stated_rate_is_never_exceeded() {
    let mut lane = Lane::new(Settings { rpm: Some(600), ..settings(4, 1, 64) });
    let (mut now, mut sent) = (0.0, 0);
    while now < 60.0 {
        match lane.admit(at(now), LOAD) {
            Ok(ticket) => {
                sent += 1;
                lane.landed(at(now), ticket, Outcome::Answered(None), &RateLimits::default());
            }
            Err(again) => now = again.as_secs_f64(),
        }
    }
    assert!((590..=603).contains(&sent), "{sent}");
}

#[test]
fn nor_is_it_to_see_whether_refusals_are_accidents() {
    let run = |rpm: Option<u32>| {
        let mut lane = Lane::new(Settings { rpm, ..settings(16, 16, 16) });
        let mut flying: VecDeque<(u32, u64, Ticket)> = VecDeque::new();
        let (mut sent, mut most, mut dared) = (VecDeque::new(), 0, false);
        for tick in 0..60_000_u32 {
            let now = at(f64::from(tick) / 100.0);
            while flying.front().is_some_and(|(left, ..)| left + 10 <= tick) {
                let (_, number, ticket) = flying.pop_front().expect("one");
                let outcome = if number % 40 == 39 { REFUSED } else { Outcome::Answered(None) };
                lane.landed(now, ticket, outcome, &RateLimits::default());
            }
            while let Ok(ticket) = lane.admit(now, LOAD) {
                flying.push_back((tick, lane.next, ticket));
                sent.push_back(tick);
            }
            dared |= lane.accidents.dares().is_some();
            while sent.front().is_some_and(|left| left + 1_000 <= tick) {
                sent.pop_front();
            }
            most = most.max(sent.len());
        }
        (most, dared)
    };
    let (most, dared) = run(Some(600));
    assert!(!dared && most <= 104, "{most} requests in ten seconds, not a hundred and what may leave at once");
    let (_, dared) = run(None);
    assert!(dared, "nothing is tried where nothing is stated either");
}

#[test]
fn without_the_knee_slower_answers_hold_nothing_back() {
    let most = |without: Without| {
        let mut lane = Lane::new(Settings { without, ..settings(4, 1, 64) });
        let mut flying: VecDeque<Ticket> = VecDeque::new();
        // One answer every 10 ms, however many are in flight.
        for tick in 0..10_000_u32 {
            let now = at(f64::from(tick) / 100.0);
            if let Some(ticket) = flying.pop_front() {
                lane.landed(now, ticket, Outcome::Answered(None), &RateLimits::default());
            }
            while let Ok(ticket) = lane.admit(now, LOAD) {
                flying.push_back(ticket);
            }
        }
        lane.limit()
    };
    assert!(most(Without::default()) < 16);
    assert_eq!(most(Without { knee: true, ..Without::default() }), 64);
}

#[test]
fn a_dead_server_is_probed_by_one_request_at_a_time() {
    let mut lane = Lane::new(settings(8, 1, 64));
    for _ in 0..5 {
        let ticket = lane.admit(at(1.0), LOAD).expect("leaves");
        lane.landed(at(1.1), ticket, Outcome::Failed { retry_after: None }, &RateLimits::default());
    }
    assert!(lane.reading().down);
    assert!(lane.admit(at(1.2), LOAD).is_err());
    let probe = lane.admit(at(2.0), LOAD).expect("a probe");
    assert!(lane.admit(at(2.0), LOAD).is_err());
    lane.landed(at(2.1), probe, Outcome::Answered(None), &RateLimits::default());
    assert!(!lane.reading().down);
    lane.admit(at(2.1), LOAD).expect("it is back");
    lane.admit(at(2.1), LOAD).expect("it is back");
}

/// However short it is, and however many meet it: who asks sooner is refused again, and by some servers for longer.
#[test]
fn a_wait_that_a_refusal_names_is_kept() {
    for (start, min, max) in [(1, 1, 1), (1, 1, 64), (4, 1, 64), (4, 4, 4)] {
        for seconds in [0.3, 1.0, 2.5, 2.9, 3.5, 3.9, 4.5, 4.9, 5.0, 30.0] {
            let mut lane = Lane::new(settings(start, min, max));
            for second in 0..3 {
                let ticket = lane.admit(at(f64::from(second)), LOAD).expect("leaves");
                lane.landed(at(f64::from(second) + 0.1), ticket, Outcome::Answered(Some(10)), &RateLimits::default());
            }
            let tickets: Vec<Ticket> = (0..start).map(|_| lane.admit(at(3.0), LOAD).expect("leaves")).collect();
            let wait = Outcome::Limited { retry_after: Some(at(seconds)), named: None };
            for (index, ticket) in tickets.into_iter().enumerate() {
                lane.landed(at(3.1 + 0.01 * index as f64), ticket, wait, &RateLimits::default());
            }
            let over = 3.1 + 0.01 * (start - 1) as f64 + seconds;
            let mut now = 3.2;
            while now < over - 1e-3 {
                assert!(lane.admit(at(now), LOAD).is_err(), "{seconds} s at {now} with {start} to {max}");
                // Also for those that are let through and not gone yet.
                let held = lane.paused(at(now)).expect("a wait").as_secs_f64();
                assert!((held - over).abs() < 1e-6, "{held} and not {over}");
                now += 0.05;
            }
            assert_eq!(lane.paused(at(over + 1e-3)), None);
            let again = (0..200).any(|step| lane.admit(at(over + 0.05 * f64::from(step)), LOAD).is_ok());
            assert!(again, "{seconds} s with {start} to {max}");
        }
    }
}

#[test]
fn a_server_that_says_when_it_will_be_back_is_not_asked_before() {
    let mut lane = Lane::new(settings(4, 1, 64));
    let failed = |seconds| Outcome::Failed { retry_after: Some(at(seconds)) };
    let tickets: Vec<Ticket> = (0..4).map(|_| lane.admit(at(1.0), LOAD).expect("leaves")).collect();
    for ticket in tickets {
        lane.landed(at(1.1), ticket, failed(8.0), &RateLimits::default());
    }
    assert!(lane.reading().down);
    for step in 0..79 {
        assert!(lane.admit(at(1.15 + 0.1 * f64::from(step)), LOAD).is_err(), "{step}");
    }
    let probe = lane.admit(at(9.2), LOAD).expect("a probe");
    lane.landed(at(9.3), probe, failed(600.0), &RateLimits::default());
    assert!(lane.admit(at(69.0), LOAD).is_err());
    lane.admit(at(70.0), LOAD).expect("nobody is believed for longer than a minute");
    // One failure among answers is no outage, whatever it asks for.
    let mut lane = Lane::new(settings(4, 1, 64));
    let tickets: Vec<Ticket> = (0..3).map(|_| lane.admit(at(1.0), LOAD).expect("leaves")).collect();
    lane.landed(at(1.1), tickets[0], failed(8.0), &RateLimits::default());
    lane.landed(at(1.2), tickets[1], Outcome::Answered(None), &RateLimits::default());
    lane.admit(at(1.3), LOAD).expect("leaves");
}

#[test]
fn a_named_limit_is_kept_at_once() {
    let mut lane = Lane::new(settings(4, 1, 64));
    let ticket = lane.admit(at(0.0), LOAD).expect("leaves");
    let named = Outcome::Limited { retry_after: None, named: Some(Named::Requests(Some(3_000))) };
    lane.landed(at(0.1), ticket, named, &RateLimits::default());
    let rpm = lane.reading().rpm.expect("a rate");
    assert!((2_900.0..=3_000.0).contains(&rpm), "{rpm}");
}

#[test]
fn tokens_are_counted_as_the_server_counts_them() {
    let mut lane = Lane::new(settings(4, 1, 64));
    let ticket = lane.admit(at(0.0), LOAD).expect("leaves");
    let named = Outcome::Limited { retry_after: None, named: Some(Named::Tokens(Some(60_000), Some(500))) };
    lane.landed(at(0.1), ticket, named, &RateLimits::default());
    let (mut now, mut sent) = (10.0, 0);
    while now < 70.0 {
        match lane.admit(at(now), LOAD) {
            Ok(ticket) => {
                sent += 1;
                lane.landed(at(now), ticket, Outcome::Answered(None), &RateLimits::default());
            }
            Err(again) => now = again.as_secs_f64(),
        }
    }
    assert!((110..=125).contains(&sent), "60,000 tokens are 120 requests of 500: {sent}");
}

#[test]
fn announced_limits_govern_from_the_first_answer_on() {
    let mut lane = Lane::new(settings(4, 1, 64));
    let ticket = lane.admit(at(0.0), LOAD).expect("leaves");
    let limits = RateLimits { requests: Window { limit: Some(600), remaining: Some(550), reset: None }, ..RateLimits::default() };
    lane.landed(at(0.5), ticket, Outcome::Answered(None), &limits);
    let rpm = lane.reading().rpm.expect("a rate");
    assert!((540.0..=600.0).contains(&rpm), "{rpm}");
}

#[test]
fn what_did_not_leave_leaves_no_trace() {
    let mut lane = Lane::new(Settings { rpm: Some(60), ..settings(4, 1, 64) });
    for _ in 0..100 {
        let ticket = lane.admit(at(1.0), LOAD).expect("a place, again and again");
        lane.withdraw(ticket);
    }
    assert_eq!(lane.in_flight(), 0);
}

#[test]
fn memory_brings_a_lane_back() {
    let mut lane = Lane::new(settings(4, 1, 4096));
    lane.resume(&Memory { limit: 200.0, pace: [Some(50.0), None], proven: [Some(50.0), None] });
    assert_eq!(lane.limit(), 180);
    assert!((lane.reading().rpm.expect("a rate") - 2_700.0).abs() < 1.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes, in whatever order and after whatever time: the bounds hold, rates stay finite and above
    /// zero, every request settles once, and nothing is refused for ever.
    #[test]
    fn the_invariants_hold(
        max in 1_usize..100,
        rpm in proptest::option::of(1_u32..10_000),
        shared in any::<bool>(),
        steps in prop::collection::vec((0_u8..9, prop_oneof![Just(0.0), 0.0_f64..3.0, Just(3_600.0)], 0_u64..10_000), 1..400),
    ) {
        let mut lane = Lane::new(Settings { rpm, shared, ..settings(4, 1, max) });
        let (mut now, mut open) = (0.0, Vec::new());
        for (action, pause, tokens) in steps {
            now += pause;
            let limits = RateLimits {
                requests: Window { limit: Some(tokens), remaining: Some(tokens / 3), reset: Some(at(1.0)) },
                ..RateLimits::default()
            };
            let none = RateLimits::default();
            match action {
                0..=3 => open.extend(lane.admit(at(now), Load { tokens, output: tokens / 4 })),
                _ if open.is_empty() => lane.advance(at(now)),
                4 => lane.landed(at(now), open.remove(0), Outcome::Answered(Some(tokens)), if tokens % 2 == 0 { &limits } else { &none }),
                5 => lane.landed(at(now), open.remove(0), REFUSED, &none),
                6 => lane.landed(at(now), open.remove(0), Outcome::Failed { retry_after: None }, &none),
                7 => {
                    let named = [None, Some(Named::InFlight), Some(Named::Requests(Some(tokens))), Some(Named::Tokens(None, Some(tokens)))];
                    let retry_after = Some(at(tokens as f64 / 100.0)).filter(|_| tokens % 2 == 0);
                    let outcome = Outcome::Limited { retry_after, named: named[tokens as usize % 4] };
                    lane.landed(at(now), open.remove(0), outcome, &limits);
                }
                _ => lane.withdraw(open.remove(0)),
            }
            prop_assert_eq!(lane.in_flight(), open.len());
            prop_assert!(open.len() <= max);
            prop_assert!((1..=max).contains(&lane.limit()));
            let reading = lane.reading();
            for rate in [reading.rpm, reading.tpm].into_iter().flatten() {
                prop_assert!(rate.is_finite() && rate > 0.0);
            }
            if let (Some(stated), Some(rate)) = (rpm, reading.rpm) {
                prop_assert!(rate <= f64::from(stated) + 1e-6);
            }
        }
        // A ticket that has landed is gone: landing it again changes nothing.
        for ticket in open {
            lane.landed(at(now), ticket, Outcome::Answered(None), &RateLimits::default());
            lane.landed(at(now), ticket, Outcome::Failed { retry_after: None }, &RateLimits::default());
        }
        prop_assert_eq!(lane.in_flight(), 0);
        // Whoever asks when told to ask gets a place some time.
        let mut place = false;
        for _ in 0..100_000 {
            match lane.admit(at(now), LOAD) {
                Ok(_) => { place = true; break }
                Err(again) => now = again.as_secs_f64().max(now + 1e-6),
            }
        }
        prop_assert!(place, "nothing leaves any more");
    }
}
