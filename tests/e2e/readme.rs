//! The commands in the documentation, as they are written there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixtures::{Environment, Finished, PATIENCE, Place, finish, guests};

use crate::{Stage, place, ww};

/// The port of a node that is not told another.
const DEFAULT_PORT: u16 = 2025;

/// A CID, for commands that need one.
const EMPTY_DIRECTORY: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines inside the fences of a document, without their comments and a shell's `$ `.
fn fenced(document: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let line = line.trim().trim_start_matches("$ ");
            let command = line.split(" #").next().unwrap_or_default().trim();
            lines.push(command.to_owned());
        }
    }
    lines
}

/// A shell's command line, in a folder, with `ww` on the PATH.
fn shell(place: &Place, folder: &Path, line: &str) -> Finished {
    let ww = place.command(&[]);
    let beside = Path::new(ww.get_program()).parent().unwrap().to_owned();
    let mut command = Command::new("sh");
    command.args(["-ec", line]);
    place.furnish(&mut command);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", beside.display()))
        .current_dir(folder);
    finish(&mut command)
}

/// Waits until nobody is on the port that the README's commands use.
fn wait_for_the_default_port() {
    let deadline = Instant::now() + PATIENCE;
    while TcpListener::bind((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)).is_err() {
        assert!(
            Instant::now() < deadline,
            "port {DEFAULT_PORT} stays in use"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

// Rows 5, 6, 7, 8, 9, 10, 23, 24, 28, 49, 54, 55, 67: from nothing to a published program, in an empty
// directory. Installing `ww` and the target is for the machine that builds this.
#[test]
fn the_quick_start_works_as_written() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let commands = fenced(&readme);
    let start = commands
        .iter()
        .position(|line| line.starts_with("ww init"))
        .expect("a quick start");
    let commands: Vec<&str> = commands[start..start + 6]
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(
        commands,
        [
            "ww init my-app --template rust",
            "cd my-app",
            "ww build",
            "ww run",
            "ww push",
            "ww run /ipfs/<CID>",
        ]
    );

    let place = place();
    let mut folder = place.path().to_owned();
    let mut cid = String::new();
    for command in commands {
        if let Some(into) = command.strip_prefix("cd ") {
            folder.push(into);
            continue;
        }
        let runs = command.starts_with("ww run");
        if runs {
            wait_for_the_default_port();
        }
        let finished = shell(&place, &folder, &command.replace("<CID>", &cid)).ok();
        if runs {
            assert_eq!(finished.stdout(), "Hello from Wetware!\n", "{command}");
            let listens = format!("/tcp/{DEFAULT_PORT}");
            assert!(
                finished.stderr().contains(&listens),
                "{}",
                finished.stderr()
            );
        }
        if command == "ww push" {
            cid = finished.stdout().trim().to_owned();
        }
    }
    let component = fs::read(folder.join("boot/main.wasm")).unwrap();
    assert!(component.starts_with(b"\0asm\x0d\0\x01\0"));
}

#[test]
fn the_commands_about_capabilities_run_as_written() {
    let read = |page: &str| fs::read_to_string(project().join(page)).unwrap();
    let readme = read("README.md");
    let (_, section) = readme.split_once("## What a program may do").unwrap();
    let (section, _) = section.split_once("## Writing a guest").unwrap();
    let place = place();
    place.copy(guests::GRAFT_EMPTY, "my-app/boot/main.wasm");
    let written = [fenced(section), fenced(&read("docs/capabilities.md"))].concat();
    let commands: Vec<String> = written
        .into_iter()
        .filter(|line| line.starts_with("ww "))
        .collect();
    assert!(commands.len() >= 13, "{commands:?}");
    for command in &commands {
        if command.starts_with("ww run") && !command.contains("--port") {
            wait_for_the_default_port();
        }
        shell(&place, place.path(), command).ok();
    }
    assert!(place.read("audit.jsonl").contains("\"event\":\"grant\""));
}

// Rows 2, 8, 9, 10, 46, 67, 68: as one script, since the first line gives the others their CID.
#[test]
fn the_commands_about_content_run_as_written() {
    let page = fs::read_to_string(project().join("docs/content.md")).unwrap();
    let day = page.split("```bash\n").nth(1).unwrap();
    let (day, _) = day.split_once("```").unwrap();
    let grants = page.split("```bash\n").nth(3).unwrap();
    let (grants, _) = grants.split_once("```").unwrap();
    let script = format!("set -e\n{day}{grants}");
    assert!(script.lines().count() >= 18, "{script}");

    let place = place();
    place.copy(guests::GRAFT_EMPTY, "my-app/boot/main.wasm");
    place.write("my-app/etc/motd", "welcome");
    place.write("other/etc/motd", "over it");
    place.write("notes/today", "a note");
    let told = shell(&place, place.path(), &script).ok().stdout();
    assert!(told.contains("welcome"), "{told}");
    assert_eq!(place.read("copy/etc/motd"), "welcome");
    assert!(place.join("app.car").exists());
}

// Rows 48, 52, 56, 57, 65: the standard programs build and run as written.
#[test]
fn the_standard_programs_build_and_run_as_written() {
    let place = place();
    // Where the tests' own kernel was built, so that it is not built twice.
    let built = Path::new(guests::KERNEL).ancestors().nth(3).unwrap();
    let input = Environment::empty();
    input.write("script", "host id\n");
    for program in ["std/kernel", "std/shell"] {
        let mut build = place.command(&["build", program]);
        build.current_dir(project()).env("CARGO_TARGET_DIR", built);
        finish(&mut build).ok();
        assert!(project().join(program).join("boot/main.wasm").exists());

        let mut run = place.command(&["run", "--port", "0", program]);
        run.current_dir(project())
            .stdin(fs::File::open(input.join("script")).unwrap());
        let ran = finish(&mut run).ok();
        ran.stdout().trim().parse::<swarm::PeerId>().unwrap();
        // Only the first cell of a node announces it.
        assert_eq!(
            ran.stderr().contains("\"event\":\"ready\""),
            program == "std/kernel"
        );
    }
}

/// The arguments of each `ww` in a command line.
fn invocations(line: &str) -> Vec<Vec<String>> {
    line.split(['|', '&', ';'])
        .map(|part| part.split_whitespace().map(str::to_owned).collect())
        .filter(|words: &Vec<String>| words.first().is_some_and(|word| word == "ww"))
        .map(|words| words[1..].to_vec())
        .collect()
}

// Row 58: `--help` after the arguments has them parsed and nothing done.
#[test]
fn every_command_in_the_documentation_is_one() {
    let ww = ww();
    let understood = |args: &[String]| {
        let before = args.iter().take_while(|arg| *arg != "--").cloned();
        let args: Vec<String> = before.chain(["--help".to_owned()]).collect();
        ww.run(&args).code() == 0
    };
    // So that this test shows something.
    for nonsense in ["dance", "run --no-such-flag", "run --port 99999"] {
        let args: Vec<String> = nonsense.split(' ').map(str::to_owned).collect();
        assert!(!understood(&args), "{nonsense}");
    }

    let mut documents = vec![project().join("README.md")];
    let docs = fs::read_dir(project().join("docs")).unwrap();
    documents.extend(docs.map(|entry| entry.unwrap().path()));
    let mut seen = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for line in fenced(&text) {
            // As a shell would have it after a push.
            let line = line.replace("$CID", EMPTY_DIRECTORY);
            for args in invocations(&line) {
                assert!(understood(&args), "{}: {line}", document.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} commands were found");
}

// Row 58: the options that the README names are in the help.
#[test]
fn help_lists_the_options_of_run() {
    let help = ww().run(["run", "--help"]).ok().stdout();
    for option in [
        "[PATH]...",
        "[-- <ARGS>...]",
        "--port",
        "--wasm-debug",
        "--identity",
    ] {
        assert!(help.contains(option), "{option} is not in\n{help}");
    }
}

// Row 66: the examples run as they are.
#[test]
fn the_examples_run() {
    let told = Stage::new(guests::HELLO).run(&[]).ok();
    assert_eq!(told.stdout(), "Hello from Wetware!\n");
}
