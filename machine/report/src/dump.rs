//! What `-d` shows of translations.

use crate::disassembly::{guest_text, host_text};
use crate::{DebugItems, words};
use isomorph_engine::{Extras, Guest, Observer, RegionEvent, Translation};
use isomorph_ir::Region;
use std::fmt::Write;

/// Gets the text of one translation or event.
pub type DumpSink = Box<dyn Fn(&str) + Send + Sync>;

/// Writes the stages of each translation that were asked for.
pub(crate) struct Dump<G> {
    pub items: DebugItems,
    pub guest: G,
    pub sink: DumpSink,
}

impl<G: Guest> Observer for Dump<G> {
    fn wants(&self) -> Extras {
        Extras {
            plain: self.items.contains(DebugItems::OP),
            clif: self.items.contains(DebugItems::CLIF),
        }
    }

    fn translated(&self, translation: &Translation<'_>) {
        let mut text = String::new();
        let table = G::globals();
        if self.items.contains(DebugItems::IN_ASM) {
            let _ = writeln!(text, "IN: {} bytes", translation.guest.len());
            let pc = translation.block.pc;
            guest_text(&mut text, &self.guest, pc, translation.guest);
        }
        if self.items.contains(DebugItems::OP)
            && let Some(plain) = translation.plain
        {
            let _ = write!(text, "OP:\n{}", plain.text(table));
        }
        if self.items.contains(DebugItems::OP_OPT) {
            let _ = write!(text, "OP after folding:\n{}", translation.block.text(table));
        }
        if self.items.contains(DebugItems::OUT_ASM) {
            let _ = writeln!(text, "OUT: {} bytes", translation.code.len());
            host_text(&mut text, translation.host, translation.code);
        }
        if !text.is_empty() {
            text.push('\n');
            (self.sink)(&text);
        }
    }

    fn region(&self, event: &RegionEvent<'_>) {
        let mut text = String::new();
        if self.items.contains(DebugItems::REGION) {
            let _ = writeln!(text, "REGION {}", words::event(event));
            if let RegionEvent::Chosen { parts, .. } = event {
                for part in *parts {
                    let (pc, visits, len) = (part.pc, part.visits, part.bytes.len());
                    let _ = writeln!(text, "  {pc:#012x}  {len:4} bytes  {visits:5} visits");
                }
            }
        }
        match event {
            RegionEvent::Compiled {
                region,
                before,
                after,
                clif,
                ..
            } => self.compiled(&mut text, *region, (before, after), clif.as_deref()),
            RegionEvent::Installed {
                region, code, host, ..
            } if self.items.contains(DebugItems::REGION_ASM) => {
                let _ = writeln!(text, "REGION {region} OUT: {} bytes", code.len());
                host_text(&mut text, *host, code);
            }
            _ => {}
        }
        if !text.is_empty() {
            text.push('\n');
            (self.sink)(&text);
        }
    }
}

impl<G: Guest> Dump<G> {
    fn compiled(
        &self,
        text: &mut String,
        region: u32,
        (before, after): (&Region, &Region),
        clif: Option<&str>,
    ) {
        let table = G::globals();
        if self.items.contains(DebugItems::REGION_OP) {
            let _ = write!(text, "REGION {region} OP:\n{}", before.text(table));
            let _ = write!(
                text,
                "REGION {region} OP after passes:\n{}",
                after.text(table)
            );
        }
        if self.items.contains(DebugItems::CLIF)
            && let Some(clif) = clif
        {
            let _ = writeln!(text, "REGION {region} CLIF:\n{clif}");
        }
    }
}
