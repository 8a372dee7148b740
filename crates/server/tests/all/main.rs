//! The service from outside.
