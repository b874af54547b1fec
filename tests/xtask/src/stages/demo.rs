//! The demo: its committed guest images are what their sources build, and it runs.

use std::process::Command;
use std::time::Duration;

use super::Context;
use crate::error::Result;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};

/// Ends hangs only.
const LIMIT: Duration = Duration::from_secs(300);

/// Rebuilds the images and compares them, then runs the demo from another folder.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("demo");
    let script = context.paths.workspace.join("guests/build");
    let rebuilt = process::run(Command::new(script).arg("check"), &[], LIMIT)?;
    stage.record("images are built from their sources", &judge(&rebuilt));
    let program = context.paths.isomorph();
    if context.emulator.program == program {
        let mut demo = Command::new(program);
        let shown = process::run(demo.arg("demo").current_dir("/"), &[], LIMIT)?;
        stage.record("isomorph demo", &judge(&shown));
    }
    Ok(stage.end())
}

fn judge(outcome: &Outcome) -> Verdict {
    Verdict::expect(outcome.success() && !outcome.stdout.is_empty(), || {
        let (stdout, stderr) = (process::tail(&outcome.stdout, 5), outcome.stderr_tail(5));
        format!("{}\n{stdout}\n{stderr}", outcome.describe())
    })
}
