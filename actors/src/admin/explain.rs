//! A decision and its reasons, for people at a terminal.
//!
//! Must not know where the decision came from; it is given the JSON of `/debug/decisions/<request-id>`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use super::printable::printable;
use crate::text_table::{Column, left, right, table};

/// The decision as a readable page.
pub fn page(decision: &Value) -> String {
    let mut page = String::new();
    let why = &decision["explanation"];
    line(&mut page, &format!("request     {}", text(&why["request_id"])));
    line(&mut page, &format!("model       {} ({} prompt tokens)", text(&why["model"]), number(&why["prompt_tokens"])));
    let left_out = [("outside_subset", "outside of the subset"), ("asleep", "asleep"), ("unreachable", "unreachable")];
    let left_out: Vec<String> = left_out
        .iter()
        .filter(|(key, _)| why[*key].as_u64().unwrap_or(0) > 0)
        .map(|(key, words)| format!("{} {words}", number(&why[*key])))
        .collect();
    let aside = if left_out.is_empty() { String::new() } else { format!(" ({} left out)", left_out.join(", ")) };
    line(
        &mut page,
        &format!(
            "chosen      from {} candidates{aside}, saturation {:.2}",
            number(&why["candidates"]),
            float(&why["saturation"])
        ),
    );
    line(&mut page, &format!("uncertainty {}", uncertainty(&why["uncertainty"])));
    if why["waited"]["nanos"].as_u64().is_some_and(|nanos| nanos > 0) {
        line(&mut page, &format!("kept back   {}, for news of others of the same moment", age(&why["waited"])));
    }
    if number(&why["others_before"]) > 0 {
        line(&mut page, &format!("            {} others count as sent before it", number(&why["others_before"])));
    }
    for leg in items(&decision["legs"]) {
        let targets: Vec<String> =
            items(&leg["targets"]).map(|t| format!("{} at {}", text(&t["endpoint"]), text(&t["address"]))).collect();
        line(&mut page, &format!("{:<11} {}{}", text(&leg["stage"]), targets.join(", then "), cost(&leg["cost"])));
    }
    for verdict in items(&why["verdicts"]) {
        let separate = if verdict["separate"].as_bool() == Some(true) { "on its own" } else { "not on its own" };
        let (stage, decider) = (text(&verdict["stage"]), text(&verdict["decider"]));
        line(&mut page, &format!("{stage} {separate}: {} ({decider})", text(&verdict["reason"])));
    }
    for failing in items(&why["failing"]) {
        line(&mut page, &format!("failing: {} of {}", text(&failing["failures"]), text(&failing["endpoint"])));
    }
    pairs(&mut page, &why["pair"]);
    for profile in items(&why["profiles"]) {
        self::profile(&mut page, profile);
    }
    page
}

/// What was compared where two stages were chosen together, the chosen way first.
fn pairs(page: &mut String, pair: &Value) {
    if pair.is_null() {
        return;
    }
    let (decoders, prefillers) = (number(&pair["decoders"]), number(&pair["prefillers"]));
    line(page, &format!("\npairs of {decoders} endpoints that decode and {prefillers} that prefill, the best first"));
    for row in items(&pair["rows"]) {
        let way = match row["prefill"].as_str() {
            Some(_) => format!("{} for {}", text(&row["prefill"]), text(&row["decode"])),
            None => format!("{} alone", text(&row["decode"])),
        };
        line(page, &format!("  {way}: {}", pair_terms(&row["terms"])));
    }
}

/// The terms of a pair's cost, in the order of the formula; those that are 0 are left out.
fn pair_terms(terms: &Value) -> String {
    let tokens = |key: &str| float(&terms[key]);
    let mut parts = vec![
        format!("{:.0} waiting", tokens("waiting")),
        format!("{:.0} uncached at {:.1} each", tokens("uncached"), tokens("price")),
    ];
    if tokens("hand_off") > 0.0 {
        parts.push(format!("{:.0} hand-over", tokens("hand_off")));
    }
    if tokens("moved") > 0.0 {
        parts.push(format!("{:.0} moved at {:.2} each", tokens("moved"), tokens("move_price")));
        if tokens("link") > 0.0 {
            parts.push(format!("{:.0} for transfers before it", tokens("link")));
        }
    }
    for (key, words) in [
        ("between", "for prompts between"),
        ("answers", "for answers beside it"),
        ("context", "for contexts"),
        ("short", "without room"),
        ("far", "for another zone"),
    ] {
        if tokens(key) > 0.0 {
            parts.push(format!("{:.0} {words}", tokens(key)));
        }
    }
    format!("{} = {:.0} tokens", parts.join(" + "), tokens("cost"))
}

/// The list of `/debug/decisions` as a table.
pub fn list(decisions: &Value) -> String {
    let columns = [left("REQUEST"), left("MODEL"), left("ENDPOINT"), right("MATCHED"), right("MARGIN")];
    let row = |decision: &Value| {
        [
            text(&decision["request_id"]).into_owned(),
            text(&decision["model"]).into_owned(),
            text(&decision["endpoint"]).into_owned(),
            format!("{}/{}", number(&decision["matched_blocks"]), number(&decision["blocks"])),
            format!("{:.3}", float(&decision["margin"])),
        ]
    };
    table(&columns, &items(decisions).map(row).collect::<Vec<_>>())
}

fn profile(page: &mut String, profile: &Value) {
    let margin = float(&profile["margin"]);
    line(
        page,
        &format!("\nprofile {} for {} (margin {margin:.3})", text(&profile["profile"]), text(&profile["stage"])),
    );
    for filter in items(&profile["filters"]) {
        let removed: Vec<Cow<'_, str>> = items(&filter["removed"]).map(text).collect();
        let removed = if removed.is_empty() { "none".to_owned() } else { removed.join(", ") };
        line(
            page,
            &format!(
                "  filter {}: {} -> {}, removed {removed}",
                text(&filter["filter"]),
                number(&filter["before"]),
                number(&filter["after"])
            ),
        );
    }
    let scorers: Vec<&Value> = items(&profile["scorers"]).collect();
    for (i, scorer) in scorers.iter().enumerate() {
        line(page, &format!("  s{i} = {} x {}", text(&scorer["scorer"]), float(&scorer["weight"])));
    }
    let scores = (0..scorers.len()).map(|i| right(format!("s{i}")));
    let first = [left("ENDPOINT"), right("TOTAL")];
    let last = ["PREFIX", "WAITING", "RUNNING", "KV", "IN FLIGHT", "AGE"].map(right);
    let columns: Vec<Column> = first.into_iter().chain(scores).chain(last).chain([left("TRUST")]).collect();
    let rows: Vec<Vec<String>> = items(&profile["rows"]).map(row).collect();
    table(&columns, &rows).lines().for_each(|row| line(page, &format!("  {row}")));
    for row in items(&profile["rows"]).filter(|row| !row["cost"].is_null()) {
        line(page, &format!("  {}: {}", text(&row["endpoint"]), terms(&row["cost"])));
    }
}

/// The terms of a cost, in the order of the formula.
fn terms(cost: &Value) -> String {
    let tokens = |key: &str| format!("{:.0}", float(&cost[key]));
    // As measured; nothing is said of an endpoint as fast as the others.
    let speed = Some(float(&cost["speed"])).filter(|speed| (speed - 1.0).abs() >= 0.005);
    let speed = speed.map(|speed| format!(" / {speed:.2} (its speed)")).unwrap_or_default();
    let slower = Some(tokens("slower")).filter(|slower| slower != "0");
    let slower = slower.map(|slower| format!(" + {slower} for a slower answer")).unwrap_or_default();
    let far = Some(tokens("far")).filter(|far| far != "0");
    let far = far.map(|far| format!(" + {far} for another zone")).unwrap_or_default();
    format!(
        "{} waiting{speed} + {} uncached at {:.1} each ({} answers held up) + {} for contexts{slower}{far} = {} tokens",
        tokens("waiting"),
        tokens("uncached"),
        float(&cost["price"]),
        tokens("stalled"),
        tokens("context"),
        tokens("cost")
    )
}

fn row(row: &Value) -> Vec<String> {
    let mut cells = vec![text(&row["endpoint"]).into_owned(), format!("{:.3}", float(&row["total"]))];
    cells.extend(items(&row["scores"]).map(|score| format!("{:.3}", float(score))));
    cells.extend([
        format!("{}/{}", number(&row["matched"]["blocks"]), number(&row["matched"]["of"])),
        format!("{:.1}", float(&row["waiting"])),
        format!("{:.1}", float(&row["running"])),
        format!("{:.2}", float(&row["kv_usage"])),
        number(&row["in_flight"]["requests"]).to_string(),
        age(&row["age"]),
        text(&row["trust"]).into_owned(),
    ]);
    cells
}

/// What a leg adds to its endpoint's open work.
fn cost(cost: &Value) -> String {
    if cost.is_null() {
        return String::new();
    }
    format!(
        " (open work: {} prompt, {} answer tokens)",
        number(&cost["prefill_tokens"]),
        number(&cost["decode_tokens"])
    )
}

fn line(page: &mut String, text: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(page, "{}", text.trim_end());
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Untrusted text, made harmless for a terminal.
fn text(value: &Value) -> Cow<'_, str> {
    printable(value.as_str().unwrap_or("-"))
}

/// How far the view may have been off, and how that changed the choice.
fn uncertainty(value: &Value) -> String {
    if let Some(most) = value["concurrent"].as_u64() {
        return format!(
            "concurrent ({most}): others decided at this moment, so the prompt drew among the best rows within a \
            twentieth; the margin may be below zero"
        );
    }
    match value.as_str() {
        Some("isolated") => {
            "isolated: nothing is received from peers, so the prompt's beginning decided; the margin may be below zero"
                .to_owned()
        }
        Some("none") => "none: the best row wins".to_owned(),
        _ => text(value).into_owned(),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// serde writes a duration as seconds and nanoseconds.
fn age(value: &Value) -> String {
    let Some(seconds) = value["secs"].as_f64() else { return "never".to_owned() };
    format!("{:.0} ms", (seconds + float(&value["nanos"]) / 1e9) * 1e3)
}

#[cfg(test)]
mod tests {
    use murmuration::schedule::Uncertainty;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_uncertainty_is_explained() {
        for (value, words) in [
            (json!(Uncertainty::None), "none: "),
            (json!(Uncertainty::Concurrent(2)), "concurrent (2): "),
            (json!(Uncertainty::Isolated), "isolated: "),
            (json!(null), "-"),
        ] {
            assert!(uncertainty(&value).starts_with(words), "{value}");
        }
    }

    #[test]
    fn what_a_client_wrote_does_not_control_the_terminal() {
        let bad = "\u{1b}[2J\u{9b}31m\n\u{202e}";
        let row = json!({"endpoint": bad, "trust": bad});
        let profile = json!({"profile": bad, "filters": [{"filter": bad, "removed": [bad]}], "scorers": [{"scorer": bad}], "rows": [row]});
        let why = json!({"request_id": bad, "model": bad, "uncertainty": bad, "profiles": [profile]});
        let leg = json!({"stage": bad, "targets": [{"endpoint": bad, "address": bad}]});
        let decision = json!({"request_id": bad, "model": bad, "endpoint": bad, "legs": [leg], "explanation": why});
        for page in [page(&decision), list(&json!([decision]))] {
            assert!(page.contains("\\u{1b}[2J"), "{page}");
            assert!(page.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{page:?}");
        }
    }

    #[test]
    fn the_page_shows_the_chosen_endpoint_and_the_reasons() {
        let cost = json!({
            "waiting": 12400.0, "speed": 0.8, "uncached": 800.0, "price": 4.1, "stalled": 9.0, "context": 50.0, "slower": 750.0,
            "far": 100.0, "cost": 19680.0,
        });
        let decision = json!({
            "legs": [
                {"stage": "decode", "targets": [{"endpoint": "default/e1", "address": "10.0.0.2:8000"}],
                 "cost": {"prefill_tokens": 0, "decode_tokens": 960}},
                {"stage": "prefill", "targets": [{"endpoint": "default/p1", "address": "10.0.0.9:8000"}],
                 "cost": {"prefill_tokens": 640, "decode_tokens": 0}},
            ],
            "explanation": {
                "request_id": "r1", "model": "m", "prompt_tokens": 640, "candidates": 2, "outside_subset": 1, "saturation": 0.25,
                "uncertainty": Uncertainty::Concurrent(3), "waited": {"secs": 0, "nanos": 12_000_000}, "others_before": 2,
                "verdicts": [{"stage": "prefill", "decider": "pd", "separate": true, "reason": "much to compute"}],
                "pair": {"decoders": 2, "prefillers": 1, "rows": [
                    {"decode": "default/e1", "prefill": "default/p1", "terms": {"waiting": 100.0, "uncached": 640.0, "price": 1.5,
                     "hand_off": 200.0, "moved": 640.0, "move_price": 0.131, "between": 20.0, "answers": 240.0, "context": 50.0, "short": 0.0, "cost": 1653.8}},
                    {"decode": "default/e1", "prefill": null, "terms": {"waiting": 0.0, "uncached": 640.0, "price": 3.0,
                     "hand_off": 0.0, "moved": 0.0, "move_price": 0.0, "between": 0.0, "answers": 240.0, "context": 50.0, "short": 0.0, "far": 100.0, "cost": 2310.0}},
                ]},
                "profiles": [{
                    "profile": "default", "stage": "decode", "margin": 1.5,
                    "filters": [{"filter": "decode-filter", "before": 3, "after": 2, "removed": ["default/p0"]}],
                    "scorers": [{"scorer": "queue-scorer", "weight": 2.0}],
                    "rows": [{
                        "endpoint": "default/e1", "total": 2.0, "scores": [1.0], "matched": {"blocks": 3, "of": 10},
                        "waiting": 0.0, "running": 1.0, "kv_usage": 0.5, "in_flight": {"requests": 4}, "trust": "EXACT",
                        "age": {"secs": 0, "nanos": 42_000_000},
                        "cost": cost,
                    }],
                }],
            },
        });
        let page = page(&decision);
        for part in [
            "decode      default/e1 at 10.0.0.2:8000 (open work: 0 prompt, 960 answer tokens)",
            "prefill     default/p1 at 10.0.0.9:8000 (open work: 640 prompt, 0 answer tokens)",
            "prefill on its own: much to compute (pd)",
            "pairs of 2 endpoints that decode and 1 that prefill",
            "default/p1 for default/e1: 100 waiting + 640 uncached at 1.5 each + 200 hand-over + 640 moved at 0.13 each + \
             20 for prompts between + 240 for answers beside it + 50 for contexts = 1654 tokens",
            "default/e1 alone: 0 waiting + 640 uncached at 3.0 each + 240 for answers beside it + 50 for contexts + 100 for \
             another zone = 2310",
            "profile default for decode",
            "from 2 candidates (1 outside of the subset left out), saturation 0.25",
            "filter decode-filter: 3 -> 2, removed default/p0",
            "s0 = queue-scorer x 2",
            "uncertainty concurrent (3)",
            "kept back   12 ms, for news of others of the same moment",
            "2 others count as sent before it",
            "3/10",
            "42 ms  EXACT",
            "default/e1: 12400 waiting / 0.80 (its speed) + 800 uncached at 4.1 each (9 answers held up) + 50 for contexts \
             + 750 for a slower answer + 100 for another zone = 19680 tokens",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}
