//! What a running process has used so far, from proc(5).

use std::fs;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, the same on every Linux.
const TICKS: u64 = 100;

/// A process's CPU time, user and system, of all its threads; it counts until it is waited for.
/// [`None`] if there is no such process.
pub fn cpu(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = after_name(&text)?.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS))
}

/// Whether the process has ended and only waits to be waited for.
pub fn ended(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    after_name(&text).is_none_or(|rest| rest.starts_with('Z'))
}

/// What comes after the program's name, which may itself hold anything.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.trim_start())
}

/// The most memory that the process had resident so far, in KiB; 0 once it has ended.
pub fn peak(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Resident memory in KiB: all of it, and what is not the guest's RAM. A page that is mapped
/// twice counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All.
    pub resident: u64,
    /// Without the mappings that are exactly as large as the guest's RAM.
    pub beyond_ram: u64,
}

/// The process's resident memory now, for a guest of `ram` KiB.
pub fn memory(pid: u32, ram: u64) -> Memory {
    fs::read_to_string(format!("/proc/{pid}/smaps"))
        .map_or(Memory::default(), |text| sum(&text, ram))
}

fn sum(smaps: &str, ram: u64) -> Memory {
    let mut memory = Memory::default();
    let mut size = 0;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (name, value) = (
            words.next(),
            words.next().and_then(|word| word.parse().ok()),
        );
        match (name, value) {
            (Some("Size:"), Some(kib)) => size = kib,
            (Some("Pss:"), Some(kib)) => {
                let kib: u64 = kib;
                memory.resident += kib;
                memory.beyond_ram += if size == ram { 0 } else { kib };
            }
            _ => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(cpu(pid).is_some() && !ended(pid));
        assert!(memory(pid, 0).resident > 0);
        assert!(cpu(u32::MAX).is_none() && ended(u32::MAX));
    }

    #[test]
    fn the_guests_ram_is_left_out() {
        let smaps = "1-2 rw-s x\nSize: 512 kB\nPss: 100 kB\n3-4 rw-p\nSize: 8 kB\nPss: 4 kB\n";
        let expected = Memory {
            resident: 104,
            beyond_ram: 4,
        };
        assert_eq!(sum(smaps, 512), expected);
    }
}
