//! A run from the initramfs: to its marker, through its workloads, to the power-off.

use std::time::Duration;

use super::console::{Console, Moment};
use super::figures::{Figures, Work};
use super::machine::{self, Emulator, Guest};
use super::options::{Bios, BootOptions};
use super::recipes::Files;
use super::work::Expected;
use super::{Failure, bare, figures};

/// What the first process prints.
pub const MARKER: &str = "INIT-MARKER ";

/// Time for what the kernel still does after its first process has started.
const SETTLING: Duration = Duration::from_secs(3);

/// What a run must show.
#[derive(Debug, Clone, Copy)]
pub struct Promise<'a> {
    /// The first process's line begins with this.
    pub marker: &'a str,
    /// The workloads with their results; none are run if it is empty.
    pub works: &'a [Expected],
}

/// Boots once.
pub fn run(
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
    promise: Promise,
) -> Result<Figures, Failure> {
    if matches!(options.bios, Bios::Uboot | Bios::None) {
        return bare::uboot(emulator, options, files);
    }
    if options.demo_kernel {
        return bare::demo_kernel(emulator, options, files);
    }
    let lab = match (&options.lab, options.idle) {
        (Some(lab), _) => lab,
        (None, _) if options.twice => "reboot",
        (None, Some(_)) => "idle",
        (None, None) if promise.works.is_empty() => "quick",
        (None, None) => "work",
    };
    let append = format!("console=ttyS0 lab={lab}");
    let guest = Guest {
        append: &append,
        disk: None,
    };
    let mut command = machine::command(emulator, options, files, &guest);
    let mut console = Console::start(&mut command, options.timeout)?;
    let (system, marker) = console.expect_line(promise.marker)?;
    let cpus = format!("cpus={} ", options.smp);
    if !system.contains(&cpus) {
        return Err(console.failure(&format!("the guest does not say {cpus:?}")));
    }
    let mut figures = Figures::new(system, marker);
    if options.twice {
        figures.end = console.expect(promise.marker)?;
        console.kill()?;
        return Ok(figures);
    }
    if let Some(seconds) = options.idle {
        console.rest(SETTLING)?;
        figures.idle = Some(idle(&mut console, seconds)?);
        figures.memory = console.memory(figures::ram_kib(options));
        console.kill()?;
        return Ok(figures);
    }
    if !promise.works.is_empty() {
        console.expect("READY-MARKER")?;
        figures.memory = console.memory(figures::ram_kib(options));
        figures.works = works(&mut console, promise.works)?;
        console.expect("DONE-MARKER")?;
    }
    let (_, end) = console.end()?;
    figures.end = end;
    Ok(figures)
}

/// Checks each workload's line.
fn works(console: &mut Console, expected: &[Expected]) -> Result<Vec<Work>, Failure> {
    let mut works = Vec::new();
    let mut before = console.now();
    for (name, right) in expected {
        if *name == "parallel" {
            before = console.expect("HALVES-MARKER")?;
        }
        let (line, after) = console.expect_line(&format!("WORK {name} "))?;
        let (seconds, result) = line.split_once(' ').unwrap_or((&line, ""));
        if result != right {
            let what = format!("workload {name}: {result:?} instead of {right:?}");
            return Err(console.failure(&what));
        }
        works.push(Work {
            name: (*name).to_owned(),
            guest_seconds: seconds.parse().ok(),
            wall: after.wall.saturating_sub(before.wall),
            cpu: after.cpu.saturating_sub(before.cpu),
            answer: None,
        });
        before = after;
    }
    Ok(works)
}

/// The share of a host CPU that the machine takes while its guest sleeps.
pub fn idle(console: &mut Console, seconds: u64) -> Result<f64, Failure> {
    let before = console.now();
    console.rest(Duration::from_secs(seconds))?;
    let after = console.now();
    let used = |moment: Moment, cpu: bool| {
        let time = if cpu { moment.cpu } else { moment.wall };
        time.as_secs_f64()
    };
    let wall = used(after, false) - used(before, false);
    Ok((used(after, true) - used(before, true)) / wall)
}
