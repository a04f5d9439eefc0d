//! TCP as libp2p's swarm wants it: dialing is libp2p's, accepting is done here, on the sockets of
//! [`listen`](crate::listen), because libp2p's own would share their port with strangers.
//!
//! A socket on an unspecified address is announced once for each address that the machine has, and the list follows
//! the interfaces as they come and go. Link-local IPv6 addresses are left out: without a zone nobody can dial them.

use std::{
    collections::VecDeque,
    io,
    net::{self, IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{self, Ready};
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent},
    tcp::{self, tokio::TcpStream},
};
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep},
};

use crate::{
    SwarmError,
    address::{multiaddr, socket_addr},
};

/// After the system refused to hand over a connection, mostly for want of file descriptors: trying again at once
/// would only burn the processor until some are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Event = TransportEvent<Ready<io::Result<TcpStream>>, io::Error>;

pub(crate) struct Tcp {
    dialer: tcp::tokio::Transport,
    /// Bound, and waiting for the swarm to ask for them.
    bound: Vec<(SocketAddr, TcpListener)>,
    listeners: Vec<Listener>,
    /// There while it works, if a listener needs it.
    interfaces: Option<IfWatcher>,
    pause: Option<Pin<Box<Sleep>>>,
    events: VecDeque<Event>,
}

struct Listener {
    id: ListenerId,
    addr: SocketAddr,
    socket: TcpListener,
}

impl Tcp {
    /// Takes over the sockets. To be called inside the runtime that will poll the transport.
    pub(crate) fn new(sockets: Vec<net::TcpListener>) -> Result<Self, SwarmError> {
        let bound = sockets
            .into_iter()
            .map(|socket| Ok((socket.local_addr()?, TcpListener::from_std(socket)?)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(SwarmError::Threads)?;
        let interfaces = bound
            .iter()
            .any(|(addr, _)| addr.ip().is_unspecified())
            .then(IfWatcher::new)
            .transpose()
            .map_err(SwarmError::Interfaces)?;
        Ok(Tcp {
            dialer: tcp::tokio::Transport::new(tcp::Config::default()),
            bound,
            listeners: Vec::new(),
            interfaces,
            pause: None,
            events: VecDeque::new(),
        })
    }

    /// What to give to `listen_on`, once each.
    pub(crate) fn bound_addrs(&self) -> Vec<Multiaddr> {
        self.bound
            .iter()
            .map(|(addr, _)| multiaddr(*addr))
            .collect()
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) {
        while let Some(watcher) = &mut self.interfaces {
            match watcher.poll_if_event(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(event)) => self.announce(event),
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "the list of listening addresses no longer follows the interfaces");
                    self.interfaces = None;
                }
            }
        }
    }

    fn announce(&mut self, event: IfEvent) {
        let (IfEvent::Up(net) | IfEvent::Down(net)) = event;
        let ip = net.addr();
        if matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            return;
        }
        for listener in &self.listeners {
            if !listener.addr.ip().is_unspecified() || listener.addr.is_ipv4() != ip.is_ipv4() {
                continue;
            }
            let listener_id = listener.id;
            let listen_addr = multiaddr(SocketAddr::new(ip, listener.addr.port()));
            self.events.push_back(match event {
                IfEvent::Up(_) => TransportEvent::NewAddress {
                    listener_id,
                    listen_addr,
                },
                IfEvent::Down(_) => TransportEvent::AddressExpired {
                    listener_id,
                    listen_addr,
                },
            });
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for index in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get(index) else {
                break;
            };
            let listener_id = listener.id;
            while let Poll::Ready(accepted) = listener.socket.poll_accept(cx) {
                let accepted = accepted.and_then(|(stream, remote)| {
                    stream.set_nodelay(true)?;
                    Ok((stream.local_addr()?, remote, stream))
                });
                match accepted {
                    Ok((local, remote, stream)) => {
                        // The next listener's turn comes first, so that no flood on one starves another.
                        self.listeners.rotate_left(index + 1);
                        return Poll::Ready(TransportEvent::Incoming {
                            listener_id,
                            upgrade: future::ready(Ok(TcpStream(stream))),
                            local_addr: multiaddr(local),
                            send_back_addr: multiaddr(remote),
                        });
                    }
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                        return Poll::Ready(TransportEvent::ListenerError { listener_id, error });
                    }
                }
            }
        }
        Poll::Pending
    }
}

impl Transport for Tcp {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<TcpStream>>;
    type Dial = <tcp::tokio::Transport as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let Some(wanted) = socket_addr(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let Some(index) = self.bound.iter().position(|(addr, _)| *addr == wanted) else {
            return Err(TransportError::Other(
                io::ErrorKind::AddrNotAvailable.into(),
            ));
        };
        let (addr, socket) = self.bound.swap_remove(index);
        if !addr.ip().is_unspecified() {
            self.events.push_back(TransportEvent::NewAddress {
                listener_id: id,
                listen_addr: multiaddr(addr),
            });
        }
        self.listeners.push(Listener { id, addr, socket });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|listener| listener.id != id);
        let was_there = self.listeners.len() < before;
        if was_there {
            self.events.push_back(TransportEvent::ListenerClosed {
                listener_id: id,
                reason: Ok(()),
            });
        }
        was_there
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let options = DialOpts {
            port_use: PortUse::New,
            ..options
        };
        self.dialer.dial(addr, options)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let this = self.get_mut();
        this.poll_interfaces(cx);
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(event);
        }
        if let Some(pause) = &mut this.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.pause = None;
        }
        this.poll_accept(cx)
    }
}

/// Whether the connection was gone before it was taken over, which says nothing about the next one.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    // InvalidInput is what some systems answer to an option on a socket whose peer has gone.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}
