//! A comparison as a picture: three charts over the load, one line for each configuration. SVG, without scripts.
//!
//! Must not know how a run works.

use std::fmt::Write;

use super::compare::{Entry, Figures, Point};

/// Sizes in pixels.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 200.0;
const MARGIN: f64 = 45.0;
/// Parts of an axis.
const PARTS: u32 = 4;
/// Colours that differ for the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 7] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// One chart.
struct Chart {
    title: &'static str,
    value: fn(&Figures) -> f64,
}

const CHARTS: [Chart; 3] = [
    Chart { title: "mean time to first token, s", value: |figures| figures.ttft_s },
    Chart { title: "mean time to last token, s", value: |figures| figures.e2e_s },
    Chart { title: "goodput", value: |figures| figures.goodput },
];

/// The picture. `title` is plain text.
pub fn svg(title: &str, points: &[Point]) -> String {
    let named = |entry: &Entry| match entry.replicas {
        1 => format!("{}, one picker", entry.name),
        replicas => format!("{}, {replicas} replicas", entry.name),
    };
    let names: Vec<String> = points.first().into_iter().flat_map(|point| point.entries.iter().map(named)).collect();
    let (width, height) = (CHARTS.len() as f64 * (WIDTH + MARGIN) + MARGIN, HEIGHT + 2.0 * MARGIN + 40.0);
    // Writing to a string never fails.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(&title.replace('_', " "))
    );
    for (n, chart) in CHARTS.iter().enumerate() {
        let left = MARGIN + n as f64 * (WIDTH + MARGIN);
        let _ = writeln!(svg, "<g transform=\"translate({left:.0} {MARGIN:.0})\">");
        chart.draw(points, &mut svg);
        svg.push_str("</g>\n");
    }
    for (n, name) in names.iter().enumerate() {
        let (x, y) = (MARGIN + n as f64 * 200.0, height - 22.0);
        let colour = COLOURS[n % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
            y - 6.0,
            x + 20.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

// === impl Chart ===

impl Chart {
    fn draw(&self, points: &[Point], svg: &mut String) {
        let values = points.iter().flat_map(|point| point.entries.iter().map(|entry| (self.value)(&entry.mean)));
        let step = step(values.fold(0.0, f64::max) / f64::from(PARTS));
        let most = step * f64::from(PARTS);
        let loads = || points.iter().map(|point| point.load);
        let (first, last) = (loads().fold(f64::INFINITY, f64::min), loads().fold(0.0, f64::max));
        let x = |load: f64| (load - first) / (last - first).max(1e-9) * WIDTH;
        let y = |value: f64| HEIGHT - value / most * HEIGHT;
        let _ = writeln!(svg, "<text x=\"0\" y=\"-6\">{}</text>", self.title);
        for part in 0..=PARTS {
            let value = step * f64::from(part);
            let _ = writeln!(
                svg,
                "<path d=\"M0 {0:.1}H{WIDTH}\" stroke=\"#ddd\"/><text x=\"-4\" y=\"{1:.1}\" text-anchor=\"end\" \
                 fill=\"#555\">{2}</text>",
                y(value),
                y(value) + 4.0,
                short(value)
            );
        }
        for load in loads() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{load:.2}</text>",
                x(load),
                HEIGHT + 16.0
            );
        }
        let entries = points.first().map_or(0, |point| point.entries.len());
        for n in 0..entries {
            let points =
                points.iter().filter_map(|point| Some((point.load, (self.value)(&point.entries.get(n)?.mean))));
            let path: Vec<String> = points.map(|(load, value)| format!("{:.1} {:.1}", x(load), y(value))).collect();
            let colour = COLOURS[n % COLOURS.len()];
            let path = path.join("L");
            let _ = writeln!(svg, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
    }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(least)
}

/// At most two decimals, and no zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_replay::bounds::Bounds;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!([0.9 / 4.0, 5.2 / 4.0, 47.0 / 4.0, 0.25].map(step), [0.25, 2.0, 20.0, 0.25]);
        assert_eq!([0.0, 0.25, 7.5, 20.0, 0.125].map(short), ["0", "0.25", "7.5", "20", "0.12"]);
    }

    #[test]
    fn each_configuration_has_a_line_in_each_chart_and_a_name() {
        let entry = |name: &str, replicas, ttft_s| Entry {
            name: name.to_owned(),
            replicas,
            mean: Figures { ttft_s, ..Figures::default() },
            seeds: Vec::new(),
        };
        let point = |load| Point {
            load,
            speed: 1.0,
            bounds: Bounds::default(),
            entries: vec![entry("a<b", 1, load), entry("c", 8, 2.0)],
        };
        let svg = svg("chat & agents", &[point(0.5), point(0.8)]);
        assert_eq!(svg.matches("stroke-width").count(), 6);
        assert!(
            svg.contains("a&lt;b, one picker") && svg.contains("c, 8 replicas") && svg.contains("chat &amp; agents")
        );
    }
}
