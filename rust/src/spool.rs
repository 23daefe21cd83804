//! A spool: the packets that a retrieval has so far, one after the other in a file, each verified when it is appended
//! and again when the file is opened. The packets say themselves which symbol they are, so there is no index to tear.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::codec::{Packets, writable};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::geometry::{Geometry, HEADER_SIZE, PACKET_SIZE, packet_header};
use crate::job::{Job, Phase};

/// What became of one value that was offered to a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a symbol of the layout, and new.
    Accepted,
    /// It is a symbol of the layout that the spool has already.
    Duplicate,
    /// Its BLAKE3 is not the key it was offered under.
    False,
    /// The layout has no such key.
    Foreign,
    /// It is what its key says, but its length or header is not that of the symbol the layout lists there.
    Malformed,
}

/// Counts of what was found when a spool's file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Packets that were kept.
    pub kept: usize,
    /// Records that are no symbol of the layout (or a second copy of one); their places are used again.
    pub dropped: usize,
    /// Bytes of a record that was cut while it was written.
    pub torn: u64,
}

/// The packets of one file.
pub struct Spool {
    geometry: Geometry,
    keys: HashMap<Digest, u32>,
    path: PathBuf,
    file: File,
    slots: HashMap<u32, u64>,
    symbols: Vec<u32>,
    free: Vec<u64>,
    end: u64,
    opened: Opened,
}

impl Spool {
    /// Opens or creates the spool at `path` for a file of this geometry with these symbols, by encoding symbol id.
    /// The file is locked for this process.
    pub fn open(path: &Path, geometry: Geometry, symbols: &[Digest], job: &Job) -> Result<Self> {
        let keys = index_symbols(symbols, &geometry)?;
        let file = writable(path)?;
        file.try_lock().map_err(|refusal| match refusal {
            TryLockError::WouldBlock => {
                Error::input(format!("{} is in use by another process", path.display()))
            }
            TryLockError::Error(source) => Error::io(path)(source),
        })?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let records = length / PACKET_SIZE as u64;
        let torn = length % PACKET_SIZE as u64;
        if torn > 0 {
            file.set_len(records * PACKET_SIZE as u64)
                .map_err(Error::io(path))?;
        }
        job.begin(Phase::Check, records * PACKET_SIZE as u64);
        let found: Vec<Option<u32>> = (0..records)
            .into_par_iter()
            .map_init(
                || vec![0; PACKET_SIZE],
                |packet, slot| {
                    file.read_exact_at(packet, slot * PACKET_SIZE as u64)
                        .map_err(Error::io(path))?;
                    job.advance(PACKET_SIZE as u64)?;
                    let digest: Digest = blake3::hash(packet).into();
                    let esi = keys.get(&digest).copied();
                    Ok(esi.filter(|esi| packet.starts_with(&packet_header(*esi))))
                },
            )
            .collect::<Result<_>>()?;
        let mut spool = Self {
            geometry,
            keys,
            path: path.to_path_buf(),
            file,
            slots: HashMap::new(),
            symbols: Vec::new(),
            free: Vec::new(),
            end: records,
            opened: Opened {
                torn,
                ..Opened::default()
            },
        };
        for (slot, esi) in found.into_iter().enumerate() {
            match esi {
                Some(esi) if !spool.slots.contains_key(&esi) => {
                    spool.hold(esi, slot as u64);
                    spool.opened.kept += 1;
                }
                _ => {
                    spool.free.push(slot as u64);
                    spool.opened.dropped += 1;
                }
            }
        }
        Ok(spool)
    }

    /// What was found in the file when it was opened.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// The geometry of the spool's file.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Judges values offered under keys, and keeps the good ones. A verdict per value, in order.
    pub fn append<V: AsRef<[u8]> + Sync>(
        &mut self,
        values: &[(Digest, V)],
    ) -> Result<Vec<Verdict>> {
        let judged: Vec<(Verdict, u32)> = values
            .par_iter()
            .map(|(key, value)| judge(&self.keys, key, value.as_ref()))
            .collect();
        let mut verdicts = Vec::with_capacity(values.len());
        for ((verdict, esi), (_, value)) in judged.into_iter().zip(values) {
            let verdict = match verdict {
                Verdict::Accepted if self.slots.contains_key(&esi) => Verdict::Duplicate,
                other => other,
            };
            if verdict == Verdict::Accepted {
                self.write(esi, value.as_ref())?;
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Whether the spool has the symbol of this key.
    pub fn holds(&self, key: &Digest) -> bool {
        self.keys
            .get(key)
            .is_some_and(|esi| self.slots.contains_key(esi))
    }

    /// What a value offered under a key would be.
    pub fn judge(&self, key: &Digest, value: &[u8]) -> Verdict {
        judge(&self.keys, key, value).0
    }

    fn write(&mut self, esi: u32, packet: &[u8]) -> Result<()> {
        let slot = self.free.last().copied().unwrap_or(self.end);
        self.file
            .write_all_at(packet, slot * PACKET_SIZE as u64)
            .map_err(Error::io(&self.path))?;
        if self.free.pop().is_none() {
            self.end += 1;
        }
        self.hold(esi, slot);
        Ok(())
    }

    fn hold(&mut self, esi: u32, slot: u64) {
        self.slots.insert(esi, slot);
        let at = self.symbols.partition_point(|held| *held < esi);
        self.symbols.insert(at, esi);
    }
}

impl Packets for Spool {
    fn symbols(&self) -> &[u32] {
        &self.symbols
    }

    fn read(&self, esi: u32, start: usize, target: &mut [u8]) -> Result<()> {
        let slot = self
            .slots
            .get(&esi)
            .ok_or_else(|| Error::input(format!("the spool has no symbol {esi}")))?;
        let offset = slot * PACKET_SIZE as u64 + (HEADER_SIZE + start) as u64;
        self.file
            .read_exact_at(target, offset)
            .map_err(Error::io(&self.path))
    }
}

/// Symbol ids by key; an error where the list is not that of the geometry, or names a symbol twice.
pub fn index_symbols(symbols: &[Digest], geometry: &Geometry) -> Result<HashMap<Digest, u32>> {
    if symbols.len() != geometry.total_symbols() as usize {
        return Err(Error::input(format!(
            "a file of {} bytes has {} symbols, the layout lists {}",
            geometry.size,
            geometry.total_symbols(),
            symbols.len()
        )));
    }
    let keys: HashMap<Digest, u32> = symbols.iter().copied().zip(0..).collect();
    if keys.len() != symbols.len() {
        return Err(Error::input(format!(
            "the layout lists {} symbols, but only {} different ones",
            symbols.len(),
            keys.len()
        )));
    }
    Ok(keys)
}

/// What a value offered under a key is to a file with these symbols, and which symbol it is.
pub fn judge(keys: &HashMap<Digest, u32>, key: &Digest, value: &[u8]) -> (Verdict, u32) {
    if blake3::hash(value).as_bytes() != key {
        return (Verdict::False, 0);
    }
    match keys.get(key) {
        None => (Verdict::Foreign, 0),
        Some(esi) if value.len() == PACKET_SIZE && value.starts_with(&packet_header(*esi)) => {
            (Verdict::Accepted, *esi)
        }
        Some(esi) => (Verdict::Malformed, *esi),
    }
}
