//! The threads that compile regions, and what waits for them.

use crate::blocks::Job;
use crate::config::{Config, Refusal, RegionEvent};
use crate::engine::Engine;
use isomorph_baseline::Layout;
use isomorph_cranelift::{CompiledRegion, Compiler, Floats};
use isomorph_frontend::Guest;
use isomorph_ir::passes::{self, Context, Faults};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Regions that may wait: what is hotter than the others comes again.
const WAITING: usize = 64;
/// How long a region under trial is left alone.
const TRIAL: Duration = Duration::from_millis(2);
/// How often it is looked at before it stays as it is.
const LOOKS: u32 = 100;
/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(2);

/// What waits to be compiled.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    jobs: VecDeque<Job>,
    /// Regions that are being compiled.
    working: usize,
    threads: usize,
    closed: bool,
}

pub(crate) type QueueGuard<'a> = MutexGuard<'a, State>;

impl Queue {
    /// Holds the queue still.
    pub fn lock(&self) -> QueueGuard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The threads end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Adds a job; false if there are too many already.
    pub fn push<G: Guest>(engine: &Arc<Engine<G>>, job: Job) -> bool {
        let queue = &engine.queue;
        let mut state = queue.lock();
        if state.jobs.len() >= WAITING {
            return false;
        }
        state.jobs.push_back(job);
        let idle = state.threads.saturating_sub(state.working);
        if state.threads < engine.config.tier2.threads && state.jobs.len() > idle {
            state.threads += 1;
            let (engine, queue) = (Arc::downgrade(engine), queue.clone());
            if !spawn(move || work(&engine, &queue)) {
                state.threads -= 1;
            }
        }
        drop(state);
        queue.changed.notify_one();
        true
    }

    /// A job is done.
    fn done(&self) {
        let mut state = self.lock();
        state.working = state.working.saturating_sub(1);
    }

    /// What to do next. `trials`: regions are under trial.
    fn next(&self, trials: bool) -> Work {
        let mut state = self.lock();
        loop {
            if !state.closed
                && let Some(job) = state.jobs.pop_front()
            {
                state.working += 1;
                return Work::Compile(job);
            }
            let patience = if trials { TRIAL } else { IDLE };
            let waited = self.changed.wait_timeout(state, patience);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            let idle = timeout.timed_out() && state.jobs.is_empty();
            if !state.closed && idle && trials {
                return Work::Look;
            }
            if state.closed || idle {
                state.threads -= 1;
                return Work::End;
            }
        }
    }
}

/// What a thread does next.
enum Work {
    Compile(Job),
    /// Have the regions under trial looked at.
    Look,
    End,
}

impl State {
    /// Whether anything waits or is being compiled.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || self.working != 0
    }

    /// In the child of a fork: the threads are gone, and what they had.
    pub fn orphaned(&mut self) {
        self.jobs.clear();
        self.working = 0;
        self.threads = 0;
    }
}

/// Starts a thread that no signal of the guest's is delivered to.
fn spawn(work: impl FnOnce() + Send + 'static) -> bool {
    // SAFETY: zeroed signal sets are valid, and both outlive the calls; the mask is this thread's.
    let old = unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        old
    };
    let builder = std::thread::Builder::new().name("isomorph-tier2".into());
    let started = builder.spawn(work).is_ok();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    started
}

fn work<G: Guest>(engine: &Weak<Engine<G>>, queue: &Queue) {
    let mut compiler = None;
    let mut trials = false;
    let mut looks = 0;
    loop {
        let work = queue.next(trials);
        let Some(engine) = engine.upgrade() else {
            trials = false;
            if matches!(work, Work::End) {
                return;
            }
            continue;
        };
        let job = match work {
            Work::Compile(job) => job,
            Work::Look => {
                looks += 1;
                trials = engine.ask_for_looks(looks < LOOKS);
                continue;
            }
            Work::End => return,
        };
        let compiler = match &mut compiler {
            Some(compiler) => compiler,
            empty => {
                let layout = Layout {
                    globals: G::globals(),
                    memory: engine.config.memory,
                };
                match Compiler::new(layout, Floats::Refuse) {
                    Ok(new) => empty.insert(new),
                    Err(error) => {
                        engine.refuse(job.region, &Refusal::Code(error.to_string()));
                        queue.done();
                        continue;
                    }
                }
            }
        };
        if !engine.lock().blocks.is_pending(job.region) {
            queue.done();
            continue;
        }
        let begin = cpu_time();
        match compile_region::<G>(compiler, &engine.config, &job) {
            Ok(code) => engine.install(job.region, &code),
            Err(why) => engine.refuse(job.region, &why),
        }
        let took = cpu_time().saturating_sub(begin);
        engine.stats.region_ns.add(took.as_nanos() as u64);
        queue.done();
        trials = engine.any_trial();
        looks = 0;
    }
}

/// Puts a region through the passes and the code generator.
pub(crate) fn compile_region<G: Guest>(
    compiler: &mut Compiler,
    config: &Config,
    job: &Job,
) -> Result<CompiledRegion, Refusal> {
    let begin = cpu_time();
    let queued = job.chosen.elapsed();
    let mut region = job.ir.clone();
    let context = Context {
        table: G::globals(),
        faults: Faults::Precise,
    };
    let done = passes::run(&mut region, &context, config.tier2.passes);
    compiler.count_rounds(job.rounds);
    let compiled = compiler.compile(&region);
    let took = cpu_time().saturating_sub(begin);
    let code = compiled.map_err(|error| Refusal::Code(error.to_string()))?;
    if let Some(observer) = &config.observer {
        observer.region(&RegionEvent::Compiled {
            region: job.region,
            before: &job.ir,
            after: &region,
            passes: &done,
            clif: compiler.clif(),
            stats: &code.stats,
            queued,
            took,
        });
    }
    Ok(code)
}

/// What compiling a region takes, about, in nanoseconds, however small it is.
pub(crate) const REGION_NS: f64 = 400_000.0;
/// What each guest instruction of it takes.
pub(crate) const INSN_NS: f64 = 15_000.0;

/// CPU time of this thread.
pub(crate) fn cpu_time() -> Duration {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of this process.
pub(crate) fn process_time() -> Duration {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure outlives the call.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
