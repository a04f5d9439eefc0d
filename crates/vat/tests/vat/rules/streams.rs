//! Streaming methods.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::oneshot;
use vat::{Limits, STREAM_WINDOW_BYTES};

use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, body, call, data, finish, method, reason, returned,
    returned_data, settle,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

/// Takes one piece at a time: the next one when the one before has been let through.
#[derive(Default)]
struct Slow {
    taken: Cell<u64>,
    gate: RefCell<Vec<oneshot::Sender<()>>>,
}

impl Slow {
    /// Lets what is being pushed through.
    async fn open(&self) {
        for gate in self.gate.take() {
            let _ = gate.send(());
        }
        settle().await;
    }
}

impl lab::Server for Slow {
    async fn push(self: Rc<Self>, params: lab::PushParams) -> Result<(), capnp::Error> {
        let (gate, opened) = oneshot::channel();
        self.gate.borrow_mut().push(gate);
        let _ = opened.await;
        let bytes = params.get()?.get_data()?.len() as u64;
        self.taken.set(self.taken.get() + bytes);
        Ok(())
    }

    async fn nothing(
        self: Rc<Self>,
        _: lab::NothingParams,
        _: lab::NothingResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }
}

/// A peer of a slow object, as import 0, and the object.
fn slow() -> (Peer, Rc<Slow>) {
    let slow = Rc::new(Slow::default());
    let client: lab::Client = vat::new_client_from_rc(slow.clone());
    let peer = Peer::serving(&Limits::default(), &Rc::default(), client);
    peer.hold_lab();
    (peer, slow)
}

#[test]
fn a_streaming_call_holds_back_later_calls_on_the_object() {
    on_a_vat(async {
        let (peer, slow) = slow();
        peer.ask(&call(1, LAB, method::PUSH).data(b"123"));
        peer.ask(&call(2, LAB, method::PUSH).data(b"45"));
        peer.ask(&call(3, LAB, method::NOTHING));
        assert!(peer.hear_all().await.is_empty());
        assert_eq!(slow.gate.borrow().len(), 1, "one at a time");
        slow.open().await;
        assert!(matches!(peer.hear_return(1).await, Body::Results { .. }));
        slow.open().await;
        let heard = peer.hear_all().await;
        assert!(matches!(body(&heard, 2), Body::Results { .. }));
        assert!(matches!(body(&heard, 3), Body::Results { .. }));
        assert_eq!(slow.taken.get(), 5);
    });
}

#[test]
fn a_streaming_call_holds_back_no_other_object() {
    on_a_vat(async {
        let (peer, slow) = slow();
        let other = self::peer();
        peer.ask(&call(1, LAB, method::PUSH).data(b"123"));
        other.works().await;
        slow.open().await;
        assert!(matches!(peer.hear_return(1).await, Body::Results { .. }));
    });
}

#[test]
fn the_error_of_a_streaming_call_is_that_of_all_later_ones() {
    on_a_vat(async {
        let peer = peer();
        for (question, data) in [(1, &b"12"[..]), (2, b""), (3, b"34")] {
            peer.ask(&call(question, LAB, method::PUSH).data(data));
        }
        peer.ask(&call(4, LAB, method::PUSHED));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), data(b""));
        for question in 2..5 {
            let body = body(&heard, question);
            assert_eq!(reason(&body, Kind::Failed), "nothing was pushed");
        }
        assert_eq!(peer.seen.pushed.get(), 2);
    });
}

#[test]
fn a_streaming_call_that_is_finished_early_lets_the_next_begin() {
    on_a_vat(async {
        let (peer, slow) = slow();
        peer.ask(&call(1, LAB, method::PUSH).data(b"12"));
        peer.ask(&call(2, LAB, method::PUSH).data(b"345"));
        peer.ask(&call(3, LAB, method::PUSH).data(b"6789"));
        peer.say(&finish(2, true));
        peer.say(&finish(1, true));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), Body::Canceled);
        assert_eq!(body(&heard, 2), Body::Canceled);
        slow.open().await;
        assert!(matches!(peer.hear_return(3).await, Body::Results { .. }));
        assert_eq!(slow.taken.get(), 4);
    });
}

#[test]
fn streaming_to_a_peer_waits_when_a_window_is_under_way_and_fails_after_a_failure() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(5)).await;
        let push = || {
            let mut push = lab.push_request();
            push.get().set_data(&vec![1; STREAM_WINDOW_BYTES / 4]);
            push.send()
        };
        let mut waiting = None;
        for number in 1..=4 {
            let pushed = push();
            if number < 4 {
                pushed.await.unwrap();
            } else {
                waiting = Some(pushed);
            }
        }
        let mut waiting = waiting.unwrap();
        settle().await;
        assert!(futures::FutureExt::now_or_never(&mut waiting).is_none());
        let heard = peer.hear_all().await;
        let questions: Vec<u32> = heard
            .iter()
            .filter_map(|said| match said {
                Said::Call(asked) => Some(asked.question),
                _ => None,
            })
            .collect();
        assert_eq!(questions.len(), 4);
        peer.say(&returned_data(questions[0], b""));
        waiting.await.unwrap();
        peer.say(&returned(questions[1], |returned| {
            returned.init_exception().set_reason("no more");
        }));
        settle().await;
        assert_eq!(push().await.err().unwrap().extra, "no more");
        let heard = peer.hear_all().await;
        assert!(!heard.iter().any(|said| matches!(said, Said::Call(_))));
    });
}
