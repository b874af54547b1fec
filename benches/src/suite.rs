//! The run: prepare everything, measure every workload under every subject in turn, report.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::Options;
use crate::compile::{self, Built, Workshop};
use crate::error::{Error, Failure, NotRun, chain};
use crate::figures::{self, Cell, Results, Row, SubjectFigures, Translation};
use crate::machine::Machine;
use crate::measure::{self, Run};
use crate::subjects::{self, Kind, Prepared, Roots, Subject};
use crate::workloads::{ONCE, ONCE_BASE, Source, WORKLOADS, Workload};
use crate::{packages, programs, report};

/// Runs everything that the options ask for, prints and writes the report.
pub fn run(options: &Options) -> Result<Results, Error> {
    let chosen = chosen(options);
    if chosen.is_empty() {
        return Err(Error::NothingToRun);
    }
    let machine = Machine::describe();
    if options.list {
        let lines: Vec<_> = chosen
            .iter()
            .map(|w| format!("{:15} {}", w.group.name(), w.name))
            .collect();
        println!("{}", lines.join("\n"));
        return Ok(Suite::results(
            machine,
            options,
            &[],
            Vec::new(),
            None,
            Vec::new(),
        ));
    }
    let suite = Suite::prepare(options, &chosen)?;
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    for workload in &chosen {
        match suite.measure(workload)? {
            Ok(row) => {
                println!("{}", report::progress(&row, &suite.figures));
                rows.push(row);
            }
            Err(reason) => skipped.push(format!("{}: {reason}", workload.name)),
        }
    }
    let translation = suite.translation(&rows)?;
    let results = Suite::results(machine, options, &suite.figures, rows, translation, skipped);
    report::write(&results, &options.out)?;
    Ok(results)
}

/// The workloads that the options name.
pub fn chosen(options: &Options) -> Vec<Workload> {
    let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let all = WORKLOADS
        .iter()
        .filter(|w| wanted(&options.groups, w.group.name()) && wanted(&options.workloads, w.name));
    all.copied().collect()
}

/// Subjects and what they need.
pub struct Suite<'a> {
    options: &'a Options,
    workshop: Workshop,
    subjects: Vec<Subject>,
    figures: Vec<SubjectFigures>,
    roots: Result<Roots, NotRun>,
}

impl<'a> Suite<'a> {
    fn prepare(options: &'a Options, chosen: &[Workload]) -> Result<Self, Error> {
        let mut subjects = vec![Subject::native()];
        subjects.extend(subjects::qemus(
            &options.repository,
            &options.qemus,
            options.fetch,
        ));
        if let Some(path) = &options.emulator {
            let jit = options.jit.as_deref();
            subjects.extend(Subject::tiers(path, options.tiers, jit)?);
        }
        Self::with_subjects(options, chosen, subjects)
    }

    /// As [`Suite::prepare`], with these subjects.
    pub fn with_subjects(
        options: &'a Options,
        chosen: &[Workload],
        subjects: Vec<Subject>,
    ) -> Result<Self, Error> {
        let workshop = Workshop::open(&options.repository)?;
        let figures = subjects.iter().map(describe).collect();
        let debian = chosen.iter().any(|w| matches!(w.source, Source::Debian(_)));
        let roots = match (&options.roots, debian) {
            (Some((riscv64, amd64)), true) => prepare_roots(options, &workshop, riscv64, amd64)
                .map_err(|error| NotRun::Trees(chain(&error))),
            _ => Err(NotRun::NoTrees),
        };
        Ok(Self {
            options,
            workshop,
            subjects,
            figures,
            roots,
        })
    }

    fn results(
        machine: Machine,
        options: &Options,
        subjects: &[SubjectFigures],
        rows: Vec<Row>,
        translation: Option<Translation>,
        skipped: Vec<String>,
    ) -> Results {
        let groups = figures::groups(&rows);
        let subjects = subjects.to_vec();
        let (runs, quick) = (options.runs, options.quick);
        Results {
            machine,
            subjects,
            runs,
            quick,
            rows,
            groups,
            translation,
            skipped,
        }
    }

    /// Measures one workload under every subject, interleaved; the inner error says why it cannot
    /// be run on this machine.
    pub fn measure(&self, workload: &Workload) -> Result<Result<Row, NotRun>, Error> {
        let prepared = match self.prepare_all(workload)? {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let repeat = if self.options.quick {
            workload.repeat.min(2)
        } else {
            workload.repeat
        };
        let mut cells: Vec<Result<Vec<u64>, Failure>> = vec![Ok(Vec::new()); prepared.len()];
        for _ in 0..self.options.runs {
            let mut native: Option<Run> = None;
            for (index, prepared) in prepared.iter().enumerate() {
                let Ok(times) = &mut cells[index] else {
                    continue;
                };
                let run = measure::run(prepared, repeat)?;
                match compare(&run, native.as_ref()) {
                    Ok(()) => times.push(run.cpu_us / u64::from(repeat)),
                    Err(source) if native.is_none() => {
                        return Err(Error::Native {
                            workload: workload.name,
                            source,
                        });
                    }
                    Err(failure) => cells[index] = Err(failure),
                }
                native.get_or_insert(run);
            }
        }
        let cells = cells.into_iter().map(|cell| match cell {
            Ok(times) => Cell::new(&times),
            Err(failure) => Cell::failed(failure.to_string()),
        });
        Ok(Ok(figures::row(
            workload.name,
            workload.group,
            &self.figures,
            cells.collect(),
        )))
    }

    fn prepare_all(&self, workload: &Workload) -> Result<Result<Vec<Prepared>, NotRun>, Error> {
        let own = |built: &Built, argument: Option<u32>| {
            let argument = argument.map(|number| number.to_string());
            self.subjects
                .iter()
                .map(|s| s.own(built, argument.as_deref()))
                .collect()
        };
        Ok(match workload.source {
            Source::C(size) => {
                let built = self.workshop.program(workload.name)?;
                let argument = size.map(|s| if self.options.quick { s.quick } else { s.full });
                Ok(own(&built, argument))
            }
            Source::Once(functions) => Ok(own(&self.workshop.once()?, Some(functions))),
            Source::Debian(program) => {
                self.roots.as_ref().map_err(Clone::clone).and_then(|roots| {
                    let path = roots.riscv64.join(program.path);
                    if !path.exists() {
                        return Err(NotRun::NoProgram(program.path));
                    }
                    Ok(self
                        .subjects
                        .iter()
                        .map(|s| s.debian(program, roots))
                        .collect())
                })
            }
        })
    }

    /// The cost per guest instruction: the generated program's time less that of starting it.
    fn translation(&self, rows: &[Row]) -> Result<Option<Translation>, Error> {
        let find = |name| rows.iter().find(|row| row.workload == name);
        let qemu = self
            .subjects
            .iter()
            .find(|subject| subject.kind == Kind::Qemu);
        let (Some(once), Some(base), Some(qemu)) = (find(ONCE), find(ONCE_BASE), qemu) else {
            return Ok(None);
        };
        let built = self.workshop.once()?;
        let Source::Once(functions) = once_source() else {
            return Ok(None);
        };
        let count = translated(qemu, &built, functions)? - translated(qemu, &built, 0)?;
        let cells = once.cells.iter().zip(&base.cells).zip(&self.figures);
        let us_per_instruction = cells
            .filter(|(_, subject)| subject.qemu || subject.under_test || subject.tier1)
            .filter_map(|((once, base), subject)| {
                let us = (once.cpu_ms? - base.cpu_ms?) * 1000.0;
                Some((subject.label.clone(), us / count as f64))
            })
            .collect();
        Ok(Some(Translation {
            guest_instructions: count,
            us_per_instruction,
        }))
    }
}

fn once_source() -> Source {
    let workload = WORKLOADS.iter().find(|workload| workload.name == ONCE);
    workload.map_or(Source::C(None), |workload| workload.source)
}

/// How many guest instructions a QEMU translates for the generated program: its log of guest code
/// has one line for each.
fn translated(qemu: &Subject, built: &Built, functions: u32) -> Result<u64, Error> {
    let Some(emulator) = qemu.emulator() else {
        return Ok(0);
    };
    let log = built.riscv64.with_extension("log");
    let argument = functions.to_string();
    let arguments = ["-d", "in_asm", "-D"];
    let mut command = Command::new(emulator);
    compile::run(
        command
            .args(arguments)
            .arg(&log)
            .arg(&built.riscv64)
            .arg(argument),
    )?;
    let text = fs::read(&log).map_err(Error::file("read", &log))?;
    fs::remove_file(&log).map_err(Error::file("remove", &log))?;
    Ok(text
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"0x"))
        .count() as u64)
}

/// What the results say of a subject.
pub fn describe(subject: &Subject) -> SubjectFigures {
    SubjectFigures {
        label: subject.label.clone(),
        version: subject.version.clone(),
        qemu: subject.kind == Kind::Qemu,
        under_test: subject.kind == Kind::UnderTest,
        tier1: subject.kind == Kind::Variant && subject.label == subjects::TIER_1,
    }
}

/// A run counts when it succeeds and, but for the native one, its output is native's.
pub fn compare(run: &Run, native: Option<&Run>) -> Result<(), Failure> {
    if !run.end.success() {
        let messages = match run.messages.as_str() {
            "" => "no message".to_owned(),
            messages => messages.to_owned(),
        };
        return Err(Failure::End {
            end: run.end,
            messages,
        });
    }
    match native {
        Some(native) if native.output != run.output => Err(Failure::Output {
            found: excerpt(&run.output),
            expected: excerpt(&native.output),
        }),
        _ => Ok(()),
    }
}

fn excerpt(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[..output.len().min(60)]);
    format!("{:?} ({} bytes)", text, output.len())
}

/// Debian's trees and the input files of ours.
pub fn trees(
    options: &Options,
    workshop: &Workshop,
    riscv64: &Path,
    amd64: &Path,
) -> Result<Roots, Error> {
    let absolute = |path: &Path| path.canonicalize().map_err(Error::file("find", path));
    let data = options.repository.join("target/bench/data");
    programs::prepare(&options.repository, workshop, &data)?;
    Ok(Roots {
        riscv64: absolute(riscv64)?,
        amd64: absolute(amd64)?,
        packages: packages::folder(&options.repository),
        data: absolute(&data)?,
    })
}

fn prepare_roots(
    options: &Options,
    workshop: &Workshop,
    riscv64: &Path,
    amd64: &Path,
) -> Result<Roots, Error> {
    let roots = trees(options, workshop, riscv64, amd64)?;
    if options.fetch {
        packages::unpack(&options.repository, &packages::CROSS_CC1)?;
    }
    let compressed = measure::run(&Subject::native().debian(&programs::XZ, &roots), 1)?;
    let path = roots.data.join(programs::COMPRESSED);
    fs::write(&path, compressed.output).map_err(Error::file("write", &path))?;
    Ok(roots)
}
