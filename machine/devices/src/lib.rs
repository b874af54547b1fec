//! Devices: one folder per family, tested without a CPU.
