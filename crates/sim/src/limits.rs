//! Admission: the cap on requests in flight, and the limits on requests and tokens per minute.
//!
//! One short lock around a counter and two meters; time comes in as seconds. The words in which a refusal or a standing is told are
//! in `dialect`.

use crate::config::{Limits, WhenFull};
use crate::ledger::lock;
use crate::meter::{Limit, Meter, Refusal, Standing};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The gate through which every completion passes.
#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cap: usize,
    when_full: WhenFull,
    refusals_count: bool,
    requests: Option<Meter>,
    tokens: Option<Meter>,
    active: usize,
    waiting: VecDeque<oneshot::Sender<Slot>>,
    active_peak: usize,
    waiting_peak: usize,
}

/// A place among the requests in flight; dropping it gives the place to the next.
#[derive(Debug)]
pub(crate) struct Slot(Option<Arc<Limiter>>);

/// What became of a request at the gate.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It has a place.
    Admitted(Slot),
    /// It gets a place when its turn comes.
    Queued(oneshot::Receiver<Slot>),
    /// It has to go.
    Refused(Refusal),
}

/// Requests in flight and waiting, now and at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) in_flight: usize,
    pub(crate) in_flight_peak: usize,
    pub(crate) queued: usize,
    pub(crate) queued_peak: usize,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let state = State {
            cap: usize::MAX,
            when_full: limits.when_full,
            refusals_count: limits.refusals_count,
            requests: None,
            tokens: None,
            active: 0,
            waiting: VecDeque::new(),
            active_peak: 0,
            waiting_peak: 0,
        };
        let limiter = Arc::new(Self { state: Mutex::new(state) });
        limiter.set(limits, 0.0);
        limiter
    }

    /// Puts changed limits in force. What is in flight stays; meters keep the share that is used up.
    pub(crate) fn set(self: &Arc<Self>, limits: &Limits, now: f64) {
        let mut state = lock(&self.state);
        state.cap = limits.max_in_flight.unwrap_or(usize::MAX);
        state.when_full = limits.when_full;
        state.refusals_count = limits.refusals_count;
        state.requests = limits.rpm.map(|rpm| Meter::new(rpm, limits, state.requests.as_ref(), now));
        state.tokens = limits.tpm.map(|tpm| Meter::new(tpm, limits, state.tokens.as_ref(), now));
        drop(state);
        self.admit_waiting();
    }

    /// Asks for a place for a request of `tokens` at `now` seconds.
    pub(crate) fn admit(self: &Arc<Self>, tokens: u64, now: f64) -> Admission {
        let mut state = lock(&self.state);
        let State { requests, tokens: token_meter, refusals_count, .. } = &mut *state;
        let mut refused = None;
        for (meter, weight, limit) in [(requests, 1, Limit::Requests), (token_meter, tokens, Limit::Tokens)] {
            if let Some(meter) = meter {
                meter.advance(now);
                if weight > meter.allowed {
                    refused = Some(meter.refusal(Limit::RequestSize, weight));
                } else if refused.is_none() && meter.wait(weight) > 0.0 {
                    refused = Some(meter.refusal(limit, weight));
                }
            }
        }
        let count = refused.is_none() || *refusals_count;
        if refused.is_none() && state.when_full == WhenFull::Refuse && state.active >= state.cap {
            let (allowed, used) = (state.cap as u64, state.active as u64);
            return Admission::Refused(Refusal { limit: Limit::InFlight, allowed, used, requested: 1, wait: 1.0 });
        }
        if count {
            state.requests.iter_mut().for_each(|meter| meter.take(1));
            state.tokens.iter_mut().for_each(|meter| meter.take(tokens));
        }
        if let Some(refusal) = refused {
            return Admission::Refused(refusal);
        }
        if state.active >= state.cap || !state.waiting.is_empty() {
            let (give, place) = oneshot::channel();
            state.waiting.push_back(give);
            state.waiting_peak = state.waiting_peak.max(state.waiting.len());
            return Admission::Queued(place);
        }
        state.occupy();
        Admission::Admitted(Slot(Some(Arc::clone(self))))
    }

    /// Takes tokens that could not be known at admission.
    pub(crate) fn spend(&self, tokens: u64) {
        lock(&self.state).tokens.iter_mut().for_each(|meter| meter.take(tokens));
    }

    /// How much of the limits on requests and tokens is left.
    pub(crate) fn standing(&self, now: f64) -> (Option<Standing>, Option<Standing>) {
        let mut state = lock(&self.state);
        let mut of = |meter: fn(&mut State) -> Option<&mut Meter>| {
            meter(&mut state).map(|meter| {
                meter.advance(now);
                meter.standing()
            })
        };
        (of(|state| state.requests.as_mut()), of(|state| state.tokens.as_mut()))
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let state = lock(&self.state);
        Gauges {
            in_flight: state.active,
            in_flight_peak: state.active_peak,
            queued: state.waiting.iter().filter(|place| !place.is_closed()).count(),
            queued_peak: state.waiting_peak,
        }
    }

    /// Forgets the peaks, for a ledger that starts anew.
    pub(crate) fn reset_peaks(&self) {
        let mut state = lock(&self.state);
        state.active_peak = state.active;
        state.waiting_peak = state.waiting.len();
    }

    /// Gives free places to those who wait, in order.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let mut state = lock(&self.state);
            if state.active >= state.cap {
                return;
            }
            let Some(place) = state.waiting.pop_front() else { return };
            if place.is_closed() {
                continue;
            }
            state.occupy();
            drop(state);
            if let Err(mut slot) = place.send(Slot(Some(Arc::clone(self)))) {
                // It left at this very moment. Taking the place back here rather than in `drop` keeps a long
                // queue of leavers from nesting as deep.
                slot.0 = None;
                lock(&self.state).active -= 1;
            }
        }
    }
}

impl State {
    fn occupy(&mut self) {
        self.active += 1;
        self.active_peak = self.active_peak.max(self.active);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            lock(&limiter.state).active -= 1;
            limiter.admit_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Window;
    use proptest::prelude::*;

    fn admitted(limiter: &Arc<Limiter>, tokens: u64, now: f64) -> Result<Option<Slot>, Refusal> {
        match limiter.admit(tokens, now) {
            Admission::Admitted(slot) => Ok(Some(slot)),
            Admission::Queued(_) => Ok(None),
            Admission::Refused(refusal) => Err(refusal),
        }
    }

    #[test]
    fn the_cap_refuses_and_frees() {
        let limiter = Limiter::new(&Limits { max_in_flight: Some(2), ..Limits::default() });
        let first = admitted(&limiter, 1, 0.0).expect("free");
        let _second = admitted(&limiter, 1, 0.0).expect("free");
        assert_eq!(admitted(&limiter, 1, 0.0).expect_err("full").limit, Limit::InFlight);
        drop(first);
        assert!(admitted(&limiter, 1, 0.0).is_ok());
        assert_eq!(limiter.gauges().in_flight_peak, 2);
    }

    #[tokio::test]
    async fn the_queue_is_first_come_first_served_and_skips_who_left() {
        let limiter = Limiter::new(&Limits { max_in_flight: Some(1), when_full: WhenFull::Queue, ..Limits::default() });
        let Admission::Admitted(held) = limiter.admit(1, 0.0) else { panic!("free") };
        let places: Vec<_> = (0..4)
            .map(|_| match limiter.admit(1, 0.0) {
                Admission::Queued(place) => place,
                other => panic!("full, yet {other:?}"),
            })
            .collect();
        let [first, left, third, fourth] = <[_; 4]>::try_from(places).expect("four");
        drop(left);
        drop(held);
        let held = first.await.expect("its turn");
        assert_eq!(limiter.gauges().in_flight, 1);
        drop(held);
        let held = third.await.expect("its turn");
        drop(fourth);
        drop(held);
        assert_eq!(limiter.gauges().in_flight, 0);
        assert_eq!(limiter.gauges().queued_peak, 4);
    }

    #[tokio::test]
    async fn a_raised_cap_lets_the_queue_in() {
        let mut limits = Limits { max_in_flight: Some(1), when_full: WhenFull::Queue, ..Limits::default() };
        let limiter = Limiter::new(&limits);
        let Admission::Admitted(_held) = limiter.admit(1, 0.0) else { panic!("free") };
        let Admission::Queued(place) = limiter.admit(1, 0.0) else { panic!("full") };
        limits.max_in_flight = Some(2);
        limiter.set(&limits, 0.0);
        let _slot = place.await.expect("room now");
        assert_eq!(limiter.gauges().in_flight, 2);
    }

    #[test]
    fn requests_per_minute_refill() {
        let limiter = Limiter::new(&Limits { rpm: Some(60), burst_seconds: 2.0, ..Limits::default() });
        assert!(admitted(&limiter, 1, 0.0).is_ok());
        assert!(admitted(&limiter, 1, 0.0).is_ok());
        let refusal = admitted(&limiter, 1, 0.25).expect_err("spent");
        assert_eq!((refusal.limit, refusal.allowed, refusal.requested), (Limit::Requests, 60, 1));
        assert!((refusal.wait - 0.75).abs() < 1e-3);
        assert!(admitted(&limiter, 1, 1.0).is_ok());
        let (requests, tokens) = limiter.standing(1.5);
        let requests = requests.expect("limited");
        assert_eq!((requests.allowed, requests.remaining, tokens), (60, 15, None));
        assert!((requests.reset - 1.5).abs() < 1e-9);
    }

    #[test]
    fn tokens_per_minute_go_into_debt_for_a_request_above_the_burst() {
        let limiter = Limiter::new(&Limits { tpm: Some(6_000), burst_seconds: 1.0, ..Limits::default() });
        assert!(admitted(&limiter, 500, 0.0).is_ok());
        let refusal = admitted(&limiter, 10, 1.0).expect_err("in debt");
        assert_eq!(refusal.limit, Limit::Tokens);
        assert!((refusal.wait - 3.1).abs() < 1e-3, "{}", refusal.wait);
        assert!(admitted(&limiter, 10, 4.2).is_ok());
        assert_eq!(admitted(&limiter, 6_001, 99.0).expect_err("never fits").limit, Limit::RequestSize);
    }

    #[test]
    fn fixed_windows_start_anew() {
        let limits = Limits { rpm: Some(60), window: Window::Fixed, window_seconds: 2.0, ..Limits::default() };
        let limiter = Limiter::new(&limits);
        assert!(admitted(&limiter, 1, 0.1).is_ok());
        assert!(admitted(&limiter, 1, 0.2).is_ok());
        let refusal = admitted(&limiter, 1, 1.9).expect_err("spent");
        assert_eq!(refusal.limit, Limit::Requests);
        assert!((refusal.wait - 0.1).abs() < 1e-9);
        assert!(admitted(&limiter, 1, 2.1).is_ok());
    }

    #[test]
    fn refusals_count_where_told_to() {
        let limiter = Limiter::new(&Limits { rpm: Some(60), refusals_count: true, ..Limits::default() });
        assert!(admitted(&limiter, 1, 0.0).is_ok());
        assert!(admitted(&limiter, 1, 0.5).is_err());
        assert!(admitted(&limiter, 1, 1.0).is_err());
    }

    #[test]
    fn a_changed_limit_keeps_the_share_used() {
        let mut limits = Limits { rpm: Some(600), ..Limits::default() };
        let limiter = Limiter::new(&limits);
        for _ in 0..10 {
            assert!(admitted(&limiter, 1, 0.0).is_ok());
        }
        limits.rpm = Some(6_000);
        limiter.set(&limits, 0.0);
        assert!(admitted(&limiter, 1, 0.0).is_err());
        assert!(admitted(&limiter, 1, 0.02).is_ok());
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_allows(steps in proptest::collection::vec((0.0..0.2_f64, 1..50_u64), 1..200)) {
            let limiter = Limiter::new(&Limits { rpm: Some(600), tpm: Some(12_000), ..Limits::default() });
            let (mut now, mut requests, mut tokens) = (0.0, 0.0, 0.0);
            for (pause, weight) in steps {
                now += pause;
                if admitted(&limiter, weight, now).is_ok() {
                    requests += 1.0;
                    tokens += weight as f64;
                }
            }
            prop_assert!(requests <= 10.0 + 10.0 * now + 0.01);
            prop_assert!(tokens <= 200.0 + 200.0 * now + 0.01);
        }
    }
}
