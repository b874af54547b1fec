//! Boards: wiring as data, and the device tree derived from it.
