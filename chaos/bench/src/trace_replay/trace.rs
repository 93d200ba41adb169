//! Recorded requests: arrival times, lengths, and which blocks of 512 tokens their prompts share.
//!
//! Must not know replicas or engines. The format is Mooncake's: one JSON object a line with `timestamp` (milliseconds),
//! `input_length`, `output_length` and `hash_ids`, chained so that equal ids mean equal content so far.

use std::path::Path;

use serde::Deserialize;

/// Tokens that one id of a trace stands for.
pub const ID_TOKENS: u64 = 512;

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Recorded {
    /// When it arrived, in milliseconds since the trace began.
    pub timestamp: f64,
    /// Tokens of the prompt.
    pub input_length: u64,
    /// Tokens of the answer.
    pub output_length: u64,
    /// The prompt's blocks; the last may be short of [`ID_TOKENS`].
    pub hash_ids: Vec<u64>,
}

/// Reads a trace, in the order of arrival, at most `limit` requests of it.
///
/// # Errors
/// A sentence with the file, the line, and what is wrong with it.
pub fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Recorded>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("can't read the trace {shown}: {error}; --workload makes one from a seed"))?;
    let mut requests = parse(&text).map_err(|(line, why)| format!("the trace {shown}, line {line}: {why}"))?;
    requests.truncate(limit.unwrap_or(usize::MAX));
    if requests.is_empty() {
        return Err(format!("the trace {shown} has no requests"));
    }
    Ok(requests)
}

fn parse(text: &str) -> Result<Vec<Recorded>, (usize, String)> {
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let request: Recorded = serde_json::from_str(line).map_err(|error| (number + 1, error.to_string()))?;
        if !request.timestamp.is_finite() || request.timestamp < 0.0 {
            return Err((number + 1, format!("the timestamp {} is no time after the beginning", request.timestamp)));
        }
        if request.input_length == 0 {
            return Err((number + 1, "input_length is 0, and a prompt has at least one token".to_owned()));
        }
        requests.push(request);
    }
    requests.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
    Ok(requests)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_the_order_of_their_time() {
        let text = r#"{"timestamp": 5, "input_length": 600, "output_length": 2, "hash_ids": [1, 2]}

{"timestamp": 3.5, "input_length": 10, "output_length": 1, "hash_ids": [1]}"#;
        let requests = parse(text).unwrap();
        assert_eq!((requests[0].timestamp, requests[1].hash_ids.as_slice()), (3.5, &[1, 2][..]));
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = r#"{"timestamp": 5, "input_length": 600, "output_length": 2, "hash_ids": []}"#;
        assert_eq!(parse(&format!("{good}\n{{")).unwrap_err().0, 2);
        let (line, why) = parse(&good.replace("600", "0")).unwrap_err();
        assert!(line == 1 && why.contains("input_length"));
        assert!(parse(&good.replace('5', "-5")).unwrap_err().1.contains("-5"));
    }
}
