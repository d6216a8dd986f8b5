//! The configurations that follow each other.

use std::fmt::Write;

/// Bytes that guest `a` may run ahead of its ceiling.
pub(crate) const BURST: u32 = 32 << 10;

/// The highest ceiling of guest `a`, in bytes per second.
pub(crate) const HIGHEST: f64 = 80.0 * 125_000.0;

/// Guest `d` is moved after as many changes.
pub(crate) const MOVES: u64 = 25;

/// A queue that drops nothing because the machine is busy and the packet thread late.
const PATIENT: &str = "queue = \"flows\", flows = { interval = \"5s\" }";

/// One configuration of many; they differ in much.
#[derive(Clone, Copy)]
pub(crate) struct Round(pub(crate) u64);

impl Round {
    /// The ceiling of guest `a`, in Mbit/s.
    const fn mbit(self) -> u32 {
        match self.0 % 4 {
            0 => 80,
            1 => 20,
            2 => 60,
            _ => 40,
        }
    }

    /// The ceiling of guest `a`, in bytes per second.
    pub(crate) fn ceil(self) -> f64 {
        f64::from(self.mbit()) * 125_000.0
    }

    /// The file; `{dir}` in it is the daemon's folder.
    pub(crate) fn text(self) -> String {
        let Self(round) = self;
        let mut text = String::from("control = \"{dir}/control.sock\"\n");
        let above = 200 + round % 7 * 100;
        for uplink in ["one", "two", "three"] {
            write(
                &mut text,
                format_args!(
                    "[uplink.{uplink}]\nkind = \"tap:{uplink}\"\n\
                     from_guest = {{ ceil = \"{above}mbit\" }}\n"
                ),
            );
        }
        write(&mut text, format_args!("[uplink.void]\nkind = \"none\"\n"));
        let weight = 1 + round % 5;
        let ceil = self.mbit();
        guest(&mut text, "a", "one", 0xa);
        write(
            &mut text,
            format_args!(
                "from_guest = {{ ceil = \"{ceil}mbit\", cburst = {BURST}, weight = {weight} }}\n"
            ),
        );
        guest(&mut text, "b", "two", 0xb);
        let extra = if round % 2 == 1 { "extra" } else { "bulk" };
        write(
            &mut text,
            format_args!(
                "[guest.b.from_guest]\nceil = \"{}mbit\"\n",
                60 + round % 3 * 20
            ),
        );
        classes(&mut text, weight, extra);
        guest(&mut text, "c", "one", 0xc);
        let to = 60 + round % 5 * 10;
        write(
            &mut text,
            format_args!("to_guest = {{ ceil = \"{to}mbit\", weight = {weight}, {PATIENT} }}\n"),
        );
        let moved = if round / MOVES % 2 == 1 {
            "two"
        } else {
            "void"
        };
        guest(&mut text, "d", moved, 0xd);
        write(&mut text, format_args!("[guest.d.from_guest]\n"));
        classes(&mut text, 1, "bulk");
        guest(&mut text, "s", "three", 0x5);
        write(
            &mut text,
            format_args!("[guest.s.from_guest]\nceil = \"50mbit\"\n"),
        );
        if round / 3 % 2 == 1 {
            classes(&mut text, weight, extra);
        }
        for number in 0..round % 4 {
            guest(
                &mut text,
                &format!("e{round}-{number}"),
                "one",
                0xe0 + number,
            );
            write(&mut text, format_args!("limit = \"10mbit\"\n"));
        }
        text
    }
}

fn write(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all");
}

fn guest(text: &mut String, name: &str, uplink: &str, number: u64) {
    write(
        text,
        format_args!(
            "[guest.{name}]\nuplink = \"{uplink}\"\nsocket = \"{{dir}}/{name}.sock\"\n\
             mac = \"02:00:00:00:00:{number:02x}\"\n"
        ),
    );
}

/// Two classes, and one that comes and goes, whose frames go to the second one without it.
fn classes(text: &mut String, weight: u64, extra: &str) {
    let own = match extra {
        "extra" => format!("{{ name = \"extra\", {PATIENT} }},"),
        _ => String::new(),
    };
    write(
        text,
        format_args!(
            "rate = \"6mbit\"\ndefault = \"bulk\"\n\
             class = [{{ name = \"voice\", rate = \"{weight}mbit\", {PATIENT} }}, \
             {{ name = \"bulk\", weight = {weight}, {PATIENT} }}, {own}]\n\
             rule = [{{ length = 200, class = \"voice\" }}, {{ length = 300, class = \"{extra}\" }}]\n"
        ),
    );
}

/// A guest with a slow class or without, and with a neighbour; or only the neighbour.
pub(crate) fn draining(class: bool, guest: bool) -> String {
    let mut text =
        String::from("control = \"{dir}/control.sock\"\n[uplink.one]\nkind = \"tap:one\"\n");
    self::guest(&mut text, "other", "one", 0x5);
    if guest {
        self::guest(&mut text, "r", "one", 0xb);
        let slow = "{ name = \"slow\", ceil = \"2mbit\", queue = \"fifo\" },";
        let slow = if class { slow } else { "" };
        let rule = "rule = [{ length = 1000, class = \"slow\" }]";
        let rule = if class { rule } else { "" };
        write(
            &mut text,
            format_args!(
                "[guest.r.from_guest]\ndefault = \"bulk\"\n\
                 class = [{slow} {{ name = \"bulk\" }}, {{ name = \"more\" }}]\n{rule}\n"
            ),
        );
    }
    text
}

/// A slow guest, whose ring is held unless it has classes.
pub(crate) fn slow(classes: bool) -> String {
    let mut text =
        String::from("control = \"{dir}/control.sock\"\n[uplink.one]\nkind = \"tap:one\"\n");
    guest(&mut text, "r", "one", 0xb);
    write(
        &mut text,
        format_args!("[guest.r.from_guest]\nceil = \"4mbit\"\n"),
    );
    if classes {
        self::classes(&mut text, 1, "bulk");
        text = text.replace("rate = \"6mbit\"", "rate = \"2mbit\"");
    }
    text
}
