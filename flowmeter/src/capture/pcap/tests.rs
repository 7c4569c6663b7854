use std::io::Cursor;

use proptest::{collection::vec, prelude::*};

use super::*;

/// One frame as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    time_ns: u64,
    interface: usize,
    original_length: u32,
    data: Vec<u8>,
}

/// Hands out a few bytes at a time, so that records are met in every state of completeness.
struct Trickle(Cursor<Vec<u8>>, usize);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.1);
        self.0.read(&mut into[..length])
    }
}

fn read(file: &[u8], step: usize) -> (Vec<Seen>, Vec<Problem>, Vec<Interface>) {
    let mut capture = Capture::new("test", Trickle(Cursor::new(file.to_vec()), step));
    let (mut frames, mut problems) = (Vec::new(), Vec::new());
    loop {
        match capture.advance() {
            Ok(None) => break,
            Ok(Some(time_ns)) => {
                let frame = capture.frame();
                assert_eq!(frame.time_ns, time_ns);
                frames.push(Seen {
                    time_ns,
                    interface: frame.interface,
                    original_length: frame.original_length,
                    data: frame.data.to_vec(),
                });
            }
            Err(problem) => problems.push(problem),
        }
        assert!(problems.len() <= file.len() + 1, "reading does not end");
    }
    (frames, problems, capture.interfaces().to_vec())
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[derive(Clone, Copy)]
struct Order {
    big_endian: bool,
}

const LITTLE: Order = Order { big_endian: false };
const BIG: Order = Order { big_endian: true };

impl Order {
    fn two(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn four(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn pcap(self, magic: u32, link_type: u32) -> Vec<u8> {
        let words = [0, 0, 65535, link_type].map(|word| self.four(word)).concat();
        [&self.four(magic)[..], &self.two(2), &self.two(4), &words].concat()
    }

    fn record(self, seconds: u32, fraction: u32, original: u32, data: &[u8]) -> Vec<u8> {
        let captured = u32::try_from(data.len()).unwrap();
        let header = [seconds, fraction, captured, original]
            .map(|word| self.four(word))
            .concat();
        [&header, data].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = self.four(u32::try_from(body.len() + 12).unwrap());
        [&self.four(kind)[..], &length, &body, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [
            &self.four(0x1a2b_3c4d)[..],
            &self.two(1),
            &self.two(0),
            &[0xff; 8],
        ]
        .concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link_type: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.two(link_type)[..], &[0, 0], &self.four(0)].concat();
        for (code, value) in options {
            body.extend(self.two(*code));
            body.extend(self.two(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, stamp: u64, original: u32, data: &[u8]) -> Vec<u8> {
        let [high, low] = [stamp >> 32, stamp & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
        let captured = u32::try_from(data.len()).unwrap();
        let header = [interface, high, low, captured, original]
            .map(|word| self.four(word))
            .concat();
        self.block(6, &[&header, data].concat())
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn pcap_in_both_byte_orders_and_resolutions() {
    for order in [LITTLE, BIG] {
        for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let file = [
                order.pcap(magic, 1),
                order.record(1_700_000_000, 5, 60, &[1, 2, 3]),
                order.record(1_700_000_001, 999_999, 2, &[4, 5, 6, 7]),
            ]
            .concat();
            for step in [1, 7, 4096] {
                let (frames, problems, interfaces) = read(&file, step);
                assert_eq!(told(&problems), [""; 0]);
                assert_eq!((interfaces.len(), interfaces[0].link_type), (1, 1));
                let expected = [
                    Seen {
                        time_ns: 1_700_000_000 * SECOND + 5 * unit,
                        interface: 0,
                        original_length: 60,
                        data: vec![1, 2, 3],
                    },
                    // An original length under what was captured is no length.
                    Seen {
                        time_ns: 1_700_000_001 * SECOND + 999_999 * unit,
                        interface: 0,
                        original_length: 4,
                        data: vec![4, 5, 6, 7],
                    },
                ];
                assert_eq!(frames, expected);
            }
        }
    }
}

#[test]
fn the_modified_pcap_of_old_linux_has_longer_record_headers() {
    let mut record = LITTLE.record(7, 8, 3, &[]);
    record[8] = 3;
    let file = [LITTLE.pcap(0xa1b2_cd34, 1), record, vec![0; 8], vec![1, 2, 3]].concat();
    let (frames, problems, _) = read(&file, 4096);
    assert_eq!(told(&problems), [""; 0]);
    assert_eq!(frames[0].data, [1, 2, 3]);
}

#[test]
fn the_frame_check_sequence_bits_are_not_part_of_the_link_type() {
    let (_, _, interfaces) = read(&LITTLE.pcap(0xa1b2_c3d4, 0x2400_0001), 4096);
    assert_eq!(interfaces[0].link_type, 1);
}

#[test]
fn pcapng_with_several_interfaces_and_resolutions() {
    for order in [LITTLE, BIG] {
        let offset: [u8; 8] = if order.big_endian {
            100_i64.to_be_bytes()
        } else {
            100_i64.to_le_bytes()
        };
        let file = [
            order.section(),
            order.interface(1, &[(2, b"eth0")]),
            order.interface(101, &[(2, b"tun0"), (9, &[9]), (14, &offset)]),
            order.block(0x0bad, &[1, 2, 3]),
            order.enhanced(0, 1_700_000_000_000_001, 99, &[1, 2, 3, 4, 5]),
            order.enhanced(1, 5, 4, &[6, 7, 8, 9]),
        ]
        .concat();
        for step in [1, 4096] {
            let (frames, problems, interfaces) = read(&file, step);
            assert_eq!(told(&problems), [""; 0]);
            let names: Vec<_> = interfaces
                .iter()
                .map(|i| (i.link_type, i.name.as_deref().unwrap()))
                .collect();
            assert_eq!(names, [(1, "eth0"), (101, "tun0")]);
            assert_eq!(frames.len(), 2);
            assert_eq!(frames[0].time_ns, 1_700_000_000 * SECOND + 1000);
            assert_eq!(
                (frames[0].original_length, frames[0].data.as_slice()),
                (99, &[1, 2, 3, 4, 5][..])
            );
            assert_eq!((frames[1].time_ns, frames[1].interface), (100 * SECOND + 5, 1));
        }
    }
}

#[test]
fn each_section_has_its_own_byte_order_and_interfaces() {
    let file = [
        LITTLE.section(),
        LITTLE.interface(1, &[]),
        LITTLE.enhanced(0, 1, 1, &[1]),
        BIG.section(),
        BIG.interface(101, &[]),
        BIG.enhanced(0, 2, 1, &[2]),
        BIG.enhanced(1, 3, 1, &[3]),
    ]
    .concat();
    let (frames, problems, interfaces) = read(&file, 4096);
    assert_eq!(frames.iter().map(|f| f.interface).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((interfaces[1].link_type, interfaces[1].number), (101, 0));
    let at = file.len() - 36;
    assert_eq!(
        told(&problems),
        [format!(
            "test: at byte {at}: a packet of interface 1, which the file does not describe, was left out"
        )]
    );
}

#[test]
fn simple_packets_take_the_time_of_the_frame_before_and_that_is_told_once() {
    let mut simple = LITTLE.four(9).to_vec();
    simple.extend([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let simple = LITTLE.block(3, &simple);
    let file = [
        LITTLE.section(),
        LITTLE.interface(1, &[]),
        LITTLE.enhanced(0, 5_000_000, 1, &[1]),
        simple.clone(),
        simple,
    ]
    .concat();
    let (frames, problems, _) = read(&file, 4096);
    assert_eq!(
        frames.iter().map(|f| f.time_ns).collect::<Vec<_>>(),
        [5 * SECOND; 3]
    );
    assert_eq!(frames[1].data, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(problems.len(), 1);
    assert!(matches!(problems[0].what, What::NoTime) && !problems[0].is_loss());
}

#[test]
fn packet_blocks_of_old_files() {
    for order in [LITTLE, BIG] {
        let words = [0, 3_000_000, 5, 77].map(|word| order.four(word)).concat();
        let body = [&order.two(0)[..], &order.two(9), &words, &[1, 2, 3, 4, 5]].concat();
        let mut lying = body.clone();
        lying[12..16].copy_from_slice(&order.four(9));
        let file = [
            order.section(),
            order.interface(1, &[]),
            order.block(2, &lying),
            order.block(2, &body),
        ]
        .concat();
        let (frames, problems, _) = read(&file, 4096);
        assert_eq!((frames[0].time_ns, frames[0].original_length), (3 * SECOND, 77));
        assert_eq!(frames[0].data, [1, 2, 3, 4, 5]);
        assert!(matches!(
            problems[..],
            [Problem {
                what: What::DamagedPacket,
                ..
            }]
        ));
    }
}

#[test]
fn a_cut_file_gives_what_stands_before_and_the_place() {
    let whole = [LITTLE.pcap(0xa1b2_c3d4, 1), LITTLE.record(1, 0, 9, &[1; 9])].concat();
    let file = [whole.as_slice(), &LITTLE.record(2, 0, 9, &[2; 9])[..20]].concat();
    let (frames, problems, _) = read(&file, 4096);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        told(&problems),
        [
            "test: at byte 49: the file ends inside of a record, 5 bytes or more are missing; what stands before was used"
        ]
    );
    assert!(problems[0].is_loss());
}

#[test]
fn what_is_no_capture_is_told() {
    for file in [&b""[..], b"\xa1\xb2", b"# a log\n1\t2\n", &[0; 100]] {
        let (frames, problems, _) = read(file, 4096);
        assert_eq!(frames.len(), 0);
        assert!(
            matches!(
                problems[..],
                [Problem {
                    what: What::NotACapture,
                    offset: 0,
                    ..
                }]
            ),
            "{file:?}"
        );
    }
}

#[test]
fn a_record_beyond_reason_ends_the_file() {
    let mut record = LITTLE.record(2, 0, 9, &[]);
    record[8..12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let file = [
        LITTLE.pcap(0xa1b2_c3d4, 1),
        LITTLE.record(1, 0, 1, &[1]),
        record,
        vec![0; 999],
    ]
    .concat();
    let (frames, problems, _) = read(&file, 4096);
    assert_eq!(frames.len(), 1);
    assert!(matches!(
        problems[..],
        [Problem {
            what: What::RecordTooLong { .. },
            offset: 41,
            ..
        }]
    ));
}

#[test]
fn a_record_longer_than_the_window_is_read_whole() {
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let file = [
        LITTLE.pcap(0xa1b2_c3d4, 1),
        LITTLE.record(1, 0, 1, &data),
        LITTLE.record(2, 0, 1, &[9]),
    ]
    .concat();
    let (frames, problems, _) = read(&file, 100_000);
    assert_eq!(told(&problems), [""; 0]);
    assert_eq!(
        (frames[0].data == data, frames[1].data.as_slice()),
        (true, &[9][..])
    );
}

proptest! {
    /// Whatever is damaged: reading ends, and frames in front of the damage are those of the whole file.
    #[test]
    fn damage_never_panics_and_never_reaches_back(
        ng in any::<bool>(),
        big_endian in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let order = Order { big_endian };
        let frames: Vec<Vec<u8>> = (0..6_u8).map(|n| vec![n; usize::from(n) * 5]).collect();
        let mut file = if ng {
            [order.section(), order.interface(1, &[(2, b"eth0"), (9, &[6])]), order.interface(113, &[])].concat()
        } else {
            order.pcap(0xa1b2_c3d4, 1)
        };
        let mut ends = Vec::new();
        for data in &frames {
            let record = if ng { order.enhanced(0, 7, 99, data) } else { order.record(1, 7, 99, data) };
            file.extend(record);
            ends.push(file.len());
        }
        let (whole, problems, _) = read(&file, 4096);
        prop_assert_eq!((whole.len(), problems.len()), (6, 0));
        let mut first_damage = file.len();
        for (place, byte) in damage {
            let at = place.index(file.len());
            if file[at] != byte {
                file[at] = byte;
                first_damage = first_damage.min(at);
            }
        }
        let length = cut.index(file.len() + 1);
        file.truncate(length);
        first_damage = first_damage.min(length);
        let intact = ends.iter().filter(|&&end| end <= first_damage).count();
        for step in [3, 4096] {
            let (read, _, _) = read(&file, step);
            prop_assert!(read.len() >= intact);
            prop_assert_eq!(&read[..intact], &whole[..intact]);
        }
    }
}
