//! The guest's standard streams are the program's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use fixtures::{Environment, guests};

use crate::{Stage, json};

// Rows 33, 34, 76: bytes as they are, in both directions; whatever is logged, none of it is in between.
#[test]
fn bytes_go_through_unchanged_whatever_is_logged() {
    let stage = Stage::new(guests::ECHO);
    // Every byte there is, in an order that shows what is missing.
    let sent: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|n| (n ^ n >> 7).to_le_bytes())
        .collect();
    for filter in ["ww=trace", "off"] {
        let mut child = stage
            .command(&[])
            .env("RUST_LOG", filter)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sending = sent.clone();
        let sender = std::thread::spawn(move || stdin.write_all(&sending).unwrap());
        let mut received = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut received)
            .unwrap();
        sender.join().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(
            received == sent,
            "{} of {} bytes",
            received.len(),
            sent.len()
        );
    }
}

// Row 33: a line is answered while the input goes on.
#[test]
fn input_arrives_while_more_of_it_is_to_come() {
    let stage = Stage::new(guests::ECHO);
    let mut running = stage.start(&[]);
    for line in ["one", "two", "three"] {
        running.type_line(line);
        assert_eq!(running.stdout_line(line), line);
    }
    running.close_stdin();
    assert_eq!(running.code(), 0);
}

// A program that reads nothing ends all the same, while its input stays open.
#[test]
fn input_that_nobody_reads_holds_nothing_up() {
    let stage = Stage::new(guests::PLAIN);
    let mut running = stage.start(&[]);
    running.stdout_line("plain");
    assert_eq!(running.code(), 0);
}

// Row 76: whoever takes the output may leave.
#[test]
fn output_that_is_closed_early_ends_the_program() {
    let stage = Stage::new(guests::BACKPRESSURE);
    let mut child = stage
        .command(&["512"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"o");
    // The pipe is closed by now. What is left on standard error ends when the program does.
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let lines: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(!child.wait().unwrap().success());
    assert!(!lines.iter().any(|line| line.contains("done")), "{lines:?}");
}

// Row 103: on a terminal the guest sees one.
#[test]
fn a_terminal_is_seen_by_the_guest_as_one() {
    let environment = Environment::new(guests::STDIN_ECHO_TTY);
    let ww = crate::ww();
    let mut command = ww.guest_command(&environment, &[]);
    command.env("RUST_LOG", "off");
    let mut session = crate::kernel::on_a_terminal(command);
    let mut text = String::new();
    // Closed by the other side: what a terminal reports then is an error.
    let _ = session.read_to_string(&mut text);
    let told = json(text.trim()).remove(0);
    for stream in ["stdin", "stdout", "stderr", "std_stdin"] {
        assert_eq!(told[stream], true, "{stream}: {text}");
    }
}
