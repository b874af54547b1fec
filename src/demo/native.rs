//! The work of `guests/demo`, written in Rust: the same algorithms, the same output.

use std::fmt::Write;

/// The sieve of Eratosthenes (`primes.c`).
pub fn primes() -> String {
    const LIMIT: usize = 8_000_000;
    let mut composite = vec![false; LIMIT];
    let (mut count, mut last) = (0, 0);
    for i in 2..LIMIT {
        if composite[i] {
            continue;
        }
        count += 1;
        last = i;
        for j in (i * 2..LIMIT).step_by(i) {
            composite[j] = true;
        }
    }
    format!("{count} primes below {LIMIT}, the last is {last}\n")
}

/// Recursive Fibonacci (`fib.c`).
pub fn fib() -> String {
    #[inline(never)]
    fn fib(n: u32) -> u64 {
        if n < 2 {
            u64::from(n)
        } else {
            fib(n - 1) + fib(n - 2)
        }
    }
    format!("fib(38) = {}\n", fib(std::hint::black_box(38)))
}

/// The Mandelbrot set (`mandelbrot.c`).
pub fn mandelbrot() -> String {
    const SHADES: &[u8; 10] = b" .:-=+*%#@";
    let mut text = String::new();
    for row in 0..16 {
        for column in 0..60 {
            let (x, y) = (
                f64::from(column) * 0.05 - 2.25,
                f64::from(row) * 0.15 - 1.125,
            );
            text.push(char::from(SHADES[escape(x, y, 63) / 7]));
        }
        text.push('\n');
    }
    let mut steps = 0;
    for row in 0..500 {
        for column in 0..500 {
            let (x, y) = (
                f64::from(column) * 0.006 - 2.25,
                f64::from(row) * 0.005 - 1.25,
            );
            steps += escape(x, y, 200);
        }
    }
    let _ = writeln!(text, "{steps} steps");
    text
}

fn escape(cx: f64, cy: f64, limit: usize) -> usize {
    let (mut x, mut y, mut i) = (0.0, 0.0, 0);
    while i < limit && x * x + y * y <= 4.0 {
        let next = x * x - y * y + cx;
        y = 2.0 * x * y + cy;
        x = next;
        i += 1;
    }
    i
}

/// All placements of queens (`queens.c`).
pub fn queens() -> String {
    fn place(all: u32, columns: u32, left: u32, right: u32) -> u32 {
        if columns == all {
            return 1;
        }
        let mut count = 0;
        let mut free = all & !(columns | left | right);
        while free != 0 {
            let bit = free & free.wrapping_neg();
            count += place(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
            free ^= bit;
        }
        count
    }
    let mut text = String::from("queens:");
    for n in 1..=13 {
        let _ = write!(text, " {}", place((1 << n) - 1, 0, 0, 0));
    }
    text.push('\n');
    text
}

#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// SHA-256, FIPS 180-4 (`sha256.c`).
pub fn sha256() -> String {
    const SIZE: u32 = 8_000_000;
    const BLOCK: usize = 64;
    let mut h = [
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
        0x5be0cd19,
    ];
    let mut data = [0u8; BLOCK];
    for at in (0..SIZE).step_by(BLOCK) {
        for (byte, i) in data.iter_mut().zip(at..) {
            *byte = (i.wrapping_mul(2_654_435_761) >> 24) as u8;
        }
        block(&mut h, &data);
    }
    data.fill(0);
    data[0] = 0x80;
    data[BLOCK - 8..].copy_from_slice(&(u64::from(SIZE) * 8).to_be_bytes());
    block(&mut h, &data);
    let mut text = String::new();
    for word in h {
        let _ = write!(text, "{word:08x}");
    }
    text.push('\n');
    text
}

fn block(h: &mut [u32; 8], data: &[u8; 64]) {
    let mut w = [0u32; 64];
    let (words, _) = data.as_chunks::<4>();
    for (word, bytes) in w.iter_mut().zip(words) {
        *word = u32::from_be_bytes(*bytes);
    }
    for i in 16..64 {
        let (x, y) = (w[i - 15], w[i - 2]);
        let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
        let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
        w[i] = w[i - 16]
            .wrapping_add(s0)
            .wrapping_add(w[i - 7])
            .wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut last] = *h;
    for i in 0..64 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = last
            .wrapping_add(s1)
            .wrapping_add(choice)
            .wrapping_add(K[i])
            .wrapping_add(w[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (last, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
    }
    for (word, add) in h.iter_mut().zip([a, b, c, d, e, f, g, last]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_results() {
        assert_eq!(
            primes(),
            "539777 primes below 8000000, the last is 7999993\n"
        );
        assert_eq!(
            queens(),
            "queens: 1 0 0 2 10 4 40 92 352 724 2680 14200 73712\n"
        );
        assert_eq!(
            sha256(),
            "32967b32fddb6f37e04eef297ac78424a97bc1c265e7d77edaba7ace463ed48e\n"
        );
        assert!(mandelbrot().ends_with("\n11301475 steps\n"));
        assert_eq!(fib(), "fib(38) = 39088169\n");
    }
}
