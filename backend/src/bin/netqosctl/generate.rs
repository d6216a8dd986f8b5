//! `completions` and `man`: what shells and `man` want to know of the command line.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::Failure;

pub(crate) fn completions(out: &mut impl Write, shell: Shell) -> Result<(), Failure> {
    // Into memory first: what is generated panics where it cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netqosctl", &mut script);
    Ok(out.write_all(&script)?)
}

/// The page of the whole, or one of each command in a directory.
pub(crate) fn man(out: &mut impl Write, directory: Option<&Path>) -> Result<(), Failure> {
    let mut whole = Cli::command();
    whole.build();
    match directory {
        None => Ok(Man::new(whole).render(out)?),
        Some(directory) => {
            let written = fs::create_dir_all(directory).and_then(|()| pages(whole, directory));
            written.map_err(|error| Failure::Write {
                path: directory.to_owned(),
                error,
            })
        }
    }
}

fn pages(command: clap::Command, directory: &Path) -> io::Result<()> {
    for child in command
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
    {
        pages(child.clone(), directory)?;
    }
    let name = command.get_display_name().unwrap_or("netqosctl").to_owned();
    let mut file = File::create(directory.join(format!("{name}.1")))?;
    Man::new(command).render(&mut file)?;
    file.flush()
}
