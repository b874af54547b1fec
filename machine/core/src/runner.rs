//! Runs a machine: one host thread per vCPU, under a [`Life`].
//!
//! A vCPU's thread does what concerns its vCPU: it runs, resets and describes it, and stands still
//! while the machine does. The thread that called [`Runner::run`] does what concerns all of them:
//! it resets the machine once everybody stands, wakes up for the watchdog, and gathers the end.
//! They meet at the [`Floor`], whose lock nobody holds while calling anything that may wait.

use crate::accel::{AccelError, Exit, Kick, Vcpu, VcpuConfig, VcpuId};
use crate::clock::Clock;
use crate::life::{Life, LifeWatch, RunState, Shutdown};
use crate::watchdog::Watchdog;
use std::any::Any;
use std::error::Error;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a vCPU may take to describe itself.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a vCPU may take to stop at the end.
const END_TIME: Duration = Duration::from_secs(5);

/// What a machine is beside its vCPUs: devices and memory.
pub trait Machine: Send + Sync {
    /// Makes devices as after power-on and loads the images anew. All vCPUs stand still. The
    /// result says how each of them starts.
    ///
    /// # Errors
    /// An image cannot be loaded; the machine ends.
    fn reset(&self) -> Result<Vec<VcpuConfig>, Box<dyn Error + Send + Sync>>;
}

/// How a machine ended.
pub struct Ended {
    /// Why.
    pub why: Shutdown,
    /// Its vCPUs, as they stopped.
    pub vcpus: Vec<Box<dyn Vcpu>>,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ended({:?}, {} vCPUs)", self.why, self.vcpus.len())
    }
}

/// Why a machine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host gives no thread.
    #[error("no thread for vCPU {id}")]
    Thread {
        /// The vCPU.
        id: VcpuId,
        /// What the host said.
        source: std::io::Error,
    },
    /// The accelerator failed.
    #[error("the accelerator failed at vCPU {id}")]
    Vcpu {
        /// The vCPU.
        id: VcpuId,
        /// What it said of itself then.
        state: String,
        /// Why.
        source: AccelError,
    },
    /// A vCPU's thread panicked.
    #[error("the thread of vCPU {id} panicked: {message}")]
    Panicked {
        /// The vCPU.
        id: VcpuId,
        /// The panic's message.
        message: String,
    },
    /// The machine could not be reset.
    #[error("the machine cannot be reset")]
    Reset(#[source] Box<dyn Error + Send + Sync>),
    /// [`Machine::reset`] left out a vCPU.
    #[error("the machine does not say how vCPU {0} starts")]
    NoConfig(VcpuId),
    /// A vCPU did not stop when the machine ended; its thread is left to itself.
    #[error("vCPU {0} does not stop")]
    Stuck(VcpuId),
}

/// A machine that is ready to run.
pub struct Runner {
    vcpus: Vec<Box<dyn Vcpu>>,
    life: Arc<Life>,
    clock: Arc<dyn Clock>,
    machine: Arc<dyn Machine>,
    watchdog: Option<Watchdog>,
    paused: bool,
}

impl Runner {
    /// A machine of these parts; its vCPUs are reset already.
    pub fn new(
        vcpus: Vec<Box<dyn Vcpu>>,
        life: Arc<Life>,
        clock: Arc<dyn Clock>,
        machine: Arc<dyn Machine>,
    ) -> Self {
        Self {
            vcpus,
            life,
            clock,
            machine,
            watchdog: None,
            paused: false,
        }
    }

    /// Watches for silence.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// Leaves it to others to call [`Life::resume`].
    pub fn start_paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Runs the machine to its end.
    ///
    /// # Errors
    /// A vCPU or a reset failed. The life is over then too.
    pub fn run(self) -> Result<Ended, RunError> {
        let ids = self.vcpus.iter().map(|vcpu| vcpu.id()).collect();
        let kicks = self.vcpus.iter().map(|vcpu| vcpu.kicker()).collect();
        let floor = Arc::new(Floor {
            book: Mutex::new(Book::new(ids)),
            changed: Condvar::new(),
            kicks,
            life: self.life,
            clock: self.clock,
            watchdog: self.watchdog,
        });
        // However this function ends, the vCPUs' threads do too.
        let guard = EndLife(floor.life.clone());
        floor.life.watch(Arc::new(Watch(Arc::downgrade(&floor))));
        floor.follow_life();
        let threads = floor.start(self.vcpus)?;
        if !self.paused {
            floor.life.resume();
        }
        let looked_after = floor.look_after(&*self.machine);
        drop(guard);
        let vcpus = floor.gather(threads);
        let failure = lock(&floor.book).failure.take();
        let why = failure.map_or(looked_after, Err)?;
        let vcpus = vcpus?;
        Ok(Ended { why, vcpus })
    }
}

/// Ends the machine if nobody else did.
struct EndLife(Arc<Life>);

impl Drop for EndLife {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Host);
    }
}

/// What is known of one vCPU's thread, and what it is asked for.
struct Desk {
    id: VcpuId,
    /// It is outside of `run` and waits.
    standing: bool,
    /// Its script is at its end.
    finished: bool,
    /// The thread has left.
    left: bool,
    /// It is to reset its vCPU so.
    reset: Option<VcpuConfig>,
    description: Description,
}

#[derive(Clone, PartialEq, Eq)]
enum Description {
    Unasked,
    Asked,
    Said(String),
}

/// What a vCPU's thread does next.
enum Order {
    Run,
    Reset(VcpuConfig),
    Describe,
    Leave,
}

/// What the thread that looks after the machine does next.
enum News {
    Over(Shutdown),
    /// All stand, and the machine is to be reset.
    Reset,
    /// No vCPU has anything left to do.
    Finished,
    /// The watchdog's time is over.
    Silence,
}

struct Book {
    desks: Vec<Desk>,
    /// Virtual time runs, and so may vCPUs.
    time_runs: bool,
    /// The first failure of a vCPU's thread.
    failure: Option<RunError>,
}

impl Book {
    fn new(ids: Vec<VcpuId>) -> Self {
        let desk = |id| Desk {
            id,
            standing: false,
            finished: false,
            left: false,
            reset: None,
            description: Description::Unasked,
        };
        Self {
            desks: ids.into_iter().map(desk).collect(),
            time_runs: false,
            failure: None,
        }
    }

    fn all(&self, test: impl Fn(&Desk) -> bool) -> bool {
        self.desks.iter().all(test)
    }
}

/// Where the threads of one machine meet.
struct Floor {
    book: Mutex<Book>,
    /// Something in the book or in the life has changed.
    changed: Condvar,
    kicks: Vec<Arc<dyn Kick>>,
    life: Arc<Life>,
    clock: Arc<dyn Clock>,
    watchdog: Option<Watchdog>,
}

/// Tells the floor of the life, which outlives it.
struct Watch(Weak<Floor>);

impl LifeWatch for Watch {
    fn state_changed(&self, _: RunState) {
        if let Some(floor) = self.0.upgrade() {
            floor.follow_life();
            floor.kick_all();
        }
    }
}

/// The parts that all threads use.
impl Floor {
    /// Makes time and waiting threads see what the life is now.
    fn follow_life(&self) {
        // Under the lock, and from the life itself: two changes may be told in any order.
        let mut book = lock(&self.book);
        if let (RunState::Running, Some(watchdog)) = (self.life.state(), &self.watchdog) {
            watchdog.start();
        }
        self.set_time(&mut book);
        self.changed.notify_all();
    }

    /// Time goes on before the first vCPU does, and stops when none runs any more: one that saw
    /// it after it stopped would see it go back.
    fn set_time(&self, book: &mut Book) {
        book.time_runs = match self.life.state() {
            RunState::Running | RunState::Resetting(_) => true,
            RunState::Paused | RunState::Shutdown(_) => {
                book.time_runs && !book.all(|desk| desk.standing || desk.left)
            }
        };
        self.clock.set_running(book.time_runs);
    }

    fn kick_all(&self) {
        self.kicks.iter().for_each(|kick| kick.kick());
    }

    fn wait<'a>(&self, book: MutexGuard<'a, Book>) -> MutexGuard<'a, Book> {
        let waited = self.changed.wait(book);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done`, or the machine's end, or `time` is over.
    fn wait_until(&self, time: Duration, done: impl Fn(&Book, RunState) -> bool) {
        let book = lock(&self.book);
        let not_done = |book: &mut Book| !done(book, self.life.state());
        // The caller looks by itself at what has come of it.
        drop(self.changed.wait_timeout_while(book, time, not_done));
    }

    fn over(&self) -> bool {
        matches!(self.life.state(), RunState::Shutdown(_))
    }
}

/// A vCPU's thread.
impl Floor {
    /// Serves one vCPU to the end, whatever that is.
    fn occupy(&self, index: usize, mut vcpu: Box<dyn Vcpu>) -> Option<Box<dyn Vcpu>> {
        let id = vcpu.id();
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.serve(index, &mut *vcpu).map_err(|source| {
                let state = vcpu.describe();
                RunError::Vcpu { id, state, source }
            })
        }));
        let failure = served.unwrap_or_else(|panic| {
            let message = message(&*panic);
            Err(RunError::Panicked { id, message })
        });
        let failed = failure.is_err();
        let mut book = lock(&self.book);
        if let Err(error) = failure {
            book.failure.get_or_insert(error);
        }
        book.desks[index].left = true;
        self.set_time(&mut book);
        drop(book);
        self.changed.notify_all();
        if failed {
            self.life.shutdown(Shutdown::Host);
        }
        (!failed).then_some(vcpu)
    }

    fn serve(&self, index: usize, vcpu: &mut dyn Vcpu) -> Result<(), AccelError> {
        loop {
            match self.next(index) {
                Order::Run => match vcpu.run()? {
                    Exit::Kicked => {}
                    Exit::Idle | Exit::Halted => vcpu.wait(),
                    // Whoever set the breakpoint goes on from here.
                    Exit::Debug => {
                        self.life.pause();
                    }
                    Exit::Finished => self.note(index, |desk| desk.finished = true),
                },
                Order::Reset(config) => {
                    vcpu.reset(&config)?;
                    self.note(index, |desk| {
                        desk.reset = None;
                        desk.finished = false;
                    });
                }
                Order::Describe => {
                    let text = vcpu.describe();
                    self.note(index, |desk| {
                        // Nobody may wait for it any more.
                        if desk.description == Description::Asked {
                            desk.description = Description::Said(text);
                        }
                    });
                }
                Order::Leave => return Ok(()),
            }
        }
    }

    fn note(&self, index: usize, note: impl FnOnce(&mut Desk)) {
        note(&mut lock(&self.book).desks[index]);
        self.changed.notify_all();
    }

    /// Waits until there is something to do.
    fn next(&self, index: usize) -> Order {
        let mut book = lock(&self.book);
        loop {
            let state = self.life.state();
            let desk = &mut book.desks[index];
            desk.standing = false;
            if matches!(state, RunState::Shutdown(_)) {
                return Order::Leave;
            }
            if desk.description == Description::Asked {
                return Order::Describe;
            }
            if let Some(config) = &desk.reset {
                return Order::Reset(config.clone());
            }
            if state == RunState::Running && !desk.finished && book.time_runs {
                return Order::Run;
            }
            book.desks[index].standing = true;
            self.set_time(&mut book);
            self.changed.notify_all();
            book = self.wait(book);
        }
    }
}

/// The thread that looks after the machine.
impl Floor {
    /// Starts the vCPUs' threads.
    fn start(self: &Arc<Self>, vcpus: Vec<Box<dyn Vcpu>>) -> Result<Vec<Thread>, RunError> {
        let start = |(index, vcpu): (usize, Box<dyn Vcpu>)| {
            let id = vcpu.id();
            let floor = self.clone();
            let body = move || floor.occupy(index, vcpu);
            let thread = Builder::new().name(format!("vcpu {id}")).spawn(body);
            thread.map_err(|source| RunError::Thread { id, source })
        };
        vcpus.into_iter().enumerate().map(start).collect()
    }

    fn look_after(&self, machine: &dyn Machine) -> Result<Shutdown, RunError> {
        loop {
            match self.news() {
                News::Over(why) => return Ok(why),
                News::Reset => self.reset(machine)?,
                News::Finished => self.life.shutdown(Shutdown::Host),
                News::Silence => self.break_silence(),
            }
        }
    }

    fn news(&self) -> News {
        let mut book = lock(&self.book);
        loop {
            let mut time = None;
            match self.life.state() {
                RunState::Shutdown(why) => return News::Over(why),
                RunState::Resetting(_) if book.all(|desk| desk.standing) => return News::Reset,
                RunState::Running if book.all(|desk| desk.finished) => return News::Finished,
                RunState::Running => time = self.watchdog.as_ref().map(Watchdog::wait),
                RunState::Resetting(_) | RunState::Paused => {}
            }
            book = match time {
                None => self.wait(book),
                Some(Duration::ZERO) => return News::Silence,
                Some(time) => {
                    let waited = self.changed.wait_timeout(book, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }

    /// Resets the machine and its vCPUs, which all stand.
    fn reset(&self, machine: &dyn Machine) -> Result<(), RunError> {
        let configs = machine.reset().map_err(RunError::Reset)?;
        let mut book = lock(&self.book);
        for desk in &mut book.desks {
            let config = configs.iter().find(|config| config.id == desk.id);
            desk.reset = Some(config.ok_or(RunError::NoConfig(desk.id))?.clone());
        }
        self.changed.notify_all();
        while !self.over() && !book.all(|desk| desk.reset.is_none() && desk.standing) {
            book = self.wait(book);
        }
        drop(book);
        self.life.reset_done();
        Ok(())
    }

    /// Has every vCPU describe itself, and reports that.
    fn break_silence(&self) {
        let Some(watchdog) = &self.watchdog else {
            return;
        };
        let quiet = watchdog.take();
        for desk in &mut lock(&self.book).desks {
            desk.description = Description::Asked;
        }
        self.changed.notify_all();
        self.kick_all();
        self.wait_until(ANSWER_TIME, |book, state| {
            let over = matches!(state, RunState::Shutdown(_));
            over || book.all(|desk| desk.description != Description::Asked)
        });
        let mut text = format!("no sign of life for {} s\n", quiet.as_secs());
        for desk in &mut lock(&self.book).desks {
            let said = std::mem::replace(&mut desk.description, Description::Unasked);
            let id = desk.id;
            // Writing to a string does not fail.
            let _ = match said {
                Description::Said(said) => writeln!(text, "vCPU {id}:\n{}", said.trim_end()),
                _ => writeln!(text, "vCPU {id} does not answer"),
            };
        }
        watchdog.report(&text);
    }

    /// Gathers the vCPUs of a machine that is over.
    fn gather(&self, threads: Vec<Thread>) -> Result<Vec<Box<dyn Vcpu>>, RunError> {
        self.wait_until(END_TIME, |book, _| book.all(|desk| desk.left));
        let stuck = lock(&self.book)
            .desks
            .iter()
            .find(|desk| !desk.left)
            .map(|desk| desk.id);
        if let Some(id) = stuck {
            return Err(RunError::Stuck(id));
        }
        // One that failed has said so in the book.
        Ok(threads
            .into_iter()
            .filter_map(|thread| thread.join().ok()?)
            .collect())
    }
}

type Thread = JoinHandle<Option<Box<dyn Vcpu>>>;

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// A panic elsewhere leaves the book right: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
