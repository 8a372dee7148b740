//! The behaviour of the library, on every backend.

mod once;
