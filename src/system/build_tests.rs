//! Machines as built, without vCPUs.

use super::*;
use crate::system::tests::config;

/// The board of a command line; nothing that others could notice is opened.
fn board(line: &str) -> Result<Virt, SystemError> {
    let config = config(line);
    let mut parts = Parts::without_lines(&config)?;
    let latch = |_| -> Arc<dyn IrqSink> { IrqLatch::new() };
    let pins: Vec<_> = (0..config.harts).map(latch).collect();
    parts.board(&config, &pins)
}

fn error(line: &str) -> String {
    match board(line) {
        Err(error) => crate::error::chain(&error),
        Ok(_) => panic!("{line} makes a board"),
    }
}

/// A disk image of a test's own.
fn image(name: &str, bytes: u64) -> String {
    let path = std::env::temp_dir().join(format!("isomorph-{}-{name}", std::process::id()));
    let file = File::create(&path).expect("a file");
    file.set_len(bytes).expect("a size");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn devices_are_where_they_are_told() {
    let disk = image("where", 1 << 20);
    let line = format!(
        "-drive file={disk},if=none,id=d,format=raw -device virtio-rng-pci,addr=5 \
         -device virtio-blk-pci,drive=d -device virtio-rng-device \
         -device virtio-balloon-device,bus=virtio-mmio-bus.0 -nic user"
    );
    let board = board(&line).expect("a board");
    std::fs::remove_file(disk).expect("removed");
    let functions = board.pci().functions();
    let found: Vec<_> = functions.iter().map(|f| (f.0, f.3)).collect();
    // The host bridge, the network of -nic, the disk, the rng.
    assert_eq!(found, [(0, 0x0008), (1, 0x1041), (2, 0x1042), (5, 0x1044)]);
    let kind = |number: u64| {
        let address = 0x1000_1000 + 0x1000 * number + 8;
        board.space().read(address, 4).expect("a register")
    };
    assert_eq!([kind(0), kind(7), kind(6)], [5, 4, 0]);
}

#[test]
fn places_that_are_taken() {
    let twice = "-device virtio-rng-pci,addr=1 -device virtio-rng-pci,addr=1";
    assert!(error(twice).contains("virtio-rng-pci,addr=1"));
    let twice = "-device virtio-rng-device -device virtio-rng-device,bus=virtio-mmio-bus.7";
    assert!(error(twice).contains("virtio-mmio-bus.7"));
    let nine = "-device virtio-rng-device ".repeat(9);
    assert!(error(&nine).contains("all eight"));
    assert!(error("-device virtio-rng-device,bus=virtio-mmio-bus.8").contains("VirtioMmio(8)"));
}

#[test]
fn missing_files_are_named_with_their_option() {
    for line in [
        "-drive file=/nonexistent/a,if=virtio",
        "-drive file=/nonexistent/a,if=none",
        "-pflash /nonexistent/a",
        "-object rng-random,id=r,filename=/nonexistent/a -device virtio-rng-pci,rng=r",
    ] {
        let text = error(line);
        assert!(text.contains("/nonexistent/a"), "{text}");
        assert!(
            text.contains(line.split_whitespace().next().expect("a word")),
            "{text}"
        );
        assert!(text.contains("No such file"), "{text}");
    }
    for option in ["-kernel", "-bios", "-dtb"] {
        let config = config(&format!("{option} /nonexistent/a"));
        let text = crate::error::chain(&device_tree(config).expect_err("no file"));
        assert!(
            text.contains(option) && text.contains("No such file"),
            "{text}"
        );
    }
}

#[test]
fn flash_banks_are_loaded_and_kept() {
    let path = image("flash", 4096);
    std::fs::write(&path, [0x5a; 4096]).expect("written");
    let board = board(&format!("-pflash {path}")).expect("a board");
    let word = board.space().read(0x2000_0000, 4).expect("flash");
    assert_eq!(word, 0x5a5a_5a5a);
    // Program one word of both chips: clears bits.
    board
        .space()
        .write(0x2000_0000, 4, 0x0040_0040)
        .expect("a command");
    board
        .space()
        .write(0x2000_0000, 4, 0x1010_1010)
        .expect("a word");
    drop(board);
    let kept = std::fs::read(&path).expect("read");
    std::fs::remove_file(path).expect("removed");
    assert_eq!(kept[..8], [0x10, 0x10, 0x10, 0x10, 0x5a, 0x5a, 0x5a, 0x5a]);
}

#[test]
fn the_device_tree_says_what_the_machine_has() {
    let tree = device_tree(config("-smp 3 -m 1G -cpu rv64,sstc=off")).expect("a tree");
    let has = |text: &str| {
        let bytes = text.as_bytes();
        tree.windows(bytes.len()).any(|window| window == bytes)
    };
    assert!(has("cpu@2") && !has("cpu@3"));
    assert!(has("svadu") && !has("sstc"));
    assert!(has("memory@80000000") && has("riscv,sv57"));
}

#[test]
fn harts_start_where_the_firmware_says() {
    let kernel = image("kernel", 64);
    let start = |line: &str| {
        let config = config(&format!("{line} -smp 2"));
        let mut parts = Parts::without_lines(&config).expect("parts");
        let latch = |_| -> Arc<dyn IrqSink> { IrqLatch::new() };
        let pins: Vec<_> = (0..2).map(latch).collect();
        let board = parts.board(&config, &pins).expect("a board");
        let machine = Loaded::new(board, config, None);
        machine.reset().expect("loaded again").to_vec()
    };
    let built_in = start(&format!("-kernel {kernel}"));
    assert_eq!((built_in[0].entry, built_in[0].level), (0x8020_0000, 1));
    assert_eq!((built_in[1].id, built_in[1].started), (1, false));
    let bare = start(&format!("-kernel {kernel} -bios none"));
    assert_eq!(
        (bare[1].entry, bare[1].level, bare[1].started),
        (0x1000, 3, true)
    );
    let flash = start(&format!("-pflash {kernel}"));
    assert_eq!((flash[0].entry, flash[0].level), (0x2000_0000, 1));
    let flash = start(&format!("-pflash {kernel} -bios none"));
    assert_eq!((flash[0].entry, flash[0].level), (0x1000, 3));
    std::fs::remove_file(kernel).expect("removed");
}
