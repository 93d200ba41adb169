//! Names of metrics in queries of Prometheus.

use std::collections::BTreeSet;

/// Words that stand where a metric's name may stand.
const WORDS: [&str; 7] = ["and", "bool", "by", "ignoring", "on", "or", "unless"];
/// What a histogram's series have behind its name.
const ENDINGS: [&str; 3] = ["_bucket", "_count", "_sum"];

/// The metrics of a query: its names outside of braces and brackets, that no parenthesis follows and that are no labels.
pub(crate) fn metrics(query: &str) -> BTreeSet<String> {
    let plain = without(&without(&without_quotes(query), '{', '}'), '[', ']');
    let mut found = BTreeSet::new();
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let (mut rest, mut in_labels) = (plain.as_str(), false);
    while let Some(start) = rest.find(|char: char| is_word(char) || char == ')') {
        if rest[start..].starts_with(')') {
            in_labels = false;
            rest = &rest[start + 1..];
            continue;
        }
        let end = rest[start..].find(|char: char| !is_word(char)).map_or(rest.len(), |length| start + length);
        let (word, behind) = (&rest[start..end], rest[end..].trim_start());
        if ["by", "ignoring", "on", "group_left"].contains(&word) && behind.starts_with('(') {
            in_labels = true;
        } else if !in_labels
            && !behind.starts_with('(')
            && word.contains('_')
            && !WORDS.contains(&word)
            && word != "group_left"
        {
            let ending = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
            found.insert(ending.unwrap_or(word).to_owned());
        }
        rest = &rest[end..];
    }
    found
}

/// A text without what stands between quotes.
fn without_quotes(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

/// A text without what stands between these two.
fn without(text: &str, open: char, close: char) -> String {
    let mut depth = 0_u32;
    let mut kept = String::new();
    for char in text.chars() {
        if char == open {
            depth += 1;
        } else if char == close {
            depth = depth.saturating_sub(1);
        } else if depth == 0 {
            kept.push(char);
        }
    }
    kept
}

#[test]
fn metrics_are_found_and_labels_and_functions_are_not() {
    for (query, expected) in [
        ("absent(a_b)", vec!["a_b"]),
        (
            "sum by (my_label, le) (rate(a_b_bucket{c_d=\"e_f\"}[5m])) / ignoring (x_y) group_left sum(g_h)",
            vec!["a_b", "g_h"],
        ),
        ("histogram_quantile(0.99, sum by (le) (rate(a_b_bucket[$__rate_interval]))) > 0.05", vec!["a_b"]),
        ("max(a_b{s=\"(\"}) or vector(0)", vec!["a_b"]),
        ("a_count - b_c", vec!["a", "b_c"]),
    ] {
        assert_eq!(metrics(query).into_iter().collect::<Vec<_>>(), expected, "{query}");
    }
}
