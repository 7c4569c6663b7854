//! `build-ebpf`: the kernel programs, with BTF, at one well-known place.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{linker, process, toolchain::Toolchain, workspace::Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build even if nothing has changed
    #[arg(long)]
    force: bool,
}

const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};

/// Over the profile of the workspace, which is the agent's: one module, so that everything is inlined.
const PROFILE: [&str; 5] = [
    "profile.release.lto=\"fat\"",
    "profile.release.panic=\"abort\"",
    "profile.release.codegen-units=1",
    "profile.release.opt-level=3",
    "profile.release.debug=2",
];

/// What the object is made from.
const SOURCES: [&str; 4] = ["flowmeter-ebpf", "flowmeter-common", "Cargo.toml", "Cargo.lock"];

pub(crate) fn main(workspace: &Workspace, args: &Args) -> Result<()> {
    let toolchain = Toolchain::find_or_install()?;
    build(workspace, &toolchain, args.force)
}

/// Builds the object unless it is there and made from the same sources by the same compiler.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain, force: bool) -> Result<()> {
    let object = workspace.bpf_object();
    let bench = workspace.bench_object();
    let stamp = object.with_extension("stamp");
    let fingerprint = fingerprint(&workspace.root, toolchain)?;
    if !force
        && object.is_file()
        && bench.is_file()
        && fs::read_to_string(&stamp).is_ok_and(|text| text == fingerprint)
    {
        process::step(&format!(
            "the kernel programs are up to date: {}",
            object.display()
        ));
        return Ok(());
    }
    let linker = linker::ensure(workspace, toolchain)?;
    process::step(&format!(
        "building the kernel programs with {}",
        toolchain.version.text
    ));
    let mut command = Command::new(&toolchain.cargo);
    command.args(["build", "--release"]);
    process::run(for_bpf(&mut command, workspace, toolchain, &linker))?;
    let built = workspace.target.join("bpf").join(TARGET).join("release");
    put(&built.join("flowmeter-bench"), &bench)?;
    put(&built.join("flowmeter-ebpf"), &object)?;
    fs::write(&stamp, fingerprint).with_context(|| format!("writing {}", stamp.display()))?;
    process::step(&format!("the kernel programs are in {}", object.display()));
    Ok(())
}

/// Lints the kernel half, where its compiler has clippy.
pub(crate) fn lint(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let clippy = toolchain.sysroot.join("bin/cargo-clippy");
    if !clippy.is_file() {
        process::step(&format!(
            "not linted: flowmeter-ebpf, {} has no clippy beside it",
            toolchain.rustc.display()
        ));
        return Ok(());
    }
    process::step("clippy on the kernel half");
    let linker = linker::ensure(workspace, toolchain)?;
    let mut command = Command::new(&clippy);
    command.args(["clippy", "--release"]);
    for_bpf(&mut command, workspace, toolchain, &linker)
        // cargo-clippy calls the cargo that this names.
        .env("CARGO", &toolchain.cargo)
        .args(["--", "-D", "warnings"]);
    process::run(&mut command)
}

fn for_bpf<'a>(
    command: &'a mut Command,
    workspace: &Workspace,
    toolchain: &Toolchain,
    linker: &Path,
) -> &'a mut Command {
    let mut flags = rustflags();
    flags.push(format!("-Clinker={}", linker.display()));
    process::without_caller_settings(command)
        .current_dir(&workspace.root)
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .args(["--package", "flowmeter-ebpf", "--target", TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(workspace.target.join("bpf"))
        .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
}

fn rustflags() -> Vec<String> {
    vec![
        // aya-ebpf's types for the host's registers.
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // 32-bit atomics, which the counters of flags use.
        "-Ctarget-cpu=v3".to_owned(),
        // The verifier allows them on packets; without it each wide load is taken apart into bytes.
        "-Ctarget-feature=+allows-misaligned-mem-access".to_owned(),
    ]
}

/// Everything that the object depends on, as a number. Contents, not times: a checkout changes times.
fn fingerprint(root: &Path, toolchain: &Toolchain) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    (TARGET, PROFILE, rustflags()).hash(&mut hasher);
    (&toolchain.rustc, &toolchain.version.text).hash(&mut hasher);
    for source in SOURCES {
        for file in files(&root.join(source))? {
            file.strip_prefix(root).unwrap_or(&file).hash(&mut hasher);
            fs::read(&file)
                .with_context(|| format!("reading {}", file.display()))?
                .hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// All files under `path` in a fixed order, less build output.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = path
        .read_dir()
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .with_context(|| format!("reading {}", path.display()))?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.file_name().is_some_and(|name| name == "target") {
            continue;
        }
        found.extend(files(&entry)?);
    }
    Ok(found)
}

/// Copies in one step, and only what differs: the agent is not built again for the same bytes.
fn put(built: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("reading {}", built.display()))?;
    match fs::read(object) {
        Ok(old) if old == bytes => return Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", object.display()));
        }
        _ => {}
    }
    let new = object.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, object))
        .with_context(|| format!("writing {}", object.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_a_fixed_order_without_build_output() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["src/b.rs", "src/a.rs", "target/debug/x", "Cargo.toml"] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found: Vec<_> = files(directory.path())
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(directory.path()).unwrap().to_owned())
            .collect();
        assert_eq!(found, ["Cargo.toml", "src/a.rs", "src/b.rs"].map(PathBuf::from));
    }

    #[test]
    fn the_same_object_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let (built, object) = (directory.path().join("built"), directory.path().join("object.o"));
        fs::write(&built, "1").unwrap();
        put(&built, &object).unwrap();
        let first = object.metadata().unwrap().modified().unwrap();
        put(&built, &object).unwrap();
        assert_eq!(object.metadata().unwrap().modified().unwrap(), first);
        fs::write(&built, "2").unwrap();
        put(&built, &object).unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"2");
    }
}
