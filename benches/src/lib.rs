//! The side-by-side harness: native, QEMU and isomorph, interleaved, as ratios.
