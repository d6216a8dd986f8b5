//! The few words of QEMU's monitor protocol that tests need (QEMU `docs/interop/qmp-spec`).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Context, Error, Result};

/// Executes one command on a connection of its own and returns its answer.
pub(crate) fn execute(socket: &Path, command: &str, arguments: &Value) -> Result<Value> {
    let what = format!("asking QEMU for {command}");
    let stream = UnixStream::connect(socket).context(&what)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .context(&what)?;
    let mut writer = stream.try_clone().context(&what)?;
    let mut lines = BufReader::new(stream).lines();
    let mut answer = Value::Null;
    for request in [
        json!({ "execute": "qmp_capabilities" }),
        json!({ "execute": command, "arguments": arguments }),
    ] {
        writeln!(writer, "{request}").context(&what)?;
        answer = loop {
            // The greeting and events come in between.
            let line = lines.next().transpose().context(&what)?.unwrap_or_default();
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(answer) = value.get("return") {
                break answer.clone();
            }
            if value.get("error").is_some() || line.is_empty() {
                return Err(Error::Output {
                    tool: "QEMU's monitor",
                    reason: format!("{command} was refused"),
                    output: line,
                });
            }
        };
    }
    Ok(answer)
}
