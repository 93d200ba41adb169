//! Recorded requests: arrival times, lengths, and which blocks of 512 tokens their prompts share.
//!
//! Must not know replicas or engines. Two formats are read. Mooncake's has one JSON object a line with `timestamp`
//! (milliseconds), `input_length`, `output_length` and `hash_ids`, chained so that equal ids mean equal content so far.
//! Azure's has `TIMESTAMP,ContextTokens,GeneratedTokens`: nothing is known of what prompts share, so they share nothing.

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
    let parsed = if text.starts_with(AZURE_HEAD) { parse_azure(&text) } else { parse(&text) };
    let mut requests = parsed.map_err(|(line, why)| format!("the trace {shown}, line {line}: {why}"))?;
    requests.truncate(limit.unwrap_or(usize::MAX));
    if requests.is_empty() {
        return Err(format!("the trace {shown} has no requests"));
    }
    Ok(requests)
}

/// The first line of Azure's traces.
const AZURE_HEAD: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// Ids that each request of such a trace has for itself: enough for prompts of 33 million tokens.
const AZURE_IDS: u64 = 1 << 16;

fn parse_azure(text: &str) -> Result<Vec<Recorded>, (usize, String)> {
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &str| (number + 1, format!("{what} in {line:?}"));
        let mut cells = line.trim().split(',');
        let (Some(time), Some(input), Some(output)) = (cells.next(), cells.next(), cells.next()) else {
            return Err(wrong("less than three cells"));
        };
        let timestamp = milliseconds(time).ok_or_else(|| wrong("no time such as 2023-11-16 18:17:03.98"))?;
        let input_length = input.parse().ok().filter(|tokens| *tokens > 0 && *tokens < AZURE_IDS * ID_TOKENS);
        let input_length: u64 = input_length.ok_or_else(|| wrong("no number of prompt tokens"))?;
        let output_length = output.parse().map_err(|_| wrong("no number of answer tokens"))?;
        let first = number as u64 * AZURE_IDS;
        let hash_ids = (first..first + input_length.div_ceil(ID_TOKENS)).collect();
        requests.push(Recorded { timestamp, input_length, output_length, hash_ids });
    }
    requests.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
    Ok(requests)
}

/// Milliseconds since the month of `2023-11-16 18:17:03.98` began. No trace is longer than a month.
fn milliseconds(time: &str) -> Option<f64> {
    let (date, clock) = time.split_once(' ')?;
    let day: f64 = date.rsplit('-').next()?.parse().ok()?;
    let mut parts = clock.splitn(3, ':').map(str::parse::<f64>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some((((day * 24.0 + hour) * 60.0 + minute) * 60.0 + second) * 1000.0)
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
    fn prompts_of_an_azure_trace_share_nothing() {
        let text = format!("{AZURE_HEAD}\n2023-11-16 18:17:04.5,600,8\n2023-11-16 18:17:03.25,4808,10\n");
        let requests = parse_azure(&text).unwrap();
        let lengths: Vec<_> = requests.iter().map(|r| (r.input_length, r.output_length, r.hash_ids.len())).collect();
        assert_eq!(lengths, [(4808, 10, 10), (600, 8, 2)]);
        assert!((requests[1].timestamp - requests[0].timestamp - 1250.0).abs() < 1e-3);
        assert!(requests[0].hash_ids.iter().all(|id| !requests[1].hash_ids.contains(id)));
        for bad in ["2023-11-16 18:17:04.5,600", "yesterday,600,8", "2023-11-16 18:17:04.5,0,8"] {
            assert_eq!(parse_azure(&format!("{AZURE_HEAD}\n{bad}\n")).unwrap_err().0, 2, "{bad}");
        }
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
