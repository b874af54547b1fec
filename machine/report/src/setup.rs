//! From what was asked for to observers, and from what they kept to the end's report.

use crate::dump::{Dump, DumpSink};
use crate::figures::Figures;
use crate::growing::Warn;
use crate::page::{Contents, attribute, page};
use crate::profilers::{JITDUMP, JitDump, PERFMAP, PerfMap, dump_path, map_path};
use crate::record::{Detail, Recorder};
use crate::{DebugItems, Symbols};
use isomorph_engine::{Extras, Guest, Observer, RegionEvent, Snapshot, Translation};
use isomorph_probe::{Sampler, monotonic_ns, process_cpu_ns};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why something that was asked for cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be written.
    #[error("{what}: cannot write {}", .path.display())]
    File {
        /// For what.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The host gives no samples of CPU time.
    #[error("the host gives no timers for samples")]
    Sampler(#[source] io::Error),
}

impl ReportError {
    /// The report cannot be written to standard error.
    #[must_use]
    pub fn standard_error(source: io::Error) -> Self {
        Self::File {
            what: "the report",
            path: "standard error".into(),
            source,
        }
    }

    /// The error with its cause, on one line.
    #[must_use]
    pub fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self);
        cause.map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }
}

/// What is told at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Summary {
    /// A page about hot code, in this file.
    Page(PathBuf),
    /// Figures of translation.
    Figures {
        /// As JSON.
        json: bool,
        /// Where; standard error if absent.
        path: Option<PathBuf>,
    },
}

impl Summary {
    /// The file it goes to.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Page(path) => Some(path),
            Self::Figures { path, .. } => path.as_mut(),
        }
    }

    /// Where the path of figures goes; figures need none.
    pub fn path_slot(&mut self) -> Option<&mut Option<PathBuf>> {
        match self {
            Self::Page(_) => None,
            Self::Figures { path, .. } => Some(path),
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What is logged of translations (`-d`).
    pub items: DebugItems,
    /// A map for perf (`-perfmap`).
    pub perf_map: bool,
    /// A dump for perf (`-jitdump`).
    pub jitdump: bool,
    /// What is told at the end.
    pub summary: Option<Summary>,
}

/// What an engine is observed by, if by anything, and what is told at the end.
pub type Started<G> = (Option<Box<dyn Observer>>, Reports<G>);

/// Where texts go while the guest runs.
pub struct Sinks {
    /// What `-d` asks for.
    pub log: DumpSink,
    /// What goes wrong.
    pub warn: Warn,
}

/// Puts a file's descriptor out of the way of the guest's.
pub type Keep = fn(File) -> File;

/// Where a report went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// None was asked for.
    Nothing,
    /// Nowhere yet: it is for standard error.
    Text(String),
    /// Into this file.
    File(PathBuf),
}

/// What is told at the end of a run.
pub struct Reports<G> {
    pid: u32,
    guest: G,
    title: String,
    symbols: Arc<Symbols>,
    recorder: Option<Arc<Recorder>>,
    sampler: Option<Sampler>,
    output: Option<(Output, Option<(PathBuf, File)>)>,
    cpu_at_start: u64,
}

#[derive(Clone, Copy)]
enum Output {
    Page,
    Figures { json: bool },
}

fn open(what: &'static str, path: &Path, keep: Keep) -> Result<File, ReportError> {
    let options = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    options.map(keep).map_err(|source| ReportError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

impl Wanted {
    /// Begins to observe. `title` is what runs.
    ///
    /// # Errors
    /// A file cannot be written, or the host lacks timers.
    pub fn start<G: Guest + Clone>(
        &self,
        guest: &G,
        (title, symbols): (String, Symbols),
        sinks: Sinks,
        keep: Keep,
    ) -> Result<Started<G>, ReportError> {
        let symbols = Arc::new(symbols);
        let mut observers: Vec<Box<dyn Observer>> = Vec::new();
        if self.items.contains(DebugItems::STAGES) {
            let (items, guest, sink) = (self.items, guest.clone(), sinks.log);
            observers.push(Box::new(Dump { items, guest, sink }));
        }
        if self.perf_map {
            let path = map_path();
            let file = (path.clone(), open(PERFMAP, &path, keep)?);
            let map = PerfMap::new(file, symbols.clone(), sinks.warn.clone());
            observers.push(Box::new(map));
        }
        if self.jitdump {
            // The guest may change its directory.
            let path = std::path::absolute(dump_path()).unwrap_or_else(|_| dump_path());
            let file = (path.clone(), open(JITDUMP, &path, keep)?);
            let dump = JitDump::new(file, symbols.clone(), sinks.warn);
            let dump = dump.map_err(|source| ReportError::File {
                what: JITDUMP,
                path,
                source,
            })?;
            observers.push(Box::new(dump));
        }
        let mut reports = Reports {
            pid: std::process::id(),
            guest: guest.clone(),
            title,
            symbols,
            recorder: None,
            sampler: None,
            output: None,
            cpu_at_start: process_cpu_ns(),
        };
        if let Some(summary) = &self.summary {
            reports.summary(summary, keep)?;
        }
        if let Some(recorder) = &reports.recorder {
            observers.push(Box::new(Shared {
                pid: reports.pid,
                recorder: recorder.clone(),
            }));
        }
        Ok((all(observers), reports))
    }
}

impl<G: Guest> Reports<G> {
    fn summary(&mut self, summary: &Summary, keep: Keep) -> Result<(), ReportError> {
        let (output, detail, path, what) = match summary {
            Summary::Page(path) => (Output::Page, Detail::Code, Some(path), "explain"),
            Summary::Figures { json, path } => {
                let output = Output::Figures { json: *json };
                (output, Detail::Figures, path.as_ref(), "bench")
            }
        };
        let file = path.map(|path| Ok((path.clone(), open(what, path, keep)?)));
        self.output = Some((output, file.transpose()?));
        self.recorder = Some(Arc::new(Recorder::new::<G>(detail)));
        if detail == Detail::Code {
            self.sampler = Some(Sampler::start().map_err(ReportError::Sampler)?);
        }
        Ok(())
    }

    /// True if something is told at the end.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.output.is_some() && std::process::id() == self.pid
    }

    /// Tells what is told at the end. May be called again, with more to tell.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(&self, counted: &Snapshot, more: &[(String, u64)]) -> Result<Told, ReportError> {
        let (Some(recorder), Some((output, file))) = (&self.recorder, &self.output) else {
            return Ok(Told::Nothing);
        };
        if !self.is_wanted() {
            return Ok(Told::Nothing);
        }
        let cpu = process_cpu_ns() - self.cpu_at_start;
        let elapsed = monotonic_ns() - recorder.start();
        let kept = recorder.kept();
        let figures = Figures::of(&kept, counted, cpu, elapsed);
        drop(kept);
        let text = match output {
            Output::Figures { json: false } => figures.text(),
            Output::Figures { json: true } => format!("{}\n", figures.json()),
            Output::Page => self.page(recorder, &figures, counted, more),
        };
        let Some((path, file)) = file else {
            return Ok(Told::Text(text));
        };
        replace(file, &text).map_err(|source| ReportError::File {
            what: "the report",
            path: path.clone(),
            source,
        })?;
        Ok(Told::File(path.clone()))
    }

    fn page(
        &self,
        recorder: &Recorder,
        figures: &Figures,
        counted: &Snapshot,
        more: &[(String, u64)],
    ) -> String {
        let (samples, lost) = match &self.sampler {
            Some(sampler) => sampler.samples(),
            None => (Vec::new(), 0),
        };
        let names = self
            .sampler
            .as_ref()
            .map(Sampler::names)
            .unwrap_or_default();
        let kept = recorder.kept();
        let time = attribute(&kept, samples, recorder.start(), &names);
        let counted = counted.rows().into_iter();
        let counts = counted.map(|(name, count)| (name.to_owned(), count));
        let counts: Vec<_> = counts.chain(more.iter().cloned()).collect();
        page(&Contents {
            title: &self.title,
            guest: &self.guest,
            kept: &kept,
            table: recorder.table(),
            time: &time,
            lost,
            symbols: &self.symbols,
            figures,
            counts: &counts,
        })
    }
}

/// Makes `text` the whole contents of a file.
fn replace(mut file: &File, text: &str) -> io::Result<()> {
    // What is no file, such as a terminal, has no beginning.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    file.write_all(text.as_bytes())
}

/// One observer that tells all of them.
fn all(mut observers: Vec<Box<dyn Observer>>) -> Option<Box<dyn Observer>> {
    match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Box::new(All(observers))),
    }
}

struct All(Vec<Box<dyn Observer>>);

impl Observer for All {
    fn wants(&self) -> Extras {
        let all = self.0.iter().map(|one| one.wants());
        all.fold(Extras::default(), Extras::union)
    }

    fn translated(&self, translation: &Translation<'_>) {
        self.0.iter().for_each(|one| one.translated(translation));
    }

    fn region(&self, event: &RegionEvent<'_>) {
        self.0.iter().for_each(|one| one.region(event));
    }
}

/// The recorder, in the process that it was made in: after a fork its lock may be held by a
/// thread that is not there.
struct Shared {
    pid: u32,
    recorder: Arc<Recorder>,
}

impl Observer for Shared {
    fn wants(&self) -> Extras {
        match std::process::id() == self.pid {
            true => self.recorder.wants(),
            false => Extras::default(),
        }
    }

    fn translated(&self, translation: &Translation<'_>) {
        if std::process::id() == self.pid {
            self.recorder.translated(translation);
        }
    }

    fn region(&self, event: &RegionEvent<'_>) {
        if std::process::id() == self.pid {
            self.recorder.region(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn wanted(summary: Option<Summary>) -> Wanted {
        Wanted {
            summary,
            ..Wanted::default()
        }
    }

    fn sinks() -> Sinks {
        Sinks {
            log: Box::new(|_| {}),
            warn: Arc::new(|text| panic!("{text}")),
        }
    }

    fn start(wanted: &Wanted) -> Result<(Option<Box<dyn Observer>>, bool), ReportError> {
        let symbols = Symbols::of_tables(Vec::new());
        let started = wanted.start(&testing::guest(), ("t".into(), symbols), sinks(), |f| f)?;
        Ok((started.0, started.1.is_wanted()))
    }

    #[test]
    fn nothing_is_observed_that_was_not_asked_for() {
        let (observer, told) = start(&Wanted::default()).unwrap();
        assert!(observer.is_none() && !told);
    }

    #[test]
    fn texts_are_made_for_what_shows_them() {
        let figures = Summary::Figures {
            json: false,
            path: None,
        };
        let figures = wanted(Some(figures));
        let logged = |items| Wanted {
            items,
            ..figures.clone()
        };
        let extras = |plain, clif| Extras { plain, clif };
        for (wanted, expected) in [
            (figures.clone(), extras(false, false)),
            (logged(DebugItems::REGION_OP), extras(false, false)),
            (logged(DebugItems::OP), extras(true, false)),
            (logged(DebugItems::CLIF), extras(false, true)),
        ] {
            let observer = start(&wanted).unwrap().0.unwrap();
            assert_eq!(observer.wants(), expected, "{wanted:?}");
        }
        let recorder = testing::recorded();
        assert_eq!(recorder.wants(), extras(true, true));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let page = wanted(Some(Summary::Page("/no/such/page.html".into())));
        let Err(error) = start(&page) else {
            panic!("it was opened");
        };
        assert_eq!(
            error.to_string(),
            "explain: cannot write /no/such/page.html"
        );
    }

    #[test]
    fn figures_go_where_they_were_asked_to() {
        let path = testing::scratch("figures");
        let summary = Summary::Figures {
            json: true,
            path: Some(path.clone()),
        };
        let symbols = Symbols::of_tables(Vec::new());
        let guest = testing::guest();
        let started = wanted(Some(summary)).start(&guest, ("t".into(), symbols), sinks(), |f| f);
        let (observer, reports) = started.unwrap();
        observer.unwrap().region(&testing::installed());
        for _ in 0..2 {
            let told = reports.finish(&Snapshot::default(), &[]).unwrap();
            assert_eq!(told, Told::File(path.clone()));
            let text = std::fs::read_to_string(&path).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["regions_installed"], 1);
        }
        std::fs::remove_file(path).unwrap();
    }
}
