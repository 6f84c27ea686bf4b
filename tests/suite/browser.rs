//! A page as a real browser sees it. Where no browser is installed, tests say so and go on: the default test command
//! must not need one.

use std::path::Path;
use std::process::Command;

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The document after the browser has loaded it and run its script; `None`, and a line on standard error, without one.
pub(crate) fn seen_by_a_browser(page: &Path, fragment: &str) -> Option<String> {
    let found = BROWSERS.iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    let Some(browser) = found else {
        eprintln!("skipped: no browser; install chromium to have {} looked at", page.display());
        return None;
    };
    let profile = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--enable-logging=stderr", "--v=0"]);
    command
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!("file://{}{fragment}", page.display()));
    let output = command.output().expect("the browser runs");
    let (dom, log) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "the browser complains: {complaints:?}");
    Some(dom)
}
