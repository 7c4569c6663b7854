//! The archive: written under another name, then given its own, which must be free.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Cursor, Read, Seek, Write},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

const SUMS: &str = "SHA256SUMS";

pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// # Errors
/// If it is not there and cannot be made.
pub(super) fn make_folder(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("cannot make {}", directory.display()))
}

pub(super) struct Archive {
    directory: PathBuf,
    /// Of the archive, without its folder.
    name: String,
    /// In the archive.
    folder: String,
    mtime: u64,
    tar: Builder<GzEncoder<Hashed<NamedTempFile>>>,
    sums: String,
}

impl Archive {
    /// `made` is part of its name; its files have the time `mtime`.
    ///
    /// # Errors
    /// If there is such an archive, or none can be written.
    pub(super) fn create(
        directory: &Path,
        folder: &str,
        made: Timestamp,
        mtime: Option<Timestamp>,
    ) -> Result<Self> {
        let name = format!("{folder}-{}.tar.gz", made.strftime("%Y%m%dT%H%M%SZ"));
        for taken in [directory.join(&name), directory.join(format!("{name}.sha256"))] {
            ensure!(
                fs::symlink_metadata(&taken).is_err(),
                "{} is there already; evidence is never overwritten",
                taken.display()
            );
        }
        let file = temporary(directory)?;
        let hashed = Hashed {
            inner: file,
            hash: Sha256::new(),
            bytes: 0,
        };
        Ok(Self {
            directory: directory.to_owned(),
            name,
            folder: folder.to_owned(),
            mtime: mtime
                .and_then(|time| u64::try_from(time.as_second()).ok())
                .unwrap_or(0),
            // The header of gzip has no time of its own: the same content is the same archive.
            tar: Builder::new(GzEncoder::new(hashed, Compression::default())),
            sums: String::new(),
        })
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<()> {
        self.file(name, Cursor::new(text))
    }

    /// Adds what can be read from here on.
    pub(super) fn file(&mut self, name: &str, mut content: impl Read + Seek) -> Result<()> {
        let mut hash = Sha256::new();
        let size = io::copy(&mut content, &mut hash)?;
        content.rewind()?;
        self.sums += &format!("{}  {name}\n", hex(hash));
        self.append(name, size, content)
    }

    fn append(&mut self, name: &str, size: u64, content: impl Read) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_size(size);
        let path = format!("{}/{name}", self.folder);
        self.tar
            .append_data(&mut header, path, content.take(size))
            .with_context(|| format!("cannot write {}", self.name))
    }

    /// Gives the archive its name, and writes its checksum beside it. Its path and size.
    ///
    /// # Errors
    /// If it cannot be written, or another has taken the name.
    pub(super) fn finish(mut self) -> Result<(PathBuf, u64)> {
        let sums = std::mem::take(&mut self.sums);
        self.append(SUMS, sums.len() as u64, sums.as_bytes())?;
        let path = self.directory.join(&self.name);
        let writing = || format!("cannot write {}", path.display());
        let written = self
            .tar
            .into_inner()
            .and_then(GzEncoder::finish)
            .with_context(writing)?;
        let Hashed { inner, hash, bytes } = written;
        persist(inner, &path)?;
        let mut sum = temporary(&self.directory)?;
        let line = format!("{}  {}\n", hex(hash), self.name);
        sum.write_all(line.as_bytes()).with_context(writing)?;
        persist(sum, &self.directory.join(format!("{}.sha256", self.name)))?;
        let folder = File::open(&self.directory).and_then(|folder| folder.sync_all());
        folder.with_context(writing)?;
        Ok((path, bytes))
    }
}

/// For its owner alone; gone if it does not get a name.
fn temporary(directory: &Path) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(".flowmeter-evidence-")
        .tempfile_in(directory);
    file.with_context(|| format!("cannot write to {}", directory.display()))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let writing = || format!("cannot write {}", path.display());
    file.as_file().sync_all().with_context(writing)?;
    file.persist_noclobber(path)
        .map_err(|error| error.error)
        .with_context(writing)?;
    Ok(())
}

struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
