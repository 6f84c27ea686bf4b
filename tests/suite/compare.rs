//! `compare`: planted differences are found, money is counted, and the pipeline's own state is left alone.

use promptmill_sim::SimConfig;
use serde_json::Value;

use crate::browser::seen_by_a_browser;
use crate::bucket::Bucket;
use crate::spy::{Manner, Spy};
use crate::support::{Project, Ran};

/// A pipeline with a model for each of these servers: name, base URL, price of a million answer tokens.
fn pipeline(servers: &[(&str, &str, f64)]) -> String {
    let mut text = r#"name = "motions"

[source]
path = "motions.parquet"
key = "motion_id"

[[stages]]
use = "filter"
where = "body IS NOT NULL -- blanks are out"

[[stages]]
use = "prompt-pack"
system = "Leg uit in het Nederlands."
prompt = "Schrijf voor elke motie twee zinnen uitleg."
item = "{{ title }}\n\n{{ body }}"
rows = { start = 20, max = 40 }    # adapts
answer = "summary"

[[stages]]
use = "llm"
model = "none-yet"   # to be chosen
max_tokens_per_row = 300

[[stages]]
use = "post-process"
column = "summary"
language = "nl"
steps = [{ use = "reject-language" }, { use = "reject-length", min_chars = 20 }]

[sink]
path = "out/motions"
partition_by = ["year"]

[models.none-yet]
provider = "nobody"
model = "nothing"
price = { input = 1, output = 1 }

[providers.nobody]
kind = "openai"
base_url = "http://127.0.0.1:9"
"#
    .to_owned();
    for (name, url, output) in servers {
        text.push_str(&format!(
            "\n[models.{name}]\nprovider = \"{name}\"\nmodel = \"{name}\"\nprice = {{ input = 0.1, output = {output} }}\n\n[providers.{name}]\nkind = \"openai\"\nbase_url = \"{url}\"\n"
        ));
    }
    text
}

fn server(config: SimConfig) -> Project {
    let mut project = Project::new();
    project.simulate(config);
    project
}

fn faulty(faults: &str) -> SimConfig {
    let mut config = SimConfig::instant();
    for fault in faults.split(',').filter(|fault| !fault.is_empty()) {
        let (name, probability) = fault.split_once('=').expect("a fault");
        config.faults.set(name, probability.parse().expect("a number")).expect("a fault");
    }
    config
}

fn compare(project: &Project, more: &[&str]) -> Ran {
    let mut arguments = vec!["compare", "pipeline.toml", "--output", "json"];
    arguments.extend(more);
    project.run(&arguments)
}

fn names(comparison: &Value) -> Vec<&str> {
    comparison["candidates"].as_array().expect("candidates").iter().map(|one| one["name"].as_str().expect("a name")).collect()
}

#[test]
fn planted_differences_rank_three_models_and_the_same_comparison_again_costs_nothing() {
    let servers = [server(faulty("english=0.6,missing-ids=0.3")), server(faulty("")), server(faulty("english=0.25"))];
    let url = |index: usize| servers[index].simulator().base_url();
    let project = Project::new();
    project.motions(400);
    // The worst one is the cheapest, so that the price alone would choose it.
    let text = pipeline(&[("bad", &url(0), 0.1), ("good", &url(1), 0.9), ("fair", &url(2), 0.4)]);
    project.write("pipeline.toml", &text);
    let asked = || servers.iter().map(|server| server.simulator().ledger().requests).collect::<Vec<_>>();

    let sampled = ["--models", "bad,good,fair", "--sample", "80", "--stratify", "year", "--budget-usd", "0.5"];
    let first = compare(&project, &sampled).expect(0).json();
    assert_eq!(names(&first), ["good", "fair", "bad"], "{first}");
    let candidate = |index: usize| &first["candidates"][index];
    assert_eq!((candidate(0)["first"].as_u64(), candidate(0)["answered"].as_u64()), (Some(80), Some(80)));
    assert!(candidate(1)["rejections"]["wrong-language"].as_u64().is_some_and(|count| count > 5), "{first}");
    assert!(candidate(2)["rejections"]["missing"].as_u64().is_some_and(|count| count > 0), "{first}");
    assert_eq!(candidate(0)["languages"].as_object().map(|of| of.keys().next().cloned()), Some(Some("Dutch".to_owned())));
    let billed: f64 = first["candidates"].as_array().expect("candidates").iter().filter_map(|one| one["cost_usd"].as_f64()).sum();
    assert!((first["cost_usd"].as_f64().expect("a cost") - billed).abs() < 1e-9 && billed > 0.0 && billed < 0.5);
    // And that is what the servers billed, by other prices: tokens are compared.
    for (index, server) in [1, 2, 0].into_iter().enumerate() {
        let ledger = servers[server].simulator().ledger();
        assert_eq!(candidate(index)["output_tokens"].as_u64(), Some(ledger.completion_tokens));
        assert_eq!(candidate(index)["requests"].as_u64(), Some(ledger.requests));
    }
    // Every year has its share of the sample.
    let keys: Vec<String> =
        first["keys"].as_array().expect("keys").iter().map(|key| format!("'{}'", key.as_str().expect("a key"))).collect();
    let query = format!(
        "SELECT year, count(*) AS n, count(*) FILTER (WHERE motion_id IN ({})) AS drawn FROM source WHERE body IS NOT NULL GROUP BY year",
        keys.join(",")
    );
    for row in project.query(&query) {
        let (n, drawn) = (row["n"].as_f64().expect("a count"), row["drawn"].as_f64().expect("a count"));
        assert!((drawn - n / 400.0 * 80.0).abs() <= 1.5, "{row}");
    }
    // The pipeline itself has not run.
    let own = |file: &String| file.starts_with("out/") && !file.starts_with("out/_promptmill/motions/compare/");
    assert!(!project.files().iter().any(own), "{:?}", project.files());

    let before = asked();
    let second = compare(&project, &[&sampled[..], &["--write"]].concat()).expect(0);
    assert_eq!(asked(), before, "nothing was asked again");
    assert_eq!(second.json()["cost_usd"], first["cost_usd"]);
    assert_eq!(second.json()["candidates"], first["candidates"]);
    let written = std::fs::read_to_string(project.path("pipeline.toml")).expect("the file");
    assert_eq!(written, text.replace("model = \"none-yet\"   # to be chosen", "model = \"good\"   # to be chosen"));
}

#[test]
fn one_budget_is_shared_and_never_exceeded_and_more_of_it_carries_on() {
    let servers = [server(faulty("")), server(faulty("english=0.3"))];
    let project = Project::new();
    project.motions(120);
    let url = |index: usize| servers[index].simulator().base_url();
    project.write("pipeline.toml", &pipeline(&[("one", &url(0), 0.6), ("two", &url(1), 0.6)]));
    let sampled = ["--models", "one,two", "--sample", "100", "--set", "stages.prompt-pack.rows=5"];
    let short = compare(&project, &[&sampled[..], &["--budget-usd", "0.008"]].concat()).expect(3);
    let spent = |comparison: &Value| comparison["cost_usd"].as_f64().expect("a cost");
    assert!(spent(&short.json()) <= 0.008 && spent(&short.json()) > 0.004, "{}", spent(&short.json()));
    assert!(short.stderr.contains("--budget-usd"), "{}", short.stderr);
    let whole = compare(&project, &[&sampled[..], &["--budget-usd", "1"]].concat()).expect(0).json();
    assert!(whole["candidates"].as_array().expect("candidates").iter().all(|one| one["not_reached"] == 0), "{whole}");
    assert!(spent(&whole) > spent(&short.json()));
}

#[test]
fn a_judge_is_believed_where_the_order_does_not_matter() {
    let says = |says| Spy::new(Manner { says, ..Manner::default() });
    let dear = says("De motie verzoekt de regering helder om de wachttijden in de zorg te verkorten.");
    let cheap = says("De motie vraagt aan de regering om minder lange wachttijden in de zorg.");
    let judge = Spy::new(Manner { prefers: Some("helder"), ..Manner::default() });
    let biased = Spy::new(Manner::default());
    let project = Project::new();
    project.motions(60);
    project.write(
        "pipeline.toml",
        &pipeline(&[("dear", &dear.url, 9.0), ("cheap", &cheap.url, 0.1), ("judge", &judge.url, 0.1), ("biased", &biased.url, 0.1)]),
    );
    let both = ["--models", "dear,cheap", "--sample", "20"];
    assert_eq!(names(&compare(&project, &both).expect(0).json()), ["cheap", "dear"], "equally right, so the cheaper one");

    let judged = compare(&project, &[&both[..], &["--judge", "judge"]].concat()).expect(0).json();
    assert_eq!(names(&judged), ["dear", "cheap"], "{}", judged["judgement"]);
    let pair = &judged["judgement"]["pairs"][0];
    assert_eq!((pair["wins"].as_u64(), pair["losses"].as_u64(), pair["ties"].as_u64()), (Some(20), Some(0), Some(0)));
    assert!(pair["interval"][0].as_f64().is_some_and(|low| low > 0.8), "{pair}");
    // It was shown both orders, and the task.
    assert_eq!(judge.asked().len(), 40);
    assert!(
        judge
            .asked()
            .iter()
            .all(|asked| asked.body["messages"][0]["content"].as_str().is_some_and(|system| system.contains("Schrijf voor elke motie")))
    );
    compare(&project, &[&both[..], &["--judge", "judge"]].concat()).expect(0);
    assert_eq!(judge.asked().len(), 40, "a judgement is paid for once");

    // A judge that always takes the first answer decides nothing.
    let judged = compare(&project, &[&both[..], &["--judge", "biased"]].concat()).expect(0).json();
    assert_eq!(judged["judgement"]["pairs"][0]["ties"], 20);
    assert_eq!(names(&judged), ["cheap", "dear"]);
}

/// With the state in a bucket, the trials, the judge's pairs and the page are there too.
#[test]
fn a_comparison_lives_where_the_state_lives() {
    let Some(bucket) = Bucket::start() else { return };
    let says = |says| Spy::new(Manner { says, ..Manner::default() });
    let dear = says("De motie verzoekt de regering helder om de wachttijden in de zorg te verkorten.");
    let cheap = says("De motie vraagt aan de regering om minder lange wachttijden in de zorg.");
    let judge = Spy::new(Manner { prefers: Some("helder"), ..Manner::default() });
    let mut project = Project::new();
    project.motions(60);
    project.write("pipeline.toml", &pipeline(&[("dear", &dear.url, 9.0), ("cheap", &cheap.url, 0.1), ("judge", &judge.url, 0.1)]));
    bucket.take(&mut project);
    let asked = || [&dear, &cheap, &judge].map(|spy| spy.asked().len());
    let sampled = ["--models", "dear,cheap", "--sample", "20", "--judge", "judge"];
    let first = compare(&project, &sampled).expect(0);
    assert_eq!(names(&first.json()), ["dear", "cheap"], "as judged");
    assert!(first.stderr.contains("s3://lake/out/_promptmill/motions/compare/"), "{}", first.stderr);
    let objects = bucket.list();
    assert!(objects.iter().any(|name| name.ends_with("/compare.html")), "{objects:?}");
    assert!(objects.iter().all(|name| name.starts_with("in/") || name.starts_with("out/_promptmill/motions/compare/")), "{objects:?}");
    assert!(!project.path("out").exists(), "nothing on the local disk");
    let before = asked();
    assert_eq!(compare(&project, &sampled).expect(0).json()["candidates"], first.json()["candidates"]);
    assert_eq!(asked(), before, "nothing was asked again");
}

#[test]
fn a_planted_drop_above_sixteen_rows_is_found_and_none_where_there_is_none() {
    let mut drops = SimConfig::instant();
    (drops.careless.behind, drops.careless.share) = (Some(16), 0.7);
    let servers = [server(drops), server(faulty("english=0.05,truncated=0.05"))];
    let project = Project::new();
    project.motions(200);
    let url = |index: usize| servers[index].simulator().base_url();
    let text = pipeline(&[("drops", &url(0), 0.6), ("steady", &url(1), 0.6)]);
    project.write("pipeline.toml", &text);
    let sizes = ["--rows", "8,16,32", "--sample", "64"];

    let found = compare(&project, &[&sizes[..], &["--models", "drops", "--write"]].concat()).expect(0).json();
    let packs = &found["packs"];
    assert_eq!(packs["chosen"], 16, "{packs}");
    let loses: Vec<bool> = packs["sizes"].as_array().expect("sizes").iter().filter_map(|size| size["loses"].as_bool()).collect();
    assert_eq!(loses, [false, false, true]);
    let places = &packs["sizes"][2]["places"];
    let likeness = |group: usize| places[group]["likeness"].as_f64().expect("a likeness");
    assert!(likeness(0) > 0.95 && likeness(1) > 0.95 && likeness(2) < 0.7 && likeness(3) < 0.7, "by place: {places}");
    let written = std::fs::read_to_string(project.path("pipeline.toml")).expect("the file");
    assert_eq!(written, text.replace("rows = { start = 20, max = 40 }    # adapts", "rows = { start = 16, max = 16 }    # adapts"));

    let none = compare(&project, &[&sizes[..], &["--models", "steady"]].concat()).expect(0).json();
    assert_eq!(none["packs"]["chosen"], 32, "{}", none["packs"]);
    // Larger packs share the prompt: they are cheaper, and the trial says so.
    let cost = |index: usize| none["candidates"][index]["cost_per_1000_rows_usd"].as_f64().expect("a cost");
    assert!(cost(2) < cost(0), "{} {}", cost(2), cost(0));
}

#[test]
fn the_page_is_searchable_and_what_models_wrote_stays_text() {
    let says = |says| Spy::new(Manner { says, ..Manner::default() });
    let evil = says("De motie verzoekt de regering <script>document.title='owned'</script> om de zorg te verbeteren.");
    let tame = says("De motie vraagt de regering om in de zorg de wachttijden korter te maken.");
    let project = Project::new();
    project.motions(30);
    project.write("pipeline.toml", &pipeline(&[("evil", &evil.url, 0.6), ("tame", &tame.url, 0.6)]));
    let ran = project.run(&["compare", "pipeline.toml", "--models", "evil,tame", "--sample", "12", "--html", "page.html"]).expect(0);
    assert!(ran.stdout.contains("right at first") && ran.stderr.contains("page.html"), "{}{}", ran.stdout, ran.stderr);
    let html = std::fs::read_to_string(project.path("page.html")).expect("the page");
    assert_eq!(html.matches("<script").count(), 1, "its own");
    assert_eq!(html.matches("<article").count(), 12);
    let key = html.split("who key\">").nth(3).and_then(|rest| rest.split('<').next()).expect("a key").to_owned();
    if let Some(dom) = seen_by_a_browser(&project.path("page.html"), &format!("#q={key}")) {
        assert!(dom.contains("<title>motions: models compared"), "the script of an answer has not run");
        assert_eq!(dom.matches("class=\"card row\" hidden").count(), 11, "all but the row that was searched for are hidden");
        assert!(dom.contains("1 of 12 rows"));
    }
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    let spy = Spy::new(Manner::default());
    let project = Project::new();
    project.motions(20);
    project.write("pipeline.toml", &pipeline(&[("known", &spy.url, 0.6)]));
    for (arguments, code, said) in [
        (&["--models", "knwon"][..], 2, "did you mean"),
        (&["--models", "known,known"], 1, "named twice"),
        (&["--models", "known", "--stratify", "yaer"], 1, "--stratify year"),
        (&["--models", "known", "--judge", "nobody-knows"], 2, "unknown model"),
        (&["--rows", "1,4", "--models", "known,none-yet"], 1, "about one model"),
        (&[], 2, "--models"),
    ] {
        let ran = compare(&project, arguments).expect(code);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    assert!(spy.asked().is_empty());
}
