//! Calls to a peer: questions, and what is told about them.

use futures::FutureExt as _;
use vat::{Limits, Usage};

use crate::lab::{Lab, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Cap, Kind, Peer, Said, To, finish, message, method, read, release, resolve_to, returned,
    returned_cap, returned_data, returned_lab, settle, write_to,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

fn finished(question: u32, release: bool) -> Said {
    Said::Finish { question, release }
}

#[test]
fn a_call_is_sent_at_once_and_finished_when_its_results_are_there() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Import(9)));
        assert_eq!(asked.method, method::ECHO);
        assert!(!asked.yourself);
        peer.say(&returned_data(asked.question, b"x"));
        let response = echo.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"x");
        // What is in the results needs the peer no more.
        assert_eq!(peer.hear_one().await, finished(asked.question, false));
        drop(lab);
        assert_eq!(peer.hear_one().await, Said::Release(9, 1));
    });
}

#[test]
fn capabilities_in_results_are_released_by_themselves() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned_lab(asked.question, &Cap::Hosted(10)));
        let made = made.await.unwrap().get().unwrap().get_lab().unwrap();
        assert_eq!(peer.hear_one().await, finished(asked.question, false));
        drop(made);
        assert_eq!(peer.hear_one().await, Said::Release(10, 1));
    });
}

#[test]
fn a_return_that_needs_no_finish_gets_none() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let nothing = lab.nothing_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_no_finish_needed(true);
            returned.init_results();
        }));
        drop(nothing.await.unwrap());
        // At once, so that the next call need not queue behind it.
        assert_eq!(peer.connection.usage().questions, 0);
        assert!(peer.hear_all().await.is_empty());
    });
}

#[test]
fn a_question_keeps_its_id_for_as_long_as_calls_can_be_made_by_it() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send();
        let promised = made.pipeline.get_lab();
        let asked = peer.hear_call().await;
        let early = promised.nothing_request().send().promise;
        let on = peer.hear_call().await;
        assert_eq!(on.to, Some(To::Answer(asked.question, vec![0])));
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_no_finish_needed(true);
            returned.init_exception().set_reason("not today");
        }));
        assert!(made.promise.await.is_err());
        assert_eq!(peer.connection.usage().questions, 2, "it and its call");
        let other = lab.nothing_request().send().promise;
        let next = peer.hear_call().await;
        assert_ne!(next.question, asked.question);
        for question in [on.question, next.question] {
            peer.say(&returned(question, |returned| {
                returned.init_results();
            }));
        }
        early.await.unwrap();
        other.await.unwrap();
        drop((promised, made.pipeline));
        peer.hear_all().await;
        assert_eq!(peer.connection.usage().questions, 0);
    });
}

#[test]
fn a_call_that_nobody_waits_for_is_finished_before_it_returns() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send();
        let asked = peer.hear_call().await;
        drop(made);
        assert_eq!(peer.hear_one().await, finished(asked.question, true));
        assert_eq!(peer.connection.usage().questions, 1, "until it returns");
        // The peer takes its capability back itself.
        peer.say(&returned_lab(asked.question, &Cap::Hosted(10)));
        assert!(peer.hear_all().await.is_empty());
        assert_eq!(peer.connection.usage().questions, 0);
        assert_eq!(peer.connection.usage().imports, 1);
    });
}

#[test]
fn a_call_is_finished_even_if_it_returns_in_the_moment_in_which_it_is_dropped() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send();
        let asked = peer.hear_call().await;
        drop(made);
        // Before the vat has had its turn.
        peer.say(&returned_lab(asked.question, &Cap::Hosted(10)));
        let heard = peer.hear_all().await;
        let finish = finished(asked.question, true);
        let with_release = vec![Said::Release(10, 1), finished(asked.question, false)];
        assert!(
            heard == [finish] || heard == with_release,
            "the peer would keep its answer for ever: {heard:?}"
        );
        assert_eq!(peer.connection.usage().questions, 0);
        assert_eq!(peer.connection.usage().imports, 1);
    });
}

#[test]
fn a_return_for_a_question_that_was_not_asked_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let reason = peer.is_cut_off_for(&returned_data(3, b"")).await;
        assert!(reason.starts_with("a return for question 3"), "{reason}");
    });
}

#[test]
fn a_second_return_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned_data(asked.question, b""));
        let again = returned_data(asked.question, b"");
        let reason = peer.is_cut_off_for(&again).await;
        assert!(reason.contains("or has returned"), "{reason}");
        echo.await.unwrap();
    });
}

#[test]
fn release_params_true_takes_back_the_capabilities_of_the_parameters() {
    on_a_vat(async {
        for release_params in [true, false] {
            let peer = peer();
            let lab = peer.give(&Cap::Hosted(9)).await;
            let mut keep = lab.keep_request();
            keep.get().set_lab(Lab::<Vat>::client(&peer.seen));
            let keep = keep.send().promise;
            let asked = peer.hear_call().await;
            assert_eq!(asked.caps, [Cap::Hosted(1)]);
            peer.say(&returned(asked.question, |mut returned| {
                returned.set_release_param_caps(release_params);
                returned.init_results();
            }));
            keep.await.unwrap();
            settle().await;
            let held = if release_params { 1 } else { 2 };
            assert_eq!(peer.connection.usage().exports, held);
            assert_eq!(peer.seen.alive.get(), held);
            if !release_params {
                peer.say(&release(1, 1));
                assert_eq!(peer.seen.alive.get(), 1);
            }
        }
    });
}

#[test]
fn release_params_true_counts_for_a_call_that_was_finished_before() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let mut keep = lab.keep_request();
        keep.get().set_lab(Lab::<Vat>::client(&peer.seen));
        let keep = keep.send();
        let asked = peer.hear_call().await;
        drop(keep);
        peer.hear_all().await;
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_release_param_caps(true);
            returned.set_canceled(());
        }));
        assert_eq!(peer.seen.alive.get(), 1);
        assert_eq!(peer.connection.usage().questions, 0);
    });
}

#[test]
fn a_call_that_comes_back_unimplemented_fails_so_and_gives_nothing_away() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let mut keep = lab.keep_request();
        keep.get().set_lab(Lab::<Vat>::client(&peer.seen));
        let keep = keep.send().promise;
        let asked = peer.hear_call().await;
        peer.say(&message(|message| {
            let mut call = message.init_unimplemented().init_call();
            call.set_question_id(asked.question);
            write_to(&To::Import(9), call.init_target());
        }));
        let error = keep.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
        settle().await;
        assert_eq!(peer.connection.usage().questions, 0);
        assert_eq!(peer.connection.usage().exports, 1);
        assert_eq!(peer.seen.alive.get(), 1);
    });
}

#[test]
fn a_bootstrap_that_comes_back_unimplemented_fails_so() {
    on_a_vat(async {
        let peer = peer();
        let lab: lab::Client = peer.connection.bootstrap();
        let echo = lab.echo_request().send().promise;
        let heard = peer.hear_all().await;
        let Said::Bootstrap(question) = heard[0] else {
            panic!("{heard:?}");
        };
        let Said::Call(asked) = &heard[1] else {
            panic!("{heard:?}");
        };
        assert_eq!(asked.to, Some(To::Answer(question, vec![])));
        peer.say(&message(|message| {
            let bootstrap = message.init_unimplemented().init_bootstrap();
            { bootstrap }.set_question_id(question);
        }));
        peer.say(&returned(asked.question, |returned| {
            returned.init_exception().set_reason("no such answer");
        }));
        assert_eq!(echo.await.err().unwrap().extra, "no such answer");
        let error = lab.echo_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
    });
}

#[test]
fn a_return_that_comes_back_unimplemented_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        let echoed = message(|message| {
            message.init_unimplemented().init_return();
        });
        let reason = peer.is_cut_off_for(&echoed).await;
        assert!(
            reason.contains("the protocol cannot do without it"),
            "{reason}"
        );
    });
}

#[test]
fn exceptions_keep_their_type() {
    on_a_vat(async {
        use capnp::ErrorKind;
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        for (sent, expected) in [
            (Kind::Failed, ErrorKind::Failed),
            (Kind::Overloaded, ErrorKind::Overloaded),
            (Kind::Disconnected, ErrorKind::Disconnected),
            (Kind::Unimplemented, ErrorKind::Unimplemented),
        ] {
            let echo = lab.echo_request().send().promise;
            let asked = peer.hear_call().await;
            peer.say(&returned(asked.question, |returned| {
                let mut exception = returned.init_exception();
                exception.set_type(sent);
                exception.set_reason("because");
            }));
            let error = echo.await.err().unwrap();
            assert_eq!((error.kind, &error.extra[..]), (expected, "because"));
            assert_eq!(peer.hear_one().await, finished(asked.question, false));
        }
    });
}

#[test]
fn results_that_were_not_asked_for_elsewhere_fail_the_call() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_results_sent_elsewhere(());
        }));
        assert!(echo.await.is_err());
        peer.works().await;
    });
}

#[test]
fn calls_on_promised_results_are_addressed_to_the_answer() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send();
        let first = peer.hear_call().await;
        let promised = made.pipeline.get_lab();
        let echo = promised.echo_request().send().promise;
        let second = peer.hear_call().await;
        assert_eq!(second.to, Some(To::Answer(first.question, vec![0])));
        peer.say(&returned_lab(first.question, &Cap::Hosted(10)));
        // From now on it is known by its own name.
        let again = promised.echo_request().send().promise;
        let third = peer.hear_all().await;
        let asked = third.iter().find_map(|said| match said {
            Said::Call(asked) => Some(asked),
            _ => None,
        });
        assert_eq!(asked.unwrap().to, Some(To::Import(10)));
        peer.say(&returned_data(second.question, b"2"));
        echo.await.unwrap();
        drop(again);
    });
}

#[test]
fn promised_results_can_be_parameters() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let made = lab.make_request().send();
        let first = peer.hear_call().await;
        let mut keep = lab.keep_request();
        keep.get().set_lab(made.pipeline.get_lab());
        let keep = keep.send();
        let second = peer.hear_call().await;
        assert_eq!(second.caps, [Cap::Answer(first.question, vec![0])]);
        drop(keep);
    });
}

#[test]
fn a_broken_capability_in_parameters_arrives_as_a_promise_that_breaks() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let mut keep = lab.keep_request();
        let broken = capnp::Error::overloaded("worn out".into());
        keep.get().set_lab(vat::new_broken_client(broken));
        let _keep = keep.send();
        let heard = peer.hear_all().await;
        let Said::Call(asked) = &heard[0] else {
            panic!("{heard:?}");
        };
        let [Cap::Promise(id)] = asked.caps[..] else {
            panic!("{asked:?}");
        };
        let broken = Said::Resolve(id, Err((Kind::Overloaded, "worn out".into())));
        assert_eq!(heard[1..], [broken]);
        peer.say(&release(id, 1));
        assert_eq!(peer.connection.usage().exports, 1);
    });
}

#[test]
fn calls_fail_with_the_reason_for_which_the_connection_ended() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let echo = lab.echo_request().send().promise;
        peer.hear_call().await;
        peer.connection
            .disconnect(capnp::Error::failed("that was enough".into()));
        let heard = peer.hear_all().await;
        let abort = Said::Abort(Kind::Failed, "that was enough".into());
        assert_eq!(heard, [abort]);
        let error = echo.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
        assert_eq!(error.extra, "that was enough");
        let error = lab.echo_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
        assert_eq!(peer.connection.usage(), Usage::default());
        assert!(peer.try_say(&finish(0, true)).is_err());
    });
}

#[test]
fn a_bootstrap_that_is_a_promise_is_followed() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(9)).await;
        peer.say(&resolve_to(9, &Cap::Hosted(10)));
        assert_eq!(peer.hear_one().await, Said::Release(9, 1));
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Import(10)));
        assert!(echo.now_or_never().is_none());
    });
}

#[test]
fn what_is_written_can_be_read_again() {
    let sent = returned_cap(4, &Cap::Answer(5, vec![6, 7]));
    let Said::Return(returned) = read(&sent) else {
        panic!("no return");
    };
    assert_eq!(returned.body, crate::wire::one(Cap::Answer(5, vec![6, 7])));
}
