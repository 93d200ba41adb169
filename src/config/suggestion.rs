//! Similar names, for "did you mean".
//!
//! Must not know what the names refer to.

/// Maximum edits between a name and a suggestion; a third of the name's length is the other limit.
const DISTANCE_MAX: usize = 4;
/// Maximum number of suggestions in one message.
const SUGGESTIONS_MAX: usize = 3;
/// Longer names are not compared, because the cost of a distance is the product of both lengths.
const COMPARED_CHARS_MAX: usize = 128;

/// "did you mean `a` or `b`?", nearest first; `None` when nothing is similar.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let similar = nearest(name, known);
    (!similar.is_empty()).then(|| format!("did you mean {}?", either(&similar)))
}

/// "`a`, `b` and `c`".
pub(crate) fn listed(names: &[&str]) -> String {
    joined(names, "and")
}

/// "`a`, `b` or `c`".
pub(crate) fn either(names: &[&str]) -> String {
    joined(names, "or")
}

fn joined(names: &[&str], word: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {word} {last}", first.join(", ")),
    }
}

fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let length = name.chars().count();
    if length > COMPARED_CHARS_MAX {
        return Vec::new();
    }
    let most = DISTANCE_MAX.min(length.div_ceil(3));
    let mut similar: Vec<(usize, &str)> = known.into_iter().map(|known| (distance(name, known), known)).collect();
    similar.retain(|(distance, _)| *distance <= most);
    similar.sort_unstable();
    similar.dedup();
    similar.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

/// Edits between two names: insertions, deletions, replacements and swaps of neighbours, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_edits_and_swaps_of_neighbours() {
        assert_eq!(distance("queue-scorer", "queue-scorer"), 0);
        assert_eq!(distance("queue-scorrer", "queue-scorer"), 1);
        assert_eq!(distance("quuee", "queue"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Queue", "queue"), 0);
    }

    #[test]
    fn only_similar_names_are_suggested_nearest_first() {
        let known = ["queue-scorer", "token-load-scorer", "queue-score"];
        let message = did_you_mean("queue-scorrer", known);
        assert_eq!(message.as_deref(), Some("did you mean `queue-scorer` or `queue-score`?"));
        assert_eq!(did_you_mean("zebra", known), None);
        assert_eq!(did_you_mean(&"q".repeat(10_000), known), None);
    }

    #[test]
    fn names_are_joined_with_commas_and_a_word() {
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(either(&["a"]), "`a`");
        assert_eq!(listed(&[]), "none");
    }
}
