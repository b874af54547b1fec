//! The machine itself: board, CPUs, RAM, accelerator, clock, name.

use isomorph_boards::VIRT;
use isomorph_riscv::CpuModel;

use crate::system::builder::{Builder, Given, Shown};
use crate::system::config::{DEFAULT_RAM, RtcBase};
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// The boards, with what they are.
const MACHINES: &[(&str, &str)] = &[("virt", "RISC-V VirtIO board (default)")];

/// The accelerators, with what they are.
const ACCELS: &[(&str, &str)] = &[("tcg", "translation of the guest's code (default)")];

/// Properties of the board that are here what they are.
const FIXED: &[(&str, &[&str])] = &[
    ("aclint", &["off"]),
    ("acpi", &["off"]),
    ("aia", &["none"]),
    ("graphics", &["off"]),
    ("usb", &["off"]),
    ("iommu-sys", &["off", "auto"]),
];

/// Properties of the board that concern nothing here.
const IGNORED: &[&str] = &["mem-merge", "dump-guest-core", "suppress-vmdesc"];

fn list_of(title: &str, names: &[(&str, &str)]) -> String {
    let line = |(name, help): &(&str, &str)| format!("{name:20} {help}\n");
    format!("{title}\n{}", names.iter().map(line).collect::<String>())
}

/// `-machine`
pub fn machine(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    let mut list = given.list(Some("type"))?;
    if list.wants_help() {
        return Ok(Some(match list.text("type").as_deref() {
            Some("virt") => machine_help(),
            _ => list_of("Supported machines are:", MACHINES),
        }));
    }
    if let Some(name) = list.text("type")
        && name != "virt"
    {
        let known = MACHINES.iter().map(|machine| machine.0);
        return Err(SystemError::unknown(given.origin, "machine", &name, known));
    }
    if let Some(path) = list.text("dumpdtb") {
        builder.config.dump_dtb = Some(path.into());
    }
    if let Some(names) = list.text("accel") {
        accel_name(given.origin, &names)?;
    }
    for (key, values) in FIXED {
        list.fixed(key, values)?;
    }
    list.ignored(IGNORED);
    list.done("machine `virt`")?;
    Ok(None)
}

fn machine_help() -> String {
    let mut text = String::from("virt options:\n  accel=tcg\n  dumpdtb=<file>\n");
    for (key, values) in FIXED {
        text.push_str(&format!("  {key}={}\n", values.join("|")));
    }
    for key in IGNORED {
        text.push_str(&format!("  {key}=on|off (no effect)\n"));
    }
    text
}

/// Takes the first accelerator of a list `a:b` that is there.
fn accel_name(origin: &str, names: &str) -> Result<(), SystemError> {
    let known = ACCELS.iter().map(|accel| accel.0);
    if names
        .split(':')
        .any(|name| known.clone().any(|known| known == name))
    {
        return Ok(());
    }
    if names.split(':').any(|name| name == "kvm") {
        let reason = "KVM runs only the host's instruction set, not riscv64: use tcg";
        return Err(SystemError::unsupported(origin, reason));
    }
    Err(SystemError::unknown(origin, "accelerator", names, known))
}

/// `-accel`
pub fn accel(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    let mut list = given.list(Some("accel"))?;
    if list.wants_help() {
        return Ok(Some(list_of("Accelerators supported:", ACCELS)));
    }
    accel_name(given.origin, &list.required("accel")?)?;
    if list.choice("thread", &[("single", true), ("multi", false)])? == Some(true) {
        let origin = given.origin;
        let warning = format!("{origin}: every CPU has a thread of its own all the same");
        builder.warnings.push(warning);
    }
    list.ignored(&["tb-size", "split-wx", "one-insn-per-tb"]);
    list.done("accelerator `tcg`")?;
    Ok(None)
}

/// `-cpu`
pub fn cpu(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    let text = given.text()?;
    if matches!(text, "help" | "?") {
        let names: Vec<_> = CpuModel::names().collect();
        return Ok(Some(format!("{}\n", names.join("\n"))));
    }
    let cpu = CpuModel::parse(text).map_err(|source| SystemError::Cpu {
        origin: given.origin.to_owned(),
        source,
    })?;
    builder.config.cpu = cpu;
    Ok(None)
}

/// `-smp`: what is not given follows from the rest, sockets of one thread first.
pub fn smp(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("cpus"))?;
    let [cpus, maxcpus, sockets, cores, threads] =
        ["cpus", "maxcpus", "sockets", "cores", "threads"].map(|key| positive(&mut list, key));
    let (cpus, maxcpus, sockets, cores, threads) = (cpus?, maxcpus?, sockets?, cores?, threads?);
    for key in ["dies", "clusters", "books", "drawers", "modules"] {
        list.fixed(key, &["1"])?;
    }
    list.done("-smp")?;
    let threads = threads.unwrap_or(1);
    let given_cores = cores.unwrap_or(1);
    let product = |sockets: u64, cores: u64| sockets.saturating_mul(cores).saturating_mul(threads);
    let most = maxcpus.or(cpus);
    let most = most.unwrap_or_else(|| product(sockets.unwrap_or(1), given_cores));
    let (sockets, cores) = match (sockets, cores) {
        (Some(sockets), Some(cores)) => (sockets, cores),
        (Some(sockets), None) => (sockets, most / product(sockets, 1).max(1)),
        (None, Some(cores)) => (most / product(1, cores).max(1), cores),
        (None, None) => (1, most / threads),
    };
    if product(sockets, cores) != most {
        return Err(SystemError::Topology {
            origin: given.origin.to_owned(),
            sockets,
            cores,
            threads,
            cpus: most,
        });
    }
    let cpus = cpus.unwrap_or(most);
    let limit = most.min(VIRT.harts_max as u64);
    if cpus > limit {
        let expected = format!("a number of CPUs up to {limit}");
        return Err(SystemError::value(
            given.origin,
            &cpus.to_string(),
            expected,
        ));
    }
    builder.config.harts = cpus as usize;
    Ok(())
}

fn positive(list: &mut Keyval, key: &str) -> Result<Option<u64>, SystemError> {
    match list.number(key)? {
        Some(0) => Err(list.wrong(key, "0", "a number of CPUs")),
        number => Ok(number),
    }
}

/// `-m`
pub fn memory(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("size"))?;
    let size = list.size("size", MIB)?;
    list.fixed("slots", &["0"])?;
    // Memory that could be plugged in never is.
    list.ignored(&["maxmem"]);
    list.done("-m")?;
    let size = size.filter(|&size| size != 0).unwrap_or(DEFAULT_RAM);
    let size = size.checked_next_multiple_of(PAGE);
    let largest = u64::MAX - VIRT.ram_base - 2 * VIRT.pcie.high_window;
    let size = size.filter(|&size| size < largest);
    builder.config.ram_bytes = size.ok_or_else(|| {
        let text = given.value.to_string_lossy();
        SystemError::value(given.origin, &text, "an address space's worth of RAM")
    })?;
    Ok(())
}

/// `-name`
pub fn name(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("guest"))?;
    let name = list.text("guest");
    list.switch("debug-threads")?;
    list.absent(&["process"], "the process keeps the program's name")?;
    list.done("-name")?;
    builder.config.name = name.or(builder.config.name.take());
    Ok(())
}

/// `-uuid`
pub fn uuid(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let text = given.text()?;
    let uuid = parse_uuid(text);
    let uuid = uuid.ok_or_else(|| SystemError::value(given.origin, text, "a UUID"))?;
    builder.config.uuid = Some(uuid);
    Ok(())
}

/// Groups of 8, 4, 4, 4 and 12 hexadecimal digits (RFC 9562, section 4).
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<&str> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = groups.concat();
    let whole = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| whole)?;
    Some(number.to_be_bytes())
}

/// `-rtc`
pub fn rtc(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("base"))?;
    let start = match list.text("base").as_deref() {
        None | Some("utc") => None,
        Some("localtime") => {
            let what = format!("{}: `base=localtime`", given.origin);
            let reason = "the host's time zone is not read: give utc or a date";
            return Err(SystemError::unsupported(what, reason));
        }
        Some(date) => {
            let seconds = parse_date(date);
            let expected = "utc or a date as 2006-06-17 or 2006-06-17T16:01:21";
            Some(seconds.ok_or_else(|| list.wrong("base", date, expected))?)
        }
    };
    let clocks = [("host", false), ("rt", false), ("vm", true)];
    let virtual_time = list.choice("clock", &clocks)?.unwrap_or(false);
    list.fixed("driftfix", &["none"])?;
    list.done("-rtc")?;
    builder.config.rtc = RtcBase {
        start,
        virtual_time,
    };
    Ok(())
}

/// Seconds since 1970 of `YYYY-MM-DD[THH:MM:SS]`, taken as UTC.
fn parse_date(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let fields = |text: &str, by: char| -> Option<[u64; 3]> {
        let fields: Vec<u64> = text
            .split(by)
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?;
        fields.try_into().ok()
    };
    let [year, month, day] = fields(date, '-')?;
    let [hour, minute, second] = fields(time, ':')?;
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let years: u64 = (1970..year.min(10_000)).map(|year| 365 + leap(year)).sum();
    let months: u64 = (1..month.min(12))
        .map(|month| month_days(year, month))
        .sum();
    fits.then(|| ((years + months + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

fn leap(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    u64::from(leap)
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + leap(year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{config, error};

    #[test]
    fn machines_and_their_properties() {
        assert!(
            config("-M virt,usb=off,aia=none -machine accel=tcg")
                .dump_dtb
                .is_none()
        );
        let dump = config("-M virt -M dumpdtb=a,,b").dump_dtb;
        assert_eq!(dump.as_deref(), Some("a,b".as_ref()));
        assert!(error("-M vrit").contains("unknown machine `vrit`, did you mean `virt`?"));
        let text = error("-M virt,dumpdt=x");
        assert!(
            text.contains("machine `virt` has no property `dumpdt`"),
            "{text}"
        );
        assert!(text.contains("did you mean `dumpdtb`?"), "{text}");
        assert!(error("-M virt,aia=aplic-imsic").contains("only none"));
    }

    #[test]
    fn accelerators() {
        config("-accel tcg -accel tcg,thread=multi,tb-size=64 -M virt,accel=kvm:tcg");
        assert!(error("-accel kvm").contains("KVM runs only the host's"));
        assert!(error("-M accel=kvm").contains("KVM runs only the host's"));
        assert!(error("-accel tgc").contains("did you mean `tcg`?"));
        assert!(error("-accel tcg,thread=mutli").contains("did you mean `multi`?"));
    }

    #[test]
    fn cpus() {
        let cpu = config("-cpu rv64,sstc=off").cpu;
        assert!(!cpu.machine_isa_string().contains("sstc"));
        assert!(error("-cpu rv65").contains("no CPU model `rv65`"));
        assert!(error("-cpu rv64,fo=on").contains("`fo`"));
    }

    #[test]
    fn topologies() {
        for (text, harts) in [
            ("4", 4),
            ("cpus=3", 3),
            ("sockets=2,cores=3,threads=2", 12),
            ("4,sockets=2", 4),
            ("4,cores=2", 4),
            ("4,threads=2", 4),
            ("2,maxcpus=8,cores=8", 2),
            ("1,sockets=1,dies=1,cores=1,threads=1", 1),
            ("512", 512),
        ] {
            assert_eq!(config(&format!("-smp {text}")).harts, harts, "{text}");
        }
        for text in [
            "0",
            "x",
            "513",
            "cpus=3,sockets=2,cores=2",
            "4,maxcpus=2",
            "2,cores=0",
        ] {
            error(&format!("-smp {text}"));
        }
        assert!(error("-smp 4,corse=2").contains("did you mean `cores`?"));
        assert!(error("-smp 4,dies=2").contains("only 1"));
    }

    #[test]
    fn sizes_of_memory() {
        let ram = |text: &str| config(&format!("-m {text}")).ram_bytes;
        assert_eq!(config("").ram_bytes, 128 << 20);
        assert_eq!(
            [ram("512"), ram("2G"), ram("size=64M")],
            [512 << 20, 2 << 30, 64 << 20]
        );
        assert_eq!([ram("0"), ram("100000k")], [128 << 20, 100_000 << 10]);
        assert_eq!(ram("4097b"), 8192);
        assert_eq!(ram("1G,slots=0,maxmem=2G"), 1 << 30);
        for text in ["1x", "-1", "16777216T", "1G,slots=2", ","] {
            error(&format!("-m {text}"));
        }
    }

    #[test]
    fn dates() {
        assert_eq!(parse_date("1970-01-02"), Some(86400));
        assert_eq!(parse_date("2006-06-17T16:01:21"), Some(1_150_560_081));
        assert_eq!(parse_date("2000-02-29T00:00:01"), Some(951_782_401));
        for bad in [
            "",
            "2001-02-29",
            "1969-01-01",
            "2000-13-01",
            "2000-01-01T24:00:00",
            "x-y-z",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
        let rtc = config("-rtc base=1970-01-02,clock=vm").rtc;
        assert_eq!((rtc.start, rtc.virtual_time), (Some(86400), true));
        assert_eq!(config("-rtc base=utc").rtc, RtcBase::default());
        assert!(error("-rtc base=localtime").contains("time zone"));
        assert!(error("-rtc base=xx").contains("2006-06-17"));
    }

    #[test]
    fn names_and_uuids() {
        let machine = config("-name a,debug-threads=on -uuid 12345678-1234-1234-1234-123456789abc");
        assert_eq!(machine.name.as_deref(), Some("a"));
        let uuid = machine.uuid.expect("a UUID");
        assert_eq!((uuid[0], uuid[15]), (0x12, 0xbc));
        error("-uuid 12");
        error("-uuid +2345678-1234-1234-1234-123456789abc");
        assert!(error("-name a,foo=b").contains("`foo`"));
        assert!(error("-name a,process=b").contains("process"));
    }
}
