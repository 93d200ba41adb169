//! The text of a metrics page as Python's `prometheus_client` writes it. Numbers are floats, large ones with an
//! exponent. Labels are sorted by name. Each counter, histogram and summary has a gauge `_created`.
//!
//! Must not know what is on the page.

use std::fmt::Write as _;

use crate::http::histogram::Histogram;

/// Labels of a series, sorted by name.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    text: String,
    /// When its counters were created, in seconds since the Unix epoch.
    created: f64,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(created: f64) -> Self {
        // A page of a real engine takes 54 KB.
        Self { text: String::with_capacity(64 * 1024), created }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A family of gauges.
    pub(super) fn gauge(&mut self, name: &str, help: &str, series: &[(Labels<'_>, f64)]) {
        self.family(name, "gauge", help);
        series.iter().for_each(|(labels, value)| self.sample(name, labels, *value));
    }

    /// A family of counters; `name` is without its `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, series: &[(Labels<'_>, f64)]) {
        self.plain_counter(name, help, series);
        self.created_gauge(name, help, series.iter().map(|(labels, _)| *labels));
    }

    /// A family of counters without a `_created` gauge; `name` is without its `_total`.
    pub(super) fn plain_counter(&mut self, name: &str, help: &str, series: &[(Labels<'_>, f64)]) {
        let total = format!("{name}_total");
        self.family(&total, "counter", help);
        series.iter().for_each(|(labels, value)| self.sample(&total, labels, *value));
    }

    /// A family of histograms.
    pub(super) fn histogram(&mut self, name: &str, help: &str, series: &[(Labels<'_>, &Histogram)]) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (labels, histogram) in series {
            for (bound, count) in histogram.buckets() {
                let bound = number(bound);
                let mut labels = labels.to_vec();
                labels.insert(labels.partition_point(|(key, _)| *key < "le"), ("le", &bound));
                self.sample(&bucket, &labels, count as f64);
            }
            self.sums(name, labels, histogram.count() as f64, histogram.sum());
        }
        self.created_gauge(name, help, series.iter().map(|(labels, _)| *labels));
    }

    /// A family of summaries without quantiles: labels, count, sum.
    pub(super) fn summary(&mut self, name: &str, help: &str, series: &[(Labels<'_>, f64, f64)]) {
        self.family(name, "summary", help);
        series.iter().for_each(|(labels, count, sum)| self.sums(name, labels, *count, *sum));
        self.created_gauge(name, help, series.iter().map(|(labels, ..)| *labels));
    }

    fn sums(&mut self, name: &str, labels: Labels<'_>, count: f64, sum: f64) {
        self.sample(&format!("{name}_count"), labels, count);
        self.sample(&format!("{name}_sum"), labels, sum);
    }

    /// Writes the gauge `_created`. A family without series has none.
    fn created_gauge<'a>(&mut self, name: &str, help: &str, series: impl Iterator<Item = Labels<'a>>) {
        let (name, created) = (format!("{name}_created"), self.created);
        let mut series = series.peekable();
        if series.peek().is_some() {
            self.family(&name, "gauge", help);
            series.for_each(|labels| self.sample(&name, labels, created));
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        for (i, (key, value)) in labels.iter().enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{key}=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
    }
}

/// A number as the Go and Python clients write it: with an exponent from a million on.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let plain = format!("{value:?}");
    match plain.find('.') {
        Some(dot) if value > 0.0 && dot > 6 => {
            let mantissa = format!("{}.{}{}", &plain[..1], &plain[1..dot], &plain[dot + 1..]);
            format!("{}e+{:02}", mantissa.trim_end_matches(['0', '.']), dot - 1)
        }
        _ => plain,
    }
}

fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_on_a_captured_page() {
        let captured = [
            (13_719.0, "13719.0"),
            (2_548_514_816.0, "2.548514816e+09"),
            (1_795_340_640.263_126_9, "1.7953406402631269e+09"),
            (0.500_978_473_581_213_3, "0.5009784735812133"),
            (999_999.0, "999999.0"),
            (1_000_000.0, "1e+06"),
            (f64::INFINITY, "+Inf"),
            (0.0, "0.0"),
        ];
        for (value, text) in captured {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn labels_are_escaped_and_bounds_stand_in_their_order() {
        let mut page = Writer::new(1.0);
        let mut histogram = Histogram::new(&[0.5]);
        histogram.observe(0.25);
        page.histogram("h", "A help.", &[(&[("engine", "0"), ("model_name", "a\"b")], &histogram)]);
        let text = page.into_text();
        assert!(text.starts_with("# HELP h A help.\n# TYPE h histogram\n"), "{text}");
        assert!(text.contains("h_bucket{engine=\"0\",le=\"0.5\",model_name=\"a\\\"b\"} 1.0\n"), "{text}");
        assert!(text.ends_with("h_created{engine=\"0\",model_name=\"a\\\"b\"} 1.0\n"), "{text}");
    }
}
