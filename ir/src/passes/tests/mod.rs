//! Passes on text files and on random regions: before and after must run alike.

mod bits;
mod compare;
mod files;
mod generate;
mod random;
