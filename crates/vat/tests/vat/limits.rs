//! Each limit: just below it all is well; beyond it what hit it is refused by name, and nothing else is
//! concerned.

use std::rc::Rc;

use vat::{Limits, MAX_PATHS, MAX_REASON_BYTES, Usage};

use crate::lab::{Lab, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Body, Call, Cap, Kind, LAB, Peer, Said, To, body, call, data, finish, message, method, reason,
    release, resolve_to, returned, returned_data, returned_lab, settle,
};

fn with(change: impl FnOnce(&mut Limits)) -> Peer {
    let mut limits = Limits::default();
    change(&mut limits);
    Peer::new(&limits)
}

/// That the connection ended for a reason, and that it took nothing else with it.
async fn ends_for(peer: Peer, other: &Peer, message: &[u8], expected: &str) {
    let reason = peer.is_cut_off_for(message).await;
    assert_eq!(reason, expected);
    other.works().await;
    peer.leaves_nothing().await;
}

#[test]
fn message_bytes_of_what_comes_in() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.message_bytes = 4096);
        let empty = call(1, LAB, method::ECHO).bytes().len();
        let fits = call(1, LAB, method::ECHO).data(&vec![1; 4096 - empty]);
        assert_eq!(fits.bytes().len(), 4096);
        peer.ask(&fits);
        assert_eq!(peer.result(1).await, data(&vec![1; 4096 - empty]));
        let large = call(1, LAB, method::ECHO)
            .data(&vec![1; 4097 - empty])
            .bytes();
        let expected = "a message of 4104 bytes; at most 4096 are accepted";
        ends_for(peer, &other, &large, expected).await;
    });
}

#[test]
fn message_bytes_of_what_goes_out() {
    on_a_vat(async {
        let peer = with(|limits| limits.message_bytes = 4096);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let mut echo = lab.echo_request();
        echo.get().set_data(&[1; 3500]);
        let echo = echo.send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned_data(asked.question, b""));
        echo.await.unwrap();
        peer.hear_all().await;
        let mut echo = lab.echo_request();
        echo.get().set_data(&[1; 4096]);
        let error = echo.send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Failed);
        assert!(error.extra.ends_with("at most 4096 are sent"), "{error}");
        peer.works().await;
        assert_eq!(peer.connection.usage().questions, 0);
    });
}

#[test]
fn nesting() {
    on_a_vat(async {
        // The message, the call, its parameters, their content, the list in it, its items.
        for (nesting, fits) in [(64, true), (8, true), (4, false)] {
            let peer = with(|limits| limits.nesting = nesting);
            let sent = call(1, LAB, method::SEVERAL).cap(Cap::Receiver(0)).bytes();
            match peer.try_say(&sent) {
                Ok(()) => {
                    let body = peer.result(1).await;
                    assert_eq!(matches!(body, Body::Results { .. }), fits, "{body:?}");
                }
                Err(_) => assert!(!fits),
            }
        }
    });
}

#[test]
fn message_capabilities_that_come_in() {
    on_a_vat(async {
        let peer = with(|limits| limits.message_capabilities = 3);
        let several = |count: u32| {
            (0..count).fold(call(1, LAB, method::SEVERAL), |call: Call, id| {
                call.cap(Cap::Hosted(50 + id))
            })
        };
        peer.ask(&several(3));
        let Body::Results { caps, .. } = peer.result(1).await else {
            panic!("no results");
        };
        assert_eq!(caps.len(), 3);
        peer.say(&finish(1, true));
        peer.ask(&several(4));
        let body = peer.result(1).await;
        assert_eq!(
            reason(&body, Kind::Overloaded),
            "a call with more than 3 capabilities"
        );
        peer.works().await;
    });
}

#[test]
fn message_capabilities_that_go_out() {
    on_a_vat(async {
        let peer = with(|limits| limits.message_capabilities = 3);
        let lab = peer.give(&Cap::Hosted(5)).await;
        for count in [3, 4] {
            let mut several = lab.several_request();
            let mut labs = several.get().init_labs(count);
            for index in 0..count {
                let lab = Lab::<Vat>::client(&peer.seen);
                labs.set(
                    index,
                    capnp::capability::FromClientHook::into_client_hook(lab),
                );
            }
            let sent = several.send();
            settle().await;
            let heard = peer.hear();
            if count == 3 {
                assert!(matches!(&heard[..], [Said::Call(asked)] if asked.caps.len() == 3));
                continue;
            }
            let error = sent.promise.await.err().unwrap();
            assert!(error.extra.contains("at most 3 are sent"), "{error}");
        }
        settle().await;
        peer.works().await;
    });
}

#[test]
fn path_steps() {
    on_a_vat(async {
        let peer = with(|limits| limits.path_steps = 2);
        peer.ask(&call(1, LAB, method::WAIT));
        for (question, steps) in [(2, 2), (3, 3)] {
            let to = To::Answer(1, vec![0; steps]);
            peer.ask(&call(question, to, method::ECHO));
        }
        let refused = peer.hear_return(3).await;
        assert!(reason(&refused, Kind::Failed).contains("more than 2 steps away"));
        peer.ask(&call(4, LAB, method::RELEASE));
        reason(&peer.result(2).await, Kind::Failed);
        // Among the capabilities of a message, too.
        peer.ask(&call(5, LAB, method::ASK).cap(Cap::Answer(1, vec![0; 3])));
        let refused = peer.result(5).await;
        assert!(reason(&refused, Kind::Failed).contains("more than 2 steps away"));
        peer.works().await;
    });
}

#[test]
fn answers() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.answers = 3);
        for question in 0..3 {
            peer.ask(&call(question, LAB, method::NEVER));
        }
        peer.ask(&call(3, LAB, method::ECHO));
        let Said::Return(refused) = peer.hear_one().await else {
            panic!("no return");
        };
        assert!(refused.no_finish && refused.release_params);
        let why = "3 calls are under way; at most that many are taken";
        assert_eq!(reason(&refused.body, Kind::Overloaded), why);
        peer.say(&crate::wire::bootstrap(3));
        assert_eq!(reason(&peer.hear_return(3).await, Kind::Overloaded), why);
        other.works().await;
        peer.say(&finish(0, true));
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn bytes_in_flight() {
    on_a_vat(async {
        let peer = with(|limits| limits.bytes_in_flight = 4096);
        // Calls that do not read what they are given and do not return.
        let large = |question| {
            call(question, LAB, method::ECHO)
                .data(&[1; 3000])
                .with(|mut call| {
                    call.set_method_id(method::NEVER);
                })
        };
        let room = || {
            futures::FutureExt::now_or_never(std::future::poll_fn(|context| {
                peer.inbox.poll_room(context)
            }))
        };
        peer.say(&large(1));
        assert!(room().is_some());
        peer.say(&large(2));
        assert!(room().is_none(), "the peer is to be held back");
        peer.say(&large(3));
        let body = peer.hear_return(3).await;
        let why = reason(&body, Kind::Overloaded);
        assert!(why.ends_with("at most 8192 are taken"), "{why}");
        assert!(peer.connection.usage().bytes_in_flight > 6000);
        peer.say(&finish(1, true));
        assert!(room().is_some());
        peer.say(&finish(2, true));
        peer.works().await;
        assert_eq!(peer.connection.usage().bytes_in_flight, 0);
        peer.leaves_nothing().await;
    });
}

/// Returns more than it is given.
struct Generous;

impl lab::Server for Generous {
    async fn echo(
        self: Rc<Self>,
        _: lab::EchoParams,
        mut results: lab::EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_data(&[1; 3000]);
        Ok(())
    }
}

#[test]
fn bytes_in_flight_of_results_that_are_kept() {
    on_a_vat(async {
        let limits = Limits {
            bytes_in_flight: 4096,
            ..Limits::default()
        };
        let peer = Peer::serving(&limits, &Rc::default(), vat::new_client(Generous));
        peer.hold_lab();
        let lab = peer.give(&Cap::Hosted(5)).await;
        // What is kept is counted by what it is, not by what asked for it.
        for (question, kept) in [(1, 3000), (2, 6000), (3, 6000)] {
            peer.ask(&call(question, LAB, method::ECHO).yourself());
            assert_eq!(peer.result(question).await, Body::Elsewhere);
            let bytes = peer.connection.usage().bytes_in_flight;
            assert!((kept..kept + 500).contains(&bytes), "{bytes}");
        }
        // What was too much to be kept is not there to be taken.
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned(asked.question, |mut returned| {
            returned.set_take_from_other_question(3);
        }));
        let error = echo.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        for question in 1..4 {
            peer.say(&finish(question, true));
        }
        assert_eq!(peer.connection.usage().bytes_in_flight, 0);
    });
}

#[test]
fn pipeline_depth() {
    on_a_vat(async {
        let peer = with(|limits| limits.pipeline_depth = 3);
        peer.ask(&call(0, LAB, method::WAIT));
        for question in 1..4 {
            peer.ask(&call(
                question,
                To::Answer(question - 1, vec![0]),
                method::MAKE,
            ));
        }
        let refused = peer.hear_return(3).await;
        let why = reason(&refused, Kind::Overloaded);
        assert!(why.starts_with("4 calls in a row"), "{why}");
        peer.ask(&call(9, LAB, method::RELEASE));
        let heard = peer.hear_all().await;
        assert!(matches!(body(&heard, 2), Body::Results { .. }));
        // What has returned counts no more.
        peer.ask(&call(4, To::Answer(2, vec![0]), method::MAKE));
        assert!(matches!(peer.result(4).await, Body::Results { .. }));
        peer.works().await;
    });
}

#[test]
fn questions() {
    on_a_vat(async {
        let peer = with(|limits| limits.questions = 2);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let first = lab.echo_request().send().promise;
        let second = lab.echo_request().send().promise;
        let heard = peer.hear_all().await;
        assert_eq!(heard.len(), 2);
        let error = lab.echo_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        let why = "2 calls to the other side are unanswered; at most that many are made";
        assert_eq!(error.extra, why);
        peer.works().await;
        let Said::Call(asked) = &heard[0] else {
            panic!("{heard:?}");
        };
        peer.say(&returned_data(asked.question, b""));
        first.await.unwrap();
        settle().await;
        let _third = lab.echo_request().send().promise;
        assert_eq!(peer.connection.usage().questions, 2);
        drop(second);
    });
}

#[test]
fn outgoing_bytes() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.outgoing_bytes = 8192);
        let lab = peer.give(&Cap::Hosted(5)).await;
        for question in 1..3 {
            peer.ask(&call(question, LAB, method::ECHO).data(&[1; 3000]));
        }
        // There is no room for a third, nor for a call, but still for saying so.
        peer.ask(&call(3, LAB, method::ECHO).data(&[1; 3000]));
        let mut echo = lab.echo_request();
        echo.get().set_data(&[1; 3000]);
        let error = echo.send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        let heard = peer.hear_all().await;
        assert!(matches!(body(&heard, 2), Body::Results { .. }));
        let refused = body(&heard, 3);
        let why = reason(&refused, Kind::Overloaded);
        assert!(
            why.ends_with("bytes are left unread; at most 8192 are kept"),
            "{why}"
        );
        peer.say(&finish(3, true));
        peer.works().await;
        // If it never reads, there is an end to it.
        for question in 10..1000 {
            if peer
                .try_say(&call(question, LAB, method::FAIL).data(&[b'x'; 100]).bytes())
                .is_err()
            {
                break;
            }
        }
        let why = peer.connection.ended().await.extra;
        assert!(
            why.ends_with("bytes are left unread; at most 16384 are kept"),
            "{why}"
        );
        other.works().await;
        drop(lab);
        peer.leaves_nothing().await;
    });
}

#[test]
fn exports() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.exports = 3);
        let first = peer.import(&call(1, LAB, method::MAKE)).await;
        peer.import(&call(1, LAB, method::MAKE)).await;
        peer.ask(&call(1, LAB, method::MAKE));
        let body = peer.result(1).await;
        let why = "3 capabilities are held by the other side, and it may not hold more";
        assert_eq!(reason(&body, Kind::Overloaded), why);
        peer.say(&finish(1, true));
        assert_eq!(peer.seen.alive.get(), 3);
        // What it holds already, it may be given again.
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Receiver(first)));
        assert!(matches!(peer.result(1).await, Body::Results { .. }));
        peer.say(&finish(1, true));
        peer.say(&release(first, 1));
        peer.import(&call(1, LAB, method::MAKE)).await;
        peer.works().await;
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn exports_in_parameters_are_given_all_or_none() {
    on_a_vat(async {
        let peer = with(|limits| limits.exports = 3);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let mut several = lab.several_request();
        let mut labs = several.get().init_labs(3);
        for index in 0..3 {
            let lab = Lab::<Vat>::client(&peer.seen);
            labs.set(
                index,
                capnp::capability::FromClientHook::into_client_hook(lab),
            );
        }
        let error = several.send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        settle().await;
        assert_eq!(peer.connection.usage().exports, 1);
        assert_eq!(peer.seen.alive.get(), 1);
        peer.works().await;
    });
}

#[test]
fn imports() {
    on_a_vat(async {
        let peer = with(|limits| limits.imports = 2);
        peer.ask(&call(1, LAB, method::KEEP).cap(Cap::Hosted(50)));
        peer.hear_all().await;
        let lab = peer.import(&call(2, LAB, method::MAKE)).await;
        peer.ask(&call(3, To::Import(lab), method::KEEP).cap(Cap::Promise(51)));
        peer.hear_all().await;
        peer.ask(&call(4, LAB, method::KEEP).cap(Cap::Hosted(52)));
        let Said::Return(refused) = peer.hear_one().await else {
            panic!("no return");
        };
        assert!(refused.release_params && refused.no_finish);
        let why = "2 capabilities are held from the other side; at most 2 are";
        assert_eq!(reason(&refused.body, Kind::Overloaded), why);
        // What is held already may be given again.
        peer.ask(
            &call(5, LAB, method::ECHO)
                .cap(Cap::Hosted(50))
                .cap(Cap::Hosted(50)),
        );
        assert!(matches!(peer.result(5).await, Body::Results { .. }));
        // A promise that resolves to one more than may be held is broken.
        peer.say(&resolve_to(51, &Cap::Hosted(53)));
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Release(53, 1)), "{heard:?}");
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn imports_in_results_are_given_back() {
    on_a_vat(async {
        let peer = with(|limits| limits.imports = 1);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let make = lab.make_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned_lab(asked.question, &Cap::Hosted(6)));
        let error = make.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Release(6, 1)), "{heard:?}");
        assert_eq!(peer.connection.usage().imports, 1);
        peer.works().await;
    });
}

#[test]
fn embargoes() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.embargoes = 2);
        // Promises on which calls have been made, and which turn out to be this side's own.
        for id in 0..3 {
            peer.ask(&call(id, LAB, method::ASK).cap(Cap::Promise(50 + id)));
        }
        peer.hear_all().await;
        for id in 0..2 {
            peer.say(&resolve_to(50 + id, &Cap::Receiver(0)));
        }
        assert_eq!(peer.connection.usage().embargoes, 2);
        peer.works().await;
        let third = resolve_to(52, &Cap::Receiver(0));
        let expected = "2 embargoes wait for an answer; at most 2 may";
        ends_for(peer, &other, &third, expected).await;
    });
}

#[test]
fn reasons_are_cut() {
    on_a_vat(async {
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::FAIL).data(&[b'x'; MAX_REASON_BYTES + 1]));
        let body = peer.result(1).await;
        assert_eq!(reason(&body, Kind::Failed).len(), MAX_REASON_BYTES);
        let abort = message(|message| message.init_abort().set_reason("y".repeat(100_000)));
        assert!(peer.try_say(&abort).is_err());
        assert_eq!(peer.connection.ended().await.extra.len(), MAX_REASON_BYTES);
        assert_eq!(peer.connection.usage(), Usage::default());
    });
}

#[test]
fn rereads() {
    on_a_vat(async {
        // Read by hand: results of which the caller looks at one thing again and again.
        let peer = with(|limits| limits.rereads = 1);
        let lab = peer.give(&Cap::Hosted(5)).await;
        let echo = lab.echo_request().send().promise;
        let asked = peer.hear_call().await;
        peer.say(&returned_data(asked.question, &[1; 64 << 10]));
        let response = echo.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap().len(), 64 << 10);
        let error = response.get().unwrap().get_data().err().unwrap();
        assert!(error.to_string().contains("Read limit exceeded"), "{error}");
        peer.works().await;
    });
}

#[test]
fn capabilities_that_one_call_promises() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.answers = 3 * MAX_PATHS);
        peer.ask(&call(1, LAB, method::NEVER));
        let asked = |path: usize| {
            let (id, field) = (path as u32 + 2, path as u16);
            call(id, To::Answer(1, vec![field]), method::NOTHING)
        };
        for path in 0..MAX_PATHS {
            peer.ask(&asked(path));
        }
        peer.ask(&asked(MAX_PATHS));
        let refused = peer.result(MAX_PATHS as u32 + 2).await;
        let expected = "1024 capabilities are promised by one call's results";
        assert_eq!(reason(&refused, Kind::Overloaded), expected);
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn bytes_in_flight_of_calls_that_are_finished_with_but_linger() {
    on_a_vat(async {
        let other = Peer::new(&Limits::default());
        let peer = with(|limits| limits.bytes_in_flight = 64 << 10);
        peer.ask(&call(1, LAB, method::NEVER));
        let mut refused = 0;
        for pair in 1..=10 {
            let (large, waits) = (2 * pair, 2 * pair + 1);
            // It waits for the first, and is held by another that waits for it.
            peer.ask(&call(large, LAB, method::ECHO).to(1).data(&[1; 30 << 10]));
            peer.ask(&call(waits, LAB, method::NOTHING).to(large));
            peer.say(&finish(large, true));
            let heard = peer.hear_all().await;
            refused += heard
                .iter()
                .filter(|said| matches!(said, Said::Return(returned) if matches!(&returned.body, Body::Exception(..))))
                .count();
        }
        assert!(peer.connection.usage().bytes_in_flight <= 128 << 10);
        assert!(refused > 0);
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn the_text_of_an_error_of_our_own() {
    on_a_vat(async {
        let lab = Lab::<Vat>::client(&Rc::default());
        let mut request = lab.fail_request();
        request.get().set_reason("e".repeat(10 * MAX_REASON_BYTES));
        let failed = request.send();
        let error = failed.promise.await.err().unwrap();
        assert_eq!(error.extra.len(), MAX_REASON_BYTES);
        let broken: lab::Client = vat::new_broken_client(capnp::Error::failed("e".repeat(5000)));
        let error = broken.nothing_request().send().promise.await.err().unwrap();
        assert_eq!(error.extra.len(), MAX_REASON_BYTES);
    });
}
