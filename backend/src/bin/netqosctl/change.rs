//! `set`, `apply` and `reload`: changes of what is served.

use std::collections::BTreeMap;
use std::io::Write;

use netqos::control::{Applied, Client, Difference, Direction, Request};

use crate::cli::{Apply, Careful, Set};
use crate::diff;
use crate::failure::{Failure, InputError};
use crate::input;

/// The generation that a change is for: that which runs, unless the operator names one.
fn generation(daemon: &mut Client, careful: &Careful) -> Result<u64, Failure> {
    match careful.generation {
        Some(generation) => Ok(generation),
        None => Ok(daemon.ping()?.generation),
    }
}

pub(crate) fn reload(daemon: &mut Client, out: &mut impl Write) -> Result<(), Failure> {
    let applied = daemon.change(&Request::Reload {})?;
    Ok(diff::print(out, &applied)?)
}

pub(crate) fn apply(
    daemon: &mut Client,
    out: &mut impl Write,
    args: &Apply,
) -> Result<(), Failure> {
    let text = input::read(&args.file)?;
    // The daemon's directory is another: includes are relative to the file.
    let path = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let request = Request::Apply {
        text,
        path: path.to_string_lossy().into_owned(),
        dry_run: args.careful.dry_run,
        generation: Some(generation(daemon, &args.careful)?),
    };
    let applied = daemon.change(&request)?;
    Ok(diff::print(out, &applied)?)
}

pub(crate) fn set(daemon: &mut Client, out: &mut impl Write, args: &Set) -> Result<(), Failure> {
    let mut settings = BTreeMap::new();
    for setting in &args.settings {
        let before = settings.insert(setting.key.clone(), setting.value.clone());
        if before.is_some() {
            return Err(InputError::Repeated(setting.key.clone()).into());
        }
    }
    let request = |direction: Direction, dry_run: bool, generation: u64| Request::Set {
        guest: args.target.guest.clone(),
        class: args.target.class.clone(),
        direction,
        settings: settings.clone(),
        dry_run,
        generation: Some(generation),
    };
    let directions = args.ways.directions();
    let first = generation(daemon, &args.careful)?;
    // Whether both can be, before either is.
    let mut whole = Applied::default();
    if args.careful.dry_run || directions.len() > 1 {
        for &direction in directions {
            add(&mut whole, daemon.change(&request(direction, true, first))?);
        }
    }
    if !args.careful.dry_run {
        whole = Applied::default();
        let mut generation = first;
        for &direction in directions {
            let applied = daemon.change(&request(direction, false, generation))?;
            generation = applied.generation;
            add(&mut whole, applied);
        }
    }
    Ok(diff::print(out, &whole)?)
}

/// Takes what one direction's change came to into that of both: they are of the same guest.
fn add(whole: &mut Applied, more: Applied) {
    whole.generation = more.generation;
    whole.dry_run = more.dry_run;
    whole.added = whole.added.max(more.added);
    whole.removed = whole.removed.max(more.removed);
    whole.changed = whole.changed.max(more.changed);
    for difference in more.differences {
        match (whole.differences.last_mut(), difference) {
            (
                Some(Difference::Changed {
                    guest: before,
                    edits,
                    ends_session,
                }),
                Difference::Changed {
                    guest,
                    edits: more,
                    ends_session: why,
                },
            ) if *before == guest => {
                edits.extend(more);
                *ends_session = ends_session.take().or(why);
            }
            (_, difference) => whole.differences.push(difference),
        }
    }
}
