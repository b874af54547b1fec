//! The page of `isomorph explain` in a browser: its script runs without an error and joins lines.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Context, scratch};
use crate::apt;
use crate::error::{AtPath, Result};
use crate::process;
use crate::report::{Stage, Tally, Verdict};

/// Ends hangs only.
const LIMIT: Duration = Duration::from_secs(120);
/// The browser, as Debian's package and its program are called.
const BROWSER: &str = "chromium";

/// A page: its name, options of `isomorph explain`, and the guest among the demo's images.
type Row = (&'static str, &'static [&'static str], &'static str);

const ROWS: &[Row] = &[
    ("hot regions", &[], "queens"),
    ("calls", &["--jit", "tier2=16"], "fib"),
    ("everything compiled", &["--jit", "tier2=always"], "sha256"),
    ("no regions", &["--jit", "tier2=off"], "primes"),
];

/// What the root element of a page says that works, and one that does not.
const READY: &str = "data-ready=\"yes\"";
const ERROR: &str = "data-error=";

/// Makes each page, loads it, and has it try a click and a key.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("page");
    apt::ensure(&[BROWSER])?;
    let folder = scratch(context.paths, "page")?;
    for (name, options, guest) in ROWS {
        if context.options.wants(name) {
            let page = folder.join(format!("{guest}.html"));
            let verdict = match explain(context, options, guest, &page)? {
                Verdict::Pass => judge(&load(&page, &folder)?, !name.starts_with("no ")),
                failed => failed,
            };
            stage.record(name, &verdict);
        }
    }
    let broken = control(&folder)?;
    stage.record("a broken script is noticed", &broken);
    Ok(stage.end())
}

fn explain(context: &Context, options: &[&str], guest: &str, page: &Path) -> Result<Verdict> {
    let images = context.paths.workspace.join("guests/images");
    let mut command = Command::new(context.paths.isomorph());
    command.arg("explain").args(options).arg("-o").arg(page);
    let outcome = process::run(command.arg(images.join(guest)), &[], LIMIT)?;
    Ok(Verdict::expect(outcome.success(), || {
        format!("{}\n{}", outcome.describe(), outcome.stderr_tail(5))
    }))
}

/// The document after its script has run, as the browser prints it.
fn load(page: &Path, folder: &Path) -> Result<String> {
    let mut command = Command::new(BROWSER);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg("--virtual-time-budget=5000")
        .arg(format!(
            "--user-data-dir={}",
            folder.join("browser").display()
        ))
        .arg(format!("file://{}#selftest", page.display()));
    let outcome = process::run(&mut command, &[], LIMIT)?;
    Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
}

/// What the page found out about itself stands in attributes of its root element.
fn judge(document: &str, regions: bool) -> Verdict {
    let start = document.find("<html").unwrap_or(document.len());
    let root = document[start..].split('>').next().unwrap_or_default();
    let number = |name: &str| {
        let value = root.split(&format!("{name}=\"")).nth(1);
        let value = value.and_then(|rest| rest.split('"').next());
        value
            .and_then(|digits| digits.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let runs = root.contains(READY) && !root.contains(ERROR);
    let joins = number("data-joined") > 0 && number("data-clicked") > 2;
    let steps = root.contains("data-stepped=\"yes\"");
    let title = document.contains("<h2 id=\"hot\">");
    let good = runs && title && (!regions || joins && steps);
    Verdict::expect(good, || format!("the root element is `{root}`"))
}

/// A page whose script throws must fail.
fn control(folder: &Path) -> Result<Verdict> {
    let page = folder.join("broken.html");
    let text = "<!doctype html><html><body><h2 id=\"hot\"></h2><script>\
        addEventListener('error', e => { document.documentElement.dataset.error = e.message; });\
        </script><script>nothing.is.here();</script></body></html>";
    fs::write(&page, text).at(&page)?;
    let document = load(&page, folder)?;
    let noticed = document.contains(ERROR) && judge(&document, false) != Verdict::Pass;
    Ok(Verdict::expect(noticed, || document))
}
