//! The kernel's version, and what it offers of what the meter can use.

use std::fs;

use nix::sys::utsname::uname;

use super::{Outcome, site::Site};

const NAME: &str = "kernel";
/// The oldest on which everything is used.
const SUPPORTED: (u32, u32) = (5, 15);
/// The oldest on which anything works.
const LEAST: (u32, u32) = (5, 10);

pub(super) fn check(site: &Site<'_>, checks: &mut Vec<Outcome>) {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    checks.push(version(&release));
    checks.push(match &site.features {
        Ok(features) => {
            let list = [
                (features.tcx, "TCX links (6.6)"),
                (features.xdp_multi_buffer, "XDP over several buffers (5.18)"),
                (features.coarse_clock, "coarse clock (5.11)"),
            ];
            let those = |with: bool| {
                let names = list.iter().filter(|(has, _)| *has == with).map(|(_, name)| *name);
                names.collect::<Vec<_>>().join(", ")
            };
            match (those(true), those(false)) {
                (has, lacks) if lacks.is_empty() => Outcome::ok(NAME, format!("has {has}")),
                (has, lacks) => Outcome::warning(
                    NAME,
                    format!("lacks {lacks}; has {}", if has.is_empty() { "none" } else { &has }),
                    "nothing has to be done: clsact and TC take their place; a later kernel costs less per packet",
                ),
            }
        }
        Err(error) => Outcome::of_error(NAME, error, "use a kernel with CONFIG_BPF_SYSCALL"),
    });
    // Without the file the compiler is always on (CONFIG_BPF_JIT_ALWAYS_ON) or out of sight, as in the service.
    if fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").is_ok_and(|text| text.trim() == "0") {
        checks.push(Outcome::warning(
            NAME,
            "BPF programs are interpreted, which makes each packet several times as dear",
            "sysctl net.core.bpf_jit_enable=1",
        ));
    }
}

fn version(release: &str) -> Outcome {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Outcome::warning(
            NAME,
            format!("the version {release:?} is not understood"),
            "the checks below tell what it can do",
        );
    };
    match (major, minor) {
        version if version >= SUPPORTED => Outcome::ok(NAME, format!("Linux {release}")),
        version if version >= LEAST => Outcome::warning(
            NAME,
            format!("Linux {release} is older than 5.15, from which on everything is used"),
            "the checks below tell what it can do",
        ),
        _ => Outcome::failure(
            NAME,
            format!("Linux {release} is too old"),
            "use 5.15 or later, or a kernel to which its BPF was carried back",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn versions_are_graded_by_what_works_on_them() {
        let graded = |release: &str| version(release).result;
        assert_eq!(graded("6.18.44"), Grade::Ok);
        assert_eq!(graded("5.15.0-91-generic"), Grade::Ok);
        assert_eq!(graded("5.14.0-427.el9.x86_64"), Grade::Warning);
        assert_eq!(graded("5.4.0-1"), Grade::Failure);
        assert_eq!(graded("7-rc1"), Grade::Warning);
        assert_eq!(graded(""), Grade::Warning);
    }
}
