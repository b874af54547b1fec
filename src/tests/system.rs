//! Machines from outside: messages and exit statuses, device trees, and the demo kernel on machines
//! that are ended in every way.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{ISOMORPH, check, folder};

const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/images/kernel");
/// What the kernel says when it waits for a command.
const PROMPT: &str = "isomorph> ";
/// No step of these tests takes nearly as long on any host.
const PATIENCE: Duration = Duration::from_secs(60);

fn system(line: &str) -> Command {
    let mut command = Command::new(ISOMORPH);
    command.args(["system", "riscv64"]);
    command.args(line.split_whitespace());
    command.stdin(Stdio::null());
    command
}

fn refused(line: &str, stderr: &str) {
    check(&system(line).output().unwrap(), 1, "", stderr);
}

/// A machine with the demo kernel, and what it has said.
struct Machine {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Machine {
    fn start(options: &str) -> Self {
        let mut command = system(options);
        command.args(["-kernel", KERNEL]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until `text` has been said `times` times.
    fn expect(&self, text: &str, times: usize) {
        let start = Instant::now();
        while self.said().matches(text).count() < times {
            let said = self.said();
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for the end, which must have this status.
    fn end(&mut self, status: i32) {
        let start = Instant::now();
        let ended = loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                break ended;
            }
            let said = self.said();
            assert!(start.elapsed() < PATIENCE, "no end after {said}");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(ended.code(), Some(status), "{}", self.said());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Of a test that failed; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut pipe: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = said.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            said.lock().unwrap().push_str(&text);
        }
    });
}

#[test]
fn the_command_is_found_under_both_names() {
    let isomorph = |words: &[&str]| Command::new(ISOMORPH).args(words).output().unwrap();
    check(&isomorph(&["help"]), 0, "system", "");
    check(
        &isomorph(&["system", "riscv64", "-help"]),
        0,
        "-kernel file",
        "",
    );
    check(
        &isomorph(&["system", "riscv46"]),
        1,
        "",
        "did you mean `riscv64`?",
    );
    check(&system("-machine help").output().unwrap(), 0, "virt", "");
    let link = folder("system-names").join("qemu-system-riscv64");
    symlink(ISOMORPH, &link).unwrap();
    let qemu = |word: &str| Command::new(&link).arg(word).output().unwrap();
    check(&qemu("--version"), 0, "QEMU emulator version", "");
    check(
        &qemu("-nsoch"),
        1,
        "",
        "qemu-system-riscv64: unknown option `-nsoch`",
    );
}

#[test]
fn mistakes_are_named() {
    refused("-kernle x", "`-kernle`, did you mean `-kernel`?");
    refused(
        "-M vrit",
        "-M vrit: unknown machine `vrit`, did you mean `virt`?",
    );
    refused("-device virtio-blk-pic", "did you mean `virtio-blk-pci`?");
    refused("-accel kvm", "use tcg");
    refused("-monitor stdio", "no monitor");
    refused("", "nothing to run");
}

#[test]
fn files_are_named_with_their_option() {
    for line in [
        "-kernel /nonexistent/f",
        "-bios /nonexistent/f",
        "-serial file:/nonexistent/f -bios /dev/zero",
        "-drive file=/nonexistent/f,if=virtio -bios x",
        "-D /nonexistent/f -d in_asm -bios x",
    ] {
        let option = line.split_whitespace().next().unwrap();
        refused(line, option);
        refused(line, "/nonexistent/f: No such file or directory");
    }
    refused(
        "-kernel /dev/null",
        "-kernel /dev/null: cannot load the kernel: it is empty",
    );
    let large = format!("-m 1 -kernel {KERNEL}");
    refused(&large, "give the machine more RAM");
}

#[test]
fn device_trees_are_written() {
    let file = folder("system-dtb").join("tree");
    let path = file.display();
    let line = format!("-M virt,dumpdtb={path} -smp 2 -kernel {KERNEL} -append word");
    let output = system(&line).output().unwrap();
    check(&output, 0, "", &format!("dtb dumped to {path}. Exiting."));
    let tree = std::fs::read(&file).unwrap();
    assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
    let has = |text: &[u8]| tree.windows(text.len()).any(|window| window == text);
    assert!(has(b"cpu@1\0") && has(b"word\0") && has(b"riscv-virtio,qemu\0"));
    refused("-M dumpdtb=/nonexistent/f", "cannot write /nonexistent/f");
    // A device tree of the user's is the machine's.
    let again = folder("system-dtb-again").join("tree");
    let line = format!("-dtb {path} -M dumpdtb={}", again.display());
    check(&system(&line).output().unwrap(), 0, "", "");
    assert_eq!(std::fs::read(again).unwrap(), tree);
}

#[test]
fn the_guest_ends_the_machine() {
    let mut machine = Machine::start("-nographic -smp 2");
    machine.expect(PROMPT, 1);
    machine.type_in("poweroff\r");
    machine.end(0);
    // The kernel's panic gives the test finisher a status of 2.
    let mut machine = Machine::start("-serial stdio");
    machine.expect(PROMPT, 1);
    machine.type_in("panic\r");
    machine.end(2);
}

#[test]
fn the_guest_resets_the_machine() {
    let mut machine = Machine::start("-smp 2");
    machine.expect(PROMPT, 1);
    machine.type_in("reboot\r");
    machine.expect(PROMPT, 2);
    machine.type_in("poweroff\r");
    machine.end(0);
    let mut machine = Machine::start("-no-reboot");
    machine.expect(PROMPT, 1);
    machine.type_in("reboot\r");
    machine.end(0);
}

#[test]
fn the_user_ends_the_machine() {
    let mut machine = Machine::start("-nographic");
    machine.expect(PROMPT, 1);
    machine.type_in("\x01c");
    machine.expect("no monitor", 1);
    machine.type_in("\x01x");
    machine.end(0);
    assert!(machine.said().contains("isomorph: terminated"));
    for (signal, name) in [(2, "INT"), (15, "TERM"), (1, "HUP")] {
        let mut machine = Machine::start("-serial stdio");
        machine.expect(PROMPT, 1);
        let pid = machine.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
        machine.end(0);
        machine.expect(&format!("terminating on signal {signal}"), 1);
    }
}

#[test]
fn without_an_escape_all_that_is_typed_is_the_guests() {
    let mut machine = Machine::start("-serial stdio");
    machine.expect(PROMPT, 1);
    machine.type_in("\x01x");
    machine.type_in("poweroff\r");
    machine.expect(PROMPT, 2);
    machine.type_in("poweroff\r");
    machine.end(0);
}

#[test]
fn serial_lines_lead_elsewhere() {
    let folder = folder("system-lines");
    let file = folder.join("file");
    let mut machine = Machine::start(&format!("-append demo -serial file:{}", file.display()));
    machine.end(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("0 failed"));
    let mut machine = Machine::start("-append demo -serial file:/dev/full");
    machine.end(0);
    machine.expect("serial0: cannot write /dev/full: output is lost: ", 1);
    assert_eq!(machine.said().lines().count(), 1, "{}", machine.said());
    let socket = folder.join("socket");
    let line = format!("-serial unix:{},server=on,wait=on", socket.display());
    let mut machine = Machine::start(&line);
    machine.expect("waiting for connection on unix:", 1);
    let mut stream = UnixStream::connect(&socket).unwrap();
    let said = Arc::default();
    listen(stream.try_clone().unwrap(), &said);
    let start = Instant::now();
    while !said.lock().unwrap().contains(PROMPT) {
        assert!(start.elapsed() < PATIENCE, "{}", machine.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(b"poweroff\r").unwrap();
    machine.end(0);
}

#[test]
fn machines_tell_of_themselves() {
    let log = folder("system-tell").join("log");
    let line = format!("-append demo --stats -d in_asm,int -D {}", log.display());
    let mut machine = Machine::start(&line);
    machine.expect("a machine logs nothing for `int`", 1);
    machine.end(0);
    machine.expect("device accesses:", 1);
    let said = machine.said();
    for part in [
        "translator:",
        "vCPU 0:",
        "interrupts:",
        "serial0",
        "tlb-walks",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(std::fs::read_to_string(&log).unwrap().contains("IN: "));
    let mut machine = Machine::start("--watchdog 1 -smp 2");
    machine.expect("no sign of life for 1 s", 1);
    machine.expect("last blocks", 2);
    machine.type_in("poweroff\r");
    machine.end(0);
}

#[test]
fn devices_of_every_kind_are_built() {
    let folder = folder("system-devices");
    let disk = folder.join("disk");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let line = format!(
        "-drive file={},format=raw,if=virtio -snapshot \
         -netdev user,id=n,hostfwd=tcp:127.0.0.1:0-:22 -device virtio-net-device,netdev=n \
         -device virtio-rng-pci -device virtio-balloon-pci \
         -device virtio-serial-pci -chardev null,id=c -device virtconsole,chardev=c -nodefaults \
         -serial stdio -uuid 12345678-1234-1234-1234-123456789abc -name test -rtc base=2020-01-01",
        disk.display()
    );
    let mut machine = Machine::start(&line);
    machine.expect("network n: port 22 of the guest is 127.0.0.1:", 1);
    machine.expect(PROMPT, 1);
    machine.type_in("poweroff\r");
    machine.end(0);
}
