//! The escape of a console on a terminal: Ctrl-A and a letter, as a pure state machine.

/// What the person at the terminal asked of the emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `x`: end the emulator.
    Exit,
    /// `c`: go from the console to the monitor, or back.
    Switch,
    /// `h` or `?`: say which letters there are.
    Help,
    /// `b`: a break condition on the line.
    Break,
    /// `s`: write changed disk data to the disks.
    Sync,
    /// `t`: time stamps on or off.
    Timestamps,
}

/// What becomes of one byte typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to the guest.
    Byte(u8),
    /// It was the escape character: wait for the next.
    Pending,
    /// It finished a command.
    Command(Command),
    /// It was no command letter: nothing happens.
    Ignored,
}

/// The machine: is an escape pending?
#[derive(Debug, Clone)]
pub struct Escape {
    key: u8,
    pending: bool,
}

impl Escape {
    /// The usual escape character, Ctrl-A.
    pub const CTRL_A: u8 = 1;

    /// The text for [`Command::Help`].
    pub const HELP: &'static str = "\r\n\
        C-a h    print this help\r\n\
        C-a x    exit emulator\r\n\
        C-a s    save disk data back to file\r\n\
        C-a t    toggle console timestamps\r\n\
        C-a b    send break (magic sysrq)\r\n\
        C-a c    switch between console and monitor\r\n\
        C-a C-a  send C-a\r\n";

    /// A machine whose escape character is `key`.
    pub fn new(key: u8) -> Self {
        Escape {
            key,
            pending: false,
        }
    }

    /// Takes one byte typed.
    pub fn step(&mut self, byte: u8) -> Outcome {
        if !self.pending {
            self.pending = byte == self.key;
            return if self.pending {
                Outcome::Pending
            } else {
                Outcome::Byte(byte)
            };
        }
        self.pending = false;
        if byte == self.key {
            return Outcome::Byte(byte);
        }
        match byte {
            b'x' => Outcome::Command(Command::Exit),
            b'c' => Outcome::Command(Command::Switch),
            b'h' | b'?' => Outcome::Command(Command::Help),
            b'b' => Outcome::Command(Command::Break),
            b's' => Outcome::Command(Command::Sync),
            b't' => Outcome::Command(Command::Timestamps),
            _ => Outcome::Ignored,
        }
    }
}

impl Default for Escape {
    fn default() -> Self {
        Escape::new(Escape::CTRL_A)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(typed: &[u8]) -> Vec<Outcome> {
        let mut escape = Escape::default();
        typed.iter().map(|&byte| escape.step(byte)).collect()
    }

    #[test]
    fn plain_bytes_pass() {
        for byte in 0..=255 {
            if byte != Escape::CTRL_A {
                assert_eq!(run(&[byte]), [Outcome::Byte(byte)]);
            }
        }
    }

    #[test]
    fn each_letter_has_its_command() {
        let letters = [
            (b'x', Command::Exit),
            (b'c', Command::Switch),
            (b'h', Command::Help),
            (b'?', Command::Help),
            (b'b', Command::Break),
            (b's', Command::Sync),
            (b't', Command::Timestamps),
        ];
        for (letter, command) in letters {
            assert_eq!(
                run(&[1, letter]),
                [Outcome::Pending, Outcome::Command(command)]
            );
        }
    }

    #[test]
    fn the_escape_twice_is_the_character_itself() {
        let expected = [Outcome::Pending, Outcome::Byte(1), Outcome::Byte(b'x')];
        assert_eq!(run(&[1, 1, b'x']), expected);
    }

    #[test]
    fn an_unknown_letter_is_swallowed_once() {
        let expected = [Outcome::Pending, Outcome::Ignored, Outcome::Byte(b'x')];
        assert_eq!(run(&[1, b'q', b'x']), expected);
    }
}
