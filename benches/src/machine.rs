//! The machine on which the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::compile::{self, CROSS_COMPILER};

/// A description of the machine; what cannot be found out is empty.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors online.
    pub cpus: usize,
    /// The kernel's name and release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The native compiler's version.
    pub native_compiler: String,
    /// The cross compiler's version.
    pub cross_compiler: String,
    /// Processes running or waiting for a processor, averaged over a minute before the run.
    pub load: f64,
}

impl Machine {
    /// Looks around.
    pub fn describe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: field(&cpuinfo, "model name", ':'),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first_line("uname", &["-sr"]),
            system: field(&os_release, "PRETTY_NAME", '='),
            native_compiler: first_line("gcc", &["--version"]),
            cross_compiler: first_line(CROSS_COMPILER, &["--version"]),
            load: load
                .split(' ')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// The processor and where it runs, on one line.
    pub fn one_line(&self) -> String {
        format!(
            "{}, {} processors, {}, {}",
            self.cpu, self.cpus, self.kernel, self.system
        )
    }
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = compile::output(Command::new(Path::new(program)).args(arguments));
    output
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

fn field(text: &str, name: &str, separator: char) -> String {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: Some CPU\nNAME=\"x\"";
        assert_eq!(field(text, "model name", ':'), "Some CPU");
        assert_eq!(field(text, "NAME", '='), "x");
        assert_eq!(field(text, "nothing", ':'), "");
    }
}
