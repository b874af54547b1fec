//! Lines to the host: `-chardev` and the short forms of `-serial`.

use std::net::{SocketAddr, ToSocketAddrs};

use isomorph_chardev::{SocketAddress, SocketOptions};

use crate::system::builder::{Builder, Given, Shown};
use crate::system::config::{Chardev, Line};
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;

/// What a line is, by name.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Null,
    Stdio,
    File,
    Pty,
    Socket,
    Ring,
}

const KINDS: &[(&str, Kind)] = &[
    ("null", Kind::Null),
    ("stdio", Kind::Stdio),
    ("file", Kind::File),
    ("pty", Kind::Pty),
    ("socket", Kind::Socket),
    ("ringbuf", Kind::Ring),
    ("memory", Kind::Ring),
];

/// What a ring keeps if nothing is said.
const RING: usize = 64 << 10;

/// The line that the serial port leads to unless something else is said.
const SERIAL: &str = "serial0";

/// `-chardev`
pub fn chardev(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    let mut list = given.list(Some("backend"))?;
    if list.wants_help() {
        let names: String = KINDS
            .iter()
            .map(|(name, _)| format!("  {name}\n"))
            .collect();
        return Ok(Some(format!("Available chardev backend types:\n{names}")));
    }
    let name = list.required("backend")?;
    let kind = KINDS.iter().find(|(known, _)| *known == name);
    let (_, kind) = kind.ok_or_else(|| {
        let known = KINDS.iter().map(|(name, _)| *name);
        SystemError::unknown(given.origin, "chardev backend", &name, known)
    })?;
    let id = list.required("id")?;
    let line = match kind {
        Kind::Null => Line::Null,
        Kind::Stdio => Line::Stdio {
            signal: list.switch("signal")?.unwrap_or(true),
        },
        Kind::File => Line::File {
            path: list.required("path")?.into(),
            append: list.switch("append")?.unwrap_or(false),
        },
        Kind::Pty => Line::Pty,
        Kind::Socket => Line::Socket(socket(&mut list)?),
        Kind::Ring => Line::Ring {
            size: list.size("size", 1)?.map_or(RING, |size| size as usize),
        },
    };
    let mux = list.switch("mux")?.unwrap_or(false);
    list.absent(&["logfile", "logappend"], "a line has one end")?;
    list.done(&format!("chardev `{name}`"))?;
    let origin = given.origin.to_owned();
    add(
        builder,
        Chardev {
            origin,
            id,
            mux,
            line,
        },
    )?;
    Ok(None)
}

fn add(builder: &mut Builder, chardev: Chardev) -> Result<(), SystemError> {
    let lines = &mut builder.config.chardevs;
    let taken = |what, name: &str| SystemError::Taken {
        origin: chardev.origin.clone(),
        what,
        name: name.to_owned(),
    };
    if lines.iter().any(|other| other.id == chardev.id) {
        return Err(taken("the name", &chardev.id));
    }
    let terminal = |line: &Chardev| matches!(line.line, Line::Stdio { .. });
    if terminal(&chardev) && lines.iter().any(terminal) {
        return Err(taken("the terminal", "stdio"));
    }
    lines.push(chardev);
    Ok(())
}

fn socket(list: &mut Keyval) -> Result<SocketOptions, SystemError> {
    let path = list.text("path");
    let address = match path {
        Some(path) => SocketAddress::Unix(path.into()),
        None => {
            let host = list.required("host")?;
            let port = list.required("port")?;
            SocketAddress::Tcp(resolve(list, &host, &port)?)
        }
    };
    socket_options(list, address)
}

fn socket_options(list: &mut Keyval, address: SocketAddress) -> Result<SocketOptions, SystemError> {
    let server = list.switch("server")?.unwrap_or(false);
    let wait = list.switch("wait")?;
    list.fixed("telnet", &["off"])?;
    list.fixed("websocket", &["off"])?;
    list.fixed("reconnect", &["0"])?;
    list.ignored(&["delay", "nodelay", "ipv4"]);
    list.fixed("ipv6", &["off"])?;
    Ok(SocketOptions {
        address,
        server,
        // As in QEMU, who listens waits unless told otherwise.
        wait: server && wait.unwrap_or(true),
    })
}

/// The address of a host by name or number; nothing means all of this host's.
fn resolve(list: &Keyval, host: &str, port: &str) -> Result<SocketAddr, SystemError> {
    let number: u16 = port
        .parse()
        .map_err(|_| list.wrong("port", port, "a port number"))?;
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let found = (host, number).to_socket_addrs();
    let found = found.map(|addresses| {
        let all: Vec<_> = addresses.collect();
        let first = all.iter().find(|address| address.is_ipv4());
        first.or(all.first()).copied()
    });
    found
        .ok()
        .flatten()
        .ok_or_else(|| list.wrong("host", host, "a host that can be found"))
}

/// `-serial`
pub fn serial(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let text = given.text()?;
    if builder.serial_given {
        let reason = "the machine has one serial port";
        return Err(SystemError::unsupported(given.origin, reason));
    }
    builder.serial_given = true;
    if text == "none" {
        return Ok(());
    }
    if let Some(id) = text.strip_prefix("chardev:") {
        builder.config.serial = Some(id.to_owned());
        return Ok(());
    }
    let (mux, text) = match text.strip_prefix("mon:") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let line = short_form(given.origin, text, mux)?;
    builder.config.serial = Some(SERIAL.to_owned());
    let origin = given.origin.to_owned();
    let id = SERIAL.to_owned();
    add(
        builder,
        Chardev {
            origin,
            id,
            mux,
            line,
        },
    )
}

/// A line in the form of `-serial`.
fn short_form(origin: &str, text: &str, mux: bool) -> Result<Line, SystemError> {
    Ok(match text {
        "null" => Line::Null,
        // Ctrl-C is the guest's where Ctrl-A x is the user's.
        "stdio" => Line::Stdio { signal: !mux },
        "pty" => Line::Pty,
        _ => {
            let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
            match kind {
                "file" if !rest.is_empty() => Line::File {
                    path: rest.into(),
                    append: false,
                },
                "ringbuf" | "memory" => Line::Ring { size: RING },
                "tcp" => {
                    let mut list = Keyval::parse(origin, rest, Some("address"))?;
                    let address = list.required("address")?;
                    let (host, port) = address
                        .rsplit_once(':')
                        .ok_or_else(|| list.wrong("tcp", &address, "an address as host:port"))?;
                    let address = SocketAddress::Tcp(resolve(&list, host, port)?);
                    finish_socket(list, address)?
                }
                "unix" => {
                    let mut list = Keyval::parse(origin, rest, Some("path"))?;
                    let address = SocketAddress::Unix(list.required("path")?.into());
                    finish_socket(list, address)?
                }
                _ => {
                    let known = ["null", "stdio", "pty", "file", "tcp", "unix", "ringbuf"]
                        .into_iter()
                        .chain(["none", "chardev", "mon"]);
                    return Err(SystemError::unknown(origin, "serial line", kind, known));
                }
            }
        }
    })
}

fn finish_socket(mut list: Keyval, address: SocketAddress) -> Result<Line, SystemError> {
    let options = socket_options(&mut list, address)?;
    list.done("a socket")?;
    Ok(Line::Socket(options))
}

/// The serial port's line if `-serial` was not given: the terminal, unless something has it.
pub fn default_serial(builder: &mut Builder) {
    let lines = &builder.config.chardevs;
    let terminal = lines
        .iter()
        .any(|line| matches!(line.line, Line::Stdio { .. }));
    let wanted = builder.nographic || !builder.nodefaults;
    if builder.serial_given || terminal || !wanted {
        return;
    }
    builder.config.serial = Some(SERIAL.to_owned());
    builder.config.chardevs.push(Chardev {
        origin: "-serial mon:stdio".to_owned(),
        id: SERIAL.to_owned(),
        mux: true,
        line: Line::Stdio { signal: false },
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{config, error};

    fn serial_of(line: &str) -> (bool, Line) {
        let config = config(line);
        let id = config.serial.expect("a line");
        let found = config.chardevs.into_iter().find(|chardev| chardev.id == id);
        let chardev = found.expect("a line of that name");
        (chardev.mux, chardev.line)
    }

    fn socket_of(line: &str) -> SocketOptions {
        match serial_of(line).1 {
            Line::Socket(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_terminal_is_the_default() {
        for line in [
            "",
            "-nographic",
            "-display none",
            "-serial mon:stdio",
            "-nographic -nodefaults",
        ] {
            let (mux, stdio) = serial_of(line);
            assert!(
                mux && matches!(stdio, Line::Stdio { signal: false }),
                "{line}"
            );
        }
        assert_eq!(config("-nodefaults").serial, None);
        assert_eq!(config("-serial none").serial, None);
        assert_eq!(config("-chardev stdio,id=x").serial, None);
        let (mux, stdio) = serial_of("-serial stdio");
        assert!(!mux && matches!(stdio, Line::Stdio { signal: true }));
    }

    #[test]
    fn serial_lines() {
        assert!(matches!(serial_of("-serial null").1, Line::Null));
        assert!(matches!(serial_of("-serial pty").1, Line::Pty));
        let file = serial_of("-serial file:/a:b,c").1;
        assert!(
            matches!(file, Line::File { path, append: false } if path.to_str() == Some("/a:b,c"))
        );
        let options = socket_of("-serial tcp:127.0.0.1:4444,server,nowait");
        assert!(options.server && !options.wait);
        let address = "127.0.0.1:4444".parse().expect("an address");
        assert_eq!(options.address, SocketAddress::Tcp(address));
        assert!(socket_of("-serial tcp::4444,server=on").wait);
        let options = socket_of("-serial unix:/a");
        assert!(!options.server && !options.wait);
        let options =
            socket_of("-chardev socket,id=c,path=/a,server=on,wait=off -serial chardev:c");
        assert_eq!(options.address, SocketAddress::Unix("/a".into()));
    }

    #[test]
    fn chardevs() {
        let line = "-chardev file,id=a,path=b,append=on -chardev ringbuf,id=r,size=4k";
        let config = config(&format!("{line} -chardev stdio,id=s,mux=on,signal=off"));
        let [file, ring, stdio] = &config.chardevs[..] else {
            panic!("{config:?}")
        };
        assert!(matches!(&file.line, Line::File { append: true, .. }));
        assert!(matches!(&ring.line, Line::Ring { size: 4096 }));
        assert!(stdio.mux && matches!(stdio.line, Line::Stdio { signal: false }));
    }

    #[test]
    fn mistakes() {
        assert!(error("-serial foo").contains("unknown serial line `foo`"));
        assert!(error("-serial tpc:a:1").contains("did you mean `tcp`?"));
        assert!(error("-serial tcp:a").contains("host:port"));
        assert!(error("-serial tcp:127.0.0.1:x").contains("port"));
        assert!(error("-serial null -serial null").contains("one serial port"));
        assert!(error("-serial chardev:x").contains("no chardev `x`"));
        assert!(error("-serial stdio -chardev stdio,id=x").contains("terminal `stdio` is taken"));
        assert!(error("-chardev foo,id=x").contains("unknown chardev backend `foo`"));
        assert!(error("-chardev null").contains("`id=` is missing"));
        assert!(error("-chardev file,id=x").contains("`path=` is missing"));
        assert!(error("-chardev null,id=x,pth=1").contains("chardev `null` has no property `pth`"));
        assert!(error("-chardev null,id=x -chardev null,id=x").contains("`x` is taken"));
        assert!(error("-monitor stdio").contains("no monitor"));
        assert!(error("-display gtk").contains("no display"));
    }
}
