//! What `promptmill sql` shows at a terminal: a table that fits, and everything for who asks for it. Elsewhere it is what it was.

use std::process::Command;

use super::Job;
use crate::support::Project;

/// Gives a command a terminal of so many columns.
const TERMINAL: &str = r"
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 30, int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
try:
    while chunk := os.read(terminal, 65536):
        shown += chunk
except OSError:
    pass
sys.stdout.buffer.write(shown.replace(b'\r\n', b'\n'))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// What a command shows at a terminal, if this machine can make one.
fn at_terminal(project: &Project, columns: usize, arguments: &[&str]) -> Option<String> {
    let python = std::env::var("PROMPTMILL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let command = project.command(arguments);
    let mut shell = Command::new(python);
    shell.args(["-c", TERMINAL, &columns.to_string()]).arg(command.get_program()).args(arguments).current_dir(project.folder.path());
    shell.env("PROMPTMILL_LANES", project.path("lanes"));
    let Ok(ran) = shell.output() else {
        eprintln!("skipped: there is no Python to make a terminal");
        return None;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).expect("text"))
}

#[test]
fn a_table_fits_its_terminal_and_says_what_it_leaves_out() {
    let long = "The bridge over the river at the old mill is closed to all traffic until further notice. ".repeat(4);
    let bodies: Vec<String> = (0..60).map(|row| if row == 1 { format!("日本語 {long}") } else { format!("{row} {long}") }).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let project = Job::new("http://127.0.0.1:9").project(&bodies);
    let query = "SELECT CAST(substr(id, 2) AS INT) AS row, body, length(body) AS length FROM source ORDER BY 1";
    let sql = ["sql", "pipeline.toml", query];
    let Some(shown) = at_terminal(&project, 60, &sql) else { return };
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with('┌') && lines[2].contains(" integer ") && lines[2].contains(" varchar "), "{shown}");
    // One of the characters in a line of `日本語` takes two places, three times.
    assert!(lines[..48].iter().all(|line| line.chars().count() == 60 || line.contains('日')), "{shown}");
    assert!(lines[5].chars().count() == 57 && lines[5].contains("日本語 The bridge"), "{shown}");
    assert!(shown.contains("…") && !shown.contains("further notice"), "{shown}");
    assert!(shown.contains("│   0 │") || shown.contains("│       0 │"), "numbers stand at the right: {shown}");
    assert!(shown.ends_with("60 rows (40 shown); all of it: --full, or .mode line at the prompt\n"), "{shown}");
    let full = at_terminal(&project, 60, &[&sql[..], &["--full"]].concat()).expect("a terminal");
    assert!(full.starts_with("+-----+") && full.matches("further notice").count() == 240, "{full}");
    let lines = at_terminal(&project, 60, &[&sql[..], &["--output", "line"]].concat()).expect("a terminal");
    assert!(lines.starts_with("   row = 0\n  body = 0 The bridge") && lines.matches("length = ").count() == 60, "{lines}");
    // Through a pipe nothing has changed.
    let piped = project.run(&sql).expect(0).stdout;
    assert_eq!(piped, full);
}
