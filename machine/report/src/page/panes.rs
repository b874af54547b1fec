//! Stages of one piece of code side by side, lines joined by the guest instruction they are of.

use super::html::escape;
use crate::disassembly::{Line, guest_lines, host_lines};
use isomorph_engine::Guest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Most lines of a pane: a page must stay usable.
pub const LINES_MAX: usize = 2000;

/// A line and the guest instruction it is of.
pub type Joined = (Option<u64>, String);

/// One stage.
pub struct Pane {
    title: &'static str,
    lines: Vec<Joined>,
}

impl Pane {
    /// The guest's instructions of these pieces of code.
    pub fn guest<'a, G: Guest>(
        guest: &G,
        pieces: impl IntoIterator<Item = (u64, &'a [u8], String)>,
    ) -> Self {
        let mut lines = Vec::new();
        for (pc, bytes, heading) in pieces {
            lines.push((None, heading));
            for line in guest_lines(guest, pc, bytes) {
                lines.push((Some(line.address), numbered(&line)));
            }
        }
        Self {
            title: "Guest code",
            lines,
        }
    }

    /// Operations: `-- 0x…` begins those of an instruction, and a line without indentation ends
    /// them.
    pub fn operations(title: &'static str, text: &str) -> Self {
        let mut pc = None;
        let lines = text.lines().map(|line| {
            if let Some(address) = line.strip_prefix("-- 0x") {
                pc = u64::from_str_radix(address, 16).ok();
            } else if !line.starts_with(' ') {
                pc = None;
            }
            (pc, line.to_owned())
        });
        Self {
            title,
            lines: lines.collect(),
        }
    }

    /// CLIF: `@…` before an instruction is the guest instruction, if it is one of `known`.
    pub fn clif(text: &str, known: &BTreeSet<u64>) -> Self {
        // Source locations may be cut to 32 bits.
        let low: BTreeMap<u32, u64> = known.iter().map(|&pc| (pc as u32, pc)).collect();
        let pc = |line: &str| {
            let word = line.strip_prefix('@')?.split_whitespace().next()?;
            low.get(&(u64::from_str_radix(word, 16).ok()? as u32))
                .copied()
        };
        Self {
            title: "CLIF",
            lines: text
                .lines()
                .map(|line| (pc(line), unpadded(line)))
                .collect(),
        }
    }

    /// Host code; `map` has offsets in it, ascending, and the guest instructions that begin there.
    pub fn host(host: u64, code: &[u8], map: &[(u32, u64)]) -> Self {
        let joined = |line: Line| {
            let offset = (line.address - host) as u32;
            let next = map.partition_point(|(start, _)| *start <= offset);
            let pc = next.checked_sub(1).map(|n| map[n].1);
            (pc, numbered(&line))
        };
        Self {
            title: "Host code",
            lines: host_lines(host, code).into_iter().map(joined).collect(),
        }
    }

    /// Guest instructions that lines are of.
    pub fn instructions(&self) -> BTreeSet<u64> {
        self.lines.iter().filter_map(|(pc, _)| *pc).collect()
    }
}

/// A line of CLIF without the column of source locations; debug tags go behind the instruction.
fn unpadded(line: &str) -> String {
    let tag = line
        .split_once("> @")
        .filter(|(tag, _)| tag.starts_with('<'));
    let (tag, rest) = match tag {
        Some((tag, rest)) => (format!("  {tag}>"), rest),
        None => (String::new(), line.strip_prefix('@').unwrap_or(line)),
    };
    let located = rest.len() < line.len();
    let rest = match located {
        true => rest.split_once(' ').map_or("", |(_, rest)| rest),
        false => rest,
    };
    let rest = rest.trim_start();
    let mut outer = ["block", "function", "}"].into_iter();
    match outer.any(|start| rest.starts_with(start)) {
        true => rest.to_owned(),
        false => format!("    {rest}{tag}"),
    }
}

fn numbered(line: &Line) -> String {
    format!("{:#x}  {}", line.address, line.text)
}

/// The panes that have anything in them.
pub fn show(out: &mut String, panes: &[Pane]) {
    out.push_str("<div class=\"panes\">\n");
    for pane in panes.iter().filter(|pane| !pane.lines.is_empty()) {
        let (title, count) = (pane.title, pane.lines.len());
        let _ = write!(
            out,
            "<section class=\"pane\" aria-label=\"{title}\"><h4>{title} ({count} lines)</h4>\
             <pre tabindex=\"0\">"
        );
        for (pc, text) in pane.lines.iter().take(LINES_MAX) {
            let text = escape(text);
            let _ = match pc {
                Some(pc) => write!(out, "<span data-g=\"{pc:x}\">{text}</span>"),
                None => write!(out, "<span>{text}</span>"),
            };
        }
        if count > LINES_MAX {
            let more = count - LINES_MAX;
            let _ = write!(out, "<span class=\"dim\">and {more} more lines</span>");
        }
        out.push_str("</pre></section>\n");
    }
    out.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn lines_know_their_guest_instruction() {
        let pieces = [(0x8000_0020, testing::LOOP.as_slice(), "block".to_owned())];
        let guest = Pane::guest(&testing::guest(), pieces);
        let known = guest.instructions();
        assert_eq!(known, BTreeSet::from([0x8000_0020, 0x8000_0024]));
        let text = "region entry 0\nblock 0x1\n-- 0x80000020\n  x = 1\nblock 0x2\n";
        let pcs: Vec<_> = Pane::operations("IR", text)
            .lines
            .iter()
            .map(|(pc, _)| *pc)
            .collect();
        let pc = Some(0x8000_0020);
        assert_eq!(pcs, [None, None, pc, pc, None]);
        assert_eq!(unpadded("<2> @0004      v"), "    v  <2>");
        assert_eq!(unpadded("@4      v"), "    v");
        assert_eq!(unpadded("      block2:"), "block2:");
        let clif = Pane::clif("block0:\n@80000020  v1 = iadd v2\n@99  v3\n", &known);
        let pcs: Vec<_> = clif.lines.iter().map(|(pc, _)| *pc).collect();
        assert_eq!(pcs, [None, pc, None]);
        let map = [(1, 0x8000_0020), (2, 0x8000_0024)];
        let host = Pane::host(0x9000, &[0x90, 0x90, 0x90, 0xc3], &map);
        let pcs: Vec<_> = host.lines.iter().map(|(pc, _)| *pc).collect();
        assert_eq!(pcs, [None, pc, Some(0x8000_0024), Some(0x8000_0024)]);
    }

    #[test]
    fn a_long_pane_is_cut_off() {
        let text = "  x\n".repeat(LINES_MAX + 7);
        let mut out = String::new();
        show(&mut out, &[Pane::operations("IR", &text)]);
        assert!(out.contains("and 7 more lines"));
        assert_eq!(out.matches("<span>").count(), LINES_MAX);
    }
}
