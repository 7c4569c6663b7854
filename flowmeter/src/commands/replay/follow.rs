//! `flowmeter replay --follow`: the events of a log that another program goes on writing.
//!
//! One step is what has come since the last one. Its lines become events, the events are kept with the place in
//! the log, are written, and then the step is over ([`Follower`] says what that makes sure of). So every line is in
//! the events once, also when this process is killed.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Cursor},
    mem::{Discriminant, discriminant},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, tz::TimeZone};
use tokio::signal::unix::{SignalKind, signal};

use super::{nanoseconds, take};
use crate::{
    capture::{
        follow::Follower,
        format::Reading,
        input::Input,
        problem::{Problem, What},
        replay::Replay,
    },
    cli,
    config::Config,
    emit::Closed,
    pipeline::{InterfaceNames, Pipeline},
};

/// Bytes of lines that one step holds, about.
const STEP_BYTES: usize = 16 << 20;
/// How long to wait before a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &cli::Replay, config: &Config, pipeline: Pipeline) -> Result<()> {
    let [log] = arguments.files.as_slice() else {
        bail!("--follow takes one file");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(follow(arguments, config, log, pipeline)) {
        // A reader such as `head` wants no more: that is no failure.
        Err(error) if error.is::<Closed>() => Ok(()),
        result => result,
    }
}

async fn follow(arguments: &cli::Replay, config: &Config, log: &Path, mut pipeline: Pipeline) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let place = place(arguments)?;
    let mut steps = Steps {
        follower: Follower::open(log, &place)?,
        reading: Reading {
            format: arguments.format,
            start_ns: arguments.start.map(nanoseconds),
            zone: TimeZone::system(),
        },
        replay: Replay::new(Vec::new(), config.capture.interval, config.capture.tunnels),
        names: InterfaceNames::new(),
        told: HashSet::new(),
        // What can be read again is looked at after a kill; a stream cannot be.
        event_file: regular(&config.output.path),
        end_ns: 0,
    };
    pipeline.hold();
    let unfinished = steps.follower.unfinished_events();
    pipeline.writer().resume(&unfinished);
    // Also if nothing is missing: the step before is to be ended.
    let mut waiting = true;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = std::future::ready(()), if waiting => {
                // Not over before it is written, however long the disk is full.
                if !write(&mut pipeline)? {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                steps.follower.commit()?;
                waiting = false;
            }
            read = async { steps.read() } => {
                if read? {
                    steps.events(&mut pipeline)?;
                    waiting = true;
                } else {
                    tokio::select! {
                        () = steps.follower.changed() => {}
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                    }
                }
            }
        }
    }
    if waiting {
        log::warn!("the events of the last lines are not written yet; the next start writes them");
        return Ok(());
    }
    // Only ends of connections are left: every line is in an event.
    pipeline.finish(steps.end_ns..steps.end_ns, &steps.names)?;
    Ok(())
}

/// True once nothing is left to write.
fn write(pipeline: &mut Pipeline) -> Result<bool, Closed> {
    pipeline.writer().release(Instant::now())?;
    Ok(pipeline.writer().pending().is_empty())
}

struct Steps {
    follower: Follower,
    reading: Reading,
    replay: Replay,
    names: InterfaceNames,
    /// Kinds of problems by which nothing is lost: each is told once.
    told: HashSet<Discriminant<What>>,
    event_file: Option<PathBuf>,
    /// Where the last interval ended.
    end_ns: u64,
}

impl Steps {
    /// Reads the lines of a step; false if none have come.
    fn read(&mut self) -> Result<bool> {
        let mut read = 0;
        self.replay.clear();
        while read < STEP_BYTES
            && let Some(lines) = self.follower.poll().context("following the log")?
        {
            read += lines.bytes.len();
            let reading = Reading {
                // The moment of reading is all that is known of records without a time.
                start_ns: Some(
                    self.reading
                        .start_ns
                        .unwrap_or_else(|| nanoseconds(Timestamp::now())),
                ),
                ..self.reading.clone()
            };
            let name = format!("{} from byte {} on", lines.path.display(), lines.offset);
            let input = Input::new(Cursor::new(lines.bytes.to_vec()))?;
            self.replay.add((reading.reader())(name, input));
        }
        for problem in self.follower.take_problems() {
            log::error!("{problem}");
        }
        Ok(read > 0)
    }

    /// Makes the events of what was read, and keeps them with the place that was reached.
    fn events(&mut self, pipeline: &mut Pipeline) -> Result<()> {
        while let Some(mut interval) = self.replay.next_interval() {
            let span = take(&mut interval, &self.replay, pipeline, &mut self.names);
            self.end_ns = span.end;
            pipeline.close_interval(span, &self.names)?;
        }
        for problem in self.replay.take_problems() {
            if Problem::is_loss(&problem) || self.told.insert(discriminant(&problem.what)) {
                log::warn!("{problem}");
            }
        }
        if let Some(event_file) = &self.event_file {
            self.follower.prepare(pipeline.writer().pending(), event_file)?;
        }
        Ok(())
    }
}

/// The place in the log is kept beside what detection has learned.
fn place(arguments: &cli::Replay) -> Result<PathBuf> {
    let state = arguments.state.as_ref().context("--follow needs --state")?;
    let mut place = OsString::from(state);
    place.push(".place");
    let place = PathBuf::from(place);
    if let Some(folder) = place.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    Ok(place)
}

/// The event file, if it is one that can be read again.
fn regular(path: &Path) -> Option<PathBuf> {
    let kind = |path: &Path| -> io::Result<bool> { Ok(fs::metadata(path)?.is_file()) };
    kind(path).unwrap_or(false).then(|| path.to_owned())
}
