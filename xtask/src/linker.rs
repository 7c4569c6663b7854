//! bpf-linker, built for the LLVM of the compiler in use, in the target directory.

use std::{
    env, fs,
    io::IsTerminal,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    packages, process,
    toolchain::Toolchain,
    workspace::{Workspace, cargo},
};

const VERSION: &str = "0.13.0";
/// Downloads and compilation on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// The linker, installed if it is not there yet.
pub(crate) fn ensure(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let llvm = toolchain.version.llvm;
    let root = workspace.target.join(format!("bpf-toolchain/llvm-{llvm}"));
    let linker = root.join("bin/bpf-linker");
    if works(&linker) {
        return Ok(linker);
    }
    let library = ensure_llvm(toolchain)?;
    let prefix = root.join("llvm");
    link_library(&library, &prefix)?;
    process::step(&format!(
        "building bpf-linker {VERSION} for LLVM {llvm} (once, 1 to 2 minutes)"
    ));
    let mut install = Command::new(cargo());
    process::without_caller_settings(&mut install)
        .env("LLVM_PREFIX", &prefix)
        .args(["install", "bpf-linker", "--locked", "--force", "--no-track"])
        .args(["--version", VERSION, "--no-default-features", "--features"])
        .arg(format!("llvm-{llvm}"))
        .arg("--root")
        .arg(&root);
    if !std::io::stderr().is_terminal() {
        install.arg("--quiet");
    }
    process::run_within(&mut install, BUILD_LIMIT).context("building bpf-linker")?;
    if !works(&linker) {
        bail!(
            "the bpf-linker that was built does not run, see `{} --version`",
            linker.display()
        );
    }
    Ok(linker)
}

/// Also false if the LLVM that it was built with is gone.
fn works(linker: &Path) -> bool {
    Command::new(linker)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION))
}

fn ensure_llvm(toolchain: &Toolchain) -> Result<PathBuf> {
    let llvm = toolchain.version.llvm;
    if let Some(library) = find_llvm(toolchain) {
        return Ok(library);
    }
    let package = format!("libllvm{llvm}");
    if packages::can_install() && packages::candidate(&package).is_some() {
        process::step(&format!("installing {package} for bpf-linker"));
        packages::install(&[&package])?;
        if let Some(library) = find_llvm(toolchain) {
            return Ok(library);
        }
    }
    bail!(
        "bpf-linker needs the shared library of LLVM {llvm}: {}, or set LLVM_PREFIX to where lib/libLLVM.so is",
        packages::install_command(&[&package])
    )
}

/// `libLLVM.so.N...`: the caller's, the system's, then the one that rustup's compilers bring along.
fn find_llvm(toolchain: &Toolchain) -> Option<PathBuf> {
    let llvm = toolchain.version.llvm;
    let prefix = env::var_os("LLVM_PREFIX").map(|prefix| Path::new(&prefix).join("lib"));
    let mut directories: Vec<PathBuf> = prefix.into_iter().collect();
    directories.push(format!("/usr/lib/llvm-{llvm}/lib").into());
    directories.extend([PathBuf::from("/usr/lib64"), PathBuf::from("/usr/lib")]);
    directories.push(format!("/usr/lib/{}-linux-gnu", env::consts::ARCH).into());
    directories.push(toolchain.sysroot.join("lib"));
    directories
        .iter()
        .find_map(|directory| library_in(directory, llvm))
}

fn library_in(directory: &Path, llvm: u32) -> Option<PathBuf> {
    let wanted = format!("libLLVM.so.{llvm}.");
    let mut found: Vec<PathBuf> = directory
        .read_dir()
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop()
}

/// A prefix as bpf-linker's build wants it: `lib/libLLVM.so`, and the library under its own name for the
/// run-time search path that the build writes into the binary.
fn link_library(library: &Path, prefix: &Path) -> Result<()> {
    let directory = prefix.join("lib");
    let name = library.file_name().context("the LLVM library has no name")?;
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    for link in [directory.join("libLLVM.so"), directory.join(name)] {
        match fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", link.display()));
            }
            _ => symlink(library, &link).with_context(|| format!("creating {}", link.display()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_library_of_the_wanted_llvm_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "libLLVM.so.2.1",
            "libLLVM.so.21.1",
            "libLLVM.so.22.1",
            "libLLVM-22.so",
            "libLLVM.so",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found = library_in(directory.path(), 22);
        assert_eq!(found, Some(directory.path().join("libLLVM.so.22.1")));
        assert_eq!(library_in(directory.path(), 23), None);
    }

    #[test]
    fn the_prefix_can_be_made_twice() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("libLLVM.so.22.1");
        fs::write(&library, "llvm").unwrap();
        for _ in 0..2 {
            link_library(&library, &directory.path().join("prefix")).unwrap();
        }
        for name in ["libLLVM.so", "libLLVM.so.22.1"] {
            let linked = fs::read(directory.path().join("prefix/lib").join(name)).unwrap();
            assert_eq!(linked, b"llvm");
        }
    }
}
