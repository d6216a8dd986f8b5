//! Reads commands of ovs-vsctl(8), and what its `list` prints.

use super::database::{Database, Record, Table, unknown_verb};
use crate::import::error::short;
use crate::import::words::{lines, words};
use crate::import::{ImportError, Place};

/// Commands that say nothing about limits.
const SILENT: &[&str] = &[
    "add-br",
    "list",
    "find",
    "show",
    "get",
    "list-ports",
    "init",
    "get-controller",
    "set-controller",
];

/// Commands whose effect has no equal.
const NOTED: &[&str] = &[
    "clear",
    "remove",
    "destroy",
    "del-port",
    "del-br",
    "add",
    "add-bond",
    "set-fail-mode",
];

/// Reads all of it.
pub(super) fn read(text: &str) -> Result<Database, ImportError> {
    let mut reader = Reader::default();
    for (line, text) in lines(text) {
        reader.line(line, &text)?;
    }
    reader.end_record();
    Ok(reader.database)
}

#[derive(Default)]
struct Reader {
    database: Database,
    /// Columns of the record that `list` is printing, and where it began.
    columns: Vec<(String, String)>,
    begun: usize,
}

impl Reader {
    fn line(&mut self, line: usize, text: &str) -> Result<(), ImportError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            self.end_record();
            return Ok(());
        }
        if trimmed.starts_with('#') {
            return Ok(());
        }
        if let Some((column, value)) = printed(trimmed) {
            if self.columns.is_empty() {
                self.begun = line;
            }
            self.columns.push((column.to_owned(), value.to_owned()));
            return Ok(());
        }
        self.end_record();
        let place = Place::line(line);
        let words = words(&place, trimmed)?;
        // The prompt and the program, as far as they are written.
        let skip =
            |word: &&String| matches!(word.as_str(), "$" | "sudo") || word.ends_with("ovs-vsctl");
        let start = words.iter().take_while(skip).count();
        let words = words.get(start..).unwrap_or(&[]);
        let commands = words.split(|word| word == "--");
        for command in commands.filter(|command| !command.is_empty()) {
            self.command(&place, command)?;
        }
        Ok(())
    }

    /// Takes the record that was printed up to here.
    fn end_record(&mut self) {
        let columns = std::mem::take(&mut self.columns);
        let has = |name: &str| columns.iter().any(|(column, _)| column == name);
        let table = match () {
            () if has("ingress_policing_rate") || has("admin_state") => Table::Interface,
            () if has("queues") => Table::Qos,
            () if has("interfaces") || has("qos") => Table::Port,
            () if has("dscp") => Table::Queue,
            () => Table::Other,
        };
        let uuid = columns.iter().find(|(column, _)| column == "_uuid");
        let uuid = uuid.map_or("", |(_, uuid)| uuid.as_str());
        let mut record = Record::new(table, uuid, self.begun);
        for (column, value) in &columns {
            record.set_column(column, None, value);
        }
        if table != Table::Other {
            self.database.add(record);
        }
    }

    fn command(&mut self, place: &Place, words: &[String]) -> Result<(), ImportError> {
        let is_option = |word: &&String| word.starts_with("--");
        let options = words.iter().take_while(is_option).count();
        let id = words
            .iter()
            .take(options)
            .find_map(|it| it.strip_prefix("--id="));
        let rest = words.get(options..).unwrap_or(&[]);
        let Some((verb, arguments)) = rest.split_first() else {
            return Ok(());
        };
        match verb.as_str() {
            "set" => self.set(place, arguments),
            "create" => self.create(place, id, arguments),
            "add-port" => self.add_port(place, arguments),
            verb if SILENT.contains(&verb) => Ok(()),
            verb if NOTED.contains(&verb) => {
                let command = short(&rest.join(" "));
                self.database.notes.push(format!("{command}: no equal"));
                Ok(())
            }
            verb => Err(unknown_verb(place.clone(), verb)),
        }
    }

    /// `set TABLE RECORD COLUMN[:KEY]=VALUE...`
    fn set(&mut self, place: &Place, words: &[String]) -> Result<(), ImportError> {
        let [table, name, values @ ..] = words else {
            return Err(place.value("set", "write a table, a record and what to set"));
        };
        let record = self
            .database
            .record(Table::new(table), name, place.line.unwrap_or(0));
        values
            .iter()
            .try_for_each(|value| assign(place, record, value))
    }

    /// `[--id=@NAME] create TABLE COLUMN[:KEY]=VALUE...`
    fn create(
        &mut self,
        place: &Place,
        id: Option<&str>,
        words: &[String],
    ) -> Result<(), ImportError> {
        let [table, values @ ..] = words else {
            return Err(place.value("create", "write a table and its columns"));
        };
        let table = Table::new(table);
        let mut record = Record::new(table, id.unwrap_or("new"), place.line.unwrap_or(0));
        values
            .iter()
            .try_for_each(|value| assign(place, &mut record, value))?;
        self.database.add(record);
        Ok(())
    }

    /// `add-port BRIDGE PORT [COLUMN=VALUE...]`
    fn add_port(&mut self, place: &Place, words: &[String]) -> Result<(), ImportError> {
        let [_, port, values @ ..] = words else {
            return Err(place.value("add-port", "write a bridge and a port"));
        };
        let record = self
            .database
            .record(Table::Port, port, place.line.unwrap_or(0));
        values
            .iter()
            .try_for_each(|value| assign(place, record, value))
    }
}

/// `COLUMN : VALUE`, as `list` prints it.
fn printed(line: &str) -> Option<(&str, &str)> {
    let (column, value) = line.split_once(':')?;
    let column = column.trim_end();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_column = !column.is_empty() && column.bytes().all(is_name);
    // `COLUMN:KEY=VALUE` of a command that is broken over lines has no space.
    (is_column && value.starts_with([' ', '\t'])).then(|| (column, value.trim()))
}

fn assign(place: &Place, record: &mut Record, word: &str) -> Result<(), ImportError> {
    let Some((name, value)) = word.split_once('=') else {
        return Err(place.value(word, "write COLUMN=VALUE or COLUMN:KEY=VALUE"));
    };
    match name.split_once(':') {
        // `queues:1=@a,2=@b` and `other_config:a=1,b=2` go on after the first key.
        Some((column, key)) => record.set_column(column, Some(key), value),
        None => record.set_column(name, None, value),
    }
    Ok(())
}
