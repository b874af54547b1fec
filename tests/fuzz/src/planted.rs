//! A parser with a defect, to see that the fuzzer finds one.

use crate::Input;

/// Takes records of a tag, a length and bytes; the total of some of them overflows.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut total = 0u32;
    while !input.is_empty() {
        match input.u8() {
            b'+' => total += input.u32(),
            b'=' if input.bytes(4) == b"iso!" => total = 0,
            _ => {
                let length = usize::from(input.u8());
                input.bytes(length);
            }
        }
    }
    std::hint::black_box(total);
}

/// Harmless records.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![b"=iso!".to_vec(), vec![0, 2, 1, 1]]
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "overflow")]
    fn two_large_records_are_too_many() {
        super::run(b"+\xff\xff\xff\xff+\x01");
    }
}
