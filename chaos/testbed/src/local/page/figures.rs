//! Single figures from a Prometheus page.
//!
//! Must not know whose page it is.

/// The sum over all series of `family` whose labels contain `label` (such as `result="kept"`; empty is any), or `None`
/// when there is no such series.
pub(super) fn sum(page: &str, family: &str, label: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(family)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        if labels.contains(label) { value.trim().parse::<f64>().ok() } else { None }
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
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
    }

    #[test]
    fn what_is_not_on_the_page_is_no_zero() {
        assert_eq!((sum(PAGE, "a", ""), sum(PAGE, "a_total", "result=\"lost\"")), (None, None));
    }
}
