//! What a template names: the columns that it reads, and every name in it that leads nowhere.
//!
//! The template is taken apart by the parser of the engine itself, so that a name is found wherever it may stand: in a slice,
//! in the arguments of a filter, behind `set` and `with`, in branches that few rows take. Types are followed as far as they
//! are known, so that a field which a struct has not is found as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::datatypes::{DataType, Schema};
use minijinja::machinery::ast::{CallArg, Expr, Macro, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::{Error, ErrorKind};
use promptmill_core::{Mistake, nearest};

use super::environment;

/// The whole row, for columns whose names are no names for a template: `row["Full text"]`.
pub(super) const ROW: &str = "row";

/// What a template may name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'k> {
    /// The columns of a row.
    Columns(&'k Schema),
    /// These variables.
    Variables(&'k [&'k str]),
    /// Nothing is known yet: every name may be a column.
    Anything,
}

impl<'k> Known<'k> {
    fn has(self, name: &str) -> bool {
        match self {
            Self::Columns(schema) => schema.column_with_name(name).is_some_and(|_| !name.starts_with("__")),
            Self::Variables(names) => names.contains(&name),
            Self::Anything => true,
        }
    }

    fn names(self) -> Vec<&'k str> {
        match self {
            Self::Columns(schema) => {
                schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect()
            }
            Self::Variables(names) => names.to_vec(),
            Self::Anything => Vec::new(),
        }
    }

    fn type_of(self, name: &str) -> Option<DataType> {
        match self {
            Self::Columns(schema) => schema.field_with_name(name).ok().map(|field| field.data_type().clone()),
            Self::Variables(_) | Self::Anything => None,
        }
    }

    /// What one of the names is.
    fn kind(self) -> &'static str {
        if matches!(self, Self::Variables(_)) { "variable" } else { "column" }
    }

    /// Columns that only `row["…"]` can name.
    fn odd(self) -> impl Iterator<Item = &'k str> {
        let is_columns = matches!(self, Self::Columns(_));
        self.names().into_iter().filter(move |name| is_columns && !is_identifier(name))
    }
}

/// Whether a template can name it as it stands.
fn is_identifier(name: &str) -> bool {
    const WORDS: [&str; 12] = ["true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if"];
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
        && !WORDS.contains(&name)
        && name != "else"
}

/// The names that a template reads from outside; too many rather than too few.
pub(super) fn reads(source: &str) -> BTreeSet<String> {
    let Ok(template) = parse(source, "template", minijinja::syntax::SyntaxConfig::default()) else { return BTreeSet::new() };
    let mut names = Names::new("", source, Known::Anything);
    names.statement(&template);
    names.reads
}

/// Everything that is wrong with a template, as mistakes in the setting `at`.
pub(super) fn check(at: &str, source: &str, known: Known<'_>) -> Vec<Mistake> {
    // Through an environment, so that also what is only found when it is compiled is found.
    let mut environment = environment();
    if let Err(error) = environment.add_template("template", source) {
        return vec![unreadable(at, source, known, &error)];
    }
    let Ok(template) = parse(source, "template", minijinja::syntax::SyntaxConfig::default()) else { return Vec::new() };
    let mut names = Names::new(at, source, known);
    names.statement(&template);
    names.mistakes
}

fn unreadable(at: &str, source: &str, known: Known<'_>, error: &Error) -> Mistake {
    let detail = error.detail().unwrap_or("it cannot be parsed");
    let mistake = Mistake::new(at, format!("`{at}` is not a valid template: {detail}"));
    // The one that is longest: others may be parts of it.
    let meant = known.odd().filter_map(|name| Some((outside_quotes(source, name)?, name))).max_by_key(|(_, name)| name.len());
    match meant {
        Some((place, name)) => mistake.range(Some(place)).hint(Some(spelling(name))),
        None => mistake.range(error.range()),
    }
}

/// Where a name stands in a template, not between quotes.
fn outside_quotes(source: &str, name: &str) -> Option<Range<usize>> {
    let places = source.match_indices(name).map(|(start, _)| start..start + name.len());
    let is_quoted = |place: &Range<usize>| source[..place.start].ends_with(['"', '\'']);
    let is_in_braces = |place: &Range<usize>| {
        let before = &source[..place.start];
        let opened = before.rfind("{{").max(before.rfind("{%"));
        opened > before.rfind("}}").max(before.rfind("%}"))
    };
    places.into_iter().find(|place| !is_quoted(place) && is_in_braces(place))
}

/// How a template names a column, whatever it is called.
fn spelling(name: &str) -> String {
    format!("write the column as `{ROW}[\"{}\"]`", name.replace('\\', "\\\\").replace('"', "\\\""))
}

struct Names<'k, 's> {
    at: &'s str,
    source: &'s str,
    known: Known<'k>,
    reads: BTreeSet<String>,
    /// Names that the template gives, with their types where those are known; the innermost last.
    given: Vec<BTreeMap<String, Option<DataType>>>,
    mistakes: Vec<Mistake>,
}

impl<'k, 's> Names<'k, 's> {
    fn new(at: &'s str, source: &'s str, known: Known<'k>) -> Self {
        Self { at, source, known, reads: BTreeSet::new(), given: vec![BTreeMap::new()], mistakes: Vec::new() }
    }

    fn wrong(&mut self, range: Range<usize>, message: String, hint: Option<String>) {
        let mistake = Mistake::new(self.at, message).range(Some(range)).hint(hint);
        let overlaps = |other: &Mistake| matches!((&other.range, &mistake.range), (Some(other), Some(this)) if this.start < other.end && other.start < this.end);
        // What stands inside something that is wrong already is not wrong once more.
        if !self.mistakes.iter().any(overlaps) {
            self.mistakes.push(mistake);
        }
    }

    fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|names| names.contains_key(name))
    }

    fn give(&mut self, name: &str, data_type: Option<DataType>) {
        // What is given twice may be either.
        let data_type = data_type.filter(|_| !self.is_given(name));
        if let Some(names) = self.given.last_mut() {
            names.insert(name.to_owned(), data_type);
        }
    }

    fn give_target(&mut self, target: &Expr<'_>, data_type: Option<DataType>) {
        match target {
            Expr::Var(name) => self.give(name.id, data_type),
            Expr::List(list) => list.items.iter().for_each(|item| self.give_target(item, None)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.give_target(item, None)),
            // `{% set namespace.name = … %}`
            other => self.expression(other),
        }
    }

    fn within(&mut self, body: &[Stmt<'_>]) {
        self.given.push(BTreeMap::new());
        self.statements(body);
        self.given.pop();
    }

    fn statements(&mut self, body: &[Stmt<'_>]) {
        body.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) => {}
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                let element = self.type_of(&each.iter).and_then(|data_type| element_of(&data_type));
                self.given.push(BTreeMap::from([("loop".to_owned(), None)]));
                self.give_target(&each.target, element);
                each.filter_expr.iter().for_each(|filter| self.expression(filter));
                self.statements(&each.body);
                self.given.pop();
                self.within(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                // A name that one branch gives is there behind it as well.
                self.expression(&condition.expr);
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => {
                self.given.push(BTreeMap::new());
                for (target, value) in &with.assignments {
                    self.expression(value);
                    let data_type = self.type_of(value);
                    self.give_target(target, data_type);
                }
                self.statements(&with.body);
                self.given.pop();
            }
            Stmt::Set(set) => {
                self.expression(&set.expr);
                let data_type = self.type_of(&set.expr);
                self.give_target(&set.target, data_type);
            }
            Stmt::SetBlock(set) => {
                self.within(&set.body);
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.give_target(&set.target, None);
            }
            Stmt::AutoEscape(escape) => {
                self.expression(&escape.enabled);
                self.within(&escape.body);
            }
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter);
                self.within(&block.body);
            }
            Stmt::Block(block) => {
                self.given.push(BTreeMap::from([("super".to_owned(), None)]));
                self.statements(&block.body);
                self.given.pop();
            }
            Stmt::Macro(made) => {
                self.give(made.name, None);
                self.made(made);
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call.expr, &block.call.args, range_of(block.call.span()));
                self.made(&block.macro_decl);
            }
            Stmt::Do(done) => self.call(&done.call.expr, &done.call.args, range_of(done.call.span())),
            Stmt::Import(other) => self.other_template(&other.expr),
            Stmt::FromImport(other) => self.other_template(&other.expr),
            Stmt::Extends(other) => self.other_template(&other.name),
            Stmt::Include(other) => self.other_template(&other.name),
        }
    }

    fn made(&mut self, made: &Macro<'_>) {
        made.defaults.iter().for_each(|value| self.expression(value));
        self.given.push(BTreeMap::from([("caller".to_owned(), None)]));
        made.args.iter().for_each(|name| self.give_target(name, None));
        self.statements(&made.body);
        self.given.pop();
    }

    fn other_template(&mut self, name: &Expr<'_>) {
        let message = format!("`{}` is not a valid template: it calls for another template", self.at);
        let hint = "a template sees the row and nothing else: no files, no other templates";
        self.wrong(range_of(name.span()), message, Some(hint.to_owned()));
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value) | CallArg::Kwarg(_, value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
                    self.expression(value);
                }
            }
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) {
        match expression {
            Expr::Var(name) => self.name(name.id, range_of(name.span())),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|part| self.expression(part));
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => {
                self.expression(&operation.left);
                self.expression(&operation.right);
            }
            Expr::Compare(comparison) => {
                self.expression(&comparison.expr);
                comparison.ops.iter().for_each(|operand| self.expression(&operand.expr));
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                self.expression(&choice.true_expr);
                choice.false_expr.iter().for_each(|other| self.expression(other));
            }
            Expr::Filter(filter) => {
                filter.expr.iter().for_each(|value| self.expression(value));
                self.arguments(&filter.args);
                self.built_in(filter.name, "|", ErrorKind::UnknownFilter, range_of(filter.span()));
            }
            Expr::Test(test) => {
                self.expression(&test.expr);
                self.arguments(&test.args);
                self.built_in(test.name, " is ", ErrorKind::UnknownTest, range_of(test.span()));
            }
            Expr::GetAttr(field) if self.is_row(&field.expr) => self.column_of_row(field.name, range_of(field.span())),
            Expr::GetItem(item) if self.is_row(&item.expr) => match text_of(&item.subscript_expr) {
                Some(name) => self.column_of_row(&name, range_of(item.subscript_expr.span())),
                None => self.whole_row(range_of(item.span())),
            },
            Expr::GetAttr(field) => {
                let before = self.mistakes.len();
                self.expression(&field.expr);
                if before == self.mistakes.len() {
                    self.field(&field.expr, field.name, range_of(field.span()));
                }
            }
            Expr::GetItem(item) => {
                let before = self.mistakes.len();
                self.expression(&item.expr);
                self.expression(&item.subscript_expr);
                if let Some(name) = text_of(&item.subscript_expr).filter(|_| before == self.mistakes.len()) {
                    self.field(&item.expr, &name, range_of(item.span()));
                }
            }
            Expr::Call(call) => self.call(&call.expr, &call.args, range_of(call.span())),
            Expr::List(list) => list.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|part| self.expression(part)),
        }
    }

    /// Whether an expression is the name of the whole row. A column of that name goes before.
    fn is_row(&self, expression: &Expr<'_>) -> bool {
        let has_column = match self.known {
            Known::Columns(_) => self.known.has(ROW),
            Known::Variables(_) => true,
            Known::Anything => false,
        };
        matches!(expression, Expr::Var(name) if name.id == ROW) && !self.is_given(ROW) && !has_column
    }

    fn column_of_row(&mut self, name: &str, range: Range<usize>) {
        // Where it is not known whether there is a column `row`, it may be one.
        self.reads.extend([ROW.to_owned(), name.to_owned()]);
        if !self.known.has(name) {
            let hint = self.near(name).map_or_else(|| self.all(), |near| format!("did you mean `{ROW}[\"{near}\"]`?"));
            self.wrong(range, format!("template `{}` names `{name}`, which is no column", self.at), Some(hint));
        }
    }

    fn whole_row(&mut self, range: Range<usize>) {
        self.reads.insert(ROW.to_owned());
        if !matches!(self.known, Known::Anything) {
            let message = format!("template `{}` uses `{ROW}` without the name of a column", self.at);
            let hint = format!("write `{ROW}[\"name of a column\"]`, with the name as it stands: only what a template names is read");
            self.wrong(range, message, Some(hint));
        }
    }

    fn near(&self, name: &str) -> Option<&'k str> {
        nearest(name, self.known.names())
    }

    fn all(&self) -> String {
        format!("known {}s: {}", self.known.kind(), self.known.names().join(", "))
    }

    fn name(&mut self, name: &str, range: Range<usize>) {
        if self.is_given(name) || name == "self" {
            return;
        }
        if name == ROW && !matches!(self.known, Known::Variables(_)) && (!self.known.has(ROW) || matches!(self.known, Known::Anything)) {
            return self.whole_row(range);
        }
        self.reads.insert(name.to_owned());
        if self.known.has(name) {
            return;
        }
        // A name that a template cannot write, taken for several that it can: `user.name`, `vote-result`.
        let covers = |odd: &&str| self.source.match_indices(*odd).any(|(start, _)| start <= range.start && range.end <= start + odd.len());
        let odd = self.known.odd().filter(covers).max_by_key(|odd| odd.len());
        let message = format!("template `{}` names `{name}`, which is no {}", self.at, self.known.kind());
        match odd {
            Some(odd) => {
                let start = self.source[..range.end].rfind(name).unwrap_or(range.start);
                let whole = self.source.match_indices(odd).map(|(at, _)| at..at + odd.len()).find(|place| place.contains(&start));
                self.wrong(whole.unwrap_or(range), message, Some(spelling(odd)));
            }
            None => {
                let hint = match self.near(name) {
                    Some(near) if is_identifier(near) => format!("did you mean `{near}`?"),
                    Some(near) => spelling(near),
                    None => self.all(),
                };
                self.wrong(range, message, Some(hint));
            }
        }
    }

    /// A field of something whose type is known.
    fn field(&mut self, of: &Expr<'_>, name: &str, range: Range<usize>) {
        let Some(data_type) = self.type_of(of) else { return };
        if field_of(&data_type, name).is_some() {
            return;
        }
        let what = self.source.get(range_of(of.span())).unwrap_or("it").to_owned();
        match data_type {
            DataType::Struct(fields) => {
                let names = || fields.iter().map(|field| field.name().as_str());
                let near = nearest(name, names());
                let hint = near.map_or_else(
                    || format!("its fields: {}", names().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                self.wrong(range, format!("`{what}` in template `{}` has no field `{name}`", self.at), Some(hint));
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                let hint = format!("loop over it: `{{% for element in {what} %}}`; or take one: `{what}[0]`");
                self.wrong(range, format!("`{what}` in template `{}` is a list, which has no field `{name}`", self.at), Some(hint));
            }
            other => {
                let message = format!("`{what}` in template `{}` is {other}, which has no field `{name}`", self.at);
                let odd = self.known.odd().find(|odd| **odd == format!("{what}.{name}")).map(spelling);
                self.wrong(range, message, odd);
            }
        }
    }

    fn call(&mut self, callee: &Expr<'_>, arguments: &[CallArg<'_>], range: Range<usize>) {
        match callee {
            Expr::Var(name) if self.is_given(name.id) => {}
            Expr::Var(name) if is_function(name.id) && !(matches!(self.known, Known::Columns(_)) && self.known.has(name.id)) => {}
            Expr::Var(name) => {
                if !matches!(self.known, Known::Anything) {
                    let message = format!("`{}` is not a valid template: there is no function `{}`", self.at, name.id);
                    self.wrong(range_of(name.span()), message, self.as_filter(name.id));
                }
            }
            Expr::GetAttr(method) => {
                self.expression(&method.expr);
                // A loop has methods; values have none.
                let has_methods = matches!(&method.expr, Expr::Var(name) if ["loop", "self"].contains(&name.id));
                if !has_methods {
                    let message = format!("`{}` is not a valid template: there is no method `{}`", self.at, method.name);
                    self.wrong(range, message, self.as_filter(method.name));
                }
            }
            other => self.expression(other),
        }
        self.arguments(arguments);
    }

    /// Who writes `upper(text)` or `text.upper()` may have meant a filter.
    fn as_filter(&self, name: &str) -> Option<String> {
        exists(name, "|", ErrorKind::UnknownFilter).then(|| format!("it is a filter: `… | {name}`"))
    }

    /// A filter or a test: it has to exist, also in a branch that no row may ever take.
    fn built_in(&mut self, name: &str, operator: &str, unknown: ErrorKind, range: Range<usize>) {
        if matches!(self.known, Known::Anything) || exists(name, operator, unknown) {
            return;
        }
        let place =
            self.source.get(range.clone()).and_then(|text| text.rfind(name)).map(|at| range.start + at..range.start + at + name.len());
        let what = if unknown == ErrorKind::UnknownFilter { "filter" } else { "test" };
        let message = format!("`{}` is not a valid template: there is no {what} `{name}`", self.at);
        let near = nearest(name, FILTERS).filter(|_| unknown == ErrorKind::UnknownFilter).map(|near| format!("did you mean `{near}`?"));
        self.wrong(place.unwrap_or(range), message, near);
    }

    fn type_of(&self, expression: &Expr<'_>) -> Option<DataType> {
        match expression {
            Expr::Var(name) => match self.given.iter().rev().find_map(|names| names.get(name.id)) {
                Some(given) => given.clone(),
                None => self.known.type_of(name.id),
            },
            Expr::GetAttr(field) if self.is_row(&field.expr) => self.known.type_of(field.name),
            Expr::GetItem(item) if self.is_row(&item.expr) => self.known.type_of(&text_of(&item.subscript_expr)?),
            Expr::GetAttr(field) => field_of(&self.type_of(&field.expr)?, field.name).flatten(),
            Expr::GetItem(item) => match text_of(&item.subscript_expr) {
                Some(name) => field_of(&self.type_of(&item.expr)?, &name).flatten(),
                None => element_of(&self.type_of(&item.expr)?),
            },
            Expr::Slice(slice) => self.type_of(&slice.expr),
            _ => None,
        }
    }
}

/// The filters whose names are guessed at.
const FILTERS: [&str; 24] = [
    "abs",
    "batch",
    "capitalize",
    "default",
    "dictsort",
    "escape",
    "first",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "replace",
    "reverse",
    "round",
    "select",
    "sort",
    "string",
    "title",
    "trim",
    "unique",
    "upper",
];

fn is_function(name: &str) -> bool {
    ["range", "dict", "namespace", "debug"].contains(&name)
}

/// Whether the engine has a filter or test of this name.
fn exists(name: &str, operator: &str, unknown: ErrorKind) -> bool {
    let environment = environment();
    let tried = environment.compile_expression_owned(format!("none{operator}{name}")).and_then(|tried| tried.eval(()));
    !tried.is_err_and(|error| error.kind() == unknown)
}

/// A text that stands in the template.
fn text_of(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Const(constant) => constant.value.as_str().map(str::to_owned),
        _ => None,
    }
}

/// The type of a field; `None` if there is no such field, `Some(None)` if it may be there or not.
fn field_of(data_type: &DataType, name: &str) -> Option<Option<DataType>> {
    match data_type {
        DataType::Struct(fields) => fields.iter().find(|field| field.name() == name).map(|field| Some(field.data_type().clone())),
        DataType::Map(..) => Some(None),
        _ => None,
    }
}

/// What a loop over such a value sees; `None` if nothing is known of it.
fn element_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => Some(element.data_type().clone()),
        _ => None,
    }
}

fn range_of(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}
