//! Lines on their way to the file, in one piece of memory.

/// Lines that wait to be written. What was written stays until [`Lines::compact`], so that a write that
/// failed halfway can be taken back to the start of its first incomplete line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The lines, and behind them room that was in use before.
    bytes: Vec<u8>,
    end: usize,
    /// Everything before is written in whole lines.
    whole: usize,
    /// Everything before is written; after `whole` only within a line that was cut.
    sent: usize,
}

impl Lines {
    /// Appends what `encode` writes and a line end, or nothing if it fails.
    pub(super) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.bytes.truncate(self.end);
        let result = encode(&mut self.bytes);
        if result.is_ok() {
            self.bytes.push(b'\n');
            self.end = self.bytes.len();
        }
        result
    }

    /// Appends the line whose length `write` tells, written into the room that it is given, and a line end. False if
    /// it tells none.
    ///
    /// The room is made once: it costs nothing while the buffer is as large as it was before.
    pub(super) fn push_into<const N: usize>(
        &mut self,
        write: impl FnOnce(&mut [u8; N]) -> Option<usize>,
    ) -> bool {
        if self.bytes.len() <= self.end + N {
            self.bytes.resize(self.end + N + 1, 0);
        }
        let room = self.bytes.get_mut(self.end..).and_then(<[u8]>::first_chunk_mut);
        let end = room.and_then(write).map(|length| self.end + length.min(N));
        if let Some(end) = end
            && let Some(byte) = self.bytes.get_mut(end)
        {
            *byte = b'\n';
            self.end = end + 1;
        }
        end.is_some()
    }

    /// Takes back the line that was pushed last, which has `length` bytes with its end.
    pub(super) fn pop(&mut self, length: usize) {
        self.end = self.end.saturating_sub(length);
    }

    /// Bytes not written yet.
    pub(super) fn pending(&self) -> usize {
        self.end - self.sent
    }

    /// Lines not wholly written yet.
    pub(super) fn pending_lines(&self) -> usize {
        count_lines(self.bytes.get(self.whole..self.end).unwrap_or_default())
    }

    /// What to write next: whole lines (or the rest of a cut one and whole lines after it), `size` bytes at
    /// most unless one line is longer.
    pub(super) fn chunk(&self, size: usize) -> &[u8] {
        let pending = self.bytes.get(self.sent..self.end).unwrap_or_default();
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
        self.sent = (self.sent + written).min(self.end);
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
        self.bytes.copy_within(self.whole..self.end, 0);
        self.end -= self.whole;
        self.sent -= self.whole;
        self.whole = 0;
        self.bytes.truncate(self.end.max(keep));
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
        let given_up = lines.push_into(|room: &mut [u8; 4]| {
            *room = *b"half";
            None
        });
        assert!(!given_up);
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
                if text.len() % 2 == 0 {
                    push(&mut lines, text);
                } else {
                    let fits = lines.push_into(|room: &mut [u8; 20]| {
                        room[..text.len()].copy_from_slice(text.as_bytes());
                        Some(text.len())
                    });
                    prop_assert!(fits);
                }
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
