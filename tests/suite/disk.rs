//! A disk that fills up, and a source that is damaged, or changes while it is read.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use promptmill_sim::SimConfig;
use promptmill_sim::motions::{Options, write_parquet};

use crate::support::{Project, Ran};

fn slow_project() -> Project {
    let mut config = SimConfig::default();
    config.latency.base_ms = 100.0;
    Project::simulated(200, config)
}

/// The binary where no file may grow beyond so many kilobytes: what a full disk does to whoever writes.
fn with_little_room(project: &Project, kilobytes: u32) -> Ran {
    let inner = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kilobytes * 2)]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.folder.path()).stdin(Stdio::null());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
    command.output().expect("a shell").into()
}

#[test]
fn a_full_disk_ends_the_run_with_its_name_and_what_was_journalled_is_kept() {
    let project = Project::simulated(300, SimConfig::instant());
    let ran = with_little_room(&project, 60).expect(1);
    assert!(ran.stderr.contains("out/_promptmill/motions/journal/00000001.log` could not be written"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint:") && ran.stderr.contains("run again"), "{}", ran.stderr);
    let paid = project.simulator().ledger().items.paid;
    let summary = project.run_pipeline(&[]).expect(0).json();
    // What was journalled has been committed as well, if there was room for that.
    let kept: u64 = ["from_journal", "unchanged"].iter().filter_map(|kept| summary["rows"][*kept].as_u64()).sum();
    assert!(kept > 0, "{summary}");
    project.assert_settled_once();
    project.assert_money_agrees();
    assert!(project.simulator().ledger().items.paid < paid + 300);
}

#[test]
fn a_source_that_changes_or_disappears_during_the_run_is_noticed() {
    for disappears in [true, false] {
        let project = slow_project();
        let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let until = Instant::now() + Duration::from_secs(30);
        while project.simulator().ledger().requests < 3 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if disappears {
            std::fs::rename(project.path("motions.parquet"), project.path("elsewhere")).expect("moved");
        } else {
            write_parquet(&project.path("motions.parquet"), &Options { seed: 12, rows: 210, ..Options::default() }).expect("motions");
        }
        let ran = Ran::from(child.wait_with_output().expect("ends")).expect(1);
        let what = if disappears { "disappeared" } else { "changed" };
        assert!(ran.stderr.contains("motions.parquet` ") && ran.stderr.contains(what) && ran.stderr.contains("hint:"), "{}", ran.stderr);
        if disappears {
            std::fs::rename(project.path("elsewhere"), project.path("motions.parquet")).expect("moved back");
        }
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(summary["rows"]["remaining"], 0, "{summary}");
        project.assert_settled_once_of(&[]);
        project.assert_money_agrees();
    }
}

#[test]
fn a_source_that_cannot_be_read_is_named_with_what_is_wrong() {
    let project = Project::new();
    project.motions(300);
    let whole = std::fs::read(project.path("motions.parquet")).expect("motions");
    std::fs::create_dir(project.path("in")).expect("a folder");
    std::fs::write(project.path("in/a.parquet"), &whole).expect("written");
    project.write(
        "pipeline.toml",
        "[source]\npath = \"in\"\nkey = \"motion_id\"\n\n[[stages]]\nuse = \"prompt-pack\"\nprompt = \"Leg uit.\"\nitem = \"{{ body }}\"\n\n\
         [[stages]]\nuse = \"llm\"\nmodel = \"builtin/extractive\"\n\n[sink]\npath = \"out/results\"\n",
    );
    write_parquet(&project.path("other.parquet"), &Options { seed: 11, from: 300, rows: 300, ..Options::default() }).expect("motions");
    let whole = std::fs::read(project.path("other.parquet")).expect("motions");
    let mut middle = whole.clone();
    let at = middle.len() / 3;
    middle[at..at + 2_000].fill(0xa5);
    let encrypted = [b"PARE".as_slice(), &whole[4..whole.len() - 4], b"PARE"].concat();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("truncated", whole[..whole.len() / 2].to_vec(), "cannot be read as Parquet"),
        ("empty", Vec::new(), "is empty"),
        ("no Parquet", b"motion_id,title\n1,x\n".repeat(40), "cannot be read as Parquet"),
        ("encrypted", encrypted, "encrypted"),
        ("damaged inside", middle, "cannot be read as Parquet"),
    ];
    for (name, bytes, says) in cases {
        std::fs::write(project.path("in/b.parquet"), bytes).expect("written");
        let ran = project.run(&["run", "pipeline.toml", "--progress", "none"]);
        assert!(ran.code == 1 || ran.code == 2, "{name}: {} {}{}", ran.code, ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("in/b.parquet") && ran.stderr.contains(says), "{name}: {}", ran.stderr);
    }
    std::fs::remove_file(project.path("in/b.parquet")).expect("removed");
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0, "{summary}");
}
