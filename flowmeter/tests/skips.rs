//! The protocol by which skipped tests are told.

mod support;

use std::fs;

#[test]
fn skipped_tests_are_appended_one_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("skips");
    support::tell(Some(&file), "an_example", "needs root").unwrap();
    support::tell(Some(&file), "another_example", "needs BPF_TCX_INGRESS (6.6)").unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "skipped: an_example: needs root\nskipped: another_example: needs BPF_TCX_INGRESS (6.6)\n"
    );
}
