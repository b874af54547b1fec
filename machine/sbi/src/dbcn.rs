//! Chapter "Debug Console Extension".

use crate::call::{Answer, Call, ConsoleError, Error, Function, Reply};
use crate::memory::Range;

pub(crate) const FUNCTIONS: &[Function] = &[console_write, console_read, console_write_byte];

/// Most bytes of one call: what is left is the caller's to ask for again ("it may do partial
/// writes"), so that no hart stays here for long.
const MOST: u64 = 64 << 10;
const PIECE: usize = 4096;

impl From<ConsoleError> for Error {
    fn from(_: ConsoleError) -> Self {
        Self::Failed
    }
}

/// Section "Function: Console Write".
fn console_write(call: &mut Call<'_>) -> Answer {
    let [len, low, high, ..] = call.args;
    let services = &call.sbi.services;
    let view = services.memory.snapshot();
    let range = Range::new(&view, (low, high), len, false)?;
    let len = range.len.min(MOST);
    let mut buffer = [0; PIECE];
    let mut done = 0;
    while done < len {
        let piece = &mut buffer[..PIECE.min((len - done) as usize)];
        let read = view.read_memory(range.start.wrapping_add(done), piece);
        read.map_err(|_| Error::InvalidParam)?;
        services.console.write(piece)?;
        done += piece.len() as u64;
    }
    Reply::value(done)
}

/// Section "Function: Console Read".
fn console_read(call: &mut Call<'_>) -> Answer {
    let [len, low, high, ..] = call.args;
    let services = &call.sbi.services;
    let view = services.memory.snapshot();
    let range = Range::new(&view, (low, high), len, true)?;
    let mut buffer = [0; PIECE];
    let room = &mut buffer[..PIECE.min(range.len as usize)];
    let count = services.console.read(room)?.min(room.len());
    let written = view.write_memory(range.start, &room[..count]);
    written.map_err(|_| Error::InvalidParam)?;
    Reply::value(count as u64)
}

/// Section "Function: Console Write Byte".
fn console_write_byte(call: &mut Call<'_>) -> Answer {
    call.sbi.services.console.write(&[call.args[0] as u8])?;
    Reply::done()
}
