//! `meadow`, the command line.

mod args;
mod commands;
mod duration;
mod exit;
mod output;
mod prompt;
mod reference;
mod session;
mod suggest;
mod views;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error)),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = commands::run(arguments) => outcome,
            _ = tokio::signal::ctrl_c() => Err(exit::Failure::interrupted().into()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
