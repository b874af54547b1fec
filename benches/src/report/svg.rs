//! The bar chart: each workload's CPU time as a share of the fastest QEMU's.

use std::fmt::Write;

use super::number;
use crate::figures::{Results, Row};

const ROW_HEIGHT: usize = 16;
const GROUP_GAP: usize = 22;
const LEFT: usize = 170;
/// Pixels for a ratio of one.
const UNIT: f64 = 400.0;
/// Bars end here, however long they should be; the number beside them tells.
const LONGEST: f64 = 1.3;
const WIDTH: usize = 760;
const TOP: usize = 82;

/// The whole document. Without an emulator under test it shows QEMU against native.
pub fn document(results: &Results) -> String {
    let tested = results.rows.iter().any(|row| row.to_qemu.is_some());
    let mut body = String::new();
    let mut y = TOP;
    for group in &results.groups {
        let target = group.target.filter(|_| tested);
        let mean = if tested {
            group.to_qemu
        } else {
            group.qemu_to_native
        };
        let label = format!("{}: {}", group.group, number(mean));
        text(&mut body, 10, y + 14, "group", &label);
        y += GROUP_GAP;
        let first = y;
        for row in results.rows.iter().filter(|row| row.group == group.group) {
            bar(&mut body, y, row, tested);
            y += ROW_HEIGHT;
        }
        if let Some(target) = target {
            line(&mut body, x_of(target), first, y, "target");
        }
    }
    line(&mut body, x_of(1.0), TOP, y, "one");
    frame(results, tested, &body, y + 16)
}

fn frame(results: &Results, tested: bool, body: &str, height: usize) -> String {
    let title = if tested {
        "CPU time, as a share of the fastest QEMU's (shorter is better)"
    } else {
        "CPU time of the fastest QEMU over native, scaled to a tenth"
    };
    let mut head = String::new();
    text(&mut head, 10, 22, "title", title);
    text(&mut head, 10, 42, "note", &results.machine.one_line());
    let legend = "solid line: the fastest QEMU; dashed: the promise; short mark: native code";
    text(&mut head, 10, 60, "note", if tested { legend } else { "" });
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n<style>\
         text{{font:12px sans-serif;fill:#222}}.title{{font-size:15px}}.note{{fill:#666}}\
         .group{{font-weight:bold}}.gain{{fill:#2a7f62}}.loss{{fill:#b23a48}}\
         .one{{stroke:#222}}.native{{stroke:#111;stroke-width:2}}.target{{stroke:#c08a00;stroke-dasharray:3 2}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{head}{body}</svg>\n"
    )
}

fn x_of(ratio: f64) -> usize {
    LEFT + (ratio.min(LONGEST) * UNIT) as usize
}

fn bar(body: &mut String, y: usize, row: &Row, tested: bool) {
    text(body, 24, y + 11, "name", row.workload);
    let (shown, ratio) = if tested {
        (row.to_qemu, row.to_qemu)
    } else {
        (
            row.qemu_to_native,
            row.qemu_to_native.map(|ratio| ratio / 10.0),
        )
    };
    let Some(ratio) = ratio else {
        text(body, LEFT + 4, y + 11, "note", "no number");
        return;
    };
    let class = if ratio > 1.0 { "loss" } else { "gain" };
    let width = x_of(ratio) - LEFT;
    let height = ROW_HEIGHT - 4;
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
    );
    if let Some(native) = row.qemu_to_native.filter(|_| tested) {
        line(body, x_of(1.0 / native), y, y + height, "native");
    }
    text(body, LEFT + width + 4, y + 11, "value", &number(shown));
}

fn line(body: &mut String, x: usize, from: usize, to: usize, class: &str) {
    let _ = writeln!(
        body,
        "<line class=\"{class}\" x1=\"{x}\" x2=\"{x}\" y1=\"{from}\" y2=\"{to}\"/>"
    );
}

fn text(body: &mut String, x: usize, y: usize, class: &str, content: &str) {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{content}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut body = String::new();
        text(&mut body, 1, 2, "name", "a<b & c>d");
        assert_eq!(
            body,
            "<text class=\"name\" x=\"1\" y=\"2\">a&lt;b &amp; c&gt;d</text>\n"
        );
    }

    #[test]
    fn bars_stay_inside() {
        assert_eq!(x_of(0.0), LEFT);
        assert!(x_of(1000.0) + 40 < WIDTH);
    }
}
