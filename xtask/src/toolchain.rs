//! The compiler for the BPF target.
//!
//! `bpfel-unknown-none` is a tier 3 target: `core` is built from source, so the compiler must have its own
//! sources beside it. Any recent one does, stable too (`RUSTC_BOOTSTRAP=1` opens what is needed).

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    packages, process,
    workspace::{cargo, which},
};

/// Names the compiler to take.
const RUSTC_VARIABLE: &str = "FLOWMETER_BPF_RUSTC";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "libllvm22"];
/// LLVM versions that bpf-linker can be built for.
pub(crate) const LLVM_VERSIONS: std::ops::RangeInclusive<u32> = 21..=23;
/// The workspace's rust-version, 1.N.
const MIN_MINOR: u32 = 95;
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    /// The cargo to drive it with.
    pub(crate) cargo: OsString,
    pub(crate) sysroot: PathBuf,
    pub(crate) version: Version,
}

/// What `rustc -vV` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its first line.
    pub(crate) text: String,
    pub(crate) minor: u32,
    pub(crate) llvm: u32,
}

impl Toolchain {
    /// The compiler that is there, or else the one that was installed.
    pub(crate) fn find_or_install() -> Result<Self> {
        if let Some(found) = Self::find()? {
            return Ok(found);
        }
        install()?;
        Self::find()?.context("the compiler that was installed has no sources of core")
    }

    fn find() -> Result<Option<Self>> {
        if let Some(rustc) = env::var_os(RUSTC_VARIABLE) {
            return Self::at(Path::new(&rustc), cargo())
                .and_then(Self::checked)
                .map(Some)
                .with_context(|| format!("using the compiler that {RUSTC_VARIABLE} names"));
        }
        let nightly = nightly_rustc().and_then(|rustc| {
            // build-std follows the layout of the library's sources, so a nightly is driven by its own cargo.
            let cargo = rustc.with_file_name("cargo");
            Self::at(&rustc, cargo.into_os_string()).ok()
        });
        let found = nightly
            .into_iter()
            .chain(callers_rustc().and_then(|rustc| Self::at(&rustc, cargo()).ok()))
            .chain(Self::at(Path::new(DEBIAN_RUSTC), cargo()).ok())
            .find_map(|candidate| candidate.checked().ok());
        Ok(found)
    }

    fn at(rustc: &Path, cargo: OsString) -> Result<Self> {
        let version = Version::parse(&process::output(Command::new(rustc).arg("-vV"))?)?;
        let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]))?;
        Ok(Self {
            rustc: rustc.to_owned(),
            cargo,
            sysroot: PathBuf::from(sysroot.trim_end()),
            version,
        })
    }

    fn checked(self) -> Result<Self> {
        let core = self.sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !core.is_file() {
            bail!(
                "{} has no sources of core: {} is missing",
                self.rustc.display(),
                core.display()
            );
        }
        let Version { minor, llvm, .. } = self.version;
        if minor < MIN_MINOR {
            bail!(
                "{} is 1.{minor}, at least 1.{MIN_MINOR} is needed",
                self.rustc.display()
            );
        }
        if !LLVM_VERSIONS.contains(&llvm) {
            bail!(
                "{} has LLVM {llvm}, bpf-linker is made for {} to {}",
                self.rustc.display(),
                LLVM_VERSIONS.start(),
                LLVM_VERSIONS.end()
            );
        }
        Ok(self)
    }

    pub(crate) fn is_debian(&self) -> bool {
        self.rustc == Path::new(DEBIAN_RUSTC)
    }
}

impl Version {
    fn parse(verbose: &str) -> Result<Self> {
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
        let number = |text: &str| {
            text.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .ok()
        };
        Ok(Self {
            text: verbose.lines().next().unwrap_or_default().to_owned(),
            minor: field("release: 1.")
                .and_then(number)
                .context("rustc -vV names no release")?,
            llvm: field("LLVM version: ")
                .and_then(number)
                .context("rustc -vV names no LLVM version")?,
        })
    }
}

/// rustup, told not to download anything on its own account.
fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stderr(std::process::Stdio::null());
    command
}

fn nightly_rustc() -> Option<PathBuf> {
    which("rustup")?;
    let output = rustup()
        .args(["which", "--toolchain", "nightly", "rustc"])
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim_end()))
}

/// The compiler itself, not rustup's stand-in, which would go by the directory it is called in.
fn callers_rustc() -> Option<PathBuf> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
    Some(Path::new(sysroot.trim_end()).join("bin/rustc"))
}

fn install() -> Result<()> {
    let by_apt = packages::install_command(&DEBIAN_PACKAGES);
    let advice = format!(
        "a compiler with the sources of core is needed for the kernel programs; install one by\n    \
         rustup component add rust-src\n  or, on Debian,\n    {by_apt}\n  \
         or name a rustc that has them in {RUSTC_VARIABLE}"
    );
    if packages::can_install() {
        packages::ensure_lists()?;
        if debian_is_new_enough() {
            process::step(&format!(
                "installing {} (170 MB), a compiler with the sources of core",
                DEBIAN_PACKAGES.join(" ")
            ));
            return packages::install(&DEBIAN_PACKAGES).context(advice);
        }
    }
    if which("rustup").is_none() {
        bail!(advice);
    }
    process::step("installing the sources of core: rustup component add rust-src");
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rust-src"])
        .stdout(std::io::stderr());
    process::run_within(&mut add, DOWNLOAD_LIMIT).context(advice)
}

fn debian_is_new_enough() -> bool {
    let minor = packages::candidate(DEBIAN_PACKAGES[0]).and_then(|version| {
        version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse::<u32>().ok())
    });
    minor.is_some_and(|minor| minor >= MIN_MINOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_rustc_prints() {
        let text = "rustc 1.97.0-nightly (abc 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.8\n";
        assert_eq!(
            Version::parse(text).unwrap(),
            Version {
                text: "rustc 1.97.0-nightly (abc 2026-05-25)".to_owned(),
                minor: 97,
                llvm: 22
            }
        );
    }

    #[test]
    fn a_compiler_without_an_llvm_line_is_refused() {
        let error = Version::parse("rustc 1.96.0\nrelease: 1.96.0\n").unwrap_err();
        assert_eq!(error.to_string(), "rustc -vV names no LLVM version");
    }
}
