//! The run loop: block table, chaining, invalidation, safe points.
