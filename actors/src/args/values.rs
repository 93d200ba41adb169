//! Values of flags that several subcommands have.
//!
//! Must not know flags.

use clap::ValueEnum;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// Text, for people.
    Text,
}

/// A size: `10MiB`, `25MB`, `65536`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let units = [
        ("", 1.0),
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
    ];
    let (number, unit) = number_and_unit(text);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
    let size = number.zip(scale).map(|(number, scale)| number * scale);
    let fits = size.filter(|size| (1.0..=1e12).contains(size));
    fits.map(|size| size as usize).ok_or_else(|| format!("{text:?} is no size; write 65536, 25MB or 10MiB"))
}

/// A size that may be zero.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let nothing = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) == "0";
    if nothing { Ok(0) } else { bytes(text).map(|size| size as u64) }
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}
