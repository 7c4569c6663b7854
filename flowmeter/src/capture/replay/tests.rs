use std::{cell::RefCell, fs, rc::Rc};

use flowmeter_common::{FlowCounters, FlowKey};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    capture::{input::BytesRead, problem::What},
    flow::{FlowRecord, InterfaceBatch},
};

const SECOND: u64 = 1_000_000_000;

/// Items of one port each, as a log has them.
struct Log {
    items: std::vec::IntoIter<(u64, u16)>,
    current: (u64, u16),
    counted: Rc<RefCell<Vec<u64>>>,
}

fn log(items: &[(u64, u16)], counted: &Rc<RefCell<Vec<u64>>>) -> Box<dyn Source> {
    Box::new(Log {
        items: Vec::from(items).into_iter(),
        current: (0, 0),
        counted: Rc::clone(counted),
    })
}

impl Source for Log {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        self.current = item;
        Ok(Some(item.0))
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        let (time_ns, source_port) = self.current;
        self.counted.borrow_mut().push(time_ns);
        into.record(&FlowRecord {
            key: FlowKey {
                source_port,
                ifindex: interfaces.ifindex("log"),
                ..FlowKey::default()
            },
            counters: FlowCounters {
                packets: 1,
                l3_bytes: 100,
                wire_bytes: 114,
                first_ns: time_ns,
                last_ns: time_ns,
                ..FlowCounters::default()
            },
        });
        None
    }
}

/// Start in seconds, (port, packets) in order, late items; of every interval.
type Shape = (u64, Vec<(u16, u64)>, u64);

fn replayed(sources: Vec<Box<dyn Source>>) -> Vec<Shape> {
    let mut replay = Replay::new(sources, Duration::from_secs(10), Tunnels::Outer);
    let mut all = Vec::new();
    while let Some(interval) = replay.next_interval() {
        assert_eq!(interval.end_ns - interval.start_ns, 10 * SECOND);
        let flows: Vec<_> = interval
            .batch
            .records
            .iter()
            .map(|r| (r.key.source_port, r.counters.packets))
            .collect();
        let seen: u64 = interval
            .batch
            .interfaces
            .iter()
            .map(|i| i.counters.seen.packets)
            .sum();
        assert_eq!(seen, flows.iter().map(|flow| flow.1).sum::<u64>());
        all.push((interval.start_ns / SECOND, flows, interval.late_items));
    }
    all
}

#[test]
fn sources_are_merged_by_time_and_cut_at_multiples_of_the_interval() {
    let counted = Rc::default();
    let sources = vec![
        log(
            &[
                (101 * SECOND, 2),
                (109 * SECOND, 1),
                (110 * SECOND, 1),
                (500 * SECOND, 3),
            ],
            &counted,
        ),
        log(&[(102 * SECOND, 2), (112 * SECOND, 7)], &counted),
        log(&[], &counted),
    ];
    let expected = [
        (100, vec![(1, 1), (2, 2)], 0),
        (110, vec![(1, 1), (7, 1)], 0),
        (500, vec![(3, 1)], 0),
    ];
    assert_eq!(replayed(sources), expected);
    assert_eq!(
        *counted.borrow(),
        [101, 102, 109, 110, 112, 500].map(|s| s * SECOND)
    );
}

#[test]
fn an_item_up_to_one_interval_late_is_counted_in_its_own_and_a_later_one_is_told() {
    let counted = Rc::default();
    let items =
        [(105, 1), (111, 2), (109, 3), (101, 4), (121, 5), (108, 6)].map(|(s, port)| (s * SECOND, port));
    let expected = [
        (100, vec![(1, 1), (3, 1), (4, 1)], 0),
        (110, vec![(2, 1), (6, 1)], 1),
        (120, vec![(5, 1)], 0),
    ];
    assert_eq!(replayed(vec![log(&items, &counted)]), expected);
}

/// Items in any order.
struct Unsorted(Box<dyn Source>);

impl Source for Unsorted {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        self.0.advance()
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        self.0.count(into, interfaces)
    }

    fn sorted(&self) -> bool {
        false
    }
}

/// The intervals' start in seconds, packets, and late items.
fn bounded(sources: Vec<Box<dyn Source>>, intervals: usize) -> Vec<(u64, u64, u64)> {
    let mut replay = Replay::new(sources, Duration::from_secs(10), Tunnels::Outer);
    let max_open_flows = intervals * (FLOWS_PER_INTERVAL + 2);
    replay.max_open_flows = max_open_flows;
    let mut all = Vec::new();
    while let Some(interval) = replay.next_interval() {
        assert!(replay.open_flows <= max_open_flows, "memory is not bounded");
        let packets = interval
            .batch
            .records
            .iter()
            .map(|record| record.counters.packets)
            .sum();
        all.push((interval.start_ns / SECOND, packets, interval.late_items));
    }
    assert_eq!(replay.open_flows, 0);
    all
}

#[test]
fn unsorted_items_wait_for_each_other_as_long_as_there_is_room() {
    let items =
        [(500, 1), (100, 2), (900, 3), (110, 4), (105, 5), (505, 6)].map(|(s, port)| (s * SECOND, port));
    let unsorted = || Box::new(Unsorted(log(&items, &Rc::default()))) as Box<dyn Source>;
    let exact = [(100, 2, 0), (110, 1, 0), (500, 2, 0), (900, 1, 0)];
    assert_eq!(bounded(vec![unsorted()], 6), exact);
    // With room for two intervals, the earliest go: 100 when 900 comes, 110 as it comes; 105 is too late for both.
    let squeezed = [(100, 1, 0), (110, 1, 0), (120, 1, 1), (500, 2, 0), (900, 1, 0)];
    assert_eq!(bounded(vec![unsorted()], 2), squeezed);
    // A capture beside it is held back, and goes on in its own way once the log has ended.
    let capture = log(
        &[(100, 7), (130, 8), (160, 9)].map(|(s, port)| (s * SECOND, port)),
        &Rc::default(),
    );
    let both = [
        (100, 3, 0),
        (110, 1, 0),
        (130, 1, 0),
        (160, 1, 0),
        (500, 2, 0),
        (900, 1, 0),
    ];
    assert_eq!(bounded(vec![unsorted(), capture], 9), both);
}

#[test]
fn a_flow_that_is_told_of_many_times_takes_the_room_of_one() {
    let mut gathered = Gathered::new(Tunnels::Outer);
    let (rounds, mut most) = (3 * ADD_UP_AT as u64, 0);
    for round in 0..rounds {
        let mut record = FlowRecord::default();
        record.key.source_port = u16::try_from(round % 1000).unwrap();
        record.counters.packets = 1;
        gathered.record(&record);
        most = most.max(gathered.records.capacity());
    }
    assert!(most <= 2 * ADD_UP_AT, "{most}");
    let (mut batch, _) = gathered.take();
    add_up(&mut batch.records);
    assert_eq!(batch.records.len(), 1000);
    let packets: u64 = batch.records.iter().map(|record| record.counters.packets).sum();
    assert_eq!(packets, rounds);
}

#[test]
fn a_file_cannot_name_any_number_of_interfaces() {
    let mut interfaces = Interfaces::default();
    let last = (0..100_000)
        .map(|number| interfaces.ifindex(&number.to_string()))
        .last()
        .unwrap();
    assert_eq!((last, interfaces.name(last)), (65_537, "others"));
    assert_eq!(interfaces.ifindex("17"), 18);
}

#[test]
fn what_is_left_out_lets_captures_go_on() {
    let late = Box::new(Unsorted(log(
        &[(100 * SECOND, 1), (900 * SECOND, 2)],
        &Rc::default(),
    )));
    let capture = log(
        &[(100, 7), (130, 8), (160, 9)].map(|(s, port)| (s * SECOND, port)),
        &Rc::default(),
    );
    let mut replay = Replay::new(vec![late, capture], Duration::from_secs(10), Tunnels::Outer);
    replay.until(150 * SECOND);
    let starts: Vec<_> = std::iter::from_fn(|| replay.next_interval())
        .map(|interval| interval.start_ns / SECOND)
        .collect();
    assert_eq!(
        (starts, replay.left_out(), replay.unsorted),
        (vec![100, 130], 2, 0)
    );
}

#[test]
fn interfaces_are_numbered_by_name_whatever_was_met_first() {
    let mut met = Interfaces::default();
    let [b, a, c] = ["b", "a", "c"].map(|name| met.ifindex(name));
    let mut settled = Interfaces::default();
    let mut names = |numbers: &[u32]| {
        let mut batch = Batch::default();
        for &ifindex in numbers {
            batch.interfaces.push(InterfaceBatch {
                ifindex,
                ..InterfaceBatch::default()
            });
            let mut record = FlowRecord::default();
            record.key.ifindex = ifindex;
            batch.records.push(record);
        }
        settled.settle(&met, &mut batch, &mut []);
        let numbers: Vec<_> = batch
            .interfaces
            .iter()
            .map(|interface| interface.ifindex)
            .collect();
        let records: Vec<_> = batch.records.iter().map(|record| record.key.ifindex).collect();
        (numbers, records)
    };
    assert_eq!(names(&[b, a]), (vec![1, 2], vec![2, 1]));
    assert_eq!(names(&[b, c]), (vec![2, 3], vec![2, 3]));
}

#[test]
fn interfaces_of_the_same_name_are_one() {
    let mut interfaces = Interfaces::default();
    let [a, b, again] = ["eth0", "eth1", "eth0"].map(|name| interfaces.ifindex(name));
    assert_eq!((a, b, again), (1, 2, 1));
    assert_eq!(
        ["", "eth0", "eth1", ""],
        [0, 1, 2, 3].map(|index| interfaces.name(index))
    );
}

proptest! {
    /// Within an interval the order of items does not matter, nor which of the files they are in.
    #[test]
    fn order_and_files_do_not_change_an_interval(
        items in vec((1000..1040_u64, 1..5_u16), 1..60),
        swaps in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
        split in any::<prop::sample::Index>(),
    ) {
        let mut items: Vec<_> = items.into_iter().map(|(second, port)| (second * SECOND, port)).collect();
        items.sort_unstable();
        let counted = Rc::default();
        let expected = replayed(vec![log(&items, &counted)]);
        for (a, b) in swaps {
            let (a, b) = (a.index(items.len()), b.index(items.len()));
            if items[a].0 / (10 * SECOND) == items[b].0 / (10 * SECOND) {
                items.swap(a, b);
            }
        }
        let at = split.index(items.len());
        let interleaved: (Vec<_>, Vec<_>) = items.iter().partition(|item| item.1 % 2 == 0);
        prop_assert_eq!(&replayed(vec![log(&items, &counted)]), &expected);
        prop_assert_eq!(&replayed(vec![log(&items[at..], &counted), log(&items[..at], &counted)]), &expected);
        prop_assert_eq!(
            &replayed(vec![log(&interleaved.0, &counted), log(&interleaved.1, &counted)]),
            &expected
        );
    }
}

fn pcap(link_type: u8, records: &[(u32, &[u8])]) -> Vec<u8> {
    let mut file = vec![
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, link_type, 0, 0, 0,
    ];
    for (seconds, data) in records {
        let length = u32::try_from(data.len()).unwrap();
        for word in [*seconds, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(*data);
    }
    file
}

/// IPv4 with protocol 89, no payload.
const PACKET: [u8; 20] = [
    0x45, 0, 0, 20, 0, 0, 0, 0, 1, 89, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
];

fn captures(paths: &[PathBuf], read: &BytesRead) -> Replay {
    let reader: Reader = Rc::new(|file, input| Box::new(CaptureSource::new(file, input)));
    let source = |path: &PathBuf| -> Box<dyn Source> { Box::new(FileSource::new(path, read, &reader)) };
    Replay::new(
        paths.iter().map(source).collect(),
        Duration::from_secs(10),
        Tunnels::Outer,
    )
}

#[test]
fn a_directory_of_rotated_captures_is_one_observation_point_and_every_byte_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("older")).unwrap();
    let mut bytes = 0;
    for (name, second) in [("b", 1005), ("a", 1020), ("older/c", 1001)] {
        let file = pcap(101, &[(second, &PACKET), (second + 1, &PACKET)]);
        bytes += u64::try_from(file.len()).unwrap();
        fs::write(folder.path().join(name), file).unwrap();
    }
    let paths = files(folder.path()).unwrap();
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "older/c"]);
    let read = BytesRead::default();
    let mut replay = captures(&paths, &read);
    let mut seen = Vec::new();
    while let Some(interval) = replay.next_interval() {
        let [record] = interval.batch.records.as_slice() else {
            panic!("{:?}", interval.batch)
        };
        assert_eq!(replay.interfaces().name(record.key.ifindex), "capture0");
        seen.push((
            interval.start_ns / SECOND,
            record.counters.packets,
            record.counters.l3_bytes,
        ));
    }
    assert_eq!(seen, [(1000, 4, 80), (1020, 2, 40)]);
    assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), bytes);
    assert!(replay.take_problems().is_empty());
}

#[test]
fn frames_of_an_unknown_link_type_are_counted_as_not_ip_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("radio");
    fs::write(&path, pcap(105, &[(1000, &PACKET), (1001, &PACKET)])).unwrap();
    let mut replay = captures(&[path], &BytesRead::default());
    let interval = replay.next_interval().unwrap();
    let [interface] = interval.batch.interfaces.as_slice() else {
        panic!()
    };
    let not_ip = interface.counters.uncounted[flowmeter_common::Uncounted::NotIp as usize];
    assert_eq!((not_ip.packets, not_ip.wire_bytes), (2, 40));
    assert_eq!(interface.counters.seen, not_ip);
    let problems = replay.take_problems();
    assert!(matches!(
        problems[..],
        [Problem {
            what: What::UnknownLinkType(105),
            ..
        }]
    ));
    assert!(!problems[0].is_loss());
}

#[test]
fn a_broken_file_does_not_keep_the_others_from_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["cut", "missing", "text", "whole"].map(|name| folder.path().join(name));
    let whole = pcap(101, &[(1000, &PACKET), (1001, &PACKET)]);
    fs::write(&paths[0], &whole[..whole.len() - 1]).unwrap();
    fs::write(&paths[2], "what?").unwrap();
    fs::write(&paths[3], &whole).unwrap();
    let mut replay = captures(&paths, &BytesRead::default());
    let interval = replay.next_interval().unwrap();
    assert_eq!(interval.batch.records[0].counters.packets, 3);
    assert!(replay.next_interval().is_none());
    let problems = replay.take_problems();
    assert!(problems.iter().all(Problem::is_loss));
    let whats: Vec<_> = problems
        .iter()
        .map(|problem| (problem.offset, &problem.what))
        .collect();
    assert!(
        matches!(
            whats[..],
            [
                (0, What::Open(_)),
                (0, What::NotACapture),
                (60, What::Cut { missing: 1 })
            ]
        ),
        "{whats:?}"
    );
}
