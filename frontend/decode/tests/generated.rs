//! Generated source compiles, decodes as the specification says, and needs every function.

use std::path::PathBuf;
use std::process::{Command, Output};

const SPEC: &str = "\
ext A B
args N
args I rd:u8 imm:i64
space byte 8
field rd 7:5 +8 : reg
field imm signed 2 4:3 <<1 : dec
format N N
format I I rd=rd imm=imm
format Z I rd=0:reg imm=imm
insn stop 00000001 N A : \"\"
insn addi ......01 I A except stop : \"{rd},{imm}\"
insn c.li 000...10 Z A&B => addi
alias li addi when rd=8 : \"{imm}\"
";

/// Compiles the generated source with `rest` after it, and runs it if `run`.
fn rustc(name: &str, rest: &str, run: bool) -> Output {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = dir.join(format!("{name}.rs"));
    let program = dir.join(name);
    let text = isomorph_decode::compile(SPEC).expect("the specification is right");
    std::fs::write(&source, format!("{text}\n{rest}")).expect("write");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let out = Command::new(compiler)
        .args(["--edition", "2024", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .expect("rustc runs");
    if run && out.status.success() {
        return Command::new(program).output().expect("the program runs");
    }
    out
}

#[test]
fn decodes_extracts_and_dispatches() {
    let rest = r#"
struct T;
impl Semantics for T { type Out = String; }
impl Translate for T {
    fn stop(&mut self, _: &ArgsN) -> String { "stop".into() }
    fn addi(&mut self, a: &ArgsI) -> String { format!("addi {} {}", a.rd, a.imm) }
}
fn run(w: u32) -> String {
    match decode_byte(w) { Some(op) => dispatch(op, w, &mut T), None => "illegal".into() }
}
fn main() {
    assert_eq!(run(0b0000_0001), "stop");
    assert_eq!(run(0b0010_0001), "addi 9 0");
    assert_eq!(run(0b0001_1101), "addi 8 -2");
    assert_eq!(run(0b1110_0101), "addi 15 -8");
    assert_eq!(run(0b0000_1010), "addi 0 2");
    assert_eq!(run(0b1000_1010), "illegal");
    assert_eq!(run(0b0000_0000), "illegal");
    assert_eq!(Op::CLi.info().exts, ext::A | ext::B);
    assert_eq!(INSNS[1].name, "addi");
    assert_eq!((INSNS[1].args[1].value)(0b1110_0101), -8);
    assert_eq!(ALIASES[0].op, Op::Addi);
}
"#;
    let out = rustc("decodes", rest, true);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn missing_semantic_function_does_not_compile() {
    let rest = r#"
struct T;
impl Semantics for T { type Out = (); }
impl Translate for T {
    fn stop(&mut self, _: &ArgsN) {}
}
fn main() {}
"#;
    let out = rustc("missing", rest, false);
    let message = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(
        message.contains("E0046") && message.contains("`addi`"),
        "{message}"
    );
}
