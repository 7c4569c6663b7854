use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
};

use proptest::{collection::vec, prelude::*, sample::Index};
use tempfile::TempDir;

use super::*;

/// A program that writes numbered lines to a log, and whoever rotates it.
struct Writer {
    folder: TempDir,
    /// The log as the writer has it open; after a rotation maybe still the old file.
    file: File,
    written: Vec<String>,
    /// Of each line, how often the file had been replaced or cut before.
    lives: BTreeMap<String, usize>,
    life: usize,
    /// Lives of which nothing had been read when they were cut.
    unmet: BTreeSet<usize>,
    old: Option<(File, usize)>,
    /// The end of a line whose start is written.
    partial: Option<String>,
    copy: Option<File>,
    /// Keeps inodes from being used again within the time that a clock tick takes.
    deleted: Vec<File>,
}

impl Writer {
    fn new() -> Self {
        // In memory where that is possible, for each commit syncs.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let file = append(&folder.path().join("flows.json"));
        Self {
            folder,
            file,
            written: Vec::new(),
            lives: BTreeMap::new(),
            life: 0,
            unmet: BTreeSet::new(),
            old: None,
            partial: None,
            copy: None,
            deleted: Vec::new(),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("flows.json")
    }

    fn generation(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("flows.json.{number}"))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn next_line(&mut self, life: usize) -> String {
        let line = format!("{{\"line\": {}, \"life\": {life}}}", self.written.len());
        self.written.push(line.clone());
        self.lives.insert(line.clone(), life);
        line
    }

    fn write(&mut self, lines: usize) {
        self.finish_line();
        for _ in 0..lines {
            let line = self.next_line(self.life) + "\n";
            self.file.write_all(line.as_bytes()).unwrap();
        }
    }

    fn write_part(&mut self) {
        if self.partial.is_none() {
            let line = self.next_line(self.life);
            let (first, rest) = line.split_at(7);
            self.file.write_all(first.as_bytes()).unwrap();
            self.partial = Some(format!("{rest}\n"));
        }
    }

    fn finish_line(&mut self) {
        if let Some(rest) = self.partial.take() {
            self.file.write_all(rest.as_bytes()).unwrap();
        }
    }

    /// Moves every generation one on. The writer goes on in the renamed file.
    fn rename(&mut self, keep: u32) {
        for number in (1..30).rev() {
            if self.generation(number).exists() {
                fs::rename(self.generation(number), self.generation(number + 1)).unwrap();
            }
        }
        if self.log().exists() {
            fs::rename(self.log(), self.generation(1)).unwrap();
        }
        for number in keep + 1..32 {
            fs::remove_file(self.generation(number)).ok();
        }
    }

    /// The writer notices and opens a new file; it keeps the old one for a while.
    fn reopen(&mut self) {
        self.finish_line();
        if !self.log().exists() {
            let new = append(&self.log());
            let old = std::mem::replace(&mut self.file, new);
            let deleted = old.metadata().unwrap().nlink() == 0;
            self.old = (!deleted).then_some((old, self.life));
            self.life += 1;
        }
    }

    /// A line to the old file, as a process of the writer's that was still at work writes it.
    fn write_late(&mut self) {
        if let Some((mut old, life)) = self.old.take() {
            let line = self.next_line(life) + "\n";
            old.write_all(line.as_bytes()).unwrap();
            self.old = Some((old, life));
        }
    }

    fn start_copy(&mut self) {
        if self.copy.is_none() && self.log().exists() {
            for number in (1..30).rev() {
                if self.generation(number).exists() {
                    fs::rename(self.generation(number), self.generation(number + 1)).unwrap();
                }
            }
            self.copy = Some(append(&self.generation(1)));
        }
    }

    /// Copies up to so many bytes more.
    fn copy_part(&mut self, bytes: u64) {
        if let Some(copy) = &mut self.copy {
            let mut log = File::open(self.folder.path().join("flows.json")).unwrap();
            log.seek(io::SeekFrom::Start(copy.metadata().unwrap().len()))
                .unwrap();
            io::copy(&mut log.take(bytes), copy).unwrap();
        }
    }

    fn truncate(&mut self) {
        if self.log().exists() {
            self.copy_part(u64::MAX);
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.copy.take().is_some() || self.log().exists() {
            self.file.set_len(0).unwrap();
            self.life += 1;
        }
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Whoever follows, with what it handed out.
#[derive(Default)]
struct Reader {
    follower: Option<Follower>,
    /// Handed out and not committed.
    pending: Vec<String>,
    committed: Vec<String>,
    problems: Vec<What>,
}

impl Reader {
    fn open(&mut self, writer: &Writer) -> &mut Follower {
        self.follower
            .get_or_insert_with(|| Follower::open(&writer.log(), &writer.state()).unwrap())
    }

    /// Up to so many pieces; true at the end.
    fn poll(&mut self, writer: &Writer, pieces: usize) -> bool {
        for _ in 0..pieces {
            let Some(lines) = self.open(writer).poll().unwrap() else {
                self.take_problems();
                return true;
            };
            let lines: Vec<_> = lines
                .iter()
                .map(|(_, line)| String::from_utf8(line.to_vec()).unwrap())
                .collect();
            self.pending.extend(lines);
        }
        self.take_problems();
        false
    }

    fn take_problems(&mut self) {
        let problems = self.follower.as_mut().unwrap().take_problems();
        self.problems
            .extend(problems.into_iter().map(|problem| problem.what));
    }

    fn commit(&mut self, writer: &Writer) {
        self.open(writer);
        self.take_problems();
        self.open(writer).commit().unwrap();
        self.committed.append(&mut self.pending);
    }

    fn kill(&mut self) {
        self.follower = None;
        self.pending.clear();
    }

    fn read_all(&mut self, writer: &Writer) -> &[String] {
        while !self.poll(writer, usize::MAX) {}
        self.commit(writer);
        &self.committed
    }
}

#[test]
fn only_whole_lines_are_handed_out() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(2);
    writer.write_part();
    assert_eq!(reader.read_all(&writer), &writer.written[..2]);
    writer.finish_line();
    assert_eq!(reader.read_all(&writer), writer.written);
    assert!(reader.problems.is_empty());
}

#[test]
fn each_line_carries_its_file_and_offset() {
    let mut writer = Writer::new();
    writer.write(3);
    let mut follower = Follower::open(&writer.log(), &writer.state()).unwrap();
    let content = fs::read_to_string(writer.log()).unwrap();
    let lines = follower.poll().unwrap().unwrap();
    assert_eq!(lines.path, writer.log());
    for (offset, line) in lines.iter() {
        let line = std::str::from_utf8(line).unwrap();
        assert!(content[offset as usize..].starts_with(&format!("{line}\n")));
    }
    assert_eq!(lines.iter().count(), 3);
}

#[test]
fn a_log_may_appear_later_and_older_generations_are_left_alone() {
    let mut writer = Writer::new();
    writer.write(3);
    writer.write_part();
    writer.rename(9);
    let mut reader = Reader::default();
    assert!(reader.read_all(&writer).is_empty());
    // Also the rest of a line whose start was there before.
    writer.finish_line();
    writer.reopen();
    writer.write(2);
    assert_eq!(reader.read_all(&writer), &writer.written[4..]);
    assert!(reader.problems.is_empty());
}

#[test]
fn rotations_while_nobody_reads_lose_and_repeat_nothing() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(3);
    reader.read_all(&writer);
    reader.kill();
    for _ in 0..3 {
        writer.write(2);
        writer.rename(9);
        writer.write(1);
        writer.reopen();
    }
    writer.write(2);
    assert_eq!(reader.read_all(&writer), writer.written);
    assert!(reader.problems.is_empty());
}

#[test]
fn dated_generations_are_found_too() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(3);
    reader.read_all(&writer);
    reader.kill();
    for name in ["flows.json-20260101", "flows.json-20260102"] {
        writer.write(2);
        fs::rename(writer.log(), writer.folder.path().join(name)).unwrap();
        writer.reopen();
    }
    writer.write(1);
    assert_eq!(reader.read_all(&writer), writer.written);
}

#[test]
fn a_line_that_is_finished_in_the_renamed_file_is_read() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(1);
    writer.write_part();
    reader.read_all(&writer);
    writer.rename(9);
    writer.finish_line();
    writer.reopen();
    writer.write(1);
    reader.read_all(&writer);
    writer.write_late();
    reader.kill();
    assert_eq!(reader.read_all(&writer), writer.written);
    assert!(reader.problems.is_empty());
}

#[test]
fn lines_that_were_not_committed_come_again() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(2);
    reader.read_all(&writer);
    writer.write(2);
    reader.poll(&writer, usize::MAX);
    assert_eq!(reader.pending, &writer.written[2..]);
    reader.kill();
    assert_eq!(reader.read_all(&writer), writer.written);
}

#[test]
fn a_rotation_before_the_first_commit_changes_nothing() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(2);
    reader.open(&writer);
    reader.kill();
    writer.rename(9);
    writer.reopen();
    writer.write(2);
    assert_eq!(reader.read_all(&writer), writer.written);
}

#[test]
fn what_a_truncation_loses_is_told() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(2);
    reader.read_all(&writer);
    writer.write_part();
    reader.read_all(&writer);
    writer.partial = None;
    writer.cut();
    writer.write(1);
    let written = &writer.written;
    assert_eq!(reader.read_all(&writer), [&written[..2], &written[3..]].concat());
    assert!(matches!(reader.problems[..], [What::Truncated { unread: 7 }]));
}

#[test]
fn a_truncated_file_that_has_grown_again_is_noticed_also_after_a_restart() {
    for restart in [false, true] {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        writer.write(2);
        reader.read_all(&writer);
        if restart {
            reader.kill();
        }
        writer.cut();
        writer.write(5);
        assert_eq!(reader.read_all(&writer), writer.written);
        assert!(matches!(reader.problems[..], [What::Truncated { unread: 0 }]));
    }
}

#[test]
fn the_rest_of_a_copied_and_truncated_file_is_read_from_the_copy() {
    for restart in [false, true] {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        writer.write(2);
        reader.read_all(&writer);
        if restart {
            reader.kill();
        }
        writer.write(3);
        writer.start_copy();
        writer.truncate();
        writer.write(4);
        assert_eq!(reader.read_all(&writer), writer.written);
        assert!(matches!(reader.problems[..], [What::CopyTruncated]));
    }
}

#[test]
fn a_copy_under_way_is_not_read_twice() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(5);
    writer.start_copy();
    reader.read_all(&writer);
    writer.copy_part(10);
    reader.read_all(&writer);
    writer.copy_part(u64::MAX);
    reader.read_all(&writer);
    // Written after the copy, read before the cut.
    writer.write(2);
    reader.read_all(&writer);
    writer.cut();
    writer.write(1);
    assert_eq!(reader.read_all(&writer), writer.written);
    writer.rename(9);
    writer.reopen();
    writer.write(1);
    assert_eq!(reader.read_all(&writer), writer.written);
}

#[test]
fn a_generation_that_is_gone_too_early_is_told() {
    for unread in [false, true] {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        writer.write(2);
        reader.read_all(&writer);
        reader.kill();
        if unread {
            writer.write(1);
        }
        writer.rename(0);
        writer.reopen();
        writer.write(1);
        reader.read_all(&writer);
        assert_eq!(reader.committed.len(), 3);
        assert!(matches!(reader.problems[..], [What::Gone { unread: 0 }]));
    }
}

#[test]
fn a_running_follower_reads_a_deleted_generation_to_its_end() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(2);
    reader.read_all(&writer);
    writer.write(2);
    writer.rename(0);
    writer.reopen();
    writer.write(1);
    assert_eq!(reader.read_all(&writer), writer.written);
    assert!(reader.problems.is_empty());
    assert_eq!(reader.follower.unwrap().generations.len(), 1);
}

#[test]
fn the_unfinished_line_of_a_deleted_generation_is_told() {
    let mut writer = Writer::new();
    let mut reader = Reader::default();
    writer.write(1);
    writer.write_part();
    reader.read_all(&writer);
    writer.rename(0);
    writer.partial = None;
    writer.reopen();
    reader.read_all(&writer);
    assert!(matches!(reader.problems[..], [What::Gone { unread: 7 }]));
}

#[test]
fn lines_over_the_limit_are_left_out_and_told_once() {
    for restart in [false, true] {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        let longest = "x".repeat(LINE_LIMIT);
        writeln!(writer.file, "{longest}").unwrap();
        reader.read_all(&writer);
        assert_eq!(reader.committed, [longest.as_str()]);
        write!(writer.file, "{longest}{longest}{longest}").unwrap();
        reader.read_all(&writer);
        if restart {
            reader.kill();
        }
        writeln!(writer.file, "{longest}").unwrap();
        writer.write(1);
        assert_eq!(reader.read_all(&writer)[1..], writer.written);
        assert!(matches!(
            reader.problems[..],
            [What::LineTooLong { limit: LINE_LIMIT }]
        ));
    }
}

#[test]
fn large_files_are_handed_out_in_pieces() {
    let mut writer = Writer::new();
    writer.write(100_000);
    let mut reader = Reader::default();
    assert!(!reader.poll(&writer, 1));
    assert!((10_000..90_000).contains(&reader.pending.len()));
    assert_eq!(reader.read_all(&writer), writer.written);
}

#[test]
fn two_cannot_follow_with_one_state() {
    let writer = Writer::new();
    let first = Follower::open(&writer.log(), &writer.state()).unwrap();
    let error = Follower::open(&writer.log(), &writer.state()).unwrap_err();
    assert!(
        format!("{error:#}").contains("another process follows"),
        "{error:#}"
    );
    drop(first);
    Follower::open(&writer.log(), &writer.state()).unwrap();
    let error = Follower::open(&writer.generation(1), &writer.state()).unwrap_err();
    assert!(format!("{error:#}").contains("give each log"), "{error:#}");
}

#[test]
fn a_damaged_state_is_an_error_and_no_fresh_start() {
    let mut writer = Writer::new();
    writer.write(1);
    Reader::default().read_all(&writer);
    let whole = fs::read(writer.state()).unwrap();
    let version = String::from_utf8(whole.clone())
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    for damaged in [
        &whole[..0],
        &whole[..20],
        version.as_bytes(),
        &[&whole, b"x".as_slice()].concat(),
    ] {
        fs::write(writer.state(), damaged).unwrap();
        let error = Follower::open(&writer.log(), &writer.state()).unwrap_err();
        assert!(format!("{error:#}").contains("remove it"), "{error:#}");
    }
}

#[test]
fn a_change_wakes_and_other_files_do_not() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut writer = Writer::new();
        let mut follower = Follower::open(&writer.log(), &writer.state()).unwrap();
        assert!(follower.poll().unwrap().is_none());
        follower.changed().await;
        // Time stands still unless nothing else is left to do: with nothing told, two seconds pass at once.
        let before = tokio::time::Instant::now();
        fs::write(writer.folder.path().join("other.json"), "x").unwrap();
        follower.changed().await;
        assert!(before.elapsed() >= std::time::Duration::from_secs(2));
        let changes: [fn(&mut Writer); 3] = [
            |writer| writer.write(1),
            |writer| writer.rename(9),
            Writer::reopen,
        ];
        for change in changes {
            change(&mut writer);
            let before = tokio::time::Instant::now();
            follower.changed().await;
            assert!(before.elapsed() < std::time::Duration::from_secs(2));
        }
    });
}

/// What a reader does with the events of a step, and how far it gets before it is killed.
struct Events {
    path: PathBuf,
    waiting: Vec<u8>,
}

impl Events {
    fn append(&self, bytes: &[u8]) {
        let mut file = append(&self.path);
        let mut end = Vec::new();
        File::open(&self.path).unwrap().read_to_end(&mut end).unwrap();
        if end.last().is_some_and(|&last| last != b'\n') {
            file.write_all(b"\n").unwrap();
        }
        file.write_all(bytes).unwrap();
    }

    fn rotate(&self) {
        let generation = |number: u32| self.path.with_extension(format!("json.{number}"));
        for number in (1..20).rev() {
            fs::rename(generation(number), generation(number + 1)).ok();
        }
        fs::rename(&self.path, generation(1)).unwrap();
    }

    /// Opens the follower and finishes the step before.
    fn start(&self, writer: &Writer) -> Follower {
        let mut follower = Follower::open(&writer.log(), &writer.state()).unwrap();
        self.append(&follower.unfinished_events());
        follower.commit().unwrap();
        follower
    }

    fn read(&mut self, follower: &mut Follower) {
        while let Some(lines) = follower.poll().unwrap() {
            for (_, line) in lines.iter() {
                self.waiting.extend_from_slice(b"event of ");
                self.waiting.extend_from_slice(line);
                self.waiting.push(b'\n');
            }
        }
    }

    /// The lines that are events, over all generations.
    fn whole(&self) -> Vec<String> {
        let siblings = siblings::list(&self.path).unwrap();
        siblings
            .into_iter()
            .flat_map(|sibling| {
                let mut content = String::new();
                { sibling.file }.read_to_string(&mut content).unwrap();
                content.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|line| line.starts_with("event of ") && line.ends_with('}'))
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Killed {
    BeforePrepare,
    /// After this part of the events was written.
    While(Index),
    BeforeCommit,
    /// The event file was rotated in between.
    AfterRotation,
    Never,
}

fn killed() -> impl Strategy<Value = Killed> {
    prop_oneof![
        Just(Killed::BeforePrepare),
        any::<Index>().prop_map(Killed::While),
        Just(Killed::BeforeCommit),
        Just(Killed::AfterRotation),
        Just(Killed::Never),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    Part,
    Rename,
    Reopen,
    Late,
    StartCopy,
    Copy(u64),
    Cut,
    Delete,
    Poll(usize),
    Commit,
    Kill,
}

fn renaming() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..40_usize).prop_map(Act::Write),
        2 => Just(Act::Part),
        2 => Just(Act::Rename),
        2 => Just(Act::Reopen),
        1 => Just(Act::Late),
        4 => (1..4_usize).prop_map(Act::Poll),
        3 => Just(Act::Commit),
        2 => Just(Act::Kill),
    ]
}

fn anything() -> impl Strategy<Value = Act> {
    prop_oneof![
        // A rotated file that was read to its end may be removed with a later line in it; nothing tells of that.
        6 => renaming().prop_filter("no late line", |act| !matches!(act, Act::Late)),
        1 => Just(Act::StartCopy),
        1 => (0..3000_u64).prop_map(Act::Copy),
        2 => Just(Act::Cut),
        1 => Just(Act::Delete),
    ]
}

fn act(act: &Act, writer: &mut Writer, reader: &mut Reader) {
    match act {
        Act::Write(lines) => writer.write(*lines),
        Act::Part => writer.write_part(),
        // A copy under way belongs to this name.
        Act::Rename if writer.copy.is_none() => writer.rename(30),
        Act::Reopen => writer.reopen(),
        Act::Late => writer.write_late(),
        // Only what the writer has open is copied and cut.
        Act::StartCopy if writer.log().exists() => writer.start_copy(),
        Act::Copy(bytes) => writer.copy_part(*bytes),
        Act::Cut if writer.log().exists() => {
            let read = |line: &String| writer.lives[line] == writer.life;
            if !reader.committed.iter().any(read) {
                writer.unmet.insert(writer.life);
            }
            writer.partial = None;
            writer.cut();
        }
        Act::Delete => {
            writer.old = None;
            if let Some(oldest) = (1..32).rev().find(|number| writer.generation(*number).exists())
                && writer.copy.is_none()
            {
                let oldest = writer.generation(oldest);
                writer.deleted.push(File::open(&oldest).unwrap());
                fs::remove_file(oldest).unwrap();
            }
        }
        Act::Poll(pieces) => {
            reader.poll(writer, *pieces);
        }
        Act::Commit => reader.commit(writer),
        Act::Kill => reader.kill(),
        Act::Rename | Act::StartCopy | Act::Cut => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn with_rotation_by_rename_every_line_comes_once(acts in vec(renaming(), 1..60)) {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        reader.open(&writer);
        for a in &acts {
            act(a, &mut writer, &mut reader);
        }
        writer.reopen();
        writer.write(1);
        let mut read = reader.read_all(&writer).to_vec();
        if !acts.iter().any(|act| matches!(act, Act::Late)) {
            prop_assert_eq!(&read, &writer.written);
        }
        read.sort();
        let mut written = writer.written.clone();
        written.sort();
        prop_assert_eq!(read, written);
        prop_assert!(reader.problems.is_empty());
    }

    #[test]
    fn whatever_happens_no_line_comes_twice_and_losses_are_told(acts in vec(anything(), 1..60)) {
        let mut writer = Writer::new();
        let mut reader = Reader::default();
        reader.open(&writer);
        for a in &acts {
            act(a, &mut writer, &mut reader);
        }
        writer.reopen();
        writer.write(1);
        let read = reader.read_all(&writer).to_vec();
        let unique: BTreeSet<_> = read.iter().collect();
        prop_assert_eq!(unique.len(), read.len());
        let written: BTreeSet<_> = writer.written.iter().collect();
        let lost: Vec<_> = written.difference(&unique).collect();
        // Of a file of which nothing was read before it was cut or removed, nobody knew.
        let met: BTreeSet<_> = read.iter().map(|line| writer.lives[line]).collect();
        if lost.iter().any(|line| met.contains(&writer.lives[**line]) && !writer.unmet.contains(&writer.lives[**line])) {
            prop_assert!(!reader.problems.is_empty(), "lost: {:?}", lost);
        }
    }

    #[test]
    fn events_are_whole_and_once_in_the_file_wherever_the_writer_of_them_is_killed(
        steps in vec((1..30_usize, any::<bool>(), killed()), 1..12),
    ) {
        let mut writer = Writer::new();
        let mut events = Events {
            path: writer.folder.path().join("events.json"),
            waiting: Vec::new(),
        };
        append(&events.path);
        drop(events.start(&writer));
        for (lines, rotate, killed) in steps {
            writer.write(lines);
            if rotate {
                writer.rename(30);
                writer.reopen();
            }
            let mut follower = events.start(&writer);
            events.read(&mut follower);
            let waiting = std::mem::take(&mut events.waiting);
            if waiting.is_empty() || matches!(killed, Killed::BeforePrepare) {
                continue;
            }
            follower.prepare(&waiting, &events.path).unwrap();
            match killed {
                Killed::While(index) => {
                    events.append(&waiting[..index.index(waiting.len())]);
                    continue;
                }
                Killed::AfterRotation => {
                    let (first, rest) = waiting.split_at(waiting.iter().position(|&b| b == b'\n').unwrap() + 1);
                    events.append(first);
                    // Another appender, too.
                    events.append(b"somebody else's\n");
                    events.rotate();
                    events.append(&rest[..rest.len() / 2]);
                    continue;
                }
                _ => events.append(&waiting),
            }
            if matches!(killed, Killed::Never) {
                follower.commit().unwrap();
            }
        }
        let mut follower = events.start(&writer);
        events.read(&mut follower);
        events.append(&events.waiting);
        let expected: Vec<_> = writer.written.iter().map(|line| format!("event of {line}")).collect();
        prop_assert_eq!(events.whole(), expected);
    }
}
