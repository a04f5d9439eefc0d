//! Promises that are made to lead to themselves.

use vat::Limits;

use crate::wire::{
    Cap, Kind, LAB, Peer, To, body, call, finish, method, on_a_small_stack, one, reason,
    resolve_to, settle,
};

/// Makes `count` objects, exported as 1, 2, ...
async fn labs(peer: &Peer, count: u32) -> Vec<To> {
    let mut labs = Vec::new();
    for _ in 0..count {
        labs.push(To::Import(peer.import(&call(900, LAB, method::MAKE)).await));
    }
    labs
}

/// Calls what an answer promises, and returns why that failed.
async fn why(peer: &Peer, answer: u32) -> String {
    peer.ask(&call(999, To::Answer(answer, vec![0]), method::ECHO));
    let body = peer.result(999).await;
    peer.say(&finish(999, true));
    reason(&body, Kind::Failed).to_owned()
}

#[test]
fn a_promise_that_resolves_to_itself_is_broken() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::PROMISE));
        peer.ask(&call(2, LAB, method::FULFIL).cap(Cap::Answer(1, vec![0])));
        assert_eq!(why(&peer, 1).await, "a promise that resolves to itself");
        peer.works().await;
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn promises_that_resolve_to_each_other_are_broken() {
    on_a_small_stack(|| async {
        for count in [2, 3, 64, 1100] {
            let peer = Peer::new(&Limits {
                answers: 1 << 16,
                exports: 1 << 16,
                ..Limits::default()
            });
            let labs = labs(&peer, count).await;
            for (question, lab) in (1000..).zip(&labs) {
                peer.ask(&call(question, lab.clone(), method::PROMISE));
            }
            settle().await;
            for (index, lab) in (0..).zip(&labs) {
                let next = Cap::Answer(1000 + (index + 1) % count, vec![0]);
                peer.ask(&call(5000 + index, lab.clone(), method::FULFIL).cap(next));
            }
            settle().await;
            let reason = why(&peer, 1000).await;
            assert!(
                reason == "a promise that resolves to itself"
                    || reason.ends_with("promises in a row that resolve to each other"),
                "{reason}"
            );
            peer.works().await;
            peer.leaves_nothing().await;
        }
    });
}

#[test]
fn a_promise_resolved_to_a_fetch_of_itself_is_broken() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::PROMISE));
        peer.ask(&call(2, LAB, method::KEEP).cap(Cap::Answer(1, vec![0])));
        peer.ask(&call(3, LAB, method::KEPT));
        peer.ask(&call(4, LAB, method::FULFIL).cap(Cap::Answer(3, vec![0])));
        assert_eq!(why(&peer, 1).await, "a promise that resolves to itself");
        assert_eq!(why(&peer, 3).await, "a promise that resolves to itself");
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_circle_through_a_promise_of_the_peers_is_the_peers_own() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::PROMISE));
        let heard = peer.hear_all().await;
        let crate::wire::Body::Results { caps, .. } = body(&heard, 1) else {
            panic!("{heard:?}");
        };
        let [Cap::Promise(ours)] = caps[..] else {
            panic!("{caps:?}");
        };
        peer.ask(&call(2, LAB, method::FULFIL).cap(Cap::Promise(7)));
        peer.hear_all().await;
        peer.say(&resolve_to(7, &Cap::Receiver(ours)));
        peer.hear_all().await;
        peer.ask(&call(3, To::Import(ours), method::ECHO));
        // It went to the peer's promise or it failed; it did not go round here.
        let heard = peer.hear_all().await;
        assert!(heard.len() <= 3, "{heard:?}");
        peer.works().await;
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn parameters_that_name_the_answer_they_belong_to_are_broken() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::IDENTITY).cap(Cap::Answer(1, vec![0])));
        let heard = peer.hear_all().await;
        assert_eq!(body(&heard, 1), one(Cap::Promise(1)));
        assert!(
            why(&peer, 1)
                .await
                .starts_with("the call has returned no capability")
        );
        peer.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn a_call_whose_target_is_its_own_result_fails() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        // What is forwarded to is what the forwarding will return.
        peer.ask(&call(1, LAB, method::WAIT));
        peer.ask(&call(2, LAB, method::FORWARD).to(1).cap(Cap::Promise(7)));
        peer.say(&resolve_to(7, &Cap::Answer(2, Vec::new())));
        peer.ask(&call(3, LAB, method::RELEASE));
        let body = peer.result(2).await;
        assert_eq!(
            reason(&body, Kind::Failed),
            "a call that waits for its own results"
        );
        peer.works().await;
        peer.leaves_nothing().await;
    });
}
