//! A machine that boots the kernel of `guests/kernel`, which checks all it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::error::CliError;
use crate::output::show;
use crate::system::{self, Chardev, Config, Line, Named};

/// The kernel's tour through its commands, by the name that `isomorph demo` has for it.
pub const TOUR: &str = "kernel";

/// The kernel's command line.
pub const SHELL: &str = "shell";

/// The kernel, as `guests/build` makes it.
const IMAGE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/guests/images/kernel"));

/// Boots the kernel with `demo` among its arguments: it goes through all of its commands, which
/// check themselves, and powers off. Its exit status is not 0 if a check failed.
pub fn tour(folder: &Path) -> Result<ExitCode, CliError> {
    show("── kernel (a machine of four harts, with nothing but its kernel)\n")?;
    let started = Instant::now();
    let config = Config {
        append: Some("demo".to_owned()),
        ..machine(prepare(folder)?, Line::Stdio { signal: true })
    };
    let status = system::run(config)?;
    if status == ExitCode::SUCCESS {
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        show(&format!(
            "\nThe machine booted, passed its checks and powered off in {ms:.0} ms.\n"
        ))?;
    }
    Ok(status)
}

/// Boots the kernel to its command line.
pub fn shell(folder: &Path) -> Result<ExitCode, CliError> {
    show("A machine of four harts. `poweroff` ends it, and so does Ctrl-A x.\n")?;
    let mut config = machine(prepare(folder)?, Line::Stdio { signal: false });
    config.chardevs.iter_mut().for_each(|line| line.mux = true);
    Ok(system::run(config)?)
}

/// Writes the kernel to a file.
fn prepare(folder: &Path) -> Result<PathBuf, CliError> {
    let path = folder.join("kernel");
    fs::write(&path, IMAGE).map_err(super::file("write", &path))?;
    Ok(path)
}

/// The machine that boots the kernel in this file: four harts, the built-in firmware, and the
/// serial port on `line`.
fn machine(kernel: PathBuf, line: Line) -> Config {
    let (origin, id) = ("demo".to_owned(), "serial0".to_owned());
    Config {
        harts: 4,
        kernel: Some(Named {
            origin: origin.clone(),
            path: kernel,
        }),
        serial: Some(id.clone()),
        chardevs: vec![Chardev {
            origin,
            id,
            mux: false,
            line,
        }],
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(at: usize) -> u64 {
        let bytes = IMAGE[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    }

    /// Linux Documentation/arch/riscv/boot-image-header.rst.
    #[test]
    fn the_kernel_is_a_small_linux_image() {
        assert_eq!(&IMAGE[0x38..0x3c], b"RSC\x05");
        assert_eq!(field(8), 0x20_0000, "where in RAM it is loaded");
        assert!(field(16) >= IMAGE.len() as u64, "with what it wants zeroed");
        assert!(IMAGE.len() <= 64 << 10);
    }

    #[test]
    fn the_machine_boots_it() {
        let config = machine("image".into(), Line::Null);
        assert_eq!(config.kernel.expect("a kernel").path, Path::new("image"));
        assert_eq!(config.serial.as_ref(), Some(&config.chardevs[0].id));
    }
}
