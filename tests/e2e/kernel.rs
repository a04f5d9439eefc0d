//! The standard kernel: a script's interpreter, a daemon, a prompt.

use std::io::Write;
use std::process::{Command, Stdio};

use expectrl::{ControlCode, Eof, Expect, session::OsSession};
use fixtures::{Environment, Finished, PATIENCE, Ww, guests};
use serde_json::Value;

use crate::{Stage, ww};

/// Runs a script; what it leaves.
fn script(ww: &Ww, environment: &Environment, text: &str) -> Finished {
    let input = Environment::empty();
    input.write("script", text);
    let mut command = ww.guest_command(environment, &[]);
    command.stdin(std::fs::File::open(input.join("script")).unwrap());
    fixtures::finish(&mut command)
}

/// The kernel's image, with a program to run in it.
fn image() -> Environment {
    let environment = Environment::new(guests::KERNEL);
    environment
        .copy(guests::HELLO, "bin/hello.wasm")
        .copy(guests::SHELL, "bin/shell.wasm")
        .copy(guests::EXIT_CODE, "bin/exit_code.wasm")
        .copy(guests::PRINT_ENV, "bin/print_env.wasm")
        .copy(guests::PANICS, "bin/panics.wasm")
        .write("bin/broken.wasm", "nonsense");
    environment
}

/// The peer id in a line that says that the kernel is ready.
#[track_caller]
fn ready(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("not ready: {stderr}"));
    let event: Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["event"], "ready");
    let id = event["peer_id"].as_str().unwrap().to_owned();
    id.parse::<swarm::PeerId>().unwrap();
    id
}

// Row 57: the shell is a program like any other; started by the kernel it has no input, and so no commands.
#[test]
fn the_shell_runs_as_a_program_of_the_kernel() {
    let (ww, image) = (ww(), image());
    let ran = script(&ww, &image, "shell\nexecutor echo after\n").ok();
    assert_eq!(ran.stdout(), "after\n");
}

// Rows 51, 103: off a terminal it runs a script, without a prompt.
#[test]
fn a_script_runs_without_a_prompt_and_ends_with_its_last_status() {
    let (ww, image) = (ww(), image());
    let ran = script(
        &ww,
        &image,
        "executor echo one\n\n   executor   echo 'two  words' \"three\"\n",
    );
    let ran = ran.ok();
    assert_eq!(ran.stdout(), "one\ntwo  words three\n");
    assert!(!ran.stderr().contains("ww> "), "{}", ran.stderr());

    script(&ww, &image, "exit_code 7\n").expect(7);
    script(&ww, &image, "exit_code 7\nexecutor echo fine\n").ok();
    script(&ww, &image, "exit_code 7\n\n").expect(7);
    script(&ww, &image, "exit 3\nexecutor echo never\n").expect(3);
    let ran = script(&ww, &image, "exit_code 9\nexit\nexecutor echo never\n").expect(9);
    assert_eq!(ran.stdout(), "");
    // The last line needs no end.
    assert_eq!(script(&ww, &image, "executor echo x").ok().stdout(), "x\n");
}

#[test]
fn what_is_not_understood_says_so_and_has_the_codes_of_shells() {
    let (ww, image) = (ww(), image());
    for (line, code, words) in [
        ("nonsense", 127, "nonsense: no such command"),
        ("exit seven", 2, "exit [CODE]"),
        ("host", 2, "host id|addrs|peers"),
        ("executor", 2, "executor echo WORDS"),
        ("executor echo 'open", 2, "'"),
        ("broken", 1, "not a WebAssembly component"),
        ("panics", 134, "trapped"),
    ] {
        let ran = script(&ww, &image, &format!("{line}\n")).expect(code);
        assert_eq!(ran.stdout(), "", "{line}");
        assert!(ran.stderr().contains(words), "{line}: {}", ran.stderr());
    }
}

// Row 40: a program is found along PATH, with its arguments and without a capability.
#[test]
fn programs_of_the_image_run_by_name() {
    let (ww, image) = (ww(), image());
    let ran = script(&ww, &image, "hello\nprint_env 'two words' b\n").ok();
    let stdout = ran.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "Hello from Wetware!");
    assert_eq!(lines[1], "{\"args\":[\"print_env\",\"two words\",\"b\"]}");
}

// Rows 50, 102, 103: the ready line's id is the host's, and the same at the next start.
#[test]
fn the_ready_line_has_the_nodes_id_which_stays() {
    let (ww, image) = (ww(), image());
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let ran = script(&ww, &image, "host id\n").ok();
            let id = ready(&ran.stderr());
            assert_eq!(ran.stdout(), format!("{id}\n"));
            id
        })
        .collect();
    assert_eq!(ids[0], ids[1]);

    // Another home is another node, and so is each throw-away key.
    let other = crate::ww();
    let ran = script(&other, &image, "host id\n").ok();
    assert_ne!(ready(&ran.stderr()), ids[0]);
    let mut command = ww.command(["run", "--port", "0", "--identity", "ephemeral"]);
    let input = Environment::empty();
    input.write("script", "host id\n");
    command
        .arg(image.path())
        .stdin(std::fs::File::open(input.join("script")).unwrap());
    assert_ne!(ready(&fixtures::finish(&mut command).ok().stderr()), ids[0]);
}

// Row 103: without input it is a daemon, which ends well when a supervisor says so.
#[test]
fn without_input_it_serves_until_it_is_told_to_stop() {
    for (interrupt, code) in [(false, 0), (true, 130)] {
        let stage = Stage::new(guests::KERNEL);
        let mut running = stage.start(&[]);
        running.close_stdin();
        ready(&running.stderr_line("ready"));
        if interrupt {
            running.interrupt();
        } else {
            running.terminate();
        }
        assert_eq!(running.code(), code);
        assert!(running.rest_of_stdout().is_empty());
        assert!(stage.ww.scratch().is_empty());
    }
}

/// Runs a command on a terminal of its own.
pub fn on_a_terminal(mut command: Command) -> OsSession {
    // Which it replaces by the terminal's.
    command.stdin(Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    session
}

/// The kernel on a terminal, at its first prompt.
fn at_the_prompt(ww: &Ww, image: &Environment) -> OsSession {
    let mut command = ww.guest_command(image, &[]);
    command.env("RUST_LOG", "off");
    let mut session = on_a_terminal(command);
    session.expect("ww> ").unwrap();
    session
}

/// Types a line; what is printed until the next prompt. The terminal does not echo.
#[track_caller]
fn answer(session: &mut OsSession, line: &str) -> String {
    session.send_line(line).unwrap();
    let found = session.expect("ww> ").unwrap();
    String::from_utf8_lossy(found.before()).replace('\r', "")
}

// Rows 51, 65, 103: every command of its help works.
#[test]
fn on_a_terminal_it_prompts_and_every_command_of_its_help_works() {
    let (ww, image) = (ww(), image());
    let mut session = at_the_prompt(&ww, &image);
    let help = answer(&mut session, "help");
    let mut listed: Vec<&str> = help
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    listed.sort_unstable();
    let known = [
        "NAME [ARGS]",
        "executor echo WORDS",
        "exit [CODE]",
        "help",
        "host addrs",
        "host id",
        "host peers",
    ];
    assert_eq!(listed, known);

    let id = answer(&mut session, "host id");
    id.trim().parse::<swarm::PeerId>().unwrap();
    let addrs = answer(&mut session, "host addrs");
    assert!(addrs.contains("/ip4/127.0.0.1/tcp/"), "{addrs}");
    for addr in addrs.lines() {
        addr.parse::<swarm::Multiaddr>().unwrap();
    }
    assert_eq!(answer(&mut session, "host peers"), "");
    assert_eq!(answer(&mut session, "executor echo so it is"), "so it is\n");
    assert_eq!(answer(&mut session, "hello"), "Hello from Wetware!\n");
    assert!(answer(&mut session, "nonsense").contains("no such command"));
    assert_eq!(answer(&mut session, ""), "");
    session.send_line("exit 5").unwrap();
    session.expect(Eof).unwrap();
    assert_eq!(exit_code(&session), Some(5));
}

// Row 103.
#[test]
fn the_end_of_input_leaves_the_prompt_with_the_last_status() {
    let (ww, image) = (ww(), image());
    let mut session = at_the_prompt(&ww, &image);
    answer(&mut session, "exit_code 4");
    session.send(ControlCode::EndOfTransmission).unwrap();
    session.expect(Eof).unwrap();
    assert_eq!(exit_code(&session), Some(4));
}

// Rows 91, 99.
#[test]
fn ctrl_c_at_the_prompt_ends_the_node() {
    let (ww, image) = (ww(), image());
    let mut session = at_the_prompt(&ww, &image);
    session.write_all(&[ControlCode::EndOfText.into()]).unwrap();
    session.expect(Eof).unwrap();
    assert_eq!(exit_code(&session), Some(130));
    assert!(ww.scratch().is_empty());
}

fn exit_code(session: &OsSession) -> Option<i32> {
    use expectrl::process::unix::WaitStatus;
    match session.get_process().wait().unwrap() {
        WaitStatus::Exited(_, code) => Some(code),
        _ => None,
    }
}
