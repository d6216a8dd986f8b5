//! `sandbox`: what keeps the daemon and its opener from the host, as the kernel tells it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use netqos::control::answer::{ProcessState, ThreadState};
use netqos::control::{Client, Request, Sandbox};

use crate::failure::Failure;
use crate::text::{HEAD, PLAIN, fit, paragraph, printable};

/// Columns of a thread's name, which the kernel cuts to 15, of its role and of its number.
const COLUMNS: [usize; 3] = [15, 7, 9];

pub(crate) fn run(daemon: &mut Client, out: &mut impl Write, json: bool) -> Result<(), Failure> {
    let sandbox: Sandbox = daemon.ask(&Request::Sandbox {})?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &sandbox).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    Ok(print(out, &sandbox)?)
}

fn print(out: &mut impl Write, sandbox: &Sandbox) -> io::Result<()> {
    let (landlock, seccomp) = (&sandbox.landlock, &sandbox.seccomp);
    let text = format!("sandbox landlock {landlock} seccomp {seccomp}");
    paragraph(out, HEAD, ["", "  "], &text)?;
    if let Some(why) = &sandbox.none {
        paragraph(
            out,
            PLAIN,
            [" ", "   "],
            &format!("privileges are kept: {why}"),
        )?;
    }
    process(out, "daemon", &sandbox.daemon)?;
    match &sandbox.opener {
        Some(opener) => process(out, "opener", opener),
        None => Ok(()),
    }
}

fn process(out: &mut impl Write, what: &str, state: &ProcessState) -> io::Result<()> {
    let groups: Vec<_> = state.groups.iter().map(u32::to_string).collect();
    let text = format!(
        "{what} pid {} uid {} gid {} groups {}",
        state.pid,
        state.uid,
        state.gid,
        or_none(&groups.join(",")),
    );
    paragraph(out, HEAD, ["", "  "], &text)?;
    let text = format!(
        "no_new_privs {} dumpable {}",
        yes(state.no_new_privs),
        yes(state.dumpable)
    );
    paragraph(out, PLAIN, [" ", "   "], &text)?;
    let sets = &state.capabilities;
    for (name, set) in [
        ("effective", &sets.effective),
        ("permitted", &sets.permitted),
        ("inheritable", &sets.inheritable),
        ("bounding", &sets.bounding),
        ("ambient", &sets.ambient),
    ] {
        let text = format!("capabilities {name} {}", capabilities(set));
        paragraph(out, PLAIN, [" ", "   "], &text)?;
    }
    let head = line(["thread", "role", "number"], "seccomp");
    writeln!(out, "{HEAD}{head}{HEAD:#}")?;
    for thread in &state.threads {
        writeln!(out, "{}", row(thread))?;
    }
    Ok(())
}

fn row(thread: &ThreadState) -> String {
    let name = printable(&thread.name);
    let role = thread.role.as_deref().unwrap_or("-");
    let seccomp = match thread.filters {
        Some(filters @ 1..) => format!("{} ({filters})", thread.seccomp),
        _ => thread.seccomp.clone(),
    };
    line([&name, role, &thread.id.to_string()], &seccomp)
}

fn line(fields: [&str; 3], last: &str) -> String {
    let mut line = String::from(" ");
    for (field, width) in fields.into_iter().zip(COLUMNS) {
        line.push_str(&fit(field, width));
        line.push(' ');
    }
    line.push_str(last);
    line
}

fn capabilities(set: &BTreeSet<String>) -> String {
    let names: Vec<_> = set.iter().map(String::as_str).collect();
    or_none(&names.join(" ")).to_owned()
}

const fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

const fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use netqos::control::answer::Capabilities;

    use super::*;

    #[test]
    fn what_holds_is_told_in_a_few_lines() {
        let thread = |id, name: &str, role: Option<&str>| ThreadState {
            id,
            name: name.to_owned(),
            role: role.map(str::to_owned),
            seccomp: if role.is_some() { "filter" } else { "none" }.to_owned(),
            filters: Some(role.map_or(0, |_| 2)),
        };
        let daemon = ProcessState {
            pid: 7,
            groups: vec![36, 100],
            no_new_privs: true,
            threads: vec![
                thread(7, "netqos-vhost", Some("main")),
                thread(9, "x\u{1b}", None),
            ],
            capabilities: Capabilities {
                bounding: ["cap_chown".to_owned(), "cap_kill".to_owned()].into(),
                ..Capabilities::default()
            },
            ..ProcessState::default()
        };
        let sandbox = Sandbox {
            none: None,
            landlock: "full".to_owned(),
            seccomp: "kill".to_owned(),
            daemon,
            opener: None,
        };
        let mut out = anstream::StripStream::new(Vec::new());
        print(&mut out, &sandbox).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(
            text,
            "\
sandbox landlock full seccomp kill
daemon pid 7 uid 0 gid 0 groups 36,100
 no_new_privs yes dumpable no
 capabilities effective none
 capabilities permitted none
 capabilities inheritable none
 capabilities bounding cap_chown cap_kill
 capabilities ambient none
 thread          role    number    seccomp
 netqos-vhost    main    7         filter (2)
 x?              -       9         none
"
        );
    }
}
