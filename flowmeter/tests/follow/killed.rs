//! A process that follows a log and writes events, killed again and again.

use std::{
    env,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use flowmeter::{
    capture::follow::Follower,
    config::{Config, Output},
    emit::EventFile,
};
use tempfile::TempDir;

use crate::waiting::Folder;

/// Tells the test binary to be the reader, in this folder.
const READER: &str = "FLOWMETER_TEST_READER";

const LINES: usize = 6000;

struct Files {
    log: PathBuf,
    state: PathBuf,
    events: PathBuf,
}

fn files(folder: &Path) -> Files {
    Files {
        log: folder.join("flows.json"),
        state: folder.join("state"),
        events: folder.join("events").join("events.json"),
    }
}

/// What `replay --follow` does, with the line itself as its event.
fn read(files: &Files) -> ! {
    let output = Output {
        path: files.events.clone(),
        ..Config::default().output
    };
    let mut event_file = EventFile::open(&output, Instant::now()).unwrap();
    let mut follower = Follower::open(&files.log, &files.state).unwrap();
    let unfinished = follower.unfinished_events();
    write(&mut event_file, &unfinished);
    follower.commit().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    loop {
        let mut events = Vec::new();
        while let Some(lines) = follower.poll().unwrap() {
            for (_, line) in lines.iter() {
                events.extend_from_slice(line);
                events.push(b'\n');
            }
        }
        let problems = follower.take_problems();
        assert!(problems.is_empty(), "{problems:?}");
        if events.is_empty() {
            runtime.block_on(follower.changed());
            continue;
        }
        follower.prepare(&events, &files.events).unwrap();
        write(&mut event_file, &events);
        follower.commit().unwrap();
    }
}

fn write(file: &mut EventFile, events: &[u8]) {
    for line in events.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap();
        assert!(file.line(|out| {
            out.extend_from_slice(line);
            Ok(())
        }));
    }
    file.flush(Instant::now()).unwrap();
    assert_eq!(file.pending_bytes(), 0);
}

fn start(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(READER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

const TEST: &str = "killed::a_reader_killed_at_random_writes_the_events_of_every_line_once";

#[test]
fn a_reader_killed_at_random_writes_the_events_of_every_line_once() {
    if let Some(folder) = env::var_os(READER) {
        read(&files(Path::new(&folder)));
    }
    let folder = TempDir::new().unwrap();
    let files = files(folder.path());
    fs::create_dir(files.events.parent().unwrap()).unwrap();
    let mut random = RandomState::new().hash_one(());
    eprintln!("random numbers from {random}");
    let mut below = |limit: u64| {
        // Knuth's MMIX generator; its upper bits are the better ones.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut changes = Folder::watch(files.events.parent().unwrap());
    let mut log = append(&files.log);
    // The log is there before the first start, and so is the state before the first kill.
    let mut reader = start(folder.path());
    let mut kills = 0;
    let mut written = 0;
    changes.until("the first event", || {
        if written == 0 {
            writeln!(log, "{}", line(0)).unwrap();
            written = 1;
        }
        length(&files.events) > 0
    });
    while written < LINES {
        for _ in 0..=below(300) {
            // In two pieces, now and then.
            let line = line(written);
            let cut = usize::try_from(below(line.len() as u64)).unwrap();
            let (first, rest) = line.split_at(cut);
            log.write_all(first.as_bytes()).unwrap();
            if written % 50 == 0 && below(2) == 0 {
                rename(&files.log);
            }
            writeln!(log, "{rest}").unwrap();
            written += 1;
            if !files.log.exists() {
                log = append(&files.log);
            }
        }
        if below(2) == 0 {
            let more = length(&files.events) + below(2000);
            changes.until("more events", || {
                length(&files.events) >= more.min(total(written))
            });
        }
        reader.kill().unwrap();
        reader.wait().unwrap();
        kills += 1;
        reader = start(folder.path());
    }
    changes.until("the last event", || whole_lines(&files.events).len() >= written);
    reader.kill().unwrap();
    reader.wait().unwrap();
    let expected: Vec<_> = (0..written).map(line).collect();
    assert_eq!(whole_lines(&files.events), expected, "after {kills} kills");
    assert!(kills > 20, "{kills}");
}

fn line(number: usize) -> String {
    format!(
        "{{\"line\": {number}, \"padding\": \"{}\"}}",
        "x".repeat(number % 97)
    )
}

/// Length of all events, less the pieces of cut lines.
fn total(written: usize) -> u64 {
    (0..written).map(|number| line(number).len() as u64 + 1).sum()
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn rename(log: &Path) {
    let generation = |number: usize| log.with_extension(format!("json.{number}"));
    let newest_free = (1..).find(|&number| !generation(number).exists()).unwrap();
    for number in (1..newest_free).rev() {
        fs::rename(generation(number), generation(number + 1)).unwrap();
    }
    fs::rename(log, generation(1)).unwrap();
}

/// Without the pieces that a kill in the middle of a write leaves.
fn whole_lines(path: &Path) -> Vec<String> {
    let content = fs::read_to_string(path).unwrap_or_default();
    content
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix("}\n"))
        .map(|line| format!("{line}}}"))
        .collect()
}
