//! Measures the detectors on labelled captures: `quality DATA [--report FILE] [--threshold] [--load] [--only PART]
//! [--interval SECONDS] [--hold-out] [--made]`; `--made` looks at the draws for development. `cargo xtask eval` runs it.
#![allow(dead_code, reason = "the test uses the rest")]

#[path = "../tests/quality/mod.rs"]
mod quality;

use std::{env, fs, path::PathBuf, time::Duration};

use quality::{Mode, measure, report::report};

fn main() -> anyhow::Result<()> {
    let mut data = PathBuf::new();
    let (mut only, mut to, mut seconds) = (String::new(), None, 10.0);
    let (mut threshold_only, mut load_only) = (false, false);
    let (mut made_only, mut hold_out_only) = (false, false);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_default();
        match arg.as_str() {
            "--report" => to = Some(value()),
            "--only" => only = value(),
            "--interval" => seconds = value().parse()?,
            "--threshold" => threshold_only = true,
            "--load" => load_only = true,
            "--made" => made_only = true,
            "--hold-out" => hold_out_only = true,
            _ => data = arg.into(),
        }
    }
    if made_only {
        let made = quality::made::made(quality::made::DEVELOPMENT, &only);
        print!(
            "{}\n{}",
            quality::made::report(&made),
            quality::made::listed(&made)
        );
        return Ok(());
    }
    if hold_out_only {
        print!("{}", quality::hold_out::hold_out(&data)?.text);
        return Ok(());
    }
    let interval = Duration::from_secs_f64(seconds);
    let mut text = String::from(include_str!("../tests/quality/head.md"));
    if !threshold_only && !load_only {
        text += &report("Full mode", &measure(&data, Mode::Full, interval, &only)?, true);
    }
    if to.is_some() {
        text += "\n";
        text += include_str!("../tests/quality/notes.md");
        text += "\n";
        text += &quality::hold_out::hold_out(&data)?.text;
        text += "\n";
        text += &quality::made::report(&quality::made::made(quality::made::REPORT, ""));
    }
    if to.is_some() || threshold_only {
        text += "\n";
        text += &report(
            "Threshold mode",
            &measure(&data, Mode::Threshold, interval, &only)?,
            false,
        );
    }
    if to.is_some() || load_only {
        let config = quality::config("", "", &[])?;
        let (flood, ordinary) = (
            quality::load::flood(&config, 10_000_000),
            quality::load::ordinary(&config, 10_000, 40),
        );
        text += "\n";
        text += &quality::load::report(&flood, &ordinary, config.detect.memory_bytes);
    }
    match to {
        Some(path) => fs::write(path, text)?,
        None => print!("{text}"),
    }
    Ok(())
}
