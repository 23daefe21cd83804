//! A directory of symbols as the network's own encoder writes it: one packet a file, named by the symbol's id
//! (docs/formats.md, "Encode directory").

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use rayon::prelude::*;

use crate::codec::{Packets, open_regular};
use crate::digest::{Digest, key_text};
use crate::error::{Error, Result};
use crate::geometry::PACKET_SIZE;
use crate::job::{Job, Phase};
use crate::pack::Pack;
use crate::spool::{Spool, Verdict, judge};

/// Files read into a spool at a time.
const BATCH: usize = 256;

/// What a directory of symbols holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Symbols that are there and true.
    pub present: Vec<u32>,
    /// Symbols that are not there.
    pub missing: Vec<u32>,
    /// Symbols whose file does not hold them.
    pub broken: Vec<u32>,
    /// Names of files that are no symbol of the layout.
    pub foreign: Vec<String>,
}

/// Writes each value of a pack of symbols to a file of its own.
pub fn unpack(pack: &Pack, directory: &Path, job: &Job) -> Result<()> {
    job.begin(
        Phase::Encode,
        pack.entries
            .iter()
            .map(|entry| u64::from(entry.length))
            .sum(),
    );
    (0..pack.entries.len())
        .into_par_iter()
        .try_for_each(|position| {
            for value in pack.read(&[position])? {
                let path = directory.join(key_text(&pack.entries[position].key));
                File::create(&path)
                    .and_then(|mut file| file.write_all(&value))
                    .map_err(Error::io(&path))?;
                job.advance(value.len() as u64)?;
            }
            Ok(())
        })
}

/// Checks every file of the directory against the layout's symbols.
pub fn survey(directory: &Path, keys: &HashMap<Digest, u32>, job: &Job) -> Result<Survey> {
    job.begin(Phase::Check, keys.len() as u64 * PACKET_SIZE as u64);
    let mut wanted: Vec<(u32, &Digest)> = keys.iter().map(|(key, esi)| (*esi, key)).collect();
    wanted.sort_unstable();
    let states: Vec<Option<bool>> = wanted
        .par_iter()
        .map(|(_, key)| {
            job.advance(PACKET_SIZE as u64)?;
            let packet = read_packet(&directory.join(key_text(key)))?;
            Ok(packet.map(|packet| judge(keys, key, &packet).0 == Verdict::Accepted))
        })
        .collect::<Result<_>>()?;
    let mut survey = Survey {
        foreign: foreign_names(directory, keys)?,
        ..Survey::default()
    };
    for ((esi, _), state) in wanted.iter().zip(states) {
        match state {
            Some(true) => survey.present.push(*esi),
            Some(false) => survey.broken.push(*esi),
            None => survey.missing.push(*esi),
        }
    }
    Ok(survey)
}

/// Puts the symbols of a directory into a spool, in the order of their ids, until it holds `enough`.
/// How many it holds then.
pub fn fill(
    spool: &mut Spool,
    directory: &Path,
    symbols: &[Digest],
    enough: usize,
    job: &Job,
) -> Result<usize> {
    fs::read_dir(directory).map_err(Error::io(directory))?;
    job.begin(
        Phase::Check,
        (enough as u64).saturating_mul(PACKET_SIZE as u64),
    );
    for batch in symbols.chunks(BATCH) {
        let lacking = enough.saturating_sub(spool.symbols().len());
        if lacking == 0 {
            break;
        }
        let read: Vec<(Digest, Vec<u8>)> = batch
            .par_iter()
            .filter(|key| !spool.holds(key))
            .map(|key| {
                let packet = read_packet(&directory.join(key_text(key)))?;
                Ok(packet.map(|packet| (*key, packet)))
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .filter(|(key, packet)| spool.judge(key, packet) == Verdict::Accepted)
            .take(lacking)
            .collect();
        let verdicts = spool.append(&read)?;
        let accepted = verdicts
            .iter()
            .filter(|verdict| **verdict == Verdict::Accepted)
            .count();
        job.advance((accepted * PACKET_SIZE) as u64)?;
    }
    Ok(spool.symbols().len())
}

/// The content of a file, at most one byte more than a packet; `None` where nothing has that name.
fn read_packet(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(Error::Input(_)) => return Ok(Some(Vec::new())), // not even a file: no symbol
        Err(error) => return Err(error),
    };
    let mut packet = Vec::with_capacity(PACKET_SIZE + 1);
    file.take(PACKET_SIZE as u64 + 1)
        .read_to_end(&mut packet)
        .map_err(Error::io(path))?;
    Ok(Some(packet))
}

fn foreign_names(directory: &Path, keys: &HashMap<Digest, u32>) -> Result<Vec<String>> {
    let known: HashSet<String> = keys.keys().map(key_text).collect();
    let mut foreign = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let name = entry.map_err(Error::io(directory))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !known.contains(&name) && !name.ends_with(".json") {
            foreign.push(name);
        }
    }
    foreign.sort_unstable();
    Ok(foreign)
}
