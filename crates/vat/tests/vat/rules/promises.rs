//! Promises, and what they resolve to.

use vat::Limits;

use crate::lab::{Lab, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, To, body, call, data, finish, message, method, one, reason,
    release, resolve_broken, resolve_to, settle,
};

fn peer() -> Peer {
    Peer::new(&Limits::default())
}

#[test]
fn a_promise_resolves_once_even_if_it_was_sent_twice() {
    on_a_vat(async {
        let peer = peer();
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        peer.ask(&call(2, LAB, method::IDENTITY).cap(Cap::Receiver(promise)));
        assert_eq!(peer.hear_return(2).await, one(Cap::Promise(promise)));
        peer.say(&finish(2, false));
        peer.ask(&call(3, LAB, method::FULFIL).cap(Cap::Receiver(0)));
        let heard = peer.hear_all().await;
        let resolves: Vec<_> = heard
            .iter()
            .filter(|said| matches!(said, Said::Resolve(..)))
            .collect();
        assert_eq!(resolves, [&Said::Resolve(promise, Ok(Cap::Hosted(0)))]);
        // It has two references still, and what it resolved to one more.
        peer.say(&release(promise, 2));
        peer.say(&release(0, 1));
        peer.works().await;
    });
}

#[test]
fn a_promise_that_was_released_does_not_resolve() {
    on_a_vat(async {
        let peer = peer();
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        peer.say(&release(promise, 1));
        peer.ask(&call(2, LAB, method::FULFIL).cap(Cap::Receiver(0)));
        let heard = peer.hear_all().await;
        assert!(!heard.iter().any(|said| matches!(said, Said::Resolve(..))));
        assert_eq!(peer.connection.usage().exports, 1);
    });
}

#[test]
fn a_promise_that_breaks_says_why() {
    on_a_vat(async {
        let peer = peer();
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        peer.ask(&call(2, To::Import(promise), method::ECHO));
        peer.ask(&call(3, LAB, method::BREAK).data(b"that is why"));
        let heard = peer.hear_all().await;
        let broken = (Kind::Failed, "that is why".to_owned());
        assert!(heard.contains(&Said::Resolve(promise, Err(broken))));
        assert_eq!(reason(&body(&heard, 2), Kind::Failed), "that is why");
        peer.ask(&call(4, To::Import(promise), method::ECHO));
        let body = peer.result(4).await;
        assert_eq!(reason(&body, Kind::Failed), "that is why");
        peer.say(&release(promise, 1));
        peer.works().await;
    });
}

#[test]
fn calls_on_a_promise_arrive_in_order_whichever_name_they_use() {
    on_a_vat(async {
        let peer = peer();
        let made = peer.import(&call(1, LAB, method::MAKE)).await;
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        for number in 0..5 {
            peer.ask(&call(10 + number, To::Import(promise), method::NEXT).number(number));
        }
        peer.ask(&call(1, LAB, method::FULFIL).cap(Cap::Receiver(made)));
        for number in 5..10 {
            let to = To::Import(if number % 2 == 0 { promise } else { made });
            peer.ask(&call(10 + number, to, method::NEXT).number(number));
        }
        let heard = peer.hear_all().await;
        for number in 0..10 {
            assert!(matches!(body(&heard, 10 + number), Body::Results { .. }));
        }
    });
}

#[test]
fn after_resolve_messages_to_the_promise_go_to_what_was_named_only() {
    on_a_vat(async {
        let peer = peer();
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        // It resolves to a promise of the peer's, and is said to.
        peer.ask(&call(2, LAB, method::FULFIL).cap(Cap::Promise(7)));
        let heard = peer.hear_all().await;
        assert!(
            heard.contains(&Said::Resolve(promise, Ok(Cap::Receiver(7)))),
            "{heard:?}"
        );
        // That resolves to an object of this side. Nevertheless messages go to the peer's promise.
        peer.say(&resolve_to(7, &Cap::Receiver(0)));
        peer.hear_all().await;
        peer.ask(&call(3, To::Import(promise), method::ECHO));
        let asked = peer.hear_call().await;
        assert_eq!(asked.to, Some(To::Import(7)));
        peer.works().await;
    });
}

#[test]
fn a_resolve_for_a_released_import_releases_what_it_resolved_to() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::KEEP).cap(Cap::Promise(7)));
        peer.ask(&call(2, LAB, method::DROP));
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Release(7, 1)), "{heard:?}");
        peer.say(&resolve_to(7, &Cap::Hosted(8)));
        assert_eq!(peer.hear_one().await, Said::Release(8, 1));
        assert_eq!(peer.connection.usage().imports, 0);
        // And one that was never known.
        peer.say(&resolve_broken(77, "never mind"));
        peer.works().await;
    });
}

#[test]
fn a_resolve_of_something_that_is_no_promise_ends_the_connection() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::KEEP).cap(Cap::Hosted(7)));
        let resolve = resolve_to(7, &Cap::Receiver(0));
        let reason = peer.is_cut_off_for(&resolve).await;
        assert_eq!(reason, "import 7 resolves, but is no promise");
    });
}

#[test]
fn calls_on_a_promise_of_the_peers_go_to_it_and_then_to_what_it_is() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        let _first = lab.echo_request().send();
        assert_eq!(peer.hear_call().await.to, Some(To::Import(7)));
        // Another promise, and then an object, by the same road: nothing has to wait.
        peer.say(&resolve_to(7, &Cap::Promise(8)));
        let heard = peer.hear_all().await;
        assert_eq!(heard, [Said::Release(7, 1)]);
        let _second = lab.echo_request().send();
        assert_eq!(peer.hear_call().await.to, Some(To::Import(8)));
        peer.say(&resolve_to(8, &Cap::Hosted(9)));
        assert_eq!(peer.hear_one().await, Said::Release(8, 1));
        let _third = lab.echo_request().send();
        assert_eq!(peer.hear_call().await.to, Some(To::Import(9)));
        assert_eq!(peer.connection.usage().embargoes, 0);
    });
}

#[test]
fn calls_on_a_promise_of_the_peers_that_breaks_fail_with_its_reason() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        peer.say(&resolve_broken(7, "it was not to be"));
        let error = lab.echo_request().send().promise.await.err().unwrap();
        assert_eq!(error.extra, "it was not to be");
        assert_eq!(peer.hear_all().await, [Said::Release(7, 1)]);
    });
}

#[test]
fn a_promise_that_is_sent_twice_is_one_promise() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Promise(7)).await;
        let again = peer.give(&Cap::Promise(7)).await;
        peer.say(&resolve_to(7, &Cap::Receiver(0)));
        for lab in [lab, again] {
            lab.nothing_request().send().promise.await.unwrap();
        }
        assert_eq!(peer.hear_all().await, [Said::Release(7, 2)]);
    });
}

#[test]
fn a_resolve_that_comes_back_unimplemented_takes_back_what_it_named() {
    on_a_vat(async {
        let peer = peer();
        let promise = peer.import(&call(1, LAB, method::PROMISE)).await;
        let made = peer.import(&call(1, LAB, method::MAKE)).await;
        peer.ask(&call(1, LAB, method::FULFIL).cap(Cap::Receiver(made)));
        peer.say(&release(made, 1));
        let heard = peer.hear_all().await;
        assert!(heard.contains(&Said::Resolve(promise, Ok(Cap::Hosted(made)))));
        peer.say(&message(|message| {
            let mut resolve = message.init_unimplemented().init_resolve();
            resolve.set_promise_id(promise);
            resolve.init_cap().set_sender_hosted(made);
        }));
        // The promise is that object still.
        peer.ask(&call(2, To::Import(promise), method::ECHO).data(b"x"));
        assert_eq!(peer.result(2).await, data(b"x"));
        peer.say(&release(promise, 1));
        assert_eq!(peer.seen.alive.get(), 1);
    });
}

#[test]
fn a_broken_capability_in_results_arrives_as_a_promise_that_breaks() {
    on_a_vat(async {
        let peer = peer();
        peer.ask(&call(1, LAB, method::FAIL).data(b"nothing to be had"));
        peer.ask(&call(2, LAB, method::IDENTITY).cap(Cap::Answer(1, vec![0])));
        let heard = peer.hear_all().await;
        let Body::Results { caps, .. } = body(&heard, 2) else {
            panic!("{heard:?}");
        };
        let [Cap::Promise(id)] = caps[..] else {
            panic!("{caps:?}");
        };
        let broken = (Kind::Failed, "nothing to be had".to_owned());
        assert_eq!(heard.last(), Some(&Said::Resolve(id, Err(broken))));
    });
}

#[test]
fn a_promise_of_this_side_in_parameters_resolves_when_it_does() {
    on_a_vat(async {
        let peer = peer();
        let lab = peer.give(&Cap::Hosted(9)).await;
        let (resolve, promise) = futures::channel::oneshot::channel::<lab::Client>();
        let mut keep = lab.keep_request();
        keep.get().set_lab(vat::new_future_client(async move {
            promise
                .await
                .map_err(|_| capnp::Error::failed("given up".into()))
        }));
        let _keep = keep.send();
        let asked = peer.hear_call().await;
        let [Cap::Promise(id)] = asked.caps[..] else {
            panic!("{asked:?}");
        };
        let _ = resolve.send(Lab::<Vat>::client(&peer.seen));
        settle().await;
        let heard = peer.hear();
        let [Said::Resolve(resolved, Ok(Cap::Hosted(object)))] = heard[..] else {
            panic!("{heard:?}");
        };
        assert_eq!(resolved, id);
        assert_ne!(object, id);
    });
}
