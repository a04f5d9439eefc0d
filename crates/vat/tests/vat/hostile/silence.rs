//! Peers that do not read, do not answer, do not finish, do not let go.

use vat::{Limits, Usage};

use crate::wire::{
    Body, Cap, Kind, LAB, Peer, Said, body, call, method, on_a_small_stack, reason, resolve_to,
};

#[test]
fn replies_that_are_never_read_end_their_connection_before_they_fill_the_memory() {
    on_a_small_stack(|| async {
        let limits = Limits::default();
        let other = Peer::new(&limits);
        let peer = Peer::new(&limits);
        let mut most = 0;
        let large = vec![7; 64 << 10];
        for question in 0..10_000 {
            let asked = call(question, LAB, method::ECHO).data(&large).bytes();
            let open = peer.try_say(&asked).is_ok();
            most = most.max(peer.unread().1);
            if !open {
                break;
            }
        }
        assert!(most <= 2 * limits.outgoing_bytes + 8192, "{most}");
        // What did not fit was refused, and said so.
        let heard = peer.hear();
        let Some(Said::Return(last)) = heard.iter().rfind(|said| matches!(said, Said::Return(_)))
        else {
            panic!("no return");
        };
        reason(&last.body, Kind::Overloaded);
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn what_a_peer_never_lets_go_of_is_bounded_and_ends_with_it() {
    on_a_small_stack(|| async {
        let limits = Limits {
            answers: 100,
            exports: 50,
            imports: 50,
            embargoes: 50,
            questions: 50,
            ..Limits::default()
        };
        let other = Peer::new(&limits);
        let peer = Peer::new(&limits);
        for number in 0..1000_u32 {
            let asked = match number % 5 {
                0 => call(number, LAB, method::MAKE),
                1 => call(number, LAB, method::NEVER),
                2 => call(number, LAB, method::PROMISE),
                3 => call(number, LAB, method::ASK).cap(Cap::Promise(number)),
                _ => call(number, LAB, method::KEEP).cap(Cap::Hosted(number)),
            };
            // Ids are not used again: those that are refused are free.
            let _ = peer.try_say(&asked.bytes());
        }
        let usage = peer.connection.usage();
        assert!(usage.answers <= 100 && usage.exports <= 50, "{usage:?}");
        assert!(usage.imports <= 50 && usage.questions <= 50, "{usage:?}");
        other.works().await;
        peer.connection
            .disconnect(capnp::Error::failed("enough".into()));
        assert_eq!(peer.connection.usage(), Usage::default());
        peer.leaves_nothing().await;
    });
}

#[test]
fn embargoes_that_never_come_back_end_their_connection() {
    on_a_small_stack(|| async {
        let limits = Limits::default();
        let other = Peer::new(&limits);
        let peer = Peer::new(&limits);
        for number in 0..=256 {
            peer.ask(&call(number, LAB, method::ASK).cap(Cap::Promise(number)));
        }
        peer.hear_all().await;
        let cut_off = (0..=256).find(|id| {
            let resolve = resolve_to(*id, &Cap::Receiver(0));
            peer.try_say(&resolve).is_err()
        });
        assert_eq!(cut_off, Some(256));
        other.works().await;
        peer.leaves_nothing().await;
    });
}

#[test]
fn one_export_under_many_references_is_one_import() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        for question in 0..50_000 {
            peer.ask(&call(question, LAB, method::NOTHING).cap(Cap::Hosted(9)));
            let heard = peer.hear();
            assert!(matches!(body(&heard, question), Body::Results { .. }));
        }
        assert!(peer.connection.usage().imports <= 1);
        peer.leaves_nothing().await;
    });
}

#[test]
fn one_export_as_an_object_and_as_a_promise_does_no_harm() {
    on_a_small_stack(|| async {
        let peer = Peer::new(&Limits::default());
        peer.ask(&call(1, LAB, method::KEEP).cap(Cap::Hosted(9)));
        peer.ask(
            &call(2, LAB, method::SEVERAL)
                .cap(Cap::Promise(9))
                .cap(Cap::Hosted(9)),
        );
        peer.hear_all().await;
        let _ = peer.try_say(&resolve_to(9, &Cap::Promise(9)));
        let _ = peer.try_say(&resolve_to(9, &Cap::Receiver(0)));
        peer.hear_all().await;
        peer.works().await;
        peer.leaves_nothing().await;
    });
}
