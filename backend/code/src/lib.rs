//! Code memory: one region mapped twice, writable and executable, with aligned atomic patching.
