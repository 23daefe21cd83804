//! Encoding and rebuilding, strip by strip: every byte column of a RaptorQ block is a code of its own, so that a strip
//! of columns is solved and written without the rest of the file in memory (docs/formats.md, "Strips").

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use raptorq::{
    EncodingPacket, ObjectTransmissionInformation, PayloadId, SourceBlockDecoder,
    SourceBlockEncoder, SourceBlockEncodingPlan,
};
use rayon::prelude::*;

use crate::columns::{gather, scatter};
use crate::digest::{Digest, hash_file, hash_open, hash_records, key_text};
use crate::error::{Error, Result};
use crate::geometry::{Geometry, HEADER_SIZE, PACKET_SIZE, SYMBOL_SIZE, Strip, packet_header};
use crate::job::{Job, Phase};

/// Repair symbols made at a time within a strip; bounds what one strip holds in memory.
const REPAIR_BATCH: u32 = 512;
/// Of Linux on every architecture that wheels are built for: opening a pipe does not wait for its other end.
const O_NONBLOCK: i32 = 0o4000;

/// What encoding or rebuilding a file gives.
#[derive(Debug)]
pub struct Encoded {
    /// The file's geometry.
    pub geometry: Geometry,
    /// BLAKE3 of the file.
    pub file: Digest,
    /// BLAKE3 of each packet, by encoding symbol id. Empty when no symbols were written.
    pub symbols: Vec<Digest>,
}

/// Packets to rebuild from: which there are, and how to read one's columns.
pub trait Packets: Sync {
    /// Encoding symbol ids, each at most once, ascending.
    fn symbols(&self) -> &[u32];
    /// Reads `target.len()` bytes from byte `start` of a symbol.
    fn read(&self, esi: u32, start: usize, target: &mut [u8]) -> Result<()>;
}

/// Writes the packets of all symbols of the file at `source` to `pack`, in the order of their ids.
pub fn encode(source: &Path, pack: &Path, job: &Job) -> Result<Encoded> {
    let file = open_regular(source)?;
    let before = file.metadata().map_err(Error::io(source))?;
    let geometry = Geometry::of(before.len())?;
    if std::fs::metadata(pack)
        .is_ok_and(|there| (there.dev(), there.ino()) == (before.dev(), before.ino()))
    {
        return Err(Error::input(format!(
            "{} is the file that is to be encoded: its symbols cannot be written over it",
            pack.display()
        )));
    }
    let writer = SymbolWriter::create(geometry, pack)?;
    job.begin(Phase::Encode, writer.bytes());
    geometry.strips().into_par_iter().try_for_each(|strip| {
        job.check()?;
        writer.write(strip, &gather(&file, source, &geometry, strip)?, job)
    })?;
    let digest = hash_open(&file, source, job)?;
    let after = file.metadata().map_err(Error::io(source))?;
    if after.len() != before.len() || after.modified().ok() != before.modified().ok() {
        return Err(Error::input(format!(
            "{} changed while it was encoded",
            source.display()
        )));
    }
    Ok(Encoded {
        geometry,
        file: digest,
        symbols: writer.finish(job)?,
    })
}

/// Solves for the file and writes it to `output`; with `pack`, writes all symbols too, in the same pass.
/// `None` when the packets do not determine the file.
pub fn rebuild(
    packets: &impl Packets,
    geometry: Geometry,
    output: &Path,
    pack: Option<&Path>,
    job: &Job,
) -> Result<Option<Encoded>> {
    let Some(chosen) = choose(packets.symbols(), &geometry, job)? else {
        return Ok(None);
    };
    let file = writable(output)?;
    let writer = pack
        .map(|pack| SymbolWriter::create(geometry, pack))
        .transpose()?;
    let bytes = match &writer {
        Some(writer) => writer.bytes(),
        None => u64::from(geometry.source_symbols) * SYMBOL_SIZE as u64,
    };
    let phase = if writer.is_some() {
        Phase::Encode
    } else {
        Phase::Decode
    };
    job.begin(phase, bytes);
    geometry.strips().into_par_iter().try_for_each(|strip| {
        job.check()?;
        let columns = solve(packets, &chosen, &geometry, strip)?;
        scatter(&file, output, &geometry, strip, &columns)?;
        match &writer {
            Some(writer) => writer.write(strip, &columns, job),
            None => job.advance(columns.len() as u64),
        }
    })?;
    file.set_len(geometry.size).map_err(Error::io(output))?;
    let symbols = writer.map_or_else(|| Ok(Vec::new()), |writer| writer.finish(job))?;
    Ok(Some(Encoded {
        geometry,
        file: hash_file(output, job)?,
        symbols,
    }))
}

/// Whether these symbols determine the file.
pub fn is_decodable(symbols: &[u32], geometry: &Geometry, job: &Job) -> Result<bool> {
    Ok(choose(symbols, geometry, job)?.is_some())
}

/// The symbols to solve from: all sources alone where they are complete, else few repairs more than needed, and all
/// there are only where the few are not independent. Decided on symbols of one byte, since only the ids matter.
fn choose(symbols: &[u32], geometry: &Geometry, job: &Job) -> Result<Option<Vec<u32>>> {
    let needed = geometry.source_symbols as usize;
    if symbols.len() < needed {
        return Ok(None);
    }
    let sources = symbols.partition_point(|esi| *esi < geometry.source_symbols);
    if sources == needed {
        return Ok(Some(symbols[..needed].to_vec()));
    }
    let few = (needed + 2).min(symbols.len());
    let counts = if few < symbols.len() {
        vec![few, symbols.len()]
    } else {
        vec![few]
    };
    for count in counts {
        job.check()?;
        let chosen = &symbols[..count];
        let packets = chosen
            .iter()
            .map(|esi| EncodingPacket::new(PayloadId::new(0, *esi), vec![0]));
        if block_decoder(geometry, 1).decode(packets).is_some() {
            return Ok(Some(chosen.to_vec()));
        }
    }
    Ok(None)
}

fn strip_parameters(width: usize) -> ObjectTransmissionInformation {
    ObjectTransmissionInformation::new(0, width as u16, 0, 1, 1)
}

fn block_decoder(geometry: &Geometry, width: usize) -> SourceBlockDecoder {
    let length = u64::from(geometry.source_symbols) * width as u64;
    SourceBlockDecoder::new(0, &strip_parameters(width), length)
}

/// One strip of all source symbols.
fn solve(
    packets: &impl Packets,
    chosen: &[u32],
    geometry: &Geometry,
    strip: Strip,
) -> Result<Vec<u8>> {
    let needed = geometry.source_symbols as usize;
    let all_sources = chosen.len() == needed && chosen[needed - 1] < geometry.source_symbols;
    if all_sources {
        let mut columns = vec![0; needed * strip.width];
        for (esi, part) in chosen.iter().zip(columns.chunks_exact_mut(strip.width)) {
            packets.read(*esi, strip.start, part)?;
        }
        return Ok(columns);
    }
    let read = chosen
        .iter()
        .map(|esi| {
            let mut part = vec![0; strip.width];
            packets.read(*esi, strip.start, &mut part)?;
            Ok(EncodingPacket::new(PayloadId::new(0, *esi), part))
        })
        .collect::<Result<Vec<_>>>()?;
    block_decoder(geometry, strip.width)
        .decode(read)
        .ok_or_else(|| Error::input("symbols that determine the file did not solve a strip of it"))
}

/// Writes strips of all symbols to their places in a pack.
struct SymbolWriter<'a> {
    geometry: Geometry,
    plan: SourceBlockEncodingPlan,
    file: File,
    path: &'a Path,
}

impl<'a> SymbolWriter<'a> {
    fn create(geometry: Geometry, path: &'a Path) -> Result<Self> {
        let writer = Self {
            geometry,
            plan: geometry.plan(),
            file: writable(path)?,
            path,
        };
        writer
            .file
            .set_len(u64::from(geometry.total_symbols()) * PACKET_SIZE as u64)
            .map_err(Error::io(path))?;
        Ok(writer)
    }

    fn bytes(&self) -> u64 {
        u64::from(self.geometry.total_symbols()) * SYMBOL_SIZE as u64
    }

    fn write(&self, strip: Strip, columns: &[u8], job: &Job) -> Result<()> {
        for (esi, part) in columns.chunks_exact(strip.width).enumerate() {
            self.write_part(esi as u32, strip, part)?;
        }
        job.advance(columns.len() as u64)?;
        let encoder = SourceBlockEncoder::with_encoding_plan(
            0,
            &strip_parameters(strip.width),
            columns,
            &self.plan,
        );
        let mut first = 0;
        while first < self.geometry.repair_symbols {
            let count = REPAIR_BATCH.min(self.geometry.repair_symbols - first);
            for packet in encoder.repair_packets(first, count) {
                self.write_part(
                    packet.payload_id().encoding_symbol_id(),
                    strip,
                    packet.data(),
                )?;
            }
            first += count;
            job.advance(u64::from(count) * strip.width as u64)?;
        }
        Ok(())
    }

    fn write_part(&self, esi: u32, strip: Strip, part: &[u8]) -> Result<()> {
        let packet = u64::from(esi) * PACKET_SIZE as u64;
        let written = if strip.start == 0 {
            let headed = [&packet_header(esi), part].concat();
            self.file.write_all_at(&headed, packet)
        } else {
            let offset = packet + (HEADER_SIZE + strip.start) as u64;
            self.file.write_all_at(part, offset)
        };
        written.map_err(Error::io(self.path))
    }

    fn finish(self, job: &Job) -> Result<Vec<Digest>> {
        let count = self.geometry.total_symbols() as usize;
        job.begin(Phase::Hash, (count * PACKET_SIZE) as u64);
        hash_records(&self.file, self.path, count, PACKET_SIZE, job)
    }
}

/// The error for a symbol that came out different from what its layout lists.
pub fn expect_symbols(found: &[Digest], expected: &[Digest]) -> Result<()> {
    if found.len() != expected.len() {
        return Err(Error::input(format!(
            "the file has {} symbols, the layout lists {}",
            found.len(),
            expected.len()
        )));
    }
    match found.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(esi) => Err(Error::input(format!(
            "symbol {esi} encodes to {}, the layout lists {}",
            key_text(&found[esi]),
            key_text(&expected[esi])
        ))),
    }
}

/// Opens a regular file for reading; anything else is an error, and a pipe is not waited for.
pub fn open_regular(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .map_err(Error::io(path))?;
    if file.metadata().map_err(Error::io(path))?.is_file() {
        Ok(file)
    } else {
        Err(Error::input(format!(
            "{} is not a regular file",
            path.display()
        )))
    }
}

/// Opens a file for reading and writing, private to its owner; keeps what was reserved for it.
pub fn writable(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(path))
}

/// Syncs a file that was written through another handle.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::columns::tests::{content, nameless, strips_of};

    #[test]
    fn every_way_of_cutting_gives_the_same_symbols() {
        let (job, name) = (Job::default(), Path::new("test"));
        for size in [1_000, 10_484_481] {
            let geometry = Geometry::of(size as u64).unwrap();
            let source = nameless("source", &content(size));
            let symbols = |strips: Vec<Strip>| {
                let writer = SymbolWriter {
                    geometry,
                    plan: geometry.plan(),
                    file: nameless("pack", b""),
                    path: name,
                };
                for strip in strips {
                    let columns = gather(&source, name, &geometry, strip).unwrap();
                    writer.write(strip, &columns, &job).unwrap();
                }
                writer.finish(&job).unwrap()
            };
            let usual = symbols(geometry.strips());
            assert_eq!(usual.len(), geometry.total_symbols() as usize);
            assert_eq!(symbols(strips_of(20_008)), usual);
            assert_eq!(symbols(strips_of(SYMBOL_SIZE)), usual);
        }
    }

    /// The sources of a file of zeros. Notes what the job has done whenever a strip begins.
    struct Watched<'a> {
        symbols: Vec<u32>,
        job: &'a Job,
        seen: Mutex<Vec<(Phase, u64)>>,
    }

    impl Packets for Watched<'_> {
        fn symbols(&self) -> &[u32] {
            &self.symbols
        }

        fn read(&self, esi: u32, _start: usize, _target: &mut [u8]) -> Result<()> {
            if esi == 0 {
                let now = (self.job.phase(), self.job.done());
                self.seen.lock().unwrap().push(now);
            }
            Ok(())
        }
    }

    #[test]
    fn a_file_that_is_decoded_counts_strip_by_strip() {
        let (job, geometry) = (Job::default(), Geometry::of(100_000).unwrap());
        let packets = Watched {
            symbols: vec![0, 1],
            job: &job,
            seen: Mutex::default(),
        };
        let output = std::env::temp_dir().join(format!("lep6-{}-decoded", std::process::id()));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1);
        let rebuilt = alone
            .build()
            .unwrap()
            .install(|| rebuild(&packets, geometry, &output, None, &job));
        std::fs::remove_file(&output).unwrap();
        assert!(rebuilt.unwrap().is_some());
        let mut done = 0;
        let expected: Vec<_> = geometry
            .strips()
            .iter()
            .map(|strip| {
                let before = done;
                done += 2 * strip.width as u64;
                (Phase::Decode, before)
            })
            .collect();
        let mut seen = packets.seen.into_inner().unwrap();
        seen.sort_unstable_by_key(|(_, done)| *done);
        assert_eq!(seen, expected);
    }

    #[test]
    fn no_more_symbols_are_solved_from_than_it_takes() {
        let job = Job::default();
        let geometry = Geometry::of(1 << 20).unwrap();
        let choose = |symbols: &[u32]| choose(symbols, &geometry, &job).unwrap();
        let all: Vec<u32> = (0..98).collect();
        assert_eq!(choose(&all).unwrap(), all[..17]);
        assert_eq!(choose(&all[1..]).unwrap(), all[1..20]);
        assert_eq!(choose(&all[80..]).unwrap(), all[80..]);
        assert_eq!(choose(&all[82..]), None);
    }

    #[test]
    fn all_symbols_are_solved_from_where_the_first_few_depend_on_each_other() {
        let job = Job::default();
        let geometry = Geometry::of(1).unwrap();
        let decodes = |symbols: &[u32]| is_decodable(symbols, &geometry, &job).unwrap();
        // With one source byte, one repair symbol of some hundreds is zero times that byte.
        let mut symbols: Vec<u32> = (1..100_000)
            .filter(|esi| !decodes(&[*esi]))
            .take(3)
            .collect();
        assert_eq!(symbols.len(), 3);
        assert!(!decodes(&symbols));
        let good = (symbols[2]..).find(|esi| decodes(&[*esi])).unwrap();
        symbols.push(good);
        assert_eq!(choose(&symbols, &geometry, &job).unwrap(), Some(symbols));
    }
}
