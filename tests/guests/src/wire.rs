//! The RPC protocol by hand, for guests that say what no library would.
//!
//! A [`Wire`] keeps what a well-behaved end would: which calls have returned, and how; who called; why the
//! conversation ended. It checks nothing that is sent.

mod holdings;
mod shape;

use std::collections::{BTreeMap, HashMap, VecDeque};

use runtime::capnp;
use runtime::capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions};
use runtime::capnp::serialize::{self, OwnedSegments};
use runtime::capnp::traits::ImbueMut as _;
use runtime::capnp_rpc::rpc_capnp::{
    call, disembargo, message, message_target, payload, promised_answer,
};
use runtime::capnp_rpc::rpc_capnp::{cap_descriptor, return_};
use runtime::system_capnp::byte_stream::read_results;
use runtime::wit::rpc::{self, Connection};
use serde_json::{Value, json};

pub use holdings::*;
pub use shape::{SHAPES, Shape};

/// What a call is addressed to, or what a capability is described as.
#[derive(Clone, Copy)]
pub enum Cap {
    /// The host's, by the number that it gave.
    Host(u32),
    /// In the results of a call, at its first pointer.
    Answer(u32),
    /// In the results of a call: what is at the first pointer of what is at the first pointer.
    Nested(u32),
    /// The guest's own.
    Own(u32),
    /// A promise of the guest's own.
    Promise(u32),
    /// None.
    Null,
}

/// How a call returned.
pub enum Outcome {
    /// With these capabilities, by the host's numbers.
    Results(Vec<u32>),
    /// With an exception of this kind.
    Failed(&'static str, String),
    /// In another way.
    Other(&'static str),
}

/// A call that the host makes.
pub struct Call {
    /// Its number, to be returned.
    pub question: u32,
    /// Which of the guest's own capabilities it is made on.
    pub target: u32,
    /// The interface.
    pub interface: u64,
    /// The method.
    pub method: u16,
    /// The host's capabilities in its parameters, by the host's numbers.
    pub caps: Vec<u32>,
    message: Incoming,
}

type Incoming = Reader<OwnedSegments>;
type Outgoing = Builder<HeapAllocator>;

/// A conversation, by hand.
pub struct Wire {
    connection: Option<Connection>,
    next: u32,
    /// The calls that have returned.
    pub returned: HashMap<u32, Outcome>,
    /// The bytes that reads have returned.
    data: HashMap<u32, String>,
    /// The host's calls that nobody has looked at.
    pub calls: VecDeque<Call>,
    /// The host's questions for what the guest exports.
    pub bootstraps: VecDeque<u32>,
    /// The host's embargoes: their numbers, and on what they are.
    embargoes: Vec<(u32, Cap)>,
    /// What the guest's promises have resolved to.
    resolved: HashMap<u32, Cap>,
    /// How often each other kind of message came.
    pub others: BTreeMap<&'static str, u32>,
    /// Why the host ended the conversation.
    pub aborted: Option<String>,
    /// Whether it has ended.
    pub closed: bool,
}

impl Wire {
    /// Takes the conversation.
    pub fn connect() -> Self {
        let connection = rpc::connect().expect("nobody has taken the conversation");
        Self {
            connection: Some(connection),
            next: 0,
            returned: HashMap::new(),
            data: HashMap::new(),
            calls: VecDeque::new(),
            bootstraps: VecDeque::new(),
            embargoes: Vec::new(),
            resolved: HashMap::new(),
            others: BTreeMap::new(),
            aborted: None,
            closed: false,
        }
    }

    /// Drops the guest's end.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// A number for the next call.
    pub fn question(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), rpc::Error> {
        let connection = self.connection.as_ref().ok_or(rpc::Error::Closed)?;
        let sent = connection.send(bytes);
        self.closed |= matches!(sent, Err(rpc::Error::Closed));
        sent
    }

    /// Sends a message.
    pub fn send(&mut self, write: impl FnOnce(message::Builder<'_>)) {
        let mut message = Builder::new_default();
        write(message.init_root());
        self.send_message(&message);
    }

    fn send_message(&mut self, message: &Outgoing) {
        // What is closed is noted.
        let _ = self.send_bytes(&serialize::write_message_to_words(message));
    }

    /// Asks for the host's bootstrap.
    pub fn bootstrap(&mut self) -> u32 {
        let question = self.question();
        self.send(|message| message.init_bootstrap().set_question_id(question));
        question
    }

    /// Makes a call under a number of its own. Returns the number.
    pub fn call(
        &mut self,
        to: Cap,
        (interface, method): (u64, u16),
        caps: &[Cap],
        params: impl FnOnce(capnp::any_pointer::Builder<'_>),
    ) -> u32 {
        let question = self.question();
        self.call_as(question, to, (interface, method), caps, params);
        question
    }

    /// Makes a call under a number.
    pub fn call_as(
        &mut self,
        question: u32,
        to: Cap,
        method: (u64, u16),
        caps: &[Cap],
        params: impl FnOnce(capnp::any_pointer::Builder<'_>),
    ) {
        self.send(|message| {
            let mut call = begin(message, question, to, method);
            let mut payload = call.reborrow().init_params();
            describe_all(payload.reborrow(), caps);
            let mut table = Vec::new();
            let mut content = payload.get_content();
            content.imbue_mut(&mut table);
            params(content);
        });
    }

    /// Makes a call whose parameters are of a shape that no schema has.
    pub fn call_shaped(&mut self, to: Cap, method: (u64, u16), shape: Shape) -> u32 {
        let question = self.question();
        let mut message = Builder::new_default();
        let mut call = begin(message.init_root(), question, to, method);
        describe_all(call.reborrow().init_params(), shape.caps);
        let words = shape::put(&serialize::write_message_to_words(&message), shape);
        let _ = self.send_bytes(&words);
        question
    }

    /// Makes a call whose parameter at this place is a list of so many pointers to one text of so many
    /// bytes.
    pub fn call_amplifying(
        &mut self,
        to: Cap,
        method: (u64, u16),
        (place, count, text): (u64, u64, u64),
    ) -> u32 {
        let question = self.question();
        let mut message = Builder::new_default();
        begin(message.init_root(), question, to, method).init_params();
        let framed = serialize::write_message_to_words(&message);
        let _ = self.send_bytes(&shape::put_amplifying(&framed, place, count, text));
        question
    }

    /// Says that a call is finished with, and takes nothing of its results.
    pub fn finish(&mut self, question: u32) {
        self.finish_keeping(question, false);
    }

    /// Says that a call is finished with.
    pub fn finish_keeping(&mut self, question: u32, keep: bool) {
        self.send(|message| {
            let mut finish = message.init_finish();
            finish.set_question_id(question);
            finish.set_release_result_caps(!keep);
            finish.set_require_early_cancellation_workaround(false);
        });
    }

    /// Releases what the host gave.
    pub fn release(&mut self, id: u32, count: u32) {
        self.send(|message| {
            let mut release = message.init_release();
            release.set_id(id);
            release.set_reference_count(count);
        });
    }

    /// Says what a promise of the guest's own is.
    pub fn resolve(&mut self, promise: u32, to: Cap) {
        self.resolved.insert(promise, to);
        self.send(|message| {
            let mut resolve = message.init_resolve();
            resolve.set_promise_id(promise);
            describe(resolve.init_cap(), to);
        });
    }

    /// Returns from a call of the host's, with no results.
    pub fn return_nothing(&mut self, question: u32) {
        self.send(|message| {
            let mut returned = message.init_return();
            returned.set_answer_id(question);
            returned.set_release_param_caps(false);
            returned.init_results();
        });
    }

    /// Returns from a call of the host's, or gives it what it asked for, with a capability.
    pub fn return_cap(&mut self, question: u32, cap: Cap) {
        let mut table = Vec::new();
        let mut message = Builder::new_default();
        let root: message::Builder<'_> = message.init_root();
        let mut returned = root.init_return();
        returned.set_answer_id(question);
        returned.set_release_param_caps(false);
        let mut results = returned.init_results();
        describe_all(results.reborrow(), &[cap]);
        let mut content = results.get_content();
        content.imbue_mut(&mut table);
        set_cap(content);
        self.send_message(&message);
    }

    /// Tells the host, for each of its embargoes, that everything before it has arrived.
    pub fn lift_embargoes(&mut self) {
        for (id, promise) in std::mem::take(&mut self.embargoes) {
            let mut to = promise;
            while let Cap::Promise(promise) = to
                && let Some(next) = self.resolved.get(&promise)
            {
                to = *next;
            }
            self.send(|message| {
                let mut disembargo = message.init_disembargo();
                address(disembargo.reborrow().init_target(), to);
                disembargo.init_context().set_receiver_loopback(id);
            });
        }
    }

    /// Takes in what has arrived.
    pub fn take_in(&mut self) {
        let Some(connection) = &self.connection else {
            self.closed = true;
            return;
        };
        let Ok(bytes) = connection.receive() else {
            self.closed = true;
            return;
        };
        let mut rest = bytes.as_slice();
        let options = *ReaderOptions::new().traversal_limit_in_words(None);
        while !rest.is_empty() {
            let message = serialize::read_message(&mut rest, options).expect("whole messages");
            self.file(message).expect("messages of the protocol");
        }
    }

    /// Waits until something holds, or the conversation is over. Returns whether it holds.
    pub fn wait(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.take_in();
            if done(self) {
                return true;
            }
            if self.closed {
                return false;
            }
            if let Some(connection) = &self.connection {
                connection.subscribe().block();
            }
        }
    }

    /// Waits for a call to return.
    pub fn wait_for(&mut self, question: u32) -> Option<&Outcome> {
        self.wait(|wire| wire.returned.contains_key(&question));
        self.returned.get(&question)
    }

    /// Waits for a call to return with a capability at this place of its table.
    pub fn wait_for_cap(&mut self, question: u32, index: usize) -> Cap {
        match self.wait_for(question) {
            Some(Outcome::Results(caps)) => Cap::Host(caps[index]),
            Some(Outcome::Failed(kind, reason)) => panic!("{kind}: {reason}"),
            _ => panic!("no results; {:?}", self.aborted),
        }
    }

    /// The data in the results of a call, as text.
    pub fn data(&self, question: u32) -> &str {
        self.data.get(&question).map_or("", String::as_str)
    }

    /// How the calls from one number to another stand.
    pub fn tally(&self, questions: std::ops::RangeInclusive<u32>) -> Value {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
        for question in questions {
            let kind = match self.returned.get(&question) {
                None => "pending",
                Some(Outcome::Results(_)) => "results",
                Some(Outcome::Other(kind)) => kind,
                Some(Outcome::Failed(kind, reason)) => {
                    *reasons.entry(format!("{kind}: {reason}")).or_default() += 1;
                    kind
                }
            };
            *counts.entry(kind).or_default() += 1;
        }
        json!({
            "counts": counts,
            "reasons": reasons,
            "others": self.others,
            "aborted": self.aborted,
            "closed": self.closed,
        })
    }

    fn file(&mut self, message: Incoming) -> capnp::Result<()> {
        let root: message::Reader<'_> = message.get_root()?;
        let other = match root.which()? {
            message::Return(returned) => {
                let returned = returned?;
                let outcome = outcome(returned)?;
                if let return_::Results(results) = returned.which()?
                    && let Ok(read) = results?.get_content().get_as::<read_results::Reader<'_>>()
                    && let Ok(data) = read.get_data()
                {
                    let text = String::from_utf8_lossy(data).into_owned();
                    self.data.insert(returned.get_answer_id(), text);
                }
                self.returned.insert(returned.get_answer_id(), outcome);
                return Ok(());
            }
            message::Call(called) => {
                let called = called?;
                let call = Call {
                    question: called.get_question_id(),
                    target: match called.get_target()?.which()? {
                        message_target::ImportedCap(id) => id,
                        message_target::PromisedAnswer(_) => u32::MAX,
                    },
                    interface: called.get_interface_id(),
                    method: called.get_method_id(),
                    caps: hosted(called.get_params()?)?,
                    message,
                };
                self.calls.push_back(call);
                return Ok(());
            }
            message::Abort(exception) => {
                self.aborted = Some(exception?.get_reason()?.to_string()?);
                return Ok(());
            }
            message::Bootstrap(bootstrap) => {
                self.bootstraps.push_back(bootstrap?.get_question_id());
                return Ok(());
            }
            message::Unimplemented(_) => "unimplemented",
            message::Finish(_) => "finish",
            message::Resolve(_) => "resolve",
            message::Release(_) => "release",
            message::Disembargo(disembargo) => {
                self.embargoes.extend(loopback(disembargo?)?);
                "disembargo"
            }
            _ => "unknown",
        };
        *self.others.entry(other).or_default() += 1;
        Ok(())
    }
}

impl Call {
    /// Its parameters.
    pub fn params<'a, T: capnp::traits::FromPointerReader<'a>>(&'a self) -> capnp::Result<T> {
        let root: message::Reader<'_> = self.message.get_root()?;
        match root.which()? {
            message::Call(call) => call?.get_params()?.get_content().get_as(),
            _ => Err(capnp::Error::failed("not a call".into())),
        }
    }
}

fn begin(
    message: message::Builder<'_>,
    question: u32,
    to: Cap,
    (interface, method): (u64, u16),
) -> call::Builder<'_> {
    let mut call = message.init_call();
    call.set_question_id(question);
    call.set_interface_id(interface);
    call.set_method_id(method);
    address(call.reborrow().init_target(), to);
    call
}

/// Addresses a message.
pub fn address(mut target: message_target::Builder<'_>, to: Cap) {
    match to {
        Cap::Host(id) | Cap::Own(id) | Cap::Promise(id) => target.set_imported_cap(id),
        Cap::Answer(question) => promised(target.init_promised_answer(), question, 1),
        Cap::Nested(question) => promised(target.init_promised_answer(), question, 2),
        Cap::Null => {}
    }
}

fn promised(mut answer: promised_answer::Builder<'_>, question: u32, steps: u32) {
    answer.set_question_id(question);
    let mut transform = answer.init_transform(steps);
    for step in 0..steps {
        transform.reborrow().get(step).set_get_pointer_field(0);
    }
}

fn describe_all(payload: payload::Builder<'_>, caps: &[Cap]) {
    let mut table = payload.init_cap_table(caps.len() as u32);
    for (index, cap) in (0..).zip(caps) {
        describe(table.reborrow().get(index), *cap);
    }
}

fn describe(mut descriptor: cap_descriptor::Builder<'_>, cap: Cap) {
    match cap {
        Cap::Host(id) => descriptor.set_receiver_hosted(id),
        Cap::Own(id) => descriptor.set_sender_hosted(id),
        Cap::Promise(id) => descriptor.set_sender_promise(id),
        Cap::Answer(question) => promised(descriptor.init_receiver_answer(), question, 1),
        Cap::Nested(question) => promised(descriptor.init_receiver_answer(), question, 2),
        Cap::Null => descriptor.set_none(()),
    }
}

/// The number of an embargo that asks to be sent back, and the promise that it is on.
fn loopback(disembargo: disembargo::Reader<'_>) -> capnp::Result<Option<(u32, Cap)>> {
    use disembargo::context::SenderLoopback;
    let SenderLoopback(id) = disembargo.get_context().which()? else {
        return Ok(None);
    };
    Ok(match disembargo.get_target()?.which()? {
        message_target::ImportedCap(promise) => Some((id, Cap::Promise(promise))),
        message_target::PromisedAnswer(_) => None,
    })
}

fn outcome(returned: return_::Reader<'_>) -> capnp::Result<Outcome> {
    Ok(match returned.which()? {
        return_::Results(results) => Outcome::Results(hosted(results?)?),
        return_::Exception(exception) => {
            use runtime::capnp_rpc::rpc_capnp::exception::Type;
            let exception = exception?;
            let kind = match exception.get_type()? {
                Type::Failed => "failed",
                Type::Overloaded => "overloaded",
                Type::Disconnected => "disconnected",
                Type::Unimplemented => "unimplemented",
            };
            Outcome::Failed(kind, exception.get_reason()?.to_string()?)
        }
        return_::Canceled(()) => Outcome::Other("canceled"),
        return_::ResultsSentElsewhere(()) => Outcome::Other("elsewhere"),
        _ => Outcome::Other("another way"),
    })
}

/// The capabilities of the host's in a payload, by its numbers.
fn hosted(payload: payload::Reader<'_>) -> capnp::Result<Vec<u32>> {
    use cap_descriptor::Which;
    let table = payload.get_cap_table()?;
    table
        .iter()
        .map(|descriptor| {
            Ok(match descriptor.which()? {
                Which::SenderHosted(id) | Which::SenderPromise(id) => id,
                _ => u32::MAX,
            })
        })
        .collect()
}
