//! A place in a fixed piece of memory that text is written to.
//!
//! A vector keeps its length in memory, and each piece that is appended waits for the one before to have stored it. Here
//! all is inlined, so that the place stays in a register; and what has a width that is known when compiled is copied by
//! a few moves, in place of a call.

/// Room for a line; nearly all are shorter. A longer one is left to serde.
pub(in crate::emit) const ROOM: usize = 2560;

pub(super) struct Cursor<'a> {
    room: &'a mut [u8; ROOM],
    /// Bytes written; beyond the room once something did not fit.
    at: usize,
}

/// A text in a place of fixed width, copied whole and then cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<const N: usize> {
    pub(super) bytes: [u8; N],
    pub(super) length: u8,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) const fn new(room: &'a mut [u8; ROOM]) -> Self {
        Self { room, at: 0 }
    }

    /// The number of bytes written; `None` if they did not fit.
    #[inline(always)]
    pub(super) fn finish(self) -> Option<usize> {
        (self.at <= ROOM).then_some(self.at)
    }

    /// Nothing more is written: the line is one for serde.
    #[cold]
    #[inline(always)]
    pub(super) const fn give_up(&mut self) {
        self.at = ROOM + 1;
    }

    /// Constant text.
    #[inline(always)]
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let rest = self.room.get_mut(self.at..);
        match rest.and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.give_up(),
        }
    }

    /// The first `length` of `bytes`. There has to be room for all.
    #[inline(always)]
    pub(super) fn cut<const N: usize>(&mut self, bytes: [u8; N], length: usize) {
        let rest = self.room.get_mut(self.at..);
        match rest.and_then(<[u8]>::first_chunk_mut) {
            Some(place) => {
                *place = bytes;
                self.at += length;
            }
            None => self.give_up(),
        }
    }

    #[inline(always)]
    pub(super) fn piece<const N: usize>(&mut self, piece: &Piece<N>) {
        self.cut(piece.bytes, usize::from(piece.length));
    }

    /// Where the next byte comes, for [`Cursor::again`].
    #[inline(always)]
    pub(super) const fn place(&self) -> usize {
        self.at
    }

    /// What was written from `start` to `end`, at most `N` bytes, once more.
    #[inline(always)]
    pub(super) fn again<const N: usize>(&mut self, start: usize, end: usize) {
        let from = self.room.get(start..).and_then(<[u8]>::first_chunk::<N>);
        match from.copied() {
            Some(bytes) => self.cut(bytes, end.wrapping_sub(start)),
            None => self.give_up(),
        }
    }
}

/// Made when compiled: what does not fit does not compile.
#[expect(clippy::indexing_slicing, reason = "only evaluated when compiled")]
impl<const N: usize> Piece<N> {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; N],
        length: 0,
    };

    pub(super) const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            self.bytes[self.length as usize] = text[at];
            self.length += 1;
            at += 1;
        }
        self
    }

    pub(super) const fn number(self, value: u8) -> Self {
        let (hundreds, tens, ones) = (value / 100, value / 10 % 10, value % 10);
        match value {
            100.. => self.digit(hundreds).digit(tens).digit(ones),
            10.. => self.digit(tens).digit(ones),
            _ => self.digit(ones),
        }
    }

    const fn digit(mut self, value: u8) -> Self {
        self.bytes[self.length as usize] = b'0' + value;
        self.length += 1;
        self
    }
}
