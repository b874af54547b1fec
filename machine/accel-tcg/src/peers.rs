//! The vCPUs of a machine, as firmware reaches them.

use crate::time::{Listener, Time};
use isomorph_engine::{Engine, Mailbox};
use isomorph_frontend::{SystemGuest, TimeScale};
use isomorph_machine::{Everyone, Peers, Work};
use isomorph_softmmu::ViewWatch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

type Mail<G> = Arc<Mailbox<<G as isomorph_frontend::Guest>::State>>;

/// The mailboxes of a machine's vCPUs, by number.
pub(crate) struct All<G: SystemGuest> {
    engine: Arc<Engine<G>>,
    mail: RwLock<Vec<Mail<G>>>,
    /// Set when the machine is complete.
    pub time: OnceLock<Arc<Time>>,
}

impl<G: SystemGuest> All<G> {
    pub fn new(engine: Arc<Engine<G>>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            mail: RwLock::default(),
            time: OnceLock::new(),
        })
    }

    pub fn add(&self, mail: Mail<G>) {
        let mut all = self.mail.write().unwrap_or_else(PoisonError::into_inner);
        all.push(mail);
    }

    fn each(&self, work: impl Fn(&Mail<G>)) {
        let all = self.mail.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().for_each(work);
    }

    fn get(&self, id: u32) -> Option<Mail<G>> {
        let all = self.mail.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id as usize).cloned()
    }
}

impl<G: SystemGuest> ViewWatch for All<G> {
    fn view_changed(&self) {
        self.each(|vcpu| vcpu.flush());
    }
}

impl<G: SystemGuest> Listener for All<G> {
    fn scale_changed(&self, scale: TimeScale) {
        self.each(|vcpu| {
            vcpu.post(Box::new(move |state| G::set_time_scale(state, scale)));
            // What it waits for comes at another time now.
            vcpu.timer();
        });
    }
}

impl<G: SystemGuest> Peers<G::State> for All<G> {
    fn count(&self) -> u32 {
        let all = self.mail.read().unwrap_or_else(PoisonError::into_inner);
        all.len() as u32
    }

    fn post(&self, id: u32, work: Work<G::State>) {
        if let Some(vcpu) = self.get(id) {
            vcpu.post(work);
        }
    }

    fn run_on(&self, ids: &[u32], work: Everyone<G::State>) {
        // Before they are called: what they enter then is new.
        self.engine.fence_instructions();
        let vcpus = ids.iter().filter_map(|&id| self.get(id));
        let waiting: Vec<_> = vcpus
            .map(|vcpu| {
                let done = Arc::new(AtomicBool::new(false));
                let (work, is_done) = (work.clone(), done.clone());
                vcpu.post(Box::new(move |state| {
                    work(state);
                    is_done.store(true, Ordering::SeqCst);
                }));
                (vcpu, done)
            })
            .collect();
        // One that is not in generated code sees to its mailbox before it is there again. The
        // caller is not, so two that wait for each other both go on, whatever the others do.
        for (vcpu, done) in waiting {
            while !done.load(Ordering::SeqCst) && vcpu.is_running() {
                std::thread::yield_now();
            }
        }
    }

    fn start(&self, id: u32, work: Work<G::State>) {
        if let Some(vcpu) = self.get(id) {
            vcpu.start(work);
        }
    }

    fn ticks(&self) -> u64 {
        self.time.get().map_or(0, |time| time.ticks())
    }
}
