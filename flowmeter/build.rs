//! Finds the kernel programs for `include_bytes_aligned!(env!("FLOWMETER_BPF_OBJECT"))`.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Names the object, for builds whose target directory does not hold it.
const VARIABLE: &str = "FLOWMETER_BPF_OBJECT";

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    match find() {
        Ok(object) => {
            println!("cargo::rerun-if-changed={}", object.display());
            println!("cargo::rustc-env={VARIABLE}={}", object.display());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("cargo::error={problem}; make it with: cargo xtask build-ebpf");
            ExitCode::FAILURE
        }
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(VARIABLE) {
        let object = PathBuf::from(named);
        return match object.canonicalize() {
            Ok(object) if object.is_file() => Ok(object),
            _ => Err(format!(
                "the kernel programs are not at {}, which {VARIABLE} names",
                object.display()
            )),
        };
    }
    // OUT_DIR lies in the target directory, at a depth that depends on --target and on cargo's version.
    let out = env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?;
    Path::new(&out)
        .ancestors()
        .map(|directory| directory.join("bpf/flowmeter.bpf.o"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            "the kernel programs (bpf/flowmeter.bpf.o in the target directory) are missing".to_owned()
        })
}
