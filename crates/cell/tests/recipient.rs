//! What a guest says and who takes it: at once, inside the guest's own call, and held back by room.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/lib.rs"]
mod support;

use cell::{Closed, Control, Exit, Limits, Recipient, SendError, Sender, Setup, Spawned, Status};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use support::*;

/// A cell whose `run` is this body, in which `$c` is the connection taken through `rpc`.
async fn cell_of(locals: &str, body: &str) -> Spawned {
    let guest = talker(&format!(
        r#"(func (export "run") (result i32)
            (local $c i32) {locals}
            (call $connect (i32.const 0))
            (local.set $c (i32.load (i32.const 8)))
            {body}
            (i32.const 1))"#
    ));
    let program = engine().load(guest).await.unwrap();
    program.spawn(Setup::default()).unwrap()
}

/// Sends the message of two words at 1024, and leaves with 90 if that is refused.
const SEND: &str = r#"
    (i32.store (i32.const 1028) (i32.const 2))
    (call $send (local.get $c) (i32.const 1024) (i32.const 24) (i32.const 32))
    (if (i32.load8_u (i32.const 32)) (then (call $exit (i32.const 90))))"#;

/// Receives without waiting, and leaves with the length of what there is, or with 91 if it is over.
const LEAVE_WITH_WHAT_IS_RECEIVED: &str = r#"
    (call $receive (local.get $c) (i32.const 0))
    (if (i32.load8_u (i32.const 0)) (then (call $exit (i32.const 91))))
    (call $exit (i32.load (i32.const 12)))"#;

/// Lets whatever can go on do so.
async fn others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

fn is_running(control: &Control) -> bool {
    control.status() == Status::Running
}

#[test]
fn a_message_is_delivered_and_can_be_answered_before_send_returns() {
    on_one_thread(async {
        let spawned = cell_of("", &format!("{SEND} {LEAVE_WITH_WHAT_IS_RECEIVED}")).await;
        let sender = spawned.sender;
        let answers = does(move |said| {
            assert_eq!(said, message(2, 0));
            sender.send(message(3, 3)).unwrap();
            Ok(())
        });
        assert_eq!(spawned.cell.run(answers).await, Exit::Exited(8 + 3 * 8));
    });
}

#[test]
fn a_message_lies_unchanged_while_it_is_delivered() {
    let fills = "(memory.fill (i32.const 1032) (local.get $i) (i32.const 16))";
    let body = format!(
        r#"(loop $more
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            {fills} {SEND}
            (br_if $more (i32.lt_u (local.get $i) (i32.const 100))))
        {LEAVE_WITH_WHAT_IS_RECEIVED}"#
    );
    on_one_thread(async {
        let spawned = cell_of("(local $i i32)", &body).await;
        let sender = spawned.sender;
        let said = Rc::new(RefCell::new(Vec::new()));
        let kept = said.clone();
        let looks_twice = does(move |message| {
            let before = message.to_vec();
            sender.send(support::message(0, 0)).unwrap();
            sender.send(vec![0xff; 1 << 10]).unwrap();
            assert_eq!(message, before);
            kept.borrow_mut().push(before);
            Ok(())
        });
        let received = 100 * (8 + (1 << 10));
        let exit = spawned.cell.run(looks_twice).await;
        assert_eq!(exit, Exit::Exited((received % 256) as u8));
        let expected: Vec<_> = (1..=100).map(|i| message(2, i)).collect();
        assert_eq!(*said.borrow(), expected);
    });
}

#[test]
fn a_send_waits_while_there_is_no_room_and_returns_when_there_is() {
    on_one_thread(async {
        let program = engine().load(talker(FLOOD)).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let (control, _sender, mut inbox) = start_with_room(spawned, 1);
        for _ in 0..10 {
            until(|| inbox.len() == 1).await;
            others().await;
            assert_eq!(inbox.len(), 1);
            inbox.receive().await.unwrap();
        }
        // It is told as well when there is nobody left to make room.
        until(|| inbox.len() == 1).await;
        drop(inbox);
        assert_eq!(control.wait().await, Exit::Exited(1));
    });
}

#[test]
fn a_send_without_room_returns_when_something_arrives_for_the_guest_or_its_input_ends() {
    on_one_thread(async {
        let body = format!("{SEND} {LEAVE_WITH_WHAT_IS_RECEIVED}");
        for (words, code) in [(Some(3), 8 + 3 * 8), (None, 91)] {
            let (control, sender, inbox) = start_with_room(cell_of("", &body).await, 0);
            until(|| inbox.len() == 1).await;
            others().await;
            assert!(is_running(&control));
            match words {
                Some(words) => sender.send(message(words, 0)).unwrap(),
                None => sender.close(),
            }
            assert_eq!(control.wait().await, Exit::Exited(code));
        }
    });
}

/// Hands on what one guest says to another and never has room.
struct HandsOn(Sender);

impl Recipient for HandsOn {
    fn deliver(&mut self, message: &[u8]) -> Result<(), Closed> {
        self.0.send(message.to_vec()).map_err(|_| Closed)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[test]
fn two_guests_that_wait_on_each_other_both_go_on() {
    // Each sends a hundred messages, and after each waits until it has received as many.
    let body = format!(
        r#"(loop $rounds
            {SEND}
            (local.set $sent (i32.add (local.get $sent) (i32.const 24)))
            (loop $wait (if (i32.lt_u (local.get $got) (local.get $sent)) (then
                (call $reset)
                (call $receive (local.get $c) (i32.const 0))
                (if (i32.load8_u (i32.const 0)) (then (call $exit (i32.const 91))))
                (local.set $got (i32.add (local.get $got) (i32.load (i32.const 12))))
                (if (i32.eqz (i32.load (i32.const 12))) (then
                    (local.set $pollable (call $subscribe (local.get $c)))
                    (call $block (local.get $pollable))
                    (call $drop-pollable (local.get $pollable))))
                (br $wait))))
            (br_if $rounds (i32.lt_u (local.get $sent) (i32.const 2400))))
        (call $exit (i32.const 7))"#
    );
    let locals = "(local $sent i32) (local $got i32) (local $pollable i32)";
    on_one_thread(async {
        let one = cell_of(locals, &body).await;
        let other = cell_of(locals, &body).await;
        let run_one = one.cell.run(HandsOn(other.sender));
        let run_other = other.cell.run(HandsOn(one.sender));
        let exits = futures::future::join(run_one, run_other).await;
        assert_eq!(exits, (Exit::Exited(7), Exit::Exited(7)));
    });
}

#[test]
fn a_guest_is_told_closed_and_still_receives_what_was_queued() {
    let told = r#"
        (call $send (local.get $c) (i32.const 1024) (i32.const 24) (i32.const 32))
        (if (i32.eqz (i32.load8_u (i32.const 32))) (then (call $exit (i32.const 92))))
        (if (i32.load8_u (i32.const 40)) (then (call $exit (i32.const 93))))"#;
    let body = format!("{SEND} {told} {told} {LEAVE_WITH_WHAT_IS_RECEIVED}");
    on_one_thread(async {
        let spawned = cell_of("", &body).await;
        let sender = spawned.sender;
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let closes = does(move |_| {
            counted.set(counted.get() + 1);
            if counted.get() == 1 {
                sender.send(message(1, 1)).unwrap();
                Ok(())
            } else {
                Err(Closed)
            }
        });
        assert_eq!(spawned.cell.run(closes).await, Exit::Exited(16));
        // It was not asked again.
        assert_eq!(calls.get(), 2);
    });
}

#[test]
fn a_recipient_may_drop_its_sender_while_it_is_delivered_to() {
    let over = r#"
        (call $receive (local.get $c) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then (call $exit (i32.const 94))))"#;
    let once = r#"
        (call $receive (local.get $c) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (call $exit (i32.const 91))))
        (if (i32.ne (i32.load (i32.const 12)) (i32.const 16)) (then (call $exit (i32.const 95))))"#;
    // The way to the host is open all the same.
    let body = format!("{SEND} {once} {over} {SEND} (call $exit (i32.const 7))");
    on_one_thread(async {
        let spawned = cell_of("", &body).await;
        let mut sender = Some(spawned.sender);
        let drops = does(move |_| {
            if let Some(sender) = sender.take() {
                sender.send(message(1, 1)).unwrap();
            }
            Ok(())
        });
        assert_eq!(spawned.cell.run(drops).await, Exit::Exited(7));
    });
}

#[test]
fn nothing_is_delivered_once_the_recipient_has_killed_the_cell() {
    on_one_thread(async {
        let flood_a_stream = talker(
            r#"(func (export "run") (result i32)
                (local $out i32)
                (local.set $out (call $get-output (call $create)))
                (i32.store (i32.const 1028) (i32.const 2))
                (call $check-write (local.get $out) (i32.const 64))
                (loop $forever
                    ;; Two messages in one write.
                    (i32.store (i32.const 1052) (i32.const 2))
                    (call $write (local.get $out) (i32.const 1024) (i32.const 48) (i32.const 96))
                    (br $forever))
                (unreachable))"#,
        );
        for guest in [talker(FLOOD), flood_a_stream] {
            let program = engine().load(guest).await.unwrap();
            let spawned = program.spawn(Setup::default()).unwrap();
            let control = spawned.control.clone();
            let calls = Rc::new(Cell::new(0));
            let counted = calls.clone();
            let kills = does(move |_| {
                counted.set(counted.get() + 1);
                control.kill();
                Ok(())
            });
            assert_eq!(spawned.cell.run(kills).await, Exit::Killed);
            assert_eq!(spawned.control.status(), Status::Ended(Exit::Killed));
            assert_eq!(calls.get(), 1);
        }
    });
}

#[test]
fn a_recipient_is_dropped_when_the_guest_drops_its_end() {
    on_one_thread(async {
        let hangs_up = cell_of(
            "",
            "(call $drop-connection (local.get $c)) (loop $l (br $l))",
        );
        let (control, sender, mut inbox) = start(hangs_up.await);
        assert_eq!(inbox.receive().await, None);
        assert!(is_running(&control));
        assert_eq!(sender.send(message(1, 1)), Err(SendError::Closed));
        control.kill();
        assert_eq!(control.wait().await, Exit::Killed);

        // A stream's output ends for itself, and what comes in can still be read.
        let closes_its_output = talker(
            r#"(func (export "run") (result i32)
                (local $c i32)
                (local.set $c (call $create))
                (call $drop-output (call $get-output (local.get $c)))
                (call $read (call $get-input (local.get $c)) (i64.const 100) (i32.const 32))
                (call $exit (i32.load (i32.const 40)))
                (unreachable))"#,
        );
        let program = engine().load(closes_its_output).await.unwrap();
        let (control, sender, mut inbox) = start(program.spawn(Setup::default()).unwrap());
        assert_eq!(inbox.receive().await, None);
        assert!(is_running(&control));
        sender.send(message(1, 1)).unwrap();
        assert_eq!(control.wait().await, Exit::Exited(16));
    });
}

#[test]
fn a_recipient_is_gone_before_the_end_of_its_cell_is_told() {
    struct AtDrop(Control);
    impl Recipient for AtDrop {
        fn deliver(&mut self, _: &[u8]) -> Result<(), Closed> {
            Ok(())
        }
        fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    impl Drop for AtDrop {
        fn drop(&mut self) {
            assert!(is_running(&self.0));
        }
    }
    on_one_thread(async {
        let guest = command(r#"(func (export "run") (result i32) (i32.const 0))"#);
        let program = engine().load(guest).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let run = spawned.cell.run(AtDrop(spawned.control.clone()));
        assert_eq!(run.await, Exit::Exited(0));

        let spawned = program.spawn(Setup::default()).unwrap();
        drop(spawned.cell.run(AtDrop(spawned.control.clone())));
        assert_eq!(spawned.control.status(), Status::Ended(Exit::Killed));
    });
}

#[test]
fn a_stream_is_held_back_while_there_is_no_room_and_let_go_when_something_arrives() {
    // Writes two messages, each once it may and after which it may not, and waits until it may again;
    // leaves with the length of what it reads then.
    let guest = talker(
        r#"(func (export "run") (result i32)
            (local $c i32) (local $in i32) (local $out i32) (local $pollable i32) (local $i i32)
            (local.set $c (call $create))
            (local.set $in (call $get-input (local.get $c)))
            (local.set $out (call $get-output (local.get $c)))
            (i32.store (i32.const 1028) (i32.const 2))
            (loop $more
                (local.set $pollable (call $subscribe-output (local.get $out)))
                (call $block (local.get $pollable))
                (call $drop-pollable (local.get $pollable))
                (call $check-write (local.get $out) (i32.const 64))
                (if (i32.load8_u (i32.const 64)) (then (call $exit (i32.const 91))))
                (if (i64.lt_u (i64.load (i32.const 72)) (i64.const 24))
                    (then (call $exit (i32.const 92))))
                (call $write (local.get $out) (i32.const 1024) (i32.const 24) (i32.const 96))
                (if (i32.load8_u (i32.const 96)) (then (call $exit (i32.const 93))))
                (call $check-write (local.get $out) (i32.const 64))
                (if (i64.ne (i64.load (i32.const 72)) (i64.const 0))
                    (then (call $exit (i32.const 94))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $i) (i32.const 2))))
            (local.set $pollable (call $subscribe-output (local.get $out)))
            (call $block (local.get $pollable))
            (call $check-write (local.get $out) (i32.const 64))
            (if (i64.eqz (i64.load (i32.const 72))) (then (call $exit (i32.const 95))))
            (call $read (local.get $in) (i64.const 100) (i32.const 32))
            (call $exit (i32.load (i32.const 40)))
            (unreachable))"#,
    );
    on_one_thread(async {
        let program = engine().load(guest).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let (control, sender, mut inbox) = start_with_room(spawned, 1);
        until(|| inbox.len() == 1).await;
        others().await;
        assert_eq!(inbox.len(), 1);
        inbox.receive().await.unwrap();
        until(|| inbox.len() == 1).await;
        others().await;
        assert!(is_running(&control));
        sender.send(message(1, 1)).unwrap();
        assert_eq!(control.wait().await, Exit::Exited(16));
    });
}

#[test]
fn a_message_beyond_the_limit_is_not_delivered() {
    let guest = talker(&format!(
        r#"(func (export "run") (result i32)
            (local $c i32)
            (call $connect (i32.const 0))
            (local.set $c (i32.load (i32.const 8)))
            {SEND} (i32.const 0))"#
    ));
    on_one_thread(async {
        let program = engine().load(guest).await.unwrap();
        for (message_bytes, exit, delivered) in
            [(24, Exit::Exited(0), 1), (23, Exit::Exited(90), 0)]
        {
            let setup = Setup {
                limits: Limits {
                    message_bytes,
                    ..Limits::default()
                },
                ..Setup::default()
            };
            let spawned = program.spawn(setup).unwrap();
            let calls = Rc::new(Cell::new(0));
            let counted = calls.clone();
            let counts = does(move |_| {
                counted.set(counted.get() + 1);
                Ok(())
            });
            assert_eq!(spawned.cell.run(counts).await, exit);
            assert_eq!(calls.get(), delivered);
        }
    });
}

#[test]
fn the_future_that_runs_a_cell_stays_on_its_thread() {
    trait IsSend<Kind> {
        fn is_send(&self) -> bool;
    }
    struct Asked<T>(T);
    struct OfAnything;
    impl<T> IsSend<OfAnything> for Asked<T> {
        fn is_send(&self) -> bool {
            false
        }
    }
    struct OfSend;
    impl<T: Send> IsSend<OfSend> for Asked<T> {
        fn is_send(&self) -> bool {
            true
        }
    }
    on_one_thread(async {
        let spawned = cell_of("", "").await;
        // A future that is `Send` would make this ambiguous, and not compile. `Nobody` is `Send`.
        let run = Asked(spawned.cell.run(Nobody));
        assert!(!run.is_send());
    });
}
