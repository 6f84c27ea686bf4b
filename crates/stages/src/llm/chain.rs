//! The chain of models: who asks about a row when the model whose turn it was does not.

use promptmill_llm::Class;
use tokio::time::Instant;

use super::desk::Desk;
use super::retry::{Left, Met, Others, Tried};
use super::row::{Fault, Row};

/// The last rows are few if they are no more than a fifth of those that were answered, within these bounds.
const FEW: (u64, u64) = (5, 32);

impl Desk {
    /// What a model does for others, as far as it bears on a row in trouble. `answers` is what the model had answered when
    /// the row left.
    pub(super) fn others(&self, row: &Row, met: Met, answers: u64, now: Instant) -> Others {
        let (model, standing, class) = (row.model, &self.standings[row.model], met.class);
        let are_answered = standing.answers > row.tried.seen.unwrap_or(answers);
        let is_down = self.models[model].gate.reading().down;
        // To look through all rows that wait is worth it only where it decides something.
        let bears_on_others = is_down || class.is_some_and(Class::is_limit) || class == Some(Class::Forbidden) || met.is_page;
        let is_suspected = class.is_some() && (standing.answers == 0 || (bears_on_others && !are_answered));
        Others {
            are_answered,
            is_down,
            silent_for: standing.silent_for(now),
            is_gone: standing.is_gone(),
            is_passed_over: self.is_passed_over(model, now),
            is_another_left: self.successor(row, now).is_some(),
            has_worked: self.has_worked || !self.context.run.answered.is_empty(),
            has_answered: standing.answers > 0,
            left: if is_suspected { self.left(model) } else { Left::Fresh },
        }
    }

    /// Whether other models take the place of this one.
    pub(super) fn is_passed_over(&self, model: usize, now: Instant) -> bool {
        let standing = &self.standings[model];
        let is_idle = || self.models[model].gate.reading().down || self.flying.values().all(|flying| flying.model != model);
        standing.is_gone() || (standing.is_in_trouble() && standing.is_silent(now, is_idle()))
    }

    /// The first other model of the chain that has not had its chance with this row, and is not passed over.
    pub(super) fn successor(&self, row: &Row, now: Instant) -> Option<usize> {
        (0..self.models.len()).find(|model| *model != row.model && !row.spent.contains(model) && !self.is_passed_over(*model, now))
    }

    /// Hands the rows of a model that is passed over to others. While more rows are to come, one stays and tries whether it is
    /// back. Returns whether any row has gone.
    pub(super) fn pass_over(&mut self, model: usize, now: Instant) -> bool {
        if self.queues[model].is_empty() || !self.standings[model].is_in_trouble() && !self.standings[model].is_gone() {
            return false;
        }
        if !self.is_passed_over(model, now) {
            if let Some(at) = self.standings[model].silent_at().filter(|at| *at > now && self.models.len() > 1) {
                self.look_again_at(at);
            }
            return false;
        }
        let is_gone = self.standings[model].is_gone();
        let is_left = (0..self.models.len()).any(|other| other != model && !self.is_passed_over(other, now));
        if !is_gone && !is_left {
            return false;
        }
        let is_idle = self.flying.values().all(|flying| flying.model != model);
        let keeps_one = !is_gone && self.input_open && is_idle && self.queues[model].awake() > 0;
        let mut rows = self.queues[model].drain();
        if keeps_one {
            // Those that are awake come first.
            let row = rows.swap_remove(0);
            self.queues[model].push_again(row);
        }
        let mut has_moved = false;
        for row in rows {
            has_moved |= self.hand_on(row, is_gone, now);
        }
        has_moved
    }

    /// A row goes to the next model of the chain: to one that is there, else, if this one had its chance, to one that may come
    /// back. Without any it stays, or is a dead letter where nothing is left to wait for. Returns whether it has gone.
    pub(super) fn hand_on(&mut self, mut row: Row, had_its_chance: bool, now: Instant) -> bool {
        if had_its_chance {
            row.spent.push(row.model);
        }
        let is_open = |model: &usize| !row.spent.contains(model) && !self.standings[*model].is_gone();
        match self.successor(&row, now).or_else(|| (0..self.models.len()).find(|model| had_its_chance && is_open(model))) {
            Some(model) => {
                (row.model, row.tried) = (model, Tried::NOTHING);
                self.queues[model].push_back(row);
                true
            }
            None if had_its_chance => {
                let model = row.model;
                let why = || Fault::new(Class::ModelMissing.name(), self.standings[model].why_gone().unwrap_or("no model is left to ask"));
                let fault = row.fault.take().unwrap_or_else(why);
                self.finish(row, model, Err(fault));
                true
            }
            None => {
                self.queues[row.model].push_again(row);
                false
            }
        }
    }

    /// The rows that are left for a model.
    pub(super) fn left(&self, model: usize) -> Left {
        let answers = self.standings[model].answers;
        let is_unfailed = |row: &Row| row.tried.seen != Some(answers);
        let flying = || self.flying.values().filter(|flying| flying.model == model).flat_map(|flying| &flying.rows);
        if self.input_open || self.queues[model].rows().any(is_unfailed) || flying().any(is_unfailed) {
            return Left::Fresh;
        }
        let left = (self.queues[model].len() + flying().count()) as u64 + 1;
        let (least, most) = FEW;
        if left <= (self.answered_rows / 5).clamp(least, most) { Left::FewSuspects } else { Left::ManySuspects }
    }
}
