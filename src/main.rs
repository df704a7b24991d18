//! The `lifeboat` program: parse, wire, run.

fn main() -> std::process::ExitCode {
    lifeboat::cli::main()
}
