//! A file or standard input as a stream of bytes, decompressed if it is gzip or zstd (seen by content).

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    os::fd::AsFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes read from all files so far, as they are on disk: what a progress bar shows.
pub type BytesRead = Arc<AtomicU64>;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How much of the content a format is told by.
const HEAD: usize = 4096;

/// What a file holds, compression taken off.
pub struct Input {
    head: Cursor<Vec<u8>>,
    rest: Box<dyn Read>,
    modified: SystemTime,
}

impl Input {
    /// Opens `path`, or standard input for `-`.
    ///
    /// # Errors
    /// Those of opening and of reading the start.
    pub fn open(path: &Path, read: BytesRead) -> io::Result<Self> {
        if path == Path::new("-") {
            let modified = File::from(io::stdin().as_fd().try_clone_to_owned()?)
                .metadata()?
                .modified()?;
            let inner = io::stdin();
            return Ok(Self {
                modified,
                ..Self::new(Counted { inner, read })?
            });
        }
        let inner = File::open(path)?;
        Ok(Self {
            modified: inner.metadata()?.modified()?,
            ..Self::new(Counted { inner, read })?
        })
    }

    /// # Errors
    /// Those of reading the start.
    pub fn new(mut raw: impl Read + 'static) -> io::Result<Self> {
        let magic = start(&mut raw, ZSTD.len())?;
        let compressed = |raw| Cursor::new(magic.clone()).chain(BufReader::with_capacity(1 << 17, raw));
        let mut rest: Box<dyn Read> = if magic.starts_with(&GZIP) {
            Box::new(MultiGzDecoder::new(compressed(raw)))
        } else if magic.starts_with(&ZSTD) || skippable(&magic) {
            Box::new(Zstd::new(compressed(raw)))
        } else {
            Box::new(Cursor::new(magic).chain(raw))
        };
        let mut head = Vec::with_capacity(HEAD);
        // What goes wrong after some bytes is met again by the reader, which knows where it is.
        if let Err(error) = rest.by_ref().take(HEAD as u64).read_to_end(&mut head) {
            if head.is_empty() {
                return Err(error);
            }
            rest = Box::new(Failed(Some(error)));
        }
        Ok(Self {
            head: Cursor::new(head),
            rest,
            modified: SystemTime::UNIX_EPOCH,
        })
    }

    /// When the file was last written to; for a pipe, when its last bytes were. The epoch for other readers.
    pub const fn modified(&self) -> SystemTime {
        self.modified
    }

    /// The first bytes of the content, up to 4,096, whether or not they were read.
    pub fn head(&self) -> &[u8] {
        self.head.get_ref()
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.head.read(into)? {
            0 => self.rest.read(into),
            read => Ok(read),
        }
    }
}

/// Up to `length` bytes; fewer only at the end of the file.
fn start(raw: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    raw.by_ref().take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Counted<R> {
    inner: R,
    read: BytesRead,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// An error that was met early and is told in its place.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// RFC 8878 section 3.1.2: 0x184D2A50 to 0x184D2A5F, little-endian.
fn skippable(magic: &[u8]) -> bool {
    matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// Zstandard frames one after the other, as `zstd`, `pzstd` and `cat` write them.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            inside: false,
        }
    }

    /// Goes on to the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            let magic = start(&mut self.source, 4)?;
            if magic.is_empty() {
                return Ok(false);
            }
            if skippable(&magic) {
                let mut length = [0; 4];
                self.source.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            self.decoder
                .reset(Cursor::new(magic).chain(&mut self.source))
                .map_err(io::Error::other)?;
            self.inside = true;
            return Ok(true);
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.inside = false;
        match (
            self.decoder.get_checksum_from_data(),
            self.decoder.get_calculated_checksum(),
        ) {
            (Some(stored), Some(calculated)) if stored != calculated => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "wrong checksum of a zstd frame",
            )),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            match self.decoder.read(into)? {
                0 => self.end_frame()?,
                length => return Ok(length),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn content(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Input::new(Cursor::new(bytes))?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn sample() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    #[test]
    fn compression_is_seen_by_content() {
        let sample = sample();
        for length in [0, 1, 3, 4, 5, 4096, 4097, sample.len()] {
            let part = &sample[..length];
            assert_eq!(content(part.to_vec()).unwrap(), part);
            assert_eq!(content(gzip(part)).unwrap(), part);
            assert_eq!(content(zstd(part)).unwrap(), part);
        }
    }

    #[test]
    fn members_and_frames_one_after_the_other_are_one_content() {
        let sample = sample();
        let twice = [sample.as_slice(), &sample].concat();
        assert_eq!(content([gzip(&sample), gzip(&sample)].concat()).unwrap(), twice);
        let skipped = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let frames = [skipped.clone(), zstd(&sample), skipped, zstd(&sample)].concat();
        assert_eq!(content(frames).unwrap(), twice);
    }

    #[test]
    fn what_stands_before_a_cut_is_read_and_the_cut_is_an_error() {
        let sample = sample();
        for whole in [gzip(&sample), zstd(&sample)] {
            let mut input = Input::new(Cursor::new(whole[..whole.len() - 9].to_vec())).unwrap();
            let mut read = Vec::new();
            assert!(input.read_to_end(&mut read).is_err());
            assert!(read.len() > sample.len() / 2);
            assert!(sample.starts_with(&read));
        }
    }

    #[test]
    fn the_head_stays_part_of_the_content() {
        let sample = sample();
        let mut input = Input::new(Cursor::new(gzip(&sample))).unwrap();
        assert_eq!(input.head(), &sample[..HEAD]);
        let mut read = Vec::new();
        input.read_to_end(&mut read).unwrap();
        assert_eq!(read, sample);
    }
}
