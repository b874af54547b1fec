//! The user network: its configuration, its thread, its meeting point with a device.

mod dhcp;
mod frame;
mod host;
mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::{FRAME_MAX, FrameSink, NetBackend, NetError};
use stack::Stack;

/// Frames from the guest that wait for the thread; more are lost.
const INBOX_MAX: usize = 1024;
const ETHERNET_HEADER: usize = 14;

/// What a forwarded port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A host address whose traffic goes to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// What it carries.
    pub protocol: Protocol,
    /// Where the host listens; port 0 takes any free one.
    pub host: SocketAddrV4,
    /// Where in the guest it goes; the address 0.0.0.0 stands for the guest's DHCP address.
    pub guest: SocketAddrV4,
}

/// How the guest's network looks and what it may reach.
#[derive(Debug, Clone)]
pub struct UserConfig {
    /// Bits of the network part of the addresses below.
    pub prefix: u8,
    /// The gateway; to the guest it also is the host's 127.0.0.1.
    pub gateway: Ipv4Addr,
    /// The name server that the guest is told of.
    pub dns: Ipv4Addr,
    /// The address that DHCP gives to the guest.
    pub guest: Ipv4Addr,
    /// Where questions to `dns` go; `None` takes the host's own name server.
    pub resolver: Option<SocketAddrV4>,
    /// The guest reaches nothing but the gateway's own services; forwards still work.
    pub restrict: bool,
    /// Host addresses that lead to the guest.
    pub forwards: Vec<Forward>,
}

impl Default for UserConfig {
    /// The usual network: 10.0.2.0/24, gateway .2, name server .3, guest .15.
    fn default() -> Self {
        UserConfig {
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
            guest: Ipv4Addr::new(10, 0, 2, 15),
            resolver: None,
            restrict: false,
            forwards: Vec::new(),
        }
    }
}

impl UserConfig {
    /// Whether `address` is inside the guest's network.
    fn contains(&self, address: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.prefix);
        u32::from(address) >> shift == u32::from(self.gateway) >> shift
    }

    /// The host's end for what the guest sends to `to`; `None` for what it must not reach.
    fn outside(&self, to: SocketAddrV4) -> Option<SocketAddrV4> {
        let address = *to.ip();
        if self.restrict || address.is_loopback() || address.is_multicast() {
            return None;
        }
        if address.is_broadcast() || address.is_unspecified() {
            return None;
        }
        if address == self.gateway {
            return Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, to.port()));
        }
        if address == self.dns {
            return self.resolver.filter(|_| to.port() == 53);
        }
        (!self.contains(address)).then_some(to)
    }
}

/// Where devices and the network's thread meet.
pub(crate) struct Inbox {
    frames: Mutex<VecDeque<Vec<u8>>>,
    sink: Mutex<Option<Arc<dyn FrameSink>>>,
    wake: EventFd,
    stop: AtomicBool,
}

impl Inbox {
    fn wake(&self) {
        // The counter is full only if the thread is to wake anyway.
        let _ = self.wake.write(1);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A user network with its thread; dropping it closes every connection.
pub struct UserNet {
    inbox: Arc<Inbox>,
    forwards: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl UserNet {
    /// Starts a network.
    ///
    /// # Errors
    /// The configuration has no room for hosts, a forward's address is taken, or the host gives
    /// no thread.
    pub fn start(mut config: UserConfig) -> Result<Self, NetError> {
        if !(1..=30).contains(&config.prefix) {
            return Err(NetError::Prefix {
                prefix: config.prefix,
            });
        }
        config.resolver = config.resolver.or_else(host::name_server);
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags);
        let inbox = Arc::new(Inbox {
            frames: Mutex::default(),
            sink: Mutex::default(),
            wake: wake.map_err(|errno| NetError::Start(errno.into()))?,
            stop: AtomicBool::new(false),
        });
        let mut stack = Stack::new(config, Arc::clone(&inbox))?;
        let forwards = stack.forward_addresses();
        let body = move || stack.run();
        let thread = Builder::new().name("user-net".to_owned()).spawn(body);
        Ok(UserNet {
            inbox,
            forwards,
            thread: Some(thread.map_err(NetError::Start)?),
        })
    }

    /// The host address of each forward, in the configuration's order, with the ports that the
    /// host chose.
    pub fn forwards(&self) -> &[SocketAddr] {
        &self.forwards
    }
}

impl Drop for UserNet {
    fn drop(&mut self) {
        self.inbox.stop.store(true, Ordering::Release);
        self.inbox.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has closed its sockets too.
            let _ = thread.join();
        }
    }
}

impl NetBackend for UserNet {
    fn send(&self, frame: &[u8]) {
        if !(ETHERNET_HEADER..=FRAME_MAX).contains(&frame.len()) {
            return;
        }
        let mut frames = lock(&self.inbox.frames);
        if frames.len() < INBOX_MAX {
            frames.push_back(frame.to_vec());
        }
        drop(frames);
        self.inbox.wake();
    }

    fn attach(&self, sink: Arc<dyn FrameSink>) {
        *lock(&self.inbox.sink) = Some(sink);
        self.inbox.wake();
    }

    fn ready(&self) {
        self.inbox.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
