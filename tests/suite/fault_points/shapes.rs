//! The operations whose points are tried: what comes before, the command that is disturbed, and what has to be there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::{Expected, Row, Trial, command, job, row, run, server, write_rows};
use crate::as_tried::Job;
use crate::bucket::Bucket;
use crate::spy::Spy;
use crate::support::Project;

/// One of them.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Does what comes before.
    before: fn(&Scene<'_>),
    /// What is disturbed, and what mends it.
    pub(crate) command: &'static [&'static str],
    pub(crate) again: &'static [&'static str],
    /// Whether all rows are written anew and put in place of the old ones.
    pub(crate) makes_a_generation: bool,
    pub(crate) expected: fn() -> Expected,
}

/// A project before the command that is disturbed: copied for every point.
pub(crate) struct Scene<'b> {
    trial: Trial<'b>,
    /// What is in the bucket, if there is one.
    objects: Vec<(String, Vec<u8>)>,
    job: Job,
    answers_dead: Arc<AtomicBool>,
    _server: Spy,
}

impl<'b> Scene<'b> {
    /// On the disk, or with results and state in a bucket, which is emptied.
    pub(crate) fn of(shape: &Shape, bucket: Option<&'b Bucket>) -> Self {
        let answers_dead = Arc::new(AtomicBool::new(false));
        let server = server(&answers_dead);
        let mut project = Project::new();
        if let Some(bucket) = bucket {
            bucket.restore(&[]);
            project.environment = bucket.environment();
        }
        let trial = Trial { project, bucket };
        let mut scene = Self { trial, objects: Vec::new(), job: job(&server.url), answers_dead, _server: server };
        scene.write(|_| {});
        (shape.before)(&scene);
        scene.objects = bucket.map(Bucket::contents).unwrap_or_default();
        scene
    }

    /// A copy of it. In a bucket there is one at a time.
    pub(crate) fn copy(&self) -> Trial<'b> {
        let mut project = Project::new();
        copy_folder(self.trial.project.folder.path(), project.folder.path());
        if let Some(bucket) = self.trial.bucket {
            bucket.restore(&self.objects);
            project.environment = bucket.environment();
        }
        Trial { project, bucket: self.trial.bucket }
    }

    fn write(&self, change: impl FnOnce(&mut Job)) {
        let mut job = self.job.clone();
        change(&mut job);
        let toml = match self.trial.bucket {
            Some(_) => job.toml().replace("\"out/results\"", "\"s3://lake/out/results\""),
            None => job.toml(),
        };
        self.trial.project.write("pipeline.toml", &toml);
    }

    fn rows(&self, rows: &[Row]) {
        write_rows(&self.trial.project, rows);
    }

    fn run(&self) {
        run(command(&self.trial.project, &["run"])).expect(0);
    }

    fn commits(&self) -> usize {
        let names = self.trial.bucket.map_or_else(|| self.trial.project.files().into_iter().collect(), Bucket::list);
        names.iter().filter(|name| name.contains("/job/commits/")).count()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).expect("a folder");
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}

fn base() -> Vec<Row> {
    (0..8).map(row).collect()
}

/// Two have gone, two have come, and every other one is new.
fn later() -> Vec<Row> {
    let changed = |row: Row| if row.id % 2 == 0 { Row { body: format!("new {}", row.body), ..row } } else { row };
    (2..10).map(row).map(changed).collect()
}

fn expects(rows: Vec<Row>) -> Expected {
    Expected { rows, says: "Answer to ", said: "Answer to ", answers_dead: false, answers: 1, rows_bear_all: true, bare: true }
}

fn settle(scene: &Scene<'_>) {
    scene.rows(&base());
    scene.run();
}

fn settle_as_delta(scene: &Scene<'_>) {
    delta(scene);
    settle(scene);
}

fn delta(scene: &Scene<'_>) {
    scene.write(|job| job.sink.push_str("\nformat = \"delta\""));
}

/// So many small files of results, dead letters and the index that the next run merges all of them.
fn scatter(scene: &Scene<'_>) {
    for more in 0..16 {
        scene.rows(&scattered(more));
        scene.run();
    }
}

fn scattered(more: i64) -> Vec<Row> {
    let dead = (0..=more).map(|id| Row { id: 100 + id, body: format!("dead {id}") });
    (0..=more).map(row).filter(|row| row.id != 3).chain(dead).collect()
}

pub(crate) const SHAPES: [Shape; 10] = [
    Shape {
        name: "first",
        before: |scene| scene.rows(&base()),
        command: &["run"],
        again: &["run"],
        makes_a_generation: false,
        expected: || expects(base()),
    },
    Shape {
        name: "swap",
        before: |scene| {
            settle(scene);
            scene.rows(&later());
        },
        command: &["run", "--prune"],
        again: &["run", "--prune"],
        makes_a_generation: false,
        expected: || Expected { rows_bear_all: false, ..expects(later()) },
    },
    Shape {
        name: "merge",
        before: |scene| {
            scatter(scene);
            scene.rows(&scattered(16));
        },
        command: &["run"],
        again: &["run"],
        makes_a_generation: false,
        expected: || expects(scattered(16)),
    },
    Shape {
        name: "fresh",
        before: settle,
        command: &["run", "--fresh"],
        again: &["run"],
        makes_a_generation: true,
        expected: || Expected { answers: 2, ..expects(base()) },
    },
    Shape {
        name: "replay",
        before: |scene| {
            settle(scene);
            let steps = "[[stages]]\nuse = \"post-process\"\ncolumn = \"summary\"\n\
                         steps = [{ use = \"remove-pattern\", pattern = \"^Answer \" }]";
            scene.write(|job| job.stages = steps.to_owned());
        },
        command: &["replay"],
        again: &["replay"],
        makes_a_generation: true,
        expected: || Expected { says: "to ", ..expects(base()) },
    },
    Shape {
        name: "retry",
        before: |scene| {
            settle(scene);
            scene.answers_dead.store(true, Ordering::Relaxed);
        },
        command: &["run", "--retry-dead-letters"],
        again: &["run", "--retry-dead-letters"],
        makes_a_generation: false,
        expected: || Expected { answers_dead: true, ..expects(base()) },
    },
    Shape {
        name: "checkpoint",
        before: |scene| {
            let mut rows = 1;
            while scene.commits() < 48 {
                scene.rows(&scattered(rows));
                scene.run();
                rows += 1;
            }
            scene.rows(&scattered(29));
        },
        command: &["run"],
        again: &["run"],
        makes_a_generation: false,
        expected: || expects(scattered(29)),
    },
    Shape {
        name: "delta-first",
        before: |scene| {
            delta(scene);
            scene.rows(&base());
        },
        command: &["run"],
        again: &["run"],
        makes_a_generation: false,
        expected: || Expected { bare: false, ..expects(base()) },
    },
    Shape {
        name: "delta-swap",
        before: |scene| {
            settle_as_delta(scene);
            scene.rows(&later());
        },
        command: &["run", "--prune"],
        again: &["run", "--prune"],
        makes_a_generation: false,
        expected: || Expected { bare: false, rows_bear_all: false, ..expects(later()) },
    },
    Shape {
        name: "delta-fresh",
        before: settle_as_delta,
        command: &["run", "--fresh"],
        again: &["run"],
        makes_a_generation: true,
        expected: || Expected { bare: false, answers: 2, ..expects(base()) },
    },
];
