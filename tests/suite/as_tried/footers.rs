//! What the footers of many files said is kept: the next plan reads those that are new, and believes nothing of one that has
//! changed.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::{Job, write_rows};
use crate::bucket::Bucket;
use crate::support::Project;

const FILES: usize = 80;

fn project(source: &str) -> Project {
    let mut job = Job::new("http://127.0.0.1:9");
    job.source = format!("path = \"{source}\"\nkey = \"id\"");
    let project = Project::new();
    project.write("pipeline.toml", &job.toml());
    project
}

#[test]
fn a_footer_is_read_again_only_if_its_file_has_changed() {
    let project = project("in");
    std::fs::create_dir(project.path("in")).expect("a folder");
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    let age = |name: &str, modified| {
        File::options().write(true).open(project.path(name)).expect("opens").set_modified(modified).expect("made older");
    };
    let put = |name: &str, bodies: &[&str]| {
        write_rows(&project, name, bodies);
        age(name, long_ago);
    };
    (0..FILES).for_each(|number| put(&format!("in/{number:03}.parquet"), &["amber"]));
    let check = |code| project.run(&["check", "pipeline.toml"]).expect(code);
    assert!(check(0).stdout.contains("80 files, 80 rows"));
    let cache = project.path("out/_promptmill/job/footers.cache");
    assert!(cache.exists());
    // Nobody looks into a file that is what it was.
    let victim = project.path("in/007.parquet");
    let whole = std::fs::read(&victim).expect("read");
    let spoil = |modified| {
        std::fs::write(&victim, vec![7; whole.len()]).expect("written");
        age("in/007.parquet", modified);
    };
    spoil(long_ago);
    assert!(check(0).stdout.contains("80 files, 80 rows"));
    // Another age is another file.
    spoil(long_ago + Duration::from_secs(1));
    assert!(check(2).stderr.contains("007.parquet"));
    std::fs::write(&victim, &whole).expect("written");
    age("in/007.parquet", long_ago + Duration::from_secs(2));
    check(0);
    // So is another size, and a file that has come.
    put("in/008.parquet", &["amber", "beryl"]);
    put("in/100.parquet", &["coral"]);
    std::fs::remove_file(project.path("in/009.parquet")).expect("removed");
    assert!(check(0).stdout.contains("80 files, 81 rows"));
    // A cache that is no longer whole is none.
    let bytes = std::fs::read(&cache).expect("read");
    for broken in [&bytes[..bytes.len() / 2], b"PMFOOT02".as_slice(), b"", &[&bytes[..bytes.len() - 1], b"~"].concat()] {
        std::fs::write(&cache, broken).expect("written");
        assert!(check(0).stdout.contains("80 files, 81 rows"));
        assert_eq!(std::fs::read(&cache).expect("read").len(), bytes.len(), "it is written anew");
    }
}

#[test]
fn in_a_bucket_the_second_plan_asks_for_no_footer_and_sql_for_each_once() {
    let Some(bucket) = Bucket::start() else { return };
    let mut project = project("s3://lake/in");
    project.environment = bucket.environment();
    write_rows(&project, "one.parquet", &["amber"]);
    let whole = std::fs::read(project.path("one.parquet")).expect("read");
    let put = |number: usize| bucket.put(&format!("in/{number:03}.parquet"), whole.clone());
    let gets = |arguments: &[&str]| {
        let before = bucket.requests("GET");
        project.run(arguments).expect(0);
        bucket.requests("GET") - before
    };
    (0..20).for_each(put);
    // Before there are results, too: each file, of which the footer is part, and a few lists.
    let asked = gets(&["sql", "pipeline.toml", "SELECT count(body) FROM source"]);
    assert!((20..40).contains(&asked), "{asked} for 20 files");
    (20..FILES).for_each(put);
    let (first, second) = (gets(&["check", "pipeline.toml"]), gets(&["check", "pipeline.toml"]));
    assert!(first >= FILES as u64 && second < 20, "{first}, then {second} requests");
    put(3);
    write_rows(&project, "other.parquet", &["amber", "beryl"]);
    bucket.put("in/004.parquet", std::fs::read(project.path("other.parquet")).expect("read"));
    let third = gets(&["check", "pipeline.toml"]);
    assert!(third < 20, "{third} requests after two files have changed");
    assert_eq!(project.number("SELECT count(body) FROM source"), 81.0);
}
