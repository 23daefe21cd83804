//! The CPU work of lep6: jobs on files, few and large. The modules know nothing of Python; `python` binds them.

pub mod codec;
pub mod columns;
pub mod digest;
pub mod error;
pub mod geometry;
pub mod hd;
pub mod idfile;
pub mod job;
pub mod lep5;
pub mod pack;
#[cfg(feature = "python")]
mod python;
pub mod records;
pub mod secp256k1;
pub mod spool;
pub mod symbol_files;
