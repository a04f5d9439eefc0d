//! Ordinary programs: what they get is what they were given, and how they end is what is reported.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use cell::{Exit, MemoryImage, Setup, SpawnError, Stdin, Stdout, Terminal, stdio};
use std::sync::Arc;
use support::*;

fn told(args: &[&str]) -> Setup {
    let args = ["guest"].iter().chain(args).map(|s| (*s).to_owned());
    Setup {
        args: args.collect(),
        ..Setup::default()
    }
}

/// What the Rust guest prints, which must end well.
async fn output_of(setup: Setup) -> String {
    let program = engine().load(rust_guest()).await.unwrap();
    let (reader, writer) = stdio::pipe(1 << 16);
    let setup = Setup {
        stdout: Stdout::Pipe(writer),
        ..setup
    };
    assert_eq!(run(&program, setup).await, Exit::Exited(0));
    let mut text = Vec::new();
    loop {
        let bytes = reader.read(1 << 16).await;
        if bytes.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&bytes);
    }
}

#[test]
fn the_exit_code_is_the_guests_own() {
    on_one_thread(async {
        for (body, code) in [
            ("(i32.const 0)", 0),
            ("(i32.const 1)", 1),
            ("(call $exit (i32.const 7)) (i32.const 0)", 7),
            ("(call $exit (i32.const 0)) (i32.const 1)", 0),
            ("(call $exit (i32.const 255)) (i32.const 0)", 255),
        ] {
            let guest = command(&format!(r#"(func (export "run") (result i32) {body})"#));
            let exit = exit_of(guest, Setup::default()).await;
            assert_eq!(exit, Exit::Exited(code));
            assert_eq!(exit.code(), code);
        }
        let program = engine().load(rust_guest()).await.unwrap();
        assert_eq!(run(&program, told(&["fail"])).await, Exit::Exited(1));
    });
}

#[test]
fn arguments_and_environment_are_exactly_what_was_given() {
    on_one_thread(async {
        let setup = Setup {
            env: vec![("ONE".to_owned(), "1=1".to_owned())],
            ..told(&["show", "", "a b", "ü"])
        };
        let expected = "[\"\", \"a b\", \"ü\"] [(\"ONE\", \"1=1\")]\n";
        assert_eq!(output_of(setup).await, expected);
        assert_eq!(output_of(told(&["show"])).await, "[] []\n");
    });
}

#[test]
fn arguments_without_end_are_refused() {
    on_one_thread(async {
        let program = engine().load(command(SPIN)).await.unwrap();
        assert!(matches!(
            program.spawn(told(&["x".repeat(3 << 20).as_str()])),
            Err(SpawnError::ArgumentsTooLong { .. })
        ));
    });
}

#[test]
fn input_goes_through_and_output_is_held_back_until_it_is_read() {
    on_one_thread(async {
        let program = engine().load(rust_guest()).await.unwrap();
        let (stdin, to_guest) = stdio::pipe(10);
        let (from_guest, stdout) = stdio::pipe(10);
        let setup = Setup {
            stdin: Stdin::Pipe(stdin),
            stdout: Stdout::Pipe(stdout),
            ..told(&["cat"])
        };
        let (control, ..) = start(program.spawn(setup).unwrap());
        let text: String = (0..1000).map(|n| format!("{n} ")).collect();
        let sent = text.clone();
        tokio::spawn(async move {
            to_guest.write(sent.as_bytes()).await.unwrap();
        });
        let mut received = Vec::new();
        while received.len() < text.len() {
            received.extend(from_guest.read(7).await);
        }
        assert_eq!(received, text.as_bytes());
        assert_eq!(control.wait().await, Exit::Exited(0));
    });
}

#[test]
fn without_input_the_end_is_there_at_once() {
    on_one_thread(async {
        assert_eq!(output_of(told(&["cat"])).await, "");
    });
}

#[test]
fn a_guest_is_told_which_of_its_streams_are_terminals() {
    on_one_thread(async {
        let terminal = Terminal {
            stdin: true,
            stdout: false,
            stderr: true,
        };
        let setup = Setup {
            terminal,
            ..told(&["terminals"])
        };
        assert_eq!(output_of(setup).await, "true false true\n");
    });
}

#[test]
fn the_root_can_be_read_and_neither_written_nor_left() {
    on_one_thread(async {
        let image = MemoryImage::default()
            .file("file", "text")
            .link("link", "../outside");
        let setup = Setup {
            root: Some(Arc::new(image)),
            ..told(&["root"])
        };
        let expected = "Ok(\"text\")\ntrue\ntrue\ntrue\ntrue\n";
        assert_eq!(output_of(setup).await, expected);
    });
}

#[test]
fn there_is_no_network() {
    on_one_thread(async {
        assert_eq!(
            output_of(told(&["network"])).await,
            "true\ntrue\ntrue\ntrue\n"
        );
    });
}
