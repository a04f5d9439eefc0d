//! Messages of the protocol as a peer writes and reads them itself, without an engine.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use capnp::capability::FromClientHook as _;
use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::private::layout::CapTable;
use capnp::traits::{HasTypeId as _, ImbueMut as _};
use capnp::{any_pointer, serialize};
use vat::{Closed, Connection, Limits, Outbox};

use crate::lab::{Lab, Seen, Vat};
use crate::lab_capnp::lab;
use crate::peers::on_a_vat;
use crate::rpc_capnp::{
    self, cap_descriptor, disembargo, exception, message, message_target, payload, promised_answer,
    resolve, return_,
};

/// Ordinals of the methods of `Lab`.
pub mod method {
    pub const NOTHING: u16 = 0;
    pub const ECHO: u16 = 1;
    pub const NEXT: u16 = 2;
    pub const MAKE: u16 = 4;
    pub const NEVER: u16 = 5;
    pub const IDENTITY: u16 = 6;
    pub const KEEP: u16 = 7;
    pub const KEPT: u16 = 8;
    pub const DROP: u16 = 9;
    pub const ASK: u16 = 10;
    pub const FORWARD: u16 = 11;
    pub const PROMISE: u16 = 12;
    pub const FULFIL: u16 = 13;
    pub const BREAK: u16 = 14;
    pub const FAIL: u16 = 15;
    pub const PUSH: u16 = 16;
    pub const PUSHED: u16 = 17;
    pub const SEVERAL: u16 = 18;
    pub const WAIT: u16 = 19;
    pub const RELEASE: u16 = 20;
}

/// What a message is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Import(u32),
    Answer(u32, Vec<u16>),
}

/// A capability as its sender describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cap {
    None,
    Hosted(u32),
    Promise(u32),
    Receiver(u32),
    Answer(u32, Vec<u16>),
    /// In a third vat, behind a vine.
    Third(u32),
}

pub use exception::Type as Kind;

/// A message that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Unimplemented(Box<Said>),
    Abort(Kind, String),
    Bootstrap(u32),
    Call(Asked),
    Return(Returned),
    Finish { question: u32, release: bool },
    Resolve(u32, Result<Cap, (Kind, String)>),
    Release(u32, u32),
    SenderLoopback(To, u32),
    ReceiverLoopback(To, u32),
    Accept(To),
    Other(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub question: u32,
    pub to: Option<To>,
    pub method: u16,
    pub caps: Vec<Cap>,
    pub yourself: bool,
    /// What `expected` of `Lab.next` would be.
    pub number: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub answer: u32,
    pub release_params: bool,
    pub no_finish: bool,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Results {
        caps: Vec<Cap>,
        /// What `data` of `Lab.echo` is, if anything.
        data: Vec<u8>,
    },
    Exception(Kind, String),
    Canceled,
    Elsewhere,
    TakeFrom(u32),
    Other,
}

pub type Message = Builder<HeapAllocator>;

/// A message in the stream framing.
pub fn message(write: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut message = Message::new_default();
    write(message.init_root());
    serialize::write_message_to_words(&message)
}

pub fn bootstrap(question: u32) -> Vec<u8> {
    message(|message| message.init_bootstrap().set_question_id(question))
}

pub fn finish(question: u32, release: bool) -> Vec<u8> {
    message(|message| {
        let mut finish = message.init_finish();
        finish.set_question_id(question);
        finish.set_release_result_caps(release);
        finish.set_require_early_cancellation_workaround(false);
    })
}

pub fn release(id: u32, count: u32) -> Vec<u8> {
    message(|message| {
        let mut release = message.init_release();
        release.set_id(id);
        release.set_reference_count(count);
    })
}

pub fn resolve_to(promise: u32, cap: &Cap) -> Vec<u8> {
    message(|message| {
        let mut resolve = message.init_resolve();
        resolve.set_promise_id(promise);
        write_cap(cap, resolve.init_cap());
    })
}

pub fn resolve_broken(promise: u32, reason: &str) -> Vec<u8> {
    message(|message| {
        let mut resolve = message.init_resolve();
        resolve.set_promise_id(promise);
        resolve.init_exception().set_reason(reason);
    })
}

pub fn sender_loopback(to: &To, id: u32) -> Vec<u8> {
    message(|message| {
        let mut disembargo = message.init_disembargo();
        write_to(to, disembargo.reborrow().init_target());
        disembargo.init_context().set_sender_loopback(id);
    })
}

pub fn receiver_loopback(to: &To, id: u32) -> Vec<u8> {
    message(|message| {
        let mut disembargo = message.init_disembargo();
        write_to(to, disembargo.reborrow().init_target());
        disembargo.init_context().set_receiver_loopback(id);
    })
}

/// A `Return`, with a body still to be written.
pub fn returned(answer: u32, write: impl FnOnce(return_::Builder<'_>)) -> Vec<u8> {
    message(|message| {
        let mut returned = message.init_return();
        returned.set_answer_id(answer);
        returned.set_release_param_caps(false);
        write(returned);
    })
}

/// A `Return` whose results are one capability in the first pointer of a struct.
pub fn returned_lab(answer: u32, cap: &Cap) -> Vec<u8> {
    returned(answer, |returned| {
        fill(
            returned.init_results(),
            std::slice::from_ref(cap),
            |content, _| {
                content
                    .init_as::<lab::identity_results::Builder<'_>>()
                    .set_lab(dummy());
            },
        );
    })
}

/// A `Return` with what `Lab.echo` returns.
pub fn returned_data(answer: u32, data: &[u8]) -> Vec<u8> {
    returned(answer, |returned| {
        fill(returned.init_results(), &[], |content, _| {
            content
                .init_as::<lab::echo_results::Builder<'_>>()
                .set_data(data);
        });
    })
}

/// A `Return` whose results are one capability and nothing else, as for a `Bootstrap`.
pub fn returned_cap(answer: u32, cap: &Cap) -> Vec<u8> {
    returned(answer, |returned| {
        fill(
            returned.init_results(),
            std::slice::from_ref(cap),
            |mut content, _| content.set_as_capability(dummy().into_client_hook()),
        );
    })
}

/// A capability that stands for a place in the table.
pub fn dummy() -> lab::Client {
    vat::new_broken_client(capnp::Error::failed("of a test".into()))
}

fn fill(
    mut payload: payload::Builder<'_>,
    caps: &[Cap],
    write: impl FnOnce(any_pointer::Builder<'_>, &[Cap]),
) {
    let length = u32::try_from(caps.len()).unwrap();
    let mut table = payload.reborrow().init_cap_table(length);
    for (index, cap) in (0..).zip(caps) {
        write_cap(cap, table.reborrow().get(index));
    }
    let mut places = CapTable::new();
    let mut content = payload.reborrow().get_content();
    content.imbue_mut(&mut places);
    write(content, caps);
}

/// A `Call` of a method of `Lab`.
pub struct Call {
    question: u32,
    to: To,
    method: u16,
    caps: Vec<Cap>,
    data: Vec<u8>,
    number: u32,
    yourself: bool,
}

pub fn call(question: u32, to: To, method: u16) -> Call {
    Call {
        question,
        to,
        method,
        caps: Vec::new(),
        data: Vec::new(),
        number: 0,
        yourself: false,
    }
}

impl Call {
    /// What the first pointer of the parameters names.
    pub fn cap(mut self, cap: Cap) -> Self {
        self.caps.push(cap);
        self
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    pub fn number(mut self, number: u32) -> Self {
        self.number = number;
        self
    }

    pub fn yourself(mut self) -> Self {
        self.yourself = true;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with(|_| {})
    }

    /// Addressed to the first pointer of an answer's results instead.
    pub fn to(mut self, answer: u32) -> Self {
        self.to = To::Answer(answer, vec![0]);
        self
    }

    /// With something else changed.
    pub fn with(&self, change: impl FnOnce(rpc_capnp::call::Builder<'_>)) -> Vec<u8> {
        message(|message| {
            let mut call = message.init_call();
            call.set_question_id(self.question);
            call.set_interface_id(lab::Client::TYPE_ID);
            call.set_method_id(self.method);
            write_to(&self.to, call.reborrow().init_target());
            if self.yourself {
                call.reborrow().init_send_results_to().set_yourself(());
            }
            fill(
                call.reborrow().init_params(),
                &self.caps,
                |content, caps| self.write(content, caps),
            );
            change(call);
        })
    }

    fn write(&self, content: any_pointer::Builder<'_>, caps: &[Cap]) {
        match self.method {
            method::ECHO => content
                .init_as::<lab::echo_params::Builder<'_>>()
                .set_data(&self.data),
            method::NEXT => content
                .init_as::<lab::next_params::Builder<'_>>()
                .set_expected(self.number),
            method::PUSH => content
                .init_as::<lab::push_params::Builder<'_>>()
                .set_data(&self.data),
            method::FAIL | method::BREAK => content
                .init_as::<lab::fail_params::Builder<'_>>()
                .set_reason(std::str::from_utf8(&self.data).unwrap()),
            method::IDENTITY | method::KEEP | method::FULFIL | method::ASK | method::FORWARD => {
                let mut params = content.init_as::<lab::ask_params::Builder<'_>>();
                if !caps.is_empty() {
                    params.set_lab(dummy());
                }
                params.set_data(&self.data);
            }
            method::SEVERAL => {
                let length = u32::try_from(caps.len()).unwrap();
                let mut labs = content
                    .init_as::<lab::several_params::Builder<'_>>()
                    .init_labs(length);
                for index in 0..length {
                    labs.set(index, dummy().into_client_hook());
                }
            }
            _ => {}
        }
    }
}

pub fn write_to(to: &To, target: message_target::Builder<'_>) {
    let mut target = target;
    match to {
        To::Import(id) => target.set_imported_cap(*id),
        To::Answer(question, path) => write_answer(*question, path, target.init_promised_answer()),
    }
}

fn write_answer(question: u32, path: &[u16], mut answer: promised_answer::Builder<'_>) {
    answer.set_question_id(question);
    let length = u32::try_from(path.len()).unwrap();
    let mut transform = answer.init_transform(length);
    for (index, field) in (0..).zip(path) {
        transform
            .reborrow()
            .get(index)
            .set_get_pointer_field(*field);
    }
}

pub fn write_cap(cap: &Cap, mut descriptor: cap_descriptor::Builder<'_>) {
    match cap {
        Cap::None => descriptor.set_none(()),
        Cap::Hosted(id) => descriptor.set_sender_hosted(*id),
        Cap::Promise(id) => descriptor.set_sender_promise(*id),
        Cap::Receiver(id) => descriptor.set_receiver_hosted(*id),
        Cap::Answer(question, path) => {
            write_answer(*question, path, descriptor.init_receiver_answer());
        }
        Cap::Third(vine) => descriptor.init_third_party_hosted().set_vine_id(*vine),
    }
}

/// Makes all pointers of a list name what the first one does. The list is the one of `length` pointers,
/// in a message of one segment of which only the first pointer is set.
pub fn share_first(framed: &[u8], length: u32) -> Vec<u8> {
    let mut words: Vec<u64> = framed
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let length = length as usize;
    // The first pointer is followed by as many null ones as the list has left.
    let first = (2..words.len() - length)
        .find(|at| words[*at] & 3 == 1 && words[at + 1..at + length].iter().all(|word| *word == 0))
        .unwrap();
    let pointer = words[first];
    for index in 1..length {
        // An offset counts from the end of its pointer, in units of 4.
        words[first + index] = pointer - 4 * index as u64;
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What a message says.
pub fn read(bytes: &[u8]) -> Said {
    let mut bytes = bytes;
    let message =
        serialize::read_message_from_flat_slice(&mut bytes, ReaderOptions::new()).unwrap();
    assert!(bytes.is_empty(), "one message and no more");
    said(message.get_root().unwrap())
}

fn said(message: message::Reader<'_>) -> Said {
    match message.which() {
        Ok(message::Unimplemented(message)) => {
            Said::Unimplemented(Box::new(said(message.unwrap())))
        }
        Ok(message::Abort(exception)) => {
            let (kind, reason) = read_exception(exception.unwrap());
            Said::Abort(kind, reason)
        }
        Ok(message::Bootstrap(bootstrap)) => Said::Bootstrap(bootstrap.unwrap().get_question_id()),
        Ok(message::Call(call)) => Said::Call(read_call(call.unwrap())),
        Ok(message::Return(returned)) => Said::Return(read_return(returned.unwrap())),
        Ok(message::Finish(finish)) => {
            let finish = finish.unwrap();
            Said::Finish {
                question: finish.get_question_id(),
                release: finish.get_release_result_caps(),
            }
        }
        Ok(message::Resolve(resolve)) => {
            let resolve = resolve.unwrap();
            let to = match resolve.which().unwrap() {
                resolve::Cap(cap) => Ok(read_cap(cap.unwrap())),
                resolve::Exception(exception) => Err(read_exception(exception.unwrap())),
            };
            Said::Resolve(resolve.get_promise_id(), to)
        }
        Ok(message::Release(release)) => {
            let release = release.unwrap();
            Said::Release(release.get_id(), release.get_reference_count())
        }
        Ok(message::Disembargo(disembargo)) => {
            let disembargo = disembargo.unwrap();
            let to = read_to(disembargo.get_target().unwrap()).unwrap();
            match disembargo.get_context().which() {
                Ok(disembargo::context::SenderLoopback(id)) => Said::SenderLoopback(to, id),
                Ok(disembargo::context::ReceiverLoopback(id)) => Said::ReceiverLoopback(to, id),
                Ok(disembargo::context::Accept(())) => Said::Accept(to),
                _ => Said::Other("disembargo"),
            }
        }
        Ok(message::Provide(_)) => Said::Other("provide"),
        Ok(message::Accept(_)) => Said::Other("accept"),
        Ok(message::Join(_)) => Said::Other("join"),
        Ok(message::ObsoleteSave(_)) => Said::Other("save"),
        Ok(message::ObsoleteDelete(_)) => Said::Other("delete"),
        Err(_) => Said::Other("unknown"),
    }
}

fn read_exception(exception: exception::Reader<'_>) -> (Kind, String) {
    let reason = exception.get_reason().unwrap().to_string().unwrap();
    (exception.get_type().unwrap(), reason)
}

fn read_call(call: rpc_capnp::call::Reader<'_>) -> Asked {
    let params = call.get_params().unwrap();
    let number = params
        .get_content()
        .get_as::<lab::next_params::Reader<'_>>()
        .map_or(0, |params| params.get_expected());
    Asked {
        question: call.get_question_id(),
        to: read_to(call.get_target().unwrap()),
        method: call.get_method_id(),
        caps: read_caps(params),
        yourself: matches!(
            call.get_send_results_to().which(),
            Ok(rpc_capnp::call::send_results_to::Yourself(()))
        ),
        number,
    }
}

fn read_caps(payload: payload::Reader<'_>) -> Vec<Cap> {
    payload
        .get_cap_table()
        .unwrap()
        .iter()
        .map(read_cap)
        .collect()
}

fn read_return(returned: return_::Reader<'_>) -> Returned {
    let body = match returned.which() {
        Ok(return_::Results(results)) => {
            let results = results.unwrap();
            let data = results
                .get_content()
                .get_as::<lab::echo_results::Reader<'_>>()
                .and_then(|results| results.get_data())
                .unwrap_or_default();
            Body::Results {
                data: data.to_vec(),
                caps: read_caps(results),
            }
        }
        Ok(return_::Exception(exception)) => {
            let (kind, reason) = read_exception(exception.unwrap());
            Body::Exception(kind, reason)
        }
        Ok(return_::Canceled(())) => Body::Canceled,
        Ok(return_::ResultsSentElsewhere(())) => Body::Elsewhere,
        Ok(return_::TakeFromOtherQuestion(id)) => Body::TakeFrom(id),
        _ => Body::Other,
    };
    Returned {
        answer: returned.get_answer_id(),
        release_params: returned.get_release_param_caps(),
        no_finish: returned.get_no_finish_needed(),
        body,
    }
}

fn read_to(target: message_target::Reader<'_>) -> Option<To> {
    Some(match target.which().ok()? {
        message_target::ImportedCap(id) => To::Import(id),
        message_target::PromisedAnswer(answer) => {
            let (question, path) = read_answer(answer.unwrap());
            To::Answer(question, path)
        }
    })
}

fn read_answer(answer: promised_answer::Reader<'_>) -> (u32, Vec<u16>) {
    let path = answer
        .get_transform()
        .unwrap()
        .iter()
        .filter_map(|op| match op.which().unwrap() {
            promised_answer::op::Noop(()) => None,
            promised_answer::op::GetPointerField(field) => Some(field),
        })
        .collect();
    (answer.get_question_id(), path)
}

fn read_cap(descriptor: cap_descriptor::Reader<'_>) -> Cap {
    match descriptor.which().unwrap() {
        cap_descriptor::None(()) => Cap::None,
        cap_descriptor::SenderHosted(id) => Cap::Hosted(id),
        cap_descriptor::SenderPromise(id) => Cap::Promise(id),
        cap_descriptor::ReceiverHosted(id) => Cap::Receiver(id),
        cap_descriptor::ReceiverAnswer(answer) => {
            let (question, path) = read_answer(answer.unwrap());
            Cap::Answer(question, path)
        }
        cap_descriptor::ThirdPartyHosted(third) => Cap::Third(third.unwrap().get_vine_id()),
    }
}

/// A peer that has asked for the bootstrap capability, a `Lab`, and holds it as import 0.
pub struct Peer {
    pub inbox: vat::Inbox,
    sent: Rc<Unread>,
    pub connection: Connection,
    pub seen: Rc<Seen>,
}

/// What a peer has been told and has not read.
#[derive(Default)]
struct Unread {
    messages: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
}

struct Kept(Rc<Unread>);

impl Outbox for Kept {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.0.bytes.set(self.0.bytes.get() + message.len());
        self.0.messages.borrow_mut().push(message);
        Ok(())
    }

    fn backlog(&self) -> usize {
        self.0.bytes.get()
    }
}

/// The import under which a [`Peer`] holds the bootstrap capability.
pub const LAB: To = To::Import(0);

impl Peer {
    pub fn new(limits: &Limits) -> Self {
        let seen = Rc::new(Seen::default());
        let peer = Self::bare(limits, &seen);
        peer.hold_lab();
        peer
    }

    /// One that has not asked for anything.
    pub fn bare(limits: &Limits, seen: &Rc<Seen>) -> Self {
        Self::serving(limits, seen, Lab::<Vat>::client(seen))
    }

    /// One that will be given this.
    pub fn serving(limits: &Limits, seen: &Rc<Seen>, lab: lab::Client) -> Self {
        let sent = Rc::new(Unread::default());
        let outbox = Kept(sent.clone());
        let connection = Connection::new(outbox, limits.clone(), Some(lab.client));
        Self {
            inbox: connection.inbox(),
            sent,
            connection,
            seen: seen.clone(),
        }
    }

    /// Asks for the bootstrap capability, which becomes import 0.
    pub fn hold_lab(&self) {
        self.say(&bootstrap(1 << 30));
        self.say(&finish(1 << 30, false));
        let heard = self.hear();
        let [Said::Return(returned)] = &heard[..] else {
            panic!("{heard:?}");
        };
        let Body::Results { caps, .. } = &returned.body else {
            panic!("{returned:?}");
        };
        assert_eq!(caps, &[Cap::Hosted(0)]);
    }

    /// Says something that leaves the connection open.
    pub fn say(&self, message: &[u8]) {
        self.inbox.receive(message).unwrap();
    }

    /// Says something that may end the connection.
    pub fn try_say(&self, message: &[u8]) -> Result<(), Closed> {
        self.inbox.receive(message)
    }

    pub fn ask(&self, call: &Call) {
        self.say(&call.bytes());
    }

    /// What has been said to the peer since this was last called.
    pub fn hear(&self) -> Vec<Said> {
        let sent = self.take_unread();
        sent.iter().map(|message| read(message)).collect()
    }

    /// Reads everything, whatever it says.
    pub fn take_unread(&self) -> Vec<Vec<u8>> {
        self.sent.bytes.set(0);
        self.sent.messages.take()
    }

    /// How many messages have been said and not been read, and how many bytes they have.
    pub fn unread(&self) -> (usize, usize) {
        (self.sent.messages.borrow().len(), self.sent.bytes.get())
    }

    /// As [`hear`](Self::hear), once nothing more happens.
    pub async fn hear_all(&self) -> Vec<Said> {
        settle().await;
        self.hear()
    }

    /// The one message that was said.
    pub async fn hear_one(&self) -> Said {
        let mut heard = self.hear_all().await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }

    /// What the only message, a `Return`, says.
    pub async fn hear_return(&self, answer: u32) -> Body {
        match self.hear_one().await {
            Said::Return(returned) if returned.answer == answer => returned.body,
            other => panic!("{other:?}"),
        }
    }

    /// What the `Return` for an answer says, among whatever else is said.
    pub async fn result(&self, answer: u32) -> Body {
        let heard = self.hear_all().await;
        body(&heard, answer)
    }

    /// A call that returns one capability of the engine's; the answer is finished. Returns its id.
    pub async fn import(&self, call: &Call) -> u32 {
        self.ask(call);
        let Body::Results { caps, .. } = self.result(call.question).await else {
            panic!("no results");
        };
        self.say(&finish(call.question, false));
        match caps[..] {
            [Cap::Hosted(id) | Cap::Promise(id)] => id,
            _ => panic!("{caps:?}"),
        }
    }

    /// What this side of the connection is given for the peer's bootstrap capability.
    pub async fn give(&self, cap: &Cap) -> lab::Client {
        let lab: lab::Client = self.connection.bootstrap();
        let heard = self.hear_one().await;
        let Said::Bootstrap(question) = heard else {
            panic!("{heard:?}");
        };
        self.say(&returned_cap(question, cap));
        let finished = Said::Finish {
            question,
            release: false,
        };
        assert_eq!(self.hear_one().await, finished);
        lab
    }

    /// The one call that was made.
    pub async fn hear_call(&self) -> Asked {
        match self.hear_one().await {
            Said::Call(asked) => asked,
            other => panic!("{other:?}"),
        }
    }

    /// Says something that ends the connection, and returns the reason that the `Abort` gave.
    pub async fn is_cut_off_for(&self, message: &[u8]) -> String {
        assert_eq!(self.try_say(message), Err(Closed));
        let heard = self.hear_all().await;
        match heard.last() {
            Some(Said::Abort(_, reason)) => reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Whether a call still goes through.
    pub async fn works(&self) {
        self.hear_all().await;
        let question = u32::MAX - 1;
        self.ask(&call(question, LAB, method::ECHO).data(b"still here"));
        until("an answer", || self.unread().0 > 0).await;
        let body = self.result(question).await;
        let expected = Body::Results {
            caps: vec![],
            data: b"still here".to_vec(),
        };
        assert_eq!(body, expected);
    }

    /// Ends the connection; nothing may be left of it.
    pub async fn leaves_nothing(self) {
        let Self {
            connection, seen, ..
        } = self;
        drop(connection);
        settle().await;
        assert_eq!(seen.running.get(), 0, "methods run");
        assert_eq!(seen.alive.get(), 0, "objects are alive");
    }
}

/// What the `Return` for an answer says, among other messages.
pub fn body(heard: &[Said], answer: u32) -> Body {
    let mut bodies = heard.iter().filter_map(|said| match said {
        Said::Return(returned) if returned.answer == answer => Some(&returned.body),
        _ => None,
    });
    let body = bodies.next();
    assert!(bodies.next().is_none(), "two returns: {heard:?}");
    body.unwrap_or_else(|| panic!("no return of {answer}: {heard:?}"))
        .clone()
}

/// Results with one capability.
pub fn one(cap: Cap) -> Body {
    Body::Results {
        caps: vec![cap],
        data: Vec::new(),
    }
}

/// Results without capabilities.
pub fn data(data: &[u8]) -> Body {
    Body::Results {
        caps: Vec::new(),
        data: data.to_vec(),
    }
}

/// The reason of an exception of a kind.
pub fn reason(body: &Body, kind: Kind) -> &str {
    match body {
        Body::Exception(actual, reason) if *actual == kind => reason,
        other => panic!("{other:?}"),
    }
}

/// Lets the vat run until there is nothing more to do: it gives way after some turns.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Lets the vat run until something is so.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..200_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}

/// A stack that a peer must not be able to exhaust.
const SMALL_STACK: usize = 512 << 10;

/// Runs a test on a vat of its own with a small stack. A test that hangs is a test that fails.
pub fn on_a_small_stack<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (ended, wait) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .stack_size(SMALL_STACK)
        .spawn(move || {
            on_a_vat(test());
            let _ = ended.send(());
        })
        .unwrap();
    match wait.recv_timeout(Duration::from_secs(120)) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the vat hangs"),
        Ok(()) | Err(_) => thread.join().unwrap(),
    }
}
