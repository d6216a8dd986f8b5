//! What the property tests draw from random numbers, here drawn from the bytes of an input.
#![allow(dead_code)] // the tests use more of it

#[path = "../../../tests/common/frames.rs"]
pub(super) mod frames;
#[path = "../../../tests/common/naive.rs"]
pub(super) mod naive;
#[path = "../../../tests/common/rules.rs"]
pub(super) mod rules;

/// Numbers made of bytes; all are zero when there are no bytes left.
pub(super) struct Rng<'a>(&'a [u8]);

impl<'a> Rng<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    fn byte(&mut self) -> u64 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte.into()
    }

    pub(super) fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | self.byte())
    }

    /// A number below `bound`, of as many bytes as that has.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let bytes = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8);
        (0..bytes).fold(0, |bits, _| bits << 8 | self.byte()) % bound
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}
