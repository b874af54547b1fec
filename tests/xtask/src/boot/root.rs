//! A run from a root of the caller's: its first process is a shell, which is told what to do.
//!
//! The shell is the caller's too: it prints [`READY`], reads lines from the console without echo
//! or prompt, and ends what each of them did with its status, as [`STATUS`] shows.

use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::console::Console;
use super::figures::{Figures, Work};
use super::initramfs::MARKER;
use super::machine::{self, Emulator, Guest};
use super::options::BootOptions;
use super::recipes::Files;

/// What the shell prints when it begins to read.
const READY: &str = "SHELL-MARKER\n";
/// What it prints after each line, followed by the status and a bracket.
const STATUS: &str = "[status ";

/// The kernel's command line. What it still had to say would stand in a command's output; a panic
/// is a reboot, which ends the emulator.
const APPEND: &str = "console=ttyS0 root=/dev/vda quiet panic=-1";

/// Time for what the kernel still does after its first process has started.
const SETTLING: Duration = Duration::from_secs(1);
/// Time for what the emulator still does after a command, such as compiling for it.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// Boots once, runs the commands, and stops the machine.
pub fn run(
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
    image: &Path,
) -> Result<Figures, Failure> {
    let guest = Guest {
        append: APPEND,
        disk: Some(image),
    };
    let mut command = machine::command(emulator, options, files, &guest);
    let mut console = Console::start(&mut command, options.timeout)?;
    let (system, marker) = console.expect_line(MARKER)?;
    let mut figures = Figures::new(system, marker);
    console.expect(READY)?;
    console.rest(SETTLING)?;
    for (name, line) in &options.commands {
        figures.works.push(work(&mut console, name, line)?);
    }
    console.kill()?;
    Ok(figures)
}

/// Runs one command: from its first character to when the machine is idle again.
fn work(console: &mut Console, name: &str, line: &str) -> Result<Work, Failure> {
    let before = console.now();
    console.send(&format!("{line}\n"))?;
    let (output, end) = console.until(STATUS)?;
    let (status, _) = console.until("]\n")?;
    let status = status
        .parse()
        .map_err(|_| console.failure(&format!("`{line}` ended with the status {status:?}")))?;
    console.rest(AFTERWARDS)?;
    Ok(Work {
        name: name.to_owned(),
        guest_seconds: None,
        wall: end.wall.saturating_sub(before.wall),
        cpu: console.now().cpu.saturating_sub(before.cpu),
        answer: Some((output, status)),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn shell(script: &str) -> Console {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Console::start(&mut command, Duration::from_secs(10)).expect("sh runs")
    }

    #[test]
    fn output_and_status_of_each_command() {
        let mut console = shell(
            "echo SHELL-MARKER; while read -r line; do eval \"$line\"; echo \"[status $?]\"; done",
        );
        console.expect(READY).expect("ready");
        let sum = work(&mut console, "sum", "echo $((2 + 3))").expect("a sum");
        assert_eq!(sum.answer, Some(("5\n".to_owned(), 0)));
        let two = work(&mut console, "two", "printf 'a\\nb'; (exit 3)").expect("two lines");
        assert_eq!(two.answer, Some(("a\nb".to_owned(), 3)));
        assert!(work(&mut console, "gone", "exit").is_err());
    }
}
