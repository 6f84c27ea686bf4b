//! Canary rows: asked in a pack like all others, and once more alone, to see what packs do to answers.
//!
//! What is said alone is compared and forgotten; the row goes where the verdict of the pack sends it. It waits until then,
//! because it bears the cost. In the journal a canary asks a question of its own under the row's key: so its cost is the
//! row's in every later run, and its answer never is.

use std::sync::Arc;

use promptmill_core::{AnswerShape, Canaries, Fingerprint, Result};
use promptmill_llm::Class;
use promptmill_llm::cost_bound::prompt_bytes;
use serde_json::Value;

use super::ask::Asked;
use super::desk::Desk;
use super::retry::Met;
use super::row::{Answer, Fault, Row};

/// A row that has been asked in a pack and is to be asked alone.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) row: Row,
    /// The model that was asked.
    pub(super) model: usize,
    /// Where the row stood, from 0, and in how many.
    pub(super) place: (usize, usize),
    /// What came of that.
    pub(super) packed: Result<Answer, Fault>,
}

impl Canary {
    /// Whether a row is one, where this share of them is to be: by its question, so that the same are in every run.
    pub(super) fn is_drawn(question: Fingerprint, share: f64) -> bool {
        let [.., a, b, c, d] = *question.as_bytes();
        f64::from(u32::from_le_bytes([a, b, c, d])) < share * 2.0_f64.powi(32)
    }

    /// The row as it is asked alone.
    pub(super) fn alone(&self) -> Row {
        let question = Fingerprint::of([b"canary".as_slice(), self.row.question.as_bytes()]);
        Row { question, ..self.row.clone() }
    }

    /// Sets what came of asking alone beside what came of the pack.
    pub(super) fn compare(&self, alone: &Result<Answer, Fault>, shape: &AnswerShape, canaries: &mut Canaries) {
        let likeness = match (&self.packed, alone) {
            (Ok(packed), Ok(alone)) => Some(shape.likeness(&texts(packed), &texts(alone))),
            _ => None,
        };
        canaries.compare(self.place, (self.packed.is_ok(), alone.is_ok()), likeness);
    }
}

impl Desk {
    /// Asks the next canary alone. Where the budget has no room for it, it is let go: no row is to be lost for a check.
    pub(super) fn launch_canary(&mut self) -> bool {
        let Some(model) = self.canaries.front().map(|canary| canary.model).filter(|model| !self.is_full(*model)) else { return false };
        let Some(pass) = self.enter(model, self.expected_load(model, 1)) else { return false };
        let Some(canary) = self.canaries.pop_front() else { return false };
        let pack = vec![canary.alone()];
        let Ok(request) = self.request(model, &pack) else {
            pass.withdraw();
            self.let_go(canary);
            return true;
        };
        let bytes = prompt_bytes(&request);
        match self.reserve(model, &request, bytes) {
            Ok(reservation) => self.send(model, 0, pack, Some(canary), request, bytes, reservation, pass),
            Err(_) => {
                pass.withdraw();
                self.let_go(canary);
            }
        }
        true
    }

    /// Sets what a canary was told alone beside what came of its pack.
    pub(super) fn land_canary(&mut self, mut canary: Canary, asked: &Asked) -> Result<()> {
        let class = asked.error.as_ref().map(|(class, _)| *class);
        canary.row.bill.add(&asked.attempt, 0, class.is_some_and(Class::is_limit));
        let shape = Arc::clone(&self.asking()?.shape);
        self.context.meter.canary(|canaries| {
            canaries.asked += 1;
            canaries.cost += asked.spent;
            match asked.verdicts.first().filter(|_| class.is_none()) {
                Some(alone) => canary.compare(alone, &shape, canaries),
                None => canaries.failed += 1,
            }
        });
        self.let_go(canary);
        Ok(())
    }

    /// A canary goes where the verdict of its pack sends it.
    pub(super) fn let_go(&mut self, canary: Canary) {
        let Canary { row, model, place, packed } = canary;
        match packed {
            Ok(answer) => self.finish(row, model, Ok(answer)),
            Err(fault) => self.again(row, fault, Met::answer(place.1), 0),
        }
    }

    /// Whether a row that has been answered in a pack is to be asked alone, too: once, whatever the answer was.
    pub(super) fn is_canary(&self, row: &Row, pack: usize) -> bool {
        pack > 1 && row.bill.is_of_the_first_attempt() && Canary::is_drawn(row.question, self.stage.canary)
    }
}

/// The columns of an answer as texts.
fn texts(answer: &Answer) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    answer.values.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_rows_that_is_asked_for_is_drawn() {
        let drawn = |share: f64| {
            let question = |row: u32| Fingerprint::of([row.to_le_bytes().as_slice()]);
            (0..20_000).filter(|row| Canary::is_drawn(question(*row), share)).count()
        };
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 20_000));
        // Five standard errors of a fair draw.
        assert!(drawn(0.01).abs_diff(200) < 71, "{}", drawn(0.01));
        assert!(drawn(0.5).abs_diff(10_000) < 354, "{}", drawn(0.5));
    }
}
