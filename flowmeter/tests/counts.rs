//! Every capture of the corpus against an independent parser's counts (`counts.tsv` there). Where the two
//! differ on purpose, `counts-differences.tsv` here has our numbers and the reason.

#![allow(clippy::unwrap_used, reason = "a wrong table must fail its test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
    time::Duration,
};

use flowmeter::{
    capture::{
        input::BytesRead,
        replay::{CaptureSource, FileSource, Reader, Replay},
    },
    config::Tunnels,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    packets: u64,
    bytes: u64,
    tuples: usize,
}

fn counted(path: &Path) -> Counts {
    let reader: Reader = Rc::new(|file, input| Box::new(CaptureSource::new(file, input)));
    let source = FileSource::new(path, &BytesRead::default(), &reader);
    let mut replay = Replay::new(vec![Box::new(source)], Duration::MAX, Tunnels::Outer);
    let mut counts = Counts::default();
    let mut tuples = BTreeSet::new();
    while let Some(interval) = replay.next_interval() {
        for record in interval.batch.records {
            let key = record.key;
            tuples.insert((
                key.source,
                key.destination,
                key.source_port,
                key.destination_port,
                key.protocol,
            ));
            counts.packets += record.counters.packets;
            counts.bytes += record.counters.l3_bytes;
        }
    }
    counts.tuples = tuples.len();
    counts
}

fn rows(text: &str) -> BTreeMap<&str, Counts> {
    text.lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split('\t');
            let path = fields.next().unwrap();
            let mut number = || fields.next().unwrap().parse::<u64>().unwrap();
            let (packets, bytes, tuples) = (number(), number(), number());
            (
                path,
                Counts {
                    packets,
                    bytes,
                    tuples: usize::try_from(tuples).unwrap(),
                },
            )
        })
        .collect()
}

#[test]
fn every_capture_is_counted_as_listed() {
    let Some(data) = support::data_or_skip("every_capture_is_counted_as_listed") else {
        return;
    };
    let theirs = fs::read_to_string(data.join("counts.tsv")).unwrap();
    let theirs = rows(&theirs);
    let differences = rows(include_str!("counts-differences.tsv"));
    for path in differences.keys() {
        assert!(
            theirs.contains_key(path),
            "{path} is listed as different and not in counts.tsv"
        );
    }
    let mut wrong = String::new();
    for (path, theirs) in &theirs {
        let expected = differences.get(path).unwrap_or(theirs);
        let ours = counted(&data.join(path));
        if ours != *expected {
            let Counts {
                packets,
                bytes,
                tuples,
            } = ours;
            wrong += &format!("{path}\t{packets}\t{bytes}\t{tuples}\texpected {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "counted otherwise than expected:\n{wrong}");
}
