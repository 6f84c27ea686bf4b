//! `init` leaves a pipeline that runs as it stands, and never takes anything away.

use crate::support::Project;

#[test]
fn what_it_writes_runs_at_once_and_with_the_commands_that_it_prints() {
    let project = Project::new();
    let printed = project.run(&["init", "demo"]).expect(0).stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed}");
    let script = printed.replace("promptmill", &format!("'{}'", env!("CARGO_BIN_EXE_promptmill")));
    let mut shell = std::process::Command::new("sh");
    let output = shell
        .args(["-ec", &script])
        .current_dir(project.folder.path())
        .env("PROMPTMILL_LANES", project.path("lanes"))
        .output()
        .expect("a shell");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("completed") && out.contains("| motion_id"), "{out}");
    // The rows have no doubles, blanks are left out, and nothing is left over.
    let rows = project.path("demo/out/motions");
    assert!(rows.is_dir() && !project.path("out").exists(), "results are in the folder");
    // What the comments lead to is right as well, but for the key that nobody has set.
    let mut check = project.command(&["check", "pipeline.toml", "--set", "stages.llm.model=mistral-small"]);
    let check = check.current_dir(project.path("demo")).env("OPENROUTER_API_KEY", "k").output().expect("the binary runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

/// Refusals and copies are answers to every other check: whatever is shipped turns them away.
#[test]
fn every_shipped_pipeline_turns_refusals_and_copies_away() {
    let project = Project::new();
    project.run(&["init"]).expect(0);
    let mut texts = vec![std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline")];
    for file in std::fs::read_dir(crate::support::root().join("pipelines")).expect("a folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|end| end == "toml") {
            texts.push(std::fs::read_to_string(path).expect("a pipeline"));
        }
    }
    assert!(texts.len() > 1);
    for text in texts {
        assert!(["reject-refusal", "reject-echo"].iter().all(|step| text.contains(&format!("{{ use = \"{step}\""))), "{text}");
    }
}

#[test]
fn nothing_is_written_over_unless_it_is_asked_for() {
    let project = Project::new();
    project.write("pipeline.toml", "mine");
    let ran = project.run(&["init"]).expect(1);
    assert!(ran.stderr.contains("`./pipeline.toml` is there already") && ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(project.path("pipeline.toml")).expect("the file"), "mine");
    assert!(!project.path("data").exists(), "not even half of it");
    let printed = project.run(&["init", "--force"]).expect(0).stdout;
    assert!(printed.starts_with("promptmill run pipeline.toml\n"), "{printed}");
    project.run(&["check", "pipeline.toml"]).expect(0);
}
