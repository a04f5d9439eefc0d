//! The transport over byte streams: every cut, every end, every way to be a bad peer.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::message::{Builder, ReaderOptions};
use capnp::serialize;
use capnp_rpc::rpc_capnp::{message, return_};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};
use vat::{Connection, Limits, Usage, stream};

use crate::lab::{Lab, Seen, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;

const LARGE: usize = 100_000;

/// A vat's end of a stream, carried by a task.
fn carried(
    stream: DuplexStream,
    limits: &Limits,
    bootstrap: Option<lab::Client>,
) -> (Connection, tokio::task::JoinHandle<()>) {
    let (reader, writer) = split(stream);
    let (connection, exchange) = stream::connect(
        reader.compat(),
        writer.compat_write(),
        tokio::time::sleep,
        limits.clone(),
        bootstrap.map(|lab| lab.client),
    );
    (connection, tokio::task::spawn_local(exchange))
}

async fn echo(lab: &lab::Client, data: &[u8]) -> Result<Vec<u8>, Error> {
    let mut request = lab.echo_request();
    request.get().set_data(data);
    let response = request.send().promise.await?;
    Ok(response.get()?.get_data()?.to_vec())
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn written(write: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new_default();
    write(message.init_root());
    serialize::write_message_to_words(&message)
}

fn bootstrap(question: u32) -> Vec<u8> {
    written(|message| message.init_bootstrap().set_question_id(question))
}

fn echo_call(question: u32, on: u32, bytes: usize) -> Vec<u8> {
    written(|message| {
        let mut call = message.init_call();
        call.set_question_id(question);
        call.set_interface_id(<lab::Client as capnp::traits::HasTypeId>::TYPE_ID);
        call.set_method_id(1);
        let mut target = call.reborrow().init_target().init_promised_answer();
        target.set_question_id(on);
        let content = call.init_params().get_content();
        let mut params = content.init_as::<lab::echo_params::Builder<'_>>();
        params.reborrow().init_data(u32::try_from(bytes).unwrap());
    })
}

/// What kinds of messages some bytes are; of an abort its reason.
fn kinds(mut bytes: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let message = serialize::read_message(&mut bytes, ReaderOptions::new()).unwrap();
        let root: message::Reader<'_> = message.get_root().unwrap();
        kinds.push(match root.which().unwrap() {
            message::Return(returned) => match returned.unwrap().which().unwrap() {
                return_::Results(_) => "results".into(),
                _ => "another return".into(),
            },
            message::Abort(reason) => reason.unwrap().get_reason().unwrap().to_string().unwrap(),
            _ => "another message".into(),
        });
    }
    kinds
}

async fn read_all(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn messages_go_through_streams_that_take_a_few_bytes_at_a_time() {
    for (at_once, largest) in [(1, 5_000), (7, LARGE), (8, LARGE), (65_536, 4 << 20)] {
        on_a_vat(async move {
            let seen = Rc::new(Seen::default());
            let (here, there) = duplex(at_once);
            let (near, _) = carried(here, &Limits::default(), None);
            let (far, _) = carried(there, &Limits::default(), Some(Lab::<Vat>::client(&seen)));
            let lab: lab::Client = near.bootstrap();
            for bytes in [0, 1, 500, largest] {
                let data: Vec<u8> = (0..=u8::MAX).cycle().take(bytes).collect();
                assert_eq!(echo(&lab, &data).await.unwrap(), data);
            }
            let small: Vec<[u8; 1]> = (0..50).map(|byte| [byte]).collect();
            let together = small.iter().map(|data| echo(&lab, data));
            for (data, echoed) in small.iter().zip(futures::future::join_all(together).await) {
                assert_eq!(echoed.unwrap(), data);
            }
            drop(lab);
            settle().await;
            assert_eq!((near.usage(), far.usage()), Default::default());
        });
    }
}

#[test]
fn whoever_hangs_up_after_asking_still_gets_the_answers() {
    on_a_vat(async {
        let (here, mut there) = duplex(64 << 10);
        let lab = Lab::<Vat>::client(&Rc::default());
        let (connection, exchange) = carried(here, &Limits::default(), Some(lab));
        let asked = [bootstrap(0), echo_call(1, 0, 10), echo_call(2, 0, 10)].concat();
        there.write_all(&asked).await.unwrap();
        there.shutdown().await.unwrap();
        let answers = read_all(&mut there).await;
        assert_eq!(kinds(&answers), ["results", "results", "results"]);
        exchange.await.unwrap();
        assert!(connection.ended().await.extra.contains("hung up"));
    });
}

#[test]
fn a_peer_that_breaks_the_rules_is_told_which_and_then_hung_up_on() {
    let too_long = {
        let mut header = 511_u32.to_le_bytes().to_vec();
        header.resize(4 + 4 * 512, 0xff);
        header
    };
    let cases: [(Vec<u8>, &str); 4] = [
        (too_long, "at most 8388608 are accepted"),
        (
            0xffff_ffff_u32.to_le_bytes().into(),
            "at most 512 are accepted",
        ),
        (vec![0; 8], "cannot be read"),
        (
            written(|message| message.init_finish().set_question_id(0))
                .into_iter()
                .chain(written(|message| {
                    let mut release = message.init_release();
                    release.set_id(7);
                    release.set_reference_count(1);
                }))
                .collect(),
            "export 7",
        ),
    ];
    for (bytes, reason) in cases {
        for at_once in [1, 4096] {
            let bytes = bytes.clone();
            on_a_vat(async move {
                let (here, there) = duplex(at_once);
                let (_connection, exchange) = carried(here, &Limits::default(), None);
                let (mut reading, mut writing) = split(there);
                let writer = tokio::task::spawn_local(async move {
                    // The rest is not taken any more, or is thrown away.
                    let _ = writing.write_all(&bytes).await;
                    writing
                });
                let mut heard = Vec::new();
                reading.read_to_end(&mut heard).await.unwrap();
                let kinds = kinds(&heard);
                assert_eq!(kinds.len(), 1, "{kinds:?}");
                assert!(kinds[0].contains(reason), "{kinds:?}");
                drop((reading, writer.await));
                exchange.await.unwrap();
            });
        }
    }
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_message_ends_the_connection() {
    on_a_vat(async {
        let (here, mut there) = duplex(16);
        let (connection, exchange) = carried(here, &Limits::default(), None);
        let whole = bootstrap(0);
        for byte in &whole[..whole.len() - 1] {
            there.write_all(&[*byte]).await.unwrap();
            settle().await;
        }
        assert_eq!(connection.usage(), Usage::default());
        drop(there);
        let reason = connection.ended().await;
        assert_eq!(reason.kind, capnp::ErrorKind::Disconnected);
        assert!(reason.extra.contains("middle of a message"), "{reason}");
        exchange.await.unwrap();
    });
}

#[test]
fn a_message_that_is_begun_has_to_be_ended_in_time() {
    on_a_vat(async {
        let (here, mut there) = duplex(1024);
        let (reader, writer) = split(here);
        let clocks = Rc::new(Cell::new(0));
        let begun = clocks.clone();
        let (connection, exchange) = stream::connect(
            reader.compat(),
            writer.compat_write(),
            move |pause| {
                let second = pause == stream::UNFINISHED && begun.replace(begun.get() + 1) == 1;
                async move {
                    if !second {
                        pending().await
                    }
                }
            },
            Limits::default(),
            Some(Lab::<Vat>::client(&Rc::default()).client),
        );
        let exchange = tokio::task::spawn_local(exchange);
        settle().await;
        assert_eq!(clocks.get(), 0, "between messages there is no hurry");

        // The first message comes in pieces, and is whole in time.
        let whole = bootstrap(0);
        for piece in whole.chunks(5) {
            there.write_all(piece).await.unwrap();
            settle().await;
        }
        assert_eq!(clocks.get(), 1);
        assert_eq!(connection.usage().answers, 1);

        there.write_all(&whole[..12]).await.unwrap();
        let reason = connection.ended().await;
        assert!(reason.extra.contains("not whole after 60s"), "{reason}");
        let heard = read_all(&mut there).await;
        assert_eq!(kinds(&heard), ["results"]);
        drop(there);
        exchange.await.unwrap();
    });
}

#[test]
fn a_connection_that_is_dropped_says_so_and_fails_what_the_peer_waits_for() {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let (here, there) = duplex(64);
        let (near, exchange) = carried(here, &Limits::default(), None);
        let (far, other) = carried(there, &Limits::default(), Some(Lab::<Vat>::client(&seen)));
        let lab: lab::Client = near.bootstrap();
        let waiting = lab.never_request().send().promise;
        settle().await;
        assert_eq!(seen.running.get(), 1);
        drop(far);
        let Err(error) = waiting.await else {
            panic!("it has returned")
        };
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
        assert!(error.extra.contains("was dropped"), "{error}");
        exchange.await.unwrap();
        other.await.unwrap();
        assert_eq!((seen.running.get(), seen.alive.get()), (0, 0));
    });
}

#[test]
fn dropping_the_exchange_ends_the_connection() {
    on_a_vat(async {
        let (here, there) = duplex(64);
        let (near, exchange) = carried(here, &Limits::default(), None);
        let lab: lab::Client = near.bootstrap();
        let waiting = echo(&lab, b"never");
        exchange.abort();
        assert_eq!(
            waiting.await.unwrap_err().kind,
            capnp::ErrorKind::Disconnected
        );
        near.ended().await;
        drop(there);
    });
}

#[test]
fn an_exchange_that_is_never_polled_ends_the_connection_when_it_goes() {
    on_a_vat(async {
        let (reader, writer) = split(duplex(1).0);
        let (connection, exchange) = stream::connect(
            reader.compat(),
            writer.compat_write(),
            tokio::time::sleep,
            Limits::default(),
            None,
        );
        drop(exchange);
        connection.ended().await;
    });
}

#[test]
fn a_farewell_that_nobody_reads_ends_with_the_clock() {
    on_a_vat(async {
        let (here, there) = duplex(1);
        let (reader, writer) = split(here);
        let (connection, exchange) = stream::connect(
            reader.compat(),
            writer.compat_write(),
            |_| ready(()),
            Limits::default(),
            None,
        );
        connection.disconnect(Error::failed("enough".into()));
        exchange.await;
        drop(there);
    });
}

#[test]
fn a_reason_that_is_waited_for_arrives_however_slow_the_reader_is() {
    on_a_vat(async {
        let (here, mut there) = duplex(1);
        let (reader, writer) = split(here);
        let (connection, exchange) = stream::connect(
            reader.compat(),
            writer.compat_write(),
            |_| pending(),
            Limits::default(),
            None,
        );
        let exchange = tokio::task::spawn_local(exchange);
        connection.disconnect(Error::failed("enough".into()));
        let heard = read_all(&mut there).await;
        assert_eq!(kinds(&heard), ["enough"]);
        drop(there);
        exchange.await.unwrap();
    });
}

#[test]
fn a_peer_that_never_reads_is_held_back_and_then_hung_up_on() {
    let limits = Limits {
        outgoing_bytes: 32 << 10,
        ..Limits::default()
    };
    for patient in [true, false] {
        let limits = limits.clone();
        on_a_vat(async move {
            let (here, mut there) = duplex(16 << 10);
            let (reader, writer) = split(here);
            let pauses = Rc::new(RefCell::new(0));
            let counted = pauses.clone();
            let (connection, exchange) = stream::connect(
                reader.compat(),
                writer.compat_write(),
                move |pause| {
                    let patient = patient || pause == stream::UNFINISHED;
                    *counted.borrow_mut() += u32::from(pause == stream::HOLD_BACK);
                    async move {
                        if patient {
                            pending().await
                        }
                    }
                },
                limits.clone(),
                Some(Lab::<Vat>::client(&Rc::default()).client),
            );
            let exchange = tokio::task::spawn_local(exchange);
            there.write_all(&bootstrap(0)).await.unwrap();
            let writing = async {
                for question in 1..100_000 {
                    let call = echo_call(question, 0, 8000);
                    if there.write_all(&call).await.is_err() {
                        return;
                    }
                }
            };
            if patient {
                let written = futures::future::select(Box::pin(writing), Box::pin(settle())).await;
                assert!(matches!(written, futures::future::Either::Right(_)));
                // Nothing more is read; one pause has begun and does not end.
                assert_eq!(*pauses.borrow(), 1);
            } else {
                let (reason, ()) = futures::join!(connection.ended(), writing);
                assert!(reason.extra.contains("left unread"), "{reason}");
                exchange.await.unwrap();
            }
        });
    }
}

/// What a peer that has much under way holds here, and whether it gets all its answers in the end.
fn fill<S: Future<Output = ()> + 'static>(
    sleep: impl Fn(Duration) -> S + 'static,
    comes_to_an_end: bool,
) {
    on_a_vat(async move {
        let seen = Rc::new(Seen::default());
        let limits = Limits {
            bytes_in_flight: 64 << 10,
            ..Limits::default()
        };
        let (here, there) = duplex(1024);
        let (near, _) = carried(here, &Limits::default(), None);
        let (reader, writer) = split(there);
        let (far, exchange) = stream::connect(
            reader.compat(),
            writer.compat_write(),
            sleep,
            limits,
            Some(Lab::<Vat>::client(&seen).client),
        );
        let _exchange = tokio::task::spawn_local(exchange);
        let there: lab::Client = near.bootstrap();
        // What these wait for comes behind all of them.
        let stuck = there.wait_request().send().pipeline.get_lab();
        let asked: Vec<_> = (0..30)
            .map(|_| {
                let mut request = there.ask_request();
                request.get().set_lab(stuck.clone());
                request.get().set_data(&[1; 4000]);
                request.send().promise
            })
            .collect();
        let released = there.release_request().send().promise;
        settle().await;
        assert!(far.usage().bytes_in_flight < 128 << 10);
        if comes_to_an_end {
            released.await.unwrap();
            for asked in asked {
                asked.await.unwrap();
            }
        } else {
            settle().await;
            let running = seen.running.get();
            assert!((10..20).contains(&running), "{running} run");
        }
    });
}

#[test]
fn a_peer_that_fills_this_side_is_held_back() {
    fill(|_| pending(), false);
}

#[test]
fn a_peer_that_is_held_back_can_still_make_room() {
    fill(tokio::time::sleep, true);
}
