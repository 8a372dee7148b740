//! The library on every backend: the same behaviours in this process and against a real server, what only a network
//! can do, and what only a script can do.

#![cfg(test)]

mod behavior;
mod encrypted;
mod network;
mod proxy;
mod scripted;
mod threads;
mod world;
