//! Chapter "Base Extension".

use super::*;

#[test]
fn values() {
    let machine = Machine::new(1);
    let version = env!("CARGO_PKG_VERSION")
        .split('.')
        .map(|n| n.parse::<u64>());
    let version: Vec<u64> = version.map(|n| n.expect("a number")).collect();
    // Table "Base Function List"; the vendor's numbers are those of the CSRs.
    let rows = [
        (0, 2 << 24),
        (1, 0x4953_4f4d),
        (2, version[0] << 16 | version[1]),
        (4, csr(&machine, 0, "mvendorid")),
        (5, csr(&machine, 0, "marchid")),
        (6, csr(&machine, 0, "mimpid")),
    ];
    for (function, value) in rows {
        assert_eq!(machine.call(0, (BASE, function), &[]), (SUCCESS, value));
    }
}

#[test]
fn probe() {
    let machine = Machine::new(1);
    let rows = [
        (BASE, 1),
        (TIME, 1),
        (IPI, 1),
        (RFENCE, 1),
        (HSM, 1),
        (SRST, 1),
        (DBCN, 1),
        (PMU, 1),
        (0, 0),
        (1, 0),
        (8, 0),
        (0x5355_5350, 0),
        (ALL, 0),
    ];
    for (extension, there) in rows {
        let answer = machine.call(0, (BASE, 3), &[extension]);
        assert_eq!(answer, (SUCCESS, there), "{extension:#x}");
    }
}
