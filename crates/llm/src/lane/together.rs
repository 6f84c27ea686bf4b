//! One lane in several processes: this one's share, and what the one that leads has learned.

use std::time::Duration;

use super::stock::Covered;
use super::{Flight, KINDS, Lane, Load, Memory, board};

impl Lane {
    /// Takes this process's part of a lane that several use: its share, whether it makes the tests, and, if it does
    /// not, what the one that does has learned. Everything that the lane knows is about the whole of it.
    pub fn take_part(&mut self, now: Duration, part: &board::Share) {
        const FULL: f64 = 0.75;
        let now = now.as_secs_f64();
        let share = part.share.clamp(1e-3, 1.0);
        if self.flights.is_empty() && share < 1.0 && share != self.share {
            // Who was here before learns of us at the next look.
            self.hush = now + 1.2 * board::BEAT;
        }
        if share < self.share && self.leads {
            self.joined(now);
        }
        if part.leads && !self.leads {
            // What refusals have cost so far was the price of another's tests.
            self.cost = 1;
        }
        (self.share, self.leads) = (share, part.leads);
        self.cap.set_share(self.share);
        let elsewhere = std::mem::replace(&mut self.refused_elsewhere, part.refused_elsewhere);
        self.full_elsewhere = part.in_flight_elsewhere as f64 >= FULL * (1.0 - share) * self.cap.limit - 1.0;
        match &part.memory {
            Some(memory) if !part.leads => self.adopt(memory),
            _ if part.leads && part.refused_elsewhere > elsewhere => self.refused_elsewhere(now),
            _ => {}
        }
        self.at_last_look = Some(((self.cap.clone(), self.rates.clone()), self.refused));
    }

    /// Another process has come since the last look. Refusals since then were his requests' doing, so nothing was learned from
    /// them; and whoever else is here may learn of him a little later than we.
    fn joined(&mut self, now: f64) {
        const LATE: f64 = 2.0;
        self.unsettled = now + LATE * board::BEAT;
        if let Some(((cap, rates), refused)) = self.at_last_look.take()
            && refused < self.refused
        {
            (self.cap, self.rates) = (cap, rates);
            self.cost = 1;
        }
    }

    /// Others were refused: as if one of ours had been.
    fn refused_elsewhere(&mut self, now: f64) {
        if now - self.cut < board::BEAT || now < self.unsettled || self.cap.is_fixed() {
            return;
        }
        let level = self.whole(self.level());
        let flight = Flight {
            at: now,
            level,
            load: Load::default(),
            sent: self.sent,
            covered: [Covered::Yes; KINDS],
            test: false,
            admitted: false,
            lost: false,
        };
        self.cut = now;
        self.good = 0;
        if self.is_paced() && !self.cap.is_held() {
            self.cut_rates(now, &flight, [true; KINDS], None, 0.0);
        } else if self.cap.is_held() {
            self.cap.ease(now, (self.cap.limit - 1.0 / self.share) as usize);
        } else {
            self.cap.suspect(now, level);
        }
    }

    /// A level of this process, as one of the whole lane.
    pub(super) fn whole(&self, level: usize) -> usize {
        (level as f64 / self.share).round() as usize
    }

    fn adopt(&mut self, memory: &Memory) {
        self.cap.adopt(memory.limit);
        for (rate, (pace, proven)) in self.rates.iter_mut().zip(memory.pace.into_iter().zip(memory.proven)) {
            rate.adopt(pace, proven);
        }
    }
}
