//! `--jit`: what is compiled a second time, and how.

use std::ffi::OsStr;

use isomorph_engine::{Config, Policy, Tier2};
use isomorph_ir::passes::{PASSES, PassSet};

use crate::config::{parse_number, parse_size};
use crate::nearest::nearest;

/// The keys with their values and help.
const KEYS: [(&str, &str, &str); 4] = [
    (
        "tier2",
        "auto|off|always|N",
        "compile hot code again: where it is likely to pay (the default), never, before \
         it first runs, or when entered N times",
    ),
    ("threads", "N", "threads that compile, 1 to 64"),
    (
        "mem",
        "SIZE",
        "most code memory for hot code, in bytes or with K, M or G",
    ),
    ("without", "PASS[+PASS...]", "leave out these passes"),
];

/// Most threads that compile.
const THREADS_MAX: u64 = 64;
/// Least code memory that a region could fit in.
const MEMORY_MIN: u64 = 4096;

/// What is wrong with the value of `--jit`. `origin` is the option or variable.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// A key that does not exist.
    #[error("{origin}: there is no `{key}`{}; there are {}", hint(key), keys())]
    Key {
        /// The option or variable.
        origin: String,
        /// The key.
        key: String,
    },
    /// A value that the key does not take.
    #[error("{origin}: `{key}={value}`: the value must be {expected}")]
    Value {
        /// The option or variable.
        origin: String,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be one.
        expected: String,
    },
    /// A pass that does not exist.
    #[error(
        "{origin}: `without={name}`: there is no such pass; there are {}",
        passes()
    )]
    Pass {
        /// The option or variable.
        origin: String,
        /// Its name.
        name: String,
    },
}

fn hint(key: &str) -> String {
    let name = nearest(key, KEYS.iter().map(|(key, ..)| *key));
    name.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

fn keys() -> String {
    let keys: Vec<_> = KEYS.iter().map(|(key, ..)| format!("{key}=")).collect();
    format!("{} and help", keys.join(", "))
}

fn passes() -> String {
    let names: Vec<_> = PASSES.iter().map(|pass| pass.name).collect();
    names.join(", ")
}

/// Applies a list `key=value,...` to the settings. The help, if the list asks for it.
pub fn apply(tier2: &mut Tier2, origin: &str, list: &OsStr) -> Result<Option<String>, JitError> {
    let list = list.to_string_lossy();
    let mut shown = None;
    for item in list.split(',').filter(|item| !item.is_empty()) {
        if item == "help" {
            shown = Some(help());
            continue;
        }
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        let one = One { origin, value };
        match key {
            "tier2" => tier2.policy = one.policy()?,
            "threads" => tier2.threads = one.threads()?,
            "mem" => tier2.code_bytes = one.memory()?,
            "without" => tier2.passes = one.without()?,
            _ => {
                return Err(JitError::Key {
                    origin: origin.to_owned(),
                    key: key.to_owned(),
                });
            }
        }
    }
    Ok(shown)
}

/// One value.
struct One<'a> {
    origin: &'a str,
    value: &'a str,
}

impl One<'_> {
    fn wrong(&self, key: &'static str, expected: impl Into<String>) -> JitError {
        JitError::Value {
            origin: self.origin.to_owned(),
            key,
            value: self.value.to_owned(),
            expected: expected.into(),
        }
    }

    fn policy(&self) -> Result<Policy, JitError> {
        let threshold = || parse_number(self.value).and_then(|number| u32::try_from(number).ok());
        match self.value {
            "auto" => Ok(Policy::Hot(None)),
            "off" => Ok(Policy::Off),
            "always" => Ok(Policy::Always),
            _ => match threshold() {
                Some(number) if number > 0 => Ok(Policy::Hot(Some(number))),
                _ => Err(self.wrong("tier2", "auto, off, always or a number from 1")),
            },
        }
    }

    fn threads(&self) -> Result<usize, JitError> {
        match parse_number(self.value) {
            Some(number @ 1..=THREADS_MAX) => Ok(number as usize),
            _ => Err(self.wrong("threads", format!("a number from 1 to {THREADS_MAX}"))),
        }
    }

    fn memory(&self) -> Result<usize, JitError> {
        let most = Config::default().code_bytes as u64;
        match parse_size(self.value) {
            Some(bytes) if (MEMORY_MIN..=most).contains(&bytes) => Ok(bytes as usize),
            _ => {
                let most = most >> 20;
                let expected = format!("a size from 4K to {most}M, in bytes or with K, M or G");
                Err(self.wrong("mem", expected))
            }
        }
    }

    fn without(&self) -> Result<PassSet, JitError> {
        let mut set = PassSet::ALL;
        for name in self.value.split('+') {
            set = set.without(name).ok_or_else(|| JitError::Pass {
                origin: self.origin.to_owned(),
                name: name.to_owned(),
            })?;
        }
        Ok(set)
    }
}

/// What `--jit help` shows.
fn help() -> String {
    let mut text = String::new();
    for (key, value, help) in KEYS {
        text.push_str(&format!("{:24} {help}\n", format!("{key}={value}")));
    }
    text.push_str(&format!("{:24} {}\n", "passes:", passes()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(list: &str) -> Result<Tier2, JitError> {
        let mut tier2 = Tier2::default();
        apply(&mut tier2, "--jit", list.as_ref()).map(|_| tier2)
    }

    #[test]
    fn each_key_sets_its_field() {
        let policy = |list| applied(list).unwrap().policy;
        assert_eq!(policy("tier2=off"), Policy::Off);
        assert_eq!(policy("tier2=always"), Policy::Always);
        assert_eq!(policy("tier2=500"), Policy::Hot(Some(500)));
        assert_eq!(policy("tier2=off,tier2=auto"), Policy::Hot(None));
        let tier2 = applied("threads=4,mem=1M,without=hoist+probes").unwrap();
        assert_eq!((tier2.threads, tier2.code_bytes), (4, 1 << 20));
        let without = PassSet::ALL
            .without("hoist")
            .and_then(|s| s.without("probes"));
        assert_eq!(Some(tier2.passes), without);
        assert_eq!(applied("").unwrap(), Tier2::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let error = |list| applied(list).unwrap_err().to_string();
        assert!(error("teir2=off").contains("`teir2`, did you mean `tier2`?; there are tier2=,"));
        assert!(error("tier2").contains("`tier2=`: the value must be auto, off"));
        for bad in ["tier2=0", "tier2=4294967296", "tier2=onn"] {
            assert!(error(bad).contains(bad), "{bad}");
        }
        for bad in ["threads=0", "threads=65", "threads=x"] {
            assert!(error(bad).contains("from 1 to 64"), "{bad}");
        }
        for bad in ["mem=1", "mem=1T", "mem=1G"] {
            assert!(error(bad).contains("4K to 128M"), "{bad}");
        }
        let unknown = error("without=hoist+foo");
        assert!(unknown.contains("`without=foo`") && unknown.contains("dead-stores"));
    }

    #[test]
    fn help_lists_keys_and_passes() {
        let mut tier2 = Tier2::default();
        let text = apply(&mut tier2, "--jit", "help".as_ref())
            .unwrap()
            .unwrap();
        assert!(KEYS.iter().all(|(key, ..)| text.contains(key)));
        assert!(PASSES.iter().all(|pass| text.contains(pass.name)));
    }
}
