//! Every single operation on files, and every request to a store, goes wrong once: the process is killed before it, the
//! power fails, it is refused, its answer gets lost. Then the job is run again, undisturbed, and must end as if nothing had
//! been.
//!
//! In the usual case a sample of all points is tried. `PROMPTMILL_FAULT_POINTS=all` tries all of them, a number so many,
//! and `swap`, `swap/cut` or `swap/cut/17` (in a bucket `s3/swap/lost/17`) those of one operation, of one fault, or that
//! one. `PROMPTMILL_FAULT_SEED` draws another sample.

pub(crate) mod scene;
mod shapes;
pub(crate) mod shim;

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::bucket::Bucket;
use crate::support::Ran;
use scene::{Trial, command, first_lines, run, wrong, wrong_in_folder};
use shapes::{SHAPES, Scene, Shape};
use shim::Mode;

/// Points in the usual case, on the disk and in a bucket.
const USUAL_POINTS: [usize; 2] = [60, 20];
/// Points beyond the operations that were counted: how many there are depends on who came first.
const BEYOND: u64 = 3;
/// Points on the disk that are tried at once.
const WORKERS: usize = 2;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Disk(Mode),
    /// A request to the store: `tests/s3/server.py` says more about each kind.
    Request(&'static str, IsOn),
}

/// Whether all later ones go wrong alike.
type IsOn = bool;

const DISK_FAULTS: [Fault; 8] = [
    Fault::Disk(Mode::Kill),
    Fault::Disk(Mode::Cut),
    Fault::Disk(Mode::Zero),
    Fault::Disk(Mode::Torn),
    Fault::Disk(Mode::Once),
    Fault::Disk(Mode::Full),
    Fault::Disk(Mode::Dead),
    Fault::Disk(Mode::Unread),
];
const REQUEST_FAULTS: [Fault; 9] = [
    Fault::Request("denied", false),
    Fault::Request("expired", true),
    Fault::Request("500", false),
    Fault::Request("conflict", false),
    Fault::Request("reset", false),
    Fault::Request("lost", false),
    Fault::Request("torn", false),
    Fault::Request("kill", false),
    Fault::Request("kill-after", false),
];
impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Disk(mode) => mode.name(),
            Self::Request(kind, _) => kind,
        }
    }
}

/// An operation of a shape that goes wrong.
#[derive(Clone, Copy)]
struct Point {
    shape: usize,
    fault: Fault,
    at: u64,
}

impl Point {
    fn name(&self) -> String {
        let store = if matches!(self.fault, Fault::Disk(_)) { "" } else { "s3/" };
        format!("{store}{}/{}/{}", SHAPES[self.shape].name, self.fault.name(), self.at)
    }
}

/// How many operations of the kind that a fault strikes a shape has.
fn count(shape: &Shape, scene: &Scene<'_>, fault: Fault) -> u64 {
    let trial = scene.copy();
    let (ran, told) = disturb(shape, &trial, fault, 0);
    let wrong = wrong(&trial, &(shape.expected)());
    assert!(ran.code == 0 && wrong.is_empty(), "{} without any fault: exit {}, {wrong:?} {}", shape.name, ran.code, ran.stderr);
    told.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{}: {told}", shape.name))
}

/// Runs the command with a fault: how it ended, and what went wrong at which operation. At 0, operations are counted.
fn disturb(shape: &Shape, trial: &Trial<'_>, fault: Fault, at: u64) -> (Ran, String) {
    let Trial { project, bucket } = trial;
    match (fault, bucket) {
        (Fault::Request(kind, on), Some(bucket)) => {
            // It waits until the server knows whom to kill.
            let inner = command(project, shape.command);
            let mut command = Command::new("sh");
            command.args(["-c", "read go; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
            command.current_dir(project.folder.path()).stdin(Stdio::piped());
            for (name, value) in inner.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let ran = scene::run_when(command, |pid| bucket.faults(&json!({"at": at, "kind": kind, "on": on, "pid": pid})));
            let (since, struck) = bucket.struck();
            bucket.heal();
            (ran, if at == 0 { format!("{since} requests") } else { struck })
        }
        (Fault::Disk(mode), _) => {
            let log = project.path("fault.log");
            let mut command = command(project, shape.command);
            shim::load(&mut command, &project.path("out"), mode, at, &log);
            let ran = run(command);
            let told = std::fs::read_to_string(log).unwrap_or_default();
            (ran, told.replace(&*project.folder.path().to_string_lossy(), "").trim().to_owned())
        }
        (Fault::Request(..), None) => unreachable!("requests go to a bucket"),
    }
}

/// What is wrong after a point.
fn try_point(point: Point, scene: &Scene<'_>) -> Vec<String> {
    let shape = &SHAPES[point.shape];
    let expected = (shape.expected)();
    let trial = scene.copy();
    let (ran, told) = disturb(shape, &trial, point.fault, point.at);
    let mut found = Vec::new();
    if ran.code == scene::ENDLESS {
        found.push("the disturbed run does not end".to_owned());
    }
    // Two generations stand side by side only while a new one is put in place.
    if expected.bare && !shape.makes_a_generation {
        found.extend(wrong_in_folder(&trial, None).into_iter().map(|wrong| format!("before the next run {wrong}")));
    }
    // What a store does once is tried again.
    if matches!(point.fault, Fault::Request("500" | "conflict" | "reset" | "lost" | "torn", false)) && ran.code != 0 {
        found.push(format!("a passing fault ends the run: {}", first_lines(&ran.stderr)));
    }
    if ran.code == 0 {
        found.extend(wrong(&trial, &expected).into_iter().map(|wrong| format!("after exit 0 {wrong}")));
    }
    let again = run(command(&trial.project, shape.again));
    if again.code != 0 {
        found.push(format!("the next run: exit {}: {}", again.code, first_lines(&again.stderr)));
    }
    found.extend(wrong(&trial, &expected));
    found.iter_mut().for_each(|wrong| *wrong = format!("{told} (exit {}): {wrong}", ran.code));
    found
}

/// The points that the environment asks for, of these faults.
fn chosen(scenes: &[Option<Scene<'_>>], faults: &[Fault], usual: usize) -> Vec<Point> {
    let asked = std::env::var("PROMPTMILL_FAULT_POINTS").unwrap_or_default();
    let seed = std::env::var("PROMPTMILL_FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut points = Vec::new();
    for (number, (shape, scene)) in SHAPES.iter().zip(scenes).enumerate() {
        let Some(scene) = scene else { continue };
        let writes = count(shape, scene, faults[0]);
        for fault in faults.iter().copied() {
            let last = if fault == Fault::Disk(Mode::Unread) { count(shape, scene, fault) } else { writes };
            points.extend((1..=last + BEYOND).map(|at| Point { shape: number, fault, at }));
        }
    }
    points.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    match asked.parse() {
        Ok(number) => points.truncate(number),
        Err(_) if asked.is_empty() => points.truncate(usual),
        Err(_) if asked == "all" => {}
        Err(_) => points.retain(|point| point.name() == asked || point.name().starts_with(&format!("{asked}/"))),
    }
    points
}

/// Whether anything of a shape is asked for. Those that take long to prepare are left out of the usual case, and most of
/// those in a bucket, where all takes longer.
fn is_asked_for(shape: &Shape, store: &str) -> bool {
    match std::env::var("PROMPTMILL_FAULT_POINTS") {
        Err(_) if store.is_empty() => !["checkpoint", "merge"].contains(&shape.name),
        Err(_) => ["first", "swap"].contains(&shape.name),
        Ok(asked) if asked == "all" || asked.parse::<usize>().is_ok() => true,
        Ok(asked) => asked == store || format!("{asked}/").starts_with(&format!("{store}{}/", shape.name)),
    }
}

/// Tries points and reports those after which something is wrong.
fn try_all(scenes: &[Option<Scene<'_>>], points: &[Point], workers: usize) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let wrong = scenes[point.shape].as_ref().map(|scene| try_point(*point, scene)).unwrap_or_default();
            if !wrong.is_empty() {
                eprintln!("{}: {wrong:#?}", point.name());
                failed.lock().expect("a list").push(point.name());
            }
        }
    };
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().expect("a list");
    failed.sort();
    eprintln!("{} points, {} with something wrong", points.len(), failed.len());
    let repeat = "PROMPTMILL_FAULT_POINTS=POINT cargo test --workspace --test suite -- fault_points";
    assert!(failed.is_empty(), "{} of {} points; to repeat one: {repeat}\n{}", failed.len(), points.len(), failed.join("\n"));
}

#[test]
fn whatever_the_disk_does_the_next_run_completes_the_job() {
    if shim::shim().is_none() {
        return;
    }
    let scenes: Vec<Option<Scene<'_>>> = SHAPES.iter().map(|shape| is_asked_for(shape, "").then(|| Scene::of(shape, None))).collect();
    let points = chosen(&scenes, &DISK_FAULTS, USUAL_POINTS[0]);
    try_all(&scenes, &points, WORKERS);
}

#[test]
fn whatever_the_store_does_the_next_run_completes_the_job() {
    if !SHAPES.iter().any(|shape| is_asked_for(shape, "s3/")) {
        return;
    }
    let Some(bucket) = Bucket::start() else { return };
    let scenes: Vec<Option<Scene<'_>>> =
        SHAPES.iter().map(|shape| is_asked_for(shape, "s3/").then(|| Scene::of(shape, Some(&bucket)))).collect();
    let points = chosen(&scenes, &REQUEST_FAULTS, USUAL_POINTS[1]);
    try_all(&scenes, &points, 1);
}
