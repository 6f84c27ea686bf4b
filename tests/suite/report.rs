//! `report`: a page that says what the record says, and on which nothing that a model wrote is more than text.

use promptmill_sim::SimConfig;

use crate::browser::seen_by_a_browser;
use crate::spy::{Manner, Spy};
use crate::support::Project;

fn page_of(project: &Project, more: &[&str]) -> (std::path::PathBuf, String) {
    let mut arguments = vec!["report", "pipeline.toml"];
    arguments.extend(more);
    let path = project.path(project.run(&arguments).expect(0).stdout.trim());
    let html = std::fs::read_to_string(&path).expect("the page");
    (path, html)
}

#[test]
fn it_says_what_the_run_says() {
    let mut config = SimConfig::instant();
    config.seed = 5;
    config.faults.set("english", 0.3).expect("a fault");
    let project = Project::simulated(120, config);
    project.write("pipeline.toml", &project.simulated_pipeline("attempts = 2"));
    let summary = project.run_pipeline(&["--budget-usd", "3"]).expect(0).json();
    let (path, html) = page_of(&project, &[]);
    let run_id = summary["run_id"].as_str().expect("an id");
    assert!(path.ends_with(format!("out/_promptmill/motions/reports/{run_id}.html")), "{}", path.display());
    let (cost, dead) = (project.number("SELECT sum(cost_usd) FROM attempts"), summary["rows"]["dead_letters"].as_u64().expect("a count"));
    let cost = format!("{cost:.9}");
    for said in [
        run_id.to_owned(),
        format!("<strong>{}</strong>", summary["rows"]["answered"]),
        format!("<strong>{dead}</strong>"),
        format!("${}", cost.trim_end_matches('0')),
        "of a budget of $3.00".to_owned(),
        format!("<bdi>english-words</bdi></td><td class=\"number\"><bdi>{}</bdi>", summary["rejections"]["english-words"]),
        "rows per request".to_owned(),
        "<bdi>start 10, min 10, max 10</bdi>".to_owned(),
    ] {
        assert!(html.contains(&said), "the page does not say {said}");
    }
    assert!(dead > 0 && html.contains("Some of them"));
    // Answers stand beside what was asked: an item has the mark that the pipeline puts into it.
    assert!(html.matches("<article").count() == 12 && html.matches("[[").count() >= 24, "items beside answers");
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.replace(&project.simulator().base_url(), "").contains(outside), "the page names something outside: {outside}");
    }
}

#[test]
fn a_script_in_an_answer_stays_text_also_in_a_browser() {
    let says = "De motie verzoekt de regering <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> te handelen in de zorg.";
    let spy = Spy::new(Manner { says, ..Manner::default() });
    let mut project = Project::new();
    project.motions(20);
    project.simulate(SimConfig::instant());
    let text = project.simulated_pipeline("");
    project.write("pipeline.toml", &text.replace(&project.simulator().base_url(), &spy.url));
    project.run_pipeline(&[]).expect(0);
    let (path, html) = page_of(&project, &["--to", "page.html"]);
    let path = if path.exists() { path } else { project.path("page.html") };
    assert!(html.contains("&lt;script&gt;document.title=") && !html.contains("<script") && !html.contains("<img"));
    if let Some(dom) = seen_by_a_browser(&path, "") {
        assert!(dom.contains("<title>motions: run ") && !dom.contains("<title>owned"), "{}", &dom[..500]);
        assert!(dom.contains("&lt;script&gt;document.title=") && !dom.contains("<img"));
        assert!(dom.matches("<article").count() == 12, "the answers are shown");
    }
}

#[test]
fn a_run_that_is_not_there_is_told() {
    let project = Project::simulated(10, SimConfig::instant());
    let ran = project.run(&["report", "pipeline.toml"]).expect(1);
    assert!(ran.stderr.contains("has not run yet") && ran.stderr.contains("promptmill run pipeline.toml"), "{}", ran.stderr);
    let first = project.run_pipeline(&[]).expect(0).json();
    project.run_pipeline(&[]).expect(0);
    let (_, html) = page_of(&project, &["--run", first["run_id"].as_str().expect("an id")]);
    assert!(html.contains("<strong>10</strong>"), "the first run answered");
    // The last one had nothing to do, and has a page all the same.
    assert!(page_of(&project, &[]).1.contains("Nothing was sent in this run"));
    let ran = project.run(&["report", "pipeline.toml", "--run", "nope"]).expect(1);
    assert!(ran.stderr.contains("there is no run `nope`"), "{}", ran.stderr);
}
