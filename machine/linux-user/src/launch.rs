//! From settings to a program that is ready to run.

use crate::abi::riscv64 as arch;
use crate::config::RunConfig;
use crate::cpu::{Cpu, CpuModel, Engine};
use crate::elf::{Elf, Loaded};
use crate::errno::Errno;
use crate::error::RunError;
use crate::exec::{self, Target};
use crate::log::{Log, complain, out_of_the_way};
use crate::mm::{AddressSpace, Kind, PAGE, Request, copy_to_guest, page_up};
use crate::random::Random;
use crate::signal::{self, Actions, HandlerStack, SignalState};
use crate::stack;
use crate::task::{Image, Layout, Process, Task};
use crate::vdso;
use isomorph_engine::Config;
use isomorph_report::{Reports, Sinks, Summary, Symbols};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Least size of the guest's address space.
const CEILING_MIN: u64 = 1 << 26;
/// Most memory for the main thread's stack.
const STACK_MAX: u64 = 1 << 30;
/// What the stack gets if its limit is no limit.
const STACK_UNLIMITED: u64 = 256 << 20;
/// Least size of the main thread's stack.
const STACK_MIN: u64 = 128 << 10;
/// Unmapped addresses below the stack.
const STACK_GAP: u64 = 1 << 20;

/// Where things lie in an address space of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// The top of the stack.
    stack_top: u64,
    stack_size: u64,
    /// Free memory is handed out below.
    mmap_base: u64,
    /// Where a position-independent program lies.
    program: u64,
    /// What the program break is moved by.
    brk_offset: u64,
}

impl Plan {
    fn new(ceiling: u64, stack_size: u64, random: &mut Random) -> Self {
        // Bits of randomness in pages: as the kernel's for sv39, fewer in a small space.
        let bits = ceiling.ilog2() - 12;
        let (for_mmap, for_program) = (
            bits.saturating_sub(3).min(24),
            bits.saturating_sub(4).min(23),
        );
        let for_stack = bits.saturating_sub(8).min(18);
        let stack_top = ceiling - PAGE - random.bits(for_stack) * PAGE;
        let below = stack_top - stack_size - STACK_GAP;
        Self {
            stack_top: stack_top - (random.bits(8) << 4),
            stack_size,
            mmap_base: below - random.bits(for_mmap) * PAGE,
            program: ((ceiling / 3) & !(PAGE - 1)) + random.bits(for_program) * PAGE,
            brk_offset: random.bits(bits.saturating_sub(13).min(13)) * PAGE,
        }
    }
}

/// The CPU model that the settings name.
fn cpu_model(config: &RunConfig) -> Result<CpuModel, RunError> {
    let Some(text) = &config.cpu else {
        return Ok(CpuModel::default());
    };
    let (text, _) = split_address_width(text);
    CpuModel::parse(&text).map_err(|source| RunError::Cpu {
        model: text,
        source,
    })
}

/// Takes the properties `sv39`, `sv48` and `sv57` out of a CPU model's text: they choose the size
/// of the address space.
fn split_address_width(text: &str) -> (String, bool) {
    let mut wide = false;
    let rest = text.split(',').filter(|part| {
        let on = |name: &str| {
            part.strip_prefix(name)
                .is_some_and(|v| matches!(v, "" | "=on" | "=true"))
        };
        wide |= on("sv48") || on("sv57");
        !["sv39", "sv48", "sv57"]
            .iter()
            .any(|name| part.starts_with(name))
    });
    (rest.collect::<Vec<_>>().join(","), wide)
}

fn ceiling(config: &RunConfig) -> Result<u64, RunError> {
    let wide = config
        .cpu
        .as_deref()
        .is_some_and(|text| split_address_width(text).1);
    let max = if wide {
        arch::SV48_CEILING
    } else {
        arch::SV39_CEILING
    };
    match config.reserved_va {
        None | Some(0) => Ok(max),
        Some(size) if (CEILING_MIN..=max).contains(&size) && size % PAGE == 0 => Ok(size),
        Some(size) => Err(RunError::ReservedVa {
            size,
            min: CEILING_MIN,
            max,
        }),
    }
}

fn stack_size(config: &RunConfig, ceiling: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is live.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    let limit = match limit.rlim_cur {
        libc::RLIM_INFINITY => STACK_UNLIMITED,
        _ if got != 0 => 8 << 20,
        bytes => bytes,
    };
    let wanted = config.stack_size.unwrap_or(limit);
    let size = wanted.clamp(STACK_MIN, STACK_MAX.min(ceiling / 8));
    page_up(size).unwrap_or(STACK_MAX)
}

/// The program, its interpreter, and what they are called.
struct Program {
    path: PathBuf,
    file: File,
    elf: Elf,
    argv: Vec<OsString>,
    interpreter: Option<(File, Elf)>,
}

fn open_program(config: &RunConfig) -> Result<Program, RunError> {
    let mut argv = vec![
        config
            .argv0
            .clone()
            .unwrap_or_else(|| config.program.clone().into()),
    ];
    argv.extend(config.args.iter().cloned());
    let sysroot = config.sysroot.as_deref();
    let (path, file, argv) = match config.execfd {
        Some(fd) => {
            // SAFETY: the kernel opened it for us and names it in the auxiliary vector.
            let file = unsafe { File::from_raw_fd(fd) };
            (config.program.clone(), file, argv)
        }
        None => {
            let missing = |errno| RunError::Program {
                path: config.program.clone(),
                errno,
            };
            let found = exec::find_program(&config.program, argv, sysroot);
            let Target {
                path, file, argv, ..
            } = found.map_err(missing)?;
            (path, file, argv)
        }
    };
    let elf = Elf::read(&file).map_err(|source| RunError::Elf {
        path: path.clone(),
        source,
    })?;
    let interpreter = match &elf.interpreter {
        Some(name) => Some(open_interpreter(&path, name, sysroot)?),
        None => None,
    };
    Ok(Program {
        path,
        file,
        elf,
        argv,
        interpreter,
    })
}

fn open_interpreter(
    program: &Path,
    name: &Path,
    sysroot: Option<&Path>,
) -> Result<(File, Elf), RunError> {
    let path = exec::follow_in_sysroot(name, sysroot);
    let file = File::open(&path).map_err(|error| RunError::Interpreter {
        program: program.to_owned(),
        interpreter: name.to_owned(),
        errno: error.into(),
    })?;
    let elf = Elf::read(&file).map_err(|source| RunError::Elf {
        path: path.into(),
        source,
    })?;
    Ok((file, elf))
}

/// The engine's settings for these of a run, and what is told at the end.
fn engine_config(
    config: &RunConfig,
    model: &CpuModel,
    log: &Arc<Log>,
) -> Result<(Config, Reports<Cpu>), RunError> {
    let log = log.clone();
    let sinks = Sinks {
        log: Box::new(move |text| {
            log.write(text);
        }),
        warn: Arc::new(|text| complain(text)),
    };
    let guest = Cpu::new(model.clone());
    let words = [config.program.as_os_str()].into_iter();
    let words = words.chain(config.args.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let what = (words.join(" "), Symbols::of_this_process());
    let (observer, reports) = config.reports.start(&guest, what, sinks, out_of_the_way)?;
    if reports.is_wanted() {
        signal::notice_end();
    }
    let config = Config {
        chain: !config.no_chain,
        tier2: config.tier2,
        observer,
        ..Config::default()
    };
    Ok((config, reports))
}

/// Makes the process and its first thread.
pub fn launch(mut config: RunConfig) -> Result<Task, RunError> {
    // The guest may change its directory.
    let summary = config.reports.summary.as_mut();
    for path in [config.sysroot.as_mut(), config.log_file.as_mut()]
        .into_iter()
        .chain([summary.and_then(Summary::path_mut)])
        .flatten()
    {
        if let Ok(absolute) = std::path::absolute(&*path) {
            *path = absolute;
        }
    }
    if config.guest_base != 0 {
        return Err(RunError::GuestBase {
            base: config.guest_base,
        });
    }
    let ceiling = ceiling(&config)?;
    let model = cpu_model(&config)?;
    let mut random = Random::new(config.seed);
    let plan = Plan::new(ceiling, stack_size(&config, ceiling), &mut random);
    let program = open_program(&config)?;
    let log = Arc::new(Log::open(&config)?);
    let mm = AddressSpace::new(ceiling, plan.mmap_base);

    let damaged = |source| RunError::Elf {
        path: program.path.clone(),
        source,
    };
    let main = program
        .elf
        .load(&program.file, &mm, Some(plan.program))
        .map_err(damaged)?;
    let linker = match &program.interpreter {
        Some((file, elf)) => Some(elf.load(file, &mm, None).map_err(damaged)?),
        None => None,
    };
    let brk = page_up(main.end).map_or(main.end, |end| end + plan.brk_offset);
    mm.set_brk(brk);
    let vdso = map_vdso(&mm)?;
    let stack = build_stack(
        &mm,
        &config,
        &program,
        &plan,
        &Placed {
            main,
            linker,
            vdso: vdso.0,
            hwcap: model.hwcap(),
            random: [random.next_u64(), random.next_u64()],
        },
    )?;
    let image = Image {
        exe: exe_path(&program),
        auxv: stack.bytes[stack.auxv.clone()].to_vec(),
        layout: layout(&main, brk, &stack),
        sigreturn: vdso.1,
        argv: program.argv,
    };
    set_name(&config.program);
    let (engine_config, reports) = engine_config(&config, &model, &log)?;
    let engine = Engine::new(Cpu::new(model), engine_config, Box::new(mm.fetch()))?;
    let mut state = crate::cpu::State::new();
    state.pc = linker.map_or(main.entry, |linker| linker.entry);
    arch::set_stack_pointer(&mut state, stack.sp);
    let process = Arc::new(Process {
        config: Arc::new(config),
        mm: Arc::new(mm),
        engine,
        actions: Actions::at_start(),
        image: Arc::new(image),
        log,
        reports: Arc::new(reports),
        threads: AtomicUsize::new(1),
        unknown_syscalls: Default::default(),
    });
    first_task(process, state)
}

fn first_task(process: Arc<Process>, state: crate::cpu::State) -> Result<Task, RunError> {
    let no_memory = |errno| RunError::Memory {
        what: "a signal stack",
        errno,
    };
    HandlerStack::new().map_err(no_memory)?.install();
    // Measurement may have started threads.
    process.actions.reclaim_library_signals();
    let vcpu = process.engine.new_vcpu(state)?;
    let mask = signal::host_thread_mask();
    let signal = SignalState::new(mask, vcpu.kick());
    signal::set_current(signal.inbox());
    signal::set_host_mask(signal::host_mask(mask));
    let task = Task {
        process,
        vcpu,
        // SAFETY: no memory is touched.
        tid: unsafe { libc::gettid() },
        signal,
        clear_child_tid: 0,
        exit: None,
    };
    Ok(task)
}

/// The program's absolute path.
fn exe_path(program: &Program) -> PathBuf {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", program.file.as_raw_fd());
    std::fs::read_link(link)
        .or_else(|_| std::fs::canonicalize(&program.path))
        .unwrap_or_else(|_| program.path.clone())
}

/// What `ps` shows: the guest program's name.
fn set_name(path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let mut name = [0_u8; 16];
    let file_name = path.file_name().unwrap_or_default().as_bytes();
    let len = file_name.len().min(15);
    name[..len].copy_from_slice(&file_name[..len]);
    // SAFETY: the name is live and ends with a NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

fn layout(main: &Loaded, brk: u64, stack: &stack::Image) -> Layout {
    Layout {
        start_code: main.code.0,
        end_code: main.code.1,
        start_data: main.data.0,
        end_data: main.data.1,
        start_brk: brk,
        start_stack: stack.sp,
        args: stack.args,
        env: stack.env,
    }
}

/// Maps the vDSO: its address and that of its sigreturn function.
fn map_vdso(mm: &AddressSpace) -> Result<(u64, u64), RunError> {
    let image = vdso::build();
    let failed = |errno| RunError::Memory {
        what: "the vDSO",
        errno,
    };
    let len = page_up(image.bytes.len() as u64).unwrap_or(PAGE);
    let addr = mm.find_free(len, PAGE).map_err(failed)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let writable = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    let request = Request {
        addr,
        len,
        prot: writable,
        flags,
        fd: -1,
        offset: 0,
        kind: Kind::Vdso,
    };
    mm.map(request).map_err(failed)?;
    if copy_to_guest(addr, &image.bytes) != 0 {
        return Err(failed(Errno::EFAULT));
    }
    mm.protect(addr, addr + len, (libc::PROT_READ | libc::PROT_EXEC) as u32)
        .map_err(failed)?;
    Ok((addr, addr + image.sigreturn))
}

/// What the auxiliary vector tells about.
struct Placed {
    main: Loaded,
    linker: Option<Loaded>,
    vdso: u64,
    hwcap: u64,
    random: [u64; 2],
}

fn build_stack(
    mm: &AddressSpace,
    config: &RunConfig,
    program: &Program,
    plan: &Plan,
    placed: &Placed,
) -> Result<stack::Image, RunError> {
    let failed = |errno| RunError::Memory {
        what: "the stack",
        errno,
    };
    let end = page_up(plan.stack_top).unwrap_or(plan.stack_top);
    let addr = end - plan.stack_size;
    let exec = if program.elf.executable_stack {
        libc::PROT_EXEC
    } else {
        0
    };
    let flags = libc::MAP_PRIVATE
        | libc::MAP_ANONYMOUS
        | libc::MAP_NORESERVE
        | libc::MAP_STACK
        | libc::MAP_FIXED;
    let prot = (libc::PROT_READ | libc::PROT_WRITE | exec) as u32;
    let (len, kind) = (plan.stack_size, Kind::Stack);
    mm.map(Request {
        addr,
        len,
        prot,
        flags,
        fd: -1,
        offset: 0,
        kind,
    })
    .map_err(failed)?;
    let auxv = auxiliary_vector(placed);
    let mut random = [0; 16];
    random[..8].copy_from_slice(&placed.random[0].to_le_bytes());
    random[8..].copy_from_slice(&placed.random[1].to_le_bytes());
    let contents = stack::Contents {
        argv: &program.argv,
        env: &config.env,
        execfn: config.program.as_os_str(),
        random,
        auxv: &auxv,
    };
    let top = plan.stack_top & !15;
    let image = stack::build(top, plan.stack_size * 3 / 4, &contents).map_err(|errno| {
        RunError::Program {
            path: program.path.clone(),
            errno,
        }
    })?;
    if copy_to_guest(image.sp, &image.bytes) != 0 {
        return Err(failed(Errno::EFAULT));
    }
    Ok(image)
}

/// The auxiliary vector (getauxval(3)) but for what points into the stack.
fn auxiliary_vector(placed: &Placed) -> Vec<(u64, u64)> {
    // SAFETY: no memory is touched.
    let (uid, euid, gid, egid, ticks, secure) = unsafe {
        (
            libc::getuid(),
            libc::geteuid(),
            libc::getgid(),
            libc::getegid(),
            libc::sysconf(libc::_SC_CLK_TCK),
            libc::getauxval(libc::AT_SECURE),
        )
    };
    let main = &placed.main;
    vec![
        (libc::AT_SYSINFO_EHDR, placed.vdso),
        (libc::AT_HWCAP, placed.hwcap),
        (libc::AT_PAGESZ, PAGE),
        (libc::AT_CLKTCK, ticks as u64),
        (libc::AT_PHDR, main.phdr),
        (libc::AT_PHENT, 56),
        (libc::AT_PHNUM, main.phnum),
        (libc::AT_BASE, placed.linker.map_or(0, |linker| linker.bias)),
        (libc::AT_FLAGS, 0),
        (libc::AT_ENTRY, main.entry),
        (libc::AT_UID, uid.into()),
        (libc::AT_EUID, euid.into()),
        (libc::AT_GID, gid.into()),
        (libc::AT_EGID, egid.into()),
        (libc::AT_SECURE, secure),
        (libc::AT_HWCAP2, 0),
        (libc::AT_MINSIGSTKSZ, arch::MINSIGSTKSZ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_in_order_below_the_ceiling() {
        for seed in 0..1000 {
            let mut random = Random::new(Some(seed));
            for ceiling in [CEILING_MIN, 1 << 32, arch::SV39_CEILING, arch::SV48_CEILING] {
                let plan = Plan::new(ceiling, 8 << 20, &mut random);
                assert!(plan.stack_top < ceiling);
                assert!(plan.mmap_base + plan.stack_size < plan.stack_top);
                assert!(plan.program < plan.mmap_base, "{plan:x?}");
            }
        }
    }

    #[test]
    fn the_address_width_is_a_property_of_the_cpu() {
        assert_eq!(
            split_address_width("rv64,sv48=on,zba=off"),
            ("rv64,zba=off".into(), true)
        );
        assert_eq!(split_address_width("max,sv39=on"), ("max".into(), false));
    }
}
