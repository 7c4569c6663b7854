//! The capabilities that `run` needs.

use std::fs;

use super::Outcome;

const NAME: &str = "capabilities";
/// Bits of capability.h. `CAP_SYS_ADMIN` stands for the two that came after it (5.8).
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38)];
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn check(checks: &mut Vec<Outcome>) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    checks.push(match effective(&status) {
        Some(effective) => grade(effective),
        None => Outcome::warning(
            NAME,
            "/proc/self/status does not tell them",
            "mount /proc to have them checked",
        ),
    });
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn grade(effective: u64) -> Outcome {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let has_needed = |name: &str, bit| has(bit) || (name != "CAP_NET_ADMIN" && has(CAP_SYS_ADMIN));
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(name, bit)| !has_needed(name, *bit))
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        Outcome::ok(NAME, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are there")
    } else {
        Outcome::denied(NAME, format!("this process lacks {}", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn what_is_missing_is_named() {
        let status = "Name:\tflowmeter\nCapEff:\t000000c000001000\n";
        assert_eq!(grade(effective(status).unwrap()).result, Grade::Ok);
        let admin = 1 << 12 | 1 << CAP_SYS_ADMIN;
        assert_eq!(grade(admin).result, Grade::Ok);
        let outcome = grade(1 << 39);
        assert_eq!(outcome.result, Grade::Denied);
        assert_eq!(outcome.found, "this process lacks CAP_NET_ADMIN, CAP_PERFMON");
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
