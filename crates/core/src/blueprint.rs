//! What a pipeline declares, typed: made once from its stages, and read by whoever plans, runs, records or compares it.
//!
//! Nobody has to know a stage by its name or by the spelling of its settings. What a stage needs of the others stands here
//! too: a [`Place`] in the blueprint is what the planner, and later the run, lends to each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Acceptance, AnswerShape, Mistake, ModelSpec, Money, ProviderSpec};

/// What a stage tells the planner beyond its schema. A new kind of declaration is a variant, not a key in some JSON.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Declaration {
    /// It reads the column of this name; one that nobody reads or keeps does not reach the stages.
    Reads(String),
    /// Rows that do not meet a predicate are left out, in front of all stages.
    Filter(Predicate),
    /// It makes questions of the rows.
    Pack(PackSpec),
    /// It asks models these questions.
    Ask(AskSpec),
    /// It judges the answers of a column, and the stage that asks does so on its behalf: behind that one there is nothing left
    /// to do for it, and it is not run.
    Judge(Arc<dyn Acceptance>),
    /// The most that the whole pipeline may spend, over all its runs.
    Budget(Money),
    /// It has nothing to do at run time: what it declares is all, and it is not run.
    Inert,
}

/// An SQL predicate over the source's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// The setting that it stands in.
    pub setting: &'static str,
    /// The predicate.
    pub sql: String,
}

/// A number that adapts between bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The value at the start.
    pub start: usize,
    /// The least value.
    pub min: usize,
    /// The greatest value.
    pub max: usize,
}

/// How rows become questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSpec {
    /// The system message.
    pub system: Option<String>,
    /// What is asked, once a request: a template over the pack.
    pub prompt: String,
    /// What is said of the items, if it is not the usual: a template over the pack.
    pub instructions: Option<String>,
    /// Rows that share a request.
    pub rows: Bounds,
    /// The shape of the answer about a row.
    pub shape: AnswerShape,
}

/// How models are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct AskSpec {
    /// The models, in the order in which they have their chance.
    pub models: Vec<NamedModel>,
    /// The sampling temperature; `None`: the provider's default.
    pub temperature: Option<f64>,
    /// Requests in flight.
    pub concurrency: Bounds,
    /// How often a row is asked, for each model.
    pub attempts: u32,
    /// The most answer tokens that a row may take.
    pub max_tokens_per_row: u32,
    /// The share of the rows that are asked once more alone.
    pub canary: f64,
    /// How long to wait for a whole response.
    pub timeout: Duration,
    /// The settings that decide how fast it goes, and not what is answered.
    pub pace: &'static [&'static str],
}

/// The name of a model, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedModel {
    /// The setting that names it, such as `fallback.0`.
    pub setting: String,
    /// Its name under `[models]`, or that of a built-in one.
    pub name: String,
}

/// A model that is asked, with what the pipeline file says of it.
#[derive(Clone, Debug)]
pub struct AskedModel {
    /// Its name under `[models]`, or that of a built-in one.
    pub name: String,
    /// Its table; `None` for a built-in model.
    pub spec: Option<ModelSpec>,
    /// Its provider's table.
    pub provider: Option<ProviderSpec>,
}

/// A question: the stage that makes it, the stage that asks it, and those that judge what is answered.
#[derive(Clone, Debug)]
pub struct Question {
    /// The place of the stage that makes it.
    pub packed_at: usize,
    /// How it is made.
    pub pack: PackSpec,
    /// The place of the stage that asks it.
    pub asked_at: usize,
    /// How it is asked.
    pub ask: AskSpec,
    /// The models that are asked, in the order in which they have their chance.
    pub models: Vec<AskedModel>,
    /// The judgements of the stages behind, in their order.
    pub judges: Arc<[Arc<dyn Acceptance>]>,
}

impl Question {
    /// Whether the column is one of the answer.
    pub fn answers(&self, column: &str) -> bool {
        self.pack.shape.columns().contains(&column)
    }
}

/// Another way to ask, for a comparison. Each stage says which of its settings it takes: see [`Stage::varied`](crate::Stage::varied).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Variation<'v> {
    /// This model has the first chance with each row.
    FirstModel(&'v str),
    /// This model alone is asked, and no row twice on the quiet: what the answers cost is their own.
    OnlyModel(&'v str),
    /// Always so many rows share a request.
    Rows(usize),
    /// No more than so many rows share a request.
    MostRows(usize),
    /// Something else is asked altogether, of the rows of another source.
    Question(&'v OtherQuestion<'v>),
}

/// A question in the place of the pipeline's own. Each row is asked about alone, with the temperature 0.
#[derive(Clone, Debug)]
pub struct OtherQuestion<'q> {
    /// The system message.
    pub system: &'q str,
    /// What is asked.
    pub prompt: &'q str,
    /// The template of a row.
    pub item: &'q str,
    /// The shape of the answer.
    pub shape: &'q AnswerShape,
    /// The model that is asked.
    pub model: &'q str,
    /// The most tokens of an answer.
    pub max_tokens_per_row: u32,
}

/// A setting of a stage and its value: the path in the stage's table. An empty path is the whole table.
pub type Setting = (Vec<String>, Value);

/// All declarations of a pipeline, checked for their order.
#[derive(Clone, Debug, Default)]
pub struct Blueprint {
    stages: Vec<Vec<Declaration>>,
    models: Vec<AskedModel>,
    question: Option<Question>,
    misplaced: Vec<(Option<usize>, Mistake)>,
}

impl Blueprint {
    /// The blueprint of stages that declare this, with the tables of the pipeline file that they name.
    pub fn new(stages: Vec<Vec<Declaration>>, models: &BTreeMap<String, ModelSpec>, providers: &BTreeMap<String, ProviderSpec>) -> Self {
        let asked = |ask: &AskSpec| -> Vec<AskedModel> {
            let of = |named: &NamedModel| {
                let spec = models.get(&named.name);
                let provider = spec.and_then(|spec| providers.get(&spec.provider));
                AskedModel { name: named.name.clone(), spec: spec.cloned(), provider: provider.cloned() }
            };
            ask.models.iter().map(of).collect()
        };
        let asks = |index: usize| stages.get(index).and_then(|stage| stage.iter().find_map(Declaration::ask));
        let packs = |index: usize| stages[index].iter().find_map(Declaration::pack);
        let asked_at = (0..stages.len()).find(|index| asks(*index).is_some());
        let question = asked_at.and_then(|asked_at| {
            let ask = asks(asked_at)?;
            let (packed_at, pack) = (0..asked_at).rev().find_map(|index| Some((index, packs(index)?)))?;
            let behind = stages[asked_at + 1..].iter().flatten().filter_map(Declaration::judge);
            let judges = behind.filter(|judge| pack.shape.columns().contains(&judge.column())).cloned().collect();
            Some(Question { packed_at, pack: pack.clone(), asked_at, ask: ask.clone(), models: asked(ask), judges })
        });
        let models = (0..stages.len()).filter_map(asks).flat_map(asked).collect();
        let misplaced = misplaced(&stages);
        Self { stages, models, question, misplaced }
    }

    /// The question that is asked, if there is one.
    pub fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Every model that a stage names, in their order.
    pub fn models(&self) -> &[AskedModel] {
        &self.models
    }

    /// The predicates that rows must meet, each with the place of its stage.
    pub fn filters(&self) -> impl Iterator<Item = (usize, &Predicate)> {
        let stages = self.stages.iter().enumerate();
        stages.flat_map(|(index, stage)| stage.iter().filter_map(move |declaration| Some((index, declaration.filter()?))))
    }

    /// The columns that stages read, from the one at this place on.
    pub fn reads(&self, from: usize) -> impl Iterator<Item = &str> {
        self.stages.iter().skip(from).flatten().filter_map(|declaration| match declaration {
            Declaration::Reads(column) => Some(column.as_str()),
            _ => None,
        })
    }

    /// The most that the pipeline may spend, over all its runs.
    pub fn budget(&self) -> Option<Money> {
        self.stages.iter().flatten().filter_map(Declaration::budget).min()
    }

    /// Whether the stage at this place sets a budget.
    pub fn sets_budget(&self, index: usize) -> bool {
        self.stages.get(index).is_some_and(|stage| stage.iter().any(|declaration| declaration.budget().is_some()))
    }

    /// Whether the stage at this place has something to do at run time.
    pub fn is_run(&self, index: usize) -> bool {
        let is_done = |declaration: &Declaration| match declaration {
            Declaration::Inert => true,
            Declaration::Judge(judge) => self.answered_in_front(index, judge.column()),
            _ => false,
        };
        self.stages.get(index).is_some_and(|stage| !stage.iter().any(is_done))
    }

    /// What is wrong with the order of the stages, each with the place of the stage that it is about.
    pub fn misplaced(&self) -> &[(Option<usize>, Mistake)] {
        &self.misplaced
    }

    /// The place of a stage.
    pub fn place(self: &Arc<Self>, index: usize) -> Place {
        Place { blueprint: Arc::clone(self), index }
    }

    fn answered_in_front(&self, index: usize, column: &str) -> bool {
        self.question.as_ref().is_some_and(|question| question.asked_at < index && question.answers(column))
    }
}

impl Declaration {
    fn filter(&self) -> Option<&Predicate> {
        match self {
            Self::Filter(predicate) => Some(predicate),
            _ => None,
        }
    }

    fn pack(&self) -> Option<&PackSpec> {
        match self {
            Self::Pack(pack) => Some(pack),
            _ => None,
        }
    }

    fn ask(&self) -> Option<&AskSpec> {
        match self {
            Self::Ask(ask) => Some(ask),
            _ => None,
        }
    }

    /// The judgement that this lends, if it is one.
    pub fn judge(&self) -> Option<&Arc<dyn Acceptance>> {
        match self {
            Self::Judge(judge) => Some(judge),
            _ => None,
        }
    }

    fn budget(&self) -> Option<Money> {
        match self {
            Self::Budget(budget) => Some(*budget),
            _ => None,
        }
    }
}

/// What is wrong with the order of stages that declare this.
fn misplaced(stages: &[Vec<Declaration>]) -> Vec<(Option<usize>, Mistake)> {
    let having = |has: fn(&Declaration) -> bool| (0..stages.len()).filter(move |index| stages[*index].iter().any(has));
    let mut asks = having(|declaration| matches!(declaration, Declaration::Ask(_)));
    let Some(first) = asks.next() else {
        let mistake = Mistake::new("", "no stage asks a model").hint(Some("add a stage with `use = \"llm\"`"));
        return vec![(None, mistake)];
    };
    let mut wrong = Vec::new();
    for index in asks {
        let mistake = Mistake::new("", "a second stage asks a model; a pipeline has one")
            .hint(Some("run two pipelines, the second with the first one's results as its source"));
        wrong.push((Some(index), mistake));
    }
    for index in having(|declaration| matches!(declaration, Declaration::Pack(_))).skip_while(|index| *index < first) {
        let mistake = Mistake::new("", "nobody asks these questions: the stage stands behind `llm`")
            .hint(Some("move it in front of `llm`; a pipeline asks one question"));
        wrong.push((Some(index), mistake));
    }
    for index in having(|declaration| matches!(declaration, Declaration::Pack(_))).take_while(|index| *index < first).skip(1) {
        let mistake = Mistake::new("", "a second stage makes questions of the rows; a pipeline has one");
        wrong.push((Some(index), mistake.hint(Some("leave one of the two out"))));
    }
    for index in having(|declaration| matches!(declaration, Declaration::Filter(_))).skip_while(|index| *index < first) {
        let mistake = Mistake::new("", "a filter behind `llm` would drop rows that have been paid for")
            .hint(Some("move it in front of `llm`, or filter the results with `promptmill sql`"));
        wrong.push((Some(index), mistake));
    }
    wrong
}

/// The place of a stage in its pipeline: what the planner lends to it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    blueprint: Arc<Blueprint>,
    index: usize,
}

impl Place {
    /// The place of a stage that nothing stands around.
    pub fn alone() -> Self {
        Self::default()
    }

    /// The question that is asked in this pipeline.
    pub fn question(&self) -> Option<&Question> {
        self.blueprint.question()
    }

    /// Whether a column holds answers of a model in front of the stage, which were judged before they were handed on.
    pub fn is_answered(&self, column: &str) -> bool {
        self.blueprint.answered_in_front(self.index, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(column: &str) -> Declaration {
        Declaration::Pack(PackSpec {
            system: None,
            prompt: String::new(),
            instructions: None,
            rows: Bounds { start: 1, min: 1, max: 1 },
            shape: AnswerShape::Text(column.to_owned()),
        })
    }

    fn ask() -> Declaration {
        Declaration::Ask(AskSpec {
            models: vec![NamedModel { setting: "model".to_owned(), name: "m".to_owned() }],
            temperature: None,
            concurrency: Bounds { start: 1, min: 1, max: 1 },
            attempts: 1,
            max_tokens_per_row: 1,
            canary: 0.0,
            timeout: Duration::from_secs(1),
            pace: &[],
        })
    }

    fn filter() -> Declaration {
        Declaration::Filter(Predicate { setting: "where", sql: "true".to_owned() })
    }

    #[derive(Debug)]
    struct Judges(&'static str);

    impl Acceptance for Judges {
        fn column(&self) -> &str {
            self.0
        }

        fn judge(&self, text: &str, _: &crate::About<'_>, _: &mut crate::Tally) -> Result<crate::Accepted, crate::Rejected> {
            Ok(crate::Accepted { text: text.to_owned(), flags: Vec::new() })
        }
    }

    fn judge(column: &'static str) -> Declaration {
        Declaration::Judge(Arc::new(Judges(column)))
    }

    fn of<const N: usize>(stages: [Vec<Declaration>; N]) -> Blueprint {
        Blueprint::new(stages.into(), &BTreeMap::new(), &BTreeMap::new())
    }

    #[test]
    fn a_question_is_made_asked_and_judged() {
        let blueprint =
            Arc::new(of([vec![filter(), Declaration::Inert], vec![pack("a")], vec![ask()], vec![judge("a")], vec![judge("title")]]));
        let question = blueprint.question().expect("a question");
        assert_eq!((question.packed_at, question.asked_at, question.judges.len()), (1, 2, 1), "{question:?}");
        assert!(blueprint.misplaced().is_empty());
        assert_eq!((0..5).map(|index| blueprint.is_run(index)).collect::<Vec<_>>(), [false, true, true, false, true]);
        assert!(blueprint.place(3).is_answered("a") && !blueprint.place(3).is_answered("title"));
        assert!(!blueprint.place(1).is_answered("a"), "nothing has been answered there");
    }

    #[test]
    fn stages_out_of_order_are_told_at_their_place() {
        let wrong = |blueprint: Blueprint| -> Vec<(Option<usize>, String)> {
            let of =
                |(place, mistake): &(Option<usize>, Mistake)| (*place, mistake.message.split([';', ':']).next().unwrap_or("").to_owned());
            blueprint.misplaced().iter().map(of).collect()
        };
        let said = |place, words: &str| (place, words.to_owned());
        assert_eq!(wrong(of([vec![pack("a")]])), [said(None, "no stage asks a model")]);
        assert_eq!(
            wrong(of([vec![pack("a")], vec![pack("b")], vec![ask()], vec![ask()], vec![filter()], vec![pack("c")]])),
            [
                said(Some(3), "a second stage asks a model"),
                said(Some(5), "nobody asks these questions"),
                said(Some(1), "a second stage makes questions of the rows"),
                said(Some(4), "a filter behind `llm` would drop rows that have been paid for"),
            ]
        );
        assert!(of([vec![ask()], vec![pack("a")]]).question().is_none(), "no question is made in front");
    }
}
