//! A generated C program of very many distinct functions, each run once: what translating costs.

use std::fmt::Write;

/// Statements in each function; about fifty guest instructions come from them.
const STATEMENTS: u32 = 16;

/// The same numbers in each run: xorshift64*.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn variable(&mut self) -> char {
        char::from(b"abcd"[self.below(4) as usize])
    }
}

/// The program's text. Its one argument says how many of the functions to run.
pub fn program(functions: u32) -> String {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut text = String::from(
        "#include \"bench.h\"\n\
         typedef struct { uint64_t m[64]; uint32_t w[32]; } state;\n\
         typedef uint64_t function(state *, uint64_t, uint64_t);\n",
    );
    for index in 0..functions {
        function(&mut text, &mut numbers, index);
    }
    text.push_str("static function *const table[] = {");
    for index in 0..functions {
        let _ = write!(text, "f{index},");
    }
    text.push_str(
        "};\n\
         int main(int argc, char **argv) {\n\
         static state s;\n\
         long count = size_argument(argc, argv);\n\
         uint64_t a = 1, hash = 0;\n\
         for (long i = 0; i < count; i++) { a = table[i](&s, a, hash); hash = mix(hash, a); }\n\
         return report(hash);\n}\n",
    );
    text
}

fn function(text: &mut String, numbers: &mut Numbers, index: u32) {
    let _ = write!(
        text,
        "static NOINLINE uint64_t f{index}(state *s, uint64_t a, uint64_t b) {{\n\
         uint64_t c = a ^ {}, d = b + {};\n",
        numbers.below(1 << 20),
        numbers.below(1 << 11),
    );
    for _ in 0..STATEMENTS {
        statement(text, numbers);
    }
    text.push_str("return a + b + c + d;\n}\n");
}

fn statement(text: &mut String, numbers: &mut Numbers) {
    let (x, y, z) = (numbers.variable(), numbers.variable(), numbers.variable());
    let (slot, word) = (numbers.below(64), numbers.below(32));
    let (shift, small) = (numbers.below(62) + 1, numbers.below(2000));
    let _ = match numbers.below(12) {
        0 => writeln!(text, "{x} += {y} ^ {small};"),
        1 => writeln!(text, "{x} = ({y} << {shift}) - {z};"),
        2 => writeln!(text, "{x} ^= s->m[{slot}];"),
        3 => writeln!(text, "s->m[{slot}] = {y} + {z};"),
        4 => writeln!(text, "s->w[{word}] += (uint32_t){y};"),
        5 => writeln!(text, "{x} += (uint64_t)(int32_t)s->w[{word}];"),
        6 => writeln!(text, "{x} = {y} * {z} + {small};"),
        7 => writeln!(
            text,
            "if ({y} > {z}) {{ {x} += s->m[{slot}]; s->w[{word}] = 1; }}"
        ),
        8 => writeln!(
            text,
            "if ({y} & {small}) s->m[{slot}] ^= {x}; else {x} -= {z};"
        ),
        9 => writeln!(text, "{x} = ({y} >> {}) | {z};", shift / 2 + 1),
        10 => writeln!(
            text,
            "{x} = (uint64_t)((int64_t){y} >> {shift}) + (uint32_t){z};"
        ),
        _ => writeln!(text, "{x} += {y} < {z}; {z} = ~{z} & {y};"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_same_each_time_and_its_functions_differ() {
        let text = program(50);
        assert_eq!(text, program(50));
        let bodies: std::collections::BTreeSet<_> = text
            .split("static NOINLINE")
            .filter_map(|part| part.split_once('{').map(|(_, body)| body))
            .collect();
        assert!(bodies.len() >= 50);
    }
}
