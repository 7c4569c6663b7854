//! `flowmeter replay`

mod follow;

use std::{
    io::{self, IsTerminal, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    capture::{
        format::Reading,
        input::BytesRead,
        problem::Problem,
        replay::{self, FileSource, Interval, Replay, Source},
    },
    cli,
    emit::{Closed, FileAccount, Summary},
    pipeline::{InterfaceNames, Pipeline},
};

/// Problems of all files that are told one by one; of the others only the number is.
const TOLD: usize = 20;

pub(super) fn run(arguments: &cli::Replay) -> Result<()> {
    let config = super::load(&arguments.sources())?.config;
    let mut pipeline = Pipeline::new(&config)?;
    if let Some(state) = &arguments.state {
        pipeline.remember(state)?;
    }
    if arguments.follow {
        return follow::run(arguments, &config, pipeline);
    }
    let files = files(&arguments.files)?;
    if arguments.summary {
        pipeline.summarise();
    }
    let bytes_read = BytesRead::default();
    let progress = progress(&files);
    let reading = Reading {
        format: arguments.format,
        start_ns: arguments.start.map(nanoseconds),
        zone: TimeZone::system(),
    };
    let reader = reading.reader();
    let sources = files
        .iter()
        .map(|file| Box::new(FileSource::new(file, &bytes_read, &reader)) as Box<dyn Source>)
        .collect();
    let mut replay = Replay::new(sources, config.capture.interval, config.capture.tunnels);
    if let Some(until) = arguments.until {
        replay.until(nanoseconds(until));
    }
    let mut problems = Problems::default();
    let mut names = InterfaceNames::new();
    let mut late_items = 0;
    let mut next = replay.next_interval();
    let finished = loop {
        problems.take(&mut replay, &progress);
        let Some(mut interval) = next else {
            break pipeline.finish(0..0, &names);
        };
        late_items += interval.late_items;
        let span = take(&mut interval, &replay, &mut pipeline, &mut names);
        next = replay.next_interval();
        if next.is_none() {
            problems.take(&mut replay, &progress);
            break pipeline.finish(span, &names);
        }
        if let Err(closed) = pipeline.close_interval(span, &names) {
            break Err(closed.into());
        }
        progress.set_position(bytes_read.load(Ordering::Relaxed));
    };
    progress.finish_and_clear();
    let (account, summary) = match finished {
        // A reader such as `head` wants no more: that is no failure.
        Err(error) if error.is::<Closed>() => return Ok(()),
        finished => finished?,
    };
    if late_items > 0 {
        log::warn!(
            "{late_items} packets or lines came when their interval was over; they stand in a later one"
        );
    }
    if replay.left_out() > 0 {
        log::info!("{} packets or lines were left out for --until", replay.left_out());
    }
    if let Some(summary) = summary {
        print_summary(&summary, arguments.output.as_deref())?;
    }
    problems.verdict(&account)
}

/// Hands an interval to the pipeline, to be closed; answers with its time.
fn take(
    interval: &mut Interval,
    replay: &Replay,
    pipeline: &mut Pipeline,
    names: &mut InterfaceNames,
) -> Range<u64> {
    for (ifindex, name) in replay.interfaces().iter().skip(names.len()) {
        names.insert(ifindex, name.to_owned());
    }
    pipeline.take(&mut interval.batch);
    pipeline.take_slices(&mut interval.slices);
    if interval.synthetic {
        pipeline.mark_synthetic();
    }
    interval.start_ns..interval.end_ns
}

/// Since the Unix epoch; 0 for what was before.
fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

/// Events on standard output must not be mixed with anything else.
fn print_summary(summary: &Summary, output: Option<&str>) -> Result<()> {
    if output == Some("-") {
        return write!(io::stderr(), "{summary}").context("cannot write to standard error");
    }
    super::print(summary.to_string())
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let found = replay::files(path).with_context(|| format!("cannot read folder {}", path.display()))?;
        if found.is_empty() {
            bail!("no file in folder {}", path.display());
        }
        files.extend(found);
    }
    Ok(files)
}

/// A bar with rate and time left on a terminal, nothing elsewhere.
fn progress(files: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes = files
        .iter()
        .map(|file| std::fs::metadata(file).map(|meta| meta.len()))
        .collect::<io::Result<Vec<_>>>();
    let bar = match sizes {
        Ok(sizes) if !files.iter().any(|file| file == Path::new("-")) => {
            let style = "{bar:30} {percent}% of {total_bytes}, {bytes_per_sec}, {eta} left";
            ProgressBar::new(sizes.iter().sum()).with_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        }
        _ => {
            let style = "{spinner} {bytes}, {bytes_per_sec}";
            ProgressBar::no_length().with_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner()),
            )
        }
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What was wrong with the files.
#[derive(Default)]
struct Problems {
    met: usize,
    lost: usize,
}

impl Problems {
    fn take(&mut self, replay: &mut Replay, progress: &ProgressBar) {
        for problem in replay.take_problems() {
            self.met += 1;
            self.lost += usize::from(Problem::is_loss(&problem));
            if self.met <= TOLD {
                progress.suspend(|| log::warn!("{problem}"));
            }
        }
    }

    /// An error if anything of the files was not used, or not written.
    fn verdict(&self, account: &FileAccount) -> Result<()> {
        if let Some(more) = self.met.checked_sub(TOLD).filter(|more| *more > 0) {
            log::warn!("{more} more problems like these");
        }
        if account.withheld_lines > 0 {
            bail!("{} events could not be written", account.withheld_lines);
        }
        if self.lost > 0 {
            bail!("the files could not be read in full; what could be read was used");
        }
        Ok(())
    }
}
