//! What the initramfs's workloads must print, worked out here from the same inputs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::recipes::Files;
use crate::error::{AtPath, Result};
use crate::process;

/// One workload and its right result.
pub type Expected = (&'static str, String);

/// Far more than a digest takes.
const LIMIT: Duration = Duration::from_secs(60);

/// All workloads in the order in which `guests/boot/init` runs them.
pub fn expected(files: &Files) -> Result<Vec<Expected>> {
    let busybox = fs::read(&files.busybox).at(&files.busybox)?;
    let [left, right] = ["left", "right"].map(|line| digest(&data(line, 8)));
    Ok(vec![
        ("sha256", digest(&data("whole", 16))?),
        ("gzip", digest(&busybox.repeat(4))?),
        ("ls", "listed".to_owned()),
        ("forks", "300".to_owned()),
        ("loop", sum().to_string()),
        ("parallel", format!("{} {}", left?, right?)),
    ])
}

/// A line, then so many MiB of zeros.
fn data(line: &str, mib: usize) -> Vec<u8> {
    let mut bytes = format!("{line}\n").into_bytes();
    bytes.resize(bytes.len() + (mib << 20), 0);
    bytes
}

/// The SHA-256 digest in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> Result<String> {
    let outcome = process::run(&mut Command::new("sha256sum"), bytes, LIMIT)?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// The shell loop's arithmetic.
fn sum() -> u64 {
    (1..=100_000).fold(0, |sum, round| (sum * 31 + round) % 1_000_003)
}

/// The usual CRC-32 (polynomial 0xedb88320, reflected) of so many zero bytes.
pub fn crc32_of_zeros(count: u32) -> u32 {
    let step = |crc: u32, _| match crc & 1 {
        0 => crc >> 1,
        _ => (crc >> 1) ^ 0xedb8_8320,
    };
    let byte = |crc: u32, _| (0..8).fold(crc, step);
    !(0..count).fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-4's first example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc").expect("sha256sum runs"), abc);
    }

    #[test]
    fn checksums_of_zeros() {
        assert_eq!(crc32_of_zeros(1), 0xd202_ef8d);
        assert_eq!(crc32_of_zeros(4), 0x2144_df1c);
    }
}
