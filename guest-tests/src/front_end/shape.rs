//! How a frame is cut into descriptors.

use super::header::Header;

/// The descriptors of a frame's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    cut: Cut,
    indirect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cut {
    Whole,
    HeaderApart,
    Pieces(u32),
    Lengths(Vec<u32>),
}

impl Shape {
    /// Header and frame in one descriptor.
    pub const WHOLE: Self = Self {
        cut: Cut::Whole,
        indirect: false,
    };
    /// The virtio-net header in a descriptor of its own.
    pub const HEADER_APART: Self = Self {
        cut: Cut::HeaderApart,
        indirect: false,
    };

    /// Descriptors of `len` bytes, header included; the last one has the rest.
    #[must_use]
    pub const fn pieces(len: u32) -> Self {
        Self {
            cut: Cut::Pieces(len),
            indirect: false,
        }
    }

    /// Descriptors of these lengths, and one for the rest.
    #[must_use]
    pub fn lengths(lengths: &[u32]) -> Self {
        Self {
            cut: Cut::Lengths(lengths.to_vec()),
            indirect: false,
        }
    }

    /// The same through an indirect table.
    #[must_use]
    pub fn indirect(mut self) -> Self {
        self.indirect = true;
        self
    }

    pub(super) const fn is_indirect(&self) -> bool {
        self.indirect
    }

    /// The lengths of the descriptors for `total` bytes.
    #[must_use]
    pub fn cut(&self, total: usize) -> Vec<u32> {
        let mut rest = u32::try_from(total).unwrap_or(u32::MAX);
        let mut lengths = Vec::new();
        let mut take = |len: u32| {
            let len = len.min(rest);
            if len > 0 {
                lengths.push(len);
            }
            rest -= len;
            rest > 0
        };
        match &self.cut {
            Cut::Whole => {}
            Cut::HeaderApart => {
                take(u32::try_from(Header::LEN).unwrap_or(u32::MAX));
            }
            Cut::Pieces(len) => while take((*len).max(1)) {},
            Cut::Lengths(lens) => lens.iter().for_each(|len| {
                take(*len);
            }),
        }
        take(u32::MAX);
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_add_up_and_leave_no_empty_piece() {
        assert_eq!(Shape::WHOLE.cut(72), [72]);
        assert_eq!(Shape::HEADER_APART.cut(72), [12, 60]);
        assert_eq!(Shape::pieces(30).cut(72), [30, 30, 12]);
        assert_eq!(Shape::pieces(36).cut(72), [36, 36]);
        assert_eq!(Shape::lengths(&[1, 11, 100]).cut(72), [1, 11, 60]);
    }
}
