//! A storm as one self-contained HTML page: a timeline, the figures, failures, and the plan.
//!
//! Must not know how figures are computed. It has no script and loads nothing, so it can be stored, sent and printed.

mod picture;

use std::fmt::Write as _;

use super::figures::Figures;
use super::run::Observed;
use super::table::rows;
use super::verdict::Judged;
use murmuration_simulation::plan::Plan;

const STYLE: &str = include_str!("style.css");

/// The page.
///
/// # Errors
/// When the plan can't be serialized; a plan that was read always can.
pub(super) fn page(
    plan: &Plan,
    figures: &Figures,
    judged: &[Judged],
    observed: &Observed,
) -> Result<String, serde_json::Error> {
    let met = judged.iter().all(|one| one.met);
    let (class, word) = if met { ("met", "all bars met") } else { ("missed", "bars missed") };
    let name = escaped(&plan.name);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Storm {name}</title><style>{STYLE}</style></head>\n<body><header><h1>{name}</h1>\
         <span class=\"badge {class}\">{word}</span></header>\n"
    );
    let cluster = &plan.cluster;
    let _ = writeln!(
        text,
        "<p class=\"lead\">{} replicas, {} engines, {} zone{} behind a real Envoy; {} requests a second, {:.0} % of them streamed; \
         answers: {}.</p>",
        cluster.replicas,
        cluster.engines,
        cluster.zones,
        if cluster.zones == 1 { "" } else { "s" },
        plan.traffic.rate,
        plan.traffic.streamed * 100.0,
        if cluster.response_path == murmuration_simulation::plan::ResponsePath::Stay {
            "replicas see them"
        } else {
            "replicas leave before them"
        },
    );
    let _ = writeln!(text, "<section class=\"plot\">{}</section>", picture::picture(observed));
    bars(&mut text, judged);
    stretches(&mut text, figures);
    failures(&mut text, figures, observed);
    let json = serde_json::to_string_pretty(plan)?;
    let _ = writeln!(text, "<h2>The plan</h2>\n<pre>{}</pre>", escaped(&json));
    text.push_str("<footer>Murmuration, a storm on real processes. Times are seconds since the load began.</footer></body></html>\n");
    Ok(text)
}

fn bars(text: &mut String, judged: &[Judged]) {
    text.push_str(
        "<h2>Bars</h2>\n<div class=\"scroll\"><table><tr><th>what</th><th>measured</th><th>bar</th><th></th></tr>\n",
    );
    for one in judged {
        let (class, word) = if one.met { ("met", "met") } else { ("missed", "missed") };
        let (measured, bar) = (escaped(&one.measured), escaped(&one.bar));
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{measured}</td><td>{bar}</td><td class=\"{class}\">{word}</td></tr>",
            one.what
        );
    }
    text.push_str("</table></div>\n");
}

fn stretches(text: &mut String, figures: &Figures) {
    text.push_str("<h2>Figures</h2>\n<div class=\"scroll\"><table><tr><th></th><th>before</th><th>during</th><th>after</th></tr>\n");
    for [what, before, during, after] in rows(figures) {
        let what = escaped(&what);
        let _ = writeln!(text, "<tr><td>{what}</td><td>{before}</td><td>{during}</td><td>{after}</td></tr>");
    }
    text.push_str("</table></div>\n");
}

fn failures(text: &mut String, figures: &Figures, observed: &Observed) {
    text.push_str("<h2>Failures</h2>\n");
    if figures.failures.is_empty() {
        text.push_str("<p>None.</p>\n");
    }
    for (cause, examples) in &observed.tally.examples {
        let count = figures.failures.get(&cause.to_string()).copied().unwrap_or(0);
        let _ = writeln!(text, "<p><b>{count}</b> {cause}</p>\n<pre>{}</pre>", escaped(&examples.join("\n")));
    }
    if figures.held > 0 {
        let _ = writeln!(text, "<p>{} of them were held by killed processes.</p>", figures.held);
    }
    for note in &observed.notes {
        let _ = writeln!(text, "<p class=\"lead\">Note: {}.</p>", escaped(note));
    }
}

/// Escapes text for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
