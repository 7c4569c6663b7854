//! The event files as they are when the evidence is collected.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{self, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::capture::{follow::siblings, input::Input};

/// Longest line that is copied, with its end: sixteen times what the Wazuh agent carries.
const LIMIT: u64 = 1 << 20;

/// One file, up to the length that it had when it was opened: what is appended later is not looked at, and a
/// rotation does not take it away.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    file: File,
    length: u64,
}

/// The files that were named.
///
/// # Errors
/// A file that cannot be opened, or cannot be read twice.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in paths {
        ensure!(
            path.is_file(),
            "cannot read {}: it has to be a regular file, since it is read more than once",
            path.display()
        );
        let reading = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(reading)?;
        // A name that means something elsewhere, too.
        let path = path::absolute(path).with_context(reading)?;
        files.push(SourceFile::new(path, file)?);
    }
    once(files)
}

/// The event file and what it was rotated to, compressed or not.
///
/// # Errors
/// As [`named`]; that there is none.
pub(super) fn of_output(path: &Path) -> Result<Vec<SourceFile>> {
    if path == Path::new("-") {
        bail!("output.path is standard output; name the event files");
    }
    let listing = || format!("cannot list {} and what it was rotated to", path.display());
    let plain = siblings::list(path).with_context(listing)?;
    let mut files = plain
        .into_iter()
        .map(|sibling| SourceFile::new(sibling.path, sibling.file))
        .collect::<Result<Vec<_>>>()?;
    let mut compressed = Vec::new();
    for entry in fs::read_dir(siblings::folder(path)).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        if is_compressed(path.file_name().unwrap_or_default(), &entry.file_name()) {
            compressed.push(entry.path());
        }
    }
    compressed.sort();
    files.extend(named(&compressed)?);
    ensure!(
        !files.is_empty(),
        "there is no {}; name the event files, or the configuration with --config",
        path.display()
    );
    once(files)
}

fn is_compressed(log: &OsStr, name: &OsStr) -> bool {
    [&b".gz"[..], b".zst"].iter().any(|extension| {
        let stem = name.as_bytes().strip_suffix(*extension);
        stem.is_some_and(|stem| siblings::belongs(log, OsStr::from_bytes(stem)))
    })
}

/// A file with two names counts once.
fn once(files: Vec<SourceFile>) -> Result<Vec<SourceFile>> {
    let mut known = BTreeSet::new();
    let mut kept = Vec::with_capacity(files.len());
    for source in files {
        let meta = source.file.metadata().with_context(|| source.reading())?;
        if known.insert((meta.dev(), meta.ino())) {
            kept.push(source);
        }
    }
    Ok(kept)
}

impl SourceFile {
    fn new(path: PathBuf, file: File) -> Result<Self> {
        let meta = file
            .metadata()
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            length: meta.len(),
            path,
            file,
        })
    }

    pub(super) fn reading(&self) -> String {
        format!("cannot read {}", self.path.display())
    }

    fn stored(&self) -> io::Result<io::Take<File>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file.take(self.length))
    }

    /// Size and SHA-256 of what is stored.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn sum(&self) -> io::Result<(u64, String)> {
        let mut hash = Sha256::new();
        let size = io::copy(&mut self.stored()?, &mut hash)?;
        Ok((size, super::archive::hex(hash)))
    }

    /// Its lines, compression taken off.
    ///
    /// # Errors
    /// Those of reading its start.
    pub(super) fn lines(&self) -> io::Result<Lines> {
        Ok(Lines {
            reader: BufReader::new(Input::new(self.stored()?)?),
            line: Vec::new(),
            number: 0,
            offset: 0,
            next: 0,
        })
    }
}

/// The lines of a file with nothing taken off.
pub(super) struct Lines {
    reader: BufReader<Input>,
    line: Vec<u8>,
    number: u64,
    offset: u64,
    next: u64,
}

/// A line and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// With its end, if it has one; `None` for one of over 1 MiB.
    pub(super) bytes: Option<&'a [u8]>,
    /// From 1 on.
    pub(super) number: u64,
    /// Of its first byte, compression taken off.
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Lines {
    /// # Errors
    /// Those of reading; nothing more can be read then.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        self.offset = self.next;
        let read = self
            .reader
            .by_ref()
            .take(LIMIT + 1)
            .read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.next += read;
        let fits = read <= LIMIT;
        if !fits && !self.line.ends_with(b"\n") {
            self.next += self.reader.skip_until(b'\n')? as u64;
        }
        Ok(Some(Line {
            bytes: fits.then_some(&self.line),
            number: self.number,
            offset: self.offset,
            length: self.next - self.offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::*;

    fn file(bytes: &[u8]) -> SourceFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        SourceFile::new("events".into(), file).unwrap()
    }

    proptest! {
        #[test]
        fn lines_put_together_are_the_file_and_stand_where_they_say(
            bytes in vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), packed in any::<bool>(),
        ) {
            // Neither gzip nor zstd by accident.
            let bytes = [b"{".to_vec(), bytes].concat();
            let stored = if packed {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap()
            } else {
                bytes.clone()
            };
            let source = file(&stored);
            prop_assert_eq!(source.sum().unwrap().0, stored.len() as u64);
            let mut lines = source.lines().unwrap();
            let mut all: Vec<u8> = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                prop_assert_eq!(line.offset, all.len() as u64);
                prop_assert_eq!(line.length, line.bytes.unwrap().len() as u64);
                all.extend(line.bytes.unwrap());
            }
            prop_assert_eq!(all, bytes);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_with_its_length_and_the_next_one_is_read() {
        let long = vec![b'x'; 3 << 20];
        let source = file(&[&b"a\n"[..], &long, b"\nb\n"].concat());
        let mut lines = source.lines().unwrap();
        assert_eq!(lines.next().unwrap().unwrap().bytes, Some(&b"a\n"[..]));
        let second = lines.next().unwrap().unwrap();
        assert_eq!(
            (second.bytes, second.offset, second.length),
            (None, 2, (3 << 20) + 1)
        );
        let third = lines.next().unwrap().unwrap();
        assert_eq!((third.bytes, third.number), (Some(&b"b\n"[..]), 3));
        assert!(lines.next().unwrap().is_none());
    }

    #[test]
    fn generations_of_the_event_file_are_found_compressed_or_not_and_each_once() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            "e.json",
            "e.json.1",
            "e.json.2.gz",
            "e.json.3.zst",
            "e.json.gz.bak",
            "f.json",
            "e.jsonx.gz",
        ] {
            fs::write(path(name), name).unwrap();
        }
        fs::hard_link(path("e.json.1"), path("e.json.5")).unwrap();
        let files = of_output(&path("e.json")).unwrap();
        let mut names: Vec<_> = files
            .iter()
            .map(|file| file.path.file_name().unwrap().to_str().unwrap())
            .collect();
        names.sort_unstable();
        assert!(
            names == ["e.json", "e.json.1", "e.json.2.gz", "e.json.3.zst"]
                || names == ["e.json", "e.json.2.gz", "e.json.3.zst", "e.json.5"],
            "{names:?}"
        );
    }
}
