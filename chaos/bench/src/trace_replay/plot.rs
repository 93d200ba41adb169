//! Two charts as one SVG that needs nothing else: time to first token against load, and hit ratio against replicas.
//!
//! Must not know how a run works.

use std::fmt::Write;

use super::experiment;
use super::plan::{Plan, Sharing, Way};
use super::tally::Outcome;
use super::tempo::{Demand, Tempo};
use super::trace::Recorded;

/// Loads of the first chart.
const LOADS: [f64; 5] = [0.2, 0.4, 0.55, 0.66, 0.8];
/// Replicas of the second, all at the plan's own tempo.
const REPLICAS: [usize; 4] = [1, 2, 4, 8];
/// One chart's size and the margin around its field, in pixels.
const SIZE: (f64, f64) = (460.0, 320.0);
const ROOM: f64 = 56.0;

/// A line of a chart.
struct Line {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// A chart.
struct Chart {
    title: &'static str,
    across: &'static str,
    lines: Vec<Line>,
}

/// The ways that are drawn, each in its colour. The colours differ also for people with red-green colour blindness.
fn ways(plan: &Plan) -> [(&'static str, &'static str, Plan); 4] {
    [
        ("replication", "#0072b2", plan.clone()),
        ("oracle", "#000000", plan.oracle()),
        ("nothing shared", "#d55e00", plan.by(Way::Schedulers(Sharing::None))),
        ("round robin", "#999999", plan.by(Way::RoundRobin)),
    ]
}

/// Runs the sweeps and draws them.
///
/// # Errors
/// All errors of the configuration.
pub fn svg(plan: &Plan, trace: &[Recorded], tempo: &Tempo, jitter: bool) -> Result<String, String> {
    let demand = Demand::of(trace);
    let mut by_load = Vec::new();
    for load in LOADS {
        let tempo = Tempo::new(trace, demand.speed(&plan.engine, plan.engines, load), jitter, plan.seed);
        by_load.push((load, experiment::all(&ways(plan).map(|(_, _, plan)| plan), trace, &tempo)?));
    }
    let mut by_replicas = Vec::new();
    for replicas in REPLICAS {
        let plan = Plan { replicas, ..plan.clone() };
        by_replicas.push((replicas as f64, experiment::all(&ways(&plan).map(|(_, _, plan)| plan), trace, tempo)?));
    }
    let lines = |sweep: &[(f64, Vec<Outcome>)], value: &dyn Fn(&Outcome) -> f64| -> Vec<Line> {
        let line = |(n, (name, colour, _)): (usize, (&'static str, &'static str, Plan))| Line {
            name,
            colour,
            points: sweep.iter().filter_map(|(x, outcomes)| outcomes.get(n).map(|o| (*x, value(o)))).collect(),
        };
        ways(plan).into_iter().enumerate().map(line).collect()
    };
    let wait = Chart {
        title: "mean time to first token, s (logarithmic)",
        across: "load",
        lines: lines(&by_load, &|outcome| outcome.ttft_mean_s.max(1e-3).log10()),
    };
    let hits = Chart { title: "hit ratio", across: "replicas", lines: lines(&by_replicas, &|outcome| outcome.hit) };
    Ok(page(&[(wait, true), (hits, false)]))
}

fn page(charts: &[(Chart, bool)]) -> String {
    let (width, height) = (SIZE.0 * charts.len() as f64, SIZE.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (n, (chart, logarithmic)) in charts.iter().enumerate() {
        // Writing to a string never fails.
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", SIZE.0 * n as f64);
        chart.draw(*logarithmic, &mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

// === impl Chart ===

impl Chart {
    fn draw(&self, logarithmic: bool, svg: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let bounds = |values: &mut dyn Iterator<Item = f64>| -> (f64, f64) {
            let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
            match most > least {
                true => (least, most),
                false if least < f64::MAX => (least - 0.5, least + 0.5),
                false => (0.0, 1.0),
            }
        };
        let (left, right) = bounds(&mut points().map(|point| point.0));
        let (low, high) = bounds(&mut points().map(|point| point.1));
        let (low, high) = if logarithmic { (low.floor(), high.ceil()) } else { (0.0, (high * 10.0).ceil() / 10.0) };
        let x = |value: f64| ROOM + (value - left) / (right - left) * (SIZE.0 - 2.0 * ROOM);
        let y = |value: f64| SIZE.1 - ROOM - (value - low) / (high - low) * (SIZE.1 - 2.0 * ROOM);
        let mut put = |line: String| svg.push_str(&(line + "\n"));
        put(format!("<text x=\"{ROOM}\" y=\"24\" font-size=\"14\">{}</text>", self.title));
        put(format!("<text x=\"{}\" y=\"{}\">{}</text>", SIZE.0 / 2.0, SIZE.1 - 14.0, self.across));
        let steps = if logarithmic { (high - low) as usize } else { 5 };
        for value in (0..=steps).map(|n| low + (high - low) * n as f64 / steps.max(1) as f64) {
            let shown = if logarithmic { format!("{}", 10f64.powf(value)) } else { format!("{value:.2}") };
            put(format!(
                "<line x1=\"{ROOM}\" x2=\"{}\" y1=\"{1}\" y2=\"{1}\" stroke=\"#ddd\"/>",
                SIZE.0 - ROOM,
                y(value)
            ));
            put(format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{shown}</text>", ROOM - 6.0, y(value) + 4.0));
        }
        for (value, _) in self.lines.first().map_or(&[][..], |line| &line.points) {
            put(format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
                x(*value),
                SIZE.1 - ROOM + 18.0
            ));
        }
        for (n, line) in self.lines.iter().enumerate() {
            let path: Vec<String> = line.points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
            let colour = line.colour;
            put(format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            ));
            let (at, along) = (38.0, ROOM + 96.0 * n as f64);
            put(format!("<text x=\"{along}\" y=\"{at}\" fill=\"{colour}\">{}</text>", line.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_line_for_each_way_and_stays_in_its_frame() {
        let line = |name, points: &[(f64, f64)]| Line { name, colour: "#000", points: points.to_vec() };
        let lines = vec![line("one", &[(1.0, 0.2), (8.0, 0.4)]), line("two", &[(1.0, 0.1), (8.0, 0.0)])];
        let svg = page(&[(Chart { title: "hit", across: "replicas", lines }, false)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("56.0,160.0 404.0,56.0"), "{svg}");
    }

    #[test]
    fn a_chart_with_one_point_or_none_does_not_divide_by_zero() {
        let line = Line { name: "one", colour: "#000", points: vec![(1.0, 0.0)] };
        let chart = |lines| (Chart { title: "", across: "", lines }, true);
        let svg = page(&[chart(vec![line]), chart(Vec::new())]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
