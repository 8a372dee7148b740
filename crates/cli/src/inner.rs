//! Names under which the program is something else than its command line: the sentinel's two inner commands, and
//! `server`, as DoubleDutch's program is called.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use crate::sentinel;

/// Runs what the program is called as, if that is not its command line.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    if Path::new(&program).file_name() == Some(OsStr::new("server")) {
        return Some(crate::commands::doubledutch::run(arguments.collect()));
    }
    let first: OsString = arguments.next()?;
    match first.to_str()? {
        sentinel::SENTINEL => Some(sentinel::watch(arguments)),
        sentinel::RUN => Some(sentinel::run(arguments)),
        // Its words are not flags: `tenure doubledutch 8000 n NAME`.
        "doubledutch" => Some(crate::commands::doubledutch::run(arguments.collect())),
        _ => None,
    }
}
