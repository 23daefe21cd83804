//! A long piece of work as its owner sees it: it can be cancelled, and it tells how far it is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::error::{Error, Result};

/// What a job is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not begun.
    Idle,
    /// Reading and checking what is there.
    Check,
    /// Solving for the source symbols and writing the file.
    Decode,
    /// Writing all symbols.
    Encode,
    /// Hashing what was written.
    Hash,
    /// Compressing id files.
    Compress,
}

impl Phase {
    /// The name that Python shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Check => "check",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Hash => "hash",
            Self::Compress => "compress",
        }
    }

    fn from_byte(byte: u8) -> Self {
        [
            Self::Idle,
            Self::Check,
            Self::Decode,
            Self::Encode,
            Self::Hash,
            Self::Compress,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == byte)
        .unwrap_or(Self::Idle)
    }
}

/// Cancel token and progress counters, shared between a job and its watchers.
#[derive(Default)]
pub struct Job {
    cancelled: AtomicBool,
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl Job {
    /// Asks the work to stop at its next check, which is at most one strip or one record away.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether `cancel` was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// `Err(Cancelled)` once `cancel` was called.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Begins a phase of `total` bytes.
    pub fn begin(&self, phase: Phase, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Counts bytes of the current phase as done, and checks for cancellation.
    pub fn advance(&self, bytes: u64) -> Result<()> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.check()
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        Phase::from_byte(self.phase.load(Ordering::Relaxed))
    }

    /// Bytes done in the current phase.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes of the current phase, 0 when unknown.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_phase_begins_anew_under_its_own_name() {
        let job = Job::default();
        let mut names = vec![job.phase().name()];
        for phase in [
            Phase::Check,
            Phase::Decode,
            Phase::Encode,
            Phase::Hash,
            Phase::Compress,
        ] {
            job.begin(phase, 10);
            assert_eq!((job.phase(), job.done(), job.total()), (phase, 0, 10));
            job.advance(7).unwrap();
            assert_eq!(job.done(), 7);
            names.push(job.phase().name());
        }
        assert_eq!(
            names,
            ["idle", "check", "decode", "encode", "hash", "compress"]
        );
    }

    #[test]
    fn bytes_count_as_done_even_when_the_job_stops_there() {
        let job = Job::default();
        job.begin(Phase::Hash, 10);
        job.cancel();
        assert!(matches!(job.advance(3), Err(Error::Cancelled)));
        assert_eq!(job.done(), 3);
    }
}
