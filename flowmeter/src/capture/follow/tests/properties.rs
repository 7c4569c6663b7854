//! What holds in whatever order things happen.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::PathBuf,
};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::support::{Reader, Writer, append};
use crate::capture::follow::{Follower, siblings};

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
