//! Every fault of a specification is refused with its line and its name.

use isomorph_decode::{SpecError, compile};

const HEAD: &str = "\
ext A B
args N
args R rd:u8 imm:i64
space byte 8
field rd 7:5 : reg
field low 1:0 : dec
field imm signed 4:2 : dec
format N N
format R R rd=rd imm=imm
";

/// The message for a specification of `HEAD` and these lines (the first is line 10).
fn refusal(lines: &str) -> String {
    match compile(&format!("{HEAD}{lines}")) {
        Ok(_) => panic!("accepted: {lines}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn overlap_names_both_lines_and_a_word() {
    let lines = "insn a ......01 R - : \"\"\ninsn b 000...0. R - : \"\"\n";
    assert_eq!(
        compile(&format!("{HEAD}{}", lines.replace("0. R", "01 R"))).unwrap_err(),
        SpecError::Overlap {
            line: 11,
            insn: "b".into(),
            other: "a".into(),
            other_line: 10,
            word: 1
        }
    );
}

#[test]
fn overlap_that_is_excluded_is_accepted() {
    let lines = "insn a ......01 R - where rd!=0 : \"\"\ninsn b 000...01 R - : \"\"\n";
    compile(&format!("{HEAD}{lines}")).unwrap();
    let lines = "insn b 000...01 R - : \"\"\ninsn a ......01 R - except b : \"\"\n";
    compile(&format!("{HEAD}{lines}")).unwrap();
}

#[test]
fn overlap_that_is_excluded_in_part_is_refused() {
    let lines = "insn a ......01 R - where rd!=0 : \"\"\ninsn b 00....01 R - : \"\"\n";
    assert_eq!(
        refusal(lines),
        "line 11: `b` and `a` (line 10) both match 0x21"
    );
}

#[test]
fn uncovered_bits_are_refused() {
    assert_eq!(
        refusal("insn a ......0. R - : \"\"\n"),
        "line 10: `a` leaves bits 0x1 to neither a constant nor a field"
    );
}

#[test]
fn duplicate_names_are_refused() {
    assert_eq!(
        refusal("insn a ......01 R - : \"\"\ninsn a ......10 R - : \"\"\n"),
        "line 11: instruction `a` is already defined on line 10"
    );
    assert_eq!(
        refusal("field rd 0 : reg\n"),
        "line 10: field `rd` is already defined on line 5"
    );
    assert_eq!(
        refusal("args N\n"),
        "line 10: arguments `N` is already defined on line 2"
    );
    assert_eq!(
        refusal("format N N\n"),
        "line 10: format `N` is already defined on line 8"
    );
    assert_eq!(
        refusal("space byte 8\n"),
        "line 10: space `byte` is already defined on line 4"
    );
    assert_eq!(
        refusal("ext B\n"),
        "line 10: extension `B` is already defined on line 1"
    );
}

#[test]
fn unknown_names_are_refused() {
    for (lines, message) in [
        (
            "insn a ......01 X - : \"\"",
            "line 10: `a` uses the unknown format `X`",
        ),
        (
            "insn a ......01 R Z : \"\"",
            "line 10: `a` uses the unknown extension `Z`",
        ),
        (
            "insn a ......01 R - => b : \"\"",
            "line 10: `a` uses the unknown instruction `b`",
        ),
        (
            "insn a ......01 R - where q!=0 : \"\"",
            "line 10: `a` uses the unknown field `q`",
        ),
        (
            "insn a ......01 R - : \"{rx}\"",
            "line 10: `a` uses the unknown argument `rx`",
        ),
        (
            "format F R rd=rq imm=imm",
            "line 10: `F` uses the unknown field `rq`",
        ),
        (
            "format F R rq=rd imm=imm",
            "line 10: `F` uses the unknown argument `rq`",
        ),
        (
            "format F Q rd=rd",
            "line 10: `F` uses the unknown arguments `Q`",
        ),
        (
            "alias x a when : \"\"",
            "line 10: `x` uses the unknown instruction `a`",
        ),
    ] {
        assert_eq!(refusal(lines), message);
    }
}

#[test]
fn wrong_width_is_refused() {
    assert_eq!(
        refusal("insn a 0000 N - : \"\""),
        "line 10: pattern of `a` has 4 bits, the space has 8"
    );
}

#[test]
fn instruction_that_never_matches_is_refused() {
    assert_eq!(
        refusal("insn a 000...01 R - where rd!=0 : \"\""),
        "line 10: `a` can never match"
    );
}

#[test]
fn format_that_misses_an_argument_is_refused() {
    assert_eq!(
        refusal("format F R rd=rd"),
        "line 10: `F` does not fit the arguments `R`: an argument is not set"
    );
    assert_eq!(
        refusal("format F R rd=rd rd=low imm=imm"),
        "line 10: `F` does not fit the arguments `R`: an argument is set twice"
    );
}

#[test]
fn shared_semantics_need_the_same_arguments() {
    assert_eq!(
        refusal("insn a ......01 R - : \"\"\ninsn b 00000000 N - => a"),
        "line 11: `b` does not fit the arguments `R`: the two instructions take different arguments"
    );
}

#[test]
fn syntax_errors_name_the_word() {
    for (lines, message) in [
        (
            "insn a 0000000x N - : \"\"",
            "line 10: cannot read `0000000x`",
        ),
        ("frobnicate", "line 10: cannot read `frobnicate`"),
        ("field f 8 : dec", "line 10: cannot read `8`"),
        ("field f 1:2 : dec", "line 10: cannot read `1:2`"),
        ("insn a 00000000 N -", "line 10: cannot read `a`"),
        ("insn a 00000000 N - : rd", "line 10: cannot read `rd`"),
    ] {
        let got = refusal(lines);
        assert!(got.starts_with(message), "{got}");
    }
}
