//! What a run used, for people and for programs.

use std::fmt::Write;
use std::time::Duration;

use super::console::Moment;
use super::machine;
use super::options::BootOptions;
use super::usage::Memory;

/// One workload inside the guest.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its name.
    pub name: String,
    /// How long it took by the guest's clock, if the guest says so.
    pub guest_seconds: Option<f64>,
    /// How long it took by ours.
    pub wall: Duration,
    /// What the emulator used meanwhile.
    pub cpu: Duration,
    /// What a command printed, if it was one, and its status.
    pub answer: Option<(String, i32)>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What the guest says of itself.
    pub system: String,
    /// At the first marker, or at the firmware's prompt.
    pub marker: Moment,
    /// At the login prompt.
    pub login: Option<Moment>,
    /// The workloads.
    pub works: Vec<Work>,
    /// The share of a host CPU that the idle guest took.
    pub idle: Option<f64>,
    /// After the boot.
    pub memory: Memory,
    /// When it had powered off; zero if it was stopped.
    pub end: Moment,
}

impl Figures {
    /// A run that has reached its marker.
    pub fn new(system: String, marker: Moment) -> Self {
        Self {
            system,
            marker,
            login: None,
            works: Vec::new(),
            idle: None,
            memory: Memory::default(),
            end: Moment::default(),
        }
    }

    /// A few lines for people.
    pub fn lines(&self) -> String {
        let mut text = format!("   {}\n", self.system);
        let mut line = |name: &str, wall: Duration, cpu: Duration| {
            let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
            let _ = writeln!(text, "   {name:9} wall {wall:7.2} s   CPU {cpu:7.2} s");
        };
        line("marker", self.marker.wall, self.marker.cpu);
        for work in &self.works {
            line(&work.name, work.wall, work.cpu);
        }
        if let Some(login) = self.login {
            line("login", login.wall, login.cpu);
        }
        if self.end.wall > Duration::ZERO {
            line("end", self.end.wall, self.end.cpu);
        }
        if let Some(idle) = self.idle {
            let _ = writeln!(text, "   idle      {:.2} % of a host CPU", idle * 100.0);
        }
        let most = self.end.peak.max(self.memory.resident) / 1024;
        let _ = writeln!(text, "   resident  {most} MiB at most");
        if self.memory != Memory::default() {
            let beyond = self.memory.beyond_ram / 1024;
            let _ = writeln!(text, "   resident  {beyond} MiB beyond RAM after the boot");
        }
        text
    }

    /// One line of JSON: times in seconds, memory in KiB.
    pub fn json(&self) -> String {
        let mut fields = vec![
            moment("marker", self.marker),
            moment("end", self.end),
            format!("\"peak_kib\":{}", self.end.peak.max(self.memory.resident)),
            format!("\"beyond_ram_kib\":{}", self.memory.beyond_ram),
        ];
        if let Some(login) = self.login {
            fields.push(moment("login", login));
        }
        if let Some(idle) = self.idle {
            fields.push(format!("\"idle\":{idle:.5}"));
        }
        for work in &self.works {
            let moment_of_work = Moment {
                wall: work.wall,
                cpu: work.cpu,
                peak: 0,
            };
            fields.push(moment(&work.name, moment_of_work));
            if let Some(seconds) = work.guest_seconds {
                fields.push(format!("\"{}_guest\":{seconds:.2}", work.name));
            }
            if let Some((output, status)) = &work.answer {
                let (name, output) = (&work.name, string(output));
                fields.push(format!("\"{name}_output\":{output}"));
                fields.push(format!("\"{name}_status\":{status}"));
            }
        }
        format!("{{{}}}", fields.join(","))
    }
}

fn moment(name: &str, moment: Moment) -> String {
    let (wall, cpu) = (moment.wall.as_secs_f64(), moment.cpu.as_secs_f64());
    format!("\"{name}_wall\":{wall:.3},\"{name}_cpu\":{cpu:.3}")
}

/// A string of JSON (RFC 8259, section 7).
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// The guest's RAM in KiB.
pub fn ram_kib(options: &BootOptions) -> u64 {
    u64::from(machine::memory(options)) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_quoted() {
        assert_eq!(string("a \"b\"\\\n"), r#""a \"b\"\\\u000a""#);
    }

    #[test]
    fn json_has_one_line_and_every_figure() {
        let at = |seconds| Moment {
            wall: Duration::from_secs(seconds),
            cpu: Duration::from_millis(500),
            peak: 7,
        };
        let mut figures = Figures::new("x".to_owned(), at(2));
        figures.end = at(3);
        figures.login = Some(at(1));
        let json = figures.json();
        assert!(
            json.contains("\"marker_wall\":2.000,\"marker_cpu\":0.500"),
            "{json}"
        );
        assert!(
            json.contains("\"login_wall\":1.000") && !json.contains('\n'),
            "{json}"
        );
        assert!(figures.lines().contains("marker    wall    2.00 s"));
    }
}
