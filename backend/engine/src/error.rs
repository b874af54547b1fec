//! Why the engine could not do its work.

use isomorph_code::CodeError;

/// A failure of the engine itself, never of the guest.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The host processor lacks something that generated code uses.
    #[error(
        "this processor lacks {}: isomorph needs x86-64-v3 (AVX2, BMI2, FMA, MOVBE)",
        .missing.join(", ")
    )]
    Processor {
        /// The missing features.
        missing: Vec<&'static str>,
    },
    /// Code memory could not be had.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// Memory for a vCPU could not be had.
    #[error("cannot map {size} bytes for a vCPU")]
    VcpuMemory {
        /// Bytes asked for.
        size: usize,
        /// What the host said.
        source: std::io::Error,
    },
    /// Tier 1 refused what the front end emitted for one instruction: a defect of isomorph.
    #[error("cannot compile the instruction at {pc:#x}; please report this")]
    Compile {
        /// Guest address of the instruction.
        pc: u64,
        /// What tier 1 said.
        source: isomorph_baseline::EmitError,
    },
    /// The host could not give a page of guest RAM.
    #[error("the host has no memory left for the guest's RAM (at guest address {pc:#x})")]
    HostMemory {
        /// Guest address of the instruction.
        pc: u64,
    },
    /// A block came out larger than an empty code region.
    #[error("code memory of {size} bytes is too small for one block; ask for more")]
    CodeTooSmall {
        /// Size of the region.
        size: usize,
    },
}
