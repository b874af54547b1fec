//! Every option of a run, once: its long and short name, QEMU's spelling, QEMU's variable, its
//! value and its help. The parsers and the help texts are made from this table.

/// What an option sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The folder in which absolute paths are looked up first.
    Sysroot,
    /// Variables added to the guest's environment.
    SetEnv,
    /// Variables removed from it.
    UnsetEnv,
    /// The guest's `argv[0]`.
    Argv0,
    /// The size of the main thread's stack.
    StackSize,
    /// The size of the guest's address space.
    ReservedVa,
    /// The host address of guest address 0.
    GuestBase,
    /// The CPU model.
    Cpu,
    /// The log of system calls.
    Strace,
    /// Where logs go.
    LogFile,
    /// What is logged.
    LogItems,
    /// The seed of everything random.
    Seed,
    /// The table of counts at the end.
    Stats,
    /// What is compiled again once it is hot.
    Jit,
    /// A map of generated code for perf.
    PerfMap,
    /// A dump of generated code for perf.
    JitDump,
    /// The page size, which cannot be chosen.
    PageSize,
    /// Accepted, without effect: the text says why nothing is missing.
    WithoutEffect(&'static str),
    /// Refused: the text says why.
    Unsupported(&'static str),
}

/// One option.
#[derive(Debug)]
pub struct Definition {
    /// What it sets.
    pub setting: Setting,
    /// Its long name for `isomorph run`; none for what only QEMU's users know.
    pub long: Option<&'static str>,
    /// Its one-letter name for `isomorph run`.
    pub short: Option<char>,
    /// QEMU's names, with one dash.
    pub qemu: &'static [&'static str],
    /// QEMU's variable.
    pub variable: Option<&'static str>,
    /// What its value is called; none for a switch.
    pub value: Option<&'static str>,
    /// Its help.
    pub help: &'static str,
}

const NO_GDB: &str = "there is no gdb server yet";
const NO_TRACE: &str = "use -d to log";

const fn only_qemu(
    setting: Setting,
    qemu: &'static [&'static str],
    variable: Option<&'static str>,
    value: Option<&'static str>,
    help: &'static str,
) -> Definition {
    Definition {
        setting,
        long: None,
        short: None,
        qemu,
        variable,
        value,
        help,
    }
}

/// All of them, in the order of the help.
pub const OPTIONS: &[Definition] = &[
    Definition {
        setting: Setting::Sysroot,
        long: Some("sysroot"),
        short: Some('L'),
        qemu: &["L"],
        variable: Some("QEMU_LD_PREFIX"),
        value: Some("path"),
        help: "Look up the guest's absolute paths in this folder first",
    },
    Definition {
        setting: Setting::SetEnv,
        long: Some("env"),
        short: Some('E'),
        qemu: &["E"],
        variable: Some("QEMU_SET_ENV"),
        value: Some("var=value[,...]"),
        help: "Set variables in the guest's environment",
    },
    Definition {
        setting: Setting::UnsetEnv,
        long: Some("unset-env"),
        short: Some('U'),
        qemu: &["U"],
        variable: Some("QEMU_UNSET_ENV"),
        value: Some("var[,...]"),
        help: "Remove variables from the guest's environment",
    },
    Definition {
        setting: Setting::Argv0,
        long: Some("argv0"),
        short: Some('0'),
        qemu: &["0"],
        variable: Some("QEMU_ARGV0"),
        value: Some("name"),
        help: "Give the guest this argv[0]",
    },
    Definition {
        setting: Setting::Cpu,
        long: Some("cpu"),
        short: None,
        qemu: &["cpu"],
        variable: Some("QEMU_CPU"),
        value: Some("model"),
        help: "The CPU: a model and name=on or name=off for extensions; `help` lists the models",
    },
    Definition {
        setting: Setting::StackSize,
        long: Some("stack-size"),
        short: Some('s'),
        qemu: &["s"],
        variable: Some("QEMU_STACK_SIZE"),
        value: Some("size"),
        help: "The size of the main thread's stack, in bytes or with K, M or G",
    },
    Definition {
        setting: Setting::ReservedVa,
        long: Some("reserved-va"),
        short: Some('R'),
        qemu: &["R"],
        variable: Some("QEMU_RESERVED_VA"),
        value: Some("size"),
        help: "The size of the guest's address space, in bytes or with K, M or G",
    },
    Definition {
        setting: Setting::GuestBase,
        long: Some("guest-base"),
        short: Some('B'),
        qemu: &["B"],
        variable: Some("QEMU_GUEST_BASE"),
        value: Some("address"),
        help: "The host address of guest address 0",
    },
    Definition {
        setting: Setting::Strace,
        long: Some("strace"),
        short: None,
        qemu: &["strace"],
        variable: Some("QEMU_STRACE"),
        value: None,
        help: "Log system calls",
    },
    Definition {
        setting: Setting::LogItems,
        long: Some("log"),
        short: Some('d'),
        qemu: &["d"],
        variable: Some("QEMU_LOG"),
        value: Some("item[,...]"),
        help: "Log these items; `help` lists them",
    },
    Definition {
        setting: Setting::LogFile,
        long: Some("log-file"),
        short: Some('D'),
        qemu: &["D"],
        variable: Some("QEMU_LOG_FILENAME"),
        value: Some("file"),
        help: "Write logs to this file (default: standard error)",
    },
    Definition {
        setting: Setting::Seed,
        long: Some("seed"),
        short: None,
        qemu: &["seed"],
        variable: Some("QEMU_RAND_SEED"),
        value: Some("number"),
        help: "Seed address randomisation and the guest's random bytes, for repeatable runs",
    },
    Definition {
        setting: Setting::Stats,
        long: Some("stats"),
        short: None,
        qemu: &["stats"],
        variable: Some("ISOMORPH_STATS"),
        value: None,
        help: "Print a table of counts at the end",
    },
    Definition {
        setting: Setting::Jit,
        long: Some("jit"),
        short: None,
        qemu: &["jit"],
        variable: Some("ISOMORPH_JIT"),
        value: Some("key=value[,...]"),
        help: "What is compiled again once it is hot: tier2= threads= mem= without=; `help` \
               explains them",
    },
    Definition {
        setting: Setting::PerfMap,
        long: Some("perfmap"),
        short: None,
        qemu: &["perfmap"],
        variable: Some("QEMU_PERFMAP"),
        value: None,
        help: "Write /tmp/perf-PID.map, so that perf names guest functions",
    },
    Definition {
        setting: Setting::JitDump,
        long: Some("jitdump"),
        short: None,
        qemu: &["jitdump"],
        variable: Some("QEMU_JITDUMP"),
        value: None,
        help: "Write jit-PID.dump for `perf record -k mono` and `perf inject --jit`",
    },
    only_qemu(
        Setting::PageSize,
        &["p"],
        Some("QEMU_PAGESIZE"),
        Some("pagesize"),
        "The page size: 4096 is the only one",
    ),
    only_qemu(
        Setting::WithoutEffect("one instruction per block is a debugging aid of QEMU's translator"),
        &["one-insn-per-tb", "singlestep"],
        Some("QEMU_ONE_INSN_PER_TB"),
        None,
        "No effect",
    ),
    only_qemu(
        Setting::WithoutEffect("code memory is bounded by itself"),
        &["tb-size"],
        Some("QEMU_TB_SIZE"),
        Some("size"),
        "No effect",
    ),
    only_qemu(
        Setting::Unsupported(NO_GDB),
        &["g"],
        Some("QEMU_GDB"),
        Some("port"),
        "Not supported: a gdb server",
    ),
    only_qemu(
        Setting::Unsupported("uname tells the host's release"),
        &["r"],
        Some("QEMU_UNAME"),
        Some("uname"),
        "Not supported: another release for uname",
    ),
    only_qemu(
        Setting::Unsupported("real-time signals are the host's"),
        &["t"],
        Some("QEMU_RTSIG_MAP"),
        Some("tsig hsig n[,...]"),
        "Not supported: a map of real-time signals",
    ),
    only_qemu(
        Setting::Unsupported("logs cannot be filtered by address yet"),
        &["dfilter"],
        Some("QEMU_DFILTER"),
        Some("range[,...]"),
        "Not supported: logs of an address range",
    ),
    only_qemu(
        Setting::Unsupported("there are no plugins"),
        &["plugin"],
        Some("QEMU_PLUGIN"),
        Some("file"),
        "Not supported: plugins",
    ),
    only_qemu(
        Setting::Unsupported(NO_TRACE),
        &["trace"],
        Some("QEMU_TRACE"),
        Some("pattern"),
        "Not supported: trace events",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_spelling_is_unique() {
        let mut seen = BTreeSet::new();
        for option in OPTIONS {
            let long = option.long.map(|name| format!("--{name}"));
            let short = option.short.map(|name| format!("short {name}"));
            let qemu = option.qemu.iter().map(|name| format!("-{name}"));
            let variable = option.variable.map(str::to_owned);
            for spelling in long.into_iter().chain(short).chain(qemu).chain(variable) {
                assert!(seen.insert(spelling.clone()), "{spelling}");
            }
        }
    }

    #[test]
    fn every_option_has_a_spelling_and_help() {
        for option in OPTIONS {
            assert!(option.long.is_some() || !option.qemu.is_empty());
            assert!(!option.help.is_empty());
        }
    }
}
