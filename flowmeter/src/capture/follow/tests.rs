mod properties;
mod support;

use std::{fs, io::Write as _};

use self::support::{Reader, Writer};
use super::*;
use crate::capture::problem::What;

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
        assert!(content[usize::try_from(offset).unwrap()..].starts_with(&format!("{line}\n")));
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
    assert_eq!(reader.follower.unwrap().generations.places().len(), 1);
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
