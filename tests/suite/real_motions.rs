//! Real Dutch motions, where a folder with them is at hand: `PROMPTMILL_REAL_MOTIONS` names the Parquet file.
//! They are not shipped, so without the variable these tests have nothing to look at and say so.

use promptmill_sim::SimConfig;

use crate::support::Project;

/// A project over the real motions; `None` where there are none.
fn real() -> Option<(Project, String)> {
    let path = std::env::var("PROMPTMILL_REAL_MOTIONS").ok()?;
    Some((Project::new(), path))
}

#[test]
fn real_motions_through_the_extractive_model() {
    let Some((project, path)) = real() else {
        eprintln!("skipped: PROMPTMILL_REAL_MOTIONS is not set");
        return;
    };
    let text = std::fs::read_to_string(crate::support::root().join("pipelines/motions.toml")).expect("the pipeline");
    project.write("pipeline.toml", &text.replace("${MOTIONS:-pipelines/data/motions-sample.parquet}", &path));
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0);
    project.assert_settled_once();
    let (results, dead) = (project.number("SELECT count(*) FROM results"), project.number("SELECT count(*) FROM dead_letters"));
    assert!(dead <= results * 0.01, "{dead} dead letters, {results} results");
}

#[test]
fn real_motions_through_a_provider_with_every_fault() {
    let Some((mut project, path)) = real() else {
        eprintln!("skipped: PROMPTMILL_REAL_MOTIONS is not set");
        return;
    };
    let mut config = SimConfig::instant();
    config.faults.set("all", 0.02).expect("a fault");
    config.huge_body_mb = 20;
    config.slow_body_ms = 500;
    project.simulate(config);
    let pipeline = project.simulated_pipeline("concurrency = 32\ntimeout = \"3s\"\nattempts = 8");
    project.write("pipeline.toml", &pipeline.replace("path = \"motions.parquet\"", &format!("path = \"{path}\"")));
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
    let spent = project.assert_money_agrees();
    let ledger = project.simulator().ledger();
    let foreign = project.query("SELECT motion_id FROM results WHERE strpos(summary, '[[' || motion_id || ']]') = 0");
    let unexplained =
        foreign.iter().filter(|row| !ledger.swapped.iter().flatten().any(|marker| row["motion_id"].as_str() == Some(marker))).count();
    assert_eq!(unexplained, 0, "answers on wrong keys");
    assert_eq!(spent, ledger.billed_nano_usd as i64, "attempts and the provider's bill differ");
}
