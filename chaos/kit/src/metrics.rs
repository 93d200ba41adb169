//! Figures of a Prometheus page.
//!
//! Must not know whose page it is.

/// Name, labels (as they stand between the braces) and value of each line that has a value.
pub fn samples(page: &str) -> impl Iterator<Item = (&str, &str, f64)> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some((name, labels.strip_suffix('}').unwrap_or(labels), value.parse().ok()?))
    })
}

/// The value of the label `name`.
pub fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut all = labels.split(',');
    all.find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

/// The sum over all series of `family` whose labels contain `label` (such as `result="kept"`; empty is any), or `None`
/// when there is no such series.
pub fn sum(page: &str, family: &str, label: &str) -> Option<f64> {
    let series = samples(page).filter(|(name, labels, _)| *name == family && labels.contains(label));
    series.map(|(_, _, value)| value).reduce(|sum, value| sum + value)
}

/// The sum of the series whose line begins with `wanted`; 0 where there is none.
pub fn sum_of_lines(page: &str, wanted: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(wanted));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\",result=\"kept\"} 3\n\
                        a_total{kind=\"}\",result=\"broken\"} 4\na_total_more 100\nb 2.5\n";

    #[test]
    fn series_of_one_family_are_summed() {
        assert_eq!(sum(PAGE, "a_total", ""), Some(7.0));
        assert_eq!(sum(PAGE, "a_total", "result=\"kept\""), Some(3.0));
        assert_eq!(sum(PAGE, "b", ""), Some(2.5));
        assert_eq!((sum_of_lines(PAGE, "a_total"), sum_of_lines(PAGE, "a_total{kind=\"x\"")), (107.0, 3.0));
    }

    #[test]
    fn what_is_not_on_the_page_is_no_zero() {
        assert_eq!((sum(PAGE, "a", ""), sum(PAGE, "a_total", "result=\"lost\"")), (None, None));
    }

    #[test]
    fn a_line_is_name_labels_and_value() {
        let line = "murmuration_peer_fact_age_seconds_bucket{lane=\"stream\",le=\"0.004\"} 26";
        let found: Vec<_> = samples(line).collect();
        assert_eq!(found, [("murmuration_peer_fact_age_seconds_bucket", "lane=\"stream\",le=\"0.004\"", 26.0)]);
        assert_eq!((label(found[0].1, "lane"), label(found[0].1, "le")), (Some("stream"), Some("0.004")));
        assert_eq!(samples("# HELP x 7").count(), 0);
    }
}
