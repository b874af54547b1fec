//! Values of the row notation.

use isomorph_riscv::state::{F_NAMES, X_NAMES};

/// The integer register of this ABI name.
pub(super) fn x_register(name: &str) -> Option<usize> {
    X_NAMES.iter().position(|n| *n == name)
}

/// The floating-point register of this ABI name.
pub(super) fn f_register(name: &str) -> Option<usize> {
    F_NAMES.iter().position(|n| *n == name)
}

/// Decimal, perhaps negative, or hexadecimal.
pub(super) fn integer(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    text.parse::<u64>()
        .ok()
        .or_else(|| text.parse::<i64>().ok().map(|v| v as u64))
}

/// The bits of a floating-point register.
pub(super) fn float(text: &str) -> Option<u64> {
    match text.split_once(':') {
        None => integer(text),
        Some(("d", value)) => bits(value, 0x7ff8_0000_0000_0000, |v: f64| v.to_bits()),
        Some(("s", value)) => {
            let low = bits(value, 0x7fc0_0000, |v: f32| u64::from(v.to_bits()))?;
            Some(0xffff_ffff_0000_0000 | low)
        }
        Some(("h", value)) => {
            let low = match value {
                "inf" => 0x7c00,
                "-inf" => 0xfc00,
                // Written as bits only.
                other => bits(other, 0x7e00, |_: f64| u64::MAX)?,
            };
            (low <= 0xffff).then_some(0xffff_ffff_ffff_0000 | low)
        }
        Some(_) => None,
    }
}

fn bits<T: std::str::FromStr>(text: &str, nan: u64, to_bits: fn(T) -> u64) -> Option<u64> {
    match text {
        "nan" => Some(nan),
        _ if text.starts_with("0x") => integer(text),
        _ => text.parse().ok().map(to_bits),
    }
}

/// `NV+NX` and the like, or 0.
pub(super) fn flags(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    text.split('+').try_fold(0, |set, name| {
        let bit = ["NX", "UF", "OF", "DZ", "NV"]
            .iter()
            .position(|n| *n == name)?;
        Some(set | 1 << bit)
    })
}

/// Pairs of hexadecimal digits.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_boxed() {
        assert_eq!(float("s:1.5"), Some(0xffff_ffff_3fc0_0000));
        assert_eq!(float("s:-inf"), Some(0xffff_ffff_ff80_0000));
        assert_eq!(float("d:nan"), Some(0x7ff8_0000_0000_0000));
        assert_eq!(float("h:0x3c00"), Some(0xffff_ffff_ffff_3c00));
        assert_eq!(float("0x12"), Some(0x12));
        assert_eq!(float("h:1.0"), None);
    }

    #[test]
    fn integers_and_flags() {
        assert_eq!(integer("-1"), Some(u64::MAX));
        assert_eq!(flags("NV+NX"), Some(17));
        assert_eq!(flags("XX"), None);
        assert_eq!(bytes("00ff"), Some(vec![0, 255]));
    }
}
