//! `set`, `apply` and `reload`: changes of what is served.

use std::collections::BTreeMap;
use std::io::Write;

use netqos::control::{Client, Request};

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
    let request = Request::Set {
        guest: args.target.guest.clone(),
        class: args.target.class.clone(),
        direction: args.ways.direction(),
        settings,
        dry_run: args.careful.dry_run,
        generation: Some(generation(daemon, &args.careful)?),
    };
    let applied = daemon.change(&request)?;
    Ok(diff::print(out, &applied)?)
}
