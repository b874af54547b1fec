//! What an argument of a system call is: enough to check its pointers and to print it.

/// Names for the bits (or values) of an argument.
#[derive(Debug)]
pub struct FlagSet {
    /// Bits that hold one of `values` rather than flags of their own (`O_ACCMODE`).
    pub field: u64,
    /// Names of the values of `field`.
    pub values: &'static [(u64, &'static str)],
    /// Names of single flags, or groups of bits that are set together; longer groups first.
    pub flags: &'static [(u64, &'static str)],
}

impl FlagSet {
    /// An argument that is one of `values`.
    #[must_use]
    pub const fn one_of(values: &'static [(u64, &'static str)]) -> Self {
        Self {
            field: u64::MAX,
            values,
            flags: &[],
        }
    }

    /// An argument that is a sum of `flags`.
    #[must_use]
    pub const fn sum_of(flags: &'static [(u64, &'static str)]) -> Self {
        Self {
            field: 0,
            values: &[],
            flags,
        }
    }
}

/// The kind of one argument. Where a kind refers to another argument, it is by index.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A signed 32-bit number.
    Int,
    /// A signed 64-bit number.
    Long,
    /// An unsigned 64-bit number, in decimal.
    Size,
    /// An unsigned 32-bit number, in decimal.
    Uint,
    /// A number best read in hexadecimal.
    Hex,
    /// An address that the kernel does not follow, or that the handler checks.
    Addr,
    /// A file mode, in octal.
    Mode,
    /// A file descriptor.
    Fd,
    /// A directory's file descriptor, or `AT_FDCWD`.
    DirFd,
    /// A signal number.
    Signal,
    /// Symbolic bits or values.
    Flags(&'static FlagSet),
    /// A path.
    Path,
    /// A NUL-terminated string that is no path.
    Str,
    /// A NULL-terminated array of strings; the handler checks it.
    Strings,
    /// A pointer whose target the handler itself checks.
    Ptr,
    /// A structure of this size, or NULL, which the kernel reads or writes.
    Struct(u32),
    /// Bytes that the kernel reads; that argument tells how many.
    In(u8),
    /// Bytes that the kernel writes; that argument tells how many.
    Out(u8),
    /// An array of elements of the given size; that argument tells how many.
    Array(u8, u32),
    /// `struct timespec`, which the kernel reads; or NULL.
    Timespec,
    /// `struct sockaddr` that the kernel reads; that argument tells its length.
    Sockaddr(u8),
    /// `struct iovec` array that the kernel reads from or writes to; the handler checks it.
    Iov(u8),
}

impl Kind {
    /// The bytes a pointer of this kind covers, given all arguments; `None` for no pointer or one
    /// that the handler checks.
    #[must_use]
    pub const fn extent(self, args: &[u64; 6]) -> Option<u64> {
        match self {
            Self::Struct(size) => Some(size as u64),
            Self::Timespec => Some(16),
            Self::In(len) | Self::Out(len) => Some(args[len as usize]),
            // Socket lengths are 32 bits.
            Self::Sockaddr(len) => Some(args[len as usize] as u32 as u64),
            Self::Array(count, size) => Some(args[count as usize].saturating_mul(size as u64)),
            // The end of a string is unknown; the kernel stops at the first unmapped page.
            Self::Path | Self::Str => Some(1),
            _ => None,
        }
    }
}
