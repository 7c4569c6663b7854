//! Lines on their way to the file, in one piece of memory.

/// Lines that wait to be written. What was written stays until [`Lines::compact`], so that a write that
/// failed halfway can be taken back to the start of its first incomplete line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Everything before is written in whole lines.
    whole: usize,
    /// Everything before is written; after `whole` only within a line that was cut.
    sent: usize,
}

impl Lines {
    /// Appends what `encode` writes and a line end, or nothing if it fails.
    pub(super) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.bytes.len();
        let result = encode(&mut self.bytes);
        match result {
            Ok(()) => self.bytes.push(b'\n'),
            Err(_) => self.bytes.truncate(before),
        }
        result
    }

    /// Takes back the line that was pushed last, which has `length` bytes with its end.
    pub(super) fn pop(&mut self, length: usize) {
        self.bytes.truncate(self.bytes.len().saturating_sub(length));
    }

    /// Bytes not written yet.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Lines not wholly written yet.
    pub(super) fn pending_lines(&self) -> usize {
        count_lines(self.bytes.get(self.whole..).unwrap_or_default())
    }

    /// What to write next: whole lines (or the rest of a cut one and whole lines after it), `size` bytes at
    /// most unless one line is longer.
    pub(super) fn chunk(&self, size: usize) -> &[u8] {
        let pending = self.bytes.get(self.sent..).unwrap_or_default();
        let Some((head, tail)) = pending.split_at_checked(size) else {
            return pending;
        };
        let end = match head.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None => tail
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(pending.len(), |first| size + first + 1),
        };
        pending.get(..end).unwrap_or(pending)
    }

    /// Marks the next `written` bytes as written.
    pub(super) fn advance(&mut self, written: usize) {
        self.sent = (self.sent + written).min(self.bytes.len());
        let new = self.bytes.get(self.whole..self.sent).unwrap_or_default();
        if let Some(last) = new.iter().rposition(|&byte| byte == b'\n') {
            self.whole += last + 1;
        }
    }

    /// Bytes of the line that is written only in part.
    pub(super) fn cut(&self) -> usize {
        self.sent - self.whole
    }

    /// Forgets that a part of a line was written: it will be written whole.
    pub(super) fn rewind(&mut self) {
        self.sent = self.whole;
    }

    /// Gives back the memory of what is written, down to `keep` bytes of room.
    pub(super) fn compact(&mut self, keep: usize) {
        self.bytes.drain(..self.whole);
        self.sent -= self.whole;
        self.whole = 0;
        self.bytes.shrink_to(keep);
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(lines: &mut Lines, text: &str) {
        lines
            .push(|out| {
                out.extend_from_slice(text.as_bytes());
                Ok::<(), ()>(())
            })
            .unwrap();
    }

    #[test]
    fn a_failed_line_leaves_nothing() {
        let mut lines = Lines::default();
        push(&mut lines, "one");
        let failed = lines.push(|out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(lines.chunk(100), b"one\n");
    }

    proptest! {
        /// A sink that takes any number of bytes at a time, sometimes taking back a cut line.
        #[test]
        fn every_line_arrives_once_and_whole(
            texts in proptest::collection::vec("[a-z]{0,20}", 0..40),
            steps in proptest::collection::vec((0usize..30, 1usize..40, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let mut lines = Lines::default();
            for text in &texts {
                push(&mut lines, text);
            }
            let mut sink: Vec<u8> = Vec::new();
            let endless = std::iter::repeat_n((1000, 1000, false, false), texts.len() + 1);
            for (taken, size, take_back, compact) in steps.into_iter().chain(endless) {
                let chunk = lines.chunk(size);
                prop_assert!(chunk.is_empty() || chunk.ends_with(b"\n"));
                let taken = taken.min(chunk.len());
                sink.extend_from_slice(&chunk[..taken]);
                lines.advance(taken);
                if take_back {
                    sink.truncate(sink.len() - lines.cut());
                    lines.rewind();
                    prop_assert!(sink.is_empty() || sink.ends_with(b"\n"));
                }
                if compact {
                    lines.compact(16);
                }
            }
            let expected: String = texts.iter().map(|text| format!("{text}\n")).collect();
            prop_assert_eq!(String::from_utf8(sink).unwrap(), expected);
            prop_assert_eq!((lines.pending(), lines.pending_lines()), (0, 0));
        }
    }
}
