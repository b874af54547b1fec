//! What takes more than one instruction to show: reservations, and state that stays between blocks.

mod native;

use isomorph_riscv::Riscv64;
use isomorph_tests::rows::{Executor, Interpreter, Left, MEMORY, Situation, parse};

/// Registers that the sequences use.
const A0: usize = 10;
const A2: usize = 12;
const A3: usize = 13;
const A4: usize = 14;

/// lr.w a0,(a1)
const LR_W: u32 = 0x1005_a52f;
/// sc.w a2,a3,(a1)
const SC_W: u32 = 0x18d5_a62f;
/// sc.w a4,a3,(a1)
const SC_W_A4: u32 = 0x18d5_a72f;
/// sc.w a2,a3,(a5)
const SC_W_ELSEWHERE: u32 = 0x18d7_a62f;
/// fsrmi 4
const FSRMI_RMM: u32 = 0x0022_5073;
/// fsrmi 1
const FSRMI_RTZ: u32 = 0x0020_d073;
/// fcvt.w.d a0,fa1 with the dynamic rounding mode
const FCVT_W_D: u32 = 0xc205_f553;

/// Runs the words on all executors from the situation of a row; they must agree.
fn run(before: &str, words: &[u32]) -> Situation {
    let row = format!("nop 00000013 nop | {before} =>");
    let start = parse(&row).expect("a row")[0].before();
    let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut want = start.clone();
    let left = Interpreter::new(Riscv64::default()).execute(&code, &mut want);
    assert_eq!(left, Left::Next);
    for mut tier in [native::Native::tier_1(), native::Native::tier_2()] {
        let mut got = start.clone();
        let left = tier.execute(&code, &mut got);
        assert_eq!((left, &got), (Left::Next, &want), "{}", tier.name());
    }
    want
}

fn word(situation: &Situation, address: u64) -> u32 {
    let at = (address - MEMORY) as usize;
    let bytes = &situation.memory.bytes[at..at + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[test]
fn a_store_conditional_follows_its_reservation_once() {
    let after = run("a1=0x20010 a3=7 [0x20010]=05000000", &[LR_W, SC_W, SC_W_A4]);
    assert_eq!(
        (after.state.x[A0], after.state.x[A2], after.state.x[A4]),
        (5, 0, 1)
    );
    assert_eq!((word(&after, 0x20010), after.state.x[A3]), (7, 7));
}

#[test]
fn a_store_conditional_elsewhere_fails() {
    let after = run("a1=0x20010 a3=7 a5=0x20020", &[LR_W, SC_W_ELSEWHERE]);
    assert_eq!((after.state.x[A2], word(&after, 0x20020)), (1, 0));
}

#[test]
fn a_rounding_mode_that_the_host_lacks_holds_for_what_follows() {
    let after = run("fa1=d:2.5", &[FSRMI_RMM, FCVT_W_D]);
    assert_eq!((after.state.x[A0], after.state.frm), (3, 4));
    let after = run("fa1=d:2.5 frm=4", &[FSRMI_RTZ, FCVT_W_D]);
    assert_eq!((after.state.x[A0], after.state.frm), (2, 1));
}
