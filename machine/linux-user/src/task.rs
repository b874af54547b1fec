//! The guest's threads and processes as isomorph sees them.

use crate::config::RunConfig;
use crate::cpu::{Cpu, Engine, Vcpu};
use crate::exec;
use crate::log::{Log, complain};
use crate::mm::AddressSpace;
use crate::proc_files;
use crate::signal::{Action, Actions, Info, SignalState};
use isomorph_report::{DebugItems, Reports, Told};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

/// What all threads of a guest process share.
///
/// The child of a vfork has a `Process` of its own that shares `mm` and `engine`.
pub struct Process {
    /// Settings of the run.
    pub config: Arc<RunConfig>,
    /// The guest's memory.
    pub mm: Arc<AddressSpace>,
    /// The translator.
    pub engine: Arc<Engine>,
    /// What the guest does about signals.
    pub actions: Actions,
    /// The program that runs.
    pub image: Arc<Image>,
    /// Where traces go.
    pub log: Arc<Log>,
    /// What is told at the end of the run.
    pub reports: Arc<Reports<Cpu>>,
    /// Guest threads that live.
    pub threads: AtomicUsize,
    /// How often each system call that is not implemented was tried.
    pub unknown_syscalls: Mutex<BTreeMap<u64, u64>>,
}

/// Facts about the program, fixed at exec.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Absolute host path of the program: what `/proc/self/exe` is for the guest.
    pub exe: PathBuf,
    /// The guest's `argv`.
    pub argv: Vec<OsString>,
    /// The auxiliary vector as it lies on the guest's stack.
    pub auxv: Vec<u8>,
    /// Guest addresses of the program's parts.
    pub layout: Layout,
    /// Address that signal handlers return to.
    pub sigreturn: u64,
}

/// Guest addresses of the program's parts, as `/proc/self/stat` tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Lowest address of code.
    pub start_code: u64,
    /// End of code.
    pub end_code: u64,
    /// Lowest address of data.
    pub start_data: u64,
    /// End of data.
    pub end_data: u64,
    /// Initial program break.
    pub start_brk: u64,
    /// Initial stack pointer.
    pub start_stack: u64,
    /// Where the argument strings lie.
    pub args: (u64, u64),
    /// Where the environment strings lie.
    pub env: (u64, u64),
}

/// One guest thread; it runs on the host thread of the same thread id.
pub struct Task {
    /// The process.
    pub process: Arc<Process>,
    /// The registers, and generated code to run.
    pub vcpu: Vcpu,
    /// Thread id, guest and host.
    pub tid: i32,
    /// Signal mask, alternate stack and what is pending.
    pub signal: SignalState,
    /// Address that is zeroed and woken when the thread ends; 0 for none.
    pub clear_child_tid: u64,
    /// Set when the thread shall end: its exit status.
    pub exit: Option<i32>,
}

impl Task {
    /// The host path for guest path `path`: absolute paths are looked up under the sysroot first,
    /// as QEMU's `-L` does; `/proc/self/exe` is the guest's program.
    #[must_use]
    pub fn sysroot_path<'a>(&self, path: &'a Path) -> std::borrow::Cow<'a, Path> {
        self.process.host_path(path)
    }
}

/// The report could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold;

/// What a process ends with whose report could not be written.
const UNTOLD: i32 = 1;

impl Process {
    /// See [`Task::sysroot_path`].
    #[must_use]
    pub fn host_path<'a>(&self, path: &'a Path) -> std::borrow::Cow<'a, Path> {
        if let Some(file) = proc_files::redirect(self, path) {
            return file.into();
        }
        exec::under_sysroot(path, self.config.sysroot.as_deref())
    }

    /// Whether `-d` asks for any of `items`.
    #[must_use]
    pub fn debug(&self, items: DebugItems) -> bool {
        self.config.reports.items.contains(items)
    }

    /// Says what is to be said when the process ends with `status`. What the process ends with
    /// then: a report that cannot be written is an error.
    pub fn about_to_end(&self, status: i32) -> i32 {
        if self.config.stats {
            self.log.write(&crate::statistics::statistics(self));
        }
        match self.report() {
            Ok(None) => status,
            Ok(Some(path)) => {
                let path = path.display();
                self.log.line(format_args!("isomorph: wrote {path}"));
                status
            }
            Err(Untold) => UNTOLD,
        }
    }

    /// Writes the page or the figures of the run, if they were asked for. The file, if it is one.
    ///
    /// # Errors
    /// It could not be written, which was said.
    pub fn report(&self) -> Result<Option<PathBuf>, Untold> {
        if !self.reports.is_wanted() {
            return Ok(None);
        }
        match self.reports.finish(&self.engine.stats(), &[]) {
            Ok(Told::Nothing) => Ok(None),
            Ok(Told::File(path)) => Ok(Some(path)),
            Ok(Told::Text(text)) if self.log.write(&text) => Ok(None),
            Ok(Told::Text(_)) => Err(Untold),
            Err(error) => {
                complain(error.with_cause());
                Err(Untold)
            }
        }
    }
}

impl Task {
    /// Notes a signal in the log if `-d int` asks for it.
    pub fn log_signal(&self, info: &Info, action: &Action) {
        if self.process.debug(DebugItems::INT) {
            let (signo, code, address) = (info[0] as i32, info[1] as i32, info[2]);
            let pc = self.vcpu.state().pc;
            let (tid, handler) = (self.tid, action.handler);
            self.process.log.line(format_args!(
                "{tid}: signal {signo} code {code} address {address:#x} at pc {pc:#x}, \
                 handler {handler:#x}"
            ));
        }
    }
}
