//! Command lines as a whole, and what the tests of their parts need.

use super::*;

fn parsed(line: &str) -> Result<Request, CliError> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&words)
}

/// The machine of a command line, which must be good.
pub fn config(line: &str) -> Config {
    match parsed(line) {
        Ok(Request::Run(config, _)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

/// The warnings of a command line, which must be good.
pub fn warnings(line: &str) -> Vec<String> {
    match parsed(line) {
        Ok(Request::Run(_, warnings)) => warnings,
        other => panic!("{line}: {other:?}"),
    }
}

/// What is shown for a command line.
pub fn shown(line: &str) -> String {
    match parsed(line) {
        Ok(Request::Show(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

/// The error of a command line, with its causes.
pub fn error(line: &str) -> String {
    match parsed(line) {
        Err(error) => crate::error::chain(&error),
        Ok(other) => panic!("{line}: {other:?}"),
    }
}

#[test]
fn options_have_one_dash_or_two() {
    assert!(config("-no-reboot --stats").no_reboot);
    assert!(config("--no-reboot -stats").stats);
    let watchdog = config("--watchdog 5").watchdog;
    assert_eq!(watchdog, Some(std::time::Duration::from_secs(5)));
    assert!(error("-watchdog 0").contains("number of seconds"));
}

#[test]
fn unknown_options_are_named_with_the_nearest() {
    assert!(error("-kernle x").contains("`-kernle`, did you mean `-kernel`?"));
    assert!(error("--no-rebot").contains("`--no-rebot`, did you mean `-no-reboot`?"));
    assert!(error("disk.img").contains("`disk.img`"));
    assert!(error("-m").contains("`-m` needs a value"));
}

#[test]
fn settings_of_the_translator() {
    use isomorph_engine::Policy;
    let after = |variable: &str, words: &[&str]| {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        parse_after(Some(variable.into()), &words)
    };
    let Ok(Request::Run(config, _)) = after("tier2=off,threads=3", &["-jit", "tier2=9"]) else {
        panic!("a machine");
    };
    assert_eq!(config.tier2.policy, Policy::Hot(Some(9)));
    assert_eq!(config.tier2.threads, 3);
    assert!(matches!(after("help", &[]), Ok(Request::Show(_))));
    let error = after("tier=off", &[]).unwrap_err().to_string();
    assert!(error.starts_with("ISOMORPH_JIT:"), "{error}");
    let given = after("", &["-jit", "x"]).unwrap_err().to_string();
    assert!(given.starts_with("-jit: there is no `x`"), "{given}");
}

#[test]
fn what_is_missing_is_refused_by_name() {
    for option in OPTIONS {
        let Setting::Unsupported(reason) = option.setting else {
            continue;
        };
        for name in option.names {
            let text = error(&format!("-{name} x"));
            assert!(
                text.contains(&format!("-{name}")) && text.contains(reason),
                "{text}"
            );
        }
    }
}

#[test]
fn the_help_names_every_option_that_is_there() {
    let help = shown("-h");
    for option in OPTIONS {
        let there = !matches!(option.setting, Setting::Unsupported(_));
        for name in option.names {
            assert!(!there || help.contains(&format!("-{name}")), "{name}");
        }
    }
    assert!(shown("-version").starts_with("QEMU emulator version"));
    assert!(shown("-M help").contains("virt"));
    assert!(shown("-M virt,help").contains("dumpdtb"));
    assert!(shown("-cpu help").contains("rv64"));
    assert!(shown("-accel help").contains("tcg"));
    assert!(shown("-netdev help").contains("user"));
    assert!(shown("-chardev help").contains("socket"));
    assert!(shown("-d help").contains("in_asm"));
}

#[test]
fn files_for_the_kernel_need_one() {
    assert!(error("-append x").contains("-append"));
    assert!(error("-initrd x").contains("-initrd"));
    let machine = config("-kernel k -initrd i -append a,b -dtb d");
    assert_eq!(machine.append.as_deref(), Some("a,b"));
    assert_eq!(
        machine.kernel.expect("a kernel").path,
        std::path::Path::new("k")
    );
}

#[test]
fn the_usual_line_of_a_boot() {
    let machine = config(
        "-M virt -accel tcg,thread=multi -smp 2 -m 512 -display none -serial stdio -monitor none \
         -nic none -no-reboot -kernel k -initrd i -append console=ttyS0 -snapshot \
         -drive file=f,format=raw,if=none,id=d -device virtio-blk-pci,drive=d -bios default \
         -netdev user,id=n,hostfwd=tcp:127.0.0.1:0-:22 -device virtio-net-pci,netdev=n -d in_asm",
    );
    assert_eq!((machine.harts, machine.ram_bytes), (2, 512 << 20));
    assert_eq!(machine.devices.len(), 2);
    assert_eq!(machine.bios, config::Bios::BuiltIn);
    assert!(machine.disks[0].snapshot);
}

#[test]
fn no_line_makes_the_parser_panic() {
    const PIECES: &[&str] = &[
        "on",
        "off",
        "none",
        "user",
        "virt",
        "0",
        "1",
        "-1",
        "4096",
        "99999999999999999999",
        "0x",
        "x",
        "é",
        ":",
        "-",
        ".",
        "/",
        "=",
        ",",
        ",,",
        "no",
        "id=a",
        "file=a",
        "if=virtio",
        "size=",
        "hostfwd=tcp::1-:2",
        "net=10.0.2.0/",
        "mac=",
        "addr=",
        "bus=",
        "G",
        "T",
        "help",
        "base=",
        "2000-01-01T",
        "cpus=",
        "sockets=",
        "cores=",
        "node-name=",
        "driver=",
        "unix:",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut words = Vec::new();
        for _ in 0..=random(3) {
            let option = &OPTIONS[random(OPTIONS.len())];
            words.push(OsString::from(format!("-{}", option.names[0])));
            let pieces = (0..random(8)).map(|_| PIECES[random(PIECES.len())]);
            let value: String = pieces.collect();
            if option.value.is_some() {
                words.push(value.into());
            }
        }
        // What it says does not matter here.
        let _ = parse(&words);
    }
}
