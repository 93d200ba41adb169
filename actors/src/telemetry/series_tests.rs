//! The budget, filled by made-up names and by names that engines serve.

use proptest::prelude::*;

use super::*;

fn histograms(model: &str) -> Key {
    Key::Histograms(Names::new(model, model), "0".to_owned())
}

fn admit(series: &mut Series, model: &str, known: bool, now: Instant) -> bool {
    series.admit(&histograms(model), known, now, &mut Gone::new())
}

/// A table full of made-up names, and how many of them have their own series.
fn filled(now: Instant) -> (Series, usize) {
    let mut series = Series::default();
    let own = (0..10_000).filter(|at| admit(&mut series, &format!("made-up-{at}"), false, now)).count();
    (series, own)
}

#[test]
fn made_up_names_use_an_eighth_and_served_ones_the_rest() {
    let now = Instant::now();
    let (mut series, own) = filled(now);
    assert!((50..1_000).contains(&own), "{own}");
    assert!(series.unknown_bytes <= UNKNOWN_BYTES_MAX);
    let now = now + Duration::from_millis(1);
    for at in 0..500 {
        assert!(admit(&mut series, &format!("served-{at}"), true, now), "{at}");
    }
    let more = (500..10_000).take_while(|at| admit(&mut series, &format!("served-{at}"), true, now)).count();
    assert!(more < 9_000, "there is an end");
    assert!(series.bytes <= BYTES_MAX);
    assert_eq!(series.unknown_bytes, 0, "made-up names were removed");
}

#[test]
fn a_name_of_one_request_is_removed_soon_and_one_in_use_stays() {
    let began = Instant::now();
    let mut series = Series::default();
    for _ in 0..30 {
        assert!(admit(&mut series, "used", false, began));
    }
    for at in 0..10_000 {
        admit(&mut series, &format!("made-up-{at}"), false, began);
    }
    let later = began + FOR_EACH_USE + Duration::from_secs(2);
    assert!(admit(&mut series, "late", false, later));
    assert!(series.entries.contains_key(&histograms("used")));
}

#[test]
fn unused_series_are_removed_and_those_with_requests_in_progress_stay() {
    let began = Instant::now();
    let mut series = Series::default();
    for model in ["a", "b"] {
        admit(&mut series, model, true, began);
    }
    series.hold(&histograms("b"));
    let mut gone = Gone::new();
    series.age(began + UNUSED_MAX + Duration::from_secs(1), &mut gone);
    assert_eq!(gone, [(histograms("a"), vec![])]);
    series.release(&histograms("b"));
    series.age(began + UNUSED_MAX + Duration::from_secs(1), &mut gone);
    assert_eq!((gone.len(), series.bytes, series.unknown_bytes), (2, 0, 0));
}

#[test]
fn codes_of_one_series_are_bounded() {
    let mut series = Series::default();
    admit(&mut series, "a", true, Instant::now());
    let codes: Vec<String> = (400..500).map(|code| code.to_string()).collect();
    let shown: std::collections::BTreeSet<&str> =
        codes.iter().map(|code| series.code(&histograms("a"), code)).collect();
    assert_eq!(shown.len(), CODES_MAX);
    assert!(shown.contains(OTHER));
}

#[test]
fn a_value_is_cut_between_characters() {
    assert_eq!(capped("short"), "short");
    assert_eq!(capped(&"\u{20ac}".repeat(100)).len(), 255);
}

proptest! {
    #[test]
    fn byte_totals_match_the_entries(steps in proptest::collection::vec((0..40_u8, any::<bool>(), 0..900_u64, 0..4_u8), 0..200)) {
        let (mut series, mut now) = (Series::default(), Instant::now());
        for (name, known, seconds, step) in steps {
            now += Duration::from_secs(seconds);
            let name = "x".repeat(usize::from(name) * 7);
            match step {
                0 => series.age(now, &mut Gone::new()),
                1 => series.hold(&histograms(&name)),
                2 => series.release(&histograms(&name)),
                _ => drop(admit(&mut series, &name, known, now)),
            }
            prop_assert_eq!(series.bytes, series.entries.values().map(|entry| entry.cost).sum::<usize>());
            let unknown = series.entries.values().filter(|entry| !entry.known);
            prop_assert_eq!(series.unknown_bytes, unknown.map(|entry| entry.cost).sum::<usize>());
        }
    }
}
