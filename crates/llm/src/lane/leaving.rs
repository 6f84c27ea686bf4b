//! A request leaves, or is told when to ask again.
//!
//! It passes one after the other: waits that somebody asked for, the server's health, the number in flight, and what limited
//! rates and headers leave for it.

use std::time::Duration;

use super::constants::{CAP_GATE, DOUBLING, WINDOW};
use super::stock::Covered;
use super::{Flight, KINDS, Lane, Load, Scout, Ticket, seconds};

impl Lane {
    /// Lets a request leave, or says when to ask again: then, or as soon as one has landed.
    ///
    /// # Errors
    /// When it may not leave now.
    pub fn admit(&mut self, now: Duration, load: Load) -> Result<Ticket, Duration> {
        self.try_admit(now.as_secs_f64(), load).map_err(seconds)
    }

    fn try_admit(&mut self, now: f64, load: Load) -> Result<Ticket, f64> {
        self.advance_to(now);
        if now < self.paused {
            return Err(self.paused);
        }
        if now < self.hush {
            return Err(self.hush);
        }
        if let Scout::Sent(_) = self.scout {
            return Err(now + 0.1);
        }
        let probe = self.breaker.gate(now)?;
        if self.flights.len() >= self.settings.bounds.max.max(1) {
            return Err(now + WINDOW);
        }
        let level = self.level();
        let mut test = false;
        if !probe {
            self.comeback_room(now, level)?;
            test = self.cap_room(now, level)?;
        }
        let dares = self.accidents.dares().is_some();
        let load = self.scaled(load);
        let weights = load.weights();
        let covered = match self.rates_room(now, weights, dares) {
            Ok(covered) => covered,
            Err(again) => {
                if test {
                    self.cap.test_lost();
                }
                return Err(again);
            }
        };
        let level = self.whole(level);
        let flight = Flight { at: now, level, load, sent: self.sent, covered, test, admitted: false, lost: false };
        for (which, weight) in weights.into_iter().enumerate() {
            self.rates[which].take(weight, !self.is_overruled(which));
            self.sent[which] += weight / self.share;
            self.stocks[which].take(now, weight, self.sent[which], covered[which]);
        }
        self.accidents.take(now);
        let id = self.next;
        self.next += 1;
        if self.flights.is_empty() {
            self.last_response = now;
        }
        if probe {
            self.breaker.probes(id);
        }
        if self.scout == Scout::Wanted {
            self.scout = Scout::Sent(id);
        }
        self.flights.insert(id, flight);
        self.unseen.push_back(id);
        Ok(Ticket(id))
    }

    /// Whether limited rates, and what headers say is left, let a request leave, and for what.
    fn rates_room(&mut self, now: f64, weights: [f64; KINDS], dares: bool) -> Result<[Covered; KINDS], f64> {
        self.accidents.ready(now)?;
        let is_alone = self.share == 1.0 && !self.settings.shared;
        let before = self.governed;
        self.governed = std::array::from_fn(|which| is_alone && self.stocks[which].governs(now));
        for which in (0..KINDS).filter(|which| before[*which] && !self.governed[*which]) {
            if let Some(slope) = self.stocks[which].slope() {
                self.rates[which].go_on(now, slope);
            }
        }
        let mut covered = [Covered::Yes; KINDS];
        if dares {
            return Ok(covered);
        }
        for (which, weight) in weights.into_iter().enumerate() {
            if !self.is_overruled(which) {
                self.rates[which].ready(now, weight, self.share)?;
            }
            if is_alone {
                covered[which] = self.stocks[which].ready(now, weight, self.sent[which])?;
            }
        }
        Ok(covered)
    }

    /// Whether what is left of this kind of work, or of another that explains all refusals, makes a rate that was learned
    /// unnecessary.
    fn is_overruled(&self, which: usize) -> bool {
        let rate = &self.rates[which];
        !rate.is_stated() && (self.governed[which] || self.governed.contains(&true) && !rate.is_announced())
    }

    /// Work a second that may leave, where a limit is known.
    pub(super) fn pace(&self, which: usize) -> Option<f64> {
        if self.governed[which] { self.stocks[which].slope() } else { Some(self.rates[which].pace).filter(|pace| pace.is_finite()) }
    }

    /// A request's weight as the server counts it, as far as it has said.
    fn scaled(&self, load: Load) -> Load {
        Load { tokens: (load.tokens as f64 * self.token_scale) as u64, ..load }
    }

    /// The request turned out to weigh something else.
    pub fn amend(&mut self, ticket: Ticket, load: Load) {
        let load = self.scaled(load);
        let Some(flight) = self.flights.get_mut(&ticket.0) else { return };
        let before = std::mem::replace(&mut flight.load, load).weights();
        for (which, (now, before)) in load.weights().into_iter().zip(before).enumerate() {
            self.sent[which] += (now - before) / self.share;
            self.rates[which].take_more(now - before);
        }
    }

    /// The request did not leave after all.
    pub fn withdraw(&mut self, ticket: Ticket) {
        let Some(flight) = self.flights.remove(&ticket.0) else { return };
        self.lost -= usize::from(flight.lost);
        for ((rate, weight), sent) in self.rates.iter_mut().zip(flight.weights()).zip(&mut self.sent) {
            rate.take_more(-weight);
            *sent -= weight / self.share;
        }
        if flight.test {
            self.cap.test_lost();
        }
        if self.scout == Scout::Sent(ticket.0) {
            self.scout = Scout::Wanted;
        }
        self.breaker.withdraw(ticket.0);
    }

    fn cap_room(&mut self, now: f64, level: usize) -> Result<bool, f64> {
        if let Some(more) = self.accidents.dares() {
            return if (level as f64) < more * self.cap.limit { Ok(false) } else { Err(now + WINDOW) };
        }
        let permitted = if self.is_paced() || self.settings.without.knee { f64::INFINITY } else { self.knee.permitted() };
        let gate = self.settings.without.gate || self.good as f64 >= self.share * CAP_GATE * f64::from(self.cost.max(1));
        if self.settings.without.single_test && self.cap.overrun(now, level) {
            return Ok(false);
        }
        let tests = self.leads && (self.share == 1.0 || self.full_elsewhere);
        self.cap.room(now, level, permitted, gate, tests)
    }

    fn comeback_room(&mut self, now: f64, level: usize) -> Result<(), f64> {
        let Some((limit, due)) = self.comeback else { return Ok(()) };
        if limit >= self.cap.limit {
            self.comeback = None;
            return Ok(());
        }
        if (level as f64) < limit {
            return Ok(());
        }
        if now < due {
            return Err(due);
        }
        self.comeback = Some((limit + 1.0, due.max(now - 0.02) + DOUBLING / (limit.max(1.0) * std::f64::consts::LN_2)));
        Ok(())
    }
}
