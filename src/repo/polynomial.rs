//! Irreducible polynomials over GF(2): restic refuses a repository whose `chunker_polynomial` is not one.
//!
//! A polynomial is the bits of a `u64`. Irreducibility is Ben-Or's test: `p` of degree `n` is irreducible when it has no
//! common factor with `x^(2^i) - x` for `i` up to `n / 2`.

const DEGREE: u32 = 53;

/// Makes a random irreducible polynomial of degree 53.
pub fn random_irreducible() -> Result<u64, getrandom::Error> {
    loop {
        let bits = getrandom::u64()? & ((1 << (DEGREE + 1)) - 1);
        let candidate = bits | 1 << DEGREE | 1;
        if is_irreducible(candidate) {
            return Ok(candidate);
        }
    }
}

/// Whether a polynomial has no factor but one and itself.
pub fn is_irreducible(p: u64) -> bool {
    let Some(n) = degree(p).filter(|n| *n > 0) else {
        return false;
    };
    let mut power = 2; // x^(2^0)
    for _ in 0..n / 2 {
        power = multiply_mod(power, power, p);
        if gcd(p, power ^ 2) != 1 {
            return false;
        }
    }
    true
}

fn degree(p: u64) -> Option<u32> {
    p.checked_ilog2()
}

fn modulo(mut a: u64, p: u64) -> u64 {
    let n = degree(p).unwrap_or(0);
    while let Some(m) = degree(a).filter(|m| *m >= n && a != 0) {
        a ^= p << (m - n);
    }
    a
}

fn multiply_mod(a: u64, mut b: u64, p: u64) -> u64 {
    let top = 1 << degree(p).unwrap_or(0);
    let mut a = modulo(a, p);
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        b >>= 1;
        a <<= 1;
        if a & top != 0 {
            a ^= p;
        }
    }
    product
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, modulo(a, b));
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_small_polynomials() {
        // x+1, x²+x+1, x³+x+1, x⁴+x+1, and two that restic's chunker ships as examples of irreducible ones.
        for p in [
            0b11,
            0b111,
            0b1011,
            0b10011,
            0x003d_a335_8b4d_c173,
            0x0025_b468_838d_cb75,
        ] {
            assert!(is_irreducible(p), "{p:x}");
        }
        // x², (x+1)², (x+1)(x²+x+1), (x²+x+1)²
        for p in [0b100, 0b101, 0b1001, 0b10101, 0, 1] {
            assert!(!is_irreducible(p), "{p:x}");
        }
        assert!(is_irreducible(random_irreducible().unwrap()));
    }
}
