//! Messages that are damaged: cut off at every byte, and with each of their bits wrong.

use vat::Limits;

use crate::wire::{
    Cap, LAB, Peer, Said, To, bootstrap, call, finish, message, method, on_a_small_stack,
    receiver_loopback, release, resolve_broken, resolve_to, returned, returned_data, returned_lab,
    sender_loopback,
};

/// One message of each kind, and of each kind that matters within it.
fn specimens() -> Vec<Vec<u8>> {
    vec![
        bootstrap(1),
        call(1, LAB, method::ECHO).data(b"some data").bytes(),
        call(1, LAB, method::IDENTITY).cap(Cap::Hosted(5)).bytes(),
        call(1, LAB, method::SEVERAL)
            .cap(Cap::Promise(5))
            .cap(Cap::Receiver(0))
            .cap(Cap::Answer(20, vec![0]))
            .cap(Cap::Third(6))
            .bytes(),
        call(1, To::Answer(20, vec![0, 1]), method::NEXT)
            .yourself()
            .bytes(),
        call(1, LAB, method::FORWARD)
            .cap(Cap::Hosted(5))
            .data(b"x")
            .bytes(),
        finish(20, true),
        release(0, 1),
        resolve_to(30, &Cap::Receiver(0)),
        resolve_to(30, &Cap::Hosted(31)),
        resolve_broken(30, "broken"),
        sender_loopback(&To::Import(0), 1),
        receiver_loopback(&To::Answer(20, vec![0]), 1),
        returned_data(0, b"results"),
        returned_lab(0, &Cap::Hosted(7)),
        returned(0, |returned| returned.init_exception().set_reason("no")),
        returned(0, |mut returned| returned.set_canceled(())),
        returned(0, |mut returned| returned.set_results_sent_elsewhere(())),
        returned(0, |mut returned| returned.set_take_from_other_question(20)),
        message(|message| message.init_abort().set_reason("enough")),
        message(|message| message.init_provide().set_question_id(3)),
        message(|message| message.init_accept().set_question_id(3)),
        message(|message| message.init_join().set_question_id(3)),
        message(|message| {
            message.init_unimplemented().init_call().set_question_id(0);
        }),
    ]
}

/// A peer in the middle of everything: it is asked something (0), it has asked something (20), and it
/// has given away a promise (30).
fn busy() -> Peer {
    let peer = Peer::new(&Limits::default());
    peer.ask(&call(20, LAB, method::MAKE));
    peer.ask(&call(21, LAB, method::KEEP).cap(Cap::Promise(30)));
    peer.ask(&call(22, LAB, method::ASK).cap(Cap::Promise(30)));
    let heard = peer.hear();
    assert!(
        heard
            .iter()
            .any(|said| matches!(said, Said::Call(asked) if asked.question == 0)),
        "{heard:?}"
    );
    peer
}

#[test]
fn a_message_that_is_cut_off_ends_the_connection() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        for specimen in specimens() {
            for length in 0..specimen.len() {
                let peer = busy();
                let reason = peer.is_cut_off_for(&specimen[..length]).await;
                assert!(
                    reason.contains("not exactly one framed message"),
                    "{reason}"
                );
                peer.leaves_nothing().await;
            }
        }
        other.works().await;
    });
}

#[test]
fn a_message_with_a_bit_that_is_wrong_does_no_harm() {
    on_a_small_stack(|| async {
        let other = Peer::new(&Limits::default());
        for specimen in specimens() {
            for bit in 0..specimen.len() * 8 {
                let mut wrong = specimen.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                let peer = busy();
                if peer.try_say(&wrong).is_ok() {
                    tokio::task::yield_now().await;
                    // Whatever it meant, there is an end to it.
                    let _ = peer.try_say(&call(50, LAB, method::ECHO).bytes());
                }
                let seen = peer.seen.clone();
                drop(peer);
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                assert_eq!((seen.alive.get(), seen.running.get()), (0, 0), "bit {bit}");
            }
        }
        other.works().await;
    });
}
