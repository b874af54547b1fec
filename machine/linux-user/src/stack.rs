//! The first contents of a program's stack: arguments, environment, auxiliary vector (psABI,
//! "Process Initialization"; the order is the kernel's).

use crate::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What goes onto the stack.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// `argv`.
    pub argv: &'a [OsString],
    /// `envp`.
    pub env: &'a [OsString],
    /// `AT_EXECFN`: the path as it was given.
    pub execfn: &'a OsStr,
    /// `AT_RANDOM`.
    pub random: [u8; 16],
    /// Auxiliary vector but for the entries that point into the stack and the end.
    pub auxv: &'a [(u64, u64)],
}

/// The stack as it shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The stack pointer, where `bytes` begin.
    pub sp: u64,
    /// Contents up to the top.
    pub bytes: Vec<u8>,
    /// The auxiliary vector's bytes within `bytes`.
    pub auxv: std::ops::Range<usize>,
    /// Addresses of the argument strings.
    pub args: (u64, u64),
    /// Addresses of the environment strings.
    pub env: (u64, u64),
}

const AT_NULL: u64 = 0;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;

/// Strings that end at an address and are put there from the last to the first.
struct Strings {
    top: u64,
    /// In reverse order of bytes.
    reversed: Vec<u8>,
}

impl Strings {
    fn push(&mut self, text: &[u8]) -> u64 {
        self.reversed.push(0);
        self.reversed.extend(text.iter().rev());
        self.at()
    }

    fn push_all(&mut self, list: &[OsString]) -> Vec<u64> {
        let mut at: Vec<u64> = list.iter().rev().map(|s| self.push(s.as_bytes())).collect();
        at.reverse();
        at
    }

    fn at(&self) -> u64 {
        self.top - self.reversed.len() as u64
    }
}

/// Lays the stack out below `top` (16-byte aligned) in at most `max` bytes.
///
/// # Errors
///
/// `E2BIG` if it does not fit.
pub fn build(top: u64, max: u64, contents: &Contents<'_>) -> Result<Image, Errno> {
    let length = |list: &[OsString]| list.iter().map(|s| s.len() as u64 + 9).sum::<u64>();
    let strings = length(contents.argv) + length(contents.env) + contents.execfn.len() as u64;
    if strings + 16 * contents.auxv.len() as u64 + 256 > max {
        return Err(Errno::E2BIG);
    }
    let mut strings = Strings {
        top,
        reversed: vec![0; 8],
    };
    let execfn = strings.push(contents.execfn.as_bytes());
    let env_end = strings.at();
    let env = strings.push_all(contents.env);
    let args_end = strings.at();
    let argv = strings.push_all(contents.argv);
    let args_start = strings.at();
    let random_at = (args_start - 16) & !15;

    let mut auxv = contents.auxv.to_vec();
    auxv.extend([(AT_RANDOM, random_at), (AT_EXECFN, execfn), (AT_NULL, 0)]);
    let words = 1 + argv.len() + 1 + env.len() + 1 + 2 * auxv.len();
    let sp = (random_at - 8 * words as u64) & !15;

    let mut bytes = Vec::with_capacity((top - sp) as usize);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(argv.len() as u64);
    argv.iter()
        .chain([&0])
        .chain(&env)
        .chain([&0])
        .for_each(|&value| word(value));
    let auxv_at = 8 * (words - 2 * auxv.len());
    for (key, value) in &auxv {
        word(*key);
        word(*value);
    }
    let auxv_range = auxv_at..bytes.len();
    bytes.resize((random_at - sp) as usize, 0);
    bytes.extend_from_slice(&contents.random);
    bytes.resize((args_start - sp) as usize, 0);
    bytes.extend(strings.reversed.iter().rev());
    let args = (args_start, args_end);
    Ok(Image {
        sp,
        bytes,
        auxv: auxv_range,
        args,
        env: (args_end, env_end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x10_0000;

    fn word(image: &Image, index: usize) -> u64 {
        let at = 8 * index;
        image.bytes[at..at + 8]
            .try_into()
            .map_or(0, u64::from_le_bytes)
    }

    fn string(image: &Image, at: u64) -> &[u8] {
        let rest = &image.bytes[(at - image.sp) as usize..];
        rest.split(|&b| b == 0).next().unwrap_or_default()
    }

    #[test]
    fn vectors_point_at_their_strings() -> Result<(), Errno> {
        let argv = ["prog".into(), "one".into()];
        let env = ["A=b".into()];
        let contents = Contents {
            argv: &argv,
            env: &env,
            execfn: OsStr::new("./prog"),
            random: [7; 16],
            auxv: &[(6, 4096)],
        };
        let image = build(TOP, 0x10000, &contents)?;
        assert_eq!(
            (image.sp % 16, image.sp + image.bytes.len() as u64),
            (0, TOP)
        );
        assert_eq!(word(&image, 0), 2);
        assert_eq!(string(&image, word(&image, 1)), b"prog");
        assert_eq!(string(&image, word(&image, 2)), b"one");
        assert_eq!(word(&image, 3), 0);
        assert_eq!(string(&image, word(&image, 4)), b"A=b");
        assert_eq!(
            (word(&image, 5), word(&image, 6), word(&image, 7)),
            (0, 6, 4096)
        );
        assert_eq!(image.auxv, 48..48 + 64);
        let random = (word(&image, 9) - image.sp) as usize;
        assert_eq!(image.bytes[random..random + 16], [7; 16]);
        assert_eq!(string(&image, word(&image, 11)), b"./prog");
        assert_eq!(string(&image, image.args.0), b"prog");
        assert_eq!(image.args.1, image.env.0);
        Ok(())
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let argv = vec![OsString::from("x"); 1000];
        let contents = Contents {
            argv: &argv,
            env: &[],
            execfn: OsStr::new("x"),
            random: [0; 16],
            auxv: &[],
        };
        assert_eq!(build(TOP, 4096, &contents), Err(Errno::E2BIG));
    }
}
