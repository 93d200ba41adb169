//! The families of the metrics page that describe the web server's responses.
//!
//! Must not know how they were counted.

use super::writer::Writer;
use crate::http::meters::Meters;

const REQUEST_SIZE: &str = "Content length of incoming requests by handler. Only value of header is respected. Otherwise \
                            ignored. No percentile calculated. ";
const RESPONSE_SIZE: &str = "Content length of outgoing responses by handler. Only value of header is respected. \
                             Otherwise ignored. No percentile calculated. ";
const FINE: &str = "Latency with many buckets but no API specific labels. Made for more accurate percentile \
                    calculations. ";
const COARSE: &str = "Latency with only few buckets by handler. Made to be only used if aggregation by handler is \
                      important. ";

/// Writes them in the order of the real page.
pub(super) fn write(page: &mut Writer, meters: &Meters) {
    let requests: Vec<_> = meters
        .http_requests
        .iter()
        .map(|((handler, method, status), count)| {
            ([("handler", *handler), ("method", *method), ("status", *status)], *count as f64)
        })
        .collect();
    let requests: Vec<_> = requests.iter().map(|(labels, count)| (labels.as_slice(), *count)).collect();
    page.counter("http_requests", "Total number of requests by method, status and handler.", &requests);
    let sizes: Vec<_> = meters.http_sizes.iter().map(|(handler, sizes)| ([("handler", *handler)], sizes)).collect();
    let of_requests: Vec<_> =
        sizes.iter().map(|(of, sizes)| (of.as_slice(), sizes.count as f64, sizes.request_bytes as f64)).collect();
    page.summary("http_request_size_bytes", REQUEST_SIZE, &of_requests);
    let of_responses: Vec<_> =
        sizes.iter().map(|(of, sizes)| (of.as_slice(), sizes.count as f64, sizes.response_bytes as f64)).collect();
    page.summary("http_response_size_bytes", RESPONSE_SIZE, &of_responses);
    page.histogram("http_request_duration_highr_seconds", FINE, &[(&[], &meters.http_fine)]);
    let coarse: Vec<_> = meters
        .http_coarse
        .iter()
        .map(|((handler, method), histogram)| ([("handler", *handler), ("method", *method)], histogram))
        .collect();
    let coarse: Vec<_> = coarse.iter().map(|(labels, histogram)| (labels.as_slice(), *histogram)).collect();
    page.histogram("http_request_duration_seconds", COARSE, &coarse);
}
