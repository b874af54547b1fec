//! The threads that compile regions, and what waits for them.

use super::thread::{Helper, spawn};
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
    helpers: Vec<Helper>,
    /// The threads are to end, at once or once nothing waits.
    closed: bool,
    leaving: bool,
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

    /// Ends the threads, once they have done what waits, until there is more.
    pub fn end(&self) {
        let mut state = self.lock();
        let helpers = std::mem::take(&mut state.helpers);
        state.leaving = true;
        drop(state);
        self.changed.notify_all();
        helpers.into_iter().for_each(Helper::join);
        self.lock().leaving = false;
    }

    /// Adds a job; false if there are too many already.
    pub fn push<G: Guest>(engine: &Arc<Engine<G>>, job: Job) -> bool {
        let queue = &engine.queue;
        let mut state = queue.lock();
        if state.leaving || state.jobs.len() >= WAITING {
            return false;
        }
        state.jobs.push_back(job);
        let idle = state.threads.saturating_sub(state.working);
        if state.threads < engine.config.tier2.threads && state.jobs.len() > idle {
            state.threads += 1;
            let (engine, queue) = (Arc::downgrade(engine), queue.clone());
            state.helpers.retain(|helper| !helper.is_over());
            match spawn("isomorph-tier2", move || work(&engine, &queue)) {
                Some(helper) => state.helpers.push(helper),
                None => state.threads -= 1,
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

    /// What to compile next; `None`: the thread ends.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if !state.closed
                && let Some(job) = state.jobs.pop_front()
            {
                state.working += 1;
                return Some(job);
            }
            if state.closed || state.leaving {
                state.threads -= 1;
                return None;
            }
            let waited = self.changed.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

impl State {
    /// Whether anything waits or is being compiled.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || self.working != 0
    }

    /// In the child of a fork: the threads are gone, and what they had.
    pub fn orphaned(&mut self) {
        self.jobs.clear();
        self.helpers.drain(..).for_each(std::mem::forget); // they are the parent's
        self.working = 0;
        self.threads = 0;
    }
}

fn work<G: Guest>(engine: &Weak<Engine<G>>, queue: &Queue) {
    let mut compiler = None;
    while let Some(job) = queue.next() {
        let Some(engine) = engine.upgrade() else {
            continue;
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
            clif: observer.wants().clif.then(|| compiler.clif()),
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
