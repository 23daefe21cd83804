//! A pack: values one after the other in a file, with an index that names each by its key
//! (docs/formats.md, "Packs").

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::codec::writable;
use crate::digest::{Digest, key_text};
use crate::error::{Error, Result};
use crate::geometry::PACKET_SIZE;
use crate::job::{Job, Phase};

const MAGIC: &[u8; 8] = b"LEP6PACK";
const VERSION: u32 = 1;
const HEAD: usize = 16;
const ENTRY: usize = 48;
const SEAL: usize = 32;

/// One value of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// BLAKE3 of the value.
    pub key: Digest,
    /// Where it begins in the pack.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// Its turn when the pack is published; lower goes first.
    pub rank: u32,
}

/// The entries of a pack of symbols, which lie in the order of their ids.
pub fn symbol_entries(keys: &[Digest], ranks: &[u8]) -> Result<Vec<Entry>> {
    if keys.len() != ranks.len() {
        return Err(Error::input(format!(
            "{} ranks were given for {} symbols",
            ranks.len(),
            keys.len()
        )));
    }
    Ok(keys
        .iter()
        .zip(ranks)
        .zip(0_u64..)
        .map(|((key, rank), esi)| Entry {
            key: *key,
            offset: esi * PACKET_SIZE as u64,
            length: PACKET_SIZE as u32,
            rank: u32::from(*rank),
        })
        .collect())
}

/// Writes a pack's index and syncs it.
pub fn write_index(path: &Path, entries: &[Entry]) -> Result<()> {
    let mut bytes = Vec::with_capacity(HEAD + entries.len() * ENTRY + SEAL);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.key);
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.length.to_le_bytes());
        bytes.extend_from_slice(&entry.rank.to_le_bytes());
    }
    let seal = blake3::hash(&bytes);
    bytes.extend_from_slice(seal.as_bytes());
    let mut file = writable(path)?;
    file.set_len(0)
        .and_then(|()| file.write_all(&bytes))
        .and_then(|()| file.sync_all())
        .map_err(Error::io(path))
}

/// Reads and checks a pack's index.
pub fn read_index(path: &Path) -> Result<Vec<Entry>> {
    let damaged = |why: &str| Error::input(format!("{} is damaged: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    if bytes.len() < HEAD + SEAL || !bytes.starts_with(MAGIC) {
        return Err(damaged("it is not the index of a pack"));
    }
    let (body, seal) = bytes.split_at(bytes.len() - SEAL);
    if blake3::hash(body).as_bytes() != seal {
        return Err(damaged("its content does not match its seal"));
    }
    let version = u32_at(body, 8);
    if version != VERSION {
        return Err(Error::input(format!(
            "{} has index version {version}; this lep6 reads version {VERSION}",
            path.display()
        )));
    }
    if body.len() != HEAD + u32_at(body, 12) as usize * ENTRY {
        return Err(damaged("its length does not match its count"));
    }
    let entries: Vec<Entry> = body[HEAD..]
        .chunks_exact(ENTRY)
        .map(|entry| {
            let mut key = [0; 32];
            key.copy_from_slice(&entry[..32]);
            let low = u64::from(u32_at(entry, 32));
            let high = u64::from(u32_at(entry, 36));
            Entry {
                key,
                offset: high << 32 | low,
                length: u32_at(entry, 40),
                rank: u32_at(entry, 44),
            }
        })
        .collect();
    let distinct: HashSet<_> = entries.iter().map(|entry| entry.key).collect();
    if distinct.len() != entries.len() {
        return Err(damaged("it names a key twice"));
    }
    Ok(entries)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// A complete pack, open for reading.
pub struct Pack {
    path: PathBuf,
    file: File,
    /// What it holds.
    pub entries: Vec<Entry>,
}

impl Pack {
    /// Opens a pack and checks that its file holds every entry of its index.
    pub fn open(path: &Path, index: &Path) -> Result<Self> {
        let entries = read_index(index)?;
        let file = File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let end = entries
            .iter()
            .map(|entry| entry.offset.saturating_add(u64::from(entry.length)))
            .max()
            .unwrap_or(0);
        if end != length {
            return Err(Error::input(format!(
                "{} has {length} bytes, its index wants {end}",
                path.display()
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            entries,
        })
    }

    /// Reads values and checks each against its key.
    pub fn read(&self, positions: &[usize]) -> Result<Vec<Vec<u8>>> {
        positions
            .par_iter()
            .map(|position| {
                let entry = self.entries.get(*position).ok_or_else(|| {
                    Error::input(format!(
                        "{} holds {} values, not a value {position}",
                        self.path.display(),
                        self.entries.len()
                    ))
                })?;
                let value = self.value(entry)?;
                if blake3::hash(&value).as_bytes() == &entry.key {
                    Ok(value)
                } else {
                    Err(Error::input(format!(
                        "{} is damaged: the value at byte {} is not that of key {}",
                        self.path.display(),
                        entry.offset,
                        key_text(&entry.key)
                    )))
                }
            })
            .collect()
    }

    /// Positions of the values that do not match their keys.
    pub fn check(&self, job: &Job) -> Result<Vec<usize>> {
        let bytes = self.entries.iter().map(|entry| u64::from(entry.length));
        job.begin(Phase::Check, bytes.sum());
        let judged: Vec<bool> = self
            .entries
            .par_iter()
            .map(|entry| {
                let value = self.value(entry)?;
                job.advance(u64::from(entry.length))?;
                Ok(blake3::hash(&value).as_bytes() == &entry.key)
            })
            .collect::<Result<_>>()?;
        Ok((0..judged.len()).filter(|at| !judged[*at]).collect())
    }

    fn value(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut value = vec![0; entry.length as usize];
        self.file
            .read_exact_at(&mut value, entry.offset)
            .map_err(Error::io(&self.path))?;
        Ok(value)
    }
}

/// A pack that is being written, value by value.
pub struct PackWriter {
    path: PathBuf,
    file: File,
    end: u64,
    entries: Vec<Entry>,
    keys: HashSet<Digest>,
}

impl PackWriter {
    /// Begins a new pack; what stood at `path` is gone.
    pub fn create(path: &Path) -> Result<Self> {
        let file = writable(path)?;
        file.set_len(0).map_err(Error::io(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            end: 0,
            entries: Vec::new(),
            keys: HashSet::new(),
        })
    }

    /// Appends a value under its key, which is computed.
    pub fn append(&mut self, value: &[u8], rank: u32) -> Result<Digest> {
        let length = u32::try_from(value.len())
            .map_err(|_| Error::input("a value of 4 GiB or more does not go into a pack"))?;
        let key = blake3::hash(value).into();
        if !self.keys.insert(key) {
            return Err(Error::input(format!(
                "{} holds the value of key {} already",
                self.path.display(),
                key_text(&key)
            )));
        }
        self.file
            .write_all_at(value, self.end)
            .map_err(Error::io(&self.path))?;
        self.entries.push(Entry {
            key,
            offset: self.end,
            length,
            rank,
        });
        self.end += u64::from(length);
        Ok(key)
    }

    /// Syncs the pack, then writes and syncs its index.
    pub fn finish(&self, index: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.path))?;
        write_index(index, &self.entries)
    }
}
