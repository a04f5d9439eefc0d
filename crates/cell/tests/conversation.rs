//! The one conversation of a cell, through either of its packages.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use cell::{Exit, Limits, Setup, Stdin};
use support::*;

#[test]
fn messages_go_back_and_forth_whole_and_in_order() {
    on_one_thread(async {
        let program = engine().load(talker(ECHO)).await.unwrap();
        let (control, sender, mut inbox) = start(program.spawn(Setup::default()).unwrap());
        for words in [0, 1, 2, 1000, 100_000] {
            let message = message(words, words as u8);
            sender.send(message.clone()).unwrap();
            assert_eq!(inbox.receive().await, Some(message));
        }
        // The end is told once everything before it has been taken.
        sender.send(message(5, 5)).unwrap();
        drop(sender);
        assert_eq!(inbox.receive().await, Some(message(5, 5)));
        assert_eq!(control.wait().await, Exit::Exited(0));
        assert_eq!(inbox.receive().await, None);
    });
}

#[test]
fn a_guest_that_never_asks_for_the_conversation_is_an_ordinary_command() {
    on_one_thread(async {
        let guest = command(r#"(func (export "run") (result i32) (i32.const 0))"#);
        let program = engine().load(guest).await.unwrap();
        let spawned = program.spawn(Setup {
            stdin: Stdin::Empty,
            ..Setup::default()
        });
        let spawned = spawned.unwrap();
        let (outbox, mut inbox) = inbox(1);
        spawned.sender.send(message(1, 1)).unwrap();
        assert_eq!(spawned.cell.run(outbox).await, Exit::Exited(0));
        assert_eq!(inbox.receive().await, None);
        assert!(spawned.sender.send(message(1, 1)).is_err());
    });
}

/// Runs a body of `run` in which `$c` is the connection taken through `rpc`; it exits with a code.
async fn code_of(body: &str) -> Exit {
    let guest = talker(&format!(
        r#"(func (export "run") (result i32)
            (local $c i32)
            (call $connect (i32.const 0))
            (local.set $c (i32.load (i32.const 8)))
            {body}
            (i32.const 1))"#
    ));
    let program = engine().load(guest).await.unwrap();
    let setup = Setup {
        limits: Limits {
            message_bytes: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    };
    let spawned = program.spawn(setup).unwrap();
    spawned.cell.run(does(|_| Ok(()))).await
}

/// Ends with 100 plus the case of the error that the result at 32 holds, or with 50 if it is none.
const EXIT_WITH_ERROR: &str = r#"
    (if (i32.load8_u (i32.const 32))
        (then (call $exit (i32.add (i32.const 100) (i32.load8_u (i32.const 40)))))
        (else (call $exit (i32.const 50))))"#;

#[test]
fn a_second_connect_is_refused_with_taken() {
    on_one_thread(async {
        let again = format!("(call $connect (i32.const 32)) {EXIT_WITH_ERROR}");
        assert_eq!(code_of(&again).await, Exit::Exited(103));
    });
}

#[test]
fn what_is_no_message_is_refused_and_so_is_what_is_too_large() {
    on_one_thread(async {
        let send = |words: u32, bytes: u32| {
            format!(
                "(i32.store (i32.const 1028) (i32.const {words}))
                 (call $send (local.get $c) (i32.const 1024) (i32.const {bytes}) (i32.const 32))
                 {EXIT_WITH_ERROR}"
            )
        };
        assert_eq!(code_of(&send(2, 24)).await, Exit::Exited(50));
        assert_eq!(code_of(&send(2, 23)).await, Exit::Exited(102));
        assert_eq!(code_of(&send(2, 25)).await, Exit::Exited(102));
        assert_eq!(code_of(&send(2, 0)).await, Exit::Exited(102));
        assert_eq!(code_of(&send(200, 1608)).await, Exit::Exited(101));
        assert_eq!(code_of(&send(200, 24)).await, Exit::Exited(101));
        // Even one that is a good deal too large is refused and not trapped.
        assert_eq!(code_of(&send(200, 500_000)).await, Exit::Exited(101));
    });
}

#[test]
fn a_stream_of_a_taken_conversation_fails_its_first_operation_and_does_not_trap() {
    on_one_thread(async {
        // The failure is `last-operation-failed` first, `closed` afterwards.
        let read = "(call $read (call $get-input (call $create)) (i64.const 8) (i32.const 32))";
        let exit = "(call $exit (i32.add (i32.const 10) (i32.load8_u (i32.const 36))))";
        assert_eq!(code_of(&format!("{read}{exit}")).await, Exit::Exited(10));
        let twice = format!(
            "(local $i i32)
             (local.set $i (call $get-input (call $create)))
             (call $read (local.get $i) (i64.const 8) (i32.const 32))
             (call $read (local.get $i) (i64.const 8) (i32.const 32))
             {exit}"
        );
        let guest = talker(&format!(
            r#"(func (export "run") (result i32)
                (local $i i32)
                (drop (call $get-input (call $create)))
                {} (i32.const 1))"#,
            twice.replace("(local $i i32)", "")
        ));
        assert_eq!(exit_of(guest, Setup::default()).await, Exit::Exited(11));
        let write = "(call $check-write (call $get-output (call $create)) (i32.const 32))
            (call $exit (i32.add (i32.const 10) (i32.load8_u (i32.const 40))))";
        assert_eq!(code_of(write).await, Exit::Exited(10));
    });
}

#[test]
fn a_byte_stream_is_cut_into_messages_wherever_its_writes_end() {
    // Reads seven bytes at a time and writes them back, until the end.
    let echo = talker(
        r#"(func (export "run") (result i32)
            (local $c i32) (local $in i32) (local $out i32)
            (local.set $c (call $create))
            (local.set $in (call $get-input (local.get $c)))
            (local.set $out (call $get-output (local.get $c)))
            (loop $forever
                (call $reset)
                (call $read (local.get $in) (i64.const 7) (i32.const 32))
                (if (i32.load8_u (i32.const 32)) (then (return (i32.const 0))))
                (call $check-write (local.get $out) (i32.const 64))
                (call $write (local.get $out)
                    (i32.load (i32.const 36)) (i32.load (i32.const 40)) (i32.const 96))
                (if (i32.load8_u (i32.const 96)) (then (call $exit (i32.const 99))))
                (br $forever))
            (unreachable))"#,
    );
    on_one_thread(async {
        let program = engine().load(echo).await.unwrap();
        let (control, sender, mut inbox) = start(program.spawn(Setup::default()).unwrap());
        for words in [0, 1, 2, 30, 1000] {
            sender.send(message(words, words as u8)).unwrap();
        }
        for words in [0, 1, 2, 30, 1000] {
            assert_eq!(inbox.receive().await, Some(message(words, words as u8)));
        }
        drop(sender);
        assert_eq!(control.wait().await, Exit::Exited(0));
    });
}

#[test]
fn a_byte_stream_that_breaks_the_framing_fails_and_is_closed() {
    let nonsense = talker(
        r#"(func (export "run") (result i32)
            (local $out i32)
            (local.set $out (call $get-output (call $create)))
            (call $check-write (local.get $out) (i32.const 64))
            (i64.store (i32.const 1024) (i64.const -1))
            (call $write (local.get $out) (i32.const 1024) (i32.const 8) (i32.const 96))
            (if (i32.eqz (i32.load8_u (i32.const 96))) (then (call $exit (i32.const 50))))
            (if (i32.load8_u (i32.const 100)) (then (call $exit (i32.const 51))))
            (call $check-write (local.get $out) (i32.const 64))
            (call $exit (i32.add (i32.const 10) (i32.load8_u (i32.const 72))))
            (unreachable))"#,
    );
    on_one_thread(async {
        let program = engine().load(nonsense).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let (outbox, mut inbox) = inbox(1);
        // 11: the second failure is `closed`.
        assert_eq!(spawned.cell.run(outbox).await, Exit::Exited(11));
        assert_eq!(inbox.receive().await, None);
    });
}
