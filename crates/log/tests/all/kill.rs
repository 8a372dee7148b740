//! Killed at any moment, a log loses nothing that it had acknowledged.
