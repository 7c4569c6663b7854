//! The clock: an event's time is only worth what the clock is.

use std::{io, mem};

use super::Outcome;

const NAME: &str = "clock";
/// adjtimex(2): the clock is not synchronised.
const TIME_ERROR: i32 = 5;

pub(super) fn check(checks: &mut Vec<Outcome>) {
    checks.push(look());
}

pub(super) fn look() -> Outcome {
    match state() {
        Ok((TIME_ERROR, _)) => Outcome::warning(
            NAME,
            "it is not synchronised: events cannot be put in order with those of other hosts",
            "start a time service: systemctl enable --now systemd-timesyncd (or chrony)",
        ),
        Ok((_, error_us)) => Outcome::ok(
            NAME,
            format!("synchronised, at most {} ms off", error_us.div_euclid(1000)),
        ),
        // Containers and sandboxes forbid the call.
        Err(error) => Outcome::warning(
            NAME,
            format!("the kernel does not tell whether it is synchronised: {error}"),
            "look on the host: timedatectl",
        ),
    }
}

/// State, and greatest error in microseconds.
fn state() -> io::Result<(i32, i64)> {
    // SAFETY: of integers, for which zero is a value; with `modes` zero nothing is set.
    let mut time: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the kernel fills in the structure that it is lent.
    match unsafe { libc::adjtimex(&raw mut time) } {
        -1 => Err(io::Error::last_os_error()),
        state => Ok((state, time.maxerror)),
    }
}
