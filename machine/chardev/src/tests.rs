//! Lines driven from both ends.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// A device with room for a few bytes, which the test makes room in.
struct Device {
    size: usize,
    held: Mutex<Vec<u8>>,
    events: Mutex<Vec<CharEvent>>,
}

impl Device {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Device {
            size,
            held: Mutex::default(),
            events: Mutex::default(),
        })
    }

    /// Takes what came, until `wanted` bytes did.
    fn collect(&self, line: &dyn CharBackend, wanted: usize) -> Vec<u8> {
        let start = Instant::now();
        let mut data = Vec::new();
        while data.len() < wanted {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "only {data:?} came"
            );
            data.append(&mut self.held.lock().unwrap());
            line.ready();
            std::thread::sleep(Duration::from_millis(1));
        }
        data
    }

    fn wait_event(&self, event: CharEvent) {
        let start = Instant::now();
        while !self.events.lock().unwrap().contains(&event) {
            assert!(start.elapsed() < Duration::from_secs(10), "no {event:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl CharSink for Device {
    fn room(&self) -> usize {
        self.size - self.held.lock().unwrap().len()
    }

    fn receive(&self, data: &[u8]) {
        let mut held = self.held.lock().unwrap();
        held.extend(data);
        assert!(held.len() <= self.size, "more than there was room for");
    }

    fn event(&self, event: CharEvent) {
        self.events.lock().unwrap().push(event);
    }
}

fn read_exactly(mut from: impl Read, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    from.read_exact(&mut data).unwrap();
    data
}

#[test]
fn a_ring_keeps_the_last_bytes_and_respects_room() {
    let ring = Ring::new(4);
    ring.write(b"abcdef").unwrap();
    assert_eq!(ring.take(), b"cdef");
    let device = Device::new(3);
    ring.input(b"12345");
    ring.attach(device.clone());
    assert_eq!(*device.held.lock().unwrap(), b"123");
    assert_eq!(device.collect(&ring, 5), b"12345");
}

#[test]
fn a_file_is_emptied_or_appended_to() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    FileOutput::create(&path, false)
        .unwrap()
        .write(b"one")
        .unwrap();
    FileOutput::create(&path, true)
        .unwrap()
        .write(b"two")
        .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
    FileOutput::create(&path, false).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    let refused = FileOutput::create(&folder.path().join("no/file"), false);
    assert!(matches!(refused, Err(CharError::Open { .. })));
}

#[test]
fn a_pty_passes_bytes_as_they_are() {
    let pty = Pty::open().unwrap();
    let device = Device::new(2);
    pty.attach(device.clone());
    let mut other = File::options()
        .read(true)
        .write(true)
        .open(pty.path())
        .unwrap();
    let data = b"a\r\n\x03\x1a\xff";
    other.write_all(data).unwrap();
    assert_eq!(device.collect(&pty, data.len()), data);
    pty.write(data).unwrap();
    assert_eq!(read_exactly(&other, data.len()), data);
    drop(other);
    // No one is there: what is written is lost, and nothing waits for ever.
    pty.write(&[b'x'; 100]).unwrap();
    let mut again = File::options()
        .read(true)
        .write(true)
        .open(pty.path())
        .unwrap();
    again.write_all(b"again").unwrap();
    assert_eq!(device.collect(&pty, 5), b"again");
}

fn tcp(port: u16) -> SocketAddress {
    SocketAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[test]
fn a_server_takes_one_peer_after_the_other() {
    let options = SocketOptions {
        address: tcp(0),
        server: true,
        wait: false,
    };
    let line = Socket::open(&options).unwrap();
    line.write(b"no one hears").unwrap();
    let device = Device::new(3);
    line.attach(device.clone());
    let SocketAddress::Tcp(address) = line.address().clone() else {
        panic!()
    };
    for _ in 0..2 {
        device.events.lock().unwrap().clear();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"to the guest").unwrap();
        assert_eq!(device.collect(&line, 12), b"to the guest");
        line.write(b"from the guest").unwrap();
        assert_eq!(read_exactly(&peer, 14), b"from the guest");
        device.wait_event(CharEvent::Opened);
        drop(peer);
        line.ready();
        device.wait_event(CharEvent::Closed);
    }
}

#[test]
fn a_unix_server_waits_for_its_peer() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("line");
    let theirs = path.clone();
    let peer = std::thread::spawn(move || {
        let start = Instant::now();
        loop {
            match UnixStream::connect(&theirs) {
                Ok(stream) => return stream,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
            }
        }
    });
    let address = SocketAddress::Unix(path);
    let line = Socket::open(&SocketOptions {
        address,
        server: true,
        wait: true,
    })
    .unwrap();
    line.write(b"at once").unwrap();
    assert_eq!(read_exactly(peer.join().unwrap(), 7), b"at once");
}

#[test]
fn a_client_connects_or_says_why_not() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = tcp(listener.local_addr().unwrap().port());
    let options = SocketOptions {
        address,
        server: false,
        wait: false,
    };
    let line = Socket::open(&options).unwrap();
    let (peer, _) = listener.accept().unwrap();
    line.write(b"hello").unwrap();
    assert_eq!(read_exactly(&peer, 5), b"hello");
    drop(peer);
    drop(line);
    drop(listener);
    assert!(matches!(
        Socket::open(&options),
        Err(CharError::Open { .. })
    ));
}

#[test]
fn a_null_line_takes_everything() {
    Null.write(&[0; 1000]).unwrap();
    Null.attach(Device::new(1));
    Null.ready();
}
