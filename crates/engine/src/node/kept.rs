//! What a stage behind the question passes on as it is: every row, once, with what was asked, answered and paid.
//!
//! A row that has been asked about is paid for. One that a stage loses would be in neither table, one that it adds would be
//! nobody's, and an answer that it rewrites would be one that nothing has judged. What can be known of this before a run is
//! told by `check`; the rest is looked at while the rows pass.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use futures::{StreamExt, stream};
use promptmill_core::{BatchStream, Error, ErrorKind, Meter, Mistake, Question, Result, columns};

use super::from_datafusion;

/// The columns that a stage passes on.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// As they are.
    columns: Vec<String>,
    /// Whether they hold answers, and not only questions.
    are_answered: bool,
}

/// What a stage may say of a row: that it is turned away, and why.
const VERDICT: [&str; 3] = [columns::REASON, columns::DETAIL, columns::LAST_TEXT];

impl Kept {
    /// What the stage at this place has to pass on of its input; `None` where it may do as it likes.
    pub(crate) fn of(question: Option<&Question>, index: usize, input: &Schema) -> Option<Self> {
        let question = question.filter(|question| index > question.packed_at && index != question.asked_at)?;
        let are_answered = index > question.asked_at;
        let asked = [columns::KEY, columns::QUESTION, columns::ITEM, columns::ITEM_ERROR, columns::UNSTORABLE].map(str::to_owned);
        let answers = question.pack.shape.columns().into_iter().flat_map(|name| [name.to_owned(), format!("{name}_flags")]);
        let paid = columns::ACCOUNTING.map(str::to_owned);
        let answered = answers.chain(paid).filter(|_| are_answered);
        let columns = asked.into_iter().chain(answered).filter(|name| input.column_with_name(name).is_some()).collect();
        Some(Self { columns, are_answered })
    }

    /// What is wrong with the schema that the stage emits for this input.
    pub(crate) fn lost(&self, input: &Schema, output: &Schema) -> Option<Mistake> {
        let type_of = |schema: &Schema, name: &str| schema.field_with_name(name).ok().map(|field| field.data_type().clone());
        let verdict = VERDICT.iter().copied().filter(|name| input.column_with_name(name).is_some());
        let mut names = self.columns.iter().map(String::as_str).chain(verdict);
        let name = names.find(|name| type_of(input, name) != type_of(output, name))?;
        let what = if output.column_with_name(name).is_some() { "another type to" } else { "no place to" };
        let (behind, of) = self.words();
        let message = format!("the stage stands behind `{behind}` and gives {what} column `{name}`, which is part of {of}");
        Some(Mistake::new("", message).hint(Some("pass on every column of the input, or move the stage in front of `prompt-pack`")))
    }

    fn words(&self) -> (&'static str, &'static str) {
        if self.are_answered { ("llm", "the answer") } else { ("prompt-pack", "the question") }
    }

    /// The rows that come out of a stage, as long as they are those that went in.
    pub(super) fn watch(
        self,
        stage: &str,
        meter: Arc<Meter>,
        input: BatchStream,
        run: impl FnOnce(BatchStream) -> BatchStream,
    ) -> BatchStream {
        let inside = Arc::new(Inside { stage: stage.to_owned(), kept: self, meter, rows: Mutex::default() });
        let entering = Arc::clone(&inside);
        let input = input.map(move |batch| batch.and_then(|batch| entering.enter(&batch).map(|()| batch)));
        let output = run(input.boxed());
        stream::unfold((output, inside, false), |(mut output, inside, mut has_failed)| async move {
            loop {
                let batch = match output.next().await {
                    // After an error the rest is let through to its end, so that what is in flight in front can land; nobody sees it.
                    Some(Ok(_)) if has_failed => continue,
                    Some(batch) => batch.and_then(|batch| inside.leave(&batch).map(|()| batch)),
                    None if has_failed => return None,
                    None => match inside.close() {
                        Ok(()) => return None,
                        Err(error) => Err(error),
                    },
                };
                has_failed |= batch.is_err();
                return Some((batch, (output, inside, has_failed)));
            }
        })
        .boxed()
    }
}

/// The rows that are inside of a stage now.
struct Inside {
    stage: String,
    kept: Kept,
    meter: Arc<Meter>,
    rows: Mutex<HashMap<Box<str>, Passing>>,
}

/// A row on its way through.
struct Passing {
    /// The hash of what has to stay.
    hash: u64,
    /// Why it is a dead letter already, as a hash.
    reason: Option<u64>,
}

impl Inside {
    fn rows(&self) -> MutexGuard<'_, HashMap<Box<str>, Passing>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, batch: &RecordBatch) -> Result<()> {
        let (keys, passing) = self.read(batch)?;
        let mut rows = self.rows();
        for (row, passing) in passing.into_iter().enumerate() {
            rows.insert(keys.value(row).into(), passing);
        }
        Ok(())
    }

    fn leave(&self, batch: &RecordBatch) -> Result<()> {
        let (keys, passing) = self.read(batch)?;
        let (mut rows, mut died) = (self.rows(), 0);
        for (row, passing) in passing.into_iter().enumerate() {
            let key = keys.value(row);
            let Entry::Occupied(entered) = rows.entry(key.into()) else {
                return Err(self.wrong(&format!("has handed out row `{key}`, which it was not given, or has given back before")));
            };
            let entered = entered.remove();
            if entered.hash != passing.hash {
                return Err(self.wrong(&format!("has changed {} about row `{key}`", self.kept.words().1)));
            }
            if entered.reason.is_some() && entered.reason != passing.reason {
                return Err(self.wrong(&format!("has changed why row `{key}` is a dead letter")));
            }
            died += u64::from(entered.reason.is_none() && passing.reason.is_some());
        }
        self.meter.dies(died);
        Ok(())
    }

    /// At the end no row may be left inside.
    fn close(&self) -> Result<()> {
        let rows = self.rows();
        match rows.keys().min() {
            None => Ok(()),
            Some(key) if rows.len() == 1 => Err(self.wrong(&format!("has dropped row `{key}`"))),
            Some(key) => Err(self.wrong(&format!("has dropped {} rows, `{key}` among them", rows.len()))),
        }
    }

    fn read<'b>(&self, batch: &'b RecordBatch) -> Result<(&'b StringArray, Vec<Passing>)> {
        let lacks = |name: &str| self.wrong(&format!("has handed out rows without column `{name}`"));
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let keys = texts(columns::KEY).filter(|keys| keys.null_count() == 0).ok_or_else(|| lacks(columns::KEY))?;
        let hashes = |columns: &[ArrayRef]| -> Result<Vec<u64>> {
            let mut hashes = vec![0; batch.num_rows()];
            create_hashes(columns, &RandomState::default(), &mut hashes).map_err(from_datafusion)?;
            Ok(hashes)
        };
        let kept = self.kept.columns.iter().map(|name| batch.column_by_name(name).cloned().ok_or_else(|| lacks(name)));
        let hash = hashes(&kept.collect::<Result<Vec<_>>>()?)?;
        let reasons = batch.column_by_name(columns::REASON);
        let reason = reasons.map(|reasons| hashes(&[Arc::clone(reasons)])).transpose()?;
        let reason = |row: usize| reason.as_ref().filter(|_| reasons.is_some_and(|reasons| reasons.is_valid(row))).map(|hash| hash[row]);
        Ok((keys, hash.into_iter().enumerate().map(|(row, hash)| Passing { hash, reason: reason(row) }).collect()))
    }

    fn wrong(&self, what: &str) -> Error {
        let (behind, of) = self.kept.words();
        Error::failed(format!("stage `{}` {what}", self.stage)).of(ErrorKind::Stage).hint(format!(
            "a stage behind `{behind}` passes on every row once, and {of} as it is; it may turn a row away with a reason in `{}`. \
             Move it in front of `prompt-pack`, or mend it: what has been answered is kept",
            columns::REASON
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use futures::TryStreamExt;
    use promptmill_core::{AnswerShape, AskSpec, Blueprint, Bounds, Declaration, PackSpec};

    use super::*;

    fn blueprint() -> Blueprint {
        let pack = PackSpec {
            system: None,
            prompt: String::new(),
            instructions: None,
            rows: Bounds::default(),
            shape: AnswerShape::Text("answer".to_owned()),
        };
        let ask = AskSpec {
            models: Vec::new(),
            temperature: None,
            concurrency: Bounds::default(),
            attempts: 1,
            max_tokens_per_row: 1,
            canary: 0.0,
            timeout: Duration::from_secs(1),
            pace: &[],
        };
        let stages = vec![vec![Declaration::Pack(pack)], Vec::new(), vec![Declaration::Ask(ask)], Vec::new()];
        Blueprint::new(stages, &BTreeMap::new(), &BTreeMap::new())
    }

    /// A row: key, answer, reason.
    type Row = (&'static str, &'static str, Option<&'static str>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let text = |of: &dyn Fn(&Row) -> Option<&'static str>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
        let columns =
            [(columns::KEY, text(&|row| Some(row.0))), ("answer", text(&|row| Some(row.1))), (columns::REASON, text(&|row| row.2))];
        RecordBatch::try_from_iter(columns).expect("a batch")
    }

    /// What is said of a stage that makes this of the rows `a` to `c`, of which `c` is a dead letter; and how many died in it.
    fn made(of: impl Fn(&[Row]) -> Vec<Row>) -> (Result<usize, String>, u64) {
        let rows: [Row; 3] = [("a", "one", None), ("b", "two", None), ("c", "", Some("missing"))];
        let kept = Kept::of(blueprint().question(), 3, &batch(&rows).schema()).expect("behind the question");
        let input: Vec<Result<RecordBatch>> = vec![Ok(batch(&rows[..1])), Ok(batch(&rows[1..]))];
        let out = batch(&of(&rows));
        let meter = Arc::new(Meter::default());
        // Everything goes in, then everything comes out.
        let run = |input: BatchStream| stream::once(async move { input.try_collect::<Vec<_>>().await.map(|_| out) }).boxed();
        let seen = kept.watch("mine", Arc::clone(&meter), stream::iter(input).boxed(), run);
        let seen = futures::executor::block_on(seen.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }));
        (seen.map_err(|error| error.to_string()), meter.read().dead_letters)
    }

    #[test]
    fn a_stage_behind_an_answer_passes_every_row_on_once_and_as_it_is() {
        let said = |made: (Result<usize, String>, u64)| made.0.expect_err("refused");
        assert_eq!(made(<[Row]>::to_vec), (Ok(3), 0));
        assert_eq!(made(|rows| rows.iter().rev().copied().collect()), (Ok(3), 0), "in whatever order");
        assert_eq!(made(|rows| vec![(rows[0].0, rows[0].1, Some("vulgar")), rows[1], rows[2]]), (Ok(3), 1), "it may turn rows away");
        assert_eq!(said(made(|rows| rows[1..].to_vec())), "stage `mine` has dropped row `a`");
        assert_eq!(said(made(|rows| rows[2..].to_vec())), "stage `mine` has dropped 2 rows, `a` among them");
        let twice = said(made(|rows| vec![rows[0], rows[0], rows[1], rows[2]]));
        assert_eq!(twice, "stage `mine` has handed out row `a`, which it was not given, or has given back before");
        assert!(said(made(|rows| vec![("z", "", None), rows[1], rows[2]])).contains("row `z`, which it was not given"));
        assert_eq!(
            said(made(|rows| vec![(rows[0].0, "other", None), rows[1], rows[2]])),
            "stage `mine` has changed the answer about row `a`"
        );
        let alive = said(made(|rows| vec![rows[0], rows[1], ("c", "", None)]));
        assert_eq!(alive, "stage `mine` has changed why row `c` is a dead letter");
    }

    #[test]
    fn what_the_schema_loses_is_known_before() {
        let (blueprint, whole) = (blueprint(), batch(&[("a", "one", None)]).schema());
        let kept = |index| Kept::of(blueprint.question(), index, &whole);
        assert!(kept(0).is_none() && kept(2).is_none(), "those that make the question and ask it are free");
        let without = |name: &str| Schema::new(whole.fields().iter().filter(|field| field.name() != name).cloned().collect::<Vec<_>>());
        assert!(kept(3).expect("kept").lost(&whole, &whole).is_none());
        let lost = |index, name| kept(index).expect("kept").lost(&whole, &without(name)).map(|mistake| mistake.message);
        assert_eq!(
            lost(3, "answer").as_deref(),
            Some("the stage stands behind `llm` and gives no place to column `answer`, which is part of the answer")
        );
        assert!(lost(3, columns::REASON).is_some());
        assert!(lost(1, "answer").is_none(), "in front of `llm` it is nobody's answer");
        assert!(lost(1, columns::KEY).expect("lost").contains("behind `prompt-pack`"));
    }
}
