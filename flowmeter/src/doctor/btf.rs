//! BTF, the kernel's description of its own types.

use std::path::Path;

use super::Outcome;

const NAME: &str = "btf";
const FILE: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn check(checks: &mut Vec<Outcome>) {
    checks.push(if Path::new(FILE).exists() {
        Outcome::ok(NAME, FILE)
    } else {
        Outcome::warning(
            NAME,
            format!("there is no {FILE}"),
            "the meter does not need it; bpftool and others that look at its maps do (CONFIG_DEBUG_INFO_BTF)",
        )
    });
}
