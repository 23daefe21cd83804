//! The one error type of the core.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a job did not give its result.
#[derive(Debug)]
pub enum Error {
    /// The job's owner cancelled it. Files may be half written.
    Cancelled,
    /// What was handed in (a file, a packet, a layout, a number) is not what it should be.
    Input(String),
    /// A record of a secured connection is not what the other side can have sent.
    Record(String),
    /// The operating system refused a read or a write.
    Io {
        /// The file that was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The result of anything in the core that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An `Input` error with this message.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A `Record` error with this message.
    pub fn record(message: impl Into<String>) -> Self {
        Self::Record(message.into())
    }

    /// A closure for `map_err` that names the file.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the job was cancelled"),
            Self::Input(message) | Self::Record(message) => f.write_str(message),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
