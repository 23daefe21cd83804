//! BLAKE3 of files and records, and the text form of keys.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use crate::codec::open_regular;
use crate::error::{Error, Result};
use crate::job::{Job, Phase};

/// A BLAKE3-256 digest; the key of a value in the network.
pub type Digest = [u8; 32];

/// Bytes read at a time from a file that is hashed on all cores.
const READ_SIZE: usize = 4 << 20;

/// BLAKE3 of a whole file, on all cores.
pub fn hash_file(path: &Path, job: &Job) -> Result<Digest> {
    hash_open(&open_regular(path)?, path, job)
}

/// The same of a file that is open: what else has its name by now does not matter.
pub fn hash_open(file: &File, path: &Path, job: &Job) -> Result<Digest> {
    let size = file.metadata().map_err(Error::io(path))?.len();
    job.begin(Phase::Hash, size);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_SIZE.min(size as usize)];
    let mut at = 0;
    while at < size {
        let part = &mut buffer[..(READ_SIZE as u64).min(size - at) as usize];
        file.read_exact_at(part, at).map_err(Error::io(path))?;
        hasher.update_rayon(part);
        at += part.len() as u64;
        job.advance(part.len() as u64)?;
    }
    Ok(hasher.finalize().into())
}

/// BLAKE3 of `count` records of `length` bytes each, in their order.
pub fn hash_records(
    file: &File,
    path: &Path,
    count: usize,
    length: usize,
    job: &Job,
) -> Result<Vec<Digest>> {
    (0..count)
        .into_par_iter()
        .map_init(
            || vec![0; length],
            |record, index| {
                file.read_exact_at(record, (index * length) as u64)
                    .map_err(Error::io(path))?;
                job.advance(length as u64)?;
                Ok(blake3::hash(record).into())
            },
        )
        .collect()
}

/// Base58 (Bitcoin alphabet, no checksum): the text form of a key.
pub fn key_text(digest: &Digest) -> String {
    bs58::encode(digest).into_string()
}

/// The 32 bytes of a key's text form.
pub fn key_from_text(text: &str) -> Result<Digest> {
    let mut digest = [0; 32];
    // 44 characters are the most that 32 bytes need; longer text is not worth decoding.
    let length = if text.len() <= 44 {
        bs58::decode(text).onto(&mut digest).ok()
    } else {
        None
    };
    match length {
        Some(32) => Ok(digest),
        _ => Err(Error::input(format!(
            "{:?} is not the base58 form of a 32-byte key",
            text.chars().take(50).collect::<String>()
        ))),
    }
}
