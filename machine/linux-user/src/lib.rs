//! User mode: ELF loading, Linux system calls, signals, threads and processes.
