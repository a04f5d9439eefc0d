//! Calls from a peer: answers, and what is promised by them.

use std::rc::Rc;

use vat::{Limits, Usage};

use crate::lab::{Lab, Seen, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, To, body, bootstrap, call, data, finish, message, method,
    one, reason, release, settle,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

#[test]
fn a_bootstrap_returns_a_capability_and_is_to_be_finished() {
    on_a_vat(async {
        let peer = peer();
        peer.say(&bootstrap(5));
        let heard = peer.hear();
        let [Said::Return(returned)] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert_eq!(returned.answer, 5);
        assert!(!returned.no_finish);
        assert_eq!(returned.body, one(Cap::Hosted(0)));
        assert_eq!(peer.connection.usage().answers, 1);
        peer.say(&finish(5, true));
        assert_eq!(peer.connection.usage().answers, 0);
        peer.works().await;
    });
}

#[test]
fn a_bootstrap_is_answered_with_an_exception_if_there_is_nothing_to_be_had() {
    on_a_vat(async {
        let (peer, _connection) = crate::peers::raw(&Limits::default(), None);
        peer.inbox.receive(&bootstrap(0)).unwrap();
        let heard = crate::wire::read(&peer.sent.borrow_mut().pop_front().unwrap());
        let body = body(&[heard], 0);
        assert_eq!(
            reason(&body, Kind::Failed),
            "there is no bootstrap capability"
        );
    });
}

#[test]
fn no_finish_needed_frees_the_id() {
    on_a_vat(async {
        let peer = peer();
        for _ in 0..2 {
            peer.ask(&call(1, LAB, method::ECHO).data(b"x"));
            let Said::Return(returned) = peer.hear_one().await else {
                panic!("no return");
            };
            assert!(returned.no_finish);
            assert!(!returned.release_params);
            assert_eq!(returned.body, data(b"x"));
        }
        // A finish that is not needed is ignored.
        peer.say(&finish(1, true));
        assert_eq!(peer.connection.usage().answers, 0);
    });
}

#[test]
fn results_with_capabilities_are_kept_until_they_are_finished() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::MAKE));
        assert_eq!(peer.hear_return(1).await, one(Cap::Hosted(1)));
        peer.say(&release(1, 1));
        assert_eq!(peer.seen.alive.get(), 2, "the answer still promises it");
        peer.ask(&call(2, To::Answer(1, vec![0]), method::ECHO).data(b"x"));
        assert_eq!(peer.hear_return(2).await, data(b"x"));
        peer.say(&finish(1, false));
        assert_eq!(peer.seen.alive.get(), 1);
    });
}

#[test]
fn a_finish_takes_back_the_capabilities_of_the_results_if_it_says_so() {
    on_a_vat(async {
        let peer = peer();
        for (released, left) in [(true, 1), (false, 2)] {
            peer.ask(&call(1, LAB, method::MAKE));
            peer.hear_all().await;
            peer.say(&finish(1, released));
            assert_eq!(peer.connection.usage().exports, left);
            assert_eq!(peer.seen.alive.get(), left);
        }
    });
}

#[test]
fn a_finish_before_the_return_cancels_the_call_and_is_answered_canceled() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::NEVER));
        assert_eq!(peer.seen.running.get(), 1);
        peer.say(&finish(1, true));
        assert_eq!(peer.hear_return(1).await, Body::Canceled);
        assert_eq!(peer.seen.running.get(), 0);
        // And the id is free.
        peer.ask(&call(1, LAB, method::ECHO));
        assert_eq!(peer.hear_return(1).await, data(b""));
    });
}

#[test]
fn a_finish_of_an_old_implementation_cancels_too() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::NEVER));
        // With everything as it is by default.
        peer.say(&message(|message| {
            message.init_finish().set_question_id(1);
        }));
        assert_eq!(peer.hear_return(1).await, Body::Canceled);
        assert_eq!(peer.seen.running.get(), 0);
    });
}

#[test]
fn a_call_that_others_are_promised_by_goes_on_when_it_is_finished() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::WAIT));
        peer.ask(&call(2, To::Answer(1, vec![0]), method::ECHO).data(b"x"));
        peer.say(&finish(1, true));
        assert_eq!(peer.hear_return(1).await, Body::Canceled);
        assert_eq!(peer.seen.running.get(), 1);
        peer.ask(&call(3, LAB, method::RELEASE));
        assert_eq!(peer.result(2).await, data(b"x"));
        settle().await;
        assert_eq!(peer.connection.usage().exports, 1);
        assert_eq!(peer.seen.alive.get(), 1);
    });
}

#[test]
fn an_exception_has_its_type_and_reason() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::FAIL).data(b"for a reason"));
        let failed = Body::Exception(Kind::Failed, "for a reason".into());
        assert_eq!(peer.hear_return(1).await, failed);
        peer.say(&finish(1, true));
        assert_eq!(peer.connection.usage().answers, 0);
    });
}

#[test]
fn a_method_or_interface_that_there_is_not_is_unimplemented() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, 4711));
        reason(&peer.hear_return(1).await, Kind::Unimplemented);
        peer.say(&call(2, LAB, method::ECHO).with(|mut call| call.set_interface_id(1)));
        reason(&peer.hear_return(2).await, Kind::Unimplemented);
        peer.works().await;
    });
}

#[test]
fn a_question_id_that_is_in_use_ends_the_connection() {
    on_a_vat(async {
        for again in [
            bootstrap(1),
            call(1, LAB, method::ECHO).bytes(),
            call(1, LAB, method::ECHO).yourself().bytes(),
        ] {
            let peer = peer();
            peer.ask(&call(1, LAB, method::NEVER));
            assert_eq!(
                peer.is_cut_off_for(&again).await,
                "question 1 is asked already"
            );
            peer.leaves_nothing().await;
        }
    });
}

#[test]
fn a_question_id_is_in_use_until_it_is_finished_even_if_it_has_returned() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::MAKE));
        let again = call(1, LAB, method::MAKE).bytes();
        assert_eq!(
            peer.is_cut_off_for(&again).await,
            "question 1 is asked already"
        );
        peer.leaves_nothing().await;
    });
}

#[test]
fn any_number_will_do_as_a_question_id() {
    on_a_vat(async {
        let peer = peer();
        for question in [u32::MAX, 0, 1 << 31] {
            peer.ask(&call(question, LAB, method::MAKE));
            peer.ask(&call(77, To::Answer(question, vec![0]), method::ECHO));
            let heard = peer.hear_all().await;
            assert_eq!(body(&heard, 77), data(b""));
            peer.say(&finish(question, true));
        }
    });
}

#[test]
fn a_finish_for_a_question_that_was_not_asked_is_ignored() {
    on_a_vat(async {
        let peer = peer();
        peer.say(&finish(12, true));
        peer.works().await;
    });
}

#[test]
fn a_call_on_something_that_is_not_exported_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let unknown = call(1, To::Import(12), method::ECHO).bytes();
        assert_eq!(
            peer.is_cut_off_for(&unknown).await,
            "export 12, which the sender does not hold"
        );
    });
}

#[test]
fn calls_on_an_answer_that_there_is_not_fail() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, To::Answer(12, vec![0]), method::ECHO));
        reason(&peer.hear_return(1).await, Kind::Failed);
        peer.works().await;
    });
}

#[test]
fn calls_can_be_made_on_results_of_every_kind_before_they_return() {
    on_a_vat(async {
        let peer = peer();
        // An object, nothing, a failure, data.
        peer.ask(&call(1, LAB, method::WAIT));
        peer.ask(&call(2, To::Answer(1, vec![0]), method::ECHO).data(b"x"));
        peer.ask(&call(3, To::Answer(1, vec![1]), method::ECHO));
        peer.ask(&call(4, To::Answer(1, vec![0, 0]), method::ECHO));
        peer.ask(&call(5, LAB, method::RELEASE));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 2), data(b"x"));
        reason(&body(&heard, 3), Kind::Failed);
        reason(&body(&heard, 4), Kind::Failed);
        peer.ask(&call(10, LAB, method::FAIL).data(b"because"));
        peer.ask(&call(11, To::Answer(10, vec![0]), method::ECHO));
        let because = Body::Exception(Kind::Failed, "because".into());
        assert_eq!(peer.result(11).await, because);
        peer.works().await;
    });
}

#[test]
fn pipelined_calls_arrive_in_order_before_and_after_the_return() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::WAIT));
        for number in 0..5 {
            let to = To::Answer(1, vec![0]);
            peer.ask(&call(10 + number, to, method::NEXT).number(number));
        }
        peer.ask(&call(2, LAB, method::RELEASE));
        for number in 5..10 {
            let to = To::Answer(1, vec![0]);
            peer.ask(&call(10 + number, to, method::NEXT).number(number));
        }
        let heard = peer.hear_all().await;
        for number in 0..10 {
            assert!(matches!(body(&heard, 10 + number), Body::Results { .. }));
        }
    });
}

#[test]
fn calls_on_a_capability_by_name_and_by_promise_arrive_in_order() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::MAKE));
        let id = match peer.hear_return(1).await {
            Body::Results { caps, .. } => match caps[..] {
                [Cap::Hosted(id)] => id,
                _ => panic!("{caps:?}"),
            },
            other => panic!("{other:?}"),
        };
        for number in 0..10 {
            let to = match number % 2 {
                0 => To::Answer(1, vec![0]),
                _ => To::Import(id),
            };
            peer.ask(&call(10 + number, to, method::NEXT).number(number));
        }
        let heard = peer.hear_all().await;
        for number in 0..10 {
            assert!(matches!(body(&heard, 10 + number), Body::Results { .. }));
        }
    });
}

#[test]
fn hints_about_pipelining_are_tolerated() {
    on_a_vat(async {
        let peer = peer();
        peer.say(&call(1, LAB, method::MAKE).with(|mut call| {
            call.set_no_promise_pipelining(true);
            call.set_allow_third_party_tail_call(true);
        }));
        peer.say(&call(2, LAB, method::MAKE).with(|mut call| call.set_only_promise_pipeline(true)));
        peer.ask(&call(3, To::Answer(2, vec![0]), method::ECHO).data(b"x"));
        let heard = peer.hear_all().await;
        assert!(matches!(body(&heard, 1), Body::Results { .. }));
        assert!(matches!(body(&heard, 2), Body::Results { .. }));
        assert_eq!(body(&heard, 3), data(b"x"));
    });
}

#[test]
fn an_abort_ends_the_connection_with_its_reason() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::NEVER));
        let abort = message(|message| message.init_abort().set_reason("I have to go"));
        assert!(peer.try_say(&abort).is_err());
        let reason = peer.connection.ended().await;
        assert_eq!(reason.extra, "I have to go");
        assert_eq!(reason.kind, capnp::ErrorKind::Disconnected);
        assert!(
            peer.hear_all().await.is_empty(),
            "nobody is there to be told"
        );
        assert_eq!(peer.connection.usage(), Usage::default());
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_call_that_nobody_wants_keeps_nothing_while_it_waits_for_its_turn() {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let lab: lab::Client = Lab::<Vat>::client(&seen);
        let made = lab.make_request().send();
        // It is made on what the first one promises, and so keeps that one wanted.
        let on = made.pipeline.get_lab().nothing_request().send();
        drop(made);
        drop(on);
        settle().await;
        assert_eq!(seen.calls.get(), 0, "neither has begun");
        assert_eq!(seen.alive.get(), 1);
    });
}
