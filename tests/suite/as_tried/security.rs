//! What may not get out: keys in URLs, sequences that steer a terminal, files that others may read.

use std::os::unix::fs::PermissionsExt;

use super::Job;
use crate::spy::{Reply, Spy};

const SECRET: &str = "sk-query-0123456789abcdef";

#[test]
fn the_query_of_a_base_url_is_in_no_message_and_no_file() {
    for status in [403, 401, 404, 400, 500] {
        let spy = Spy::scripted(move |asked, number| match number {
            1 => Reply::error(status, "not allowed"),
            _ => Reply::says(asked, |text| format!("About {text}")),
        });
        let mut job = Job::new(&format!("{}?api-key=${{SECRET}}", spy.url));
        job.llm = "concurrency = 1\nattempts = 2".to_owned();
        let mut project = job.project(&["one"]);
        project.environment.push(("SECRET", SECRET.to_owned()));
        for arguments in
            [&["run", "pipeline.toml"][..], &["run", "pipeline.toml"], &["check", "pipeline.toml"], &["report", "pipeline.toml"]]
        {
            let ran = project.run(arguments);
            assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{status}: {}{}", ran.stdout, ran.stderr);
        }
        assert!(spy.asked().iter().all(|asked| asked.head.contains(SECRET)), "it is sent");
        for file in project.files() {
            let bytes = std::fs::read(project.path(&file)).expect("a file");
            assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{status}: the secret is in {file}");
        }
    }
}

#[test]
fn answers_do_not_steer_the_terminal() {
    let evil = "harmless\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}gnirts\u{2066}\r";
    let spy = Spy::scripted(move |asked, _| Reply::says(asked, |_| evil.to_owned()));
    let project = Job::new(&spy.url).project(&["one"]);
    project.run_pipeline(&[]).expect(0);
    for query in ["SELECT summary FROM results", "SELECT raw_response FROM attempts", "SELECT make_array(summary) FROM results"] {
        let table = project.run(&["sql", "pipeline.toml", query]).expect(0).stdout;
        let steers = |character: char| (character.is_control() && character != '\n') || "\u{202e}\u{2066}\u{61c}".contains(character);
        assert!(table.contains("harmless") && !table.contains(steers), "{query}: {table:?}");
    }
    // What a program reads is what was said.
    let json = project.query("SELECT summary FROM results");
    assert!(json[0]["summary"].as_str().is_some_and(|text| text.contains('\u{1b}') && text.contains('\u{202e}')), "{json:?}");
    let csv = project.run(&["sql", "pipeline.toml", "SELECT summary FROM results", "--output", "csv"]).expect(0).stdout;
    assert!(csv.contains('\u{202e}'), "{csv:?}");
}

#[test]
fn files_are_their_owners_unless_asked_for() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("About {text}")));
    for (more, others) in [("", false), ("[state]\naccess = \"umask\"", true)] {
        let mut job = Job::new(&spy.url);
        job.more = more.to_owned();
        let project = job.project(&["one", "two"]);
        project.run_pipeline(&[]).expect(0);
        project.run(&["compare", "pipeline.toml", "--models", "m", "--sample", "2"]).expect(0);
        let made: Vec<String> = project.files().into_iter().filter(|file| file.starts_with("out/")).collect();
        assert!(made.len() > 4, "{made:?}");
        let mode = |path: &str| std::fs::metadata(project.path(path)).expect("is there").permissions().mode();
        let open: Vec<&String> = made.iter().filter(|file| mode(file) & 0o077 != 0).collect();
        if others {
            // The usual umask lets others read; one that does not leaves nothing to show.
            let usual = mode("pipeline.toml") & 0o077 != 0;
            assert_eq!(!open.is_empty(), usual, "{made:?}");
        } else {
            assert!(open.is_empty(), "{open:?}");
            assert_eq!(mode("out/results") & 0o077, 0);
        }
    }
}
