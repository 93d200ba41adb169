//! Errors of a configuration file: each with its position, its path and, where known, how to fix it.
//!
//! Must not know what any field means.

use std::fmt;

/// Maximum number of errors that are printed; the rest are counted.
const SHOWN_MAX: usize = 64;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// Whether the file is wrong or Murmuration lacks a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCause {
    /// The file is wrong.
    File,
    /// The file is valid for llm-d, but uses a feature that Murmuration does not have yet.
    NotSupportedYet,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Its position.
    pub place: Place,
    /// The field, such as `plugins[0].parameters.threshold`; empty for the file as a whole.
    pub path: String,
    /// The message, in one sentence.
    pub sentence: String,
    /// Whether the file or Murmuration is the cause.
    pub cause: ErrorCause,
}

/// All errors of one file, in the file's order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

/// Collects errors while a file is read.
#[derive(Debug, Default)]
pub(super) struct ErrorCollector {
    list: Vec<ConfigError>,
}

// === impl ConfigErrors ===

impl ConfigErrors {
    /// The errors, in the file's order.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Place { line, column } = error.place;
            write!(f, "{}:{line}:{column}: ", self.file)?;
            if !error.path.is_empty() {
                write!(f, "{}: ", error.path)?;
            }
            f.write_str(&error.sentence)?;
        }
        match self.errors.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more errors", self.file),
        }
    }
}

impl std::error::Error for ConfigErrors {}

// === impl ErrorCollector ===

impl ErrorCollector {
    pub(super) fn add(&mut self, place: Place, path: impl Into<String>, sentence: impl Into<String>) {
        self.push(place, path.into(), sentence.into(), ErrorCause::File);
    }

    pub(super) fn not_supported_yet(&mut self, place: Place, path: impl Into<String>, sentence: impl Into<String>) {
        self.push(place, path.into(), sentence.into(), ErrorCause::NotSupportedYet);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `value`, unless there was an error.
    pub(super) fn or<T>(self, file: &str, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self.into_errors(file)),
        }
    }

    pub(super) fn into_errors(mut self, file: &str) -> ConfigErrors {
        self.list.sort();
        self.list.dedup();
        ConfigErrors { file: file.to_owned(), errors: self.list }
    }

    fn push(&mut self, place: Place, path: String, sentence: String, cause: ErrorCause) {
        self.list.push(ConfigError { place, path, sentence, cause });
    }
}
