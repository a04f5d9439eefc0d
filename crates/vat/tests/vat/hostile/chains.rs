//! Long rows of things that hold each other.

use std::rc::Rc;

use vat::{Limits, Usage};

use crate::lab::Seen;
use crate::wire::{
    Cap, Kind, LAB, Peer, To, body, bootstrap, call, finish, method, on_a_small_stack, reason,
    settle, until,
};

const LONG: u32 = 100_000;

fn wide() -> Limits {
    Limits {
        answers: 1 << 20,
        bytes_in_flight: 1 << 30,
        pipeline_depth: u32::MAX,
        outgoing_bytes: 1 << 30,
        exports: 1 << 20,
        ..Limits::default()
    }
}

/// Calls each of which is made on the promised result of the one before.
fn chain(peer: &Peer, length: u32) {
    peer.ask(&call(0, LAB, method::WAIT));
    for question in 1..=length {
        let before = To::Answer(question - 1, vec![0]);
        peer.ask(&call(question, before, method::MAKE));
    }
}

#[test]
fn a_long_row_of_pipelined_calls_runs_when_the_first_returns() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&wide());
        chain(&peer, LONG);
        assert!(peer.hear_all().await.is_empty());
        peer.ask(&call(LONG + 1, LAB, method::RELEASE));
        let heard = LONG as usize + 2;
        until("all return", || peer.unread().0 == heard).await;
        peer.take_unread();
        for question in 0..=LONG {
            peer.say(&finish(question, true));
        }
        until("all are let go of", || peer.seen.alive.get() == 1).await;
        assert_eq!(peer.connection.usage().answers, 0);
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_long_row_of_pipelined_calls_is_dropped_with_its_connection() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        let peer = Peer::new(&wide());
        chain(&peer, LONG);
        settle().await;
        peer.leaves_nothing().await;
        other.works().await;
    });
}

#[test]
fn a_long_row_of_pipelined_calls_is_finished_from_either_end() {
    on_a_small_stack(|| async {
        for backwards in [false, true] {
            let peer = Peer::new(&wide());
            chain(&peer, LONG);
            for question in 0..=LONG {
                let question = if backwards { LONG - question } else { question };
                peer.say(&finish(question, true));
            }
            until("all are cancelled", || peer.seen.running.get() == 0).await;
            peer.take_unread();
            assert_eq!(peer.connection.usage().answers, 0);
            peer.works().await;
            peer.leaves_nothing().await;
        }
    });
}

#[test]
fn a_row_that_is_too_long_is_refused_by_name() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        chain(&peer, 200);
        let heard = peer.hear_all().await;
        assert_eq!(heard.len(), 200 - 127);
        let body = body(&heard, 128);
        assert!(reason(&body, Kind::Overloaded).starts_with("129 calls in a row"));
        peer.ask(&call(1000, LAB, method::RELEASE));
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_long_row_of_capabilities_each_holding_the_next_is_dropped_at_once() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        // Each new object keeps the one before; the peer keeps only the last.
        let mut last = peer.import(&call(1, LAB, method::MAKE)).await;
        for _ in 0..LONG {
            peer.ask(&call(1, LAB, method::MAKE));
            peer.ask(&call(2, To::Answer(1, vec![0]), method::KEEP).cap(Cap::Receiver(last)));
            let heard = peer.hear();
            let crate::wire::Body::Results { caps, .. } = body(&heard, 1) else {
                panic!("{heard:?}");
            };
            let [Cap::Hosted(made)] = caps[..] else {
                panic!("{caps:?}");
            };
            peer.say(&finish(1, false));
            peer.say(&crate::wire::release(last, 1));
            last = made;
        }
        assert_eq!(peer.seen.alive.get(), LONG as usize + 2);
        peer.say(&crate::wire::release(last, 1));
        settle().await;
        assert_eq!(peer.seen.alive.get(), 1);
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_promised_answer_can_be_registered_and_called() {
    on_a_small_stack(|| async {
        let seen = Rc::new(Seen::default());
        let peer = Peer::bare(&Limits::default(), &seen);
        // All in one breath, from the bootstrap on.
        peer.say(&bootstrap(0));
        let lab = || To::Answer(0, vec![]);
        peer.ask(&call(1, lab(), method::MAKE));
        peer.ask(&call(2, lab(), method::KEEP).cap(Cap::Answer(1, vec![0])));
        peer.ask(&call(3, lab(), method::KEPT));
        peer.ask(&call(4, To::Answer(3, vec![0]), method::ECHO).data(b"x"));
        peer.ask(&call(5, To::Answer(1, vec![0]), method::ECHO).data(b"y"));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 4), crate::wire::data(b"x"));
        assert_eq!(body(&heard, 5), crate::wire::data(b"y"));
        for question in [0, 1, 3] {
            peer.say(&finish(question, true));
        }
        assert_eq!(peer.connection.usage(), Usage::default());
        peer.leaves_nothing().await;
    });
}
