//! User-mode networking behind network devices.
