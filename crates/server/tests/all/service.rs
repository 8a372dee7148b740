//! Doors, keys, limits, certificates, drain.
