//! What headers announce of one kind of work, and the pace that follows from it.

use super::{Mark, Rate, Test};
use crate::Window;
use crate::lane::announced::{Announced, Trial};
use crate::lane::constants::{ANNOUNCED_START, FAR_OFF, GAIN, GAIN_MAX, KNOCK, TEST};

impl Rate {
    /// What a response's headers say about this kind of work; `in_flight` is what left since that they cannot
    /// know of yet, `sent` all that has left.
    pub(in crate::lane) fn announced(&mut self, now: f64, window: &Window, in_flight: f64, sent: f64, is_counted: bool) {
        let Some(limit) = window.limit.filter(|limit| *limit > 0) else { return };
        let most = self.stated.unwrap_or(f64::INFINITY);
        let Some(announced) = &mut self.announced else {
            let mut announced = Announced::new(now, limit);
            announced.hear(now, limit, window, in_flight, sent, is_counted);
            self.test = None;
            self.ceiling = Some(announced.rate);
            self.pace = (ANNOUNCED_START * announced.rate).max(self.mean_weight.max(1.0) / KNOCK).min(most);
            self.announced = Some(announced);
            return;
        };
        let was_believed = announced.is_believed(now);
        let renewed = announced.hear(now, limit, window, in_flight, sent, is_counted);
        if !announced.is_believed(now) {
            return;
        }
        if renewed || !was_believed {
            self.test = None;
            self.ceiling = Some(announced.rate);
            self.pace = (ANNOUNCED_START * announced.rate).max(self.mean_weight.max(1.0) / KNOCK).min(most);
        } else if self.test.is_none() {
            self.pace = announced.steer(now, self.pace, self.binding, most);
        }
    }

    /// What is announced may be less than is admitted: more is tried now and then, and goes on for as long as nothing
    /// speaks against it.
    pub(super) fn try_beyond_announced(&mut self, now: f64, most: f64) {
        let Some(announced) = &mut self.announced else { return };
        let Some(test) = self.test else {
            match announced.trial(now, self.pace) {
                Some(Trial::Pace(pace)) => self.pace = pace.min(most),
                Some(Trial::Steps) if self.pace < most => {
                    self.announced_pace = self.pace;
                    self.gain = GAIN;
                    self.test = Some(Test { origin: self.pace, before: self.pace, since: now });
                    self.pace = (self.pace * (1.0 + GAIN)).min(most);
                }
                _ => {}
            }
            return;
        };
        if let Some(pace) = announced.overdrawn(now, self.announced_pace, self.pace) {
            announced.confirm(now);
            self.pace = pace.min(self.pace);
            announced.rate = announced.rate.max(self.pace);
            self.test = None;
        } else if now - test.since >= (0.5 * TEST).max(2.0 * self.mean_weight / self.pace) && self.pace < most {
            // A pace of a few requests a second is on its way for minutes otherwise.
            let slow = self.pace < 4.0 * self.mean_weight;
            self.gain = if slow { 1.0 } else { (2.0 * self.gain).min(GAIN_MAX) };
            self.test = Some(Test { origin: self.pace, before: self.pace, since: now });
            self.pace = (self.pace * (1.0 + self.gain)).min(most);
        }
    }

    /// A refusal that a cap explains. If caps explain many that turn out not to be there, while the headers say that
    /// much is left, the headers are wrong.
    pub(in crate::lane) fn excused(&mut self, mark: Mark, cap_is_confirmed: bool) {
        if let Some(announced) = &mut self.announced
            && announced.excuse(cap_is_confirmed)
        {
            self.pace = self.pace.min(announced.rate);
            self.ceiling = Some(self.pace);
        }
        self.note(mark);
    }

    /// Goes on at a pace that something else has kept so far, and soon tries more.
    pub(in crate::lane) fn go_on(&mut self, now: f64, pace: f64) {
        if let Some(announced) = self.announced.as_mut().filter(|announced| announced.rate > FAR_OFF * pace) {
            announced.disbelieve();
        }
        self.level = self.level.max(0.0);
        self.lift(now);
        self.test = None;
        self.pace = pace.max(self.mean_weight.max(1.0) / KNOCK).min(self.stated.unwrap_or(f64::INFINITY));
        self.gain = GAIN_MAX;
    }
}
