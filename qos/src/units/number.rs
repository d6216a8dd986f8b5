//! Decimal numbers with a unit, read exactly and scaled in integers.

use super::error::{Quantity, UnitError};

/// A table of unit spellings and what each multiplies by, in the quantity's smallest unit.
pub(super) type Units = [(&'static str, u64)];

/// Time units and their nanoseconds.
pub(super) const TIME: &Units = &[
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Decimal places kept apart from the number; beyond this no unit makes the fraction whole.
const MAX_PLACES: u32 = 18;

/// `mantissa / 10^places`, followed by whatever was not part of the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    what: Quantity,
    input: &'a str,
    mantissa: u128,
    places: u32,
    pub(super) unit: &'a str,
}

impl<'a> Number<'a> {
    /// Reads the number at the start of `input`, ignoring white space around it all. Zero and
    /// negative numbers are errors for every quantity there is.
    pub(super) fn parse(what: Quantity, input: &'a str) -> Result<Self, UnitError> {
        let text = input.trim();
        let written = || input.to_owned();
        if text.is_empty() {
            return Err(UnitError::Empty { what });
        }
        if text.starts_with('-') {
            let input = written();
            return Err(UnitError::Negative { what, input });
        }
        let (whole, fraction, unit) = split(text).ok_or_else(|| {
            let input = written();
            UnitError::NotANumber { what, input }
        })?;
        let (mantissa, places) = digits(whole, fraction).map_err(|fault| {
            let input = written();
            match fault {
                Fault::TooLong => UnitError::OutOfRange { what, input },
                Fault::TooFine => UnitError::NotWhole { what, input },
            }
        })?;
        if mantissa == 0 {
            let input = written();
            return Err(UnitError::Zero { what, input });
        }
        Ok(Self {
            what,
            input,
            mantissa,
            places,
            unit,
        })
    }

    /// The number times what its unit stands for in `units`, or `None` if it is not in there.
    /// Capitals do not matter.
    pub(super) fn in_units(&self, units: &Units) -> Option<Result<u64, UnitError>> {
        let of = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(self.unit);
        units.iter().find(of).map(|&(_, scale)| self.scaled(scale))
    }

    /// The number times `scale`, which must come to a whole number.
    pub(super) fn scaled(&self, scale: u64) -> Result<u64, UnitError> {
        let scaled = self
            .mantissa
            .checked_mul(u128::from(scale))
            .ok_or_else(|| self.out_of_range())?;
        let divisor = 10_u128.saturating_pow(self.places);
        if !scaled.is_multiple_of(divisor) {
            return Err(UnitError::NotWhole {
                what: self.what,
                input: self.input.to_owned(),
            });
        }
        let whole = scaled.checked_div(divisor);
        whole
            .and_then(|whole| u64::try_from(whole).ok())
            .ok_or_else(|| self.out_of_range())
    }

    /// The error for a unit that is in no table of this quantity.
    pub(super) fn unknown_unit(&self) -> UnitError {
        UnitError::UnknownUnit {
            what: self.what,
            input: self.input.to_owned(),
            unit: self.unit.to_owned(),
        }
    }

    /// The error for a value that the quantity cannot hold.
    pub(super) fn out_of_range(&self) -> UnitError {
        UnitError::OutOfRange {
            what: self.what,
            input: self.input.to_owned(),
        }
    }
}

/// Splits `text` into the digits before and after the point (trailing zeros dropped) and the unit;
/// `None` unless it starts with a plain number.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (number, ""),
    };
    (!whole.is_empty() && !fraction.contains('.')).then_some((whole, fraction, unit))
}

/// What can be wrong with a string of digits.
enum Fault {
    TooLong,
    TooFine,
}

/// The digits of both parts as one number, and how many of them come after the point.
fn digits(whole: &str, fraction: &str) -> Result<(u128, u32), Fault> {
    let places = u32::try_from(fraction.len()).map_err(|_| Fault::TooFine)?;
    if places > MAX_PLACES {
        return Err(Fault::TooFine);
    }
    let mut digits = whole.chars().chain(fraction.chars());
    let value = digits.try_fold(0_u128, |value, digit| {
        let digit = u128::from(digit.to_digit(10)?);
        value.checked_mul(10)?.checked_add(digit)
    });
    Ok((value.ok_or(Fault::TooLong)?, places))
}

/// `value` in the largest of `units` (given largest first) that divides it.
pub(super) fn display(value: u64, units: &Units) -> (u64, &'static str) {
    units
        .iter()
        .filter(|&&(_, scale)| value.is_multiple_of(scale))
        .find_map(|&(name, scale)| Some((value.checked_div(scale)?, name)))
        .unwrap_or((value, ""))
}
