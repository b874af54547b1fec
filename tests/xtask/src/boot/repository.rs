//! A tiny package archive on loopback, for a guest's `apt-get` to reach through its network.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use super::work;
use crate::error::{AtPath, Error, Result};
use crate::inputs;
use crate::process::step;

/// The package that the archive holds, and what its program prints.
pub const PACKAGE: &str = "lab-probe";
/// See [`PACKAGE`].
pub const ANSWER: &str = "the probe answers";

/// Paths and contents.
type Pages = BTreeMap<String, Vec<u8>>;

/// A server that answers until the process ends.
#[derive(Debug)]
pub struct Repository {
    /// Its port on loopback.
    pub port: u16,
}

impl Repository {
    /// Makes the archive with the help of `folder`, and serves it.
    pub fn serve(folder: &Path) -> Result<Self> {
        let pages = Arc::new(pages(folder)?);
        let place = "the loopback interface";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at(place)?;
        let port = listener.local_addr().at(place)?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pages = Arc::clone(&pages);
                // A client that goes away in the middle is no concern of the server's.
                thread::spawn(move || drop(answer(&stream, &pages)));
            }
        });
        Ok(Self { port })
    }
}

/// Answers one connection's requests until it is closed.
fn answer(stream: &TcpStream, pages: &Pages) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        for header in lines.by_ref() {
            if header?.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.trim_start_matches(['/', '.']);
        let (status, body) = match pages.get(path) {
            Some(body) => ("200 OK", body.as_slice()),
            None => ("404 Not Found", [].as_slice()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
    }
    Ok(())
}

/// A flat archive (sources.list(5)): one package, its list, and the list's digest.
fn pages(folder: &Path) -> Result<Pages> {
    let package = build(folder)?;
    let control = format!(
        "{}Filename: ./{PACKAGE}.deb\nSize: {}\nSHA256: {}\n",
        control(),
        package.len(),
        work::digest(&package)?
    );
    let list = control.into_bytes();
    let (digest, size) = (work::digest(&list)?, list.len());
    let release = format!("Suite: lab\nSHA256:\n {digest} {size} Packages\n");
    Ok(Pages::from([
        (format!("{PACKAGE}.deb"), package),
        ("Packages".to_owned(), list),
        ("Release".to_owned(), release.into_bytes()),
    ]))
}

fn control() -> String {
    format!(
        "Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: lab <lab@localhost>\n\
         Description: answers\n"
    )
}

/// Builds the package.
fn build(folder: &Path) -> Result<Vec<u8>> {
    let tree = folder.join(PACKAGE);
    inputs::remove(&tree)?;
    for part in ["DEBIAN", "usr/bin"] {
        let path = tree.join(part);
        fs::create_dir_all(&path).at(&path)?;
    }
    let path = tree.join("DEBIAN/control");
    fs::write(&path, control()).at(&path)?;
    let program = format!("#!/bin/sh\necho '{ANSWER}'\n");
    inputs::write_program(&tree.join("usr/bin").join(PACKAGE), program.as_bytes())?;
    let package = folder.join("package.deb");
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "--build"])
        .arg(&tree)
        .arg(&package);
    step(&mut build)?;
    fs::read(&package).map_err(|source| Error::File {
        path: package,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pages_are_served_on_one_connection() {
        let pages = Pages::from([("Packages".to_owned(), b"list".to_vec())]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("connects");
            let requests = "GET /./Packages HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\n\r\n";
            stream.write_all(requests.as_bytes()).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("shut");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("answered");
            text
        });
        let (stream, _) = listener.accept().expect("a client");
        answer(&stream, &pages).expect("answered");
        drop(stream);
        let text = client.join().expect("no panic");
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist"),
            "{text}"
        );
        assert!(
            text.ends_with("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "{text}"
        );
    }
}
