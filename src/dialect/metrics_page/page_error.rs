//! Why a metrics page gives no report.

/// Why a page gives no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The page has none of the gauges of this kind of engine.
    #[error("the page has no {family}: it is not a page of {engine}; is the label llm-d.ai/engine-type right?")]
    Foreign {
        /// The family that was looked for first.
        family: String,
        /// The kind of engine that was expected.
        engine: String,
    },
    /// The page ends in mid-line, or has a line that can't be read.
    #[error("the page is torn: {0}")]
    Torn(String),
    /// A value is no number, or no gauge has a possible value.
    #[error("{family} has the value {text:?}, which can't be")]
    BadNumber {
        /// The family.
        family: String,
        /// The value as the page has it.
        text: String,
    },
}
