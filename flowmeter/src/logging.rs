//! Log lines on standard error: short in the journal, which has the time and the name itself.

use std::{env, io::Write};

use log::{Level, LevelFilter};
use nix::sys::stat::fstat;

/// Sets up the log for the life of the process. Other crates' messages are shown from warnings on, and at
/// `trace` all of them.
pub fn init(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    if level == LevelFilter::Trace {
        builder.filter_level(level);
    } else {
        builder
            .filter_level(level.min(LevelFilter::Warn))
            .filter_module("flowmeter", level);
    }
    if in_journal() {
        // sd-daemon(3): a leading <N> is the message's priority.
        builder.format(|out, record| writeln!(out, "<{}>{}", priority(record.level()), record.args()));
    } else {
        builder.format_target(false).format_timestamp_secs();
    }
    // A second call, as in tests, keeps the first logger.
    let _ = builder.try_init();
}

/// syslog(3)
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// systemd.exec(5): `JOURNAL_STREAM` holds device and inode of the journal's socket. It is inherited, so standard
/// error may have been sent elsewhere since; then the numbers differ.
fn in_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(std::io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
