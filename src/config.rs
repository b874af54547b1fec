//! From options with their values to the configuration of a run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use isomorph_linux_user::{RunConfig, inherited_env};
use isomorph_report::DebugItems;

use crate::error::CliError;
use crate::jit;
use crate::options::{Definition, OPTIONS, Setting};

/// What the options ask for.
#[derive(Debug)]
pub enum Request {
    /// To run a program.
    Run(Box<RunConfig>),
    /// To be told the log items.
    LogHelp,
    /// To be told the CPU models.
    CpuHelp,
    /// To be told what `--jit` takes.
    JitHelp(String),
}

/// A configuration in the making.
#[derive(Debug)]
pub struct Builder {
    config: RunConfig,
    help: Option<Request>,
}

impl Builder {
    /// Starts from this process's environment and QEMU's variables in it.
    pub fn from_environment() -> Result<Self, CliError> {
        Self::from_variables(inherited_env(), |name| std::env::var_os(name))
    }

    fn from_variables(
        environment: Vec<OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CliError> {
        let config = RunConfig {
            env: environment,
            ..RunConfig::default()
        };
        let mut builder = Self { config, help: None };
        for option in OPTIONS {
            let Some(name) = option.variable else {
                continue;
            };
            if let Some(value) = variable(name) {
                builder.apply(option, name, &value)?;
            }
        }
        Ok(builder)
    }

    /// Applies one option; `origin` is how the user spelled it. Later ones win.
    pub fn apply(
        &mut self,
        option: &Definition,
        origin: &str,
        value: &OsStr,
    ) -> Result<(), CliError> {
        let config = &mut self.config;
        match option.setting {
            Setting::Sysroot => config.sysroot = Some(value.into()),
            Setting::SetEnv => set_variables(&mut config.env, origin, value)?,
            Setting::UnsetEnv => unset_variables(&mut config.env, origin, value)?,
            Setting::Argv0 => config.argv0 = Some(value.into()),
            Setting::StackSize => config.stack_size = Some(size(origin, value)?),
            Setting::ReservedVa => config.reserved_va = Some(size(origin, value)?),
            Setting::GuestBase => config.guest_base = number(origin, value)?,
            Setting::Cpu if value == "help" => self.help = Some(Request::CpuHelp),
            Setting::Cpu => config.cpu = Some(text(origin, value, "a CPU model")?.to_owned()),
            Setting::Strace => config.strace = true,
            Setting::LogFile => config.log_file = Some(value.into()),
            Setting::LogItems => self.log_items(origin, value)?,
            Setting::Seed => config.seed = Some(number(origin, value)?),
            Setting::Stats => config.stats = true,
            Setting::Jit => {
                if let Some(help) = jit::apply(&mut config.tier2, origin, value)? {
                    self.help = Some(Request::JitHelp(help));
                }
            }
            Setting::PerfMap => config.reports.perf_map = true,
            Setting::JitDump => config.reports.jitdump = true,
            Setting::PageSize => page_size(origin, value)?,
            Setting::WithoutEffect(reason) => {
                let text = format_args!("warning: {origin} has no effect: {reason}");
                crate::output::complain("isomorph", text);
            }
            Setting::Unsupported(reason) => {
                return Err(CliError::Unsupported {
                    option: origin.to_owned(),
                    reason,
                });
            }
        }
        Ok(())
    }

    fn log_items(&mut self, origin: &str, value: &OsStr) -> Result<(), CliError> {
        let config = &mut self.config;
        let (items, no_chain) = (&mut config.reports.items, &mut config.no_chain);
        if add_log_items(origin, value, items, no_chain)?.is_some() {
            self.help = Some(Request::LogHelp);
        }
        Ok(())
    }

    /// Ends with the guest's program and its arguments.
    pub fn finish(
        mut self,
        program: Option<OsString>,
        arguments: Vec<OsString>,
    ) -> Result<Request, CliError> {
        if let Some(help) = self.help {
            return Ok(help);
        }
        self.config.program = program.ok_or(CliError::NoProgram)?.into();
        self.config.args = arguments;
        Ok(Request::Run(Box::new(self.config)))
    }
}

/// Adds the items of a list as `-d` has it. The help, if the list asks for it.
pub fn add_log_items(
    origin: &str,
    value: &OsStr,
    items: &mut DebugItems,
    no_chain: &mut bool,
) -> Result<Option<String>, CliError> {
    let mut help = None;
    for item in text(origin, value, "a list of log items")?.split(',') {
        if item == "help" {
            help = Some(log_help());
        } else if item == "nochain" {
            *no_chain = true;
        } else {
            let known = DebugItems::from_name(item);
            *items = items.union(known.ok_or_else(|| unknown_item(origin, item))?);
        }
    }
    Ok(help)
}

/// The names and meanings of the log items, one a line.
pub fn log_help() -> String {
    let line = |name: &str, help: &str| format!("{name:10} {help}\n");
    let mut lines: String = DebugItems::NAMES
        .iter()
        .map(|(name, _, help)| line(name, help))
        .collect();
    lines.push_str(&line(
        "nochain",
        "do not let blocks jump straight to each other",
    ));
    lines
}

fn unknown_item(origin: &str, item: &str) -> CliError {
    let mut known: Vec<&str> = DebugItems::NAMES.iter().map(|(name, ..)| *name).collect();
    known.push("nochain");
    let known = known.join(", ");
    CliError::LogItem {
        origin: origin.to_owned(),
        item: item.to_owned(),
        known,
    }
}

fn wrong(origin: &str, value: &OsStr, expected: &'static str) -> CliError {
    let value = value.to_string_lossy().into_owned();
    CliError::Value {
        origin: origin.to_owned(),
        value,
        expected,
    }
}

fn text<'a>(origin: &str, value: &'a OsStr, expected: &'static str) -> Result<&'a str, CliError> {
    value.to_str().ok_or_else(|| wrong(origin, value, expected))
}

/// A number in the notations of C: decimal, `0x` hexadecimal, `0` octal.
pub fn parse_number(digits: &str) -> Option<u64> {
    if let Some(hexadecimal) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        u64::from_str_radix(hexadecimal, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    }
}

fn number(origin: &str, value: &OsStr) -> Result<u64, CliError> {
    let parsed = value.to_str().and_then(parse_number);
    parsed.ok_or_else(|| wrong(origin, value, "a number"))
}

fn size(origin: &str, value: &OsStr) -> Result<u64, CliError> {
    let parsed = value.to_str().and_then(parse_size);
    parsed.ok_or_else(|| wrong(origin, value, "a size in bytes or with K, M or G"))
}

/// A number of bytes, with K, M or G for powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    parse_number(digits)?.checked_mul(1 << shift)
}

fn page_size(origin: &str, value: &OsStr) -> Result<(), CliError> {
    match number(origin, value)? {
        4096 => Ok(()),
        _ => Err(wrong(origin, value, "the page size, which is 4096")),
    }
}

/// The pieces between commas.
fn pieces(value: &OsStr) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',')
}

fn set_variables(
    environment: &mut Vec<OsString>,
    origin: &str,
    value: &OsStr,
) -> Result<(), CliError> {
    for piece in pieces(value) {
        let end = piece
            .iter()
            .position(|&byte| byte == b'=')
            .filter(|&end| end > 0);
        let end = end.ok_or_else(|| wrong(origin, value, "of the form name=value[,...]"))?;
        remove(environment, &piece[..end]);
        environment.push(OsString::from_vec(piece.to_vec()));
    }
    Ok(())
}

fn unset_variables(
    environment: &mut Vec<OsString>,
    origin: &str,
    value: &OsStr,
) -> Result<(), CliError> {
    for piece in pieces(value) {
        if piece.is_empty() || piece.contains(&b'=') {
            return Err(wrong(origin, value, "of the form name[,...]"));
        }
        remove(environment, piece);
    }
    Ok(())
}

fn remove(environment: &mut Vec<OsString>, name: &[u8]) {
    let named = |entry: &[u8]| {
        entry
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(b"="))
    };
    environment.retain(|entry| !named(entry.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(setting: Setting) -> &'static Definition {
        OPTIONS
            .iter()
            .find(|option| option.setting == setting)
            .unwrap()
    }

    fn configured(options: &[(Setting, &str)]) -> Result<RunConfig, CliError> {
        let environment = vec!["HOME=/root".into(), "HOMER=d'oh".into()];
        let mut builder = Builder::from_variables(environment, |_| None)?;
        for (setting, value) in options {
            builder.apply(option(*setting), "-x", OsStr::new(value))?;
        }
        match builder.finish(Some("prog".into()), Vec::new())? {
            Request::Run(config) => Ok(*config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_and_numbers() {
        let sized = |text: &str| configured(&[(Setting::StackSize, text)]).map(|c| c.stack_size);
        assert_eq!(sized("8192").unwrap(), Some(8192));
        assert_eq!(sized("0x10k").unwrap(), Some(16384));
        assert_eq!(sized("8M").unwrap(), Some(8 << 20));
        assert_eq!(sized("4G").unwrap(), Some(4 << 30));
        for bad in ["", "M", "8T", "-1", "99999999999999999999", "99999999999G"] {
            assert!(sized(bad).is_err(), "{bad}");
        }
        let seeded = configured(&[(Setting::Seed, "010")]).unwrap();
        assert_eq!(seeded.seed, Some(8));
    }

    #[test]
    fn the_last_change_of_a_variable_wins() {
        let changes = [
            (Setting::SetEnv, "A=1,B=2"),
            (Setting::UnsetEnv, "HOME,B"),
            (Setting::SetEnv, "A=3"),
        ];
        assert_eq!(configured(&changes).unwrap().env, ["HOMER=d'oh", "A=3"]);
    }

    #[test]
    fn malformed_variables_are_refused() {
        assert!(configured(&[(Setting::SetEnv, "foo")]).is_err());
        assert!(configured(&[(Setting::SetEnv, "=foo")]).is_err());
        assert!(configured(&[(Setting::UnsetEnv, "a=b")]).is_err());
    }

    #[test]
    fn log_items_add_up() {
        let config = configured(&[
            (Setting::LogItems, "in_asm,out_asm"),
            (Setting::LogItems, "op,nochain"),
        ]);
        let config = config.unwrap();
        for item in [DebugItems::IN_ASM, DebugItems::OUT_ASM, DebugItems::OP] {
            assert!(config.reports.items.contains(item));
        }
        assert!(config.no_chain && !config.reports.items.contains(DebugItems::INT));
    }

    #[test]
    fn an_unknown_log_item_is_named_with_the_known_ones() {
        let error = configured(&[(Setting::LogItems, "in_asm,nosuch")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`nosuch`") && error.contains("out_asm"),
            "{error}"
        );
    }

    #[test]
    fn variables_come_before_options() {
        let variable = |name: &str| (name == "QEMU_LD_PREFIX").then(|| OsString::from("/a"));
        let mut builder = Builder::from_variables(Vec::new(), variable).unwrap();
        assert_eq!(builder.config.sysroot.as_deref(), Some("/a".as_ref()));
        builder
            .apply(option(Setting::Sysroot), "-L", OsStr::new("/b"))
            .unwrap();
        assert_eq!(builder.config.sysroot.as_deref(), Some("/b".as_ref()));
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        let gdb = OPTIONS
            .iter()
            .find(|option| option.qemu.contains(&"g"))
            .unwrap();
        let mut builder = Builder::from_variables(Vec::new(), |_| None).unwrap();
        let error = builder
            .apply(gdb, "-g", OsStr::new("1234"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`-g`") && error.contains("gdb server"),
            "{error}"
        );
    }
}
