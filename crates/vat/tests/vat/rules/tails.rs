//! Calls that come back to the side from which they came: results that need not travel.

use vat::Limits;

use crate::peers::{joined, on_a_vat};
use crate::wire::{
    Body, Cap, LAB, Peer, Said, To, body, call, data, finish, method, one, returned, returned_data,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

#[test]
fn a_call_passed_on_to_its_own_caller_is_an_ordinary_one() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::FORWARD).cap(Cap::Hosted(5)).data(b"x"));
        let heard = peer.hear_all().await;
        let [Said::Call(asked)] = &heard[..] else {
            panic!("{heard:?}");
        };
        // `capnp-rpc` never begins a call whose results it is to keep.
        assert!(!asked.yourself);
        assert_eq!(asked.to, Some(To::Import(5)));
        peer.say(&returned_data(asked.question, b"y"));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), data(b"y"));
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn finishing_early_what_was_passed_on_to_its_caller_finishes_it_there() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::FORWARD).cap(Cap::Hosted(5)));
        let heard = peer.hear_all().await;
        let Said::Call(asked) = &heard[0] else {
            panic!("{heard:?}");
        };
        peer.say(&finish(1, true));
        let heard = peer.hear_all().await;
        let finished = Said::Finish {
            question: asked.question,
            release: true,
        };
        assert!(heard.contains(&finished), "{heard:?}");
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_canceled(())
        }));
        assert_eq!(peer.connection.usage().questions, 0);
        peer.works().await;
    });
}

#[test]
fn calls_on_what_was_passed_on_to_its_caller_go_there_too() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Hosted(5)));
        peer.ask(&call(2, To::Answer(1, vec![0]), method::MAKE));
        peer.ask(&call(3, To::Answer(2, vec![0]), method::ECHO));
        let heard = peer.hear_all().await;
        let calls: Vec<_> = heard
            .iter()
            .filter_map(|said| match said {
                Said::Call(asked) => Some(asked),
                _ => None,
            })
            .collect();
        assert_eq!(calls.len(), 2, "{heard:?}");
        assert_eq!(calls[0].to, Some(To::Import(5)));
        assert_eq!(calls[1].to, Some(To::Answer(calls[0].question, vec![0])));
        peer.say(&returned_data(calls[1].question, b"y"));
        assert_eq!(body(&peer.hear_all().await, 3), data(b"y"));
    });
}

#[test]
fn results_kept_by_yourself_are_not_sent() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::ECHO).data(b"x").yourself());
        assert_eq!(peer.hear_return(1).await, Body::Elsewhere);
        peer.ask(&call(2, LAB, method::FAIL).data(b"no").yourself());
        assert_eq!(peer.hear_return(2).await, Body::Elsewhere);
        // Calls can be made on what is kept.
        peer.ask(&call(3, LAB, method::MAKE).yourself());
        peer.ask(&call(4, To::Answer(3, vec![0]), method::ECHO).data(b"y"));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 3), Body::Elsewhere);
        assert_eq!(body(&heard, 4), data(b"y"));
        for question in 1..4 {
            peer.say(&finish(question, true));
        }
        assert_eq!(peer.connection.usage().answers, 0);
        assert_eq!(peer.seen.alive.get(), 1);
    });
}

#[test]
fn results_kept_by_yourself_are_taken_once() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(5)).await;
        let first = lab.echo_request().send().promise;
        let second = lab.echo_request().send().promise;
        let heard = peer.hear_all().await;
        let [Said::Call(one), Said::Call(two)] = &heard[..] else {
            panic!("{heard:?}");
        };
        peer.ask(&call(1, LAB, method::ECHO).data(b"x").yourself());
        let take = |question| {
            returned(question, |mut returned| {
                returned.set_take_from_other_question(1);
            })
        };
        peer.say(&take(one.question));
        let response = first.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"x");
        let reason = peer.is_cut_off_for(&take(two.question)).await;
        assert!(reason.contains("were taken before"), "{reason}");
        assert!(second.await.is_err());
    });
}

#[test]
fn results_can_be_taken_before_they_are_there() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(5)).await;
        let capnp::capability::RemotePromise { promise, pipeline } = lab.wait_request().send();
        let made = pipeline.get_lab();
        drop(pipeline);
        let asked = peer.hear_call().await;
        peer.ask(&call(1, LAB, method::WAIT).yourself());
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_take_from_other_question(1);
        }));
        let finished = Said::Finish {
            question: asked.question,
            release: false,
        };
        let heard = peer.hear_all().await;
        assert!(!heard.contains(&finished), "{heard:?}");
        peer.ask(&call(2, LAB, method::RELEASE));
        promise.await.unwrap();
        let heard = peer.hear_all().await;
        assert_eq!(
            body(&heard, 1),
            Body::Elsewhere,
            "never the results themselves"
        );
        // What was promised is this side's own object now.
        let echo = made.echo_request().send().promise.await;
        assert!(echo.is_ok());
        peer.say(&finish(1, true));
        drop(made);
        drop(lab);
        peer.hear_all().await;
        assert_eq!(peer.seen.alive.get(), 1);
        assert_eq!(peer.connection.usage().answers, 0);
    });
}

#[test]
fn results_that_were_not_kept_cannot_be_taken() {
    on_a_vat(async {
        for answer in [1, 77] {
            let peer = peer();
            let lab = peer.give(&Cap::Hosted(5)).await;
            let echo = lab.echo_request().send().promise;
            let asked = peer.hear_call().await;
            peer.ask(&call(1, LAB, method::MAKE));
            let take = returned(asked.question, |mut returned| {
                returned.set_take_from_other_question(answer);
            });
            let reason = peer.is_cut_off_for(&take).await;
            assert!(
                reason.starts_with(&format!("results of question {answer}")),
                "{reason}"
            );
            assert!(echo.await.is_err());
        }
    });
}

#[test]
fn results_that_are_kept_are_not_passed_on_once_more() {
    on_a_vat(async {
        let peer = peer();
        // The caller wants the results here: it has promised them to somebody.
        peer.ask(&call(1, LAB, method::FORWARD).cap(Cap::Hosted(5)).yourself());
        let asked = peer.hear_call().await;
        assert!(!asked.yourself);
        peer.say(&returned_data(asked.question, b"x"));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), Body::Elsewhere);
    });
}

#[test]
fn a_call_forwarded_to_and_fro_comes_to_its_end() {
    on_a_vat(async {
        let seen = std::rc::Rc::default();
        let lab = || crate::lab::Lab::<crate::lab::Vat>::client(&seen);
        let (near, _far) = joined(&Limits::default(), None, Some(lab().client));
        let far: crate::lab_capnp::lab::Client = near.bootstrap();
        // There, back here, there again, and back to an object of this side.
        let mine = lab();
        let mut target = mine.clone();
        for _ in 0..4 {
            let mut keep = far.keep_request();
            keep.get().set_lab(target);
            keep.send().promise.await.unwrap();
            target = far.kept_request().send().pipeline.get_lab();
        }
        let mut forward = far.forward_request();
        forward.get().set_lab(target);
        forward.get().set_data(b"to and fro");
        let response = forward.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"to and fro");
    });
}

#[test]
fn a_peer_that_calls_itself_by_way_of_this_side_gets_nothing_but_its_own() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::KEEP).cap(Cap::Hosted(5)));
        peer.ask(&call(2, LAB, method::KEPT));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 2), one(Cap::Receiver(5)));
        // It asks itself through this side, and answers by asking itself again.
        peer.ask(&call(100, To::Answer(2, vec![0]), method::MAKE));
        for round in 100..200 {
            let heard = peer.hear_all().await;
            let asked = heard.iter().find_map(|said| match said {
                Said::Call(asked) => Some(asked),
                _ => None,
            });
            let question = asked.unwrap().question;
            peer.ask(&call(round + 1, To::Answer(round, vec![0]), method::MAKE));
            peer.say(&returned(question, |mut returned| {
                returned.set_results_sent_elsewhere(())
            }));
        }
        peer.works().await;
        peer.leaves_nothing().await;
    });
}
