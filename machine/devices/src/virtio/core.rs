//! What the two transports share: the device trait, feature negotiation, status, queue places.

use std::sync::Arc;

use thiserror::Error;

use super::queue::Place;
use super::signal::{ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, Signals};
use super::{Interrupt, Line, Memory, QueueError, VirtQueue};

/// Feature: descriptors may lead to tables of descriptors (§2.7.5.3).
pub(crate) const F_INDIRECT_DESC: u64 = 1 << 28;
/// Feature: notifications and interrupts name the index they wait for (§2.7.7).
pub(crate) const F_EVENT_IDX: u64 = 1 << 29;
/// Feature: this is not a legacy device.
pub(crate) const F_VERSION_1: u64 = 1 << 32;

const F_TRANSPORT: u64 = F_INDIRECT_DESC | F_EVENT_IDX | F_VERSION_1;

/// Why a device could not start.
#[derive(Debug, Error)]
pub enum ActivateError {
    /// The host gave no thread for it.
    #[error("no thread for the device")]
    Thread(#[source] std::io::Error),
}

/// What a device gets when its driver is ready.
pub struct Activation<M> {
    /// The features both sides agreed on.
    pub features: u64,
    /// One entry per queue; `None` for a queue that the driver did not set up.
    pub queues: Vec<Option<VirtQueue<M>>>,
    /// How to reach the driver.
    pub interrupt: Arc<dyn Interrupt>,
}

/// A virtio device, whatever carries it.
pub trait VirtioDevice<M: Memory>: Send {
    /// Its device type (§5).
    fn device_type(&self) -> u16;

    /// The largest size of each of its queues: powers of two.
    fn queue_sizes(&self) -> &[u16];

    /// The device's own features; the transport adds the ring's.
    fn features(&self) -> u64;

    /// Reads its configuration structure; bytes behind the end are zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes its configuration structure; what is read-only stays.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// The driver set `DRIVER_OK`.
    ///
    /// # Errors
    /// The device cannot start.
    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError>;

    /// The driver made buffers of `queue` available.
    ///
    /// # Errors
    /// The driver broke the ring's rules: the device then needs a reset.
    fn notify(&mut self, queue: u16) -> Result<(), QueueError>;

    /// Back to how it was before `activate`; when this returns nothing uses the queues.
    fn reset(&mut self);
}

/// The registers that both transports show, each in its own layout.
pub(crate) struct Core<M: Memory> {
    device: Box<dyn VirtioDevice<M>>,
    memory: Arc<M>,
    signals: Arc<Signals>,
    offered: u64,
    agreed: u64,
    active: bool,
    places: Vec<Place>,
    pub(crate) device_features_select: u32,
    pub(crate) driver_features_select: u32,
    pub(crate) queue_select: u16,
}

impl<M: Memory> Core<M> {
    pub(crate) fn new(
        device: Box<dyn VirtioDevice<M>>,
        memory: Arc<M>,
        line: Box<dyn Line>,
    ) -> (Self, Arc<Signals>) {
        let signals = Arc::new(Signals::new(line));
        let mut core = Core {
            offered: device.features() | F_TRANSPORT,
            device,
            memory,
            signals: Arc::clone(&signals),
            agreed: 0,
            active: false,
            places: Vec::new(),
            device_features_select: 0,
            driver_features_select: 0,
            queue_select: 0,
        };
        core.forget();
        (core, signals)
    }

    /// Everything that a reset puts back, save the device itself.
    fn forget(&mut self) {
        self.agreed = 0;
        self.active = false;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.queue_select = 0;
        let sizes = self.device.queue_sizes().iter();
        self.places = sizes
            .map(|&size| Place {
                size,
                ..Place::default()
            })
            .collect();
    }

    pub(crate) fn reset(&mut self) {
        self.device.reset();
        self.forget();
        self.signals.reset();
    }

    pub(crate) fn device_type(&self) -> u16 {
        self.device.device_type()
    }

    pub(crate) fn queue_count(&self) -> u16 {
        u16::try_from(self.places.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn queue_max(&self) -> u16 {
        let sizes = self.device.queue_sizes();
        sizes
            .get(usize::from(self.queue_select))
            .copied()
            .unwrap_or(0)
    }

    /// The selected queue's place; `None` when there is no such queue.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.places.get(usize::from(self.queue_select))
    }

    /// The selected queue's place, as long as the driver may change it (§4.2.3.2: not when ready).
    pub(crate) fn place_mut(&mut self) -> Option<&mut Place> {
        let place = self.places.get_mut(usize::from(self.queue_select))?;
        (!place.ready).then_some(place)
    }

    /// Enables the selected queue, or (mmio) takes it out of use.
    pub(crate) fn set_ready(&mut self, ready: bool) {
        if let Some(place) = self.places.get_mut(usize::from(self.queue_select)) {
            place.ready = ready;
        }
    }

    /// The window of the device's features that the driver selected.
    pub(crate) fn device_features(&self) -> u32 {
        feature_window(self.offered, self.device_features_select)
    }

    /// The window of the driver's features that the driver selected.
    pub(crate) fn driver_features(&self) -> u32 {
        feature_window(self.agreed, self.driver_features_select)
    }

    /// Features can change until `FEATURES_OK` is set (§3.1.1).
    pub(crate) fn set_driver_features(&mut self, bits: u32) {
        let shift = match self.driver_features_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        if self.signals.status() & FEATURES_OK == 0 {
            let keep = self.agreed & !(u64::from(u32::MAX) << shift);
            self.agreed = keep | (u64::from(bits) << shift);
        }
    }

    /// The driver writes the status register; zero resets (§2.1, §3.1.1).
    pub(crate) fn set_status(&mut self, status: u8) {
        if status == 0 {
            return self.reset();
        }
        let before = self.signals.status();
        let mut status = status;
        let agreeable = self.agreed & !self.offered == 0 && self.agreed & F_VERSION_1 != 0;
        if before & FEATURES_OK == 0 && !agreeable {
            status &= !FEATURES_OK;
        }
        let ready = ACKNOWLEDGE | DRIVER | FEATURES_OK;
        if status & DRIVER_OK != 0 && status & ready != ready {
            status &= !DRIVER_OK;
        }
        self.signals.set_status(status);
        if status & DRIVER_OK != 0 && !self.active {
            self.activate();
        }
    }

    fn activate(&mut self) {
        self.active = true;
        let rings = (
            self.agreed & F_INDIRECT_DESC != 0,
            self.agreed & F_EVENT_IDX != 0,
        );
        let mut queues = Vec::with_capacity(self.places.len());
        for (index, place) in (0u16..).zip(&self.places) {
            let interrupt: Arc<dyn Interrupt> = self.signals.clone();
            let memory = Arc::clone(&self.memory);
            let max = self.device.queue_sizes()[usize::from(index)];
            let queue =
                (place.ready).then(|| VirtQueue::new(index, place, max, memory, interrupt, rings));
            match queue.transpose() {
                Ok(queue) => queues.push(queue),
                Err(_) => return self.signals.needs_reset(),
            }
        }
        let interrupt: Arc<dyn Interrupt> = self.signals.clone();
        let activation = Activation {
            features: self.agreed,
            queues,
            interrupt,
        };
        if self.device.activate(activation).is_err() {
            self.signals.needs_reset();
        }
    }

    /// The driver rang the doorbell of `queue`; it counts only between `DRIVER_OK` and an error.
    pub(crate) fn notify(&mut self, queue: u32) {
        let Ok(queue) = u16::try_from(queue) else {
            return;
        };
        if !self.active || queue >= self.queue_count() || self.signals.is_broken() {
            return;
        }
        if self.device.notify(queue).is_err() {
            self.signals.needs_reset();
        }
    }

    pub(crate) fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.device.read_config(offset, data);
    }

    pub(crate) fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.device.write_config(offset, data);
    }
}

fn feature_window(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// Replaces the low or the high half of an address register.
pub(crate) fn set_half(register: &mut u64, high: bool, value: u32) {
    *register = if high {
        (*register & 0xffff_ffff) | (u64::from(value) << 32)
    } else {
        (*register & !0xffff_ffff) | u64::from(value)
    };
}
