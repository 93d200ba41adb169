//! The picture of a storm: panels above each other on one time axis, with faults as bands through all of them.
//!
//! Must not know what a line means.

use std::fmt::Write as _;

use super::escaped;
use crate::storm::run::Observed;
use crate::storm::series::{self, Line};

/// Where panels begin and end, from the left.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1000.0;
/// Height of a panel's field, and from one panel to the next.
const HEIGHT: f64 = 92.0;
const STRIDE: f64 = 136.0;
/// Height of a fault's row.
const ROW: f64 = 19.0;
/// Width of a letter in a label.
const LETTER: f64 = 6.2;
/// Width of a letter in a legend, with room for its mark.
const WIDE_LETTER: f64 = 7.0;

/// One panel.
struct Panel {
    title: &'static str,
    lines: Vec<Line>,
    /// The top of its scale; `None` derives it from the lines.
    top: Option<f64>,
    bars: bool,
}

/// The picture as SVG.
pub(super) fn picture(observed: &Observed) -> String {
    let panels = panels(observed);
    let end = panels.iter().flat_map(|one| &one.lines).flat_map(|line| &line.points).map(|point| point.0);
    let end = end.fold(observed.quiet.as_secs_f64(), f64::max).max(1.0);
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * (seconds / end).clamp(0.0, 1.0);
    let head = 26.0 + ROW * observed.injections.len() as f64;
    let bottom = head + STRIDE * panels.len() as f64;
    let mut svg =
        format!("<svg viewBox=\"0 0 1024 {:.0}\" role=\"img\" aria-label=\"timeline of the storm\">", bottom + 12.0);
    bands(&mut svg, observed, &x, bottom - STRIDE + 30.0 + HEIGHT);
    for (index, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, head + STRIDE * index as f64 + 30.0, end, &x);
    }
    svg.push_str("</svg>");
    svg
}

fn panels(observed: &Observed) -> Vec<Panel> {
    let panel = |title, lines: Vec<Line>, top| Panel { title, lines, top, bars: false };
    vec![
        panel("first token, ms", series::latency(observed).to_vec(), None),
        Panel { title: "failed requests in a second", lines: vec![series::failed(observed)], top: None, bars: true },
        panel("cached share, agreement", vec![series::cached(observed), series::agreement(observed)], Some(1.0)),
        panel("age of peers' facts p99, ms", series::ages(observed), None),
    ]
}

fn bands(svg: &mut String, observed: &Observed, x: &dyn Fn(f64) -> f64, bottom: f64) {
    for (row, injection) in observed.injections.iter().enumerate() {
        let (from, to) = (x(injection.began.as_secs_f64()), x(injection.ended.as_secs_f64()));
        let (top, wide) = (10.0 + ROW * row as f64, (to - from).max(2.0));
        let tall = bottom - top;
        let text = escaped(&injection.fault.to_string());
        let long = text.len() as f64 * LETTER;
        let (at, anchor) = if from + 4.0 + long < 1020.0 { (from + 5.0, "start") } else { (to - 5.0, "end") };
        let _ = write!(
            svg,
            "<rect class=\"band\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>\
             <rect class=\"tag\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"15\"/>\
             <path class=\"edge\" d=\"M{from:.1} {top:.1}V{bottom:.1}\"/>\
             <text class=\"fault\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
            top + 11.5
        );
    }
}

fn draw(svg: &mut String, panel: &Panel, top: f64, end: f64, x: &dyn Fn(f64) -> f64) {
    let most = panel.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let scale = panel.top.unwrap_or_else(|| round_up(most));
    let y = |value: f64| top + HEIGHT * (1.0 - (value / scale).clamp(0.0, 1.0));
    for part in [0.0, 0.5, 1.0] {
        let (at, value) = (y(scale * part), scale * part);
        let digits = if scale < 10.0 && scale.fract() + value.fract() > 0.0 { 1 } else { 0 };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0].into_iter().find(|step| end / step <= 12.0).unwrap_or(600.0);
    for tick in 0..=(end / step) as u32 {
        let (seconds, below) = (f64::from(tick) * step, top + HEIGHT + 14.0);
        let _ =
            write!(svg, "<text x=\"{:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{seconds:.0}</text>", x(seconds));
    }
    let _ = write!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top - 10.0, panel.title);
    let mut legend = RIGHT;
    for (index, line) in panel.lines.iter().enumerate().rev() {
        if panel.lines.len() > 1 {
            let name = escaped(&line.name);
            let _ = write!(svg, "<text x=\"{legend:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", top - 10.0);
            legend -= name.len() as f64 * WIDE_LETTER + 14.0;
            let _ = write!(
                svg,
                "<circle class=\"k{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                index % 4,
                legend + 6.0,
                top - 14.0
            );
            legend -= 14.0;
        }
        match panel.bars {
            true => bars(svg, line, x, &y),
            false => path(svg, line, index, x, &y),
        }
    }
}

fn path(svg: &mut String, line: &Line, index: usize, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let points = line.points.iter().map(|(at, value)| format!("{:.1} {:.1}", x(*at), y(*value)));
    let points = points.collect::<Vec<_>>().join("L");
    if !points.is_empty() {
        let _ = write!(svg, "<path class=\"line l{}\" d=\"M{points}\"/>", index % 4);
    }
}

fn bars(svg: &mut String, line: &Line, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let wide = (x(1.0) - x(0.0)) * 0.7;
    for (at, value) in line.points.iter().filter(|point| point.1 > 0.0) {
        let (left, top) = (x(*at) - wide / 2.0, y(*value));
        let tall = y(0.0) - top;
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>"
        );
    }
}

/// The next round number: 1, 2, 5, 10 and so on.
fn round_up(value: f64) -> f64 {
    let mut scale = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(30) {
        if scale >= value {
            break;
        }
        scale *= factor;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([0.0, 1.0, 3.0, 9.0, 70.0, 101.0].map(round_up), [1.0, 1.0, 5.0, 10.0, 100.0, 200.0]);
    }
}
