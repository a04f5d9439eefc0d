//! Order, when a promise turns out to be near.

use vat::Limits;

use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Asked, Body, Cap, LAB, Peer, Said, To, call, method, receiver_loopback, resolve_to, returned,
    returned_lab, sender_loopback, settle,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

fn next(lab: &lab::Client, expected: u32) -> capnp::capability::Promise<(), capnp::Error> {
    let mut next = lab.next_request();
    next.get().set_expected(expected);
    let promise = next.send().promise;
    capnp::capability::Promise::from_future(async move { promise.await.map(drop) })
}

/// Sends a call on as the peer would: to the object that the promise turned out to be.
fn bounce(peer: &Peer, asked: &Asked, question: u32) {
    peer.ask(
        &call(question, LAB, method::NEXT)
            .number(asked.number)
            .yourself(),
    );
    peer.say(&returned(asked.question, |mut returned| {
        returned.set_take_from_other_question(question);
    }));
}

#[test]
fn a_call_waits_behind_an_embargo() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        let first = next(&lab, 0);
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Import(7)));
        // It is an object of this side; the first call is on its way there and back.
        peer.say(&resolve_to(7, &Cap::Receiver(0)));
        let heard = peer.hear_all().await;
        let Some(Said::SenderLoopback(to, embargo)) = heard.first() else {
            panic!("{heard:?}");
        };
        assert_eq!(*to, To::Import(7));
        let second = next(&lab, 1);
        settle().await;
        assert_eq!(peer.connection.usage().embargoes, 1);
        bounce(&peer, &asked, 50);
        settle().await;
        assert_eq!(peer.connection.usage().embargoes, 1);
        peer.say(&receiver_loopback(&LAB, *embargo));
        let third = next(&lab, 2);
        for call in [first, second, third] {
            call.await.unwrap();
        }
        assert_eq!(peer.connection.usage().embargoes, 0);
    });
}

#[test]
fn an_embargo_applies_to_promised_results_too() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(5)).await;
        let made = lab.make_request().send();
        let question = peer.hear_call().await.question;
        let promised = made.pipeline.get_lab();
        let first = next(&promised, 0);
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Answer(question, vec![0])));
        peer.say(&returned_lab(question, &Cap::Receiver(0)));
        let heard = peer.hear_all().await;
        let embargo = heard.iter().find_map(|said| match said {
            Said::SenderLoopback(to, id) => Some((to.clone(), *id)),
            _ => None,
        });
        let (to, embargo) = embargo.unwrap();
        assert_eq!(to, To::Answer(question, vec![0]));
        let second = next(&promised, 1);
        bounce(&peer, &asked, 50);
        peer.say(&receiver_loopback(&LAB, embargo));
        first.await.unwrap();
        second.await.unwrap();
    });
}

#[test]
fn a_promise_that_was_not_used_needs_no_embargo() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        peer.say(&resolve_to(7, &Cap::Receiver(0)));
        assert_eq!(peer.hear_one().await, Said::Release(7, 1));
        next(&lab, 0).await.unwrap();
        assert_eq!(peer.connection.usage().embargoes, 0);
    });
}

#[test]
fn what_waits_behind_an_embargo_fails_with_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        let first = next(&lab, 0);
        peer.hear_call().await;
        peer.say(&resolve_to(7, &Cap::Receiver(0)));
        let second = next(&lab, 1);
        settle().await;
        peer.connection
            .disconnect(capnp::Error::failed("over".into()));
        assert_eq!(first.await.err().unwrap().extra, "over");
        assert_eq!(second.await.err().unwrap().extra, "over");
        drop(lab);
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_sender_loopback_comes_back_after_the_calls_before_it() {
    on_a_vat(async {
        let peer = peer();
        let Body::Results { caps, .. } = ({
            peer.ask(&call(1, LAB, method::PROMISE));
            peer.hear_return(1).await
        }) else {
            panic!("no results");
        };
        let [Cap::Promise(promise)] = caps[..] else {
            panic!("{caps:?}");
        };
        peer.ask(&call(2, To::Import(promise), method::NEXT).number(10));
        peer.ask(&call(3, To::Answer(1, vec![0]), method::NEXT).number(11));
        // It is the peer's own object.
        peer.ask(&call(4, LAB, method::FULFIL).cap(Cap::Hosted(9)));
        peer.ask(&call(5, To::Import(promise), method::NEXT).number(12));
        peer.say(&sender_loopback(&To::Import(promise), 77));
        let heard = peer.hear_all().await;
        let mut order = Vec::new();
        for said in &heard {
            match said {
                Said::Call(asked) => order.push(asked.number),
                Said::ReceiverLoopback(to, 77) => {
                    assert_eq!(*to, To::Import(9));
                    order.push(0);
                }
                _ => {}
            }
        }
        assert_eq!(order, [10, 11, 12, 0], "{heard:?}");
        peer.works().await;
    });
}

#[test]
fn a_sender_loopback_on_promised_results_comes_back_too() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Hosted(9)));
        peer.ask(&call(2, To::Answer(1, vec![0]), method::NEXT).number(10));
        peer.say(&sender_loopback(&To::Answer(1, vec![0]), 78));
        let heard = peer.hear_all().await;
        let back = Said::ReceiverLoopback(To::Import(9), 78);
        assert_eq!(heard.last(), Some(&back), "{heard:?}");
    });
}

#[test]
fn a_sender_loopback_to_something_not_the_senders_ends_the_connection() {
    on_a_vat(async {
        for waits in [false, true] {
            let peer = peer();
            let target = if waits {
                // A promise that is not known to be the sender's.
                To::Import(peer.import(&call(1, LAB, method::PROMISE)).await)
            } else {
                LAB
            };
            let reason = peer.is_cut_off_for(&sender_loopback(&target, 1)).await;
            assert_eq!(
                reason,
                "a disembargo of something that does not lead back to its sender"
            );
            peer.leaves_nothing().await;
        }
    });
}

#[test]
fn a_receiver_loopback_that_was_not_asked_for_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let loopback = receiver_loopback(&LAB, 3);
        let reason = peer.is_cut_off_for(&loopback).await;
        assert_eq!(reason, "embargo 3, which is not in force");
    });
}
