//! What all engines agree on: the same scenarios between this one and itself, `capnp-rpc` in either
//! role, and C++ (as pycapnp) in either role.

mod calls;
mod capabilities;
mod ends;
mod engines;
mod promises;
mod python;
mod streams;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use capnp::{Error, ErrorKind};
use vat::Usage;

use crate::lab::{Lab, Maker, Seen};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use engines::{CapnpRpc, Engine, Link, Vat};

/// How long a scenario may take before it is called a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Defines a test for each scenario and each pair of engines in one process, and `all`, which runs them
/// one after the other over connections to somebody else.
macro_rules! scenarios {
    (
        { $($module:ident: $($name:ident),+;)+ }
        not for capnp_rpc { $($strict:ident: $($rule:ident),+;)+ }
    ) => {
        mod vat_calls_vat {
            $($(#[test] fn $name() {
                super::between::<super::Vat, super::Vat, _>(super::$module::$name::<super::Vat>);
            })+)+
            $($(#[test] fn $rule() {
                super::between::<super::Vat, super::Vat, _>(super::$strict::$rule::<super::Vat>);
            })+)+
        }
        mod vat_calls_capnp_rpc {
            $($(#[test] fn $name() {
                super::between::<super::Vat, super::CapnpRpc, _>(super::$module::$name::<super::Vat>);
            })+)+
        }
        mod capnp_rpc_calls_vat {
            $($(#[test] fn $name() {
                super::between::<super::CapnpRpc, super::Vat, _>(super::$module::$name::<super::CapnpRpc>);
            })+)+
        }
        /// Runs every scenario, each over a connection of its own.
        async fn all<F: Future<Output = Joined>>(join: impl Fn() -> F) {
            $($({
                let Joined { lab, near } = join().await;
                finish(stringify!($name), $module::$name::<Vat>(lab), &near, true).await;
            })+)+
            $($({
                let Joined { lab, near } = join().await;
                finish(stringify!($rule), $strict::$rule::<Vat>(lab), &near, true).await;
            })+)+
        }
    };
}

scenarios! {
{
    calls:
        data_of_every_size_comes_back,
        calls_are_delivered_in_order,
        many_calls_run_at_once,
        a_failure_says_why,
        methods_that_are_not_there_are_unimplemented,
        calls_on_promised_results_are_delivered_in_order,
        calls_are_made_on_the_results_of_promised_results,
        calls_on_the_results_of_a_call_that_fails_fail_too,
        a_call_that_nobody_waits_for_is_cancelled;
    capabilities:
        a_peer_calls_back,
        a_peer_passes_a_call_on,
        a_peer_is_given_its_own_object,
        an_object_comes_home_as_itself,
        an_object_is_held_until_it_is_let_go_of,
        an_object_is_released_with_the_call_that_passed_it,
        many_objects_travel_in_one_message,
        one_object_travels_many_times,
        a_broken_capability_fails_where_it_is_called,
        what_was_made_is_let_go_of;
    promises:
        calls_do_not_overtake_those_on_promised_results,
        calls_do_not_overtake_those_on_a_promise,
        calls_on_a_promise_reach_what_the_peer_resolves_it_to,
        calls_on_a_promise_that_breaks_fail_with_the_reason,
        calls_on_a_promise_of_the_callers_wait_for_it,
        a_promise_that_breaks_is_broken_for_the_peer_too,
        a_promise_resolves_to_another_promise,
        a_promise_that_comes_home_is_still_a_promise,
        a_promise_is_let_go_of_before_it_resolves;
    streams:
        what_is_streamed_arrives,
        a_stream_reports_what_failed;
}
// `capnp-rpc` forgets what it has told about a promise once it knows more.
not for capnp_rpc {
    promises:
        both_sides_promise_at_once;
}
}

/// A connection from here.
struct Joined {
    lab: lab::Client,
    near: <Vat as Engine>::Link,
}

/// Runs a scenario between two engines, and checks that nothing is left of it.
fn between<N: Engine, F: Engine, S: Future<Output = ()>>(scenario: impl FnOnce(lab::Client) -> S) {
    on_a_vat(async {
        let seen = Rc::new(Seen::default());
        let (here, there) = tokio::io::duplex(4096);
        let far = F::serve(there, Lab::<F>::client(&seen));
        let (near, lab) = N::join(here);
        finish(
            "the scenario",
            scenario(lab),
            &near,
            F::RETURNS_WHAT_IS_CANCELLED,
        )
        .await;
        clear("the far side", &far).await;
        drop((near, far));
        until("the objects are gone", || seen.alive.get() == 0).await;
        assert_eq!(seen.running.get(), 0);
    });
}

async fn finish<L: Link>(name: &str, scenario: impl Future<Output = ()>, near: &L, tidy: bool) {
    let done = tokio::time::timeout(PATIENCE, scenario).await;
    assert!(done.is_ok(), "{name} hangs");
    if tidy {
        clear(name, near).await;
    } else {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until nothing is held on a connection's account.
async fn clear(what: &str, link: &impl Link) {
    for _ in 0..5_000 {
        if link.left() == Usage::default() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what} has left {:?}", link.left());
}

/// Waits for what has to come in the end.
async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..5_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}: not in the end");
}

async fn echo(lab: &lab::Client, data: &[u8]) -> Result<Vec<u8>, Error> {
    let mut request = lab.echo_request();
    request.get().set_data(data);
    let response = request.send().promise.await?;
    Ok(response.get()?.get_data()?.to_vec())
}

/// Makes a call that is expected to arrive as a certain number.
fn next(lab: &lab::Client, expected: u32) -> impl Future<Output = Result<(), Error>> + use<> {
    let mut request = lab.next_request();
    request.get().set_expected(expected);
    let promise = request.send().promise;
    async move { promise.await.map(drop) }
}

/// An object of this side, and what can be seen of it.
fn mine<M: Maker>() -> (Rc<Seen>, lab::Client) {
    let seen = Rc::new(Seen::default());
    let lab = Lab::<M>::client(&seen);
    (seen, lab)
}

fn failure<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("it did not fail"),
        Err(error) => error,
    }
}

fn assert_fails_with<T>(result: Result<T, Error>, reason: &str) {
    let error = failure(result);
    assert_eq!(error.kind, ErrorKind::Failed, "{error}");
    assert!(error.extra.contains(reason), "{error}");
}
