//! Guest-physical address space: RAM, immutable flat views, MMIO routing, dirty tracking.
