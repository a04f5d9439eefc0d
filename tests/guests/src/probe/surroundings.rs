//! What surrounds a program: arguments, environment, clocks, random numbers, standard streams.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime};

use wasip2::cli::{terminal_stderr, terminal_stdin, terminal_stdout};
use wasip2::random::random::get_random_bytes;

use super::tell;

/// Tries them.
pub fn run() {
    let first = std::env::args().next();
    tell("arguments", "its arguments", first.ok_or("none"));
    let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    names.sort();
    tell::<_, String>("environment", "names of variables", Ok(names));
    for name in ["PATH", "HOME", "WW_HOME", "WW_PROBE_CANARY"] {
        tell(
            "environment",
            &format!("the variable {name}"),
            std::env::var(name),
        );
    }
    let folder = std::env::current_dir();
    let folder = folder.map(|folder| folder.to_string_lossy().into_owned());
    tell("environment", "the current folder", folder);

    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    tell(
        "clocks",
        "the time of day",
        time.map(|time| !time.is_zero()),
    );
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(1));
    let passed = begun.elapsed() >= Duration::from_millis(1);
    tell::<_, String>("clocks", "measure time, and sleep", Ok(passed));
    let random = get_random_bytes(16) != get_random_bytes(16);
    tell::<_, String>("random numbers", "random bytes", Ok(random));

    let read = std::io::stdin().read(&mut [0; 1]).map(|_| true);
    tell("standard streams", "read standard input", read);
    tell(
        "standard streams",
        "write standard output",
        std::io::stdout().write(b"").map(|_| true),
    );
    tell(
        "standard streams",
        "write standard error",
        std::io::stderr().write(b"").map(|_| true),
    );
    let no = "there is none";
    tell(
        "standard streams",
        "the terminal of standard input",
        terminal_stdin::get_terminal_stdin().map(|_| true).ok_or(no),
    );
    tell(
        "standard streams",
        "the terminal of standard output",
        terminal_stdout::get_terminal_stdout()
            .map(|_| true)
            .ok_or(no),
    );
    tell(
        "standard streams",
        "the terminal of standard error",
        terminal_stderr::get_terminal_stderr()
            .map(|_| true)
            .ok_or(no),
    );
    let thread = std::thread::Builder::new().spawn(|| ());
    tell("other programs", "start a thread", thread.map(drop));
    let program = std::process::Command::new("/bin/sh").spawn();
    tell(
        "other programs",
        "start a program of the host's",
        program.map(drop),
    );
}
