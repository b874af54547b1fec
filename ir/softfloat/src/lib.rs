//! IEEE 754 arithmetic in integers: every rounding mode, every flag, bit for bit.
