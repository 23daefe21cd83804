//! The Python module `lep6._core`: converts arguments and results, releases the interpreter lock around the work, and
//! turns errors and panics into the exceptions of `lep6.errors`. Nothing is decided here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOSError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use crate::codec::{self, Packets};
use crate::digest::{self, Digest};
use crate::error::{Error, Result};
use crate::{geometry, hd, idfile, job, lep5, pack, records, secp256k1, spool, symbol_files};

/// Bytes from which hashing or sealing is worth giving up the interpreter lock.
const DETACH_FROM: usize = 64 << 10;
/// Bytes from which one buffer is worth hashing on all cores.
const PARALLEL_FROM: usize = 1 << 20;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Cancelled => ours("JobCancelled", error.to_string()),
            Error::Input(message) => ours("InvalidArtefact", message),
            Error::Record(message) => ours("InvalidRecord", message),
            Error::Io { path, source } => match source.raw_os_error() {
                Some(code) => {
                    let text = source.to_string();
                    let text = text
                        .split_once(" (os error")
                        .map_or(text.clone(), |(head, _)| head.to_owned());
                    PyOSError::new_err((code, text, path.into_os_string()))
                }
                None => ours("InvalidArtefact", format!("{}: {source}", path.display())),
            },
        }
    }
}

/// An exception class of `lep6.errors`, made.
fn ours(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let made = py
            .import("lep6.errors")
            .and_then(|errors| errors.getattr(class))
            .and_then(|class| class.call1((&message,)));
        match made {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    })
}

/// Runs work on a secret without the interpreter lock. A panic becomes an error, whose text is not passed on.
fn run_secret<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => Ok(result?),
        Err(_) => Err(ours(
            "CoreBug",
            "the core failed in work on a private key".to_owned(),
        )),
    }
}

/// Runs work without the interpreter lock. A panic becomes an error: it is a bug of ours, and it ends here.
fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(ours("CoreBug", panic_text(panic.as_ref()))),
    }
}

/// As `run`, but with the interpreter lock where there are too few bytes to work on.
fn run_sized<T: Send>(
    py: Python<'_>,
    size: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    if size >= DETACH_FROM {
        return run(py, work);
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(ours("CoreBug", panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("the core failed: {text}")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held left the value as it was before or after a whole step; both are usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same where the guard is kept while the interpreter lock is given up and taken again: who waits for the one
/// does not hold the other.
fn attached<'a, T>(py: Python<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    mutex
        .lock_py_attached(py)
        .unwrap_or_else(PoisonError::into_inner)
}

fn digest_of(bytes: &[u8]) -> Result<Digest> {
    Digest::try_from(bytes)
        .map_err(|_| Error::input(format!("a key has 32 bytes, not {}", bytes.len())))
}

fn digests_of(bytes: &[u8]) -> Result<Vec<Digest>> {
    if !bytes.len().is_multiple_of(32) {
        return Err(Error::input(format!(
            "keys have 32 bytes each; {} bytes are not whole keys",
            bytes.len()
        )));
    }
    bytes.chunks_exact(32).map(digest_of).collect()
}

fn array<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N]> {
    <[u8; N]>::try_from(bytes)
        .map_err(|_| Error::input(format!("{what} has {N} bytes, not {}", bytes.len())))
}

#[pyclass(frozen, module = "lep6._core")]
#[derive(Default)]
struct Job(job::Job);

#[pymethods]
impl Job {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn cancel(&self) {
        self.0.cancel();
    }

    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    #[getter]
    fn phase(&self) -> &'static str {
        self.0.phase().name()
    }

    #[getter]
    fn done(&self) -> u64 {
        self.0.done()
    }

    #[getter]
    fn total(&self) -> u64 {
        self.0.total()
    }
}

#[pyclass(frozen, eq, module = "lep6._core")]
#[derive(PartialEq)]
struct Geometry(geometry::Geometry);

#[pymethods]
impl Geometry {
    #[new]
    fn new(size: u64) -> PyResult<Self> {
        Ok(Self(geometry::Geometry::of(size)?))
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }

    #[getter]
    fn source_symbols(&self) -> u32 {
        self.0.source_symbols
    }

    #[getter]
    fn extended_symbols(&self) -> u32 {
        self.0.extended_symbols()
    }

    #[getter]
    fn repair_symbols(&self) -> u32 {
        self.0.repair_symbols
    }

    #[getter]
    fn total_symbols(&self) -> u32 {
        self.0.total_symbols()
    }

    #[getter]
    fn sub_blocks(&self) -> u32 {
        self.0.sub_blocks
    }

    #[getter]
    fn oti(&self) -> [u8; 12] {
        self.0.oti()
    }

    fn __repr__(&self) -> String {
        format!(
            "Geometry(size={}, source_symbols={}, repair_symbols={})",
            self.0.size, self.0.source_symbols, self.0.repair_symbols
        )
    }
}

#[pyclass(frozen, module = "lep6._core")]
struct Hasher(Mutex<::blake3::Hasher>);

#[pymethods]
impl Hasher {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(::blake3::Hasher::new()))
    }

    fn update(&self, py: Python<'_>, data: PyBuffer<u8>) -> PyResult<()> {
        // Whoever else hashes with it now may take long: it is waited for without the interpreter lock.
        let detach_from = if self.0.try_lock().is_ok() {
            DETACH_FROM
        } else {
            0
        };
        with_slice(py, &data, detach_from, |bytes| {
            let mut hasher = locked(&self.0);
            if bytes.len() >= PARALLEL_FROM {
                hasher.update_rayon(bytes);
            } else {
                hasher.update(bytes);
            }
        })
    }

    fn digest(&self, py: Python<'_>) -> [u8; 32] {
        py.detach(|| locked(&self.0).finalize().into())
    }
}

/// The bytes of a contiguous buffer.
fn slice(buffer: &PyBuffer<u8>) -> PyResult<&[u8]> {
    let pointer = buffer
        .as_slice_ptr()
        .ok_or_else(|| PyBufferError::new_err("the buffer is not contiguous"))?;
    // SAFETY: the buffer is held by the caller for the whole call, so the memory stays where it is and as long as it
    // is. Another thread may write into a mutable buffer meanwhile; the callers of hashes and records promise not to.
    Ok(unsafe { pointer.as_ref() })
}

/// Calls `work` with the bytes of a contiguous buffer; without the interpreter lock where they are many.
fn with_slice<T: Send>(
    py: Python<'_>,
    buffer: &PyBuffer<u8>,
    detach_from: usize,
    work: impl FnOnce(&[u8]) -> T + Send,
) -> PyResult<T> {
    let bytes = slice(buffer)?;
    Ok(if bytes.len() >= detach_from {
        py.detach(|| work(bytes))
    } else {
        work(bytes)
    })
}

#[pyclass(frozen, get_all, module = "lep6._core")]
struct Encoded {
    size: u64,
    file: Py<PyBytes>,
    symbols: Py<PyBytes>,
}

impl Encoded {
    fn new(py: Python<'_>, encoded: &codec::Encoded) -> Self {
        Self {
            size: encoded.geometry.size,
            file: PyBytes::new(py, &encoded.file).unbind(),
            symbols: PyBytes::new(py, encoded.symbols.as_flattened()).unbind(),
        }
    }
}

#[pyfunction]
fn encode(
    py: Python<'_>,
    source: PathBuf,
    pack: PathBuf,
    index: PathBuf,
    rank: u8,
    job: &Job,
) -> PyResult<Encoded> {
    let encoded = run(py, || {
        if pack == index {
            return Err(Error::input("a pack and its index are two files"));
        }
        let encoded = codec::encode(&source, &pack, &job.0)?;
        let ranks = vec![rank; encoded.symbols.len()];
        pack::write_index(&index, &pack::symbol_entries(&encoded.symbols, &ranks)?)?;
        Ok(encoded)
    })?;
    Ok(Encoded::new(py, &encoded))
}

#[pyclass(frozen, module = "lep6._core")]
struct Spool {
    spool: Mutex<Option<spool::Spool>>,
    symbols: Vec<Digest>,
}

impl Spool {
    fn with<T>(&self, work: impl FnOnce(&mut spool::Spool) -> Result<T>) -> Result<T> {
        match locked(&self.spool).as_mut() {
            Some(spool) => work(spool),
            None => Err(Error::input("the spool is closed")),
        }
    }
}

#[pymethods]
impl Spool {
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        size: u64,
        symbols: PyBackedBytes,
        job: &Job,
    ) -> PyResult<Self> {
        let symbols = digests_of(&symbols)?;
        let spool = run(py, || {
            let geometry = geometry::Geometry::of(size)?;
            spool::Spool::open(&path, geometry, &symbols, &job.0)
        })?;
        Ok(Self {
            spool: Mutex::new(Some(spool)),
            symbols,
        })
    }

    fn append(
        &self,
        py: Python<'_>,
        values: Vec<(PyBackedBytes, PyBackedBytes)>,
    ) -> PyResult<Vec<&'static str>> {
        let verdicts = run(py, || {
            let values = values
                .into_iter()
                .map(|(key, value)| Ok((digest_of(&key)?, value)))
                .collect::<Result<Vec<_>>>()?;
            self.with(|spool| spool.append(&values))
        })?;
        Ok(verdicts
            .into_iter()
            .map(|verdict| match verdict {
                spool::Verdict::Accepted => "accepted",
                spool::Verdict::Duplicate => "duplicate",
                spool::Verdict::False => "false",
                spool::Verdict::Foreign => "foreign",
                spool::Verdict::Malformed => "malformed",
            })
            .collect())
    }

    fn fill(
        &self,
        py: Python<'_>,
        directory: PathBuf,
        enough: usize,
        job: &Job,
    ) -> PyResult<usize> {
        run(py, || {
            self.with(|spool| symbol_files::fill(spool, &directory, &self.symbols, enough, &job.0))
        })
    }

    fn held(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        run(py, || self.with(|spool| Ok(spool.symbols().to_vec())))
    }

    #[getter]
    fn opened(&self, py: Python<'_>) -> PyResult<(usize, usize, u64)> {
        let opened = run(py, || self.with(|spool| Ok(spool.opened())))?;
        Ok((opened.kept, opened.dropped, opened.torn))
    }

    fn decodable(&self, py: Python<'_>, job: &Job) -> PyResult<bool> {
        run(py, || {
            self.with(|spool| codec::is_decodable(spool.symbols(), &spool.geometry(), &job.0))
        })
    }

    fn decode(&self, py: Python<'_>, output: PathBuf, job: &Job) -> PyResult<Option<Encoded>> {
        let rebuilt = run(py, || {
            self.with(|spool| codec::rebuild(spool, spool.geometry(), &output, None, &job.0))
        })?;
        Ok(rebuilt.map(|encoded| Encoded::new(py, &encoded)))
    }

    fn reencode(
        &self,
        py: Python<'_>,
        output: PathBuf,
        pack: PathBuf,
        index: PathBuf,
        ranks: PyBackedBytes,
        job: &Job,
    ) -> PyResult<Option<Encoded>> {
        let rebuilt = run(py, || {
            self.with(|spool| {
                if ranks.len() != self.symbols.len() {
                    return Err(Error::input(format!(
                        "{} ranks were given for {} symbols",
                        ranks.len(),
                        self.symbols.len()
                    )));
                }
                let rebuilt =
                    codec::rebuild(spool, spool.geometry(), &output, Some(&pack), &job.0)?;
                if let Some(encoded) = &rebuilt {
                    codec::expect_symbols(&encoded.symbols, &self.symbols)?;
                    let entries = pack::symbol_entries(&encoded.symbols, &ranks)?;
                    codec::sync(&output)?;
                    codec::sync(&pack)?;
                    pack::write_index(&index, &entries)?;
                }
                Ok(rebuilt)
            })
        })?;
        Ok(rebuilt.map(|encoded| Encoded::new(py, &encoded)))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| *locked(&self.spool) = None);
    }
}

#[pyclass(frozen, module = "lep6._core")]
struct Pack(pack::Pack);

#[pymethods]
impl Pack {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, index: PathBuf) -> PyResult<Self> {
        Ok(Self(run(py, || pack::Pack::open(&path, &index))?))
    }

    fn __len__(&self) -> usize {
        self.0.entries.len()
    }

    fn entries(&self, py: Python<'_>) -> Vec<(Py<PyBytes>, u32, u32)> {
        self.0
            .entries
            .iter()
            .map(|entry| {
                let key = PyBytes::new(py, &entry.key).unbind();
                (key, entry.length, entry.rank)
            })
            .collect()
    }

    fn read(&self, py: Python<'_>, positions: Vec<usize>) -> PyResult<Vec<Py<PyBytes>>> {
        let values = run(py, || self.0.read(&positions))?;
        Ok(values
            .iter()
            .map(|value| PyBytes::new(py, value).unbind())
            .collect())
    }

    fn check(&self, py: Python<'_>, job: &Job) -> PyResult<Vec<usize>> {
        run(py, || self.0.check(&job.0))
    }

    fn unpack(&self, py: Python<'_>, directory: PathBuf, job: &Job) -> PyResult<()> {
        run(py, || symbol_files::unpack(&self.0, &directory, &job.0))
    }
}

#[pyclass(frozen, module = "lep6._core")]
struct PackWriter(Mutex<pack::PackWriter>);

#[pymethods]
impl PackWriter {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let writer = run(py, || pack::PackWriter::create(&path))?;
        Ok(Self(Mutex::new(writer)))
    }

    fn append(&self, py: Python<'_>, values: Vec<(PyBackedBytes, u32)>) -> PyResult<Py<PyBytes>> {
        let keys = run(py, || {
            let mut writer = locked(&self.0);
            values
                .iter()
                .map(|(value, rank)| writer.append(value, *rank))
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(PyBytes::new(py, keys.as_flattened()).unbind())
    }

    fn finish(&self, py: Python<'_>, index: PathBuf) -> PyResult<()> {
        run(py, || locked(&self.0).finish(&index))
    }
}

#[pyclass(frozen, module = "lep6._core")]
struct RecordSealer(Mutex<records::Sealer>);

#[pymethods]
impl RecordSealer {
    #[new]
    #[pyo3(signature = (key, *, from_client, payload))]
    fn new(key: &[u8], from_client: bool, payload: usize) -> PyResult<Self> {
        let key = Zeroizing::new(array("an expanded key", key)?);
        let sealer = records::Sealer::new(&key, from_client, payload)?;
        Ok(Self(Mutex::new(sealer)))
    }

    fn seal<'py>(&self, py: Python<'py>, data: PyBuffer<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let data = slice(&data)?;
        let mut sealer = attached(py, &self.0);
        let sealer = &mut *sealer;
        PyBytes::new_with(py, sealer.sealed_size(data.len()), |out| {
            run_sized(py, data.len(), || sealer.seal(data, out))
        })
    }
}

#[pyclass(frozen, module = "lep6._core")]
struct RecordOpener(Mutex<records::Opener>);

#[pymethods]
impl RecordOpener {
    #[new]
    #[pyo3(signature = (key, *, from_client))]
    fn new(key: &[u8], from_client: bool) -> PyResult<Self> {
        let key = Zeroizing::new(array("an expanded key", key)?);
        Ok(Self(Mutex::new(records::Opener::new(&key, from_client))))
    }

    fn open<'py>(&self, py: Python<'py>, data: PyBuffer<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let data = slice(&data)?;
        let mut opener = attached(py, &self.0);
        let opener = &mut *opener;
        let mut opened = 0;
        let out = PyBytes::new_with(py, opener.opened_size(data), |out| {
            opened = run_sized(py, data.len(), || opener.open(data, out))?;
            Ok(())
        })?;
        match out.as_bytes().get(..opened) {
            Some(good) if good.len() < out.as_bytes().len() => Ok(PyBytes::new(py, good)),
            _ => Ok(out),
        }
    }

    #[getter]
    fn pending(&self, py: Python<'_>) -> usize {
        attached(py, &self.0).pending()
    }

    #[getter]
    fn opened(&self, py: Python<'_>) -> u64 {
        attached(py, &self.0).opened()
    }
}

#[pyclass(frozen, get_all, module = "lep6._core")]
struct Survey {
    present: Vec<u32>,
    missing: Vec<u32>,
    broken: Vec<u32>,
    foreign: Vec<String>,
    decodable: bool,
}

#[pyfunction]
fn survey(
    py: Python<'_>,
    directory: PathBuf,
    size: u64,
    symbols: PyBackedBytes,
    job: &Job,
) -> PyResult<Survey> {
    let (found, decodable) = run(py, || {
        let geometry = geometry::Geometry::of(size)?;
        let keys = spool::index_symbols(&digests_of(&symbols)?, &geometry)?;
        let found = symbol_files::survey(&directory, &keys, &job.0)?;
        let decodable = codec::is_decodable(&found.present, &geometry, &job.0)?;
        Ok((found, decodable))
    })?;
    Ok(Survey {
        present: found.present,
        missing: found.missing,
        broken: found.broken,
        foreign: found.foreign,
        decodable,
    })
}

#[pyfunction]
fn blake3(py: Python<'_>, data: PyBuffer<u8>) -> PyResult<[u8; 32]> {
    with_slice(py, &data, DETACH_FROM, |bytes| ::blake3::hash(bytes).into())
}

#[pyfunction]
fn hash_file(py: Python<'_>, path: PathBuf, job: &Job) -> PyResult<[u8; 32]> {
    run(py, || digest::hash_file(&path, &job.0))
}

#[pyfunction]
fn key_text(key: &[u8]) -> PyResult<String> {
    Ok(digest::key_text(&digest_of(key)?))
}

#[pyfunction]
fn key_from_text(text: &str) -> PyResult<[u8; 32]> {
    Ok(digest::key_from_text(text)?)
}

#[pyfunction]
fn key_texts(keys: &[u8]) -> PyResult<Vec<String>> {
    Ok(digests_of(keys)?.iter().map(digest::key_text).collect())
}

#[pyfunction]
fn keys_from_texts(py: Python<'_>, texts: Vec<String>) -> PyResult<Py<PyBytes>> {
    let keys = texts
        .iter()
        .map(|text| digest::key_from_text(text))
        .collect::<Result<Vec<_>>>()?;
    Ok(PyBytes::new(py, keys.as_flattened()).unbind())
}

#[pyfunction]
fn id_files(
    py: Python<'_>,
    text: PyBackedBytes,
    first: u64,
    count: u32,
    job: &Job,
) -> PyResult<Vec<(Py<PyBytes>, Py<PyBytes>)>> {
    let files = run(py, || idfile::compress_all(&text, first, count, &job.0))?;
    Ok(files
        .iter()
        .map(|(key, file)| {
            (
                PyBytes::new(py, key).unbind(),
                PyBytes::new(py, file).unbind(),
            )
        })
        .collect())
}

#[pyfunction]
fn decompress(py: Python<'_>, frame: PyBackedBytes, limit: usize) -> PyResult<Py<PyBytes>> {
    let content = run(py, || idfile::decompress(&frame, limit))?;
    Ok(PyBytes::new(py, &content).unbind())
}

#[pyfunction]
fn zstd_version() -> u32 {
    idfile::zstd_version()
}

#[pyfunction]
fn lep5_leaves(py: Python<'_>, path: PathBuf, chunk_size: u32, job: &Job) -> PyResult<Py<PyBytes>> {
    let leaves = run(py, || lep5::leaves(&path, chunk_size, &job.0))?;
    Ok(PyBytes::new(py, leaves.as_flattened()).unbind())
}

#[pyfunction]
fn lep5_root(py: Python<'_>, leaves: PyBackedBytes) -> PyResult<[u8; 32]> {
    let levels = run(py, || Ok(lep5::tree(digests_of(&leaves)?)))?;
    match levels.last().and_then(|level| level.first()) {
        Some(root) => Ok(*root),
        None => Err(Error::input("a tree has at least one leaf").into()),
    }
}

#[pyfunction]
fn lep5_proof(
    py: Python<'_>,
    leaves: PyBackedBytes,
    leaf: usize,
) -> PyResult<Vec<([u8; 32], bool)>> {
    let leaves = digests_of(&leaves)?;
    if leaf >= leaves.len() {
        return Err(
            Error::input(format!("there are {} leaves, no leaf {leaf}", leaves.len())).into(),
        );
    }
    run(py, || Ok(lep5::proof(&lep5::tree(leaves), leaf)))
}

#[pyfunction]
fn keccak256(data: &[u8]) -> [u8; 32] {
    secp256k1::keccak256(data)
}

#[pyfunction]
fn ripemd160(data: &[u8]) -> [u8; 20] {
    secp256k1::ripemd160(data)
}

#[pyfunction]
fn secp256k1_public_key(py: Python<'_>, private: &[u8]) -> PyResult<Py<PyBytes>> {
    let key = secp256k1::public_key(&array("a private key", private)?)?;
    Ok(PyBytes::new(py, &key).unbind())
}

#[pyfunction]
fn secp256k1_point(py: Python<'_>, public: &[u8]) -> PyResult<Py<PyBytes>> {
    Ok(PyBytes::new(py, &secp256k1::point(public)?).unbind())
}

#[pyfunction]
fn secp256k1_sign(py: Python<'_>, private: &[u8], digest: &[u8]) -> PyResult<Py<PyBytes>> {
    let signature = secp256k1::sign(
        &array("a private key", private)?,
        &array("a digest", digest)?,
    )?;
    Ok(PyBytes::new(py, &signature).unbind())
}

#[pyfunction]
fn secp256k1_verify(public: &[u8], digest: &[u8], signature: &[u8]) -> PyResult<bool> {
    Ok(secp256k1::verify(
        public,
        &array("a digest", digest)?,
        &array("a signature", signature)?,
    )?)
}

#[pyfunction]
fn secp256k1_recover(
    py: Python<'_>,
    digest: &[u8],
    signature: &[u8],
) -> PyResult<Vec<Py<PyBytes>>> {
    let keys = secp256k1::recover(
        &array("a digest", digest)?,
        &array("a signature", signature)?,
    );
    Ok(keys
        .iter()
        .map(|key| PyBytes::new(py, key).unbind())
        .collect())
}

#[pyfunction]
fn hd_private_key(py: Python<'_>, mnemonic: &[u8], path: &str) -> PyResult<Py<PyBytes>> {
    let key = run_secret(py, || hd::private_key(mnemonic, path))?;
    Ok(PyBytes::new(py, &key).unbind())
}

#[pyfunction]
fn bech32_encode(prefix: &str, data: &[u8]) -> PyResult<String> {
    Ok(secp256k1::bech32_encode(prefix, data)?)
}

#[pyfunction]
fn bech32_decode(py: Python<'_>, text: &str) -> PyResult<(String, Py<PyBytes>)> {
    let (prefix, data) = secp256k1::bech32_decode(text)?;
    Ok((prefix, PyBytes::new(py, &data).unbind()))
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::{
        Encoded, Geometry, Hasher, Job, Pack, PackWriter, RecordOpener, RecordSealer, Spool,
        Survey, bech32_decode, bech32_encode, blake3, decompress, encode, hash_file,
        hd_private_key, id_files, keccak256, key_from_text, key_text, key_texts, keys_from_texts,
        lep5_leaves, lep5_proof, lep5_root, ripemd160, secp256k1_point, secp256k1_public_key,
        secp256k1_recover, secp256k1_sign, secp256k1_verify, survey, zstd_version,
    };
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    use super::{geometry, idfile};

    /// The ids of layout and index files are hashes of compressed bytes: another compressor would make files that
    /// nobody asks for, so the module does not load with one.
    #[pymodule_init]
    fn assert_compressor(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        let linked = idfile::zstd_version();
        if linked == idfile::ZSTD_VERSION {
            Ok(())
        } else {
            Err(PyImportError::new_err(format!(
                "lep6 needs zstd {}, but {linked} is linked: its id files would get other ids",
                idfile::ZSTD_VERSION
            )))
        }
    }

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    #[pymodule_export]
    const SYMBOL_SIZE: usize = geometry::SYMBOL_SIZE;
    #[pymodule_export]
    const PACKET_SIZE: usize = geometry::PACKET_SIZE;
    #[pymodule_export]
    const MAX_FILE_SIZE: u64 = geometry::MAX_FILE_SIZE;
    #[pymodule_export]
    const ZSTD_VERSION: u32 = idfile::ZSTD_VERSION;
}
