//! What a section writes, and in what two runs of it differ.

use isomorph_riscv::state::{F_NAMES, X_NAMES};

use super::runtime::{LOG_ENTRY, LOG_HEADER, RESULT_F, RESULT_FCSR, RESULT_LOG};
use super::{LOG_ENTRIES, RESULT_BYTES};
use crate::rows::{MEMORY, MEMORY_BYTES};

/// Bytes that a section writes.
pub const BYTES: usize = RESULT_BYTES + MEMORY_BYTES;

/// Differences that are told of a section.
const SHOWN: usize = 6;

/// Everything in which a section's output differs, and the how manieth it is.
pub fn compare(got: &[u8], want: &[u8]) -> Option<(usize, String)> {
    if got == want {
        return None;
    }
    let same = |(a, b): &(&[u8], &[u8])| a == b;
    let pairs = || got.chunks(BYTES).zip(want.chunks(BYTES));
    let section = pairs().take_while(same).count();
    let Some((got_section, want_section)) = pairs().nth(section) else {
        let (got, want) = (got.len(), want.len());
        return Some((section, format!("{got} bytes of output, not {want}")));
    };
    if got_section.len() != want_section.len() {
        let (got, want) = (got_section.len(), want_section.len());
        return Some((section, format!("{got} bytes from the section, not {want}")));
    }
    let mut wrong = Vec::new();
    let all = got_section
        .chunks_exact(8)
        .zip(want_section.chunks_exact(8));
    for (index, (got, want)) in all.enumerate() {
        if got != want {
            let value = |bytes: &[u8]| {
                bytes
                    .iter()
                    .rev()
                    .fold(0, |all, b| all << 8 | u64::from(*b))
            };
            let (got, want) = (value(got), value(want));
            wrong.push(format!(
                "{} is {got:#x}, not {want:#x}",
                name(8 * index as i32)
            ));
        }
    }
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Some((section, wrong.join("\n")))
}

/// What is at an offset of a section's output.
fn name(at: i32) -> String {
    let entries = RESULT_LOG + LOG_HEADER;
    let end = entries + LOG_ENTRY * LOG_ENTRIES as i32;
    match at {
        _ if at < RESULT_F => X_NAMES[at as usize / 8].to_owned(),
        _ if at < RESULT_FCSR => F_NAMES[(at - RESULT_F) as usize / 8].to_owned(),
        RESULT_FCSR => "fcsr".to_owned(),
        RESULT_LOG => "the number of signals".to_owned(),
        _ if at < entries => "the hash of signals".to_owned(),
        _ if at < end => {
            let (entry, what) = ((at - entries) / LOG_ENTRY, (at - entries) % LOG_ENTRY / 8);
            let what = ["pc", "address", "hash"][what as usize];
            format!("signal {entry}'s {what}")
        }
        _ => format!("[{:#x}]", MEMORY + (at - end) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_section_that_differs_is_named() {
        let want = vec![0; 3 * BYTES];
        let mut got = want.clone();
        assert_eq!(compare(&got, &want), None);
        got[BYTES + 8 * 10] = 1;
        got[BYTES + RESULT_BYTES + 8] = 2;
        let text = "a0 is 0x1, not 0x0\n[0x20008] is 0x2, not 0x0".to_owned();
        assert_eq!(compare(&got, &want), Some((1, text)));
        let (section, text) = compare(&want[..2 * BYTES], &want).expect("a difference");
        assert_eq!(section, 2);
        let start = format!("{} bytes", 2 * BYTES);
        assert!(text.starts_with(&start), "{text}");
    }
}
