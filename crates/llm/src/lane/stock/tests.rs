//! The account against small servers of every kind: 600 requests a minute, one every tenth of a second in the mean.

use std::collections::VecDeque;

use super::*;

const CAPACITY: f64 = 600.0;
const SPAN: f64 = 60.0;
const TICK: f64 = 0.01;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bucket,
    Fixed,
    Sliding,
    /// Says something else each time, and admits everything.
    Noise,
}

struct Server {
    kind: Kind,
    level: f64,
    at: f64,
    admitted: VecDeque<f64>,
    noise: u64,
}

impl Server {
    fn new(kind: Kind) -> Self {
        Self { kind, level: CAPACITY, at: 0.0, admitted: VecDeque::new(), noise: 7 }
    }

    fn left(&mut self, now: f64) -> f64 {
        match self.kind {
            Kind::Bucket => self.level = (self.level + (now - self.at) * CAPACITY / SPAN).min(CAPACITY),
            Kind::Fixed if (now / SPAN).floor() > (self.at / SPAN).floor() => self.level = CAPACITY,
            Kind::Fixed => {}
            Kind::Sliding => {
                self.admitted.retain(|at| now - at < SPAN);
                self.level = CAPACITY - self.admitted.len() as f64;
            }
            Kind::Noise => {
                self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.level = (self.noise >> 33) as f64 % CAPACITY + 1.0;
            }
        }
        self.at = now;
        self.level.floor()
    }

    fn admits(&mut self, now: f64) -> bool {
        if self.left(now) < 1.0 {
            return false;
        }
        self.level -= 1.0;
        self.admitted.push_back(now);
        true
    }
}

struct Request {
    lands: f64,
    departed: f64,
    sent_by_then: f64,
    covered: Covered,
    /// What was left when it arrived; none if it was refused.
    left: Option<f64>,
}

/// What was admitted and refused in the second half of so many seconds.
fn run(stock: &mut Stock, kind: Kind, sense: usize, seconds: f64) -> (u32, u32) {
    let mut server = Server::new(kind);
    let mut flying: Vec<Request> = Vec::new();
    let (mut sent, mut counts, mut before) = (0.0, (0, 0), CAPACITY);
    for tick in 0..(seconds / TICK) as u32 {
        let now = f64::from(tick) * TICK;
        while let Some(index) = flying.iter().position(|request| request.lands <= now) {
            let request = flying.swap_remove(index);
            let Request { departed, sent_by_then, covered, left, .. } = request;
            let refused = if left.is_none() { 1.0 } else { 0.0 };
            if left.is_none() {
                sent -= 1.0;
                stock.unsent(1.0, departed);
            } else {
                stock.admitted(now, covered);
            }
            let late = server.left(now);
            let left = [late, left.unwrap_or(0.0), std::mem::replace(&mut before, late)][sense];
            let sent_by_then = sent_by_then - refused;
            stock.hear(Heard { at: now, left, reset: None, sent, unknown: 0.0, departed, sent_by_then, weight: 1.0 });
            if refused > 0.0 {
                stock.refused(now, 1.0, covered);
            }
            if now > seconds / 2.0 {
                (counts.0, counts.1) = if refused > 0.0 { (counts.0, counts.1 + 1) } else { (counts.0 + 1, counts.1) };
            }
        }
        // Never more than a hundred a second, as of a lane that is on its way up.
        if let Ok(covered) = stock.ready(now, 1.0, sent) {
            sent += 1.0;
            stock.take(now, 1.0, sent, covered);
            let left = server.admits(now).then(|| server.level.floor());
            // Answers take between half a second and a second and a half.
            let lands = now + if left.is_some() { 0.5 + f64::from(tick * 7 % 100) / 100.0 } else { 0.1 };
            flying.push(Request { lands, departed: now, sent_by_then: sent, covered, left });
        }
    }
    counts
}

#[test]
fn what_is_left_is_used_whatever_the_window() {
    for kind in [Kind::Bucket, Kind::Fixed, Kind::Sliding] {
        for sense in [LATE, EARLY, BEHIND] {
            let (admitted, refused) = run(&mut Stock::default(), kind, sense, 1_200.0);
            assert!(admitted >= 5_820, "{kind:?}, sense {sense}: {admitted} of 6000");
            assert!(refused <= 60, "{kind:?}, sense {sense}: {refused} refused");
        }
    }
}

#[test]
fn a_window_that_slides_is_known_by_its_length() {
    let mut stock = Stock::default();
    run(&mut stock, Kind::Sliding, LATE, 600.0);
    let turn = stock.book().turn.expect("a turn");
    assert!((59.0..62.0).contains(&turn), "{turn}");
    assert!(stock.is_sliding());
}

#[test]
fn when_numbers_were_written_shows() {
    for sense in [LATE, EARLY, BEHIND] {
        let mut stock = Stock::default();
        run(&mut stock, Kind::Fixed, sense, 300.0);
        assert_eq!(stock.sense, sense);
    }
}

#[test]
fn numbers_that_keep_to_nothing_hold_nothing_back() {
    let mut stock = Stock::default();
    let (admitted, refused) = run(&mut stock, Kind::Noise, LATE, 60.0);
    assert!(!stock.is_sound(60.0));
    // All of the second half but for the last that are still on their way.
    assert!(admitted >= 2_900 && refused == 0, "{admitted} admitted, {refused} refused");
}
