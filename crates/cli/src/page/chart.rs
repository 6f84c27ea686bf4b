//! Charts as inline SVG: lines over time, bars of shares, a bar of what is spent. Colours come from the style sheet, so that
//! they follow light and dark.

use std::fmt::Write;

use super::{Element, el, number};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 190.0;
/// Room for the numbers at the left, and around the rest.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// A line of a chart: what it is called, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One or two lines over seconds; the first one stands on its shadow.
pub(crate) fn over_time(title: &str, lines: &[Line]) -> Element {
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().map(|point| point.0).fold(1e-9, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let step = nice_step(highest.max(1e-9) / 4.0);
    let top = (highest / step).ceil().max(1.0) * step;
    let x = |t: f64| LEFT + t / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    let mut svg = el("svg").attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}")).attr("role", "img").attr("aria-label", title);
    let mut level = 0.0;
    while level <= top + step / 2.0 {
        let at = y(level);
        let rule = el("line").class("grid").attr("x1", LEFT).attr("x2", WIDTH - RIGHT).attr("y1", at).attr("y2", at);
        let label = el("text").attr("x", LEFT - 6.0).attr("y", at + 4.0).attr("text-anchor", "end").text(number(level));
        svg = svg.with(rule).with(label);
        level += step;
    }
    let time = if end > 150.0 { nice_step(end / 300.0).max(1.0) * 60.0 } else { nice_step(end / 5.0) };
    let mut t = 0.0;
    while t <= end {
        // The last label would be cut off at the edge.
        let anchor = if x(t) > WIDTH - 40.0 { "end" } else { "middle" };
        svg = svg.with(el("text").attr("x", x(t)).attr("y", HEIGHT - 6.0).attr("text-anchor", anchor).text(seconds(t)));
        t += time;
    }
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (place, (t, value)) in line.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if place == 0 { "M" } else { "L" }, x(*t), y(*value));
        }
        if let (0, Some(first), Some(last)) = (index, line.points.first(), line.points.last()) {
            let area = format!("{path}L{:.1} {:.1}L{:.1} {:.1}Z", x(last.0), y(0.0), x(first.0), y(0.0));
            svg = svg.with(el("path").class("area").attr("d", area));
        }
        svg = svg.with(el("path").class(if index == 0 { "one" } else { "two" }).attr("d", path));
    }
    let mut caption = el("figcaption").text(title);
    if lines.len() > 1 {
        for (index, line) in lines.iter().enumerate() {
            let (class, sign) = if index == 0 { ("key-one", "  — ") } else { ("key-two", "  ┄ ") };
            caption = caption.with(el("span").class(class).text(sign)).with(el("span").class("legend").text(line.name));
        }
    }
    el("figure").class("card").with(caption).with(svg)
}

/// A bar that is filled as far as `share`, from 0 to 1.
pub(crate) fn bar(share: f64, label: &str) -> Element {
    let rect = |class, width: f64| el("rect").class(class).attr("width", width).attr("height", 8).attr("rx", 4);
    el("svg")
        .attr("viewBox", "0 0 560 8")
        .attr("role", "img")
        .attr("aria-label", label)
        .with(rect("track", 560.0))
        .with(rect("fill", 560.0 * share.clamp(0.0, 1.0)))
}

/// A bar for each label, from 0 to 1, with its number above it.
pub(crate) fn bars(title: &str, bars: &[(String, f64)]) -> Element {
    let width = (WIDTH - 20.0) / bars.len().max(1) as f64;
    let mut svg = el("svg").attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}")).attr("role", "img").attr("aria-label", title);
    for (index, (label, share)) in bars.iter().enumerate() {
        let (left, height) = (10.0 + index as f64 * width, share.clamp(0.0, 1.0) * (HEIGHT - 50.0));
        let middle = left + width / 2.0;
        let rect = el("rect").class("bar").attr("x", left + width * 0.15).attr("width", width * 0.7).attr("height", height);
        let text = |y: f64, text: &str| el("text").attr("x", middle).attr("y", y).attr("text-anchor", "middle").text(text);
        svg = svg
            .with(rect.attr("y", HEIGHT - 24.0 - height))
            .with(text(HEIGHT - 8.0, label))
            .with(text(HEIGHT - 30.0 - height, &format!("{:.0}%", share * 100.0)));
    }
    el("figure").class("card").with(el("figcaption").text(title)).with(svg)
}

/// The least of 1, 2 or 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

fn seconds(t: f64) -> String {
    if t >= 60.0 && (t / 60.0).fract() == 0.0 { format!("{}m", t / 60.0) } else { format!("{}s", number(t)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_not_too_small() {
        for (least, step) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (30.0, 50.0), (70.0, 100.0)] {
            assert!((nice_step(least) - step).abs() < 1e-9, "{least}: {}", nice_step(least));
        }
    }

    #[test]
    fn lines_stay_in_the_picture_whatever_they_show() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(0.0, 0.0), (0.0, 5.0)], vec![(0.5, 1e9), (3600.0, 0.0)]] {
            let svg = format!("{:?}", over_time("t", &[Line { name: "n", points: points.clone() }, Line { name: "m", points }]));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
