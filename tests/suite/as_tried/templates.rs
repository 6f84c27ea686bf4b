//! What a template sees of a row: real values, every name that stands in it, and no words of an error.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int64Array,
    ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;

use super::Job;
use crate::spy::{Reply, Spy};
use crate::support::Project;

/// Two rows, the second one of them null wherever it can be.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let author: ArrayRef = Arc::new(StringArray::from(vec![Some("Ann"), None]));
    let year: ArrayRef = Arc::new(Int64Array::from(vec![Some(2020), None]));
    let fields = Fields::from(vec![Field::new("author", DataType::Utf8, true), Field::new("year", DataType::Int64, true)]);
    let meta = StructArray::new(fields, vec![author, year], Some(NullBuffer::from(vec![true, false])));
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("roads"), Some("winter time")]);
    tags.append_null();
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    labels.keys().append_value("nl");
    labels.values().append_value("wegen");
    labels.append(true).expect("an entry");
    labels.append(false).expect("a null");
    let uuid = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1_u8; 16]), None].into_iter(), 16).expect("bytes");
    vec![
        ("id", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("title", Arc::new(StringArray::from(vec!["Bridge", "School"]))),
        ("text", Arc::new(StringArray::from(vec![Some("The council is asked to act."), None]))),
        ("meta", Arc::new(meta)),
        ("tags", Arc::new(tags.finish())),
        ("labels", Arc::new(labels.finish())),
        ("score", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
        ("share", Arc::new(Float64Array::from(vec![Some(2.0), None]))),
        ("open", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_787), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_709_632_800_000_000), None]))),
        ("price", Arc::new(Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(9, 2).expect("a decimal"))),
        ("raw", Arc::new(BinaryArray::from(vec![Some("héél".as_bytes()), None]))),
        ("hash", Arc::new(BinaryArray::from(vec![Some([0xff_u8, 0x00].as_slice()), None]))),
        ("uuid", Arc::new(uuid)),
        ("Full Text", Arc::new(StringArray::from(vec!["spaced", "spaced"]))),
        ("user.name", Arc::new(StringArray::from(vec!["u1", "u2"]))),
        ("vote-result", Arc::new(StringArray::from(vec!["for", "against"]))),
        ("Überschrift", Arc::new(StringArray::from(vec!["Eins", "Zwei"]))),
    ]
}

fn write(project: &Project, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).expect("a batch");
    let mut writer =
        ArrowWriter::try_new(File::create(project.path("rows.parquet")).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

fn job(spy: &Spy, item: &str) -> Project {
    let project = Job { item: item.to_owned(), sink: "columns = [\"id\", \"summary\"]".to_owned(), ..Job::new(&spy.url) }.project(&[]);
    write(&project, columns());
    project
}

/// What the model is shown of rows with this template.
fn shown(item: &str) -> Vec<String> {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = job(&spy, item);
    project.run_pipeline(&[]);
    spy.asked().iter().flat_map(|asked| asked.items()).map(|(_, text)| text).collect()
}

/// What `check` says of it.
fn refused(item: &str) -> String {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, str::to_owned));
    job(&spy, item).run(&["check", "pipeline.toml"]).expect(2).stderr
}

#[test]
fn every_name_in_a_template_is_read() {
    for (item, first) in [
        ("{{ text[:20] }}", "The council is asked"),
        ("{% set text = title | upper %}{{ text }}", "BRIDGE"),
        ("{% with text = title | upper %}{{ text }}{% endwith %}", "BRIDGE"),
        ("{{ (title ~ ': ' ~ score)[:9] }}", "Bridge: 0"),
        ("{% filter replace('x', title) %}x-ray{% endfilter %}", "Bridge-ray"),
        ("{% set t | replace('x', title) %}x{% endset %}{{ t }}", "Bridge"),
        ("{% macro m(n) %}{{ n }}/{{ title }}{% endmacro %}{{ m(id) }}", "a/Bridge"),
        ("{% if id in ['a', title] %}{{ day if open else at }}{% endif %}", "2024-03-05"),
        ("{{ {'k': title}['k'] }}", "Bridge"),
        ("{% for x in [title, id] %}{{ x }}{% endfor %}", "Bridgea"),
    ] {
        assert_eq!(shown(item).first().map(String::as_str), Some(first), "{item}");
    }
}

#[test]
fn structs_lists_and_maps_are_what_they_are() {
    for (item, first) in [
        ("{{ meta.author }} {{ meta['year'] + 1 }}", "Ann 2021"),
        ("{% for t in tags %}<{{ t }}>{% endfor %}", "<roads><winter time>"),
        ("{{ tags | join(', ') }} {{ tags | length }} {{ tags[1] }}", "roads, winter time 2 winter time"),
        ("{% for k, v in labels | items %}{{ k }}={{ v }}{% endfor %}", "nl=wegen"),
        ("{{ labels.nl }}", "wegen"),
        // Printed whole they look as they always did: what was asked before is not asked again.
        ("{{ tags }} {{ meta }}", "[roads, winter time] {author: Ann, year: 2020}"),
        ("{{ tags | upper }}", "[ROADS, WINTER TIME]"),
    ] {
        assert_eq!(shown(item).first().map(String::as_str), Some(first), "{item}");
    }
    // Of a null nothing is seen, and its fields are nulls.
    assert_eq!(shown("{{ id }}:{{ meta.author }}{{ tags }}{{ labels.nl }}")[1], "b:");
}

#[test]
fn values_are_shown_as_a_person_would_write_them() {
    let item = "{{ score }} {{ share }} {{ day }} {{ at }} {{ price }} {{ raw }} {{ hash }}";
    assert_eq!(shown(item)[0], "0.1 2.0 2024-03-05 2024-03-05T10:00:00 12.50 héél ff00");
    assert_eq!(shown(&format!("{item}{{% if true %}}.{{% endif %}}"))[0], "0.1 2.0 2024-03-05 2024-03-05T10:00:00 12.50 héél ff00.");
}

#[test]
fn every_column_has_a_spelling_and_the_hint_names_it() {
    let all = "{{ row[\"Full Text\"] }} {{ row['user.name'] }} {{ row['vote-result'] }} {{ row['Überschrift'] }} {{ row.title }}";
    // In the pipeline file the template stands between `"""`, where `\"` is a quote.
    assert_eq!(shown(all)[0], "spaced u1 for Eins Bridge");
    for (item, hint) in [
        ("{{ Full Text }}", "`row[\"Full Text\"]`"),
        ("{{ user.name }}", "`row[\"user.name\"]`"),
        ("{{ vote-result }}", "`row[\"vote-result\"]`"),
        ("{{ Überschrift }}", "`row[\"Überschrift\"]`"),
        ("{{ row['Full Txt'] }}", "`row[\"Full Text\"]`"),
        ("{{ row }}", "write `row[\"name of a column\"]`"),
    ] {
        let said = refused(item);
        assert!(said.contains(hint) && said.contains("1 mistake"), "{item}: {said}");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_found_by_check_wherever_it_stands() {
    for (item, said) in [
        ("{{ titel[:3] }}", "did you mean `title`?"),
        ("{% set x = titel %}{{ x }}", "did you mean `title`?"),
        ("{% if id == 'nobody' %}{{ title | uper }}{% endif %}", "did you mean `upper`?"),
        ("{% if id == 'nobody' %}{{ 1 is odder }}{% endif %}", "no test `odder`"),
        ("{{ meta.auther }}", "did you mean `author`?"),
        ("{{ tags.first }}", "is a list"),
        ("{{ title.upper() }}", "it is a filter"),
        ("{{ upper(title) }}", "it is a filter"),
        ("{% if id == 'nobody' %}{% include 'other' %}{% endif %}", "no files, no other templates"),
    ] {
        let refused = refused(item);
        assert!(refused.contains(said), "{item}: {refused}");
    }
}

#[test]
fn what_cannot_be_shown_is_a_dead_letter_and_costs_nothing() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = Job { item: "{{ day }}{{ photo }} {{ 10 // n }}".to_owned(), ..Job::new(&spy.url) }.project(&[]);
    write(
        &project,
        vec![
            ("id", Arc::new(StringArray::from(vec!["good", "date", "bytes", "division"])) as ArrayRef),
            ("day", Arc::new(Date32Array::from(vec![0, i32::MAX, 0, 0]))),
            ("photo", Arc::new(BinaryArray::from(vec![b"x".as_slice(), b"x", [0xff_u8; 100].as_slice(), b"x"]))),
            ("n", Arc::new(Int64Array::from(vec![2, 2, 2, 0]))),
        ],
    );
    let summary = project.run_pipeline(&[]).json();
    assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["dead_letters"].as_u64()), (Some(1), Some(3)), "{summary}");
    assert_eq!(spy.asked().iter().flat_map(|asked| asked.items()).map(|(_, text)| text).collect::<Vec<_>>(), ["1970-01-01x 5"]);
    let dead = project.query("SELECT id, reason, detail, cost_usd FROM dead_letters ORDER BY id");
    assert!(dead.iter().all(|row| row["reason"] == "template" && row["cost_usd"].as_f64().unwrap_or_default() == 0.0), "{dead:?}");
    assert!(dead[0]["detail"].as_str().is_some_and(|detail| detail.contains("100 bytes that are no text")), "{dead:?}");
    // Settled like any other; a template that is mended asks.
    let again = project.run_pipeline(&[]).json();
    assert_eq!((again["requests"]["sent"].as_u64(), again["rows"]["unchanged"].as_u64()), (Some(0), Some(4)), "{again}");
    let mended = project.run_pipeline(&["--set", "stages.prompt-pack.item={{ id }}"]).json();
    assert_eq!(mended["rows"]["answered"], 4, "{mended}");
}

#[test]
fn an_item_of_nothing_is_not_asked() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = Job::new(&spy.url).project(&["amber", " \n", "beryl"]);
    let summary = project.run_pipeline(&[]).json();
    assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["dead_letters"].as_u64()), (Some(2), Some(1)), "{summary}");
    let dead = project.query("SELECT detail FROM dead_letters");
    assert_eq!(dead[0]["detail"], "the item is empty");
}

#[test]
fn the_words_around_a_pack_may_be_ones_own() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let mut job = Job::new(&spy.url);
    job.rows = "3".to_owned();
    let project = job.project(&["amber", "beryl", "coral"]);
    let sent = |project: &Project| project.run_pipeline(&[]).expect(0).json()["requests"]["sent"].as_u64().expect("a count");
    assert_eq!(sent(&project), 1);
    // Other words are another question.
    let with = |own: &str| job.toml().replace("rows = 3", &format!("rows = 3\ninstructions = {own}"));
    project.write("pipeline.toml", &with("\"{{ count }} items, as JSON: {{ ids | join(', ') }}, each with {{ answer }}.\""));
    assert_eq!((sent(&project), sent(&project)), (1, 0));
    let message = spy.asked().last().expect("one").message().to_owned();
    assert!(message.starts_with("Explain.\n\n3 items, as JSON: r1, r2, r3, each with summary.\n\n{\"id\":\"r1\""), "{message}");
    // Typed answers name their fields.
    let fields = Job { answer: "{ label = { enum = [\"a\", \"b\"] }, score = \"int\" }".to_owned(), ..job.clone() };
    let typed = "\"{% for field in fields %}{{ field.name }}: {{ field.schema }}; {% endfor %}\"";
    project.write("pipeline.toml", &fields.toml().replace("rows = 3", &format!("rows = 3\ninstructions = {typed}")));
    project.run(&["check", "pipeline.toml"]).expect(0);
    for (own, words) in [
        ("\"keys: {{ idz }}\"", "did you mean `ids`?"),
        ("\"{{ items }}\"", "which is no"),
        ("\"{{ ids\"", "instructions"),
        ("\" \"", "says nothing"),
    ] {
        project.write("pipeline.toml", &with(own));
        let checked = project.run(&["check", "pipeline.toml"]).expect(2);
        assert!(checked.stderr.contains(words) && checked.stderr.contains("instructions"), "{own}: {}", checked.stderr);
    }
}
