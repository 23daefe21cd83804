//! The LEP-5 availability commitment: a Merkle tree over the chunks of a file (docs/formats.md, "Commitment").

use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use crate::codec::open_regular;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::job::{Job, Phase};

/// Largest chunk size that a commitment may have.
pub const MAX_CHUNK_SIZE: u32 = 262_144;
/// Most chunks that are computed; honest commitments have at most 5 120.
const MAX_CHUNKS: u64 = 1 << 22;

/// The leaf hashes of a file.
pub fn leaves(path: &Path, chunk_size: u32, job: &Job) -> Result<Vec<Digest>> {
    if chunk_size == 0 || chunk_size > MAX_CHUNK_SIZE {
        return Err(Error::input(format!(
            "a commitment's chunk size is 1 to {MAX_CHUNK_SIZE} bytes, not {chunk_size}"
        )));
    }
    let file = open_regular(path)?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let count = size.div_ceil(u64::from(chunk_size));
    if count > MAX_CHUNKS {
        return Err(Error::input(format!(
            "{count} chunks of {chunk_size} bytes are more than a commitment has"
        )));
    }
    job.begin(Phase::Hash, size);
    (0..count as u32)
        .into_par_iter()
        .map_init(Vec::new, |buffer: &mut Vec<u8>, index| {
            let offset = u64::from(index) * u64::from(chunk_size);
            let length = (size - offset).min(u64::from(chunk_size)) as usize;
            buffer.resize(5 + length, 0);
            buffer[0] = 0;
            buffer[1..5].copy_from_slice(&index.to_be_bytes());
            file.read_exact_at(&mut buffer[5..], offset)
                .map_err(Error::io(path))?;
            job.advance(length as u64)?;
            Ok(blake3::hash(buffer).into())
        })
        .collect()
}

/// All levels of the tree, leaves first. An odd level's last hash is paired with itself.
pub fn tree(leaves: Vec<Digest>) -> Vec<Vec<Digest>> {
    let mut levels = vec![leaves];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let parents = level
            .chunks(2)
            .map(|pair| {
                let mut node = [1; 65];
                node[1..33].copy_from_slice(&pair[0]);
                node[33..].copy_from_slice(&pair[pair.len() - 1]);
                blake3::hash(&node).into()
            })
            .collect();
        levels.push(parents);
    }
    levels
}

/// The path from a leaf to the root: (sibling, whether the sibling is on the right).
pub fn proof(levels: &[Vec<Digest>], leaf: usize) -> Vec<(Digest, bool)> {
    levels
        .iter()
        .enumerate()
        .filter(|(_, level)| level.len() > 1)
        .map(|(height, level)| {
            let index = leaf >> height;
            let sibling = (index ^ 1).min(level.len() - 1);
            (level[sibling], index.is_multiple_of(2))
        })
        .collect()
}
