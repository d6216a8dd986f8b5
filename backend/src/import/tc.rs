//! `tc`: commands (`tc class add ...`), or what `tc class show` and `tc qdisc show` print (tc(8), tc-htb(8),
//! tc-tbf(8)).
//!
//! - `bit` and its multiples are bits, `bps` and its multiples **bytes** per second; sizes are in bytes and
//!   their multiples powers of 1024, `kbit` of a size included (tc(8), "PARAMETERS").
//! - tc limits what **leaves** a device. Of a guest's tap that is what the guest receives, of a NIC what
//!   guests send; which one a device is tells its name.
//! - The kernel counts the frame without check sequence, every segment with its headers
//!   (`qdisc_pkt_len_init` of net/core/dev.c), to which `overhead` is added and which `mpu` is the least of.
//! - Numbers of classes, and the `default` of a qdisc, are hexadecimal.
//! - A class without parent has nobody to borrow from: its `rate` is its limit, whatever its `ceil`.
//! - What is left over is shared by `quantum`: a tenth of the rate in bytes (`r2q`), unless written.

mod parse;
mod tree;

use qos::{Burst, ClassId, Framing, Rate};

use self::parse::Parser;
use super::{ImportError, Imported, Limits};

/// An HTB class.
#[derive(Clone, Debug)]
struct HtbClass {
    line: usize,
    id: ClassId,
    /// Absent: the qdisc.
    parent: Option<ClassId>,
    rate: Rate,
    ceil: Option<Rate>,
    burst: Option<Burst>,
    cburst: Option<Burst>,
    prio: u64,
    quantum: Option<u32>,
    framing: Framing,
    notes: Vec<String>,
}

/// What is known of one device.
#[derive(Clone, Debug, Default)]
struct Device {
    /// Its name; absent where nothing says it.
    name: Option<String>,
    line: usize,
    classes: Vec<HtbClass>,
    /// The minor number of the class for what no filter takes.
    default: Option<u16>,
    /// A token bucket filter at the root.
    tbf: Option<Limits>,
    notes: Vec<String>,
}

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let mut parser = Parser::default();
    for (line, text) in super::words::lines(text) {
        parser.line(line, &text)?;
    }
    let guests: Result<Vec<_>, _> = parser
        .devices
        .iter()
        .filter(|device| !device.classes.is_empty() || device.tbf.is_some())
        .map(tree::guest)
        .collect();
    let guests = guests?;
    match guests.is_empty() {
        true => Err(ImportError::Nothing(
            "`tc class add dev tap0 ... htb rate 10mbit`, `tc qdisc add dev tap0 root tbf ...`, or what `tc \
             class show dev tap0` prints",
        )),
        false => Ok(Imported {
            guests,
            notes: parser.notes,
        }),
    }
}
