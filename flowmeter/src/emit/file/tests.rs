use std::{
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use super::*;

fn output(path: impl Into<PathBuf>) -> Output {
    Output {
        path: path.into(),
        ..Output::default()
    }
}

fn open(output: &Output, now: Instant) -> EventFile {
    EventFile::open(output, now).unwrap()
}

/// Numbered lines of exactly 100 bytes with their end, as `{"n":7,"pad":"..."}`.
fn text(number: usize) -> String {
    let pad = 100 - 1 - format!("{{\"n\":{number},\"pad\":\"\"}}").len();
    format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(pad))
}

fn line(file: &mut EventFile, number: usize) -> bool {
    file.line(|out| {
        out.extend_from_slice(text(number).as_bytes());
        Ok(())
    })
}

/// The numbers of all lines of a file; panics at a line that is not whole.
fn numbers(path: &Path) -> Vec<usize> {
    let content = fs::read_to_string(path).unwrap_or_default();
    assert!(
        content.is_empty() || content.ends_with('\n'),
        "{}",
        path.display()
    );
    content
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            usize::try_from(value["n"].as_u64().unwrap()).unwrap()
        })
        .collect()
}

fn generation(path: &Path, number: u32) -> PathBuf {
    format!("{}.{number}", path.display()).into()
}

#[test]
fn the_file_exists_before_the_first_line_with_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    for mode in ["0640", "0666"] {
        let _ = fs::remove_file(&path);
        let file = open(
            &Output {
                mode: mode.into(),
                ..output(&path)
            },
            Instant::now(),
        );
        let bits = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(format!("{bits:04o}"), mode);
        file.finish().unwrap();
    }
}

#[test]
fn lines_are_appended_to_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    for run in 0..2 {
        let mut file = open(&output(&path), Instant::now());
        for number in 0..6_000 {
            assert!(line(&mut file, run * 6_000 + number));
        }
        assert!(
            fs::metadata(&path).unwrap().len() > 0,
            "full pieces are written at once"
        );
        file.finish().unwrap();
    }
    assert_eq!(numbers(&path), (0..12_000).collect::<Vec<_>>());
}

#[test]
fn a_line_that_a_killed_writer_left_open_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    fs::write(&path, "{\"n\":1}\n{\"n\":").unwrap();
    let mut file = open(&output(&path), Instant::now());
    line(&mut file, 2);
    file.finish().unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{{\"n\":1}}\n{{\"n\":\n{}\n", text(2))
    );
}

#[test]
fn bad_paths_are_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/events.json");
    for (output, expected) in [
        (
            output(&missing),
            "does not exist; create it or change output.path",
        ),
        (output(folder.path()), "it is a folder"),
        (
            Output {
                mode: "rw".into(),
                ..output("-")
            },
            "is not an octal mode",
        ),
        (
            Output {
                mode: "1777".into(),
                ..output("-")
            },
            "is not an octal mode",
        ),
    ] {
        let error = format!("{:#}", EventFile::open(&output, Instant::now()).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
    let error = EventFile::open(&output(&missing), Instant::now())
        .unwrap_err()
        .to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
}

#[test]
fn a_full_device_is_told_and_the_first_lines_are_kept_up_to_the_bound() {
    let now = Instant::now();
    let mut file = open(
        &Output {
            retry_buffer_bytes: 1_000,
            ..output("/dev/full")
        },
        now,
    );
    assert!(line(&mut file, 0));
    file.flush(now).unwrap();
    let taken: Vec<bool> = (1..20).map(|number| line(&mut file, number)).collect();
    assert_eq!(taken, (1..20).map(|number| number < 10).collect::<Vec<_>>());
    let account = file.account();
    assert_eq!(
        (account.lines, account.withheld_lines, account.errors),
        (10, 10, 1)
    );
    assert_eq!(file.pending_bytes(), 1_000);
    assert!(file.take_error().unwrap().contains("No space left on device"));
    let error = file.finish().unwrap_err().to_string();
    assert!(
        error.starts_with("10 lines could not be written to /dev/full: No space left"),
        "{error}"
    );
}

/// Runs `test` in a thread that has a file system of 64 KiB, or says why it cannot.
fn with_small_file_system(test: impl FnOnce(&Path) + Send) {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mounted = unshare(CloneFlags::CLONE_NEWNS)
                .and_then(|()| {
                    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
                })
                .and_then(|()| {
                    mount(
                        Some("tmpfs"),
                        path,
                        Some("tmpfs"),
                        MsFlags::empty(),
                        Some("size=64k"),
                    )
                });
            match mounted {
                Ok(()) => test(path),
                Err(error) => println!("skipped: mounting a small tmpfs needs CAP_SYS_ADMIN: {error}"),
            }
        });
    });
}

#[test]
fn a_disk_that_fills_up_within_a_write_gets_whole_lines_only_and_the_rest_when_there_is_room() {
    with_small_file_system(|folder| {
        let now = Instant::now();
        let path = folder.join("events.json");
        let ballast = folder.join("ballast");
        fs::write(&ballast, vec![0; 16 << 10]).unwrap();
        let mut file = open(
            &Output {
                retry_buffer_bytes: 60_000,
                ..output(&path)
            },
            now,
        );
        for number in 0..1_000 {
            assert!(line(&mut file, number));
        }
        file.flush(now).unwrap();
        // 48 KiB are free, and 491 lines of 100 bytes fit into that.
        assert_eq!(numbers(&path), (0..491).collect::<Vec<_>>());
        assert!(fs::read(&path).unwrap().ends_with(b"\n"),);
        let told = file.take_error().unwrap();
        assert!(told.contains("No space left"), "{told}");
        assert_eq!(file.pending_bytes(), 50_900);
        let taken = (1_000..1_200).filter(|&number| line(&mut file, number)).count();
        assert_eq!((taken, file.account().withheld_lines), (91, 109));

        fs::remove_file(&ballast).unwrap();
        file.flush(now).unwrap();
        assert_eq!(numbers(&path), (0..655).collect::<Vec<_>>());
        fs::rename(&path, folder.join("first")).unwrap();
        fs::remove_file(folder.join("first")).unwrap();
        file.finish().unwrap();
        assert_eq!(numbers(&path), (655..1_091).collect::<Vec<_>>());
    });
}

#[test]
fn rotation_keeps_every_line_once_and_never_comes_too_soon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1_000,
            keep: 3,
            ..output(&path)
        },
        start,
    );
    // One flush of 5 lines every 10 s: 500 bytes, so size alone would rotate every 20 s.
    for tick in 0..28 {
        for number in 0..5 {
            line(&mut file, tick * 5 + number);
        }
        file.flush(start + Duration::from_secs(10) * u32::try_from(tick).unwrap())
            .unwrap();
    }
    file.finish().unwrap();
    // Rotated at 70, 140 and 210 s, the first times that 64 s have passed, before the lines of then.
    assert_eq!(numbers(&generation(&path, 3)), (0..35).collect::<Vec<_>>());
    assert_eq!(numbers(&generation(&path, 2)), (35..70).collect::<Vec<_>>());
    assert_eq!(numbers(&generation(&path, 1)), (70..105).collect::<Vec<_>>());
    assert_eq!(numbers(&path), (105..140).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn rotation_goes_by_age_too_leaves_empty_files_alone_and_drops_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    let hour = Duration::from_secs(3600);
    let mut file = open(
        &Output {
            rotate_age: hour,
            keep: 2,
            ..output(&path)
        },
        start,
    );
    file.flush(start + 2 * hour).unwrap();
    assert!(!generation(&path, 1).exists());
    for number in 0..4_u32 {
        line(&mut file, number as usize);
        file.flush(start + (3 + 2 * number) * hour).unwrap();
    }
    assert_eq!(numbers(&path), [3]);
    assert_eq!(numbers(&generation(&path, 1)), [2]);
    assert_eq!(numbers(&generation(&path, 2)), [1]);
    assert!(!generation(&path, 3).exists());
}

#[test]
fn the_old_descriptor_is_kept_for_seconds_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1,
            ..output(&path)
        },
        start,
    );
    line(&mut file, 0);
    file.flush(start).unwrap();
    let rotated = start + MIN_ROTATION;
    let is_open = |file: &EventFile| file.rotation.as_ref().unwrap().old.is_some();
    for (after_ms, open) in [(0, true), (4_999, true), (5_000, false)] {
        file.flush(rotated + Duration::from_millis(after_ms)).unwrap();
        assert_eq!(is_open(&file), open, "{after_ms}");
    }
}

#[test]
fn a_failed_rotation_is_told_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    fs::create_dir(generation(&path, 1)).unwrap();
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1,
            keep: 1,
            ..output(&path)
        },
        start,
    );
    for number in 0..3 {
        line(&mut file, number);
        file.flush(start + (MIN_ROTATION - REST) + u32::try_from(number).unwrap() * REST)
            .unwrap();
    }
    assert_eq!(numbers(&path), [0, 1, 2]);
    assert_eq!(
        file.account().errors,
        1,
        "tried again after the minimum time only"
    );
    assert!(file.take_error().unwrap().starts_with("cannot rotate"));
}

#[test]
fn a_file_rests_before_it_is_rotated_and_its_lines_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1,
            retry_buffer_bytes: 200_000,
            ..output(&path)
        },
        start,
    );
    let second = |second: u64| start + Duration::from_secs(second);
    for number in 0..=67 {
        line(&mut file, usize::try_from(number).unwrap());
        file.flush(second(number)).unwrap();
    }
    assert_eq!(
        numbers(&path),
        (0..64).collect::<Vec<_>>(),
        "at rest from 64 s on"
    );
    assert!(!generation(&path, 1).exists());
    file.flush(second(68)).unwrap();
    assert_eq!(numbers(&generation(&path, 1)), (0..64).collect::<Vec<_>>());
    assert_eq!(numbers(&path), (64..68).collect::<Vec<_>>());

    // More than may wait: the file grows no further without bound, and is rotated all the same.
    line(&mut file, 68);
    file.flush(second(132)).unwrap();
    file.flush(second(133)).unwrap();
    for number in 69..3_000 {
        line(&mut file, number);
    }
    file.flush(second(134)).unwrap();
    assert!(generation(&path, 2).exists());
    let mut all = numbers(&generation(&path, 2));
    all.extend(numbers(&generation(&path, 1)));
    all.extend(numbers(&path));
    assert_eq!(all, (0..3_000).collect::<Vec<_>>());
}

/// Reads as the Wazuh agent 4.14 does (`logcollector.c`): every 2 s what has come to the file that it has open; every
/// 64 s it looks whether the path leads to another file, and if so closes the old one as it is and starts the new one.
struct LikeWazuh<'a> {
    path: &'a Path,
    file: File,
    read: Vec<u8>,
}

impl LikeWazuh<'_> {
    fn poll(&mut self) {
        self.file.read_to_end(&mut self.read).unwrap();
    }

    fn check(&mut self) {
        if inode(&fs::metadata(self.path).unwrap()) != inode(&self.file.metadata().unwrap()) {
            self.file = File::open(self.path).unwrap();
        }
    }
}

/// The lines written and those that such a reader gets over 200 rotations, in steps of half a second: the times of
/// both sides are out of step in every way.
fn read_like_wazuh(rest: Duration) -> (usize, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1,
            keep: 2,
            ..output(&path)
        },
        start,
    );
    file.rotation.as_mut().unwrap().rest = rest;
    let mut reader = LikeWazuh {
        path: &path,
        file: File::open(&path).unwrap(),
        read: Vec::new(),
    };
    let (mut written, mut rotations, mut old) = (0, 0, reader.file.metadata().unwrap());
    let mut half_seconds = 0_u32;
    while rotations < 200 {
        let now = start + half_seconds * Duration::from_millis(500);
        // Paced, with a burst each 10 s.
        if half_seconds.is_multiple_of(2) {
            let lines = if half_seconds.is_multiple_of(20) { 300 } else { 30 };
            for _ in 0..lines {
                assert!(line(&mut file, written));
                written += 1;
            }
            file.flush(now).unwrap();
            let current = fs::metadata(&path).unwrap();
            rotations += u32::from(inode(&current) != inode(&old));
            old = current;
        }
        // Of 64.5 s and 2 s: the check meets every place between a rotation and the next poll.
        if half_seconds.is_multiple_of(129) {
            reader.check();
        }
        if half_seconds % 4 == 1 {
            reader.poll();
        }
        half_seconds += 1;
    }
    file.finish().unwrap();
    for _ in 0..2 {
        reader.poll();
        reader.check();
    }
    reader.poll();
    let read = String::from_utf8(reader.read).unwrap();
    let numbers = read.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        usize::try_from(value["n"].as_u64().unwrap()).unwrap()
    });
    (written, numbers.collect())
}

#[test]
fn a_reader_like_the_wazuh_agent_gets_every_line_once_over_200_rotations() {
    let (written, read) = read_like_wazuh(REST);
    assert_eq!(read, (0..written).collect::<Vec<_>>());
    let (written, read) = read_like_wazuh(Duration::ZERO);
    assert!(
        read.len() < written,
        "without the rest before a rotation lines are lost"
    );
}

fn inode(meta: &fs::Metadata) -> u64 {
    meta.ino()
}

#[test]
fn a_file_that_others_rename_or_remove_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let now = Instant::now();
    let mut file = open(&output(&path), now);
    line(&mut file, 0);
    file.flush(now).unwrap();
    fs::rename(&path, folder.path().join("by-logrotate")).unwrap();
    line(&mut file, 1);
    file.flush(now).unwrap();
    assert_eq!(numbers(&folder.path().join("by-logrotate")), [0]);
    assert_eq!(numbers(&path), [1]);
    fs::remove_file(&path).unwrap();
    line(&mut file, 2);
    file.flush(now).unwrap();
    assert_eq!(numbers(&path), [2]);
    assert_eq!(file.account().errors, 0);
}

#[test]
fn a_folder_that_vanishes_costs_no_line_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("netflow");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("events.json");
    let now = Instant::now();
    let mut file = open(&output(&path), now);
    fs::remove_dir_all(&inner).unwrap();
    line(&mut file, 0);
    file.flush(now).unwrap();
    assert!(file.take_error().unwrap().contains("No such file or directory"));
    fs::create_dir(&inner).unwrap();
    line(&mut file, 1);
    file.flush(now).unwrap();
    assert_eq!(numbers(&path), [0, 1]);
}

#[test]
fn appenders_that_rotate_under_each_other_lose_and_mix_no_line() {
    const WRITERS: usize = 3;
    const LINES: usize = 8_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let mut file = open(
                    &Output {
                        rotate_bytes: 300_000,
                        keep: 100,
                        ..output(path)
                    },
                    start,
                );
                // Scaled down: one of the writers rotates, as often as its size lets it.
                let rotation = file.rotation.as_mut().unwrap();
                (rotation.minimum, rotation.rest) = (Duration::ZERO, Duration::ZERO);
                if writer > 0 {
                    file.rotation = None;
                }
                for number in 0..LINES {
                    assert!(line(&mut file, writer * LINES + number));
                    if number % 500 == 0 {
                        file.flush(start).unwrap();
                    }
                }
                while file.pending_bytes() > 0 {
                    file.flush(start).unwrap();
                }
            });
        }
    });
    let generations = (1..100)
        .map(|number| generation(&path, number))
        .filter(|path| path.exists());
    let files: Vec<PathBuf> = generations.chain([path.clone()]).collect();
    assert!(files.len() > 2, "it was rotated");
    let mut all: Vec<usize> = files.iter().flat_map(|path| numbers(path)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..WRITERS * LINES).collect::<Vec<_>>());
}

#[test]
fn a_lock_that_others_hold_delays_lines_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let now = Instant::now();
    let mut file = open(&output(&path), now);
    let other = fs::OpenOptions::new().append(true).open(&path).unwrap();
    other.lock().unwrap();
    line(&mut file, 0);
    file.flush(now).unwrap();
    assert_eq!(numbers(&path), Vec::<usize>::new());
    assert!(
        file.take_error()
            .unwrap()
            .contains("another process holds its lock")
    );
    other.unlock().unwrap();
    file.flush(now).unwrap();
    assert_eq!(numbers(&path), [0]);
}

#[test]
fn a_named_pipe_is_written_in_whole_lines_to_each_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let now = Instant::now();
    let error = format!("{:#}", EventFile::open(&output(&path), now).unwrap_err());
    assert!(error.contains("a named pipe needs a reader first"), "{error}");

    let reader = || {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .unwrap()
    };
    let mut first = reader();
    let mut file = open(&output(&path), now);
    for number in 0..1_000 {
        line(&mut file, number);
    }
    // 100,000 bytes do not fit into the pipe's 65,536, and nobody reads meanwhile.
    file.flush(now).unwrap();
    assert!(file.take_error().is_some());
    assert_eq!(file.pending_bytes(), 100_000 - 65_536);
    let mut received = vec![0; 65_536];
    first.read_exact(&mut received).unwrap();
    file.flush(now).unwrap();
    first.read_to_end(&mut received).unwrap_err();
    let text: Vec<String> = (0..1_000).map(text).collect();
    assert_eq!(String::from_utf8(received).unwrap(), text.join("\n") + "\n");

    drop(first);
    line(&mut file, 1_000);
    file.flush(now).unwrap();
    assert!(file.take_error().unwrap().contains("Broken pipe"));
    file.flush(now).unwrap();
    let mut second = reader();
    file.flush(now).unwrap();
    let mut received = Vec::new();
    second.read_to_end(&mut received).unwrap_err();
    assert_eq!(String::from_utf8(received).unwrap(), self::text(1_000) + "\n");
}

#[test]
fn a_symbolic_link_is_followed_and_never_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let start = Instant::now();
    let mut file = open(
        &Output {
            rotate_bytes: 1,
            ..output(&link)
        },
        start,
    );
    line(&mut file, 0);
    file.flush(start + 2 * MIN_ROTATION).unwrap();
    assert_eq!(numbers(&target), [0]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn a_line_that_cannot_be_encoded_is_withheld_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let mut file = open(&output(&path), Instant::now());
    let taken = file.line(|out| {
        out.write_all(b"{\"half\":").map_err(serde_json::Error::io)?;
        Err(serde_json::Error::io(io::ErrorKind::Other.into()))
    });
    assert!(!taken);
    assert!(file.take_error().unwrap().starts_with("cannot encode an event"));
    assert_eq!(file.account().withheld_lines, 1);
    file.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_closed_standard_output_is_a_clear_end() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let now = Instant::now();
    let mut file = open(&output("-"), now);
    file.sink = Sink::Stream(Stream::like_stdout(writer.into()));
    line(&mut file, 0);
    assert_eq!(file.flush(now), Ok(()));
    drop(reader);
    line(&mut file, 1);
    assert_eq!(file.flush(now), Err(Closed));
    assert_eq!(Closed.to_string(), "standard output was closed by its reader");
    assert!(file.finish().is_err());
}
