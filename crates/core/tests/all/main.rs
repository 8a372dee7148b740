//! Everything that tries to break the rules: scripts, random commands against a naive model, and a small world looked
//! through exhaustively.

mod bounds;
mod commands;
mod naive;
mod properties;
mod scripts;
mod small_world;
