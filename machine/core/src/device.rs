//! What a board does with every device, whatever it is.

/// A device of a board.
pub trait Device: Send + Sync {
    /// Back to the state after power-on.
    fn reset(&self);
}
