//! Verdicts, their counts and how they are shown.

use std::time::Instant;

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Not as it should be, with the reason for the reader.
    Fail(String),
}

impl Verdict {
    /// A pass if `condition` holds, otherwise a failure for the reason that `why` gives.
    pub fn expect(condition: bool, why: impl FnOnce() -> String) -> Self {
        if condition {
            Self::Pass
        } else {
            Self::Fail(why())
        }
    }
}

/// Counts of passed and failed tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// One stage of the tests while it runs.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    tally: Tally,
    start: Instant,
}

impl Stage {
    /// Announces and begins a stage.
    pub fn begin(name: &'static str) -> Self {
        println!("== {name}");
        Self {
            name,
            tally: Tally::default(),
            start: Instant::now(),
        }
    }

    /// Counts one test and shows it if it failed.
    pub fn record(&mut self, test: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Pass => self.tally.passed += 1,
            Verdict::Fail(why) => {
                self.tally.failed += 1;
                println!("FAIL {}/{test}: {}", self.name, indent(why));
            }
        }
    }

    /// Adds counts that another test runner printed.
    pub fn add(&mut self, tally: Tally) {
        self.tally += tally;
    }

    /// A remark on what the counts do not show.
    pub fn note(&self, text: &str) {
        println!("   {text}");
    }

    /// Shows the summary of the stage and returns its counts.
    pub fn end(self) -> Tally {
        let seconds = self.start.elapsed().as_secs_f64();
        println!("== {}: {} ({seconds:.1} s)", self.name, self.tally);
        self.tally
    }
}

fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n     ")
}
