//! References as they cross a connection: descriptors out, descriptors in.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::Promise;
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;
use capnp::struct_list;

use super::exports::{Fresh, Released};
use super::{Shared, Tables};
use crate::error::Violation;
use crate::limits::Limits;
use crate::outcome::Path;
use crate::reference::{Node, Reference, WireTarget, innermost};
use crate::rpc_capnp::{cap_descriptor, payload, promised_answer};

/// How a capability is described to the peer.
pub(super) struct Described {
    form: Form,
    /// What the description means, on this side, for as long as the peer goes by it.
    pinned: Option<Box<dyn ClientHook>>,
}

enum Form {
    None,
    /// It is the peer's own.
    Theirs(Rc<Node>),
    /// It is to be an export.
    Ours(Option<Promise<Box<dyn ClientHook>, Error>>),
    /// It is an export.
    Exported {
        id: u32,
        is_promise: bool,
    },
}

/// What describing capabilities has changed.
#[derive(Default)]
pub(super) struct Registered {
    /// The references that were counted, to be taken back if the message is not sent.
    pub(super) exports: Vec<u32>,
    /// Promises that the peer did not know.
    pub(super) fresh: Vec<Fresh>,
}

/// Why a message was not sent, and what is to be let go of once nothing is borrowed.
pub(super) struct Unregistered {
    error: Error,
    _released: Vec<Released>,
    _fresh: Vec<Fresh>,
}

impl Unregistered {
    pub(super) fn into_error(self) -> Error {
        let error = self.error.clone();
        crate::vat::discard(self);
        error
    }
}

impl Described {
    pub(super) fn into_pinned(self) -> Option<Box<dyn ClientHook>> {
        self.pinned
    }

    pub(super) fn write(&self, mut descriptor: cap_descriptor::Builder<'_>) {
        match &self.form {
            Form::None | Form::Ours(_) => descriptor.set_none(()),
            Form::Exported { id, is_promise } => match is_promise {
                true => descriptor.set_sender_promise(*id),
                false => descriptor.set_sender_hosted(*id),
            },
            Form::Theirs(node) => match node.wire_target() {
                None => descriptor.set_none(()),
                Some(WireTarget::Import(id)) => descriptor.set_receiver_hosted(id),
                Some(WireTarget::Answer(question, path)) => {
                    let mut answer = descriptor.init_receiver_answer();
                    answer.set_question_id(question);
                    let steps = u32::try_from(path.len()).unwrap_or(u32::MAX);
                    let mut transform = answer.init_transform(steps);
                    for (index, field) in (0..).zip(path) {
                        transform
                            .reborrow()
                            .get(index)
                            .set_get_pointer_field(*field);
                    }
                }
            },
        }
    }
}

/// Writes the table of a payload's capabilities.
pub(super) fn write_table(described: &[Described], payload: payload::Builder<'_>) {
    if described.is_empty() {
        return;
    }
    let length = u32::try_from(described.len()).unwrap_or(u32::MAX);
    let mut table = payload.init_cap_table(length);
    for (index, described) in (0..).zip(described) {
        described.write(table.reborrow().get(index));
    }
}

impl Shared {
    /// The node of this connection that a capability is, if it is one.
    fn theirs(&self, hook: &dyn ClientHook) -> Option<Rc<Node>> {
        let road = Node::of(hook)?.road()?;
        let same = std::ptr::eq(road.connection()?.as_ptr(), self);
        same.then_some(road)
    }

    /// Whether messages to a capability go to the peer of this connection.
    pub(super) fn is_ours(&self, hook: &dyn ClientHook) -> bool {
        self.theirs(hook).is_some()
    }

    /// How a capability is to be described. Asks hooks, so nothing may be borrowed.
    pub(super) fn describe(&self, hook: Option<&dyn ClientHook>) -> Described {
        let Some(hook) = hook else {
            return Described {
                form: Form::None,
                pinned: None,
            };
        };
        let hook = innermost(hook.add_ref());
        match self.theirs(&*hook) {
            Some(node) => Described {
                pinned: Some(Box::new(Reference(Rc::clone(&node)))),
                form: Form::Theirs(node),
            },
            None => Described {
                form: Form::Ours(hook.when_more_resolved().or_else(|| broken_promise(&*hook))),
                pinned: Some(hook),
            },
        }
    }

    /// How a message's capabilities are to be described.
    pub(super) fn describe_all(&self, caps: &CapTable) -> Result<Vec<Described>, Error> {
        let limit = self.limits.message_capabilities;
        if caps.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Error::failed(format!(
                "{} capabilities in one message; at most {limit} are sent",
                caps.len()
            )));
        }
        Ok(caps
            .iter()
            .map(|cap| self.describe(cap.as_deref()))
            .collect())
    }
}

/// A reference to nothing is sent as a promise that breaks: there is no descriptor for it.
fn broken_promise(hook: &dyn ClientHook) -> Option<Promise<Box<dyn ClientHook>, Error>> {
    if !crate::reference::is_broken(hook) {
        return None;
    }
    let hook = hook.add_ref();
    Some(Promise::from_future(async move {
        hook.when_resolved().await?;
        Ok(hook)
    }))
}

impl Tables {
    /// Counts a reference for each capability that is to be an export. All or none.
    pub(super) fn register(
        &mut self,
        described: &mut [Described],
        limits: &Limits,
    ) -> Result<Registered, Unregistered> {
        let mut registered = Registered::default();
        for described in described {
            if !matches!(described.form, Form::Ours(_)) {
                continue;
            }
            let form = std::mem::replace(&mut described.form, Form::None);
            let (Form::Ours(resolution), Some(hook)) = (form, &described.pinned) else {
                continue;
            };
            match self.exports.add(&**hook, resolution, limits) {
                Ok((id, is_promise, fresh)) => {
                    described.form = Form::Exported { id, is_promise };
                    registered.exports.push(id);
                    registered.fresh.extend(fresh);
                }
                Err(error) => return Err(self.unregister(registered, error)),
            }
        }
        Ok(registered)
    }

    /// Takes back what was counted for a message that is not sent.
    pub(super) fn unregister(&mut self, registered: Registered, error: Error) -> Unregistered {
        Unregistered {
            error,
            _released: self.exports.take_back(&registered.exports),
            _fresh: registered.fresh,
        }
    }
}

/// A capability as the peer describes it.
pub(super) enum Descriptor {
    None,
    SenderHosted(u32),
    SenderPromise(u32),
    ReceiverHosted(u32),
    ReceiverAnswer(u32, Option<Path>),
}

impl Descriptor {
    pub(super) fn read(
        descriptor: cap_descriptor::Reader<'_>,
        limits: &Limits,
    ) -> Result<Self, Violation> {
        use cap_descriptor::Which;
        Ok(match descriptor.which() {
            Ok(Which::None(())) => Self::None,
            Ok(Which::SenderHosted(id)) => Self::SenderHosted(id),
            Ok(Which::SenderPromise(id)) => Self::SenderPromise(id),
            Ok(Which::ReceiverHosted(id)) => Self::ReceiverHosted(id),
            Ok(Which::ReceiverAnswer(answer)) => {
                let answer = answer?;
                Self::ReceiverAnswer(answer.get_question_id(), path(answer, limits)?)
            }
            // Calls go to the vine, which the sender passes on.
            Ok(Which::ThirdPartyHosted(third)) => Self::SenderHosted(third?.get_vine_id()),
            // A form that is newer than this: nothing that could be called.
            Err(capnp::NotInSchema(_)) => Self::None,
        })
    }

    /// The export that the sender counts a reference to, if any.
    pub(super) fn import(&self) -> Option<u32> {
        match self {
            Self::SenderHosted(id) | Self::SenderPromise(id) => Some(*id),
            _ => None,
        }
    }
}

/// The descriptors of a payload, or `None` if there are more than is allowed.
pub(super) fn descriptors(
    payload: payload::Reader<'_>,
    limits: &Limits,
) -> Result<Option<Vec<Descriptor>>, Violation> {
    let table: struct_list::Reader<'_, cap_descriptor::Owned> = payload.get_cap_table()?;
    if table.len() > limits.message_capabilities {
        return Ok(None);
    }
    table
        .iter()
        .map(|descriptor| Descriptor::read(descriptor, limits))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The steps to a promised capability, or `None` if there are too many, or some that are unknown.
pub(super) fn path(
    answer: promised_answer::Reader<'_>,
    limits: &Limits,
) -> Result<Option<Path>, Violation> {
    use promised_answer::op::Which;
    let transform = answer.get_transform()?;
    if transform.len() > limits.path_steps {
        return Ok(None);
    }
    let mut path = Path::new();
    for op in transform {
        match op.which() {
            Ok(Which::Noop(())) => {}
            Ok(Which::GetPointerField(field)) => path.push(field),
            Err(capnp::NotInSchema(_)) => return Ok(None),
        }
    }
    Ok(Some(path))
}
