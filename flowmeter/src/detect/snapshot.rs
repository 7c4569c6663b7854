//! What the engine remembers, as bytes: a restart neither forgets nor repeats.
//!
//! `magic | version | SHA-1 of the rest | state`. Written by the agent beside the old one and renamed; the engine
//! itself touches no file.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use thiserror::Error;

use super::{Detectors, Engine, contact::Contacts, episode::Episodes, roles::Roles};

const MAGIC: &[u8; 8] = b"flowmdet";
/// To be raised with any change of what is kept: an older state is set aside, not guessed at.
const VERSION: u32 = 4;
const DIGEST: usize = 20;

/// Why a snapshot cannot be taken over. None is fatal: the engine goes on with what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    #[error("is no saved detection state")]
    Foreign,
    #[error("is detection state of version {0}, this is version {VERSION}")]
    Version(u32),
    #[error("is damaged or cut short")]
    Damaged,
}

#[derive(Serialize)]
struct State<'a> {
    contacts: &'a Contacts,
    roles: &'a Roles,
    episodes: &'a Episodes,
    detectors: &'a Detectors,
    watermark_ns: u64,
    next_tick_ns: u64,
}

#[derive(Deserialize)]
struct Saved {
    contacts: Contacts,
    roles: Roles,
    episodes: Episodes,
    detectors: Detectors,
    watermark_ns: u64,
    next_tick_ns: u64,
}

impl Engine {
    /// The whole state. To be called between [`Engine::drain`] and the next [`Engine::feed`]: findings that were not
    /// drained are not in it.
    pub fn snapshot(&self) -> Vec<u8> {
        let state = State {
            contacts: &self.contacts,
            roles: &self.watch.roles,
            episodes: &self.watch.episodes,
            detectors: &self.watch.detectors,
            watermark_ns: self.watermark_ns,
            next_tick_ns: self.next_tick_ns,
        };
        // Writing to memory does not fail, and every type here can be written.
        let state = postcard::to_stdvec(&state).unwrap_or_default();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + DIGEST + state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&Sha1::digest(&state));
        bytes.extend_from_slice(&state);
        bytes
    }

    /// Takes over what [`Engine::snapshot`] has saved, in place of what is there. Settings are those of this
    /// engine: tables that have become smaller keep the most suspicious.
    ///
    /// # Errors
    /// Bytes that are no snapshot of this version; nothing has changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(SnapshotError::Foreign)?;
        if magic != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (digest, state) = rest.split_first_chunk::<DIGEST>().ok_or(SnapshotError::Damaged)?;
        if Sha1::digest(state)[..] != digest[..] {
            return Err(SnapshotError::Damaged);
        }
        let saved: Saved = postcard::from_bytes(state).map_err(|_| SnapshotError::Damaged)?;
        self.contacts.adopt(saved.contacts);
        self.watch.roles.adopt(saved.roles);
        self.watch.episodes.adopt(saved.episodes);
        self.watch.detectors.adopt(saved.detectors);
        self.watermark_ns = saved.watermark_ns;
        self.next_tick_ns = saved.next_tick_ns;
        Ok(())
    }
}
